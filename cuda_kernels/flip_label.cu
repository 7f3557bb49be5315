// A flip of one label: what its column of M moves from one class's scores to another's.
extern "C" __global__ void flip_label(
    const double* M,  // (rows, labels)
    const int rows,
    const int labels,
    const int classes,
    const int label,
    const int old,
    const int fresh,
    double* scores,   // (rows, classes)
    int* codes        // (labels,)
) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i == 0) codes[label] = fresh;
    if (i >= rows) return;
    const double part = M[static_cast<size_t>(i) * labels + label];
    scores[static_cast<size_t>(i) * classes + old] -= part;
    scores[static_cast<size_t>(i) * classes + fresh] += part;
}
