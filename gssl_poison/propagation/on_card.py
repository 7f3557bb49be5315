"""Propagators on an `RBFGraph` whose work is done by a GPU: from arrays of the host, to such."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from gssl_poison.exceptions import DeviceError, InputError
from gssl_poison.graph import RBFGraph
from gssl_poison.kernels.cuda import Card
from gssl_poison.kernels.cuda_rows import CardRows
from gssl_poison.propagation.graphs import log_rows_of
from gssl_poison.propagation.stored import unit_rows
from gssl_poison.sparse_graph import Graph

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# Numbers of a block on the card: 512 MiB of float64.
_BLOCK = 2**26
# Rows of a block: more than that are not in the second dimension of a grid.
_MOST_ROWS = 2**15
_THREADS = 256


def source_of(graph: Graph, columns: Integers, card: Card | None) -> Callable[[Integers], Any]:
    """Return a function of row numbers that gives log-weights to ``columns``, on a card or not."""
    if card is not None and isinstance(graph, RBFGraph):
        return CardRows(card, graph.X, graph.gamma, columns, graph.resident)
    rows_of = log_rows_of(graph, columns)
    return rows_of if card is None else lambda rows: card.put(rows_of(rows))


def refuse_storage(storage: str) -> None:
    """Refuse a way of holding weights that is the host's."""
    if storage != "auto":
        raise DeviceError(
            f"storage={storage!r} is how the CPU holds weights, and on a GPU they are held whole; "
            "use storage='auto', or an RBFGraph with device='cpu'."
        )


