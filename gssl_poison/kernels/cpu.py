"""CPU kernels in numba over BLAS blocks; each runs without the interpreter lock.

Imported only when a CPU kernel runs. A kernel works on one block of rows and never allocates more
than a row; the caller brings the buffers, and one thread runs one block.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, types
from numba.extending import overload

from gssl_poison.kernels.bounds import LOOSEST, RUNNING_SUMS
from gssl_poison.kernels.recheck import sparse_squared_distance, squared_distance

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_U = 2.0**-53
# Reductions may be reordered and contracted: the bounds hold for every order. Every input is
# checked to be finite at the public entry, so "nnan" and "ninf" promise nothing new.
_REORDER = {"reassoc", "contract", "nsz", "nnan", "ninf"}

_LOG2E = np.float32(1.0 / math.log(2.0))
_LN2_HIGH = np.float32(0.693359375)  # ten bits: its product with an exponent is exact
_LN2_LOW = np.float32(math.log(2.0) - 0.693359375)
_C2, _C3, _C4, _C5, _C6, _C7 = (np.float32(1.0 / math.factorial(k)) for k in range(2, 8))
_ONE = np.float32(1.0)
_HALF = np.float32(0.5)
_ZERO = np.float32(0.0)
_FLOOR = np.float32(-87.0)  # exp(-87) is still a normal float32


@njit(nogil=True, cache=True, inline="always")
def exp32(x: Any) -> Any:
    """Return exp(x) for float32 x in [-87, 0], within 2**-20, in operations that vectorise."""
    n = np.floor(x * _LOG2E + _HALF)
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    p = _C6 + r * _C7
    p = _C5 + r * p
    p = _C4 + r * p
    p = _C3 + r * p
    p = _C2 + r * p
    p = _ONE + r * p
    p = _ONE + r * p
    scale = np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)
    return p * scale


def _score(dot: Any, slope: Any, bias: Any) -> Any:
    """Return ``slope * dot + bias`` in the type of the dot product; integers have slope 2."""
    raise RuntimeError("compiled code only")


@overload(_score, inline="always")
def _score_overload(dot: Any, slope: Any, bias: Any) -> Any:
    if dot == types.int32:

        def of_int32(dot: Any, slope: Any, bias: Any) -> Any:
            return np.int32(dot + dot + bias)

        return of_int32

    def of_float(dot: Any, slope: Any, bias: Any) -> Any:
        return dot * slope + bias

    return of_float


def _order_key(x: Any) -> Any:
    """Map a score to an integer of the same order: LLVM vectorises integer maxima only."""
    raise RuntimeError("compiled code only")


@overload(_order_key, inline="always")
def _order_key_overload(x: Any) -> Any:
    if x == types.int32:

        def of_int32(x: Any) -> Any:
            return x

        return of_int32

    if x == types.float32:

        def of_float32(x: Any) -> Any:
            bits = np.float32(x).view(np.int32)
            return np.int32(bits ^ ((bits >> np.int32(31)) & np.int32(0x7FFFFFFF)))

        return of_float32

    def of_float64(x: Any) -> Any:
        bits = np.float64(x).view(np.int64)
        return np.int64(bits ^ ((bits >> np.int64(63)) & np.int64(0x7FFFFFFFFFFFFFFF)))

    return of_float64


def _from_order_key(key: Any, like: Any) -> Any:
    """Undo `_order_key`, to the type of ``like``."""
    raise RuntimeError("compiled code only")


@overload(_from_order_key, inline="always")
def _from_order_key_overload(key: Any, like: Any) -> Any:
    if like == types.int32:

        def to_int32(key: Any, like: Any) -> Any:
            return key

        return to_int32

    if like == types.float32:

        def to_float32(key: Any, like: Any) -> Any:
            return np.int32(key ^ ((key >> np.int32(31)) & np.int32(0x7FFFFFFF))).view(np.float32)

        return to_float32

    def to_float64(key: Any, like: Any) -> Any:
        flipped = key ^ ((key >> np.int64(63)) & np.int64(0x7FFFFFFFFFFFFFFF))
        return np.int64(flipped).view(np.float64)

    return to_float64


@njit(nogil=True, cache=True, fastmath=_REORDER)
def shares_of_block(
    scores: npt.NDArray[Any],
    slope: Any,
    bias: npt.NDArray[Any],
    unit: Any,
    bound: Floats,
    buffer: npt.NDArray[np.float32],
    total: Floats,
    rest: Floats,
    first: Integers,
) -> None:
    """Turn a block of dot products into scores, and reduce each row while it is in cache.

    ``scores`` (rows, l, or more of both: padding is not read) holds ``x_i . y_j`` and leaves as
    ``slope * x_i . y_j + bias_j``, of which 1 is ``unit`` in log units; ``total`` (l,) gains the
    shares of every row whose ``bound`` (rows,) is good; ``rest`` (rows,) is the sum of the weights
    but the largest, over the largest; ``first`` (rows,) is the column of the largest score.
    """
    n_labeled = total.size
    for i in range(rest.size):
        row = scores[i]
        largest = _order_key(_score(row[0], slope, bias[0]))
        for j in range(n_labeled):
            t = _score(row[j], slope, bias[j])
            row[j] = t
            largest = max(largest, _order_key(t))
        top = _from_order_key(largest, row[0])
        mass = 0.0
        column = np.int32(n_labeled)
        for j in range(n_labeled):
            below = np.float32(row[j] - top) * unit
            column = min(column, np.int32(n_labeled) if below < _ZERO else np.int32(j))
            e = _ZERO if below < _FLOOR else exp32(max(below, _FLOOR))
            buffer[j] = e
            mass += np.float64(e)
        if bound[i] <= LOOSEST:
            inverse = 1.0 / mass
            for j in range(n_labeled):
                total[j] += np.float64(buffer[j]) * inverse
        rest[i] = mass - 1.0
        first[i] = column


@njit(nogil=True, cache=True, fastmath=_REORDER)
def center_rows(
    source: npt.NDArray[Any],
    rows: Integers,
    center: Floats,
    scale: float,
    out: npt.NDArray[Any],
    squares: Floats,
) -> None:
    """Write ``scale * (source[rows] - center)`` in the type of ``out``, and squared norms.

    ``squares`` (rows,) is taken in float64, before rounding to the type of ``out``.
    """
    n_features = source.shape[1]
    for i in range(rows.size):
        row = rows[i]
        squared = 0.0
        for k in range(n_features):
            v = (np.float64(source[row, k]) - center[k]) * scale
            out[i, k] = v
            squared += v * v
        squares[i] = squared


@njit(nogil=True, cache=True)
def sparse_squares(
    data: npt.NDArray[Any],
    indptr: npt.NDArray[Any],
    rows: Integers,
    squares: Floats,
    n_terms: Floats,
) -> None:
    """Write the squared norm of every CSR row, and how many entries it stores."""
    for i in range(rows.size):
        squared = 0.0
        start, stop = indptr[rows[i]], indptr[rows[i] + 1]
        for p in range(start, stop):
            squared += np.float64(data[p]) * np.float64(data[p])
        squares[i] = squared
        n_terms[i] = stop - start


@njit(nogil=True, cache=True)
def sparse_dots(
    data: npt.NDArray[Any],
    indices: npt.NDArray[Any],
    indptr: npt.NDArray[Any],
    rows: Integers,
    column_data: Floats,
    column_indices: npt.NDArray[Any],
    column_indptr: npt.NDArray[Any],
    out: Floats,
) -> None:
    """Multiply CSR rows by the labelled rows, stored by feature: ``out`` (rows, l) in float64."""
    n_labeled = out.shape[1]
    for i in range(rows.size):
        accumulated = out[i]
        for j in range(n_labeled):
            accumulated[j] = 0.0
        for p in range(indptr[rows[i]], indptr[rows[i] + 1]):
            v = np.float64(data[p])
            k = indices[p]
            for q in range(column_indptr[k], column_indptr[k + 1]):
                accumulated[column_indices[q]] += v * column_data[q]


# A distance whose error could move its weight by more than this is taken again, directly.
_LOOSE = 1e-8
# A weight certainly below exp(-45) of the self-loop's weight, 1, is left out of a column sum.
_LIGHT = 45.0


@njit(nogil=True, cache=True)
def degrees_of_dense_block(
    dots: Floats,
    row_squares: Floats,
    column_squares: Floats,
    bound: Floats,
    a: Any,
    a_rows: Integers,
    b: Any,
    b_rows: Integers,
    gamma: float,
    unscale: float,
    relative: float,
    degree: Floats,
    degree_error: Floats,
) -> None:
    """Add a block of rows to the column sums of W, in float64.

    ``dots`` (rows, l) of centred, scaled rows, whose squared distances times gamma are within
    ``bound`` (rows,); ``relative`` is `direct_error`. ``degree`` and ``degree_error`` (l,) grow.
    """
    lanes = np.empty(RUNNING_SUMS)
    for i in range(dots.shape[0]):
        for j in range(dots.shape[1]):
            squared = (row_squares[i] + column_squares[j] - 2.0 * dots[i, j]) * unscale
            squared = max(squared, 0.0)
            error = bound[i]
            if gamma * squared - error > _LIGHT:
                degree_error[j] += math.exp(-_LIGHT)
                continue
            if not (error < _LOOSE):
                squared = squared_distance(a, a_rows[i], b, b_rows[j], lanes)
                error = gamma * squared * relative
            weight = math.exp(-gamma * squared)
            degree[j] += weight
            degree_error[j] += weight * math.expm1(error)


@njit(nogil=True, cache=True)
def degrees_of_sparse_block(
    data: Any,
    indices: Any,
    indptr: Any,
    a_rows: Integers,
    b_rows: Integers,
    gamma: float,
    relative: float,
    degree: Floats,
    degree_error: Floats,
) -> None:
    """Add a block of CSR rows to the column sums of W; as `degrees_of_dense_block`."""
    lanes = np.empty(RUNNING_SUMS)
    for i in range(a_rows.size):
        start, stop = indptr[a_rows[i]], indptr[a_rows[i] + 1]
        for j in range(b_rows.size):
            other_start, other_stop = indptr[b_rows[j]], indptr[b_rows[j] + 1]
            squared = sparse_squared_distance(
                data, indices, start, stop, other_start, other_stop, lanes
            )
            weight = math.exp(-gamma * squared)
            degree[j] += weight
            degree_error[j] += weight * math.expm1(gamma * squared * relative)
