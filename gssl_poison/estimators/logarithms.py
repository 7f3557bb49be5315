"""Label spreading where its scores are too small for float64: one exponent a point.

`gssl_poison.Spreading` keeps scores down to about 1e-600 of the labels they come from. At a large
gamma they are smaller than that, and their ratios, which is all that distributions need, are not.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from gssl_poison.propagation.graphs import log_rows_of
from gssl_poison.sparse_graph import Graph, SparseGraph

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
# Takes exponents (n,) and scores (n, c), and returns those of S times them.
LogProduct = Callable[[Floats, Floats], tuple[Floats, Floats]]

# Numbers of a block of log-weights: 64 MiB.
_BLOCK = 2**23
# Part of a score that is still to come when the limit is taken to be there.
_LEFT = 1e-14


def spread_in_logarithms(
    graph: Graph, labeled: Integers, Y: Floats, alpha: float, n_iter: int
) -> Floats:
    """Return the distributions after iterations of label spreading, at any gamma.

    Parameters
    ----------
    graph : RBFGraph, DenseGraph or SparseGraph
    labeled : (l,) int64
    Y : (l, c) float64
        Labels; non-negative.
    alpha : float
    n_iter : int

    Returns
    -------
    (n, c) float64
        Rows that sum to 1, or to 0 where no label arrives in time.

    Notes
    -----
    ``F <- alpha S F + (1 - alpha) Y`` from ``F = Y``, every row of F held as ``exp(m_i) f_i`` with
    ``max f_i = 1``. An iteration takes an exponential an edge, and on a Gaussian graph the
    ``2 n^2 d`` operations of its distances anew; memory is that of a block.
    """
    product = _sparse_product(graph) if isinstance(graph, SparseGraph) else _dense_product(graph)
    exponents = np.full(graph.n_points, -np.inf)
    exponents[labeled] = 0.0
    scores = np.zeros((graph.n_points, Y.shape[1]))
    scores[labeled] = Y
    for _ in range(n_iter):
        exponents, scores = product(exponents, scores)
        exponents += math.log(alpha)
        exponents[labeled], scores[labeled] = _sum(
            exponents[labeled], scores[labeled], math.log1p(-alpha), Y
        )
    sums = scores.sum(axis=1, keepdims=True)
    distributions: Floats = scores / np.where(sums > 0.0, sums, 1.0)
    return distributions


def n_terms(alpha: float, longest: int) -> int:
    """Return how many iterations bring all but 1e-14 of a score, labels ``longest`` edges away."""
    return math.ceil(math.log(_LEFT * (1.0 - alpha)) / math.log(alpha)) + 1 + longest


def _sum(exponents: Floats, scores: Floats, log_part: float, Y: Floats) -> tuple[Floats, Floats]:
    """Return ``exp(exponents) scores + exp(log_part) Y``, as exponents and what they multiply."""
    higher = np.maximum(exponents, log_part)
    added = scores * np.exp(exponents - higher)[:, None] + Y * np.exp(log_part - higher)[:, None]
    return _normal(higher, added)


def _normal(exponents: Floats, scores: Floats) -> tuple[Floats, Floats]:
    """Return the same rows with the largest entry of each brought to 1."""
    largest = scores.max(axis=1)
    some = largest > 0.0
    safe = np.where(some, largest, 1.0)
    return np.where(some, exponents + np.log(safe), -np.inf), scores / safe[:, None]


def _dense_product(graph: Graph) -> LogProduct:
    """Return the product with S of a graph that is given by blocks of log-weights."""
    everyone = np.arange(graph.n_points, dtype=np.int64)
    log_rows = log_rows_of(graph, everyone)
    step = max(1, _BLOCK // graph.n_points)
    parts = [everyone[start : start + step] for start in range(0, graph.n_points, step)]

    def between(part: Integers) -> Floats:
        block = log_rows(part)
        block[np.arange(part.size), part] = -np.inf
        return block

    top, sums = np.full(graph.n_points, -np.inf), np.zeros(graph.n_points)
    for part in parts:
        block = between(part)
        higher = np.maximum(top, block.max(axis=0))
        base = np.where(np.isfinite(higher), higher, 0.0)
        sums = sums * np.exp(np.minimum(top - base, 0.0)) + np.exp(block - base).sum(axis=0)
        top = higher
    half = _half(top, sums)

    def product(exponents: Floats, scores: Floats) -> tuple[Floats, Floats]:
        sent = exponents - half
        result, into = np.zeros_like(scores), np.full(graph.n_points, -np.inf)
        for part in parts:
            block = between(part) + sent
            largest = block.max(axis=1)
            finite = np.where(np.isfinite(largest), largest, 0.0)
            result[part] = np.exp(block - finite[:, None]) @ scores
            into[part] = largest - half[part]
        return _normal(into, result)

    return product


def _sparse_product(graph: SparseGraph) -> LogProduct:
    """Return the product with S of a sparse graph."""
    from scipy.sparse import csr_array

    n = graph.n_points
    rows = np.repeat(np.arange(n), np.diff(graph.indptr))
    between = rows != graph.indices
    rows, columns, logs = rows[between], graph.indices[between], graph.log_data[between]
    top = np.full(n, -np.inf)
    np.maximum.at(top, columns, logs)
    base = np.where(np.isfinite(top), top, 0.0)
    sums: Floats = np.bincount(columns, np.exp(logs - base[columns]), minlength=n).astype(float)
    half = _half(top, sums)

    def product(exponents: Floats, scores: Floats) -> tuple[Floats, Floats]:
        terms = logs + (exponents - half)[columns]
        largest = np.full(n, -np.inf)
        np.maximum.at(largest, rows, terms)
        finite = np.where(np.isfinite(largest), largest, 0.0)
        weights = csr_array((np.exp(terms - finite[rows]), (rows, columns)), shape=(n, n))
        return _normal(largest - half, weights @ scores)

    return product


def _half(top: Floats, sums: Floats) -> Floats:
    """Return half the logarithm of ``exp(top) sums``; 0 where nobody listens to a point."""
    some = sums > 0.0
    half: Floats = np.where(some, (top + np.log(np.where(some, sums, 1.0))) / 2.0, 0.0)
    return half
