"""Sparse kernels of absorbing chains, in float64, on chunks of rows.

A chain is ``(A x)_i = leak_i x_i + sum_j P_ij (x_i - x_j)``. Differences are taken before they are
multiplied, so that where neighbours nearly agree the product is far more accurate than
``x_i - (P x)_i``. Every kernel treats the chunks ``lo <= chunk < hi`` and writes sums by chunk:
added up in order, they are the same for every number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

Floats = npt.NDArray[np.float64]

# Rows of a chunk: a sum over so many is one number, and a small system is one chunk.
CHUNK = 1024

# A fused multiply-add rounds once instead of twice: every bound holds for it as well.
_FUSE = {"contract"}


@njit(nogil=True, cache=True, fastmath=_FUSE)
def multiply(
    indptr: Any,
    indices: Any,
    data: Floats,
    leak: Floats,
    X: Floats,
    weight: Floats,
    out: Floats,
    energy: Floats,
    lo: int,
    hi: int,
) -> None:
    """Write ``A X`` (m, c), and ``sum_i weight_i x_i (A x)_i`` by chunk and column.

    Four columns, or two, share what is read of a row: a column at a time would wait for memory as
    often as all of them together.
    """
    m, n_columns = X.shape
    for chunk in range(lo, hi):
        for c in range(n_columns):
            energy[chunk, c] = 0.0
        for i in range(chunk * CHUNK, min((chunk + 1) * CHUNK, m)):
            start, stop = indptr[i], indptr[i + 1]
            c = 0
            while c + 4 <= n_columns:
                x0, x1, x2, x3 = X[i, c], X[i, c + 1], X[i, c + 2], X[i, c + 3]
                y0, y1, y2, y3 = leak[i] * x0, leak[i] * x1, leak[i] * x2, leak[i] * x3
                for k in range(start, stop):
                    j, p = indices[k], data[k]
                    y0 += p * (x0 - X[j, c])
                    y1 += p * (x1 - X[j, c + 1])
                    y2 += p * (x2 - X[j, c + 2])
                    y3 += p * (x3 - X[j, c + 3])
                out[i, c], out[i, c + 1], out[i, c + 2], out[i, c + 3] = y0, y1, y2, y3
                energy[chunk, c] += weight[i] * x0 * y0
                energy[chunk, c + 1] += weight[i] * x1 * y1
                energy[chunk, c + 2] += weight[i] * x2 * y2
                energy[chunk, c + 3] += weight[i] * x3 * y3
                c += 4
            if c + 2 <= n_columns:
                x0, x1 = X[i, c], X[i, c + 1]
                y0, y1 = leak[i] * x0, leak[i] * x1
                for k in range(start, stop):
                    j, p = indices[k], data[k]
                    y0 += p * (x0 - X[j, c])
                    y1 += p * (x1 - X[j, c + 1])
                out[i, c], out[i, c + 1] = y0, y1
                energy[chunk, c] += weight[i] * x0 * y0
                energy[chunk, c + 1] += weight[i] * x1 * y1
                c += 2
            if c < n_columns:
                x0 = X[i, c]
                y0 = leak[i] * x0
                for k in range(start, stop):
                    y0 += data[k] * (x0 - X[indices[k], c])
                out[i, c] = y0
                energy[chunk, c] += weight[i] * x0 * y0


@njit(nogil=True, cache=True, fastmath=_FUSE)
def residual(
    indptr: Any,
    indices: Any,
    data: Floats,
    leak: Floats,
    X: Floats,
    B: Floats,
    out: Floats,
    size: Floats,
    lo: int,
    hi: int,
) -> None:
    """Write ``B - A X`` (m, c), and the sum of the absolute values of its terms."""
    m, n_columns = X.shape
    for i in range(lo * CHUNK, min(hi * CHUNK, m)):
        for c in range(n_columns):
            x = X[i, c]
            r = B[i, c] - leak[i] * x
            terms = abs(B[i, c]) + leak[i] * abs(x)
            for k in range(indptr[i], indptr[i + 1]):
                difference = x - X[indices[k], c]
                r -= data[k] * difference
                terms += data[k] * abs(difference)
            out[i, c], size[i, c] = r, terms


@njit(nogil=True, cache=True, fastmath=_FUSE)
def advance(
    alpha: Floats,
    direction: Floats,
    product: Floats,
    weight: Floats,
    X: Floats,
    R: Floats,
    sums: Floats,
    largest: Floats,
    lo: int,
    hi: int,
) -> None:
    """Add ``alpha direction`` to X, take ``alpha product`` from R, and measure both.

    ``sums`` (chunks, 2, c) receives ``sum_i weight_i r_i^2`` and ``sum_i weight_i |r_i|``,
    ``largest`` (chunks, 2, c) ``max_i |r_i|`` and ``max_i |x_i|``.
    """
    m, n_columns = X.shape
    for chunk in range(lo, hi):
        sums[chunk, :, :] = 0.0
        largest[chunk, :, :] = 0.0
        for i in range(chunk * CHUNK, min((chunk + 1) * CHUNK, m)):
            for c in range(n_columns):
                x = X[i, c] + alpha[c] * direction[i, c]
                r = R[i, c] - alpha[c] * product[i, c]
                X[i, c], R[i, c] = x, r
                weighted = weight[i] * abs(r)
                sums[chunk, 0, c] += weighted * abs(r)
                sums[chunk, 1, c] += weighted
                largest[chunk, 0, c] = max(largest[chunk, 0, c], abs(r))
                largest[chunk, 1, c] = max(largest[chunk, 1, c], abs(x))


@njit(nogil=True, cache=True, fastmath=_FUSE)
def turn(beta: Floats, R: Floats, direction: Floats, lo: int, hi: int) -> None:
    """Write the next direction, ``R + beta direction``."""
    m, n_columns = R.shape
    for i in range(lo * CHUNK, min(hi * CHUNK, m)):
        for c in range(n_columns):
            direction[i, c] = R[i, c] + beta[c] * direction[i, c]
