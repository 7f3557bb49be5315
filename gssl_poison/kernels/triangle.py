"""Compiled loops over tiles of the triangle ``j < i`` of all pairs of points.

A tile holds rows ``i`` from some first row and columns ``j`` from some first column. Its
``diagonal``, the first row less the first column, tells which entries are pairs: column ``j`` of
row ``i`` is one when ``j < i + diagonal``, both counted from the tile's own corner. Weights of
entries that are none are written as 0, their distances are never read.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, types
from numba.extending import overload

from gssl_poison.kernels.bounds import RUNNING_SUMS
from gssl_poison.kernels.cpu import _REORDER, _from_order_key, _order_key
from gssl_poison.kernels.recheck import sparse_squared_distance, squared_distance

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# exp64 is this close to the exponential, relatively, where the result is a normal number (tested).
EXP64_BOUND = 2.0**-51
# exp(-750) rounds to 0: it stands for all that is smaller.
_FLOOR = -750.0

_LOG2E = 1.0 / math.log(2.0)
_LN2_HIGH = 5954088943.0 / 2**33  # 33 bits: its product with an exponent is exact
_LN2_LOW = 7.440617110012397e-11  # what log(2) is more
_C2, _C3, _C4, _C5, _C6, _C7, _C8, _C9, _C10, _C11, _C12, _C13 = (
    1.0 / math.factorial(k) for k in range(2, 14)
)


@njit(nogil=True, cache=True, inline="always")
def exp64(x: Any) -> Any:
    """Return exp(x) for float64 x in [-750, 709], in operations that vectorise.

    Not for loops compiled with "reassoc", which would join the two parts of log(2).
    """
    n = np.floor(x * _LOG2E + 0.5)
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    p = _C12 + r * _C13
    p = _C11 + r * p
    p = _C10 + r * p
    p = _C9 + r * p
    p = _C8 + r * p
    p = _C7 + r * p
    p = _C6 + r * p
    p = _C5 + r * p
    p = _C4 + r * p
    p = _C3 + r * p
    p = _C2 + r * p
    p = 1.0 + r * p
    p = 1.0 + r * p
    # In two halves: the scale of a subnormal result is no float64.
    whole = np.int64(n)
    half = whole >> np.int64(1)
    low = np.int64((half + np.int64(1023)) << np.int64(52)).view(np.float64)
    high = np.int64((whole - half + np.int64(1023)) << np.int64(52)).view(np.float64)
    return p * low * high


@njit(nogil=True, cache=True, fastmath={"contract"})
def exponentials(x: Floats, count: int) -> None:
    """Replace the first ``count`` numbers, at most 709, by their exponentials."""
    for j in range(count):
        x[j] = exp64(max(x[j], _FLOOR))


def _distance(dot: Any, row: Any, column: Any) -> Any:
    """Return ``row + column - 2 dot``, not below 0, in the type of the dot product."""
    raise RuntimeError("compiled code only")


@overload(_distance, inline="always")
def _distance_overload(dot: Any, row: Any, column: Any) -> Any:
    if dot == types.int32:
        # Parts of the sum may leave int32 and come back: it is taken modulo 2**32.
        def of_int32(dot: Any, row: Any, column: Any) -> Any:
            return np.int32(row + column - dot - dot)

        return of_int32

    def of_float(dot: Any, row: Any, column: Any) -> Any:
        return max(row + column - (dot + dot), dot - dot)

    return of_float


@njit(nogil=True, cache=True, fastmath=_REORDER)
def measure_tile(
    dots: npt.NDArray[Any],
    row_bias: npt.NDArray[Any],
    column_bias: npt.NDArray[Any],
    diagonal: int,
    out: npt.NDArray[Any],
    row_least: npt.NDArray[Any],
    column_least: npt.NDArray[Any],
) -> None:
    """Turn dot products into squared distances, and lower the least ones seen.

    ``dots`` (rows, columns, or more of both) is in the type of the biases; ``out``, which may be
    the same memory, in that type or float64, as are ``row_least`` (rows,) and ``column_least``.
    """
    n_columns = column_least.size
    for i in range(row_least.size):
        stop = min(max(i + diagonal, 0), n_columns)
        row, target = dots[i], out[i]
        bias = row_bias[i]
        for j in range(stop):
            target[j] = _distance(row[j], bias, column_bias[j])
        key = _order_key(row_least[i])
        for j in range(stop):
            key = min(key, _order_key(target[j]))
        row_least[i] = _from_order_key(key, row_least[i])
        for j in range(stop):
            column_least[j] = min(column_least[j], target[j])


@njit(nogil=True, cache=True)
def direct_tile(a: Any, row: int, column: int, diagonal: int, out: Floats) -> None:
    """Write minus half the squared distances of dense rows, by direct differences.

    That is what `measure_tile` takes for a dot product where all biases are 0.
    """
    lanes = np.empty(RUNNING_SUMS)
    for i in range(out.shape[0]):
        for j in range(min(max(i + diagonal, 0), out.shape[1])):
            out[i, j] = -0.5 * squared_distance(a, row + i, a, column + j, lanes)


@njit(nogil=True, cache=True)
def direct_sparse_tile(
    data: Any, indices: Any, indptr: Any, row: int, column: int, diagonal: int, out: Floats
) -> None:
    """Write minus half the squared distances of CSR rows; as `direct_tile`."""
    lanes = np.empty(RUNNING_SUMS)
    for i in range(out.shape[0]):
        start, stop = indptr[row + i], indptr[row + i + 1]
        for j in range(min(max(i + diagonal, 0), out.shape[1])):
            other_start, other_stop = indptr[column + j], indptr[column + j + 1]
            out[i, j] = -0.5 * sparse_squared_distance(
                data, indices, start, stop, other_start, other_stop, lanes
            )


@njit(nogil=True, cache=True, fastmath={"contract"})
def _log_weights(
    squared: Any,
    first: Any,
    second: Any,
    row_extra: float,
    column_extra: Floats,
    extra_unit: float,
    unit: float,
    count: int,
    out: Floats,
) -> None:
    """Write ``-unit squared``, less what the rest of a lattice's products adds to it."""
    if extra_unit == 0.0:
        for j in range(count):
            out[j] = -unit * np.float64(squared[j])
    else:
        for j in range(count):
            inner = np.float64(first[j]) + np.float64(second[j])
            extra = row_extra + column_extra[j] - inner
            out[j] = -unit * np.float64(squared[j]) - extra_unit * extra


