"""Products with the transition matrix and with the normalised similarity of a complete graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from gssl_poison.exceptions import DeviceError, NumericalError
from gssl_poison.graph import DenseGraph, RBFGraph
from gssl_poison.kernels.cuda import NO_KERNEL, card_of
from gssl_poison.propagation.on_card import random_walk, refuse_storage, similarity
from gssl_poison.sparse_graph import Graph

Floats = npt.NDArray[np.float64]


# On a symmetric graph normalised weights are at most 1; on a directed one they may be anything.
_LARGEST_LOG = 300.0
# Columns from which a sparse product is worth its threads.
_MANY = 12


class Walk(Protocol):
    """A square matrix that is multiplied by, from either side."""

    def matmul(self, F: Floats) -> Floats:
        """Return the product with an (n, c) array."""

    def rmatmul(self, R: Floats) -> Floats:
        """Return the product of the transpose with an (n, c) array."""


@dataclass(frozen=True)
class Stored:
    """A matrix that is there, dense or CSR."""

    values: Any = field(repr=False)

    def matmul(self, F: Floats) -> Floats:
        """Return ``A F``."""
        return times(self.values, F)

    def rmatmul(self, R: Floats) -> Floats:
        """Return ``A.T R``."""
        return times(self.values.T, R)


@dataclass(frozen=True)
class GaussianWalk:
    """``(D + I)^-1 (W + I)``, the self-loops apart from the kernel's other weights."""

    operator: Any
    inverse_degree: Floats = field(repr=False)

    def matmul(self, F: Floats) -> Floats:
        """Return ``P F``."""
        product: Floats = (self.operator.matmul(F) + F) * self.inverse_degree
        return product

    def rmatmul(self, R: Floats) -> Floats:
        """Return ``P.T R``: W is symmetric."""
        scaled = R * self.inverse_degree
        product: Floats = self.operator.matmul(scaled) + scaled
        return product


@dataclass(frozen=True)
class GaussianSimilarity:
    """``D^-1/2 W D^-1/2`` without self-loops, which is symmetric."""

    operator: Any

    def matmul(self, F: Floats) -> Floats:
        """Return ``S F``."""
        product: Floats = self.operator.spread(F)
        return product

    def rmatmul(self, R: Floats) -> Floats:
        """Return ``S.T R``."""
        return self.matmul(R)


def times(A: Any, F: Floats) -> Floats:
    """Return ``A F`` of a dense or sparse matrix; many columns of a sparse one in threads."""
    if isinstance(A, np.ndarray) or F.shape[1] < _MANY:
        product: Floats = A @ F
        return product
    from gssl_poison.kernels.spmm import multiply

    return multiply(A.tocsr(), F)


# By graph, purpose and storage. The graph stands beside its walk: while it is held, no other object
# can have its id.
_Known = dict[tuple[int, str, str], tuple[Graph, Walk]]
_SHARED: ContextVar[_Known | None] = ContextVar("gssl_poison_shared_weights", default=None)


@contextmanager
def shared_weights() -> Iterator[None]:
    """Build the weights of a graph once for all that is fitted to it inside the block.

    Notes
    -----
    `Propagation` and `Spreading` build the weights of an `RBFGraph` or a `DenseGraph` whenever they
    are fitted, unless a fit before them in the same block had the same graph (the same object: an
    equal one is another), multiplied by the same kind of weights and held them in the same way.
    Results do not depend on it. Weights are held until the block ends, those of a block around it
    until that one does, and by what was fitted for as long as it lives. Threads and processes that
    are started inside share nothing with the block.

    Examples
    --------
    >>> from gssl_poison.propagation import Propagation
    >>> graph = RBFGraph(np.array([[0.0], [1.0], [3.0]]), gamma=1.0)
    >>> with shared_weights():
    ...     first, second = (Propagation(n).fit(graph, [0]) for n in (10, 11))
    >>> first.operator.walk is second.operator.walk
    True
    """
    around = _SHARED.get()
    token = _SHARED.set({} if around is None else dict(around))
    try:
        yield
    finally:
        _SHARED.reset(token)


def _once(graph: Graph, purpose: str, storage: str, build: Callable[[], Walk]) -> Walk:
    """Return the walk that the block around has for a graph, or a new one."""
    known = _SHARED.get()
    if known is None:
        return build()
    key = (id(graph), purpose, storage)
    if key not in known:
        known[key] = (graph, build())
    return known[key][1]


def walk_of(graph: RBFGraph | DenseGraph, storage: str = "auto") -> Walk:
    """Return the random walk on a graph, self-loops included; see `shared_weights`."""
    return _once(graph, "propagation", storage, lambda: _new_walk(graph, storage))


