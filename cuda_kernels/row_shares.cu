// Who holds a row: the largest score of each row, where it is, and what all others weigh beside it.
//
// One block of threads a row. Two readings of it: the second finds it in the nearest cache. Sums that
// are rescaled whenever a larger score turns up would need one, and lose a digit: each rescaling has
// the error of an exponential. The first largest is left out of the sum rather than taken away from
// it, so that a small rest keeps its digits.
#include "exp32.cuh"

#ifndef SCORE
#define SCORE float  // of the products: float, or int of 8-bit codes
#endif
#define THREADS 256
#define WARP 32
#define ALL 0xffffffffu

extern "C" __global__ void row_shares(
    const SCORE* dots,   // (rows, stride)
    const SCORE slope,
    const SCORE* bias,   // (columns,)
    const float unit,    // what a score of 1 is in log units
    const int columns,   // at least 1
    const int stride,
    SCORE* largest,      // (rows,)
    int* first,          // (rows,) the column of the largest score, the lowest of those that tie
    double* rest         // (rows,) weights of all other columns, over the largest
) {
    __shared__ SCORE top_of_warp[THREADS / WARP];
    __shared__ int first_of_warp[THREADS / WARP];
    __shared__ double rest_of_warp[THREADS / WARP];
    const int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    const SCORE* scores = dots + static_cast<size_t>(blockIdx.x) * stride;

    // A thread without a column of its own looks at the first one again.
    SCORE top = slope * scores[0] + bias[0];
    int column = 0;
    for (int j = threadIdx.x; j < columns; j += THREADS) {
        const SCORE score = slope * scores[j] + bias[j];
        if (score > top) top = score, column = j;
    }
    for (int apart = WARP / 2; apart > 0; apart /= 2) {
        const SCORE other = __shfl_xor_sync(ALL, top, apart);
        const int there = __shfl_xor_sync(ALL, column, apart);
        if (other > top || (other == top && there < column)) top = other, column = there;
    }
    if (lane == 0) top_of_warp[warp] = top, first_of_warp[warp] = column;
    __syncthreads();
    for (int w = 0; w < THREADS / WARP; w++) {
        const SCORE other = top_of_warp[w];
        const int there = first_of_warp[w];
        if (other > top || (other == top && there < column)) top = other, column = there;
    }

    double sum = 0.0;
    for (int j = threadIdx.x; j < columns; j += THREADS) {
        const SCORE score = slope * scores[j] + bias[j];
        const float below = static_cast<float>(score - top) * unit;
        if (j != column) sum += static_cast<double>(weight_below(below));
    }
    for (int apart = WARP / 2; apart > 0; apart /= 2) sum += __shfl_xor_sync(ALL, sum, apart);
    if (lane == 0) rest_of_warp[warp] = sum;
    __syncthreads();
    if (threadIdx.x == 0) {
        sum = 0.0;
        for (int w = 0; w < THREADS / WARP; w++) sum += rest_of_warp[w];
        largest[blockIdx.x] = top;
        first[blockIdx.x] = column;
        rest[blockIdx.x] = sum;
    }
}
