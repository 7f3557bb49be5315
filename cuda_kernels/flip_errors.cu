// How many more rows are wrong after each single flip: every label, every other class, in one pass.
//
// M is read once for each class but one. A thread has one label and some rows; counts are whole
// numbers, so that the order in which they are added says nothing.
#ifndef ROWS
#define ROWS 128  // of a block: their scores lie in shared memory
#endif

extern "C" __global__ void flip_errors(
    const double* M,       // (rows, labels)
    const double* scores,  // (rows, classes)
    const int* codes,      // (labels,) class of each label
    const int* target,     // (rows,) the right class
    const int rows,
    const int labels,
    const int classes,
    const double tie,      // scores nearer than this are equal, and the lower class is taken
    int* change            // (labels, classes), gains the counts
) {
    extern __shared__ double kept[];  // ROWS x classes scores, then ROWS of wrong, then of target
    int* wrong = reinterpret_cast<int*>(kept + ROWS * classes);
    int* right = wrong + ROWS;
    const int start = blockIdx.y * ROWS;
    const int here = min(ROWS, rows - start);
    for (int k = threadIdx.x; k < here * classes; k += blockDim.x)
        kept[k] = scores[static_cast<size_t>(start) * classes + k];
    __syncthreads();
    for (int i = threadIdx.x; i < here; i += blockDim.x) {
        int best = 0;
        double most = kept[i * classes];
        for (int c = 1; c < classes; c++)
            if (kept[i * classes + c] > most + tie) most = kept[i * classes + c], best = c;
        right[i] = target[start + i];
        wrong[i] = best != right[i];
    }
    __syncthreads();
    const int j = blockIdx.x * blockDim.x + threadIdx.x;
    if (j >= labels) return;
    const int from = codes[j];
    const int to = (from + 1 + blockIdx.z) % classes;
    const double* part = M + static_cast<size_t>(start) * labels + j;
    int more = 0;
#pragma unroll 4
    for (int i = 0; i < here; i++) {
        const double moved = part[static_cast<size_t>(i) * labels];
        const double* row = kept + i * classes;
        int best = 0;
        double most = row[0] + (to == 0 ? moved : from == 0 ? -moved : 0.0);
        for (int c = 1; c < classes; c++) {
            const double s = row[c] + (to == c ? moved : from == c ? -moved : 0.0);
            if (s > most + tie) most = s, best = c;
        }
        more += (best != right[i]) - wrong[i];
    }
    if (more != 0) atomicAdd(change + static_cast<size_t>(j) * classes + to, more);
}
