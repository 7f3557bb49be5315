// Rows about the centre of the labelled points as three signed bytes a value, and a scale a row.
//
// value = scale (a + b / 254 + c / 254^2) within 1 / (2 254^2) of the scale: a third byte reaches as
// far down as float32 does from a row's largest value. Products of bytes are exact on tensor cores,
// in any order, so that the bound of a score needs to know nothing of how they add up.
#ifndef VALUE
#define VALUE float  // of the features as they are kept: unsigned char, float or double
#endif
#define THREADS 128
#define WARP 32
#define STEPS 254.0

extern "C" __global__ void slice_rows(
    const VALUE* source,   // (rows, features)
    const double* center,  // (features,)
    const double unit,     // every difference is multiplied by it
    const int features,
    const int width,       // of one slice of a row, at least features
    const int reversed,    // whether the last slice comes first
    signed char* slices,   // (rows, 3 width)
    double* scale,         // (rows,)
    double* squares        // (rows,) squared norms
) {
    __shared__ double most_of[THREADS / WARP], sum_of[THREADS / WARP];
    const VALUE* row = source + static_cast<size_t>(blockIdx.x) * features;
    signed char* out = slices + static_cast<size_t>(blockIdx.x) * 3 * width;
    double most = 0.0, sum = 0.0;
    for (int k = threadIdx.x; k < features; k += THREADS) {
        const double value = (static_cast<double>(row[k]) - center[k]) * unit;
        most = fmax(most, fabs(value));
        sum += value * value;
    }
    for (int apart = WARP / 2; apart > 0; apart /= 2) {
        most = fmax(most, __shfl_xor_sync(0xffffffffu, most, apart));
        sum += __shfl_xor_sync(0xffffffffu, sum, apart);
    }
    const int warp = threadIdx.x / WARP;
    if (threadIdx.x % WARP == 0) most_of[warp] = most, sum_of[warp] = sum;
    __syncthreads();
    most = sum = 0.0;
    for (int w = 0; w < THREADS / WARP; w++) most = fmax(most, most_of[w]), sum += sum_of[w];
    // A row of zeros has no scale, nor has one whose values leave float64, which the norm tells.
    const bool some = most > 1e-300 && most < 1e300;
    const double one = some ? most / 127.0 : 1.0;
    if (threadIdx.x == 0) scale[blockIdx.x] = some ? one : 0.0, squares[blockIdx.x] = sum;
    const int first = reversed ? 2 * width : 0, last = reversed ? 0 : 2 * width;
    for (int k = threadIdx.x; k < width; k += THREADS) {
        double left = 0.0;
        if (k < features) left = (static_cast<double>(row[k]) - center[k]) * unit / one;
        left = fmin(127.0, fmax(-127.0, left));
        const double a = rint(left);
        left = (left - a) * STEPS;
        const double b = rint(left);
        left = (left - b) * STEPS;
        out[first + k] = static_cast<signed char>(a);
        out[width + k] = static_cast<signed char>(b);
        out[last + k] = static_cast<signed char>(rint(left));
    }
}
