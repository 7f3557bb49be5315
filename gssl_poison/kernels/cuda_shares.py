"""Influence of the labelled points of an RBF graph on the GPU: shares of dense rows, in blocks.

Products are cuBLAS's: of 8-bit features exactly, in whole numbers, of others in float32. What
follows them reads a block of scores while it is in the second-level cache. Rows whose count these
leave open go to the one routine of `recheck`, on the host, so that counts are those of the CPU.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gssl_poison.kernels.bounds import (
    LATTICES,
    LOOSEST,
    MOST_CODES,
    direct_error,
    lattice_bound,
)
from gssl_poison.kernels.columns import Columns, norm_above
from gssl_poison.kernels.cuda import Card, type_name
from gssl_poison.kernels.results import (
    LARGEST_FLOAT32_NORM,
    BlockResult,
    has_good_unit,
    judge,
    result_of,
)

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# Threads of a block, and rows of a part of the column sums, as in the kernels.
_ROW_THREADS, _CENTER_THREADS, _COLUMN_THREADS, _ADD_THREADS = 256, 128, 128, 256
_PART = 64
# Products of 8-bit numbers come in tiles of this.
_TILE = 16
# Scores of a block: 32 MiB of float32, less than the second-level cache of the cards it is for.
SCORES = 2**23


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
        A block whose scores neither route knows, by and large, comes from the CPU.

    Raises
    ------
    InputError
        A row holds a value that is not finite, or so large that its square is not.

    Notes
    -----
    ``2 b l d`` operations a block in the product; what follows reads ``b l`` scores three times,
    and once from memory at most. ``4 (b (l + 2 d) + l d)`` bytes on the card, less for 8-bit
    features. The next block is gathered and copied while one is computed.
    """
    # Cut before the first is used: a generator would be read from two places.
    parts = list(blocks)
    # Those that have no product need no features either, unless they come to the other route.
    codes = _Codes.find(card, columns, most_rows)
    floats: _Floats | None = None
    reduction = _Reduction(card, columns, most_rows)
    for rows, source in zip(parts, card.stream(columns.X, parts), strict=True):
        scores = None if codes is None else codes.multiply(source, rows)
        if scores is None:
            floats = floats or _Floats(card, columns, most_rows)
            scores = floats.multiply(source, rows)
        if np.median(scores.bound) <= LOOSEST:
            yield reduction.reduce(scores, rows)
        else:
            yield _on_host(columns, rows)


@dataclass(frozen=True)
class _Scores:
    """Products of a block on the card, and what makes scores of them; see `block.Products`."""

    route: str
    kind: str  # as CUDA calls it
    dots: Any
    slope: Any
    bias: Any
    unit: np.float32
    bound: Floats


class _Floats:
    """The labelled side in float32 on the card, and buffers for a block of rows."""

    def __init__(self, card: Card, columns: Columns, most_rows: int) -> None:
        self.card, self.columns = card, columns
        self.center = card.put(columns.centered.center)
        self.points = card.put(columns.points("float32"))
        self.bias = card.put(columns.bias("float32"))
        self.slope = np.float32(2.0 * columns.scaled_gamma)
        self.block = card.empty((most_rows, columns.n_features), "float32")
        self.squares = card.empty((most_rows,), "float64")
        self.dots = card.empty((most_rows, columns.n_labeled), "float32")

    def multiply(self, source: Any, rows: Integers) -> _Scores:
        """Multiply a block that is on the card."""
        columns, b = self.columns, rows.size
        known, n_features = columns.centered, np.int32(columns.n_features)
        self.card.launch(
            "center_rows",
            (b,),
            _CENTER_THREADS,
            (source, self.center, np.float64(known.scale), n_features, self.block, self.squares),
            VALUE=type_name(source.dtype),
        )
        self.card.multiply(self.block[:b], self.points, self.dots[:b])
        squares = self.card.get(self.squares[:b])
        columns.refuse_not_finite(squares, rows)
        norm = norm_above(squares, columns.n_features)
        columns.refuse_too_far(norm, rows)
        bound = columns.row_bound(norm, columns.n_features, "float32")
        bound = np.where(norm <= LARGEST_FLOAT32_NORM, bound, np.inf)
        one = np.float32(1.0)
        return _Scores("float32", "float", self.dots, self.slope, self.bias, one, bound)


