"""Nearest neighbours on a GPU: every row against every other, and proof of what is left out.

Products are float32's. A list that ranked by them would now and then leave out a neighbour for a
rounding error. This one ranks by lower bounds of the distances: what is not in it is proven to be
no nearer than the last bound in it, so that a caller who measures the candidates knows for which
rows the nearest of them are the nearest of all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gssl_poison.kernels.bounds import score_bound
from gssl_poison.kernels.columns import norm_above
from gssl_poison.kernels.cuda import Card, type_name
from gssl_poison.kernels.distances import center_of

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int32]
Integers = npt.NDArray[np.int64]

# The longest list, as in the kernel, and as many features as the bound of a product is for.
MOST, MOST_FEATURES = 256, 2**22
# Threads of a block, as in the kernels.
_THREADS = 128
# Rows and columns of a product, 256 MiB of float32: where points are short, smaller ones would cost
# more in launches than in operations.
_ROWS, _COLUMNS = 2**12, 2**14
# Values of a block of rows, where these are long.
_VALUES = 2**25
# Part of the free memory that columns may take; a stream and the rows have the rest.
_PART = 0.5
# Below this, float64 has not all of its digits.
_SMALLEST = 1e-290


@dataclass(frozen=True)
class Nearest:
    """Candidates of every row, and how far everything else is at the least.

    Attributes
    ----------
    candidates : (n, m) int64
        The row itself among them, as a rule.
    beyond : (n,) float64
        No other point's squared distance is measured smaller, in float64 by direct differences;
        inf where there are no others.
    """

    candidates: Integers
    beyond: Floats


def nearest_on_card(card: Card, X: npt.NDArray[Any], wanted: int) -> Nearest:
    """Return the ``wanted`` points that may be nearest to every point, itself among them.

    Parameters
    ----------
    card : Card
    X : (n, d) ndarray of uint8, float32 or float64
        Finite; of the host, whose rows stream through the card. At most `MOST_FEATURES` of them.
    wanted : int
        At most n and `MOST`.

    Notes
    -----
    ``2 n^2 d`` operations. The card holds as many columns as half of its free memory does, ``4 d +
    8`` bytes each, and blocks of 4,096 rows by 16,384 columns; columns that do not fit come
    later, to lists that wait on the host. Cards may sum products in different orders: candidates
    and bounds are theirs, and what is proven by them holds on all.
    """
    n = X.shape[0]
    search = _Search(card, X, wanted)
    most = max(1, int(_PART * card.free_memory()) // (4 * X.shape[1] + 8))
    found = np.empty((n, wanted), dtype=np.int32)
    lowest = np.empty((n, wanted), dtype=np.float32)
    squares = np.empty(n)
    for start in range(0, n, most):
        search.place(start, min(start + most, n))
        for rows, block, known in search.read(0, n):
            squares[rows] = known
            search.extend(block, known, lowest[rows], found[rows])
    return Nearest(found.astype(np.int64), search.beyond(squares, lowest))


class _Search:
    """Some of the points as columns on the card, and the lists of rows that are searched for.

    Notes
    -----
    With `score_bound`'s ``E = p |x| |y| + q |y|^2 + r`` of a row x and a column y, the kernel takes
    ``low = (1 - q) |y|^2 - r - 2 x.y - p |x| |y|``, which is then no more than ``|y|^2 - 2 x.y``
    however the product is summed. Norms are known in float64, and what stands for them in float32
    is rounded to the safe side. E allows for ``d + 8`` roundings of the product; the operands, the
    sum itself and the two differences take ``d + 4``. Every y has its own bound: that of one far
    outlier is nothing to points that are near to one another.
    """

    def __init__(self, card: Card, X: npt.NDArray[Any], wanted: int) -> None:
        self.card, self.X, self.wanted = card, X, wanted
        n, d = X.shape
        center = center_of(X, np.arange(n))
        top = float(np.maximum(X.max(axis=0) - center, center - X.min(axis=0)).max())
        # A power of two, so that it rounds nothing, that leaves no value above 1: what underflows
        # in a product is then below 2^-124 a feature, as the bound has it.
        self.scale = math.ldexp(1.0, -math.frexp(top)[1])
        self.center = card.put(center)
        self.step = max(1, min(n, _ROWS, _VALUES // d))
        # p, q and r.
        at_zero, at_one = score_bound(1.0, d, d, np.array([0.0, 1.0]), 1.0, "float32")
        self.per_product, self.per_square = at_one - at_zero, at_zero
        self.underflow = score_bound(1.0, d, d, np.zeros(1), 0.0, "float32")[0]
        self.dots = card.empty((self.step * min(n, _COLUMNS),), "float32")
        self.start = self.stop = 0
        self.points: Any = None
        self.squares: Any = None
        self.norms: Any = None

    def place(self, start: int, stop: int) -> None:
        """Put some points on the card, as the columns that are searched from now on."""
        card = self.card
        # The last ones have to go before there is room.
        self.points = self.squares = self.norms = None
        self.points = card.empty((stop - start, self.X.shape[1]), "float32")
        self.squares, self.norms = (card.empty((stop - start,), "float32") for _ in range(2))
        for rows, _, squares in self.read(start, stop, self.points):
            here = slice(rows.start - start, rows.stop - start)
            norm = norm_above(squares, self.X.shape[1])
            self.norms[here] = card.put(_above(norm))
            low = squares - self.per_square * norm**2 - self.underflow
            self.squares[here] = card.put(-_above(-low))
        self.start, self.stop = start, stop

    def read(self, start: int, stop: int, into: Any = None) -> Iterator[tuple[slice, Any, Floats]]:
        """Yield blocks of points on the card, centred and scaled, and their squared norms."""
        card, d = self.card, self.X.shape[1]
        parts = [np.arange(s, min(s + self.step, stop)) for s in range(start, stop, self.step)]
        room = card.empty((self.step, d), "float32") if into is None else into
        squares = card.empty((self.step,), "float64")
        for part, source in zip(parts, card.stream(self.X, parts), strict=True):
            rows = slice(int(part[0]), int(part[-1]) + 1)
            at = 0 if into is None else rows.start - start
            block = room[at : at + part.size]
            card.launch(
                "center_rows",
                (part.size,),
                _THREADS,
                (source, self.center, np.float64(self.scale), np.int32(d), block, squares),
                VALUE=type_name(source.dtype),
            )
            yield rows, block, card.get(squares[: part.size])

    def extend(self, block: Any, squares: Floats, lowest: Singles, found: Numbers) -> None:
        """Let the columns that are placed join the lists of a block of rows, in place."""
        card, b = self.card, len(squares)
        norm = norm_above(squares, self.X.shape[1])
        slack = card.put(_above(self.per_product * norm))
        bounds, columns = card.put(lowest), card.put(found)
        for start in range(self.start, self.stop, _COLUMNS):
            here = slice(start - self.start, min(start + _COLUMNS, self.stop) - self.start)
            width = here.stop - here.start
            dots = self.dots[: b * width].reshape(b, width)
            card.multiply(block, self.points[here], dots)
            card.launch(
                "nearest",
                (b,),
                _THREADS,
                (
                    dots,
                    self.squares[here],
                    self.norms[here],
                    slack,
                    np.int32(width),
                    np.int32(start),
                    np.int32(self.wanted),
                    np.int32(min(self.wanted, start)),
                    bounds,
                    columns,
                ),
            )
        lowest[:], found[:] = card.get(bounds), card.get(columns)

    def beyond(self, squares: Floats, lowest: Singles) -> Floats:
        """Return what nothing outside the lists is measured to be nearer than, squared.

        Squared norms are off by a part of ``(d + 10) 2^-53`` at most, and what is measured by as
        much: more than twice that is taken away for each, which covers the operations here.
        """
        n, d = self.X.shape
        if self.wanted == n:
            return np.full(n, np.inf)
        off = (d + 16.0) * 2.0**-51
        beyond: Floats = (squares * (1.0 - off) + lowest[:, -1]) * (1.0 - off)
        beyond = beyond / self.scale / self.scale
        return np.where(beyond > _SMALLEST, beyond, 0.0)


def _above(numbers: Floats) -> Singles:
    """Return the numbers in float32, rounded up."""
    rounded = np.nextafter(numbers.astype(np.float32), np.float32(np.inf))
    return np.minimum(rounded, np.float32(1e30))
