"""Graphs over points. `RBFGraph` is complete, weighted by a Gaussian, and never stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from gssl_poison._arrays import Features, as_features, is_sparse
from gssl_poison.bandwidth import Bandwidth, choose_gamma, squared_distances
from gssl_poison.exceptions import InputError
from gssl_poison.labels import encode_classes

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, init=False)
class RBFGraph:
    """Complete graph with weights ``w_ij = exp(-gamma |x_i - x_j|^2)``, never stored.

    Parameters
    ----------
    X : (n, d) array-like or scipy sparse
        The points: numpy, pandas, scipy sparse, torch or cupy. numpy arrays of uint8, float32 or
        float64 and CSR of float32 or float64 are used where they lie.
    gamma : float or {"scale", "median", "auto", "loo"}, default "scale"
        Kernel coefficient, in inverse squared units of X, or the rule that finds it
        (`gssl_poison.choose_gamma`).
    labeled : (l,) int64, optional
        Row numbers of the labelled points; the rules "auto" and "loo" need them.
    y : (l,) array-like, optional
        Classes of the labelled points; "loo" needs them.

    Attributes
    ----------
    X : (n, d) ndarray or scipy.sparse.csr_array
        The points.
    bandwidth : Bandwidth
        The kernel coefficient and how it was found.

    Raises
    ------
    InputError, InputTypeError
        X or gamma is not usable; the message says why.

    Examples
    --------
    >>> import numpy as np
    >>> graph = RBFGraph(np.array([[0.0], [1.0], [3.0]]), gamma=1.0)
    >>> graph.weights(np.array([0]), np.array([0, 1])).round(4)
    array([[1.    , 0.3679]])
    """

    X: Features = field(repr=False)
    bandwidth: Bandwidth

    def __init__(
        self,
        X: Any,
        gamma: float | str | Bandwidth = "scale",
        *,
        labeled: npt.ArrayLike | None = None,
        y: npt.ArrayLike | None = None,
    ) -> None:
        features = as_features(X)
        if not isinstance(gamma, Bandwidth):
            rows = None if labeled is None else check_rows(labeled, features.shape[0], "labeled")
            others = None if rows is None else other_rows(rows, features.shape[0])
            codes = None if y is None else encode_classes(np.asarray(y, dtype=object))[1]
            gamma = choose_gamma(features, gamma, labeled=rows, unlabeled=others, codes=codes)
        object.__setattr__(self, "X", features)
        object.__setattr__(self, "bandwidth", gamma)

    @property
    def gamma(self) -> float:
        """The kernel coefficient."""
        return self.bandwidth.gamma

    @property
    def n_points(self) -> int:
        """Number of points."""
        return int(self.X.shape[0])

    @property
    def n_features(self) -> int:
        """Number of features."""
        return int(self.X.shape[1])

    @property
    def is_sparse(self) -> bool:
        """Whether the points are stored as CSR."""
        return is_sparse(self.X)

    def log_weights(self, rows: Integers, columns: Integers) -> npt.NDArray[np.float64]:
        """Return a block of log W, (rows, columns) float64, 0 on self-loops.

        Notes
        -----
        For reading and small checks: it costs ``2 rows columns d`` operations and that block's
        memory, and is good to about ``1e-14 gamma |x|^2``. Counts never come from it.
        """
        scaled: npt.NDArray[np.float64] = -self.gamma * squared_distances(self.X, rows, columns)
        return scaled

    def weights(self, rows: Integers, columns: Integers) -> npt.NDArray[np.float64]:
        """Return a block of W, (rows, columns) float64; the exponential of `log_weights`."""
        weights: npt.NDArray[np.float64] = np.exp(self.log_weights(rows, columns))
        return weights


def check_rows(rows: npt.ArrayLike, n_points: int, name: str) -> Integers:
    """Return row numbers as int64 in the order given, refusing repeats and strangers."""
    given = np.asarray(rows)
    if given.ndim != 1 or given.dtype.kind not in "iu" or given.size == 0:
        raise InputError(
            f"{name} has shape {given.shape} and type {given.dtype}; pass row numbers (r,), e.g. "
            "numpy.flatnonzero(mask)."
        )
    if given.min() < 0 or given.max() >= n_points:
        raise InputError(
            f"{name} runs from {given.min()} to {given.max()}; row numbers lie in "
            f"0..{n_points - 1}."
        )
    if np.unique(given).size != given.size:
        raise InputError(f"{name} names a row twice; give every row once.")
    return given.astype(np.int64)


def other_rows(rows: Integers, n_points: int) -> Integers:
    """Return the row numbers that are not in ``rows``, ascending."""
    others = np.ones(n_points, dtype=bool)
    others[rows] = False
    return np.flatnonzero(others)