class _Codes:
    """The labelled side as 8-bit codes on the card, and buffers for a block of rows."""

    def __init__(self, card: Card, columns: Columns, most_rows: int) -> None:
        self.card, self.columns = card, columns
        self.width = -(-columns.n_features // _TILE) * _TILE
        self.rows = self._buffers(most_rows)
        self.labeled = self._buffers(columns.n_labeled)
        shape = (self.rows[0].shape[0], self.labeled[0].shape[0])
        self.dots = card.empty(shape, "int32")
        self.bias = card.put(np.zeros(shape[1], dtype=np.int32))
        self.step = self.off = self.largest_norm = 0.0

    @classmethod
    def find(cls, card: Card, columns: Columns, most_rows: int) -> _Codes | None:
        """Return the labelled points as codes, or None where they lie on no known lattice."""
        if columns.n_features > MOST_CODES or columns.offset.any():
            return None
        found = cls(card, columns, most_rows)
        source = card.put(np.ascontiguousarray(columns.raw[columns.raw_rows]))
        l = columns.n_labeled  # noqa: E741
        for step, off in LATTICES:
            found.step, found.off = step, off
            squares, sums = found._encode(source, found.labeled, l)
            if (squares >= 0).all() and has_good_unit(columns.gamma * step**2):
                # Twice the product of codes less 128 on both sides lacks 256 sum(y - 128) of what
                # it is with the row's own codes, and 128 is taken from every code of a column.
                bias = np.zeros(found.bias.shape[0], dtype=np.int32)
                bias[:l] = 256 * sums - squares
                found.bias[:] = card.put(bias)
                found.largest_norm = step * float(np.sqrt(squares.max())) * (1.0 + 1e-6)
                return found
        return None

    def multiply(self, source: Any, rows: Integers) -> _Scores | None:
        """Multiply a block that is on the card, or return None: it is no codes, or too far away."""
        columns, b = self.columns, rows.size
        squares, _ = self._encode(source, self.rows, b)
        if (squares < 0).any():
            return None
        norm = self.step * np.sqrt(squares) * (1.0 + 1e-6)
        bound = lattice_bound(columns.gamma, self.off, norm, self.largest_norm)
        bound += columns.recheck_bound(columns.gamma, norm + self.largest_norm)
        if not np.median(bound) <= LOOSEST:
            return None
        tiles = -(-b // _TILE) * _TILE
        self.card.multiply(self.rows[0][:tiles], self.labeled[0], self.dots[:tiles])
        unit = np.float32(columns.gamma * self.step**2)
        return _Scores("int8", "int", self.dots, np.int32(2), self.bias, unit, bound)

    def _buffers(self, n_rows: int) -> tuple[Any, Any, Any]:
        """Return room for the codes, squared norms and sums of some rows, in whole tiles."""
        n_tiles = -(-n_rows // _TILE) * _TILE
        codes = self.card.put(np.zeros((n_tiles, self.width), dtype=np.int8))
        return codes, self.card.empty((n_rows,), "int32"), self.card.empty((n_rows,), "int32")

    def _encode(self, source: Any, into: tuple[Any, Any, Any], b: int) -> tuple[Integers, Integers]:
        """Write the codes of some rows; return squared norms, -1 for no codes, and sums."""
        self.card.launch(
            "encode_rows",
            (b,),
            _CENTER_THREADS,
            (
                source,
                np.float64(self.step),
                np.float64(self.off),
                np.int32(self.columns.n_features),
                np.int32(self.width),
                *into,
            ),
            VALUE=type_name(source.dtype),
        )
        squares, sums = (self.card.get(array[:b]).astype(np.int64) for array in into[1:])
        return squares, sums


class _Reduction:
    """What follows the product, and its buffers."""

    def __init__(self, card: Card, columns: Columns, most_rows: int) -> None:
        self.card, self.columns = card, columns
        self.largest = {kind: card.empty((most_rows,), kind) for kind in ("float32", "int32")}
        self.first = card.empty((most_rows,), "int32")
        self.rest = card.empty((most_rows,), "float64")
        self.total = card.empty((columns.n_labeled,), "float64")
        self.parts = card.empty((-(-most_rows // _PART), columns.n_labeled), "float64")

    def reduce(self, scores: _Scores, rows: Integers) -> BlockResult:
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
        scores: _Scores,
        rows: Integers,
        doubtful: Integers,
        total: Floats,
        unresolved: Integers,
    ) -> tuple[Integers, Integers]:
        """Have the one routine judge some rows; return their first columns and verdicts."""
        from gssl_poison.kernels.recheck import recheck_dense

        columns, card = self.columns, self.card
        dots = card.get(scores.dots[card.put(doubtful)])
        known = (scores.slope * dots + card.get(scores.bias))[:, : columns.n_labeled]
        first = np.empty(doubtful.size, dtype=np.int64)
        verdict = np.empty(doubtful.size, dtype=np.int64)
        recheck_dense(
            np.ascontiguousarray(known),
            float(scores.unit),
            scores.bound[doubtful],
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


def _on_host(columns: Columns, rows: Integers) -> BlockResult:
    """Reduce a block on the CPU, in float64."""
    from gssl_poison.kernels.block import Workspace, reduce_block

    return reduce_block(columns, rows, Workspace())
