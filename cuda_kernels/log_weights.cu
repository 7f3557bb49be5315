// Log-weights of a Gaussian kernel from the products of rows and columns, in place.
//
// Where the squared norms add up to more than `reach`, what they cancel to is not good enough, and
// the two points are compared feature by feature.

extern "C" __global__ void log_weights(
    const double* rows,     // (r, features)
    const double* columns,  // (n_columns, features)
    const double* a,        // (r,) squared norms
    const double* b,        // (n_columns,)
    const double gamma,
    const double reach,
    const double cancelled,  // part of the norms: a distance below it is a duplicate's
    const int features,
    const int n_columns,
    double* block           // (r, n_columns)
) {
    const int j = blockIdx.x * blockDim.x + threadIdx.x;
    if (j >= n_columns) return;
    const size_t i = blockIdx.y;
    const size_t at = i * n_columns + j;
    const double norms = a[i] + b[j];
    double distance = norms - 2.0 * block[at];
    distance = distance > cancelled * norms ? distance : 0.0;
    if (norms > reach) {
        const double* x = rows + i * features;
        const double* y = columns + static_cast<size_t>(j) * features;
        distance = 0.0;
        for (int k = 0; k < features; k++) distance += (x[k] - y[k]) * (x[k] - y[k]);
    }
    block[at] = -gamma * distance;
}