@njit(nogil=True, cache=True)
def _shift(log_weights: Floats, row: float, column: Floats, count: int, out: Floats) -> None:
    for j in range(count):
        out[j] = log_weights[j] - (row + column[j])


@njit(nogil=True, cache=True, fastmath=_REORDER)
def _masked_sums(weights: Floats, tells: Floats, floor: float, factor: Floats, count: int) -> Any:
    """Return the sum of ``weights * factor``, and of those whose ``tells`` is at least a floor."""
    everything = kept = 0.0
    for j in range(count):
        term = weights[j] * factor[j]
        everything += term
        kept += term if tells[j] >= floor else 0.0
    return everything, kept


@njit(nogil=True, cache=True)
def _add_columns(
    weights: Floats,
    tells: Floats,
    floor: float,
    factor: float,
    count: int,
    everything: Floats,
    kept: Floats,
) -> None:
    for j in range(count):
        term = weights[j] * factor
        everything[j] += term
        kept[j] += term if tells[j] >= floor else 0.0


@njit(nogil=True, cache=True)
def _store(weights: Floats, floor: float, amplify: float, count: int, out: Any) -> None:
    for j in range(count):
        out[j] = weights[j] * amplify if weights[j] >= floor else 0.0
    for j in range(count, out.size):
        out[j] = 0.0


@njit(nogil=True, cache=True)
def weigh_tile(
    squared: npt.NDArray[Any],
    first: Any,
    second: Any,
    row_extra: Floats,
    column_extra: Floats,
    extra_unit: float,
    unit: float,
    row_potential: Floats,
    column_potential: Floats,
    diagonal: int,
    floor: float,
    amplify: float,
    out: npt.NDArray[Any],
    sums: int,
    row_factor: Floats,
    column_factor: Floats,
    row_sums: Floats,
    column_sums: Floats,
) -> None:
    """Turn squared distances into scaled weights, and add them up for the degrees.

    ``out`` (rows, columns), which may be the memory of ``squared``, becomes ``amplify`` times
    ``e_ij = exp(-unit squared_ij - p_i - p_j)``, 0 below ``floor``. ``first`` and ``second`` are
    the tiles of a lattice's rest, in units of ``extra_unit``, where that is not 0. With ``sums`` 1
    the first of ``row_sums`` (2, rows) and ``column_sums`` (2, columns) gains ``e_ij`` times the
    factor of the other side; with ``sums`` 2 factors are logarithms and it gains
    ``exp(-unit squared_ij - factor)`` of its own side. The second gains what is not below floor.
    """
    n_columns = column_potential.size
    log_weights, scaled, alone = np.empty(n_columns), np.empty(n_columns), np.empty(n_columns)
    ones = np.ones(n_columns)
    zeros = np.zeros(n_columns)
    for i in range(row_potential.size):
        stop = min(max(i + diagonal, 0), n_columns)
        _log_weights(
            squared[i],
            first[i],
            second[i],
            row_extra[i],
            column_extra,
            extra_unit,
            unit,
            stop,
            log_weights,
        )
        _shift(log_weights, row_potential[i], column_potential, stop, scaled)
        exponentials(scaled, stop)
        if sums == 1:
            everything, kept = _masked_sums(scaled, scaled, floor, column_factor, stop)
            row_sums[0, i] += everything
            row_sums[1, i] += kept
            factor = row_factor[i]
            _add_columns(scaled, scaled, floor, factor, stop, column_sums[0], column_sums[1])
        elif sums == 2:
            _shift(log_weights, row_factor[i], zeros, stop, alone)
            exponentials(alone, stop)
            everything, kept = _masked_sums(alone, scaled, floor, ones, stop)
            row_sums[0, i] += everything
            row_sums[1, i] += kept
            _shift(log_weights, 0.0, column_factor, stop, alone)
            exponentials(alone, stop)
            _add_columns(alone, scaled, floor, 1.0, stop, column_sums[0], column_sums[1])
        _store(scaled, floor, amplify, stop, out[i, :n_columns])
