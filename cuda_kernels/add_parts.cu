// Sums of several parts of a column, in the order of the parts.
extern "C" __global__ void add_parts(
    const double* parts,  // (n_parts, columns)
    const int n_parts,
    const int columns,
    double* total         // (columns,)
) {
    const int j = blockIdx.x * blockDim.x + threadIdx.x;
    if (j >= columns) return;
    double sum = 0.0;
    for (int p = 0; p < n_parts; p++) sum += parts[static_cast<size_t>(p) * columns + j];
    total[j] = sum;
}
