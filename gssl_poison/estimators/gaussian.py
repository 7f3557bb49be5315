"""What the loops multiply by on a Gaussian graph, whose n^2 weights are never stored as such.

scikit-learn works on the weights that float64 can represent, and what underflows is 0 there. The
loops here do the same, so that their results are its results; where that left rows of zeros, the
rules go over the graph once more in logarithms.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from gssl_poison._arrays import available_memory
from gssl_poison.estimators.products import Product, over_degrees
from gssl_poison.exceptions import NumericalError
from gssl_poison.graph import RBFGraph
from gssl_poison.propagation.graphs import log_rows_of

Floats = npt.NDArray[np.float64]

# Weights below this logarithm are next to the subnormal numbers, where float64 keeps fewer digits.
_LEAST_LOG = -700.0
# Numbers of a block of weights to labelled points: 64 MiB.
_BLOCK = 2**23


@dataclass(frozen=True)
class PointWalk:
    """W with self-loops, and what the first iteration makes of the labels.

    Attributes
    ----------
    product : Product
    start : (n, c) float64
        Scores after the first iteration, in which weights count that the product may have dropped.
    faint : bool
        Whether some point's weights to all labelled ones are too small for float64.
    """

    product: Product
    start: Floats = field(repr=False)
    faint: bool


def walk_of_points(graph: RBFGraph, Y: Floats, precision: str) -> PointWalk | None:
    """Return the product with the weights of a Gaussian graph, self-loops included.

    Parameters
    ----------
    graph : RBFGraph
    Y : (n, c) float64
        The labels, rows of 0 where there is none.
    precision : {"double", "single"}

    Returns
    -------
    PointWalk, or None where single precision cannot be proven to decide as double does.

    Notes
    -----
    Beside a self-loop of 1, weights below 1e-17 change nothing, and may be dropped; but in the
    first iteration an unlabelled point has nothing of its own, and every weight to a label counts.
    So that iteration is taken apart, with ``2 u l d`` operations. Where the largest of a point's
    weights to the labels underflows, scikit-learn's loop reaches it later or not at all, by
    whatever weights are representable: then all of them are kept.
    """
    start, least = _first_iteration(graph, Y)
    faint = least < _LEAST_LOG
    if faint and precision == "single":
        return None
    operator = _operator(graph, "propagation", _complete(graph) if faint else "auto", precision)
    product = Product(
        lambda V: operator.matmul(V) + V,
        own=np.ones(graph.n_points),
        error=_error(operator),
        lost=2.0 * operator.dropped,
    )
    return PointWalk(product, start, faint)


def similarity_of_points(graph: RBFGraph, precision: str) -> Product | None:
    """Return the product with ``S = D^-1/2 W D^-1/2`` of a Gaussian graph, zero diagonal.

    Parameters
    ----------
    graph : RBFGraph
    precision : {"double", "single"}

    Returns
    -------
    Product, or None where single precision cannot be proven to decide as double does.

    Notes
    -----
    A point whose degree underflows is an isolated one for scikit-learn, and S is made of the
    weights that float64 has.
    """
    own = np.zeros(graph.n_points)
    try:
        operator = _operator(graph, "spreading", "auto", precision)
    except NumericalError:
        operator = None  # some point's weights are far out of float64's range
    if operator is not None and not operator.log_degree.min(initial=0.0) < _LEAST_LOG:
        return Product(operator.spread, own, 2.0 * _error(operator), operator.dropped)
    if precision == "single":
        return None
    operator = _operator(graph, "propagation", _complete(graph), precision)
    degree = operator.matmul(np.ones((graph.n_points, 1)))[:, 0]
    return over_degrees(Product(operator.matmul, own, 2.0 * _error(operator)), degree)


def _error(operator: Any) -> float:
    """Return how far apart the logarithms of this operator's and of a double one's weights are."""
    error: float = operator.error
    return 2.0 * error if operator.precision == "double" else 1.01 * error


def _complete(graph: RBFGraph) -> str:
    """Return how all weights that float64 can represent are held: stored where they fit."""
    return "triangle" if 4 * graph.n_points**2 < available_memory() // 2 else "free"


def _operator(graph: RBFGraph, purpose: str, storage: str, precision: str) -> Any:
    """Return what multiplies by the weights of a Gaussian graph."""
    from gssl_poison.kernels.tiles import rbf_operator

    return rbf_operator(graph.X, graph.gamma, purpose=purpose, storage=storage, precision=precision)


def _first_iteration(graph: RBFGraph, Y: Floats) -> tuple[Floats, float]:
    """Return scores after one iteration, and the least of the points' largest log-weights."""
    scores, least = Y.copy(), np.inf
    labeled, others = np.flatnonzero(Y.any(axis=1)), np.flatnonzero(~Y.any(axis=1))
    log_rows = log_rows_of(graph, labeled)
    step = max(1, _BLOCK // labeled.size)
    for first in range(0, others.size, step):
        part = others[first : first + step]
        block = log_rows(part)
        top = block.max(axis=1, keepdims=True)
        least = min(least, float(top.min()))
        block -= top
        np.exp(block, out=block)
        block /= block.sum(axis=1, keepdims=True)
        scores[part] = block @ Y[labeled]
    return scores, least
