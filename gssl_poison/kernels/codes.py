"""Products of all pairs of 8-bit points in whole numbers, and what values are off their codes.

A value is ``step (c + e)``, c its code and e at most ``off`` of it: 0 for whole numbers, a rounding
of float64 or of float32 for pixels divided by 255. Squared distances of codes are exact. In float32
they lack ``2 (c - c').(e - e')``; e in units of 1/127 of its largest is a signed byte, so two more
products of bytes give that too, two hundred times closer than leaving it out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from gssl_poison.kernels import int8
from gssl_poison.kernels.columns import Columns
from gssl_poison.kernels.lattice import LatticeColumns, encode_rows
from gssl_poison.kernels.workspace import Workspace

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# Rows whose codes are made at a time where all are gone through.
_ROWS = 512


@dataclass(frozen=True)
class Rest:
    """What the squared distances of a tile's codes lack, as `triangle.weigh_tile` takes it.

    Attributes
    ----------
    first, second : (rows, columns) int32
        Products of codes with residues and of residues with codes, of which the distances lack
        minus ``unit`` log units each.
    row_extra, column_extra : (rows,), (columns,) float64
        What they lack besides, in the same unit.
    unit : float
        0 where nothing is lacking.
    """

    first: npt.NDArray[np.int32]
    second: npt.NDArray[np.int32]
    row_extra: Floats
    column_extra: Floats
    unit: float


def no_rest(n_rows: int) -> Rest:
    """Return the rest of distances that lack nothing."""
    nothing = np.zeros((n_rows, 1), dtype=np.int32)
    return Rest(nothing, nothing, np.zeros(n_rows), np.zeros(1), 0.0)


@dataclass(frozen=True)
class CodePairs:
    """All pairs of points as codes.

    Attributes
    ----------
    columns : Columns
        All points.
    lattice : LatticeColumns
        Their codes, packed as columns.
    off : float
        How far a value may be from its code, in parts of itself.
    """

    columns: Columns = field(repr=False)
    lattice: LatticeColumns = field(repr=False)
    off: float

    @property
    def residue(self) -> float:
        """The unit of residues, in codes: ``off`` of code 255 is 126 of it."""
        return 255.0 * self.off * (1.0 + 1e-6) / 126.0

    def _encode(
        self, start: int, stop: int, workspace: Workspace
    ) -> tuple[npt.NDArray[np.uint8], Integers]:
        """Return the codes of rows, zero-padded, and their squared norms."""
        n_rows, n_features = stop - start, self.columns.n_features
        shape = (int8.padded(n_rows, int8.ROWS), int8.padded(n_features, int8.GROUP))
        codes = workspace.take("codes", shape, "uint8")
        codes[:, n_features:] = 0
        codes[n_rows:] = 0
        squares = np.empty(n_rows, dtype=np.int64)
        rows = np.arange(start, stop)
        encode_rows(self.columns.raw, rows, self.lattice.step, self.off, codes, squares)
        return codes, squares

    def tiles(
        self, start: int, stop: int, spans: tuple[tuple[int, int], ...], workspace: Workspace
    ) -> Iterator[tuple[tuple[int, int], Any, Any, Any]]:
        """Yield the span, dot products, row and column biases of tiles of rows; see `Pairs`."""
        codes, squares = self._encode(start, stop, workspace)
        # Columns are codes less 128: every product of a row lacks 128 times its sum.
        sums = codes[: squares.size].sum(axis=1, dtype=np.int64)
        row_bias = (squares - 256 * sums).astype(np.int32)
        for span in spans:
            dots = _multiply(codes, self.lattice.panels, span, "dots", workspace)
            yield span, dots, row_bias, -self.lattice.minus_squares[span[0] : span[1]]

    def rest(
        self,
        start: int,
        stop: int,
        spans: tuple[tuple[int, int], ...],
        unit: float,
        workspace: Workspace,
    ) -> Iterator[Rest]:
        """Yield what squared distances of tiles of rows lack; ``unit`` is that of a distance."""
        residues, extra = self.columns.once(lambda: self._residues)
        codes, _ = self._encode(start, stop, workspace)
        n_rows, n_features = stop - start, self.columns.n_features
        # Rows are unsigned: residues plus 128, of which the columns are codes less 128.
        shifted = workspace.take("shifted", codes.shape, "uint8")
        shifted[:] = 0
        signed = shifted.view(np.int8)
        own = self._write_residues(start, stop, codes, signed)
        sums = signed[:n_rows].sum(axis=1, dtype=np.int64)
        used = shifted[:n_rows, :n_features]
        np.bitwise_xor(used, np.uint8(128), out=used)
        row_extra = (own - 128 * sums - 128 * 128 * n_features).astype(np.float64)
        for span in spans:
            first = _multiply(codes, residues, span, "first", workspace)
            second = _multiply(shifted, self.lattice.panels, span, "second", workspace)
            column_extra = extra[span[0] : span[1]]
            yield Rest(first, second, row_extra, column_extra, 2.0 * self.residue * unit)

    def _write_residues(
        self, start: int, stop: int, codes: npt.NDArray[np.uint8], out: npt.NDArray[np.int8]
    ) -> Integers:
        """Write the residues of rows; return the product of each row's codes with them."""
        own = np.empty(stop - start, dtype=np.int64)
        # The steps are 1 and 1 / 255: their inverses are whole, and exact where the steps are not.
        per_step = float(round(1.0 / self.lattice.step))
        _residues_of_rows(self.columns.raw, start, per_step, codes, 1.0 / self.residue, out, own)
        return own

    @cached_property
    def _residues(self) -> tuple[npt.NDArray[np.int8], Floats]:
        """Residues of all points, packed as columns, and what a column adds of its own."""
        n_points, n_features = self.columns.n_labeled, self.columns.n_features
        packed = np.empty_like(self.lattice.panels)
        extra = np.empty(n_points)
        workspace = Workspace()
        for start in range(0, n_points, _ROWS):
            stop = min(start + _ROWS, n_points)
            codes, _ = self._encode(start, stop, workspace)
            signed = np.empty((stop - start, n_features), dtype=np.int8)
            own = self._write_residues(start, stop, codes, signed)
            part = int8.pack(signed)
            first = start // int8.PANEL
            packed[first : first + part.shape[0]] = part
            extra[start:stop] = own + 128 * codes[: stop - start].sum(axis=1, dtype=np.int64)
        return packed, extra


