// What a block of rows adds to the total influence of every column: sums of shares.
//
// A thread has one column and some rows; sums of several threads of one column stand apart in
// `parts` and are added in order by the caller, so that the same input gives the same bits.
#include "exp32.cuh"

#ifndef SCORE
#define SCORE float
#endif
#define ROWS 64  // of a part

extern "C" __global__ void column_totals(
    const SCORE* dots,     // (rows, stride)
    const SCORE slope,
    const SCORE* bias,     // (columns,)
    const float unit,
    const int rows,
    const int columns,
    const int stride,
    const SCORE* largest,  // (rows,) of row_shares
    const double* rest,    // (rows,) of row_shares; negative: a row that is left out
    double* parts          // (ceil(rows / ROWS), columns)
) {
    __shared__ SCORE top[ROWS];
    __shared__ double inverse[ROWS];
    const int start = blockIdx.y * ROWS;
    const int here = min(ROWS, rows - start);
    for (int i = threadIdx.x; i < here; i += blockDim.x) {
        top[i] = largest[start + i];
        const double others = rest[start + i];
        inverse[i] = others < 0.0 ? 0.0 : 1.0 / (1.0 + others);
    }
    __syncthreads();
    const int j = blockIdx.x * blockDim.x + threadIdx.x;
    if (j >= columns) return;
    const SCORE b = bias[j];
    const SCORE* score = dots + static_cast<size_t>(start) * stride + j;
    double sum = 0.0;
    for (int i = 0; i < here; i++) {
        const SCORE s = slope * score[static_cast<size_t>(i) * stride] + b;
        const float below = static_cast<float>(s - top[i]) * unit;
        sum += static_cast<double>(weight_below(below)) * inverse[i];
    }
    parts[static_cast<size_t>(blockIdx.y) * columns + j] = sum;
}
