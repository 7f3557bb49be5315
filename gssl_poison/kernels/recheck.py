"""The one recheck routine: what a count is defined as, on every device.

Whatever the fast path cannot decide within its proven bound is decided here, in float64 with a
fixed order of operations. Distances are sums of squared direct differences, so duplicated points
tie exactly. Columns whose weight is negligible by definition (`NEGLIGIBLE`) are skipped, which is
why looking only at the columns the fast path cannot rule out gives the same bits as looking at all.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from gssl_poison.kernels.bounds import LOOSEST, NEGLIGIBLE, RUNNING_SUMS
from gssl_poison.kernels.results import MAJOR, MINOR, UNDECIDED

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_U = 2.0**-53

_LANES = RUNNING_SUMS


@njit(nogil=True, cache=True)
def _sum_of(lanes: Floats) -> float:
    """Add the running sums up by halves; ``lanes`` is spent."""
    half = _LANES // 2
    while half > 0:
        for t in range(half):
            lanes[t] += lanes[t + half]
        half //= 2
    return float(lanes[0])


@njit(nogil=True, cache=True)
def squared_distance(a: Any, i: int, b: Any, j: int, lanes: Floats) -> float:
    """Return ``|a_i - b_j|^2`` in float64, in a fixed order: 32 running sums, then halves.

    ``lanes`` (32,) is scratch memory. A sum passes through at most ``d / 32 + 6`` additions.
    """
    left, right = a[i], b[j]
    n_features = left.size
    for t in range(_LANES):
        lanes[t] = 0.0
    whole = n_features - n_features % _LANES
    for start in range(0, whole, _LANES):
        for t in range(_LANES):
            e = np.float64(left[start + t]) - np.float64(right[start + t])
            lanes[t] += e * e
    for k in range(whole, n_features):
        e = np.float64(left[k]) - np.float64(right[k])
        lanes[k - whole] += e * e
    return _sum_of(lanes)


@njit(nogil=True, cache=True)
def sparse_squared_distance(
    data: Any,
    indices: Any,
    start: int,
    stop: int,
    other_start: int,
    other_stop: int,
    lanes: Floats,
) -> float:
    """Return the squared distance of two CSR rows: the very bits `squared_distance` would give.

    Feature k goes to the running sum k modulo 32, as there; features that both rows lack would add
    an exact zero.
    """
    for t in range(_LANES):
        lanes[t] = 0.0
    p, q = start, other_start
    while p < stop or q < other_stop:
        if q >= other_stop or (p < stop and indices[p] < indices[q]):
            k = indices[p]
            e = np.float64(data[p])
            p += 1
        elif p >= stop or indices[q] < indices[p]:
            k = indices[q]
            e = np.float64(data[q])
            q += 1
        else:
            k = indices[p]
            e = np.float64(data[p]) - np.float64(data[q])
            p += 1
            q += 1
        lanes[k % _LANES] += e * e
    return _sum_of(lanes)


@njit(nogil=True, cache=True)
def _decide(
    squared: Floats,
    columns: Integers,
    count: int,
    gamma: float,
    offset: Floats,
    offset_error: float,
    relative: float,
    bound: float,
    total: Floats,
    unresolved: Integers,
    verdict: Integers,
    i: int,
) -> int:
    """Judge one row from its squared distances to some columns; return the first column.

    Where the ``bound`` of the fast path was too loose, ``total`` gains the row's shares here, or
    ``unresolved`` (1,) grows by one where float64 does not know them either.
    """
    log_weight, slack = np.empty(count), np.empty(count)
    best = 0
    for c in range(count):
        j = columns[c]
        scaled = gamma * squared[c]
        log_weight[c] = offset[j] - scaled
        slack[c] = scaled * relative + abs(offset[j]) * _U + offset_error
        if log_weight[c] > log_weight[best]:
            best = c
    rest = 0.0
    error = offset.size * math.exp(-NEGLIGIBLE)
    for c in range(count):
        below = log_weight[c] - log_weight[best]
        off = slack[c] + slack[best]
        # Not "below >= -NEGLIGIBLE": a weight that may be larger than it looks is not negligible.
        if c != best and not (below + off < -NEGLIGIBLE):
            e = math.exp(below)
            rest += e
            error += math.exp(below + off) - e + e * (8.0 - below) * _U
    error += rest * (count + 1) * _U
    # Not "abs(rest - 1) <= error": what is not a number is not decided.
    if not (abs(rest - 1.0) > error):
        verdict[i] = UNDECIDED
    elif rest < 1.0:
        verdict[i] = MAJOR
    else:
        verdict[i] = MINOR
    if not (bound <= LOOSEST):
        if error <= LOOSEST * (1.0 + rest):
            for c in range(count):
                total[columns[c]] += math.exp(log_weight[c] - log_weight[best]) / (1.0 + rest)
        else:
            unresolved[0] += 1
    return int(columns[best])


@njit(nogil=True, cache=True)
def _candidates(scores: Any, n_labeled: int, reach: float, columns: Integers) -> int:
    """Collect, in ascending order, the columns within ``reach`` of the largest score."""
    largest = scores[0]
    for j in range(1, n_labeled):
        largest = max(largest, scores[j])
    count = 0
    for j in range(n_labeled):
        # Not "scores[j] >= largest - reach": a score that is not finite must be looked at.
        if not (scores[j] < largest - reach):
            columns[count] = j
            count += 1
    return count


@njit(nogil=True, cache=True)
def recheck_dense(
    scores: Any,
    unit: float,
    bound: Floats,
    doubtful: Integers,
    a: Any,
    a_rows: Integers,
    b: Any,
    b_rows: Integers,
    gamma: float,
    offset: Floats,
    offset_error: float,
    relative: float,
    total: Floats,
    unresolved: Integers,
    first: Integers,
    verdict: Integers,
) -> None:
    """Judge the ``doubtful`` rows of a block of dense rows.

    ``scores`` (rows, l, in log units once times ``unit``) and ``bound`` (rows,) only rule columns
    out. Row ``i`` of the block is ``a[a_rows[i]]``, column ``j`` is ``b[b_rows[j]]``; ``offset``
    (l,) is added to the log-weights and known within ``offset_error``; ``relative`` is
    `direct_error`. Writes ``first`` and ``verdict`` of the doubtful rows; where the ``bound`` is
    too loose, ``total`` (l,) gains the shares of the row, or ``unresolved`` (1,) grows.
    """
    n_labeled = offset.size
    columns, squared = np.empty(n_labeled, np.int64), np.empty(n_labeled)
    lanes = np.empty(_LANES)
    known = (gamma, offset, offset_error, relative)
    for i in doubtful:
        reach = (NEGLIGIBLE + 6.0 * bound[i] + 1e-3) / unit
        count = _candidates(scores[i], n_labeled, reach, columns)
        for c in range(count):
            j = columns[c]
            squared[c] = squared_distance(a, a_rows[i], b, b_rows[j], lanes)
        first[i] = _decide(squared, columns, count, *known, bound[i], total, unresolved, verdict, i)


@njit(nogil=True, cache=True)
def recheck_sparse(
    scores: Any,
    unit: float,
    bound: Floats,
    doubtful: Integers,
    data: Any,
    indices: Any,
    indptr: Any,
    a_rows: Integers,
    b_rows: Integers,
    gamma: float,
    offset: Floats,
    offset_error: float,
    relative: float,
    total: Floats,
    unresolved: Integers,
    first: Integers,
    verdict: Integers,
) -> None:
    """Judge the ``doubtful`` rows of a block of CSR rows; as `recheck_dense`."""
    n_labeled = offset.size
    columns, squared = np.empty(n_labeled, np.int64), np.empty(n_labeled)
    lanes = np.empty(_LANES)
    known = (gamma, offset, offset_error, relative)
    for i in doubtful:
        reach = (NEGLIGIBLE + 6.0 * bound[i] + 1e-3) / unit
        count = _candidates(scores[i], n_labeled, reach, columns)
        start, stop = indptr[a_rows[i]], indptr[a_rows[i] + 1]
        for c in range(count):
            j = columns[c]
            other_start, other_stop = indptr[b_rows[j]], indptr[b_rows[j] + 1]
            squared[c] = sparse_squared_distance(
                data, indices, start, stop, other_start, other_stop, lanes
            )
        first[i] = _decide(squared, columns, count, *known, bound[i], total, unresolved, verdict, i)
