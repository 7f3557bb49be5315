// What follows the product of a step of propagation: rows sum to 1, labels are put back, and how
// far any score has moved is known, in one pass over both.
#define THREADS 256
#define WARP 32

extern "C" __global__ void propagation_step(
    const double* product,  // (rows, classes) of the transition matrix and the scores before
    const double* before,   // (rows, classes)
    const int* code,        // (rows,) class of a labelled row, -1 for any other
    const int rows,
    const int classes,
    double* after,          // (rows, classes)
    double* change          // (blocks,) largest |after - before| of a block's rows
) {
    __shared__ double of_warp[THREADS / WARP];
    const int i = blockIdx.x * THREADS + threadIdx.x;
    double most = 0.0;
    if (i < rows) {
        const size_t at = static_cast<size_t>(i) * classes;
        double sum = 0.0;
        for (int c = 0; c < classes; c++) sum += product[at + c];
        for (int c = 0; c < classes; c++) {
            // A row that nothing has reached yet stays 0.
            double score = sum > 0.0 ? product[at + c] / sum : 0.0;
            if (code[i] >= 0) score = code[i] == c ? 1.0 : 0.0;
            most = fmax(most, fabs(score - before[at + c]));
            after[at + c] = score;
        }
    }
    for (int apart = WARP / 2; apart > 0; apart /= 2)
        most = fmax(most, __shfl_xor_sync(0xffffffffu, most, apart));
    if (threadIdx.x % WARP == 0) of_warp[threadIdx.x / WARP] = most;
    __syncthreads();
    if (threadIdx.x == 0) {
        for (int w = 1; w < THREADS / WARP; w++) most = fmax(most, of_warp[w]);
        change[blockIdx.x] = most;
    }
}
