"""Nearest-neighbour graphs: found by a library, measured and weighted here."""

from __future__ import annotations

import math
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gssl_poison._arrays import (
    Features,
    as_features,
    is_sparse,
    one_blas_thread,
    refuse_not_finite,
)
from gssl_poison.bandwidth import Bandwidth
from gssl_poison.exceptions import InputError
from gssl_poison.neighbours import (
    MEASURED,
    Metric,
    check_jobs,
    choose_method,
    search,
    search_again,
    search_other,
)
from gssl_poison.sparse_graph import SparseGraph

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# Squares of sums of what is larger may overflow, and those of smaller features underflow.
_LARGEST = 1e140
# Values of a block of differences: 2**19 float64 are 4 MiB a thread.
_VALUES = 2**19


def knn_graph(
    X: Any,
    n_neighbors: int = 10,
    gamma: float | str | Bandwidth | None = None,
    *,
    metric: Metric = "euclidean",
    symmetrize: bool = True,
    method: str = "auto",
    n_jobs: int | None = None,
) -> SparseGraph:
    """Join every point to its nearest neighbours, with weights ``exp(-gamma d^2)``.

    Parameters
    ----------
    X : (n, d) array-like or scipy sparse
        The points, as `gssl_poison.RBFGraph` takes them.
    n_neighbors : int, default 10
        Neighbours of a point, itself never among them; less than n.
    gamma : float, optional
        Kernel coefficient, in inverse squared units of the distance. None or "auto" takes one over
        the median, over all points, of the squared distance to the last of its neighbours. The
        graph's ``bandwidth`` says what was used.
    metric : str or callable, default "euclidean"
        Any metric of scikit-learn's nearest neighbours. ``d`` is what the metric calls a distance:
        for "cosine" that is one minus the cosine. For a Gaussian of directions, divide the rows of
        X by their norms and take "euclidean".
    symmetrize : bool, default True
        Whether two points are joined both ways where either is a neighbour of the other. If not,
        a point listens to its own neighbours only.
    method : {"auto", "exact", "pynndescent", "faiss", "cuda", "cuvs"}, default "auto"
        What searches. "auto" is "exact" unless that would take minutes, and never one of the last
        two, which need a GPU; see Notes. The graph's ``source`` says what was used.
    n_jobs : int, optional
        Threads; by default as many as this process may use.

    Returns
    -------
    SparseGraph
        Without self-loops, ``n_neighbors`` edges a point if not symmetrised.

    Raises
    ------
    InputError
        n_neighbors is not in 1..n-1, a feature is not finite, gamma, metric or method is not
        usable, or the library asked for is not installed.
    DeviceError
        A GPU is asked for, and there is none or no cupy.

    Notes
    -----
    - "exact" asks scikit-learn: a k-d tree up to 8 dense features, otherwise every point is
      compared with every other, ``2 n^2 d`` operations. Where that has ``n^2 max(d, 32) > 1e12``
      (177,000 points of 32 features), "auto" takes pynndescent, else faiss, whichever is installed;
      with neither it stays exact.
    - The approximate methods find most neighbours, not all. They are seeded: the same X gives the
      same graph on the same number of threads. pynndescent compiles for half a minute once a
      process.
    - "cuda" compares every point with every other on a GPU, in float32, for dense X and the
      Euclidean or cosine metric. No number of spare candidates makes that exact. Instead, each row
      has a proven bound: whatever is no candidate of it is at least so far away. Where its last
      neighbour is nearer, the row is right: its neighbours are the nearest of all by (distance,
      index). The others are searched for again as "exact" does, and ``source`` says how many they
      are: rows with 8 further points or more as far as the last neighbour, or further by less
      than about ``d 2^-22`` of the row's squared distance from the middle of X. So the graph is
      that of "exact" up to the choice among equally far points.
    - "cuvs" asks the brute force of NVIDIA's cuVS. It computes in float32 too, without a bound, and
      may miss neighbours of points that are very near to one another, as approximate methods do. X
      has to fit on the GPU.
    - The search runs on centred and scaled X in its own type. A few candidates more than needed
      are then measured again in float64, by direct differences for the Euclidean, Manhattan and
      cosine metrics, and the nearest kept, the lower index first where two are equally far: so
      duplicates are at distance 0 and ``w_ij = w_ji`` exactly. Which of many equally far points
      come last is for the search to say. Other metrics keep the distances of scikit-learn.
    - O(n n_neighbors d) operations and O(n (n_neighbors + d)) memory besides the search.

    Examples
    --------
    >>> import numpy as np
    >>> graph = knn_graph(np.array([[0.0], [1.0], [3.0]]), n_neighbors=1, gamma=1.0)
    >>> graph.weights_csr.toarray().round(4)
    array([[0.    , 0.3679, 0.    ],
           [0.3679, 0.    , 0.0183],
           [0.    , 0.0183, 0.    ]])
    >>> graph.source
    'exact kd_tree'
    """
    features = as_features(X)
    k = _check_neighbors(n_neighbors, features.shape[0])
    workers = check_jobs(n_jobs)
    if gamma is not None and not isinstance(gamma, Bandwidth) and gamma != "auto":
        gamma = _check_gamma(gamma)
    _refuse_extremes(features)
    chosen = choose_method(method, metric, features)
    name = MEASURED.get(metric) if isinstance(metric, str) else None
    if name is None:
        candidates, distances = search_other(features, k, metric, workers)
        near, squares = _keep(np.arange(len(candidates)), candidates, np.square(distances), k)
        source = "exact"
    else:
        points = _directions(features) if name == "cosine" else features
        near, squares, source = _searched(points, k, name, chosen, workers)
    if not isinstance(gamma, Bandwidth):
        gamma = _typical_gamma(squares[:, -1])
    return _weighted(near, squares, gamma, symmetrize, source)


