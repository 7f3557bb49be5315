"""Label spreading: labels are not clamped, and edges are divided by the roots of both degrees."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from gssl_poison.elimination import fill_chain, refuse_beyond_memory, solve_chain
from gssl_poison.exceptions import InputError, NumericalError
from gssl_poison.kernels.cuda import card_of
from gssl_poison.propagation.fitted import Fitted
from gssl_poison.propagation.graphs import is_real, split_points
from gssl_poison.propagation.loop import check_n_iter, check_storage
from gssl_poison.propagation.on_card import CardWalk, source_of, sum_series
from gssl_poison.propagation.stored import RowsMatrix
from gssl_poison.propagation.walks import Walk, similarity_of
from gssl_poison.sparse_graph import Graph, SparseGraph

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

METHODS = ("auto", "series", "gth")

# The series is summed until no score grows by more than this part of itself, times 1 - alpha.
_LEFT = 1e-13
# Terms up to which it is cheaper than an elimination, for the few columns that labels have.
_FEW_TERMS = 250
# Terms at which it is given up.
_MOST_TERMS = 20_000
# Terms between looks at how much the scores have grown.
_LOOK = 8
# Numbers of a batch of columns.
_BATCH = 2**25
# Vectors start at 2**LIFT: scores may be that much smaller than the labels they come from.
_LIFT = 1000


@dataclass(frozen=True)
class Spreading:
    """Label spreading after a fixed number of iterations, or its closed form.

    Parameters
    ----------
    alpha : float, default 0.2
        In (0, 1): how much a point takes from its neighbours, and not from its own label.
    n_iter : int, optional
        Iterations of scikit-learn's loop; by default its limit.
    storage : {"auto", "triangle", "free"}, default "auto"
        How a Gaussian graph's weights are held, where products with them are needed.
    method : {"auto", "series", "gth"}, default "auto"
        How the limit is found: by the loop until nothing is left to come, for every labelling anew,
        or by elimination, once, of a dense symmetric graph.

    Notes
    -----
    ``F <- alpha S F + (1 - alpha) Y`` from ``F = Y``, with ``S = D^-1/2 W D^-1/2`` and a zero
    diagonal; limit ``(1 - alpha) (I - alpha S)^-1 Y``. All terms are non-negative, so scores keep
    their relative accuracy however small they are. The elimination is that of a random walk which
    stops with probability ``1 - alpha`` at every point. Series: about ``log(1e-14) / log(alpha)``
    products with S, and more until each score stands still; elimination: ``2/3 n^3 + 2 n^2 l``
    operations and ``n^2`` numbers. On a directed graph degrees are those of the columns, as
    scikit-learn has them.

    References
    ----------
    Zhou, Bousquet, Lal, Weston and Schoelkopf 2004, Learning with local and global consistency.

    Examples
    --------
    >>> import numpy as np
    >>> from gssl_poison import RBFGraph
    >>> graph = RBFGraph(np.array([[0.0], [1.0], [3.0]]), gamma=1.0)
    >>> Spreading(0.2).fit(graph, np.array([0, 2])).shares([1]).round(4)
    array([[0.8179, 0.1821]])
    """

    alpha: float = 0.2
    n_iter: int | None = None
    storage: str = "auto"
    method: str = "auto"

    def __post_init__(self) -> None:
        """Refuse settings outside their range."""
        if not (is_real(self.alpha) and 0.0 < self.alpha < 1.0):
            raise InputError(f"alpha={self.alpha!r} must lie between 0 and 1, both excluded.")
        if self.n_iter is not None:
            check_n_iter(self.n_iter)
            if self.method != "auto":
                raise InputError(
                    f"method={self.method!r} finds the limit, and n_iter={self.n_iter} stops "
                    "before it; give one of the two."
                )
        check_storage(self.storage)
        if self.method not in METHODS:
            raise InputError(
                f"method={self.method!r} is not known; use one of {', '.join(METHODS)}."
            )

    def fit(self, graph: Graph, labeled: npt.ArrayLike) -> Fitted:
        """Prepare the products with S, or eliminate.

        Parameters
        ----------
        graph : RBFGraph, DenseGraph or SparseGraph
        labeled : (l,) int
            Row numbers of the labelled points.

        Returns
        -------
        Fitted
            Points that no label reaches (within ``n_iter`` edges) are ``unreached``.

        Raises
        ------
        NumericalError
            Scores leave float64.
        """
        rows, others = split_points(labeled, graph)
        hops = graph.hops(rows)[others]
        far = hops < 0 if self.n_iter is None else (hops < 0) | (hops > self.n_iter)
        operator: SpreadingLoop | RowsMatrix
        n_iter, method = self.n_iter or 1, "loop"
        if self.n_iter is None and self._eliminates(graph):
            operator, method = self._eliminate(graph, rows, others[far]), "gth"
        else:
            if self.n_iter is None:
                n_iter, method = _n_terms(self.alpha), "series"
                if n_iter > _MOST_TERMS:
                    raise InputError(
                        f"alpha={self.alpha} would take {n_iter:,} iterations and more to its "
                        f"limit, and {_MOST_TERMS:,} are the most; use a smaller alpha, "
                        "Harmonic(), which is the limit for alpha = 1, or n_iter."
                    )
            walk = similarity_of(graph, self.storage)
            operator = SpreadingLoop(
                walk,
                rows,
                graph.n_points,
                self.alpha,
                self.n_iter,
                lift=_LIFT if graph.symmetric else _LIFT // 2,
            )
        return Fitted(
            propagator=self,
            graph=graph,
            labeled=rows,
            unlabeled=others,
            operator=operator,
            method=method,
            unreached=others[far],
            n_iter=n_iter,
            clamped=False,
            without_own=partial(own_rows, operator, rows, graph.n_points),
        )

    def _eliminates(self, graph: Graph) -> bool:
        """Tell whether the limit comes from an elimination."""
        possible = not isinstance(graph, SparseGraph) and graph.symmetric
        if self.method == "gth" and not possible:
            raise InputError(
                "method='gth' eliminates dense symmetric graphs only; use method='series'."
            )
        if self.method == "auto":
            return possible and _n_terms(self.alpha) > _FEW_TERMS
        return self.method == "gth"

    def _eliminate(self, graph: Graph, labeled: Integers, unreached: Integers) -> RowsMatrix:
        """Return M by elimination of the walk that stops with probability 1 - alpha."""
        from gssl_poison.kernels.gth import EXTRA, HIGH, LEAVE, LOST

        n, l = graph.n_points, labeled.size  # noqa: E741
        card = card_of(graph)
        xp: Any = np if card is None else card.xp
        refuse_beyond_memory(n, l, "Spreading by elimination", card)
        everyone = np.arange(n, dtype=np.int64)
        chain = fill_chain(source_of(graph, everyone, card), everyone, 0, card)
        xp.fill_diagonal(chain.A, 0.0)
        sums = chain.A.sum(axis=1)
        half = xp.where(sums > 0.0, chain.log_degree / 2.0, 0.0)
        B = xp.zeros((n, EXTRA + l))
        B[:, LEAVE] = xp.where(sums > 0.0, sums * ((1.0 - self.alpha) / self.alpha), 2.0**HIGH)
        B[:, LOST] = chain.B[:, LOST]
        rows = labeled if card is None else card.put(labeled)
        shift = float((-half[rows]).max())
        stop = (1.0 - self.alpha) * (sums[rows] + B[rows, LEAVE])
        B[rows, EXTRA + xp.arange(l)] = stop * xp.exp(-half[rows] - shift)
        solution = solve_chain(
            type(chain)(chain.A, B, chain.log_degree, card),
            symmetric=False,  # Cholesky is right by its largest scores, not by each one
            name=lambda state: f"point {state}",
        )
        factor = half if card is None else card.get(half)
        return RowsMatrix.of(
            solution.value, factor + shift - solution.exponent * math.log(2.0), unreached
        )


@dataclass(frozen=True)
class SpreadingLoop:
    """The loop, from the labels themselves, or until nothing more is to come."""

    walk: Walk = field(repr=False)
    labeled: Integers = field(repr=False)
    n_points: int
    alpha: float
    n_iter: int | None = None
    lift: int = _LIFT

    def apply(self, Y: Floats) -> tuple[Floats, float]:
        """Return ``M Y``."""
        exponent = self.lift - int(np.frexp(np.abs(Y).max(initial=0.0))[1])
        start = np.zeros((self.n_points, Y.shape[1]))
        start[self.labeled] = np.ldexp(Y, exponent)
        return self._sum(self.walk.matmul, start), -exponent * math.log(2.0)

    def adjoint(self, R: Floats) -> Floats:
        """Return ``M.T R``: M is a polynomial in S."""
        result: Floats = self._sum(self.walk.rmatmul, R)[self.labeled]
        return result

    def _sum(self, product: Callable[[Floats], Floats], start: Floats) -> Floats:
        """Run the loop to its length, or until every score stands still."""
        if isinstance(self.walk, CardWalk):
            return self._sum_on_card(self.walk, start)
        scores, fresh = start, (1.0 - self.alpha) * start
        if self.n_iter is not None:
            for _ in range(self.n_iter):
                scores = self.alpha * product(scores) + fresh
            return _finite(scores)
        # From below, so that scores of non-negative labels only grow. Those of signed ones, which
        # may cancel, are looked at by the largest of their column.
        signed = bool((start < 0.0).any())
        scores = fresh
        for term in range(1, _MOST_TERMS + 1):
            before, scores = scores, self.alpha * product(scores) + fresh
            if term % _LOOK:
                continue
            size = np.abs(scores).max(axis=0, keepdims=True) if signed else scores
            if (np.abs(scores - before) <= _LEFT * (1.0 - self.alpha) * size).all():
                return _finite(scores)
        raise _unsettled(self.alpha)

    def _sum_on_card(self, walk: CardWalk, start: Floats) -> Floats:
        """Run the loop on a card, what is negative apart from what is positive."""
        if self.n_iter is None and (start < 0.0).any():
            above, below = np.maximum(start, 0.0), np.maximum(-start, 0.0)
            return self._sum_on_card(walk, above) - self._sum_on_card(walk, below)
        left = _LEFT * (1.0 - self.alpha)
        scores = sum_series(
            walk, start, self.alpha, self.n_iter, left=left, look=_LOOK, most=_MOST_TERMS
        )
        if scores is None:
            raise _unsettled(self.alpha)
        return _finite(scores)

    def rows(self, rows: Integers) -> None:
        """Leave rows to `adjoint`."""


def _unsettled(alpha: float) -> NumericalError:
    """Say that the series has been given up."""
    return NumericalError(
        f"the series of label spreading has not settled after {_MOST_TERMS:,} terms at "
        f"alpha={alpha}; use a smaller alpha, n_iter, or a dense graph, which is eliminated."
    )


def _finite(scores: Floats) -> Floats:
    """Return scores, unless a directed graph has driven them out of float64."""
    if not np.isfinite(scores).all():
        raise NumericalError(
            "label spreading on this directed graph leaves float64, because some points are "
            "listened to far less than others; use a symmetric graph (symmetrize=True)."
        )
    return scores


def own_rows(operator: SpreadingLoop | RowsMatrix, labeled: Integers, n_points: int) -> Floats:
    """Return the labelled rows of M up to a factor a row: nothing is clamped, so they say it."""
    read = operator.rows(labeled)
    if read is not None:
        return read[0].copy()
    told = np.empty((labeled.size, labeled.size))
    step = max(16, _BATCH // n_points)
    for start in range(0, labeled.size, step):
        part = labeled[start : start + step]
        unit = np.zeros((n_points, part.size))
        unit[part, np.arange(part.size)] = 2.0**operator.lift
        told[start : start + step] = operator.adjoint(unit).T
    return told


def _n_terms(alpha: float) -> int:
    """Return how many terms leave less than 1e-13 of the whole: ``alpha^k / (1 - alpha)``."""
    return math.ceil(math.log(_LEFT * (1.0 - alpha)) / math.log(alpha))
