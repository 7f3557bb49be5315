// The nearest columns of every row so far: those of the lists so far and of one block of columns.
//
// One block of threads a row. What a column is judged by is a lower bound of its squared distance
// less the squared norm of the row, so that what a list leaves out is known to be no nearer than its
// last one. Columns come a segment at a time: those that come before the last of the list are put
// aside, in whatever order, and every one of them and of the list then counts how many come before
// it. No two are alike, since ties go to the lower column: the order of the threads says nothing.
// Few columns come before the last of a list that has seen many.
#define THREADS 128
#define SEGMENT 512
#define MOST 256  // of a list

__device__ bool comes_before(const float a, const int i, const float b, const int j) {
    return a < b || (a == b && i < j);
}

extern "C" __global__ void nearest(
    const float* dots,     // (rows, columns)
    const float* squares,  // (columns,) squared norms, less what rounding may add to them
    const float* norms,    // (columns,)
    const float* slack,    // (rows,) what the rounding of a product may add, in norms of a column
    const int columns,
    const int first,       // number of the first of these columns
    const int wanted,      // of a list, at most MOST
    const int known,       // of the lists so far, at most wanted
    float* lowest,         // (rows, wanted) the bounds, ascending
    int* found             // (rows, wanted) their columns
) {
    __shared__ float bound[2][MOST], fresh_bound[SEGMENT];
    __shared__ int column[2][MOST], fresh_column[SEGMENT], n_fresh;
    const int t = threadIdx.x;
    const float* row = dots + static_cast<size_t>(blockIdx.x) * columns;
    const float loose = slack[blockIdx.x];
    float* lowest_here = lowest + static_cast<size_t>(blockIdx.x) * wanted;
    int* found_here = found + static_cast<size_t>(blockIdx.x) * wanted;
    for (int k = t; k < known; k += THREADS)
        bound[0][k] = lowest_here[k], column[0][k] = found_here[k];
    if (t == 0) n_fresh = 0;
    int side = 0, have = known;
    for (int start = 0; start < columns; start += SEGMENT) {
        __syncthreads();
        const bool full = have == wanted;
        const float last = full ? bound[side][wanted - 1] : 0.0f;
        const int last_column = full ? column[side][wanted - 1] : 0;
        const int end = min(start + SEGMENT, columns);
        for (int j = start + t; j < end; j += THREADS) {
            const float low = squares[j] - 2.0f * row[j] - loose * norms[j];
            if (full && !comes_before(low, first + j, last, last_column)) continue;
            const int at = atomicAdd(&n_fresh, 1);
            fresh_bound[at] = low;
            fresh_column[at] = first + j;
        }
        __syncthreads();
        const int fresh = n_fresh;
        if (fresh == 0) continue;
        const float* old_bound = bound[side];
        const int* old_column = column[side];
        for (int k = t; k < have + fresh; k += THREADS) {
            const bool old = k < have;
            const float low = old ? old_bound[k] : fresh_bound[k - have];
            const int number = old ? old_column[k] : fresh_column[k - have];
            int place = old ? k : 0;  // a list is in order
            for (int i = 0; i < fresh; i++)
                place += comes_before(fresh_bound[i], fresh_column[i], low, number);
            for (int i = 0; i < (old ? 0 : have); i++)
                place += comes_before(old_bound[i], old_column[i], low, number);
            if (place < wanted) bound[1 - side][place] = low, column[1 - side][place] = number;
        }
        __syncthreads();
        if (t == 0) n_fresh = 0;
        side = 1 - side;
        have = min(wanted, have + fresh);
    }
    for (int k = t; k < have; k += THREADS)
        lowest_here[k] = bound[side][k], found_here[k] = column[side][k];
}
