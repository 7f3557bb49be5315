"""What a kernel makes of the training points: a graph, and its weights where they are stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gssl_poison._arrays import is_sparse
from gssl_poison.exceptions import InputError
from gssl_poison.graph import DenseGraph, RBFGraph
from gssl_poison.sparse_graph import Graph, SparseGraph

# Distributions (n, c), iterations, and the points (r,) that no label reaches.
Limit: TypeAlias = tuple[npt.NDArray[np.float64], int, npt.NDArray[np.int64]]

# All weights are 1 at gamma = 0, and at this.
_SMALLEST_GAMMA = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True)
class Source:
    """The graph of the training points.

    Attributes
    ----------
    graph : RBFGraph, DenseGraph or SparseGraph
    W : (n, n) ndarray or csr_array of float64, or None
        The weights; None for a Gaussian graph, which stores none.
    neighbors : sklearn.neighbors.NearestNeighbors or None
        What finds the neighbours of new points, for ``kernel="knn"``.
    """

    graph: Graph
    W: Any = field(repr=False)
    neighbors: Any = field(repr=False, default=None)

    @property
    def n_points(self) -> int:
        """Number of points."""
        return self.graph.n_points


def source_of(estimator: Any, X: Any) -> Source:
    """Return the graph that an estimator's kernel makes of its training points.

    Parameters
    ----------
    estimator : LabelPropagation or LabelSpreading
        Its ``kernel``, ``gamma``, ``n_neighbors`` and ``n_jobs`` count.
    X : (n, d) ndarray or scipy sparse
        Points, or (n, n) weights for ``kernel="precomputed"``.

    Returns
    -------
    Source

    Raises
    ------
    InputError
        Weights are not square, negative or not finite.
    """
    kernel, n_points = estimator.kernel, X.shape[0]
    if callable(kernel):
        return _of_weights(kernel(X, X), n_points, "the kernel's result")
    if kernel == "precomputed":
        return _of_weights(X, n_points, "X, which kernel='precomputed' takes as weights,")
    if kernel == "rbf":
        return Source(RBFGraph(X, max(float(estimator.gamma), _SMALLEST_GAMMA)), None)
    from sklearn.neighbors import NearestNeighbors

    neighbors = NearestNeighbors(n_neighbors=estimator.n_neighbors, n_jobs=estimator.n_jobs).fit(X)
    # Asked about points as if they were new ones, it counts them among their own neighbours.
    W = neighbors.kneighbors_graph(X, estimator.n_neighbors, mode="connectivity")
    found = _of_weights(W, n_points, "the graph of neighbours")
    return Source(found.graph, found.W, neighbors)


def read_weights(W: Any, shape: tuple[int, int], name: str) -> Any:
    """Return weights between points as a float64 array or CSR, refusing what they cannot be."""
    weights: Any
    if is_sparse(W):
        from scipy.sparse import csr_array

        weights = csr_array(W, dtype=np.float64)
        values = weights.data
    else:
        weights = values = np.asarray(W, dtype=np.float64)
    if weights.shape != shape:
        raise InputError(
            f"{name} has shape {weights.shape}, and {shape[0]} by {shape[1]} weights are needed: "
            "one row and one column for every point."
        )
    if values.size and not (values.min() >= 0.0 and values.max() < np.inf):
        wrong = values[~((values >= 0.0) & (values < np.inf))].flat[0]
        raise InputError(
            f"{name} holds the weight {wrong}; weights must be finite and not negative. "
            "Negative values in data: shift or clip them, as numpy.maximum(W, 0) does."
        )
    return weights


def _of_weights(W: Any, n_points: int, name: str) -> Source:
    """Return the graph of a matrix of weights."""
    weights = read_weights(W, (n_points, n_points), name)
    if is_sparse(weights):
        graph = SparseGraph(weights)
        if not weights.has_canonical_format:
            weights = weights.copy()
            weights.sum_duplicates()
        return Source(graph, weights)
    return Source(DenseGraph(weights), weights)


def classes_of(y: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Return the classes and the code of every point, -1 where y is -1, which means unlabelled.

    Parameters
    ----------
    y : (n,) ndarray
        Labels as scikit-learn has validated them.

    Returns
    -------
    classes : (c,) ndarray
        Ascending, in the type of y.
    codes : (n,) int64

    Raises
    ------
    InputError
        No point is labelled, y mixes text and numbers other than -1, or holds "-1" as text.
    ValueError
        y is no classification target.
    """
    from sklearn.utils.multiclass import check_classification_targets

    if y.dtype.kind in "US" and (y == y.dtype.type("-1")).any():
        raise InputError(
            "y holds the text '-1', which would be a class of its own; mark unlabelled points by "
            "the number -1 in an object array: numpy.array([...], dtype=object)."
        )
    labeled = ~np.asarray(y == -1, dtype=bool)
    if not labeled.any():
        raise InputError(
            "y has no label, every value is -1; give at least one point its class, from which the "
            "others can be inferred."
        )
    try:
        # Text and the number -1 in one array are no target that scikit-learn knows; the text is.
        check_classification_targets(y[labeled] if y.dtype.kind == "O" else y)
        classes, found = np.unique(y[labeled], return_inverse=True)
    except TypeError as error:
        raise InputError(
            f"y mixes labels that cannot be ordered ({error}); use one type for all classes."
        ) from error
    codes = np.full(y.size, -1, dtype=np.int64)
    codes[labeled] = found
    return classes, codes