def _check_neighbors(n_neighbors: int, n: int) -> int:
    """Refuse a number of neighbours that the points cannot have."""
    if isinstance(n_neighbors, bool) or not isinstance(n_neighbors, int | np.integer):
        raise InputError(f"n_neighbors={n_neighbors!r} is not a whole number; give one, e.g. 10.")
    if not 1 <= n_neighbors < n:
        remedy = f"use 1 to {n - 1}" if n > 1 else "give more points"
        raise InputError(
            f"n_neighbors={n_neighbors} is not possible among {n} points: a point is no neighbour "
            f"of itself; {remedy}."
        )
    return int(n_neighbors)


def _check_gamma(gamma: Any) -> Bandwidth:
    """Return the number the caller gave, refusing what is none."""
    number = isinstance(gamma, int | float | np.integer | np.floating)
    # An int too large for a float compares all the same.
    if isinstance(gamma, bool) or not number or not 0.0 < gamma <= sys.float_info.max:
        raise InputError(
            f"gamma={gamma!r} is not usable; it must be a positive finite number, or None for one "
            "that fits the distances."
        )
    return Bandwidth(float(gamma), "given", "as given")


def _refuse_extremes(X: Features) -> None:
    """Refuse features that are not finite, or whose squares float64 cannot hold."""
    values = X.data if is_sparse(X) else X
    # Least and largest need no temporary, and NaN goes through them.
    top = max(-float(values.min()), float(values.max())) if values.size else 0.0
    if 0.0 < top < 1.0 / _LARGEST:
        raise InputError(
            f"the largest feature is {top:.3g}: squared distances underflow float64; rescale X."
        )
    if not top <= _LARGEST:
        wrong = np.flatnonzero(~(np.abs(values.reshape(-1).astype(np.float64)) <= _LARGEST))[:1]
        if is_sparse(X):
            refuse_not_finite(X, np.searchsorted(X.indptr, wrong, side="right") - 1)
        refuse_not_finite(X, wrong // X.shape[1])


def _directions(X: Features) -> Features:
    """Return rows of length 1 in float64, refusing those that have no direction."""
    top = np.abs(X).max(axis=1)
    top = np.asarray(top.toarray() if is_sparse(X) else top, dtype=np.float64).reshape(-1)
    if (top == 0.0).any():
        raise InputError(
            f"row {int(np.argmin(top))} of X is all zeros, which has no direction for "
            "metric='cosine'; drop it or use metric='euclidean'."
        )
    if is_sparse(X):
        rows = np.repeat(np.arange(X.shape[0]), np.diff(X.indptr))
        data = X.data / top[rows]
        data /= np.sqrt(np.bincount(rows, np.square(data), X.shape[0]))[rows]
        return type(X)((data, X.indices, X.indptr), shape=X.shape)
    # Rows may hold numbers whose squares underflow: first to a largest entry of 1.
    units: Floats = X / top[:, None]
    units /= np.sqrt(np.einsum("ij,ij->i", units, units))[:, None]
    return units


def _searched(
    points: Features, k: int, name: str, method: str, workers: int
) -> tuple[Integers, Floats, str]:
    """Search for the k nearest and measure them: (n, k) indices, d^2, and what found them."""
    found, everybody = search(points, k, name, method, workers), np.arange(points.shape[0])
    near, squares = _nearest(points, everybody, found.candidates, k, name, workers=workers)
    source = found.source
    if found.beyond is not None:
        beyond = found.beyond if name == "euclidean" else _of_unit_lengths(found.beyond)
        doubtful = np.flatnonzero(~(squares[:, -1] < beyond))
        if doubtful.size:
            again = search_again(points, doubtful, k, "euclidean", workers)
            settled = _nearest(points, doubtful, again.candidates, k, name, workers=workers)
            near[doubtful], squares[doubtful] = settled
            source += f", {doubtful.size:,} rows in doubt by {again.source}"
    return near, squares, source


def _nearest(
    points: Features, rows: Integers, candidates: Integers, k: int, name: str, *, workers: int
) -> tuple[Integers, Floats]:
    """Measure candidates of some rows in float64 and keep the k nearest: (r, k) indices, d^2."""
    m = candidates.shape[1]
    width = points.nnz // points.shape[0] + 1 if is_sparse(points) else points.shape[1]
    step = max(1, _VALUES // (m * width))

    def part(start: int) -> tuple[Integers, Floats]:
        some, block = rows[start : start + step], candidates[start : start + step]
        return _keep(some, block, _squares(points, some, np.maximum(block, 0), name), k)

    with one_blas_thread(), ThreadPoolExecutor(workers) as pool:
        parts = list(pool.map(part, range(0, rows.size, step)))
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])


