"""Features that are 8-bit numbers in disguise: counts, grey values, pixels divided by 255.

Where every value is ``step * code`` with a code in 0..255, squared distances are integers in units
of ``step**2`` and the product is exact. Values divided by 255 in float32 or float64 are a rounding
away from the lattice, which the bound of the scores counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from gssl_poison.kernels import int8
from gssl_poison.kernels.bounds import LATTICES, MOST_CODES, lattice_bound

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class LatticeColumns:
    """The labelled side as codes.

    Attributes
    ----------
    step, off : float
        The unit of a code, and how far a value may be from its code, in parts of itself.
    panels : (l' / 16, 16 d') int8
        Codes minus 128, packed by `int8.pack`. Subtracting 128 from every code of a column takes
        ``128 sum(x_i)`` from all products of a row: no difference in a row changes.
    minus_squares : (l,) int32
        ``-|code_j|^2``.
    largest_norm : float
        Upper bound of ``|y_j|`` in units of X.
    """

    step: float
    off: float
    panels: npt.NDArray[np.int8]
    minus_squares: npt.NDArray[np.int32]
    largest_norm: float

    @classmethod
    def find(cls, source: npt.NDArray[Any], rows: Integers) -> LatticeColumns | None:
        """Return the labelled points as codes, or None where they lie on no known lattice."""
        n_features = source.shape[1]
        if not int8.is_available() or n_features > MOST_CODES:
            return None
        for step, off in LATTICES:
            codes = np.empty((rows.size, n_features), dtype=np.uint8)
            squares = np.empty(rows.size, dtype=np.int64)
            if encode_rows(source, rows, step, off, codes, squares):
                shifted = np.bitwise_xor(codes, np.uint8(128), out=codes).view(np.int8)
                return cls(
                    step,
                    off,
                    int8.pack(shifted),
                    (-squares).astype(np.int32),
                    step * math.sqrt(squares.max()) * (1.0 + 1e-6),
                )
        return None

    def unit(self, gamma: float) -> float:
        """Return what a score of 1 is in log units."""
        return gamma * self.step**2

    def norm_above(self, squares: Integers) -> Floats:
        """Return upper bounds of the norms of rows with these squared codes, in units of X."""
        norms: Floats = self.step * np.sqrt(squares) * (1.0 + 1e-6)
        return norms

    def row_bound(self, gamma: float, norm: Floats) -> Floats:
        """Bound the error of the scores of rows of these norms, in log units; (rows,)."""
        return lattice_bound(gamma, self.off, norm, self.largest_norm)


@njit(nogil=True, cache=True)
def encode_rows(
    source: npt.NDArray[Any],
    rows: Integers,
    step: float,
    off: float,
    out: npt.NDArray[np.uint8],
    squares: Integers,
) -> bool:
    """Write the codes of rows and their squared norms; return whether all lie on the lattice."""
    per_step = 1.0 / step
    for i in range(rows.size):
        row = rows[i]
        astray = 0
        squared = 0
        for k in range(source.shape[1]):
            value = np.float64(source[row, k])
            code = np.floor(value * per_step + 0.5)
            inside = (code >= 0.0) & (code <= 255.0)  # false for NaN
            near = abs(value - code * step) <= off * abs(value)
            astray += not (inside & near)
            whole = int(code) if inside else 0
            out[i, k] = whole
            squared += whole * whole
        if astray:
            return False
        squares[i] = squared
    return True
