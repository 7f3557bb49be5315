"""Rows of log-weights of a Gaussian kernel against a fixed set of columns, block by block."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from gssl_poison._arrays import Features, is_sparse, refuse_not_finite
from gssl_poison.kernels.distances import CANCELLED, DIRECT_BEYOND, center_of

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class LogRows:
    """``-gamma |x_i - x_j|^2`` of any rows against columns that are centred once.

    Parameters
    ----------
    X : (n, d) features
    gamma : float
    columns : (c,) int64
        Row numbers of X.

    Notes
    -----
    ``2 r c d`` operations a block of ``r`` rows, memory ``c d`` once and ``r c`` a block. A
    log-weight is good to about ``1e-15 gamma (|x|^2 + |y|^2)`` around the median point; dense rows
    for which that is above 1e-9 are compared feature by feature, and are good to a few roundings.
    """

    def __init__(self, X: Features, gamma: float, columns: Integers) -> None:
        self._X, self._gamma, self._columns = X, gamma, columns
        if is_sparse(X):
            self._points = X[columns].astype(np.float64)
            self._center = None
            self._squares = _sparse_squares(self._points)
        else:
            # One copy, centred in place: norms are small then, and so is what is cancelled.
            points = X[columns].astype(np.float64)
            self._center = center_of(X, columns)
            points -= self._center
            self._points = points
            self._squares = np.einsum("ij,ij->i", points, points)
        self._refuse(self._squares, columns)

    def __call__(self, rows: Integers) -> Floats:
        """Return a block of log-weights, (r, c) float64; a point against itself has 0."""
        if self._center is None:
            points = self._X[rows].astype(np.float64)
            squares = _sparse_squares(points)
            products = (points @ self._points.T).toarray()
        else:
            points = self._X[rows].astype(np.float64)
            points -= self._center
            squares = np.einsum("ij,ij->i", points, points)
            products = points @ self._points.T
        self._refuse(squares, rows)
        block = np.ascontiguousarray(products)
        if not _to_log_weights(block, squares, self._squares, self._gamma):
            refuse_not_finite(self._X, rows)
        if self._center is not None:
            reach = DIRECT_BEYOND / self._gamma
            if squares.max() + self._squares.max() > reach:
                _compare(block, squares, self._squares, self._gamma, reach, points, self._points)
        return block

    def _refuse(self, squares: Floats, rows: Integers) -> None:
        """Refuse rows whose squared norms are not finite."""
        if not np.isfinite(squares).all():
            refuse_not_finite(self._X, rows[~np.isfinite(squares)])


def _sparse_squares(points: Any) -> Floats:
    """Return the squared norms of CSR rows."""
    squares: Floats = np.asarray(points.multiply(points).sum(axis=1)).ravel()
    return squares


@njit(cache=True, nogil=True)
def _to_log_weights(block: Any, a: Any, b: Any, gamma: float) -> bool:
    """Turn dot products into log-weights in place; tell whether all of them are finite."""
    finite = True
    for i in range(block.shape[0]):
        total = 0.0
        for j in range(block.shape[1]):
            norms = a[i] + b[j]
            distance = norms - 2.0 * block[i, j]
            distance = distance if distance > CANCELLED * norms else 0.0
            block[i, j] = -gamma * distance
            total += block[i, j]
        finite &= np.isfinite(total)
    return finite


@njit(cache=True, nogil=True)
def _compare(
    block: Any, a: Any, b: Any, gamma: float, reach: float, rows: Any, columns: Any
) -> None:
    """Sum direct differences where the squared norms add up to more than ``reach``."""
    for i in range(block.shape[0]):
        for j in range(block.shape[1]):
            if a[i] + b[j] > reach:
                distance = 0.0
                for k in range(rows.shape[1]):
                    difference = rows[i, k] - columns[j, k]
                    distance += difference * difference
                block[i, j] = -gamma * distance
