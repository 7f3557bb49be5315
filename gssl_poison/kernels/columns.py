"""The labelled side of every block: prepared once, in each form that a block asks for."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from gssl_poison._arrays import Features, is_sparse, refuse_not_finite
from gssl_poison.exceptions import InputError
from gssl_poison.kernels.bounds import UNIT_ROUNDOFF, direct_error, score_bound

if TYPE_CHECKING:
    from gssl_poison.kernels.lattice import LatticeColumns

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
T = TypeVar("T")

# Scaling by 2**k with |k| beyond this leaves float64 once squared.
_LARGEST_EXPONENT = 505


def norm_above(squares: Floats, n_terms: int | Floats) -> Floats:
    """Return upper bounds of norms whose squares were summed over ``n_terms`` terms in float64."""
    norms: Floats = np.sqrt(squares) * (1.0 + (np.asarray(n_terms) + 10.0) * 2.0**-52)
    return norms


@dataclass(frozen=True)
class CenteredColumns:
    """Dense labelled points about their mean, in a unit that makes the largest norm about 1.

    Attributes
    ----------
    center : (d,) float64
        What is subtracted from every point; distances do not change.
    scale : float
        A power of two that every difference is multiplied by.
    squares : (l,) float64
        Squared norms, centred and scaled.
    largest_norm : float
        Upper bound of the norms.
    """

    center: Floats
    scale: float
    squares: Floats
    largest_norm: float


class Columns:
    """The labelled points as columns of scores; each form of them is built on first use.

    Parameters
    ----------
    X : (n, d) features
        All points.
    labeled : (l,) int64
        Row numbers of the labelled points.
    gamma : float
        Kernel coefficient.
    offset : (l,) float64, optional
        Added to every log-weight of a column; known within ``offset_error``.
    offset_error : float
        See ``offset``.
    """

    def __init__(
        self,
        X: Features,
        labeled: Integers,
        gamma: float,
        offset: Floats | None = None,
        offset_error: float = 0.0,
    ) -> None:
        self.X = X
        self.labeled = labeled
        self.gamma = gamma
        self.n_labeled = int(labeled.size)
        self.n_features = int(X.shape[1])
        self.offset = np.zeros(self.n_labeled) if offset is None else offset
        self.offset_error = offset_error
        self.sparse = is_sparse(X)
        # Kernels read C-ordered rows where they lie; of anything else the labelled rows are copied.
        self.in_place = not self.sparse and bool(X.flags.c_contiguous)
        # Offsets are no integers: with them the exact route has no exact scores.
        self._wants_lattice = offset is None and not self.sparse
        self._points: dict[str, npt.NDArray[Any]] = {}
        self._lock = threading.RLock()

    def __getstate__(self) -> dict[str, Any]:
        """Leave the lock behind, which belongs to this process."""
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take what was kept, and a lock of this process."""
        self.__dict__.update(state)
        self._lock = threading.RLock()

    def once(self, build: Callable[[], T]) -> T:
        """Build something shared while no other thread does."""
        with self._lock:
            return build()

    @cached_property
    def raw(self) -> npt.NDArray[Any]:
        """C-ordered memory that holds the labelled rows, at `raw_rows`."""
        return self.X if self.in_place else np.ascontiguousarray(self.X[self.labeled])

    @cached_property
    def raw_rows(self) -> Integers:
        """Where in `raw` the labelled rows are."""
        return self.labeled if self.in_place else np.arange(self.n_labeled)

    @cached_property
    def lattice(self) -> LatticeColumns | None:
        """The labelled points as 8-bit codes, where they are that."""
        from gssl_poison.kernels.lattice import LatticeColumns

        return LatticeColumns.find(self.raw, self.raw_rows) if self._wants_lattice else None

    @cached_property
    def centered(self) -> CenteredColumns:
        """Centre, scale and norms of dense labelled points."""
        center = np.zeros(self.n_features)
        for part in self._parts():
            center += self.raw[self.raw_rows[part]].sum(axis=0, dtype=np.float64)
        center /= self.n_labeled
        squares = self._squares(center, 1.0)
        scale = self._scale_of(math.sqrt(squares.max()))
        if 2.0**-600 < squares.max() < 2.0**600:
            squares = squares * scale**2  # a power of two: exact
        else:  # the first pass may have lost digits to underflow
            squares = self._squares(center, scale)
        largest = float(norm_above(squares, self.n_features).max())
        return CenteredColumns(center, scale, squares, largest)

    def _parts(self) -> list[slice]:
        """Cut the labelled points into parts of a few megabytes."""
        step = max(1, 2**19 // self.n_features)
        return [slice(start, start + step) for start in range(0, self.n_labeled, step)]

    def _centered(self, part: slice, center: Floats, scale: float) -> Floats:
        """Return some labelled points about a centre, in float64."""
        points = self.raw[self.raw_rows[part]].astype(np.float64)
        points -= center
        points *= scale
        return points

    def _squares(self, center: Floats, scale: float) -> Floats:
        """Return the squared norms of the labelled points, centred and scaled, (l,)."""
        squares = np.empty(self.n_labeled)
        # What is not finite here is named below.
        with np.errstate(over="ignore", invalid="ignore"):
            for part in self._parts():
                points = self._centered(part, center, scale)
                squares[part] = np.einsum("ij,ij->i", points, points)
        if not np.isfinite(squares).all():
            # One value may have moved the centre away from all: it is the one to name.
            largest = [np.abs(self.raw[row].astype(np.float64)).max() for row in self.raw_rows]
            refuse_not_finite(self.X, self.labeled[[int(np.argmax(largest))]])
        return squares

    def refuse_not_finite(self, squares: Floats, rows: Integers) -> None:
        """Refuse rows whose squared norm is not finite."""
        if not np.isfinite(squares).all():
            refuse_not_finite(self.X, rows[~np.isfinite(squares)])

    def _scale_of(self, largest: float) -> float:
        """Return the power of two that brings the largest labelled norm near 1."""
        if largest == 0.0:
            return 1.0
        exponent = -math.frexp(largest)[1]
        if abs(exponent) > _LARGEST_EXPONENT or not math.isfinite(
            self.gamma * 2.0 ** (-2 * exponent)
        ):
            raise InputError(
                f"labelled points lie {largest:.3g} from their mean, and squared distances times "
                f"gamma = {self.gamma:.3g} leave float64; rescale X to values near 1."
            )
        return float(2.0**exponent)

    @cached_property
    def by_feature(self) -> Any:
        """Sparse labelled points, transposed: (d, l) CSR in float64."""
        return self.X[self.labeled].astype(np.float64).T.tocsr()

    @cached_property
    def sparse_squares(self) -> Floats:
        """Squared norms of sparse labelled points, (l,)."""
        rows = self.X[self.labeled].astype(np.float64)
        squares = np.asarray(rows.multiply(rows).sum(axis=1)).ravel()
        self.refuse_not_finite(squares, self.labeled)
        return squares

    @property
    def scaled_gamma(self) -> float:
        """Kernel coefficient in the units of the scaled points; sparse points are not scaled."""
        return self.gamma if self.sparse else self.gamma / self.centered.scale**2

    def bias(self, precision: str) -> npt.NDArray[Any]:
        """Return what is added to every score of a column, (l,), in this precision."""
        squares = self.sparse_squares if self.sparse else self.centered.squares
        bias: npt.NDArray[Any] = (self.offset - self.scaled_gamma * squares).astype(precision)
        return bias

    def points(self, precision: str) -> npt.NDArray[Any]:
        """Return the centred, scaled labelled points, (l, d), in this precision."""
        if precision not in self._points:
            points = np.empty((self.n_labeled, self.n_features), dtype=precision)
            for part in self._parts():
                points[part] = self._centered(part, self.centered.center, self.centered.scale)
            self._points[precision] = points
        return self._points[precision]

    @cached_property
    def largest_norm(self) -> float:
        """Upper bound of the labelled norms, in the units of the scaled points."""
        if self.sparse:
            return float(norm_above(self.sparse_squares, self.n_features).max())
        return self.centered.largest_norm

    @cached_property
    def most_terms(self) -> int:
        """Entries of the longest sparse labelled row."""
        return int(np.diff(self.X.indptr)[self.labeled].max())

    def row_bound(self, row_norm: Floats, n_terms: int | Floats, precision: str) -> Floats:
        """Bound the error of the scores of rows of these norms, offsets included; (rows,)."""
        largest = self.largest_norm
        bound = score_bound(
            self.scaled_gamma, n_terms, self.n_features, row_norm, largest, precision
        )
        offset = float(np.abs(self.offset).max())
        bound += 4.0 * UNIT_ROUNDOFF[precision] * offset
        return bound + self.recheck_bound(self.scaled_gamma, row_norm + largest)

    def recheck_bound(self, gamma: float, farthest: Floats) -> Floats:
        """Return twice what the recheck routine's log-weights may be off by; (rows,).

        ``farthest`` (rows,) bounds the distances of a row, in units that go with ``gamma``.
        """
        slack = gamma * farthest**2 * direct_error(self.n_features)
        slack += float(np.abs(self.offset).max()) * UNIT_ROUNDOFF["float64"] + self.offset_error
        return 2.0 * slack

    def refuse_too_far(self, row_norm: Floats, rows: Integers) -> None:
        """Refuse rows whose squared distances, or gamma times them, leave float64."""
        with np.errstate(over="ignore"):
            scale = 1.0 if self.sparse else self.centered.scale
            squared = ((row_norm + self.largest_norm) / scale) ** 2
            wrong = ~(np.isfinite(squared) & np.isfinite(squared * self.gamma))
        if wrong.any():
            raise InputError(
                f"row {rows[wrong][0]} of X is so far from the labelled points that squared "
                f"distances, or gamma = {self.gamma:.3g} times them, overflow float64; rescale X "
                "or lower gamma."
            )
