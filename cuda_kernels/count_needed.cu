// How few flips of labels change the prediction of each row: by its shares, and beyond any doubt.
//
// One block of threads a row. Gains are not put in order: the last one that is needed is found by
// halving the range of the bits of a double, which are in the order of the values. Every halving is
// a reading of the row, that adds up the gains above a threshold, always in the same order. Such a
// sum never falls when a number joins it, as no addition of it does, so that the halvings agree.
//
// What is counted beyond any doubt is never too large. A sum of n non-negative numbers, added in
// whatever order, loses at most n 2**-53 of itself. One that falls short of what is wanted, which
// is no more than about 1, has lost no more than that; the scores, sums of the same shares, have as
// much. Together that is half of the allowance for rounding, 4 n 2**-53: what falls short here does
// so exactly. The last gains, which are all alike, are added by one product instead, rounded once.
#define THREADS 256
#define PARTS 16  // of the threads, that add up what their part has found
#define NO_CLASS (-1)

struct Row {
    const double* shares;  // (labels,)
    const int* codes;      // (labels,)
    int labels;
    int own;               // the class that is predicted
};

struct Found {
    int count;
    double sum;
};

__device__ double of_bits(const long long bits) {
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

__device__ long long bits_of(const double value) {
    long long bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

// The gains above a threshold, and their sum. All threads call it and are told the same.
__device__ Found gains_above(
    const Row& row, const int rival, const double off, const double threshold
) {
    __shared__ int counts[THREADS], counts_of_part[PARTS];
    __shared__ double sums[THREADS], sums_of_part[PARTS];
    const int t = threadIdx.x;
    Found found = {0, 0.0};
    for (int j = t; j < row.labels; j += THREADS) {
        const int code = row.codes[j];
        const double gain = (code == row.own ? 2.0 : 1.0) * (row.shares[j] + off);
        if (code != rival && gain > threshold) found.count++, found.sum += gain;
    }
    counts[t] = found.count;
    sums[t] = found.sum;
    __syncthreads();
    if (t < PARTS) {
        found = {0, 0.0};
        for (int k = t; k < THREADS; k += PARTS) found.count += counts[k], found.sum += sums[k];
        counts_of_part[t] = found.count;
        sums_of_part[t] = found.sum;
    }
    __syncthreads();
    found = {0, 0.0};
    for (int p = 0; p < PARTS; p++)
        found.count += counts_of_part[p], found.sum += sums_of_part[p];
    return found;
}

// How many of the gains, the largest first, add up to what is wanted; of `most` or more, any number
// that is no fewer.
__device__ int fewest(
    const Row& row, const int rival, const double off, const double wanted, const int most
) {
    if (wanted <= 0.0) return 0;
    Found enough = gains_above(row, rival, off, 0.0), few = {0, 0.0};
    if (enough.sum < wanted) return most;
    // Gains above `low` are enough, those above `high` are not: no gain is above the sum of all.
    long long low = 0, high = bits_of(enough.sum);
    // The first guess: gains up to it add up to half of what there is too much.
    long long middle = bits_of((enough.sum - wanted) / (2.0 * row.labels));
    while (high - low > 1 && enough.count - few.count > 1 && few.count + 1 < most) {
        const Found found = gains_above(row, rival, off, of_bits(middle));
        if (found.sum < wanted) {
            high = middle;
            few = found;
        } else {
            low = middle;
            enough = found;
        }
        middle = low + (high - low) / 2;
    }
    // What lies between is one gain, or several that are all `high`, of which all are enough.
    int fewer = 0, more = enough.count - few.count;
    while (more - fewer > 1) {
        const int some = fewer + (more - fewer) / 2;
        if (fma(static_cast<double>(some), of_bits(high), few.sum) < wanted) fewer = some;
        else more = some;
    }
    return few.count + more;
}

extern "C" __global__ void count_needed(
    const double* M,         // (rows, labels) non-negative, normalised by rows
    const double* scores,    // (rows, classes)
    const int* codes,        // (labels,) class of each label
    const int* predicted,    // (rows,)
    const int labels,
    const int classes,
    const double tie,        // scores nearer than this are equal, and the lower class is taken
    const double error,      // of a share
    const double allowance,  // for what the errors of all shares, and rounding, add up to
    int* needed              // (rows, 2) by the shares, and beyond any doubt; labels + 1: none do
) {
    const size_t i = blockIdx.x;
    const Row row = {M + i * labels, codes, labels, predicted[i]};
    const double* score = scores + i * classes;
    // A row that no label reaches has no shares to be wrong about.
    const bool reached = gains_above(row, NO_CLASS, 0.0, 0.0).count > 0;
    for (int side = 0; side < 2; side++) {
        int least = labels + 1;
        for (int rival = 0; reached && rival < classes; rival++) {
            if (rival == row.own) continue;
            // A rival of lower index wins ties, one of higher index has to exceed them.
            const double need = score[row.own] - score[rival] + (rival > row.own ? tie : -tie);
            const double wanted = need - side * allowance;
            least = min(least, fewest(row, rival, side * error, wanted, least));
        }
        if (threadIdx.x == 0) needed[2 * i + side] = least;
    }
}
