// What follows the product of a step of propagation or spreading, in one pass over the scores.
//
// A score becomes its product times the row's factor (one over the degree, or alpha). A labelled row
// is put back where labels clamp, else gains what it is told. How far any score has moved, as a part
// of itself, is known at the end: the sum of a series has settled when it is small.
#define THREADS 256
#define WARP 32

extern "C" __global__ void propagation_step(
    const double* product,  // (rows, columns) of the weights and the scores before
    const double* factor,   // (rows,)
    const double* values,   // (any, columns) what labelled rows are, or gain
    const int* place,       // (rows,) the row of `values` that is a row's own, or -1
    const int clamped,
    const int rows,
    const int columns,
    double* scores,         // (rows, columns) before; receives those after
    double* change          // (blocks,) the largest |after - before| / |after| of a block
) {
    __shared__ double of_warp[THREADS / WARP];
    const size_t at = static_cast<size_t>(blockIdx.x) * THREADS + threadIdx.x;
    double moved = 0.0;
    if (at < static_cast<size_t>(rows) * columns) {
        const size_t i = at / columns;
        double score = factor[i] * product[at];
        if (place[i] >= 0) {
            const double own = values[static_cast<size_t>(place[i]) * columns + at % columns];
            score = clamped ? own : score + own;
        }
        const double apart = fabs(score - scores[at]);
        if (apart > 0.0) moved = apart / fabs(score);
        scores[at] = score;
    }
    for (int apart = WARP / 2; apart > 0; apart /= 2)
        moved = fmax(moved, __shfl_xor_sync(0xffffffffu, moved, apart));
    if (threadIdx.x % WARP == 0) of_warp[threadIdx.x / WARP] = moved;
    __syncthreads();
    if (threadIdx.x == 0) {
        for (int w = 1; w < THREADS / WARP; w++) moved = fmax(moved, of_warp[w]);
        change[blockIdx.x] = moved;
    }
}
