"""New points: the mean of the training points' distributions, weighted by the kernel."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from gssl_poison._arrays import is_sparse
from gssl_poison.estimators.source import read_weights
from gssl_poison.exceptions import InputError

Floats = npt.NDArray[np.float64]

# New points and training points whose weights are there at a time: 16 MiB.
_QUERIES, _POINTS = 512, 4096


def distributions_of(estimator: Any, X: Any) -> Floats:
    """Return the distribution over the classes at new points, (q, c); rows sum to 1.

    Parameters
    ----------
    estimator : LabelPropagation or LabelSpreading
        Fitted.
    X : (q, d) array-like or scipy sparse
        New points, or their (q, n) weights to the training points for ``kernel="precomputed"``.

    Returns
    -------
    (q, c) float64
        Rows of 0, and one warning, for points that listen to none with a distribution.
    """
    from sklearn.utils.validation import check_is_fitted, validate_data

    check_is_fitted(estimator)
    formats = ["csc", "csr", "coo", "dok", "bsr", "lil", "dia"]
    X = validate_data(estimator, X, accept_sparse=formats, reset=False)
    X = X.tocsr() if is_sparse(X) else X
    kernel, F = estimator.kernel, estimator.label_distributions_
    n_points = F.shape[0]
    if callable(kernel):
        weights = read_weights(
            kernel(estimator.X_, X), (n_points, X.shape[0]), "the kernel's result"
        )
        scores = np.asarray(weights.T @ F)
    elif kernel == "precomputed":
        scores = np.asarray(read_weights(X, (X.shape[0], n_points), "X") @ F)
    elif kernel == "knn":
        found = estimator._neighbors.kneighbors(X, return_distance=False)
        scores = np.zeros((found.shape[0], F.shape[1]))
        for neighbor in found.T:
            scores += F[neighbor]
    else:
        scores = gaussian_means(X, estimator.X_, float(estimator.gamma), F)
    sums = scores.sum(axis=1, keepdims=True)
    unreached = int((sums == 0.0).sum())
    if unreached:
        warnings.warn(
            f"{unreached:,} of {sums.size:,} new points have no weight to a point that a label "
            "reaches; their distributions are 0 and the first class stands for no decision.",
            UserWarning,
            stacklevel=3,
        )
    scores /= np.where(sums == 0.0, 1.0, sums)
    return scores


def gaussian_means(queries: Any, X: Any, gamma: float, F: Floats) -> Floats:
    """Return ``sum_j w_qj F_j`` up to a factor a row, ``w_qj = exp(-gamma |q - x_j|^2)``.

    Parameters
    ----------
    queries : (q, d) ndarray or csr
    X : (n, d) ndarray or scipy sparse
    gamma : float
    F : (n, c) float64
        Rows of 0 have no say.

    Returns
    -------
    (q, c) float64
        Positive sums in every row: the largest weight counts as 1, however small it is.

    Raises
    ------
    InputError
        Products of a query with the points leave float64.

    Notes
    -----
    ``|q|^2`` is the same for all points and is never taken, so that a query far away does not lose
    the differences between them: logarithms are ``gamma (2 q.x - |x|^2)`` with the mean of X as
    the origin. ``2 q n d`` operations, memory of a block.
    """
    carriers = np.flatnonzero(F.any(axis=1))
    X = X.tocsr() if is_sparse(X) else X
    # Blocks are centred where they are read; sparse points stay where they are, to stay sparse.
    center = np.zeros(X.shape[1]) if is_sparse(X) else X[carriers].mean(axis=0, dtype=np.float64)
    scores = np.zeros((queries.shape[0], F.shape[1]))
    top = np.full((queries.shape[0], 1), -np.inf)
    for first in range(0, carriers.size, _POINTS):
        part = carriers[first : first + _POINTS]
        points = _centred(X[part], center)
        squares = _squares(points)
        for start in range(0, queries.shape[0], _QUERIES):
            rows = slice(start, start + _QUERIES)
            with np.errstate(over="ignore", invalid="ignore"):  # said in words below
                logs = _products(_centred(queries[rows], center), points)
                logs *= 2.0
                logs -= squares
                logs *= gamma
            if not np.isfinite(logs).all():
                raise InputError(
                    "a point of X is so far away that its products with the training points "
                    "overflow float64; rescale X."
                )
            higher = np.maximum(top[rows], logs.max(axis=1, keepdims=True))
            logs -= higher
            np.exp(logs, out=logs)
            scores[rows] *= np.exp(top[rows] - higher)
            scores[rows] += logs @ F[part]
            top[rows] = higher
    return scores


def _centred(points: Any, center: Floats) -> Any:
    """Return a block of points in float64, moved where that keeps them dense."""
    if is_sparse(points):
        return points.astype(np.float64) if not center.any() else points.toarray() - center
    return points - center


def _squares(points: Any) -> Floats:
    """Return squared norms."""
    if is_sparse(points):
        return np.asarray(points.multiply(points).sum(axis=1)).ravel()
    squares: Floats = np.einsum("ij,ij->i", points, points)
    return squares


def _products(a: Any, b: Any) -> Floats:
    """Return all dot products of two blocks of rows, a new array."""
    product = (b @ a.T).T if is_sparse(b) and not is_sparse(a) else a @ b.T
    dense: Floats = product.toarray() if is_sparse(product) else np.ascontiguousarray(product)
    return dense


def tags_of(tags: Any, kernel: Any) -> Any:
    """Return scikit-learn's tags of an estimator with this kernel."""
    tags.input_tags.sparse = True
    weights = isinstance(kernel, str) and kernel == "precomputed"
    tags.input_tags.pairwise = weights
    tags.input_tags.positive_only = weights
    return tags