@dataclass(frozen=True)
class CardDirect:
    """`DirectOperator`, by rows, on a card."""

    card: Card = field(repr=False)
    graph: RBFGraph
    labeled: Integers = field(repr=False)
    unlabeled: Integers = field(repr=False)
    lift: int = 0

    @cached_property
    def _log_rows(self) -> CardRows:
        return CardRows(
            self.card, self.graph.X, self.graph.gamma, self.labeled, self.graph.resident
        )

    def apply(self, Y: Floats) -> tuple[Floats, float]:
        """Return ``M Y``."""
        return self.card.get(self.spread(self.card.put(Y))), 0.0

    def adjoint(self, R: Floats) -> Floats:
        """Return ``M.T R``."""
        return self.card.get(self.collect(self.card.put(R)))

    def rows(self, rows: Integers) -> tuple[Floats, float]:
        """Return rows of M."""
        block = unit_rows(rows, self.labeled, self.graph.n_points)
        free = np.flatnonzero(~np.isin(rows, self.labeled))
        for part in self._parts(free):
            block[part] = self.card.get(_shares(self.card.xp, self._log_rows(rows[part])))
        return block, 0.0

    def told_by_others(self) -> Floats:
        """Return the labelled rows, themselves left out."""
        xp, told, start = self.card.xp, np.empty((self.labeled.size,) * 2), 0
        for part in self._parts(self.labeled):
            block = self._log_rows(part)
            own = xp.arange(part.size)
            block[own, own + start] = -np.inf
            told[start : start + part.size] = self.card.get(_shares(xp, block))
            start += part.size
        return told

    def spread(self, Y: Any) -> Any:
        """Return ``M Y`` of an array on the card."""
        xp = self.card.xp
        scores = xp.zeros((self.graph.n_points, Y.shape[1]))
        scores[self.card.put(self.labeled)] = Y
        for part in self._parts(self.unlabeled):
            shares = _shares(xp, self._log_rows(part))
            scores[self.card.put(part)] = xp.matmul(shares, Y)
        return scores

    def collect(self, R: Any) -> Any:
        """Return ``M.T R`` of an array on the card."""
        xp = self.card.xp
        result = R[self.card.put(self.labeled)]
        for part in self._parts(self.unlabeled):
            shares = _shares(xp, self._log_rows(part))
            result += xp.matmul(shares.T, R[self.card.put(part)])
        return result

    def _parts(self, rows: Integers) -> list[Integers]:
        step = max(1, min(_BLOCK // self.labeled.size, _MOST_ROWS))
        return [rows[start : start + step] for start in range(0, rows.size, step)]


@dataclass(frozen=True)
class CardWalk:
    """Weights of a complete graph, held whole on a card, and what rows are multiplied by.

    ``matmul`` and ``rmatmul`` are those of `walks.Walk`: ``diag(factor) W``, with a symmetric W.
    """

    card: Card = field(repr=False)
    weights: Any = field(repr=False)
    factor: Any = field(repr=False)

    def matmul(self, F: Floats) -> Floats:
        """Return the product with an array of the host."""
        product = self.card.xp.matmul(self.weights, self.card.put(F))
        return self.card.get(product * self.factor[:, None])

    def rmatmul(self, R: Floats) -> Floats:
        """Return the product of the transpose with an array of the host."""
        return self.card.get(self.send(self.card.put(R)))

    def send(self, R: Any) -> Any:
        """Return the product of the transpose with an array on the card."""
        return self.card.xp.matmul(self.weights, R * self.factor[:, None])


def random_walk(card: Card, graph: RBFGraph) -> CardWalk:
    """Hold ``D^-1 W`` with its self-loops."""
    weights = _log_weights(card, graph)
    card.xp.exp(weights, out=weights)
    return CardWalk(card, weights, 1.0 / weights.sum(axis=1))


def similarity(card: Card, graph: RBFGraph) -> CardWalk:
    """Hold ``D^-1/2 W D^-1/2`` without self-loops."""
    xp = card.xp
    weights = _log_weights(card, graph)
    xp.fill_diagonal(weights, -np.inf)
    half = xp.empty(graph.n_points)
    for part in _slices(graph.n_points):
        top = weights[part].max(axis=1)
        top = xp.where(xp.isfinite(top), top, 0.0)
        sums = xp.exp(weights[part] - top[:, None]).sum(axis=1)
        # A point that is alone has nobody, and is divided by 1.
        half[part] = xp.where(sums > 0.0, 0.5 * (top + xp.log(xp.where(sums > 0.0, sums, 1.0))), 0)
    weights -= half
    weights -= half[:, None]
    xp.exp(weights, out=weights)
    return CardWalk(card, weights, xp.full(graph.n_points, 1.0))


@dataclass(frozen=True)
class CardLoop:
    """`PropagationLoop` on a card: its first step, then a walk, labels put back after each."""

    first: CardDirect
    walk: CardWalk | None = field(repr=False)
    labeled: Integers = field(repr=False)
    n_iter: int
    lift: int = 0

    def apply(self, Y: Floats) -> tuple[Floats, float]:
        """Return ``M Y``."""
        card = self.first.card
        told = card.put(Y)
        scores = self.first.spread(told)
        if self.walk is not None:
            place = _place(card, self.labeled, scores.shape[0])
            for _ in range(self.n_iter - 1):
                _step(
                    self.walk,
                    scores,
                    factor=self.walk.factor,
                    values=told,
                    place=place,
                    clamped=True,
                )
        return card.get(scores), 0.0

    def adjoint(self, R: Floats) -> Floats:
        """Return ``M.T R``: the loop backwards."""
        card = self.first.card
        labeled = card.put(self.labeled)
        sent = card.put(R)
        clamped = card.xp.zeros((self.labeled.size, R.shape[1]))
        if self.walk is not None:
            for _ in range(self.n_iter - 1):
                clamped += sent[labeled]
                sent[labeled] = 0.0
                sent = self.walk.send(sent)
        return card.get(clamped + self.first.collect(sent))

    def rows(self, rows: Integers) -> None:
        """Leave rows to `adjoint`."""


def sum_series(
    walk: CardWalk,
    start: Floats,
    alpha: float,
    n_iter: int | None,
    *,
    left: float,
    look: int,
    most: int,
) -> Floats | None:
    """Run the loop of label spreading, to its length or until every score stands still.

    Parameters
    ----------
    walk : CardWalk
        Of `similarity`.
    start : (n, c) float64
        Of the host; without negative numbers where the loop runs to its limit.
    alpha : float
    n_iter : int or None
        Steps; None for the limit.
    left : float
        Scores stand still when none has grown by more than this part of itself in a step.
    look : int
        Steps between looks at that.
    most : int
        Steps at which the limit is given up.

    Returns
    -------
    (n, c) float64 or None
        None where the limit was given up.
    """
    card, n = walk.card, start.shape[0]
    given = card.put(start)
    fresh, factor = (1.0 - alpha) * given, card.xp.full(n, alpha)
    place = card.put(np.arange(n, dtype=np.int32))
    scores = given if n_iter is not None else fresh + 0.0
    for step in range(1, (most if n_iter is None else n_iter) + 1):
        change = _step(walk, scores, factor=factor, values=fresh, place=place, clamped=False)
        if n_iter is None and step % look == 0 and float(change.max()) <= left:
            return card.get(scores)
    return None if n_iter is None else card.get(scores)


def _step(
    walk: CardWalk, scores: Any, *, factor: Any, values: Any, place: Any, clamped: bool
) -> Any:
    """Take one step in place; return how far scores moved, by blocks."""
    card = walk.card
    product = card.xp.matmul(walk.weights, scores)
    n, c = scores.shape
    n_blocks = -(-n * c // _THREADS)
    change = card.empty((n_blocks,), "float64")
    card.launch(
        "propagation_step",
        (n_blocks,),
        _THREADS,
        (
            product,
            factor,
            values,
            place,
            np.int32(clamped),
            np.int32(n),
            np.int32(c),
            scores,
            change,
        ),
    )
    return change


def _log_weights(card: Card, graph: RBFGraph) -> Any:
    """Return all log-weights, (n, n) on the card, if they fit."""
    n = graph.n_points
    needed, free = 8 * (n**2 + 2 * _BLOCK + 2 * n * graph.n_features), card.free_memory()
    if needed > free:
        raise InputError(
            f"the weights of {n:,} points take {needed / 2**30:.1f} GiB on the GPU, and "
            f"{free / 2**30:.1f} GiB are free there; use fewer points, an RBFGraph with "
            "device='cpu', or direct influence, which holds blocks only."
        )
    everyone = np.arange(n, dtype=np.int64)
    rows_of = CardRows(card, graph.X, graph.gamma, everyone, graph.resident)
    weights = card.empty((n, n), "float64")
    for part in _slices(n):
        weights[part] = rows_of(everyone[part])
    return weights


def _shares(xp: Any, block: Any) -> Any:
    """Turn log-weights into shares, in place; a row without any stays 0."""
    top = block.max(axis=1)
    block -= xp.where(xp.isfinite(top), top, 0.0)[:, None]
    xp.exp(block, out=block)
    sums = block.sum(axis=1)
    block /= xp.where(sums > 0.0, sums, 1.0)[:, None]
    return block


def _place(card: Card, labeled: Integers, n_points: int) -> Any:
    """Return where each point stands among the labelled ones, -1 for others, on the card."""
    place = np.full(n_points, -1, dtype=np.int32)
    place[labeled] = np.arange(labeled.size)
    return card.put(place)


def _slices(n: int) -> list[slice]:
    """Cut the rows of a square into blocks of bounded memory."""
    step = max(1, min(_BLOCK // n, _MOST_ROWS))
    return [slice(start, min(start + step, n)) for start in range(0, n, step)]
