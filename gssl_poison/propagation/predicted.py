"""What scikit-learn's ``predict`` makes of a fit: one more product with the graph's weights."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from gssl_poison.exceptions import DeviceError, InputTypeError
from gssl_poison.graph import RBFGraph
from gssl_poison.kernels.cuda import NO_KERNEL, card_of
from gssl_poison.propagation.direct import Direct
from gssl_poison.propagation.fitted import Fitted, Operator
from gssl_poison.propagation.graphs import as_sparse, listening_to
from gssl_poison.propagation.harmonic import Harmonic
from gssl_poison.propagation.loop import Propagation
from gssl_poison.propagation.spreading import Spreading
from gssl_poison.propagation.stored import RowsMatrix, too_small
from gssl_poison.propagation.walks import Stored, Walk, walk_of
from gssl_poison.sparse_graph import Graph, SparseGraph

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Inner: TypeAlias = Direct | Propagation | Harmonic | Spreading


@dataclass(frozen=True)
class Predicted:
    """What scikit-learn's ``predict`` gives on the training points, after any other propagator.

    Parameters
    ----------
    inner : Direct, Propagation, Harmonic or Spreading
        What is fitted.

    Notes
    -----
    ``predict`` weighs the fitted scores of all training points by their kernel with the point that
    is asked for, and a training point is asked for as if it were a new one:
    ``F' = D^-1 (W + I) diag(M 1)^-1 M Y``, self-loops included, nothing clamped. The kernel is the
    plain one after label spreading too, whose own loop multiplies by ``D^-1/2 W D^-1/2``. Before
    that, ``fit`` divides the scores of a point by their sum, ``M 1`` for any labelling, so that
    all of it is one matrix. Labels that clamp have sums of 1. The sums are those of all labelled
    points: unlike those of `Spreading`, columns of this M are not those of a fit to fewer labels.

    On an `RBFGraph` that is scikit-learn to rounding. Other graphs are multiplied by their own
    weights and self-loops, and a point is divided by the weight of those that a label has reached;
    one that listens to none of them is ``unreached``, even where it is labelled itself. On
    unlabelled points ``Predicted(Propagation(n))`` is ``Propagation(n + 1)``.

    Costs what the inner propagator costs, and a product with W more; after `Spreading`, one more
    run of its loop when it is fitted.

    References
    ----------
    scikit-learn 1.9, ``sklearn.semi_supervised.LabelSpreading.predict_proba``.

    Examples
    --------
    >>> import numpy as np
    >>> graph = RBFGraph(np.array([[0.0], [1.0], [3.0]]), gamma=1.0)
    >>> Predicted(Spreading(0.2, n_iter=10)).fit(graph, np.array([0, 2])).matrix().round(4)
    array([[0.8532, 0.1468]])
    """

    inner: Inner

    def __post_init__(self) -> None:
        """Refuse what cannot be fitted first."""
        if not isinstance(self.inner, Inner):
            raise InputTypeError(
                f"inner={self.inner!r} is no propagator to predict from; give Direct(), "
                "Propagation(n_iter), Harmonic() or Spreading()."
            )

    def fit(self, graph: Graph, labeled: npt.ArrayLike) -> Fitted:
        """Fit the inner propagator, and prepare the product that follows it.

        Parameters
        ----------
        graph : RBFGraph, DenseGraph or SparseGraph
        labeled : (l,) int
            Row numbers of the labelled points.

        Returns
        -------
        Fitted
            Nothing is clamped, and a label cannot be left out; ``method``, ``n_iter``,
            ``residual`` and ``converged`` are those of the inner fit.
        """
        return self.after(self.inner.fit(graph, labeled))

    def after(self, fitted: Fitted) -> Fitted:
        """Prepare the product that follows a fit of the inner propagator, made before.

        Parameters
        ----------
        fitted : Fitted
            Of ``inner``, with its M in memory or not.
        """
        graph = fitted.graph
        heard = np.ones(graph.n_points, dtype=np.bool_)
        heard[fitted.unreached] = False
        storage = getattr(self.inner, "storage", "auto")
        walk = _walk_to(graph, heard, storage)
        unreached = fitted.unreached
        if not isinstance(graph, RBFGraph):
            unreached = np.flatnonzero(walk.matmul(heard[:, None].astype(np.float64))[:, 0] == 0.0)
        operator = fitted.operator
        sums, log_sum = None, 0.0
        if isinstance(operator, RowsMatrix):
            # Its rows are divided by their sums as they are held.
            operator = RowsMatrix(operator.values, np.zeros(graph.n_points))
        elif not fitted.clamped:
            sums, log_sum = _row_sums(fitted)
        return Fitted(
            propagator=self,
            graph=graph,
            labeled=fitted.labeled,
            unlabeled=fitted.unlabeled,
            operator=PredictedOperator(operator, walk, sums, log_sum),
            method=fitted.method,
            unreached=unreached,
            n_iter=fitted.n_iter,
            residual=fitted.residual,
            converged=fitted.converged,
            # Rows of the product are mixtures of rows whose entries are no further off.
            error=fitted.error,
            clamped=False,
        )


@dataclass(frozen=True)
class PredictedOperator:
    """``P diag(s)^-1 M`` of an operator M, a walk P and the row sums s of M.

    Attributes
    ----------
    inner : Operator
    walk : Walk
    sums : (n, 1) float64 or None
        Row sums of M over ``exp(log_sum)``, 1 for rows of zeros; None where all are 1.
    log_sum : float
        A multiple of log 2.
    """

    inner: Operator
    walk: Walk = field(repr=False)
    sums: Floats | None = field(repr=False, default=None)
    log_sum: float = 0.0
    lift: int = 0

    def apply(self, Y: Floats) -> tuple[Floats, float]:
        """Return ``M' Y``."""
        if self.sums is not None and (Y < 0.0).any():
            both, common = self.apply(_by_sign(Y))
            return _difference(both), common
        scores, log_scale = self.inner.apply(Y)
        if self.sums is not None:
            scores = scores / self.sums
        if not isinstance(log_scale, float):
            # A factor a row has to go in before rows are mixed.
            scores, log_scale = scores * np.exp(log_scale)[:, None], 0.0
        return self.walk.matmul(scores), log_scale - self.log_sum

    def adjoint(self, R: Floats) -> Floats:
        """Return ``M'.T R``: the last product first."""
        if self.sums is not None and (R < 0.0).any():
            return _difference(self.adjoint(_by_sign(R)))
        sent = self.walk.rmatmul(R)
        if self.sums is None:
            return self.inner.adjoint(sent)
        # 1 / s may leave float64 where s times M does not: powers of two are kept apart.
        mantissa, exponent = np.frexp(self.sums)
        part, power = np.frexp(sent / mantissa)
        power = power - exponent
        shift = self.inner.lift - int(power[part != 0.0].max(initial=-(2**15)))
        told = self.inner.adjoint(np.ldexp(part, power + shift))
        result: Floats = np.ldexp(told, -shift - round(self.log_sum / math.log(2.0)))
        return result

    def rows(self, rows: Integers) -> None:
        """Leave rows to `adjoint`."""


