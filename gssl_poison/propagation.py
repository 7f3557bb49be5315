"""Propagators: what maps labels to scores by one matrix M that does not depend on the labels."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from gssl_poison.exceptions import InputError
from gssl_poison.graph import RBFGraph, check_rows, other_rows

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

NORMALIZATIONS = ("row", "column-row")


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

    def fit(self, graph: RBFGraph, labeled: npt.ArrayLike) -> FittedDirect:
        """Fix the graph and the labelled points; nothing is computed until it is asked for.

        Parameters
        ----------
        graph : RBFGraph
            The points and their kernel.
        labeled : (l,) int
            Row numbers of the labelled points.

        Returns
        -------
        FittedDirect
        """
        rows = check_rows(labeled, graph.n_points, "labeled")
        others = other_rows(rows, graph.n_points)
        if others.size == 0:
            raise InputError("all points are labelled; at least one must be left to be inferred.")
        return FittedDirect(graph, rows, others, self.normalization)


@dataclass(frozen=True)
class FittedDirect:
    """`Direct` on one graph and one set of labelled points.

    Attributes
    ----------
    graph : RBFGraph
    labeled, unlabeled : (l,), (u,) int64
        Row numbers; columns of M are in the order of ``labeled``.
    normalization : str
    """

    graph: RBFGraph
    labeled: Integers = field(repr=False)
    unlabeled: Integers = field(repr=False)
    normalization: str

    def matrix(self, rows: npt.ArrayLike | None = None) -> Floats:
        """Return rows of M, the shares of the labelled points, (rows, l) float64.

        Parameters
        ----------
        rows : (r,) int, optional
            Unlabelled row numbers; all of them by default.

        Notes
        -----
        For reading and for tests: a plain float64 block of ``2 r l d`` operations and ``r l``
        numbers. "column-row" takes the weights of all points too. Counts come from
        `gssl_poison.measure_influence`, which rechecks what rounding could turn.
        """
        chosen = self.unlabeled if rows is None else check_rows(rows, self.graph.n_points, "rows")
        if np.isin(chosen, self.labeled).any():
            raise InputError("rows names a labelled point, whose label is its own; leave it out.")
        scores = self.graph.log_weights(chosen, self.labeled)
        if self.normalization == "column-row":
            scores = scores - np.log(self._column_sums())
        shares: Floats = np.exp(scores - scores.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        return shares

    def _column_sums(self) -> Floats:
        """Return the sums of the labelled columns of W over all points, (l,)."""
        everyone = np.arange(self.graph.n_points, dtype=np.int64)
        sums = np.zeros(self.labeled.size)
        for start in range(0, everyone.size, 1024):
            sums += self.graph.weights(everyone[start : start + 1024], self.labeled).sum(axis=0)
        return sums
