"""Influence of the labelled points of an RBF graph on the GPU: shares of dense rows, in blocks.

Products are cuBLAS's, in float32; what follows them reads a block of scores while it is in the
second-level cache. Rows whose count float32 leaves open go to the one routine of `recheck`, on the
host, so that counts are those of the CPU.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from gssl_poison.kernels import recheck
from gssl_poison.kernels.block import (
    LARGEST_FLOAT32_NORM,
    BlockResult,
    Workspace,
    judge,
    reduce_block,
    result_of,
)
from gssl_poison.kernels.bounds import LOOSEST, direct_error
from gssl_poison.kernels.columns import Columns, norm_above
from gssl_poison.kernels.cuda import Card, type_name

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# Threads of a block, and rows of a part of the column sums, as in the kernels.
_ROW_THREADS, _CENTER_THREADS, _COLUMN_THREADS, _ADD_THREADS = 256, 128, 128, 256
_PART = 64
# Scores of a block: 32 MiB of float32, less than the second-level cache of the cards it is for.
SCORES = 2**23


class _OnCard:
    """The labelled side on the card, and buffers for a block of rows."""

    def __init__(self, card: Card, columns: Columns, most_rows: int) -> None:
        known = columns.centered
        self.center = card.put(known.center)
        self.points = card.put(columns.points("float32"))
        self.bias = card.put(columns.bias("float32"))
        self.slope = np.float32(2.0 * columns.scaled_gamma)
        l, d = columns.n_labeled, columns.n_features  # noqa: E741
        self.block = card.empty((most_rows, d), "float32")
        self.squares = card.empty((most_rows,), "float64")
        self.dots = card.empty((most_rows, l), "float32")
        self.largest = card.empty((most_rows,), "float32")
        self.first = card.empty((most_rows,), "int32")
        self.rest = card.empty((most_rows,), "float64")
        self.total = card.empty((l,), "float64")
        self.parts = card.empty((-(-most_rows // _PART), l), "float64")


def reduce_on_card(
    card: Card, columns: Columns, blocks: Iterable[Integers], most_rows: int
) -> Iterator[BlockResult]:
    """Reduce blocks of rows to what they add to every column, as `reduce_block` does.

    Parameters
    ----------
    card : Card
    columns : Columns
        The labelled side, dense.
    blocks : iterable of (b,) int64
        Row numbers, at most ``most_rows`` at a time.
    most_rows : int

    Yields
    ------
    BlockResult
        A block whose scores float32 does not know, by and large, comes from the CPU.

    Raises
    ------
    InputError
        A row holds a value that is not finite, or so large that its square is not.

    Notes
    -----
    ``2 b l d`` operations a block in the product; what follows reads ``b l`` scores three times,
    and once from memory at most. ``4 (b (l + d) + l d)`` bytes on the card.
    """
    there, workspace = _OnCard(card, columns, most_rows), Workspace()
    for rows in blocks:
        bound = _multiply(card, there, columns, rows)
        if np.median(bound) <= LOOSEST:
            yield _reduce(card, there, columns, rows, bound)
        else:
            yield reduce_block(columns, rows, workspace)


def _reduce(
    card: Card, there: _OnCard, columns: Columns, rows: Integers, bound: Floats
) -> BlockResult:
    """Reduce a block whose products are on the card."""
    b, l = rows.size, columns.n_labeled  # noqa: E741
    scores = (there.dots, there.slope, there.bias, np.float32(1.0))
    card.launch(
        "row_shares",
        (b,),
        _ROW_THREADS,
        (*scores, np.int32(l), np.int32(l), there.largest, there.first, there.rest),
        SCORE="float",
    )
    rest = card.get(there.rest[:b])
    first = card.get(there.first[:b]).astype(np.int64)
    loose = ~(bound <= LOOSEST)
    if loose.any():
        # A negative rest leaves a row out of the totals: the routine below knows its shares.
        there.rest[:b] = card.put(np.where(loose, -1.0, rest))
    n_parts = -(-b // _PART)
    card.launch(
        "column_totals",
        (-(-l // _COLUMN_THREADS), n_parts),
        _COLUMN_THREADS,
        (*scores, np.int32(b), np.int32(l), np.int32(l), there.largest, there.rest, there.parts),
        SCORE="float",
    )
    card.launch(
        "add_parts",
        (-(-l // _ADD_THREADS),),
        _ADD_THREADS,
        (there.parts, np.int32(n_parts), np.int32(l), there.total),
    )
    total = card.get(there.total)
    verdict, doubtful = judge(rest, bound)
    unresolved = np.zeros(1, dtype=np.int64)
    if doubtful.size:
        judged = _recheck(card, there, columns, rows, doubtful, bound, total, unresolved)
        first[doubtful], verdict[doubtful] = judged
    return result_of(
        total, first, verdict, bound, int(unresolved[0]), int(doubtful.size), "float32"
    )


def _multiply(card: Card, there: _OnCard, columns: Columns, rows: Integers) -> Floats:
    """Write the products of a block to the card, and return the bounds of its scores, (b,)."""
    known, b = columns.centered, rows.size
    source = columns.X[rows]
    card.launch(
        "center_rows",
        (b,),
        _CENTER_THREADS,
        (
            card.put(source),
            there.center,
            np.float64(known.scale),
            np.int32(columns.n_features),
            there.block,
            there.squares,
        ),
        VALUE=type_name(source.dtype),
    )
    card.multiply(there.block[:b], there.points, there.dots[:b])
    squares = card.get(there.squares[:b])
    columns.refuse_not_finite(squares, rows)
    norm = norm_above(squares, columns.n_features)
    columns.refuse_too_far(norm, rows)
    bound = columns.row_bound(norm, columns.n_features, "float32")
    return np.where(norm <= LARGEST_FLOAT32_NORM, bound, np.inf)


def _recheck(
    card: Card,
    there: _OnCard,
    columns: Columns,
    rows: Integers,
    doubtful: Integers,
    bound: Floats,
    total: Floats,
    unresolved: Integers,
) -> tuple[Integers, Integers]:
    """Have the one routine judge some rows of a block; return their first columns and verdicts."""
    dots = np.stack([card.get(there.dots[i]) for i in doubtful])
    scores = dots * there.slope + columns.bias("float32")
    first = np.empty(doubtful.size, dtype=np.int64)
    verdict = np.empty(doubtful.size, dtype=np.int64)
    recheck.recheck_dense(
        scores,
        1.0,
        bound[doubtful],
        np.arange(doubtful.size),
        np.ascontiguousarray(columns.X[rows[doubtful]]),
        np.arange(doubtful.size),
        columns.raw,
        columns.raw_rows,
        columns.gamma,
        columns.offset,
        columns.offset_error,
        direct_error(columns.n_features),
        total,
        unresolved,
        first,
        verdict,
    )
    return first, verdict