def _by_sign(values: Floats) -> Floats:
    """Return what is positive and what is negative, side by side.

    A series of signed numbers ends when the largest of a column stands still, and the smallest are
    not right by themselves yet; what is divided by a small sum has to be.
    """
    return np.hstack([np.maximum(values, 0.0), np.maximum(-values, 0.0)])


def _difference(parts: Floats) -> Floats:
    """Return the first half of the columns less the second."""
    half = parts.shape[1] // 2
    return parts[:, :half] - parts[:, half:]


def _walk_to(graph: Graph, heard: npt.NDArray[np.bool_], storage: str) -> Walk:
    """Return the random walk on a graph to those of its points that a label has reached."""
    if not isinstance(graph, RBFGraph) and card_of(graph) is not None:
        raise DeviceError(NO_KERNEL)
    if isinstance(graph, SparseGraph) or not heard.all():
        assert not isinstance(graph, RBFGraph)  # noqa: S101 - a complete graph is reached at once
        return Stored(listening_to(as_sparse(graph), heard).transition(True)[0])
    return walk_of(graph, storage)


def _row_sums(fitted: Fitted) -> tuple[Floats, float]:
    """Return the row sums of M, (n, 1), and the logarithm of their common factor."""
    sums, log_sum = fitted.operator.apply(np.ones((fitted.labeled.size, 1)))
    assert isinstance(log_sum, float)  # noqa: S101 - an M with a factor a row is held by its rows
    empty = sums[:, 0] == 0.0
    lost = empty.copy()
    lost[fitted.unreached] = False
    if lost.any():
        raise too_small(int(np.argmax(lost)))
    sums[empty] = 1.0
    return sums, log_sum
