"""What every propagator asks of a graph, whatever its kind."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from gssl_poison.exceptions import InputError, InputTypeError
from gssl_poison.graph import DenseGraph, RBFGraph, check_rows, other_rows
from gssl_poison.sparse_graph import Graph, SparseGraph

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
LogRowsOf = Callable[[Integers], Floats]


def log_rows_of(graph: Graph, columns: Integers) -> LogRowsOf:
    """Return a function of row numbers that gives their log-weights to ``columns``, a new array."""
    if isinstance(graph, RBFGraph):
        from gssl_poison.kernels.log_rows import LogRows

        return LogRows(graph.X, graph.gamma, columns)
    return lambda rows: graph.log_weights(rows, columns)


def split_points(labeled: npt.ArrayLike, graph: Graph) -> tuple[Integers, Integers]:
    """Return the labelled and the unlabelled row numbers, both of which there must be."""
    if not isinstance(graph, RBFGraph | DenseGraph | SparseGraph):
        raise InputTypeError(
            f"graph is of type {type(graph).__name__}; make an RBFGraph, DenseGraph or SparseGraph "
            "of it."
        )
    rows = check_rows(labeled, graph.n_points, "labeled")
    others = other_rows(rows, graph.n_points)
    if others.size == 0:
        raise InputError("all points are labelled; at least one must be left to be inferred.")
    return rows, others


def as_sparse(graph: DenseGraph | SparseGraph) -> SparseGraph:
    """Return a graph by its edges."""
    if isinstance(graph, SparseGraph):
        return graph
    everyone = np.arange(graph.n_points, dtype=np.int64)
    log_weights = graph.log_weights(everyone, everyone)
    rows, columns = np.nonzero(np.isfinite(log_weights))
    indptr = np.searchsorted(rows, np.arange(graph.n_points + 1))
    return SparseGraph.from_log_weights(indptr, columns, log_weights[rows, columns], graph.n_points)


def listening_to(graph: SparseGraph, heard: npt.NDArray[np.bool_]) -> SparseGraph:
    """Return the graph with only the edges by which a point listens to ``heard`` points."""
    kept = heard[graph.indices]
    indptr = np.concatenate([[0], np.cumsum(kept)])[graph.indptr]
    return SparseGraph.from_log_weights(
        indptr, graph.indices[kept], graph.log_data[kept], graph.n_points
    )


def is_real(value: object) -> bool:
    """Tell whether a setting is a number."""
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
