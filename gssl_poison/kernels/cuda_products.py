"""Products of blocks of rows with the labelled points on a GPU: in float32, and in whole numbers.

Each class holds the labelled side on the card and buffers for a block, and gives the scores of a
block with the proven bound of their error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gssl_poison.exceptions import InputError
from gssl_poison.kernels.bounds import (
    LATTICES,
    LOOSEST,
    MOST_CODES,
    lattice_bound,
    slice_bound,
)
from gssl_poison.kernels.columns import Columns, norm_above
from gssl_poison.kernels.cuda import Card, type_name
from gssl_poison.kernels.results import LARGEST_FLOAT32_NORM, has_good_unit

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# Threads of a block, as in the kernels.
_THREADS = 128
# Products of 8-bit numbers come in tiles of this.
_TILE = 16
# On a GPU float32 values below 2**-126 are 0. Where points are scaled up by more than this, that
# may be more than their products' bounds allow for.
_LARGEST_SCALE = 2.0**60
# Three sums of so many products of two signed bytes stay below 2**31.
_MOST_SLICED = 2**15


@dataclass(frozen=True)
class Scores:
    """Products of a block on the card, and what makes scores of them; see `block.Products`."""

    route: str
    kind: str  # as CUDA calls it
    dots: Any
    slope: Any
    bias: Any
    unit: np.float32
    bound: Floats


class FloatProducts:
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

    def multiply(self, source: Any, rows: Integers) -> Scores:
        """Multiply a block that is on the card."""
        columns, b = self.columns, rows.size
        known, n_features = columns.centered, np.int32(columns.n_features)
        self.card.launch(
            "center_rows",
            (b,),
            _THREADS,
            (source, self.center, np.float64(known.scale), n_features, self.block, self.squares),
            VALUE=type_name(source.dtype),
        )
        self.card.multiply(self.block[:b], self.points, self.dots[:b])
        squares = self.card.get(self.squares[:b])
        columns.refuse_not_finite(squares, rows)
        norm = norm_above(squares, columns.n_features)
        columns.refuse_too_far(norm, rows)
        bound = columns.row_bound(norm, columns.n_features, "float32")
        bound = np.where(_is_within(columns, norm), bound, np.inf)
        one = np.float32(1.0)
        return Scores("float32", "float", self.dots, self.slope, self.bias, one, bound)


class SliceProducts:
    """The labelled side as three signed bytes a value, and buffers for a block of rows.

    First, second and third slices stand side by side, on the labelled side the other way round:
    all pairs of slices that weigh the same are then one product of parts of rows.
    """

    def __init__(self, card: Card, columns: Columns, most_rows: int) -> None:
        if columns.n_features > _MOST_SLICED:
            raise InputError(
                f"product='slices' sums products of {columns.n_features:,} features, and "
                f"{_MOST_SLICED:,} are the most that 32 bits hold; use product='float32'."
            )
        self.card, self.columns = card, columns
        self.width = -(-columns.n_features // _TILE) * _TILE
        self.center = card.put(columns.centered.center)
        self.bias = card.put(columns.bias("float32"))
        self.slope = np.float32(2.0 * columns.scaled_gamma)
        self.rows, self.labeled = (self._buffers(n) for n in (most_rows, columns.n_labeled))
        known = card.put(np.ascontiguousarray(columns.raw[columns.raw_rows]))
        scales, _ = self._slice(known, self.labeled, columns.n_labeled, reverse=True)
        self.largest_scale = float(scales.max())
        shape = (self.rows[0].shape[0], self.labeled[0].shape[0])
        self.products = [card.empty(shape, "int32") for _ in range(3)]
        self.dots = card.empty(shape, "float32")

    def multiply(self, source: Any, rows: Integers) -> Scores:
        """Multiply a block that is on the card."""
        card, columns, b, w = self.card, self.columns, rows.size, self.width
        scale, squares = self._slice(source, self.rows, b)
        columns.refuse_not_finite(squares, rows)
        norm = norm_above(squares, columns.n_features)
        columns.refuse_too_far(norm, rows)
        tiles = -(-b // _TILE) * _TILE
        for k, product in enumerate(self.products):
            left = self.rows[0][:tiles, : (k + 1) * w]
            card.multiply(left, self.labeled[0][:, (2 - k) * w :], product[:tiles])
        l, stride = columns.n_labeled, self.dots.shape[1]  # noqa: E741
        card.launch(
            "combine_slices",
            (-(-l // _THREADS), b),
            _THREADS,
            (
                *self.products,
                self.rows[1],
                self.labeled[1],
                np.int32(l),
                np.int32(stride),
                self.dots,
            ),
        )
        # One rounding of a product in place of one a feature.
        bound = columns.row_bound(norm, 1, "float32")
        bound += (
            2.0
            * columns.scaled_gamma
            * slice_bound(columns.n_features, norm, scale, columns.largest_norm, self.largest_scale)
        )
        bound = np.where(_is_within(columns, norm), bound, np.inf)
        one = np.float32(1.0)
        return Scores("slices", "float", self.dots, self.slope, self.bias, one, bound)

    def _buffers(self, n_rows: int) -> tuple[Any, Any, Any]:
        """Return room for the slices, scales and squared norms of some rows, in whole tiles."""
        n_tiles = -(-n_rows // _TILE) * _TILE
        slices = self.card.xp.zeros((n_tiles, 3 * self.width), dtype=np.int8)
        return slices, self.card.empty((n_rows,), "float64"), self.card.empty((n_rows,), "float64")

    def _slice(
        self, source: Any, into: tuple[Any, Any, Any], b: int, *, reverse: bool = False
    ) -> tuple[Floats, Floats]:
        """Write the slices of some rows; return their scales and squared norms."""
        self.card.launch(
            "slice_rows",
            (b,),
            _THREADS,
            (
                source,
                self.center,
                np.float64(self.columns.centered.scale),
                np.int32(self.columns.n_features),
                np.int32(self.width),
                np.int32(reverse),
                *into,
            ),
            VALUE=type_name(source.dtype),
        )
        scale, squares = (self.card.get(array[:b]) for array in into[1:])
        return scale, squares


class CodeProducts:
    """The labelled side as 8-bit codes on the card, and buffers for a block of rows."""

    def __init__(self, card: Card, columns: Columns, most_rows: int) -> None:
        self.card, self.columns = card, columns
        self.width = -(-columns.n_features // _TILE) * _TILE
        self.rows = self._buffers(most_rows)
        self.labeled = self._buffers(columns.n_labeled)
        shape = (self.rows[0].shape[0], self.labeled[0].shape[0])
        self.dots = card.empty(shape, "int32")
        self.bias = card.xp.zeros(shape[1], dtype=np.int32)
        self.step = self.off = self.largest_norm = 0.0

    @classmethod
    def find(cls, card: Card, columns: Columns, most_rows: int) -> CodeProducts | None:
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

    def multiply(self, source: Any, rows: Integers) -> Scores | None:
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
        return Scores("int8", "int", self.dots, np.int32(2), self.bias, unit, bound)

    def _buffers(self, n_rows: int) -> tuple[Any, Any, Any]:
        """Return room for the codes, squared norms and sums of some rows, in whole tiles."""
        n_tiles = -(-n_rows // _TILE) * _TILE
        codes = self.card.xp.zeros((n_tiles, self.width), dtype=np.int8)
        return codes, self.card.empty((n_rows,), "int32"), self.card.empty((n_rows,), "int32")

    def _encode(self, source: Any, into: tuple[Any, Any, Any], b: int) -> tuple[Integers, Integers]:
        """Write the codes of some rows; return squared norms, -1 for no codes, and sums."""
        self.card.launch(
            "encode_rows",
            (b,),
            _THREADS,
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


def _is_within(columns: Columns, norm: Floats) -> npt.NDArray[np.bool_]:
    """Tell which rows neither overflow float32 nor vanish in it, (b,)."""
    small = columns.centered.scale <= _LARGEST_SCALE
    within: npt.NDArray[np.bool_] = (norm <= LARGEST_FLOAT32_NORM) & small
    return within
