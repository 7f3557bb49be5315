"""What the weights of a row amount to: sums and entropies of logarithms, block by block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from gssl_poison.graph import DenseGraph, RBFGraph
from gssl_poison.propagation.graphs import log_rows_of
from gssl_poison.sparse_graph import Graph, SparseGraph

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# Numbers of a block of weights, and of the features of the points a block is measured to: 32 MiB
# and 128 MiB.
_BLOCK = 2**22
_VALUES = 2**24
# exp(-800) is 0: it stands for all that is smaller, -inf included, and 0 times it is 0.
_FLOOR = -800.0


@dataclass(frozen=True)
class Sums:
    """Sums over some of the weights of every row, relative to the largest of them.

    Attributes
    ----------
    top : (r,) float64
        Logarithm of the largest weight, -inf where there is none.
    mass : (r,) float64
        ``sum_j w_ij / exp(top_i)``.
    moment : (r,) float64
        The same sum, each term times ``log w_ij - top_i``.
    """

    top: Floats = field(repr=False)
    mass: Floats = field(repr=False)
    moment: Floats = field(repr=False)

    @property
    def log_sum(self) -> Floats:
        """Logarithm of the sum of the weights, -inf for an empty sum."""
        with np.errstate(divide="ignore"):
            result: Floats = self.top + np.log(self.mass)
        return result

    @property
    def largest_share(self) -> Floats:
        """Part of the sum that the largest weight is, 0 for an empty sum."""
        return np.divide(1.0, self.mass, out=np.zeros_like(self.mass), where=self.mass > 0.0)

    @property
    def effective(self) -> Floats:
        """Effective number of neighbours: the exponential of the entropy of the shares."""
        mean = np.divide(
            self.moment, self.mass, out=np.zeros_like(self.mass), where=self.mass > 0.0
        )
        result: Floats = self.mass * np.exp(-mean)
        return result

    def joined(self, other: Sums) -> Sums:
        """Return the sums over both sets of weights."""
        top = np.maximum(self.top, other.top)
        base = np.where(np.isfinite(top), top, 0.0)
        mass, moment = np.zeros(top.size), np.zeros(top.size)
        for part in (self, other):
            fall = np.maximum(part.top - base, _FLOOR)
            scale = np.exp(fall)
            mass += scale * part.mass
            moment += scale * (part.moment + fall * part.mass)
        return Sums(top, mass, moment)


@dataclass(frozen=True)
class RowFacts:
    """Rows of a graph as they are summed up.

    Attributes
    ----------
    rows : (r,) int64
    own : (r,) float64
        Logarithm of the self-loop, -inf without one.
    labeled : Sums
        Over the labelled points.
    everyone : Sums
        Over all points but the row's own.
    kept : (r,) int64
        Weights but the row's own that are above ``floor`` of ``look_at_rows``.
    """

    rows: Integers = field(repr=False)
    own: Floats = field(repr=False)
    labeled: Sums = field(repr=False)
    everyone: Sums = field(repr=False)
    kept: Integers = field(repr=False)


def look_at_rows(graph: Graph, rows: Integers, labeled: Integers, floor: float) -> RowFacts:
    """Sum up rows that are not labelled themselves.

    Parameters
    ----------
    graph : RBFGraph, DenseGraph or SparseGraph
    rows : (r,) int64
        Row numbers, none of them labelled.
    labeled : (l,) int64
        Row numbers of the labelled points.
    floor : float
        Logarithm below which a weight is not counted in ``kept``.

    Returns
    -------
    RowFacts

    Notes
    -----
    ``2 r n d`` operations on a Gaussian graph, ``r n`` on a dense one, the edges once on a sparse
    one; blocks of bounded memory.
    """
    is_labeled = np.zeros(graph.n_points, dtype=bool)
    is_labeled[labeled] = True
    if isinstance(graph, SparseGraph):
        return _from_edges(graph, rows, is_labeled, floor)
    own = np.zeros(rows.size)
    if isinstance(graph, DenseGraph):
        own = graph.values[rows, rows].astype(np.float64)
        if not graph.is_log:
            with np.errstate(divide="ignore"):
                own = np.log(own)
    known, kept_known = _over_columns(graph, rows, labeled, floor)
    others, kept_others = _over_columns(graph, rows, np.flatnonzero(~is_labeled), floor)
    return RowFacts(rows, own, known, known.joined(others), kept_known + kept_others)


def _over_columns(
    graph: RBFGraph | DenseGraph, rows: Integers, columns: Integers, floor: float
) -> tuple[Sums, Integers]:
    """Sum the weights of rows to columns, self-loops left out, and count those above the floor."""
    kept = np.zeros(rows.size, dtype=np.int64)
    found = _nothing(rows.size)
    width = graph.n_features if isinstance(graph, RBFGraph) else 1
    for part in _parts(columns, _VALUES // width):
        source = log_rows_of(graph, part)
        place = np.full(graph.n_points, -1)
        place[part] = np.arange(part.size)
        pieces = []
        for some in _parts(np.arange(rows.size), _BLOCK // part.size):
            block = source(rows[some])
            own = place[rows[some]]
            there = np.flatnonzero(own >= 0)
            block[there, own[there]] = -np.inf
            kept[some] += (block > floor).sum(axis=1)
            pieces.append(_sums(block))
        together = (np.concatenate(values) for values in zip(*pieces, strict=True))
        found = found.joined(Sums(*together))
    return found, kept


def _sums(block: Floats) -> tuple[Floats, Floats, Floats]:
    """Return top, mass and moment of a block of log-weights, which is overwritten."""
    top = block.max(axis=1)
    block -= np.where(np.isfinite(top), top, 0.0)[:, None]
    np.maximum(block, _FLOOR, out=block)
    weights = np.exp(block)
    return top, weights.sum(axis=1), np.einsum("ij,ij->i", weights, block)


def _nothing(size: int) -> Sums:
    """Return the sums of no weights."""
    return Sums(np.full(size, -np.inf), np.zeros(size), np.zeros(size))


def _parts(values: Integers, size: int) -> Iterator[Integers]:
    """Cut an array into parts of at most ``size``, and at least 1."""
    step = max(1, size)
    return (values[start : start + step] for start in range(0, values.size, step))


def _from_edges(
    graph: SparseGraph, rows: Integers, is_labeled: npt.NDArray[np.bool_], floor: float
) -> RowFacts:
    """Sum up rows of a sparse graph, in one pass over its edges."""
    place = np.full(graph.n_points, -1)
    place[rows] = np.arange(rows.size)
    source = np.repeat(place, np.diff(graph.indptr))
    loops = np.repeat(np.arange(graph.n_points), np.diff(graph.indptr)) == graph.indices
    own = np.full(rows.size, -np.inf)
    looked_at = (source >= 0) & loops
    own[source[looked_at]] = graph.log_data[looked_at]
    between = np.flatnonzero((source >= 0) & ~loops)
    source, weights = source[between], graph.log_data[between]
    heard = is_labeled[graph.indices[between]]
    known = _grouped(source[heard], weights[heard], rows.size)
    others = _grouped(source[~heard], weights[~heard], rows.size)
    kept = np.bincount(source[weights > floor], minlength=rows.size)
    return RowFacts(rows, own, known, known.joined(others), kept)


def _grouped(groups: Integers, log_weights: Floats, size: int) -> Sums:
    """Sum weights by group."""
    top = np.full(size, -np.inf)
    np.maximum.at(top, groups, log_weights)
    fall = np.maximum(log_weights - top[groups], _FLOOR)
    weights = np.exp(fall)
    mass = np.zeros(size)
    moment = np.zeros(size)
    np.add.at(mass, groups, weights)
    np.add.at(moment, groups, weights * fall)
    return Sums(top, mass, moment)
