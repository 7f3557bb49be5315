"""An M that is held in memory, by its rows."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from gssl_poison.exceptions import NumericalError

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


def too_small(point: int) -> NumericalError:
    """Say that the scores of a point are below what float64 can hold."""
    return NumericalError(
        f"the scores of point {point} are not 0 but too small for float64, so their ratios are not "
        "known; use a smaller gamma."
    )


@dataclass(frozen=True)
class ClampedMatrix:
    """M stored by the rows that are neither labelled nor unreached; labelled rows are unit rows.

    Attributes
    ----------
    n_points : int
    labeled : (l,) int64
    states : (s,) int64
        The points of the stored rows.
    values : (s, l) float64
    """

    n_points: int
    labeled: Integers
    states: Integers
    values: Floats
    lift: int = 0

    def apply(self, Y: Floats) -> tuple[Floats, float]:
        """Return ``M Y``."""
        scores = np.zeros((self.n_points, Y.shape[1]))
        scores[self.labeled] = Y
        scores[self.states] = self.values @ Y
        return scores, 0.0

    def adjoint(self, R: Floats) -> Floats:
        """Return ``M.T R``."""
        result: Floats = R[self.labeled] + self.values.T @ R[self.states]
        return result

    def rows(self, rows: Integers) -> tuple[Floats, float]:
        """Return rows of M."""
        place = np.full(self.n_points, -1)
        place[self.states] = np.arange(self.states.size)
        at = place[rows]
        stored = at >= 0
        if stored.all():
            return self.values[at], 0.0
        block = unit_rows(rows, self.labeled, self.n_points)
        block[stored] = self.values[at[stored]]
        return block, 0.0


def unit_rows(rows: Integers, labeled: Integers, n_points: int) -> Floats:
    """Return the clamped rows of M: 1 where a row is the labelled point of the column."""
    place = np.full(n_points, -1)
    place[labeled] = np.arange(labeled.size)
    block = np.zeros((rows.size, labeled.size))
    own = np.flatnonzero(place[rows] >= 0)
    block[own, place[rows[own]]] = 1.0
    return block


@dataclass(frozen=True)
class RowsMatrix:
    """M stored as row-normalised rows and the logarithms of their sums.

    Attributes
    ----------
    values : (n, l) float64
    log_sum : (n,) float64
        -inf for a row of zeros.
    """

    values: Floats = field(repr=False)
    log_sum: Floats = field(repr=False)
    lift: int = 0

    @classmethod
    def of(cls, scores: Floats, log_scale: Floats, unreached: Integers) -> RowsMatrix:
        """Normalise the rows of ``exp(log_scale) scores``, in place."""
        largest = scores.max(axis=1)
        empty = largest == 0.0
        empty[unreached] = False
        if empty.any():
            raise too_small(int(np.argmax(empty)))
        scores /= np.where(largest > 0.0, largest, 1.0)[:, None]
        sums = scores.sum(axis=1)
        scores /= np.where(sums > 0.0, sums, 1.0)[:, None]
        with np.errstate(divide="ignore"):
            log_sum = log_scale + np.log(largest) + np.log(np.where(sums > 0.0, sums, 1.0))
        return cls(scores, log_sum)

    def apply(self, Y: Floats) -> tuple[Floats, Floats]:
        """Return ``M Y`` and the logarithms of its rows' factors."""
        return self.values @ Y, self.log_sum

    def adjoint(self, R: Floats) -> Floats:
        """Return ``M.T R``."""
        result: Floats = self.values.T @ (R * np.exp(self.log_sum)[:, None])
        return result

    def rows(self, rows: Integers) -> tuple[Floats, Floats]:
        """Return rows of M and the logarithms of their factors."""
        return self.values[rows], self.log_sum[rows]
