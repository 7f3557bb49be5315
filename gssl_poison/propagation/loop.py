"""scikit-learn's loop of label propagation at a fixed length, which is linear in the labels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from gssl_poison.exceptions import DeviceError, InputError
from gssl_poison.graph import RBFGraph
from gssl_poison.kernels.cuda import NO_KERNEL, card_of
from gssl_poison.propagation.direct import DirectOperator
from gssl_poison.propagation.fitted import Fitted
from gssl_poison.propagation.graphs import as_sparse, listening_to, split_points
from gssl_poison.propagation.on_card import CardDirect, CardLoop, CardWalk
from gssl_poison.propagation.walks import Walk, times, walk_of
from gssl_poison.sparse_graph import Graph, SparseGraph

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Propagation:
    """Label propagation after a fixed number of iterations, labels clamped after each.

    Parameters
    ----------
    n_iter : int
        Iterations; M depends on it, so it has no default. The first makes `Direct` of it.
    storage : {"auto", "triangle", "pruned", "free"}, default "auto"
        How a Gaussian graph's weights are held: one triangle, only those that float64 can tell
        from 0 beside the self-loop, or not at all, computed anew in every iteration.

    Notes
    -----
    ``F <- D^-1 W F`` with self-loops, rows divided by their sums, labelled rows put back. At fixed
    length the row sums are the same for every labelling, so ``F = M Y`` (`sklearn`'s ``tol`` would
    stop earlier for some labels than for others, and is not used). A point is divided by the weight
    of those it listens to that a label has reached so far; with logarithms of weights that is right
    even where every weight to a label underflows. ``n_iter`` products with W.

    References
    ----------
    Zhu and Ghahramani 2002, Learning from labeled and unlabeled data with label propagation.

    Examples
    --------
    >>> import numpy as np
    >>> graph = RBFGraph(np.array([[0.0], [1.0], [3.0]]), gamma=1.0)
    >>> Propagation(10).fit(graph, np.array([0, 2])).matrix().round(4)
    array([[0.9526, 0.0474]])
    """

    n_iter: int
    storage: str = "auto"

    def __post_init__(self) -> None:
        """Refuse what is no number of iterations."""
        check_n_iter(self.n_iter)
        check_storage(self.storage)

    def fit(self, graph: Graph, labeled: npt.ArrayLike) -> Fitted:
        """Prepare the products with W.

        Parameters
        ----------
        graph : RBFGraph, DenseGraph or SparseGraph
        labeled : (l,) int
            Row numbers of the labelled points.

        Returns
        -------
        Fitted
            Points further than ``n_iter`` edges from every label are ``unreached``.
        """
        rows, others = split_points(labeled, graph)
        hops = graph.hops(rows)
        far = (hops[others] < 0) | (hops[others] > self.n_iter)
        operator: PropagationLoop | StepwiseLoop | CardLoop
        card = card_of(graph)
        if card is not None and isinstance(graph, RBFGraph):
            on_card = walk_of(graph, self.storage) if self.n_iter > 1 else None
            assert on_card is None or isinstance(on_card, CardWalk)  # noqa: S101 - for the checker
            operator = CardLoop(CardDirect(card, graph, rows, others), on_card, rows, self.n_iter)
        elif card is not None:
            raise DeviceError(NO_KERNEL)
        elif isinstance(graph, SparseGraph) or (hops != np.where(hops == 0, 0, 1)).any():
            assert not isinstance(graph, RBFGraph)  # noqa: S101 - a complete graph has one hop
            operator = StepwiseLoop(as_sparse(graph), rows, hops, self.n_iter)
        else:
            first = DirectOperator(graph, rows, others)
            walk = walk_of(graph, self.storage) if self.n_iter > 1 else None
            operator = PropagationLoop(first, walk, rows, self.n_iter)
        return Fitted(
            propagator=self,
            graph=graph,
            labeled=rows,
            unlabeled=others,
            operator=operator,
            method="loop",
            unreached=others[far],
            n_iter=self.n_iter,
        )


@dataclass(frozen=True)
class PropagationLoop:
    """The loop on a graph where every point listens to a labelled one: `Direct`, then a walk."""

    first: DirectOperator
    walk: Walk | None = field(repr=False)
    labeled: Integers = field(repr=False)
    n_iter: int
    lift: int = 0

    def apply(self, Y: Floats) -> tuple[Floats, float]:
        """Return ``M Y``."""
        scores, log_scale = self.first.apply(Y)
        if self.walk is not None:
            for _ in range(self.n_iter - 1):
                scores = self.walk.matmul(scores)
                scores[self.labeled] = Y
        return scores, log_scale

    def adjoint(self, R: Floats) -> Floats:
        """Return ``M.T R``: the loop backwards."""
        clamped = np.zeros((self.labeled.size, R.shape[1]))
        sent = R
        if self.walk is not None:
            for _ in range(self.n_iter - 1):
                sent = sent.copy()
                clamped += sent[self.labeled]
                sent[self.labeled] = 0.0
                sent = self.walk.rmatmul(sent)
        return clamped + self.first.adjoint(sent)

    def rows(self, rows: Integers) -> None:
        """Leave rows to `adjoint`."""


@dataclass(frozen=True)
class StepwiseLoop:
    """The loop on a graph with missing edges, which labels travel one edge an iteration."""

    graph: SparseGraph
    labeled: Integers = field(repr=False)
    hops: Integers = field(repr=False)
    n_iter: int
    lift: int = 0

    def apply(self, Y: Floats) -> tuple[Floats, float]:
        """Return ``M Y``."""
        scores = np.zeros((self.graph.n_points, Y.shape[1]))
        scores[self.labeled] = Y
        known: dict[int, Any] = {}
        for step in range(1, self.n_iter + 1):
            scores = times(self._walk(step, known), scores)
            scores[self.labeled] = Y
        return scores, 0.0

    def adjoint(self, R: Floats) -> Floats:
        """Return ``M.T R``: the loop backwards."""
        clamped = np.zeros((self.labeled.size, R.shape[1]))
        sent = R
        known: dict[int, Any] = {}
        for step in range(self.n_iter, 0, -1):
            sent = sent.copy()
            clamped += sent[self.labeled]
            sent[self.labeled] = 0.0
            sent = times(self._walk(step, known).T, sent)
        return clamped + sent[self.labeled]

    def rows(self, rows: Integers) -> None:
        """Leave rows to `adjoint`."""

    def _walk(self, step: int, known: dict[int, Any]) -> Any:
        """Return the transitions of one step: to points that a label has reached before it."""
        step = min(step, int(self.hops.max()) + 1)
        if step not in known:
            known.clear()
            heard = (self.hops >= 0) & (self.hops < step)
            known[step] = listening_to(self.graph, heard).transition(True)[0]
        return known[step]


def check_n_iter(n_iter: Any) -> None:
    """Refuse what is not a positive whole number."""
    if isinstance(n_iter, bool) or not isinstance(n_iter, int | np.integer) or n_iter < 1:
        raise InputError(f"n_iter={n_iter!r} is not a positive whole number; give at least 1.")


def check_storage(storage: str) -> None:
    """Refuse an unknown way of holding weights."""
    if storage not in STORAGES:
        raise InputError(f"storage={storage!r} is not known; use one of {', '.join(STORAGES)}.")


STORAGES = ("auto", "triangle", "pruned", "free")
