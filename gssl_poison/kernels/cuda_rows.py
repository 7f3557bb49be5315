"""Rows of log-weights of a Gaussian kernel on a GPU: what `log_rows.LogRows` is to the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from gssl_poison._arrays import Features, refuse_not_finite
from gssl_poison.kernels.cuda import Card
from gssl_poison.kernels.distances import CANCELLED, DIRECT_BEYOND, center_of

Integers = npt.NDArray[np.int64]

_THREADS = 128


class CardRows:
    """``-gamma |x_i - x_j|^2`` of any rows against columns that are on a card, centred.

    Parameters
    ----------
    card : Card
    X : (n, d) features, dense, of the host
    gamma : float
    columns : (c,) int64
        Row numbers of X.
    resident : (n, d) array of the card, optional
        The same points, where they are there already.

    Notes
    -----
    ``2 r c d`` operations in float64 a block of ``r`` rows, ``8 c d`` bytes on the card once and
    ``8 r (c + d)`` a block. As accurate as `LogRows`, by the same rules.
    """

    def __init__(
        self,
        card: Card,
        X: Features,
        gamma: float,
        columns: Integers,
        resident: Any = None,
    ) -> None:
        self.card, self._X, self._gamma, self._resident = card, X, gamma, resident
        self._center = card.put(center_of(X, columns))
        self._points, self._squares, self._farthest = self._place(columns)

    def __call__(self, rows: Integers) -> Any:
        """Return a block of log-weights on the card, (r, c) float64; 0 for a point and itself."""
        points, squares, farthest = self._place(rows)
        if not np.isfinite(2.0 * self._gamma * (farthest + self._farthest)):
            refuse_not_finite(self._X, rows)
        n_columns = self._points.shape[0]
        block = self.card.empty((rows.size, n_columns), "float64")
        self.card.multiply(points, self._points, block)
        self.card.launch(
            "log_weights",
            (-(-n_columns // _THREADS), rows.size),
            _THREADS,
            (
                points,
                self._points,
                squares,
                self._squares,
                np.float64(self._gamma),
                np.float64(DIRECT_BEYOND / self._gamma),
                np.float64(CANCELLED),
                np.int32(self._X.shape[1]),
                np.int32(n_columns),
                block,
            ),
        )
        return block

    def _place(self, rows: Integers) -> tuple[Any, Any, float]:
        """Return centred points and their squared norms on the card, and the largest of these."""
        if self._resident is None:
            points = self.card.put(self._X[rows]) - self._center
        else:
            points = self._resident[self.card.put(rows)] - self._center
        squares = (points * points).sum(axis=1)
        known = self.card.get(squares)
        if not np.isfinite(known).all():
            refuse_not_finite(self._X, rows[~np.isfinite(known)])
        return points, squares, float(known.max(initial=0.0))
