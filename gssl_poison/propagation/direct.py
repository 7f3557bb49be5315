"""One step: every unlabelled point listens to the labelled ones alone."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from gssl_poison.exceptions import DeviceError, InputError
from gssl_poison.graph import RBFGraph
from gssl_poison.kernels.cuda import NO_KERNEL, card_of
from gssl_poison.propagation.fitted import Fitted
from gssl_poison.propagation.graphs import LogRowsOf, log_rows_of, split_points
from gssl_poison.propagation.on_card import CardDirect
from gssl_poison.propagation.stored import unit_rows
from gssl_poison.sparse_graph import Graph

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

NORMALIZATIONS = ("row", "column-row")

# Numbers of a block of shares: 64 MiB.
_BLOCK = 2**23


@dataclass(frozen=True)
class Direct:
    """One step of label propagation: every unlabelled point listens to the labelled ones alone.

    Parameters
    ----------
    normalization : {"row", "column-row"}, default "row"
        "row": ``M_ij = w_ij / sum_{k in L} w_ik``. "column-row": weights are first divided by their
        column's sum over all points, self-loops included, as the text of the paper has it.

    Notes
    -----
    Definition 1 of the influence-driven attack calls the entries of M the direct influence.

    Examples
    --------
    >>> import numpy as np
    >>> from gssl_poison import RBFGraph
    >>> graph = RBFGraph(np.array([[0.0], [1.0], [3.0]]), gamma=1.0)
    >>> Direct().fit(graph, np.array([0, 2])).matrix().round(4)
    array([[0.9526, 0.0474]])
    """

    normalization: str = "row"

    def __post_init__(self) -> None:
        """Refuse an unknown normalisation."""
        if self.normalization not in NORMALIZATIONS:
            raise InputError(
                f"normalization={self.normalization!r} is not known; use one of "
                f"{', '.join(NORMALIZATIONS)}."
            )

    def fit(self, graph: Graph, labeled: npt.ArrayLike) -> Fitted:
        """Fix the graph and the labelled points; nothing is computed until it is asked for.

        Parameters
        ----------
        graph : RBFGraph, DenseGraph or SparseGraph
            The points and how they listen to one another.
        labeled : (l,) int
            Row numbers of the labelled points.

        Returns
        -------
        Fitted
            On a graph with missing edges, points without a labelled neighbour are ``unreached``.

        Notes
        -----
        `Fitted.matrix` is for reading and for tests: plain float64, ``2 r l d`` operations and
        ``r l`` numbers. Counts come from `gssl_poison.measure_influence`, which rechecks what
        rounding could turn.
        """
        rows, others = split_points(labeled, graph)
        hops = graph.hops(rows)
        operator: DirectOperator | CardDirect
        card = card_of(graph)
        if card is None:
            operator = DirectOperator(graph, rows, others, self.normalization)
        elif self.normalization == "row" and isinstance(graph, RBFGraph):
            operator = CardDirect(card, graph, rows, others)
        else:
            raise DeviceError(NO_KERNEL)
        return Fitted(
            propagator=self,
            graph=graph,
            labeled=rows,
            unlabeled=others,
            operator=operator,
            method="direct",
            unreached=others[hops[others] != 1],
            without_own=operator.told_by_others,
        )


@dataclass(frozen=True)
class DirectOperator:
    """Shares of the labelled points, a block of rows at a time."""

    graph: Graph
    labeled: Integers = field(repr=False)
    unlabeled: Integers = field(repr=False)
    normalization: str = "row"
    lift: int = 0

    def apply(self, Y: Floats) -> tuple[Floats, float]:
        """Return ``M Y``."""
        scores = np.zeros((self.graph.n_points, Y.shape[1]))
        scores[self.labeled] = Y
        source = self._source()
        for part in self._parts(self.unlabeled):
            scores[part] = self._shares(source(part)) @ Y
        return scores, 0.0

    def adjoint(self, R: Floats) -> Floats:
        """Return ``M.T R``."""
        result = R[self.labeled].copy()
        source = self._source()
        for part in self._parts(self.unlabeled):
            result += self._shares(source(part)).T @ R[part]
        return result

    def rows(self, rows: Integers) -> tuple[Floats, float]:
        """Return rows of M."""
        block = unit_rows(rows, self.labeled, self.graph.n_points)
        free = np.flatnonzero(~np.isin(rows, self.labeled))
        source = self._source()
        for part in self._parts(free):
            block[part] = self._shares(source(rows[part]))
        return block, 0.0

    def told_by_others(self) -> Floats:
        """Return the labelled rows, themselves left out."""
        scores = self._source()(self.labeled)
        np.fill_diagonal(scores, -np.inf)
        return self._shares(scores)

    def _source(self) -> LogRowsOf:
        """Return the log-weights to the labelled points, as the normalisation has them."""
        log_rows = log_rows_of(self.graph, self.labeled)
        if self.normalization == "row":
            return log_rows
        everyone = np.arange(self.graph.n_points, dtype=np.int64)
        top = np.full(self.labeled.size, -np.inf)
        sums = np.zeros(self.labeled.size)
        for part in self._parts(everyone):
            block = log_rows(part)
            higher = np.maximum(top, block.max(axis=0))
            base = np.where(np.isfinite(higher), higher, 0.0)
            with np.errstate(invalid="ignore"):
                sums *= np.where(sums > 0.0, np.exp(top - base), 0.0)
            sums += np.exp(block - base).sum(axis=0)
            top = higher
        # A column without any weight has none to divide.
        offset = np.where(sums > 0.0, top + np.log(np.where(sums > 0.0, sums, 1.0)), 0.0)
        return lambda rows: log_rows(rows) - offset

    def _parts(self, rows: Integers) -> list[Integers]:
        """Cut rows into blocks of bounded memory."""
        step = max(1, _BLOCK // self.labeled.size)
        return [rows[start : start + step] for start in range(0, rows.size, step)]

    @staticmethod
    def _shares(scores: Floats) -> Floats:
        """Turn log-weights into shares; a row without any stays 0."""
        top = scores.max(axis=1, keepdims=True)
        shares: Floats = np.exp(scores - np.where(np.isfinite(top), top, 0.0))
        sums = shares.sum(axis=1, keepdims=True)
        shares /= np.where(sums > 0.0, sums, 1.0)
        return shares
