"""Searching for nearest neighbours: which library, and what it is handed and hands back."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gssl_poison._arrays import Features, is_sparse, n_threads
from gssl_poison.exceptions import InputError
from gssl_poison.kernels import cuda

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Metric = str | Callable[[Any, Any], float]

METHODS = ("auto", "exact", "pynndescent", "faiss", "cuda", "cuvs")

# Metrics whose distances are measured here, by the name that the search knows them under.
MEASURED = {
    "euclidean": "euclidean",
    "l2": "euclidean",
    "minkowski": "euclidean",
    "manhattan": "manhattan",
    "l1": "manhattan",
    "cityblock": "manhattan",
    "cosine": "cosine",
}
_WHITEN = "scale or whiten X yourself and use metric='euclidean'"
_REFUSED = {
    "mahalanobis": _WHITEN,
    "seuclidean": _WHITEN,
    "pyfunc": "pass the function itself",
    "precomputed": "use DenseGraph.from_log_weights(-gamma * D**2) or SparseGraph",
    "sqeuclidean": "use metric='euclidean': weights are exp(-gamma d^2) already",
}
# Up to here a tree beats comparing everybody with everybody, even on data without structure.
_TREE_FEATURES = 8
# Comparing everybody costs n^2 of max(features, 32) steps: about a minute on two processors.
_EXACT_STEPS = 1e12
# Found beyond what is asked for: libraries rank in rounded arithmetic, or guess. The card's search
# is proven row by row: as many more as it has, so many equally far points need no other search.
_SPARE_EXACT, _SPARE_CUDA, _SPARE_APPROXIMATE = 3, 8, 20
# Rows that cuVS is asked about at a time.
_CUVS_ROWS = 2**16
_INSTALL = {
    "pynndescent": "`pip install pynndescent`",
    "faiss": "`pip install faiss-cpu`",
    "cuvs": "`pip install cuvs-cu13` (or cuvs-cu12, by the driver)",
}
# Values of a block that is centred at a time: 2**19 float64 are 4 MiB.
_VALUES = 2**19


class Found(NamedTuple):
    """Candidates of every point, (n, m), -1 where there is none, and what found them.

    No other point is nearer than ``beyond``, (n,) squared Euclidean, where that is known.
    """

    candidates: Integers
    source: str
    beyond: Floats | None = None


def choose_method(method: str, metric: Metric, X: Features) -> str:
    """Return what searches, refusing what cannot."""
    if method not in METHODS:
        raise InputError(f"method={method!r} is not known; use one of {', '.join(METHODS)}.")
    _check_metric(metric, X)
    name = MEASURED.get(metric) if isinstance(metric, str) else None
    by_vectors = name in ("euclidean", "cosine") and not is_sparse(X)
    able = {"pynndescent": name is not None, "faiss": by_vectors}
    on_card = {"cuda": by_vectors, "cuvs": by_vectors}  # no choice of "auto"
    if method in able | on_card:
        if not (able | on_card)[method]:
            given = "sparse X" if is_sparse(X) and name in ("euclidean", "cosine") else metric
            raise InputError(f"method={method!r} does not search with {given}; use method='exact'.")
        if method in _INSTALL and find_spec(method) is None:
            raise InputError(
                f"method={method!r} is not installed; {_INSTALL[method]} or use method='exact'."
            )
        if method in on_card:
            cuda.card()  # or it says what is missing
        return method
    n = X.shape[0]
    width = X.nnz / n if is_sparse(X) else X.shape[1]
    if method == "auto" and not _has_tree(X) and n**2 * max(width, 32) > _EXACT_STEPS:
        return next((m for m, can in able.items() if can and find_spec(m) is not None), "exact")
    return "exact"


def _check_metric(metric: Metric, X: Features) -> None:
    """Refuse a metric that scikit-learn does not have, or that gives no distances here."""
    if callable(metric):
        return
    from sklearn.neighbors import VALID_METRICS, VALID_METRICS_SPARSE

    if metric in _REFUSED:
        raise InputError(f"metric={metric!r} is not taken here; {_REFUSED[metric]}.")
    table = VALID_METRICS_SPARSE if is_sparse(X) else VALID_METRICS
    known = {name for names in table.values() for name in names if isinstance(name, str)}
    if metric not in known:
        kind = "sparse" if is_sparse(X) else "dense"
        usual = ", ".join(sorted(set(MEASURED.values())))
        raise InputError(
            f"metric={metric!r} is not one that scikit-learn has for {kind} X; use {usual} or "
            "another of sklearn.neighbors.VALID_METRICS."
        )


def _has_tree(X: Features) -> bool:
    """Tell whether a tree is worth its while."""
    return not is_sparse(X) and X.shape[1] <= _TREE_FEATURES


def check_jobs(n_jobs: object) -> int:
    """Return how many threads to use; negative numbers count from all, as in joblib."""
    if n_jobs is None:
        return n_threads()
    if isinstance(n_jobs, bool) or not isinstance(n_jobs, int | np.integer) or n_jobs == 0:
        raise InputError(f"n_jobs={n_jobs!r} is not a number of threads; give 1 or more, or -1.")
    return int(n_jobs) if n_jobs > 0 else max(1, n_threads() + 1 + int(n_jobs))


def search(points: Features, k: int, name: str, method: str, workers: int) -> Found:
    """Find candidates for the neighbours of every point, a few more than k and the point itself."""
    n = points.shape[0]
    metric = "manhattan" if name == "manhattan" else "euclidean"
    if method == "exact":
        return search_again(points, np.arange(n), k, metric, workers)
    if method == "cuda":
        return _by_products(points, k)
    wanted = min(n, k + 1 + _SPARE_APPROXIMATE)
    scaled = _centred(points)
    if method == "faiss":
        candidates = _by_faiss(scaled, wanted, workers)
    elif method == "cuvs":
        candidates = _by_cuvs(scaled, wanted)
    else:
        candidates = _by_pynndescent(scaled, wanted, metric, workers)
    # An approximate search may come back with too few.
    short = np.flatnonzero((candidates >= 0).sum(axis=1) <= k)
    if short.size:
        candidates[short] = _exact(scaled, scaled[short], wanted, metric, workers)
    # faiss comes in packages of several names: the module itself knows its version.
    return Found(candidates, f"{method} {sys.modules[method].__version__}")


def search_again(points: Features, rows: Integers, k: int, metric: str, workers: int) -> Found:
    """Find candidates for the neighbours of some points, comparing these with everybody."""
    scaled = _centred(points)
    queries = scaled if rows.size == points.shape[0] else scaled[rows]
    wanted = min(points.shape[0], k + 1 + _SPARE_EXACT)
    tree = "kd_tree" if _has_tree(points) else "brute"
    return Found(_exact(scaled, queries, wanted, metric, workers), f"exact {tree}")


def _centred(X: Features) -> Features:
    """Return a copy for the search: float32 or float64, around 0 and no larger than 1.

    Neighbours stay the same, and the squares that libraries subtract from one another stay small.
    """
    if is_sparse(X):  # centred, it would be dense
        top = np.abs(X.data).max(initial=0.0)
        return X / top if top > 0.0 else X
    mean = X.mean(axis=0, dtype=np.float64)
    centred = np.empty(X.shape, dtype=np.float64 if X.dtype == np.float64 else np.float32)
    step = max(1, _VALUES // X.shape[1])
    for start in range(0, X.shape[0], step):
        centred[start : start + step] = X[start : start + step] - mean
    top = max(centred.max(), -centred.min())
    if top > 0.0:
        centred /= top
    return centred


def _exact(points: Features, queries: Features, wanted: int, metric: str, workers: int) -> Integers:
    """Return the nearest of ``points`` to every query, as scikit-learn finds them."""
    from sklearn.neighbors import NearestNeighbors
    from threadpoolctl import threadpool_limits

    tree = "kd_tree" if _has_tree(points) else "brute"
    index = NearestNeighbors(algorithm=tree, metric=metric, n_jobs=workers)
    with threadpool_limits(workers, user_api="openmp"):
        found: Integers = index.fit(points).kneighbors(queries, wanted, return_distance=False)
    return found.astype(np.int64, copy=False)


def _by_pynndescent(points: Features, wanted: int, metric: str, workers: int) -> Integers:
    """Return candidates by nearest-neighbour descent, seeded."""
    from pynndescent import NNDescent

    with warnings.catch_warnings():
        # It warns of points with too few neighbours, which are searched for exactly.
        warnings.filterwarnings("ignore", "Failed to correctly find n_neighbors", UserWarning)
        index = NNDescent(points, metric=metric, n_neighbors=wanted, random_state=0, n_jobs=workers)
    return np.array(index.neighbor_graph[0], dtype=np.int64)


def _by_faiss(points: npt.NDArray[Any], wanted: int, workers: int) -> Integers:
    """Return candidates from the 64 nearest of about ``4 sqrt(n)`` cells; its k-means is seeded."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of SWIG, while it is imported
        import faiss
    from threadpoolctl import threadpool_limits

    n, d = points.shape
    points = np.ascontiguousarray(points, dtype=np.float32)
    # k-means asks for 39 points a cell at the least.
    cells = max(1, min(int(4 * math.sqrt(n)), n // 39))
    with threadpool_limits(workers):
        quantizer = faiss.IndexFlatL2(d)
        index = faiss.IndexIVFFlat(quantizer, d, cells)
        index.train(points)
        index.add(points)
        index.nprobe = min(cells, 64)
        found: Integers = index.search(points, wanted)[1]
    return found


def _by_products(points: npt.NDArray[Any], k: int) -> Found:
    """Return candidates by the products of all pairs on a card, and how far all others are."""
    from gssl_poison.kernels.cuda_neighbours import MOST, MOST_FEATURES, nearest_on_card

    most = MOST - 1 - _SPARE_CUDA
    if k > most:
        raise InputError(
            f"n_neighbors={k} is more than method='cuda' keeps, {most}; use method='exact'."
        )
    n, d = points.shape
    if d > MOST_FEATURES:
        raise InputError(
            f"X has {d:,} features, and method='cuda' takes {MOST_FEATURES:,} at the most; use "
            "method='exact'."
        )
    found = nearest_on_card(cuda.card(), points, min(n, k + 1 + _SPARE_CUDA))
    return Found(found.candidates, "cuda brute", found.beyond)


def _by_cuvs(points: npt.NDArray[Any], wanted: int) -> Integers:
    """Return candidates from cuVS's comparison of everybody with everybody, in float32."""
    brute_force = import_module("cuvs.neighbors.brute_force")
    card, n = cuda.card(), points.shape[0]
    there = card.put(points.astype(np.float32, copy=False))
    # cuVS computes on a stream of its own, and does not wait for ours: what comes back from the
    # card has come to it.
    card.get(there[-1:])
    index = brute_force.build(there, metric="sqeuclidean")
    found = np.empty((n, wanted), dtype=np.int64)
    for start in range(0, n, _CUVS_ROWS):
        rows = slice(start, start + _CUVS_ROWS)
        _, near = brute_force.search(index, there[rows], wanted)
        found[rows] = card.get(card.xp.asarray(near))
    found[(found < 0) | (found >= n)] = -1
    return found


def search_other(X: Features, k: int, metric: Metric, workers: int) -> tuple[Integers, Floats]:
    """Return candidates and their distances by a metric that only scikit-learn knows, (n, m)."""
    from sklearn.neighbors import NearestNeighbors

    points = X.astype(np.float64, copy=False)
    wanted = min(X.shape[0], k + 1 + _SPARE_EXACT)
    index = NearestNeighbors(metric=metric, n_jobs=workers).fit(points)
    distances, candidates = index.kneighbors(points, wanted)
    return candidates.astype(np.int64, copy=False), distances
