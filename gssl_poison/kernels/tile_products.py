"""A tile of weights times a few vectors, both ways: as ``w_ij F_j`` and as ``w_ji F_i``."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from gssl_poison.kernels.blas import add_product
from gssl_poison.kernels.cpu import _REORDER
from gssl_poison.kernels.workspace import Workspace

Floats = npt.NDArray[np.float64]

# Columns of a tile that meet their vectors while four rows of it are in the nearest cache.
_STRIP = 1024
# From so many vectors on BLAS is the faster.
_MANY = 9


def multiply(
    tile: npt.NDArray[Any], row: int, column: int, F: Floats, out: Floats, workspace: Workspace
) -> None:
    """Add what a tile of weights gives both ways to ``out``.

    Parameters
    ----------
    tile : (b, w) float32 or float64
        Weights of rows from ``row`` and columns from ``column``, C-ordered, b a multiple of four.
    row, column : int
        The tile's corner.
    F, out : (c, n) float64
        Vectors, and what gains the products.
    workspace : Workspace
        Buffers of the calling thread.
    """
    if F.shape[0] < _MANY:
        _multiply_few(tile, row, column, F, out)
        return
    weights = tile
    if tile.dtype != np.float64:
        weights = workspace.take("converted", tile.shape, "float64")
        np.copyto(weights, tile)
    rows, columns = slice(row, row + tile.shape[0]), slice(column, column + tile.shape[1])
    add_product(out[:, rows], F[:, columns], weights.T)
    add_product(out[:, columns], F[:, rows], weights)


@njit(nogil=True, cache=True, fastmath=_REORDER)
def _dots_of_two(a0: Any, a1: Any, a2: Any, a3: Any, x: Any, y: Any) -> Any:
    """Return the products of four rows with two vectors, in float64."""
    p0 = p1 = p2 = p3 = q0 = q1 = q2 = q3 = 0.0
    for j in range(x.size):
        u, v = x[j], y[j]
        w0, w1 = np.float64(a0[j]), np.float64(a1[j])
        w2, w3 = np.float64(a2[j]), np.float64(a3[j])
        p0 += w0 * u
        p1 += w1 * u
        p2 += w2 * u
        p3 += w3 * u
        q0 += w0 * v
        q1 += w1 * v
        q2 += w2 * v
        q3 += w3 * v
    return p0, p1, p2, p3, q0, q1, q2, q3


@njit(nogil=True, cache=True, fastmath=_REORDER)
def _dots_of_one(a0: Any, a1: Any, a2: Any, a3: Any, x: Any) -> Any:
    """Return the products of four rows with a vector, in float64."""
    p0 = p1 = p2 = p3 = 0.0
    for j in range(x.size):
        u = x[j]
        p0 += np.float64(a0[j]) * u
        p1 += np.float64(a1[j]) * u
        p2 += np.float64(a2[j]) * u
        p3 += np.float64(a3[j]) * u
    return p0, p1, p2, p3


@njit(nogil=True, cache=True, fastmath=_REORDER)
def _add_four(a0: Any, a1: Any, a2: Any, a3: Any, y: Any, out: Any) -> None:
    """Add four rows, times the first four numbers of ``y``, to ``out``."""
    y0, y1, y2, y3 = y[0], y[1], y[2], y[3]
    for j in range(out.size):
        one = np.float64(a0[j]) * y0 + np.float64(a1[j]) * y1
        two = np.float64(a2[j]) * y2 + np.float64(a3[j]) * y3
        out[j] += one + two


@njit(nogil=True, cache=True)
def _multiply_few(tile: Any, row: int, column: int, F: Floats, out: Floats) -> None:
    """Add what a tile of weights gives both ways to ``out`` (c, n): ``w_ij F_j`` and ``w_ji F_i``.

    ``F`` is (c, n). The tile is C-ordered, of a multiple of four rows. It is read from memory once:
    for all further columns four strips of its rows come from the nearest cache.
    """
    n_rows, n_columns = tile.shape
    n_vectors = F.shape[0]
    # Slices and loops from 0: an index that could be negative is looked at, one by one.
    for first in range(0, n_columns, _STRIP):
        last = min(first + _STRIP, n_columns)
        start, stop = column + first, column + last
        for i in range(0, n_rows, 4):
            r = row + i
            a0, a1 = tile[i][first:last], tile[i + 1][first:last]
            a2, a3 = tile[i + 2][first:last], tile[i + 3][first:last]
            for c in range(0, n_vectors - 1, 2):
                x, y = F[c][start:stop], F[c + 1][start:stop]
                p0, p1, p2, p3, q0, q1, q2, q3 = _dots_of_two(a0, a1, a2, a3, x, y)
                out[c, r] += p0
                out[c, r + 1] += p1
                out[c, r + 2] += p2
                out[c, r + 3] += p3
                out[c + 1, r] += q0
                out[c + 1, r + 1] += q1
                out[c + 1, r + 2] += q2
                out[c + 1, r + 3] += q3
            if n_vectors % 2:
                c = n_vectors - 1
                p0, p1, p2, p3 = _dots_of_one(a0, a1, a2, a3, F[c][start:stop])
                out[c, r] += p0
                out[c, r + 1] += p1
                out[c, r + 2] += p2
                out[c, r + 3] += p3
            for c in range(n_vectors):
                _add_four(a0, a1, a2, a3, F[c][r:], out[c][start:stop])
