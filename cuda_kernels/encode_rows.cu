// Rows of 8-bit numbers in disguise as signed codes, their squared norms, and whether they are that.
//
// One block of threads a row. A code is a whole number of steps less 128; what pads a row is 0 and
// adds nothing to a product.
#ifndef VALUE
#define VALUE float  // of the features as they are kept: unsigned char, float or double
#endif
#define THREADS 128
#define WARP 32

extern "C" __global__ void encode_rows(
    const VALUE* source,  // (rows, features)
    const double step,
    const double off,     // how far a value may be from its code, in parts of itself
    const int features,
    const int width,      // of a row of codes, at least features
    signed char* codes,   // (rows, width)
    int* squares,         // (rows,) of the codes before 128 is taken away; -1: a row is no codes
    int* sums             // (rows,) of the codes as they are
) {
    __shared__ int squares_of[THREADS / WARP], sums_of[THREADS / WARP], astray_of[THREADS / WARP];
    const VALUE* row = source + static_cast<size_t>(blockIdx.x) * features;
    signed char* out = codes + static_cast<size_t>(blockIdx.x) * width;
    const double per_step = 1.0 / step;
    int square = 0, sum = 0, astray = 0;
    for (int k = threadIdx.x; k < width; k += THREADS) {
        int code = 128;
        if (k < features) {
            const double value = static_cast<double>(row[k]);
            const double whole = floor(value * per_step + 0.5);
            const bool inside = whole >= 0.0 && whole <= 255.0;  // not so for NaN
            code = inside ? static_cast<int>(whole) : 0;
            astray += !(inside && fabs(value - whole * step) <= off * fabs(value));
            square += code * code;
            sum += code - 128;
        }
        out[k] = static_cast<signed char>(code - 128);
    }
    for (int apart = WARP / 2; apart > 0; apart /= 2) {
        square += __shfl_xor_sync(0xffffffffu, square, apart);
        sum += __shfl_xor_sync(0xffffffffu, sum, apart);
        astray += __shfl_xor_sync(0xffffffffu, astray, apart);
    }
    const int warp = threadIdx.x / WARP;
    if (threadIdx.x % WARP == 0)
        squares_of[warp] = square, sums_of[warp] = sum, astray_of[warp] = astray;
    __syncthreads();
    if (threadIdx.x == 0) {
        square = sum = astray = 0;
        for (int w = 0; w < THREADS / WARP; w++)
            square += squares_of[w], sum += sums_of[w], astray += astray_of[w];
        squares[blockIdx.x] = astray ? -1 : square;
        sums[blockIdx.x] = sum;
    }
}
