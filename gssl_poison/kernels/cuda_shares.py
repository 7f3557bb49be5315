"""Influence of the labelled points of an RBF graph on the GPU: shares of dense rows, in blocks.

Products are cuBLAS's: of 8-bit features exactly, in whole numbers, of others in float32 or in
slices of them. Rows whose count these leave open go to the one routine of `recheck`, on the host,
so that counts are those of the CPU.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from typing import Any

import numpy as np
import numpy.typing as npt

from gssl_poison._arrays import n_threads
from gssl_poison.kernels.bounds import LOOSEST, direct_error
from gssl_poison.kernels.columns import Columns
from gssl_poison.kernels.cuda import Card
from gssl_poison.kernels.cuda_products import (
    CodeProducts,
    FloatProducts,
    Scores,
    SliceProducts,
)
from gssl_poison.kernels.parallel import in_order
from gssl_poison.kernels.results import BlockResult, judge, result_of

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# Threads of a block, and rows of a part of the column sums, as in the kernels.
_ROW_THREADS, _COLUMN_THREADS, _ADD_THREADS = 256, 128, 256
_PART = 64
# Scores of a block: 256 MiB of float32. A block that stays in the second-level cache (2**23) would
# read them faster, 4 ps a score by an H100's bandwidth where the product of 784 features takes 26;
# but what a block costs whatever its size, about 0.2 ms of launches and waits, is then as much as
# its product. To be measured on a card.
SCORES = 2**26
# Rows of a block: more are not in the second dimension of a launch.
_MOST_ROWS = 2**15
# Rows that a thread rechecks at a time, at least.
_RECHECKED = 32
# Scores of a block of the host, as in `influence`.
_HOST_SCORES = 2**21


def rows_of_block(columns: Columns) -> int:
    """Return how many rows make a block of which neither scores nor features are too many."""
    return max(1, min(SCORES // max(columns.n_labeled, columns.n_features), _MOST_ROWS))


def reduce_on_card(
    card: Card,
    columns: Columns,
    blocks: Iterable[Integers],
    product: str = "float32",
    resident: Any = None,
) -> Iterator[BlockResult]:
    """Reduce blocks of rows to what they add to every column, as `reduce_block` does.

    Parameters
    ----------
    card : Card
    columns : Columns
        The labelled side, dense.
    blocks : iterable of (b,) int64
        Row numbers; `rows_of_block` says how many at a time.
    product : {"float32", "slices"}, default "float32"
        How features that are no 8-bit numbers are multiplied; see `measure_influence`.
    resident : (n, d) array of the card, optional
        All points, where they are there already; others are streamed.

    Yields
    ------
    BlockResult
        A block whose scores neither route knows, by and large, comes from the CPU.

    Raises
    ------
    InputError
        A row holds a value that is not finite, or so large that its square is not.

    Notes
    -----
    ``2 b l d`` operations a block in the product, six times that on bytes for slices; what follows
    reads ``b l`` scores three times. ``4 (b (l + 2 d) + l d)`` bytes on the card, less for 8-bit
    features. The next block is gathered and copied while one is computed.
    """
    # Cut before the first is used: a generator would be read from two places.
    parts = list(blocks)
    most_rows = max((part.size for part in parts), default=0)
    codes = CodeProducts.find(card, columns, most_rows)
    others: FloatProducts | SliceProducts | None = None
    reduction = _Reduction(card, columns, most_rows)
    # Closed whatever happens: an error that is kept would keep the stream's memory.
    with closing(_sources(card, columns, parts, resident)) as sources:
        for rows, source in zip(parts, sources, strict=True):
            scores = None if codes is None else codes.multiply(source, rows)
            if scores is None:
                if others is None:
                    kind = SliceProducts if product == "slices" else FloatProducts
                    others = kind(card, columns, most_rows)
                scores = others.multiply(source, rows)
            if np.median(scores.bound) <= LOOSEST:
                yield reduction.reduce(scores, rows)
            else:
                yield from _on_host(columns, rows)


class _Reduction:
    """What follows the product, and its buffers."""

    def __init__(self, card: Card, columns: Columns, most_rows: int) -> None:
        self.card, self.columns = card, columns
        self.largest = {kind: card.empty((most_rows,), kind) for kind in ("float32", "int32")}
        self.first = card.empty((most_rows,), "int32")
        self.rest = card.empty((most_rows,), "float64")
        self.total = card.empty((columns.n_labeled,), "float64")
        self.parts = card.empty((-(-most_rows // _PART), columns.n_labeled), "float64")

    def reduce(self, scores: Scores, rows: Integers) -> BlockResult:
        """Reduce a block whose products are on the card."""
        card, b, l = self.card, rows.size, self.columns.n_labeled  # noqa: E741
        largest = self.largest["float32" if scores.kind == "float" else "int32"]
        given = (scores.dots, scores.slope, scores.bias, scores.unit)
        stride = np.int32(scores.dots.shape[1])
        card.launch(
            "row_shares",
            (b,),
            _ROW_THREADS,
            (*given, np.int32(l), stride, largest, self.first, self.rest),
            SCORE=scores.kind,
        )
        rest = card.get(self.rest[:b])
        first = card.get(self.first[:b]).astype(np.int64)
        loose = ~(scores.bound <= LOOSEST)
        if loose.any():
            # A negative rest leaves a row out of the totals: the routine below knows its shares.
            self.rest[:b] = card.put(np.where(loose, -1.0, rest))
        n_parts = -(-b // _PART)
        card.launch(
            "column_totals",
            (-(-l // _COLUMN_THREADS), n_parts),
            _COLUMN_THREADS,
            (*given, np.int32(b), np.int32(l), stride, largest, self.rest, self.parts),
            SCORE=scores.kind,
        )
        card.launch(
            "add_parts",
            (-(-l // _ADD_THREADS),),
            _ADD_THREADS,
            (self.parts, np.int32(n_parts), np.int32(l), self.total),
        )
        total = card.get(self.total)
        verdict, doubtful = judge(rest, scores.bound)
        unresolved = np.zeros(1, dtype=np.int64)
        if doubtful.size:
            judged = self._recheck(scores, rows, doubtful, total, unresolved)
            first[doubtful], verdict[doubtful] = judged
        counts = int(unresolved[0]), int(doubtful.size)
        return result_of(total, first, verdict, scores.bound, *counts, scores.route)

    def _recheck(
        self,
        scores: Scores,
        rows: Integers,
        doubtful: Integers,
        total: Floats,
        unresolved: Integers,
    ) -> tuple[Integers, Integers]:
        """Have the one routine judge some rows; return their first columns and verdicts."""
        from gssl_poison.kernels.recheck import recheck_dense

        columns, card = self.columns, self.card
        l = columns.n_labeled  # noqa: E741
        dots = card.get(scores.dots[card.put(doubtful)])[:, :l]
        known = np.ascontiguousarray(scores.slope * dots + card.get(scores.bias)[:l])
        X = np.ascontiguousarray(columns.X[rows[doubtful]])
        first = np.empty(doubtful.size, dtype=np.int64)
        verdict = np.empty(doubtful.size, dtype=np.int64)

        def judge_some(part: Integers, _: object) -> tuple[Floats, Integers]:
            """Judge some of them, and return what they add to the totals."""
            added, lost = np.zeros(l), np.zeros(1, dtype=np.int64)
            found, said = np.empty_like(first), np.empty_like(verdict)
            recheck_dense(
                known,
                float(scores.unit),
                scores.bound[doubtful],
                part,
                X,
                np.arange(doubtful.size),
                columns.raw,
                columns.raw_rows,
                columns.gamma,
                columns.offset,
                columns.offset_error,
                direct_error(columns.n_features),
                added,
                lost,
                found,
                said,
            )
            first[part], verdict[part] = found[part], said[part]
            return added, lost

        size = max(_RECHECKED, -(-doubtful.size // (4 * n_threads())))
        for added, lost in in_order(judge_some, _cut(np.arange(doubtful.size), size), n_threads()):
            total += added
            unresolved += lost
        return first, verdict


def _sources(card: Card, columns: Columns, parts: list[Integers], resident: Any) -> Generator[Any]:
    """Yield the rows of each part on the card."""
    if resident is None:
        yield from card.stream(columns.X, parts)
        return
    for part in parts:
        yield resident[card.put(part)]


def _on_host(columns: Columns, rows: Integers) -> Iterator[BlockResult]:
    """Reduce a block on the CPU, in float64 and in threads."""
    from gssl_poison.kernels.block import reduce_block

    def reduce(part: Integers, workspace: Any) -> BlockResult:
        return reduce_block(columns, part, workspace)

    size = max(1, _HOST_SCORES // columns.n_labeled)
    return in_order(reduce, _cut(rows, size), n_threads())


def _cut(rows: Integers, size: int) -> Iterator[Integers]:
    """Cut rows into stretches."""
    return (rows[start : start + size] for start in range(0, rows.size, size))