def _keep(rows: Integers, candidates: Integers, squares: Floats, k: int) -> tuple[Integers, Floats]:
    """Return the k nearest candidates that are not the point itself, by (distance, index)."""
    squares = np.where((candidates < 0) | (candidates == rows[:, None]), np.inf, squares)
    order = np.lexsort((candidates, squares), axis=1)[:, :k]
    return np.take_along_axis(candidates, order, 1), np.take_along_axis(squares, order, 1)


def _squares(points: Features, rows: Integers, columns: Integers, name: str) -> Floats:
    """Return d^2 of every row to its columns, (r, m) float64, by direct differences.

    Negated differences have the same squares, summed in the same order: the result is symmetric.
    """
    if is_sparse(points):
        shape = columns.shape
        ends: csr_array = points[columns.reshape(-1)].astype(np.float64)
        apart = points[np.repeat(rows, shape[1])].astype(np.float64) - ends
        terms = abs(apart) if name == "manhattan" else apart.multiply(apart)
        sums: Floats = np.asarray(terms.sum(axis=1), dtype=np.float64).reshape(shape)
    else:
        differences = np.subtract(points[rows][:, None, :], points[columns], dtype=np.float64)
        if name == "manhattan":
            sums = np.abs(differences, out=differences).sum(axis=-1)
        else:
            sums = np.einsum("ijk,ijk->ij", differences, differences)
    if name == "cosine":
        return _of_unit_lengths(sums)
    return sums if name == "euclidean" else np.square(sums)


def _of_unit_lengths(squares: Floats) -> Floats:
    """Return the squared cosine distance of unit vectors: ``|u - v|^2 = 2 (1 - cos)``."""
    return np.square(squares / 2.0)


def _typical_gamma(last: Floats) -> Bandwidth:
    """Return one over the median squared distance to a point's last neighbour."""
    middle = float(np.median(last))
    words = "one over the median squared distance to the last neighbour"
    if middle == 0.0:
        last = last[last > 0.0]
        if last.size == 0:
            return Bandwidth(
                1.0, "auto", "all neighbours are duplicates, so gamma is 1 and does not matter"
            )
        middle = float(np.median(last))
        words += " where it is not 0 (most points have duplicates only)"
    gamma = 1.0 / middle
    if not 0.0 < gamma < math.inf:
        raise InputError(
            f"the median squared distance to the last neighbour is {middle:.4g}, whose inverse is "
            "no usable gamma; rescale X or give a number."
        )
    return Bandwidth(gamma, "auto", words)


def _weighted(
    near: Integers, squares: Floats, gamma: Bandwidth, symmetrize: bool, source: str
) -> SparseGraph:
    """Return the graph of the edges found, each with ``log w = -gamma d^2``."""
    from scipy.sparse import coo_array

    n, k = near.shape
    with np.errstate(over="ignore"):
        logs = 0.0 - gamma.gamma * squares.reshape(-1)  # from 0: duplicates have 0, not -0
    if not np.isfinite(logs).all():
        raise InputError(
            f"gamma={gamma.gamma:.4g} times a squared distance of {squares.max():.4g} overflows "
            "float64; use a smaller gamma or rescale X."
        )
    rows, columns = np.repeat(np.arange(n), k), near.reshape(-1)
    if symmetrize:
        # Each pair once, from whichever end it was found; the two ends agree on its distance.
        pairs = np.minimum(rows, columns) * n + np.maximum(rows, columns)
        order = np.argsort(pairs, kind="stable")
        pairs, logs = pairs[order], logs[order]
        first = np.flatnonzero(np.concatenate(([True], np.diff(pairs) != 0)))
        low, high = np.divmod(pairs[first], n)
        logs = np.tile(np.maximum.reduceat(logs, first), 2)
        rows, columns = np.concatenate((low, high)), np.concatenate((high, low))
    edges = coo_array((logs, (rows, columns)), shape=(n, n)).tocsr()
    return SparseGraph.from_log_weights(
        edges.indptr, edges.indices, edges.data, n, source=source, bandwidth=gamma
    )
