// Rows about the centre of the labelled points, in their unit, and their squared norms.
//
// One block of threads a row. Norms are taken in double before the values are rounded: the bound of
// a row's scores rests on them.
#ifndef VALUE
#define VALUE float  // of the features as they are kept: unsigned char, float or double
#endif
#define THREADS 128
#define WARP 32

extern "C" __global__ void center_rows(
    const VALUE* source,   // (rows, features)
    const double* center,  // (features,)
    const double scale,
    const int features,
    float* points,         // (rows, features)
    double* squares        // (rows,)
) {
    __shared__ double of_warp[THREADS / WARP];
    const size_t start = static_cast<size_t>(blockIdx.x) * features;
    double sum = 0.0;
    for (int k = threadIdx.x; k < features; k += THREADS) {
        const double value = (static_cast<double>(source[start + k]) - center[k]) * scale;
        points[start + k] = static_cast<float>(value);
        sum += value * value;
    }
    for (int apart = WARP / 2; apart > 0; apart /= 2)
        sum += __shfl_xor_sync(0xffffffffu, sum, apart);
    if (threadIdx.x % WARP == 0) of_warp[threadIdx.x / WARP] = sum;
    __syncthreads();
    if (threadIdx.x == 0) {
        sum = 0.0;
        for (int w = 0; w < THREADS / WARP; w++) sum += of_warp[w];
        squares[blockIdx.x] = sum;
    }
}