def all_near(columns: Columns, lattice: LatticeColumns, off: float) -> bool:
    """Tell whether all values are within ``off``, in parts of themselves, of their codes."""
    n_points = columns.n_labeled
    codes = np.empty((min(_ROWS, n_points), columns.n_features), dtype=np.uint8)
    squares = np.empty(codes.shape[0], dtype=np.int64)
    return all(
        encode_rows(
            columns.raw,
            np.arange(start, min(start + _ROWS, n_points)),
            lattice.step,
            off,
            codes,
            squares,
        )
        for start in range(0, n_points, _ROWS)
    )


def _multiply(
    rows: npt.NDArray[np.uint8],
    packed: npt.NDArray[np.int8],
    span: tuple[int, int],
    name: str,
    workspace: Workspace,
) -> npt.NDArray[np.int32]:
    """Multiply rows by a span of packed columns, padded."""
    width = int8.padded(span[1] - span[0], int8.PANEL * int8.PANELS)
    out = workspace.take(name, (rows.shape[0], width), "int32")
    first = span[0] // int8.PANEL
    int8.multiply(rows, packed[first : first + width // int8.PANEL], out)
    return out


@njit(nogil=True, cache=True)
def _residues_of_rows(
    source: npt.NDArray[Any],
    start: int,
    per_step: float,
    codes: npt.NDArray[np.uint8],
    per_residue: float,
    out: npt.NDArray[np.int8],
    own: Integers,
) -> None:
    """Write what rows from ``start`` exceed their codes by, in whole residues.

    ``codes`` and ``out`` are (rows, d), or more of both. ``own`` (rows,) becomes the product of
    both.
    """
    for i in range(own.size):
        product = 0
        for k in range(source.shape[1]):
            code = np.float64(codes[i, k])
            over = (np.float64(source[start + i, k]) * per_step - code) * per_residue
            whole = int(np.floor(over + 0.5))
            out[i, k] = whole
            product += whole * int(codes[i, k])
        own[i] = product
