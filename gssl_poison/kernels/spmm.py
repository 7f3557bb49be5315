"""Products of a CSR matrix with many columns at once, on every processor."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from gssl_poison._arrays import n_threads

Floats = npt.NDArray[np.float64]

# Columns multiplied together: a row of them is two cache lines, and all rows of them stay in the
# cache for graphs of some ten thousand points.
_COLUMNS = 16


@njit(cache=True, nogil=True, fastmath={"contract"})
def _multiply(indptr: Any, indices: Any, data: Any, F: Any, out: Any) -> None:
    """Write ``A F`` for F (n, 16) to out (m, 16)."""
    for i in range(out.shape[0]):
        for c in range(_COLUMNS):
            out[i, c] = 0.0
        for k in range(indptr[i], indptr[i + 1]):
            j, a = indices[k], data[k]
            for c in range(_COLUMNS):
                out[i, c] += a * F[j, c]


def multiply(A: Any, F: Floats) -> Floats:
    """Return ``A F``, (m, c) float64.

    Parameters
    ----------
    A : (m, n) csr_array of float64
    F : (n, c) float64

    Notes
    -----
    ``2 nnz c`` operations. scipy's product reads a whole row of F for every entry and runs on one
    thread; here threads take blocks of columns, so the result does not depend on their number.
    """
    out = np.empty((A.shape[0], F.shape[1]))

    def work(start: int) -> None:
        stop = min(start + _COLUMNS, F.shape[1])
        block = np.zeros((F.shape[0], _COLUMNS))
        block[:, : stop - start] = F[:, start:stop]
        product = np.empty((A.shape[0], _COLUMNS))
        _multiply(A.indptr, A.indices, A.data, block, product)
        out[:, start:stop] = product[:, : stop - start]

    with ThreadPoolExecutor(n_threads()) as pool:
        for _ in pool.map(work, range(0, F.shape[1], _COLUMNS)):
            pass
    return out
