"""The pairs of points whose weight a self-loop does not drown, as CSR."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from numba import njit

from gssl_poison.kernels.bounds import NEGLIGIBLE, RUNNING_SUMS
from gssl_poison.kernels.cpu import _REORDER
from gssl_poison.kernels.pairs import Pairs, Panel, panels
from gssl_poison.kernels.parallel import in_order
from gssl_poison.kernels.recheck import sparse_squared_distance, squared_distance
from gssl_poison.kernels.sweeps import Report, measure_panel
from gssl_poison.kernels.workspace import Workspace

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Floats = npt.NDArray[np.float64]
# Rows, columns and squared distances of pairs.
Found: TypeAlias = tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], Floats]

# Up to this error, in log units, the distances of the search are the distances.
EXACT = 1e-11
# Pairs whose distances one thread takes at a time.
_PART = 2**16


def near_pairs(
    pairs: Pairs, workers: int, report: Report, most: float
) -> csr_array[Any, tuple[int, int]] | None:
    """Return the weights of all pairs that weigh at least ``exp(-NEGLIGIBLE)``.

    Parameters
    ----------
    pairs : Pairs
        Any route: it tells which pairs are looked at, by direct differences where it is not exact.
    workers : int
        Threads.
    report : callable
        Told the pairs that were looked at.
    most : float
        Pairs that may be kept; with more the search stops.

    Returns
    -------
    (n, n) csr_array of float64, symmetric, or None
        None where there are too many.
    """
    from scipy.sparse import coo_array

    found = _search(pairs, workers, report, most)
    if found is None:
        return None
    rows, others, squared = found
    unit = pairs.unit
    if pairs.error > EXACT:
        unit = pairs.columns.gamma
        parts = [slice(k, k + _PART) for k in range(0, squared.size, _PART)]
        for _ in in_order(lambda part, _: _measure_again(pairs, part, found), parts, workers):
            pass
    log_weights = np.multiply(squared, -unit, out=squared)
    kept = log_weights >= -NEGLIGIBLE
    rows, others, weights = rows[kept], others[kept], np.exp(log_weights[kept])
    shape = (pairs.n_points, pairs.n_points)
    both = (np.concatenate([rows, others]), np.concatenate([others, rows]))
    return coo_array((np.concatenate([weights, weights]), both), shape=shape).tocsr()


def _search(pairs: Pairs, workers: int, report: Report, most: float) -> Found | None:
    """Find the pairs that may be near enough."""
    limit = (NEGLIGIBLE * (1.0 + pairs.relative) + pairs.error) / pairs.unit

    def work(panel: Panel, workspace: Workspace) -> tuple[Panel, list[Found], int]:
        found: list[Found] = []
        total = 0
        for (start, stop), squared, *_ in measure_panel(pairs, panel, workspace):
            size = (panel.stop - panel.start, stop - start)
            count = _count_near(squared, *size, panel.start - start, limit)
            total += count
            if count > 0 and total <= most:
                rows, others = np.empty(count, np.int32), np.empty(count, np.int32)
                near = np.empty(count)
                _gather_near(squared, *size, panel.start, start, limit, rows, others, near)
                found.append((rows, others, near))
        return panel, found, total

    parts: list[Found] = [(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0))]
    everything = 0
    for panel, found, total in in_order(work, panels(pairs.n_points), workers):
        everything += total
        if everything > most:
            return None
        parts += found
        report(panel.size)
    rows, others, squared = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return rows, others, squared


def _measure_again(pairs: Pairs, part: slice, found: Found) -> None:
    """Take squared distances by direct differences."""
    rows, others, squared = found[0][part], found[1][part], found[2][part]
    if pairs.columns.sparse:
        X = pairs.columns.X
        _direct_sparse_distances(X.data, X.indices, X.indptr, rows, others, squared)
    else:
        _direct_distances(pairs.columns.raw, rows, others, squared)


@njit(nogil=True, cache=True, fastmath=_REORDER)
def _count_near(
    squared: npt.NDArray[Any], n_rows: int, n_columns: int, diagonal: int, limit: float
) -> int:
    """Count the pairs of a tile whose squared distance is at most a limit."""
    count = 0
    for i in range(n_rows):
        row = squared[i]
        for j in range(min(max(i + diagonal, 0), n_columns)):
            count += int(np.float64(row[j]) <= limit)
    return count


@njit(nogil=True, cache=True)
def _gather_near(
    squared: npt.NDArray[Any],
    n_rows: int,
    n_columns: int,
    row: int,
    column: int,
    limit: float,
    rows: npt.NDArray[np.int32],
    columns: npt.NDArray[np.int32],
    distances: Floats,
) -> None:
    """Write the pairs that `_count_near` counted: their two points and squared distance."""
    k = 0
    for i in range(n_rows):
        for j in range(min(max(i + row - column, 0), n_columns)):
            if np.float64(squared[i, j]) <= limit:
                rows[k] = row + i
                columns[k] = column + j
                distances[k] = squared[i, j]
                k += 1


@njit(nogil=True, cache=True)
def _direct_distances(a: Any, rows: Any, columns: Any, out: Floats) -> None:
    """Write the squared distances of pairs of dense rows, by direct differences."""
    lanes = np.empty(RUNNING_SUMS)
    for k in range(out.size):
        out[k] = squared_distance(a, rows[k], a, columns[k], lanes)


@njit(nogil=True, cache=True)
def _direct_sparse_distances(
    data: Any, indices: Any, indptr: Any, rows: Any, columns: Any, out: Floats
) -> None:
    """Write the squared distances of pairs of CSR rows, by direct differences."""
    lanes = np.empty(RUNNING_SUMS)
    for k in range(out.size):
        i, j = rows[k], columns[k]
        out[k] = sparse_squared_distance(
            data, indices, indptr[i], indptr[i + 1], indptr[j], indptr[j + 1], lanes
        )
