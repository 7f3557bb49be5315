// Products of rows from the products of their slices, rounded once.
extern "C" __global__ void combine_slices(
    const int* high,       // (rows, stride) first slices
    const int* middle,     // first by second, both ways
    const int* low,        // first by third, both ways, and second by second
    const double* scale,   // (rows,)
    const double* scales,  // (columns,)
    const int columns,
    const int stride,
    float* dots            // (rows, stride)
) {
    const int j = blockIdx.x * blockDim.x + threadIdx.x;
    if (j >= columns) return;
    const size_t at = static_cast<size_t>(blockIdx.y) * stride + j;
    const double sum = high[at] + (middle[at] + low[at] / 254.0) / 254.0;
    dots[at] = static_cast<float>(scale[blockIdx.y] * scales[j] * sum);
}
