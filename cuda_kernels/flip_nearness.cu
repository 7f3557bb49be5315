// How much nearer to turning each of some flips brings the rows that are still right.
//
// A thread has one flip and adds its rows up in order: ties of these sums decide which flip is made,
// so that they have to be the CPU's, bit by bit. Every product below is by -2, -1, 0, 1 or 2, and
// exact, contracted or not.
extern "C" __global__ void flip_nearness(
    const double* M,       // (rows, labels)
    const double* scores,  // (rows, classes)
    const int* codes,      // (labels,) class of each label
    const int* target,     // (rows,) the right class
    const int* label,      // (flips,)
    const int* fresh,      // (flips,) the class that it would have
    const int rows,
    const int labels,
    const int classes,
    const int flips,
    const double tie,      // scores nearer than this are equal, and the lower class is taken
    double* nearness       // (flips,)
) {
    const int k = blockIdx.x * blockDim.x + threadIdx.x;
    if (k >= flips) return;
    const int j = label[k], to = fresh[k], from = codes[j];
    double sum = 0.0;
    for (int i = 0; i < rows; i++) {
        const double* row = scores + static_cast<size_t>(i) * classes;
        const int right = target[i];
        const double part = M[static_cast<size_t>(i) * labels + j];
        int best = 0;
        double most = row[0];
        for (int c = 1; c < classes; c++)
            if (row[c] > most + tie) most = row[c], best = c;
        if (best != right || part == 0.0) continue;
        const double ahead = row[right] + part * ((to == right) - (from == right));
        double gap = 1e300, after = 1e300;
        for (int c = 0; c < classes; c++) {
            if (c == right) continue;
            gap = fmin(gap, row[right] - row[c]);
            after = fmin(after, ahead - row[c] - part * ((to == c) - (from == c)));
        }
        gap = fmax(gap, tie);
        sum += fmax(-1.0, fmin(1.0, (gap - after) / gap));
    }
    nearness[k] = sum;
}
