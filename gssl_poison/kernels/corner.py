"""Elimination without subtraction within a block of states; see `gssl_poison.kernels.gth`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def _invert_lower(S: Any, lower: Any) -> int:
    """Write the inverse of the unit lower factor; return the first row that overflows, or size."""
    size = S.shape[0]
    for i in range(size):
        lower[i] = 0.0
        lower[i, i] = 1.0
        for p in range(i):
            share = S[i, p]
            for q in range(p + 1):
                lower[i, q] += share * lower[p, q]
        for q in range(i):
            if not lower[i, q] < np.inf:
                return i
    return int(size)


@njit(cache=True, nogil=True)
def reduce_corner(S: Any, leaving: Any, lower: Any, paths: Any, sums: Any) -> int:
    """Eliminate within a block; return the first state without an exit, or the block's size.

    ``S`` (b, b) and ``leaving`` (b,) are overwritten. ``lower`` becomes the inverse of the unit
    lower factor, ``sums`` the pivots, and ``paths[p, q]`` the probability of coming from p to q
    through ever later states of the block, the inverse of the scaled upper factor. All are sums of
    products of non-negative numbers.
    """
    size = S.shape[0]
    for p in range(size):
        total = leaving[p]
        for j in range(p + 1, size):
            total += S[p, j]
        if not (2.0**-1000 < total < np.inf):
            return p
        sums[p] = total
        for i in range(p + 1, size):
            share = S[i, p] / total
            S[i, p] = share
            for j in range(p + 1, size):
                S[i, j] += share * S[p, j]
            leaving[i] += share * leaving[p]
    bad = _invert_lower(S, lower)
    for p in range(size - 1, -1, -1):
        paths[p] = 0.0
        paths[p, p] = 1.0
        for j in range(p + 1, size):
            share = S[p, j] / sums[p]
            for q in range(j, size):
                paths[p, q] += share * paths[j, q]
    return bad