def _new_walk(graph: RBFGraph | DenseGraph, storage: str) -> Walk:
    """Build the random walk on a graph."""
    card = card_of(graph)
    if card is not None and isinstance(graph, RBFGraph):
        refuse_storage(storage)
        return random_walk(card, graph)
    if isinstance(graph, RBFGraph):
        from gssl_poison.kernels.tiles import rbf_operator

        operator = rbf_operator(graph.X, graph.gamma, purpose="propagation", storage=storage)
        # Sums of the weights as they are held: rows of P then sum to 1, whatever was dropped.
        inverse = 1.0 / (operator.matmul(np.ones((graph.n_points, 1)))[:, 0] + 1.0)
        if operator.kept is not None:
            return Stored(_walk_on(operator.kept, inverse))
        return GaussianWalk(operator, inverse[:, None])
    everyone = np.arange(graph.n_points, dtype=np.int64)
    weights = graph.log_weights(everyone, everyone)
    top = weights.max(axis=1, keepdims=True)
    weights -= np.where(np.isfinite(top), top, 0.0)
    np.exp(weights, out=weights)
    sums = weights.sum(axis=1, keepdims=True)
    weights /= np.where(sums > 0.0, sums, 1.0)
    return Stored(weights)


def _walk_on(weights: Any, inverse_degree: Floats) -> Any:
    """Return ``(D + I)^-1 (W + I)`` of sparse weights."""
    from scipy.sparse import csr_array, diags_array, eye_array

    walk = csr_array(weights + eye_array(weights.shape[0], format="csr"))
    return csr_array(diags_array(inverse_degree) @ walk)


def similarity_of(graph: Graph, storage: str = "auto") -> Walk:
    """Return ``S_ij = w_ij / sqrt(c_i c_j)`` without self-loops, ``c`` the sums of its columns.

    A point that nobody listens to has no column to divide by, and is divided by 1. See
    `shared_weights`.
    """
    return _once(graph, "spreading", storage, lambda: _new_similarity(graph, storage))


def _new_similarity(graph: Graph, storage: str) -> Walk:
    """Build the normalised similarity of a graph."""
    card = card_of(graph)
    if card is not None and isinstance(graph, RBFGraph):
        refuse_storage(storage)
        return similarity(card, graph)
    if card is not None:
        raise DeviceError(NO_KERNEL)
    if isinstance(graph, RBFGraph):
        from gssl_poison.kernels.tiles import rbf_operator

        return GaussianSimilarity(
            rbf_operator(graph.X, graph.gamma, purpose="spreading", storage=storage)
        )
    n = graph.n_points
    if isinstance(graph, DenseGraph):
        everyone = np.arange(n, dtype=np.int64)
        weights = graph.log_weights(everyone, everyone)
        np.fill_diagonal(weights, -np.inf)
        top = weights.max(axis=0)
        top = np.where(np.isfinite(top), top, 0.0)
        half = _half_log(np.exp(weights - top).sum(axis=0), top)
        weights -= half
        weights -= half[:, None]
        return Stored(_exponential(weights))
    from scipy.sparse import csr_array

    rows = np.repeat(np.arange(n), np.diff(graph.indptr))
    between = rows != graph.indices
    rows, columns, weights = rows[between], graph.indices[between], graph.log_data[between]
    top = np.full(n, -np.inf)
    np.maximum.at(top, columns, weights)
    top = np.where(np.isfinite(top), top, 0.0)
    half = _half_log(np.bincount(columns, np.exp(weights - top[columns]), minlength=n), top)
    values = _exponential(weights - half[rows] - half[columns])
    return Stored(csr_array((values, (rows, columns)), shape=(n, n)))


def _exponential(log_values: Floats) -> Floats:
    """Return exp in place, refusing what leaves float64 or could by being multiplied."""
    largest = float(log_values.max(initial=-np.inf))
    if largest > _LARGEST_LOG:
        raise NumericalError(
            f"a normalised weight of this directed graph is exp({largest:.0f}), too much for "
            "float64 to multiply with; use a symmetric graph (symmetrize=True) or a smaller gamma."
        )
    exponentials: Floats = np.exp(log_values, out=log_values)
    return exponentials


def _half_log(sums: npt.NDArray[Any], top: Floats) -> Floats:
    """Return half the logarithm of ``exp(top) sums``, and 0 for an empty sum."""
    half: Floats = np.where(sums > 0.0, (top + np.log(np.where(sums > 0.0, sums, 1.0))) / 2.0, 0.0)
    return half
