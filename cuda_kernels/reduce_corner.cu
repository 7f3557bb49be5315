// Elimination without subtraction within a block of states: what `reduce_corner` of the CPU does.
//
// One block of threads. States go one after another; what a state adds to the others is shared by
// all threads. The columns of both inverses know nothing of each other: a thread has one. All sums
// are of products of non-negative numbers, so that every entry keeps its relative accuracy.
#define THREADS 1024
#define WARP 32
#define SMALLEST 9.332636185032189e-302  // 2**-1000
#define LARGEST 1.7976931348623157e308

extern "C" __global__ void __launch_bounds__(THREADS) reduce_corner(
    double* S,        // (size, size) weights among the states; overwritten
    double* leaving,  // (size,) weight of leaving the block; overwritten
    const int size,   // at most THREADS / 2
    double* lower,    // (size, size) inverse of the unit lower factor
    double* paths,    // (size, size) probability of coming from p to q through later states
    double* sums,     // (size,) pivots
    int* bad          // (1,) the first state without an exit that double can hold, or size
) {
    __shared__ double of_warp[THREADS / WARP];
    __shared__ double pivot;
    const int t = threadIdx.x;
    if (t == 0) bad[0] = size;
    for (int p = 0; p < size; p++) {
        double part = 0.0;
        for (int j = p + 1 + t; j < size; j += THREADS) part += S[p * size + j];
        for (int apart = WARP / 2; apart > 0; apart /= 2)
            part += __shfl_xor_sync(0xffffffffu, part, apart);
        if (t % WARP == 0) of_warp[t / WARP] = part;
        __syncthreads();
        if (t == 0) {
            double total = leaving[p];
            for (int w = 0; w < THREADS / WARP; w++) total += of_warp[w];
            pivot = sums[p] = total;
            if (!(total > SMALLEST && total <= LARGEST)) bad[0] = min(bad[0], p);
        }
        __syncthreads();
        const double total = pivot;
        for (int i = p + 1 + t; i < size; i += THREADS) {
            S[i * size + p] /= total;
            leaving[i] += S[i * size + p] * leaving[p];
        }
        __syncthreads();
        for (int i = p + 1 + t / WARP; i < size; i += THREADS / WARP)
            for (int j = p + 1 + t % WARP; j < size; j += WARP)
                S[i * size + j] += S[i * size + p] * S[p * size + j];
        __syncthreads();
    }
    // From here on only the lower part is what it was: above the diagonal are probabilities.
    for (int p = t / WARP; p < size; p += THREADS / WARP)
        for (int j = p + 1 + t % WARP; j < size; j += WARP) S[p * size + j] /= sums[p];
    __syncthreads();
    if (t < size) {
        const int q = t;
        for (int i = 0; i < size; i++) {
            double sum = i == q ? 1.0 : 0.0;
            for (int p = q; p < i; p++) sum += S[i * size + p] * lower[p * size + q];
            lower[i * size + q] = sum;
        }
    } else if (t >= THREADS / 2 && t - THREADS / 2 < size) {
        const int q = t - THREADS / 2;
        for (int p = size - 1; p >= 0; p--) {
            double sum = p == q ? 1.0 : 0.0;
            for (int j = p + 1; j <= q; j++) sum += S[p * size + j] * paths[j * size + q];
            paths[p * size + q] = sum;
        }
    }
    __syncthreads();
    for (int k = t; k < size * size; k += THREADS)
        if (!(lower[k] <= LARGEST)) atomicMin(bad, k / size);
}
