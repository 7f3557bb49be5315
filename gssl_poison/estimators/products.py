"""What the loops multiply by: a kernel's weights, or the normalised similarity made of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from gssl_poison._arrays import is_sparse
from gssl_poison.exceptions import InputError

Floats = npt.NDArray[np.float64]

# Rounding to float32, relatively, and the range in which that is all it does.
_ERROR32 = 2.0**-24
_LEAST32, _MOST32 = 2.0**-126, 3.4e38
# Rows of a float32 matrix that are widened at a time, so that sums run in float64.
_ROWS = 128
# Degrees beyond these are brought near 1 first.
_LEAST_SUM, _MOST_SUM = 1e-200, 1e200


@dataclass(frozen=True)
class Product:
    """A square matrix of non-negative numbers that columns are multiplied by.

    Attributes
    ----------
    matmul : callable
        Takes (n, c) float64 and returns the product with it.
    own : (n,) float64
        The diagonal of the matrix.
    error : float
        Relative error of an entry beyond float64's rounding, in log units.
    lost : float
        Bound of what the entries that are left out add up to in a row.
    """

    matmul: Callable[[Floats], Floats] = field(repr=False)
    own: Floats = field(repr=False)
    error: float = 0.0
    lost: float = 0.0


def weights_of(W: Any, precision: str) -> Product | None:
    """Return the product with a matrix of weights, or None where float32 has not the range.

    Parameters
    ----------
    W : (n, n) ndarray or csr_array of float64
        Weights; of each row only the ratios matter.
    precision : {"double", "single"}
        How a dense matrix is held. A sparse one stays in float64.

    Returns
    -------
    Product or None
    """
    own = np.asarray(W.diagonal())
    sums = _finite_sums(W, 1)
    filled = sums[sums > 0.0]
    if filled.size and not (filled.min() > _LEAST_SUM and filled.max() < _MOST_SUM):
        # Products of such weights with scores would leave the normal numbers.
        scale = 1.0 / np.where(sums > 0.0, np.maximum(sums, 1e-300), 1.0)
        own, W = own * scale, _scaled_rows(W, scale)
    return _held(W, own, precision, error=_ERROR32)


def similarity_of(W: Any, precision: str) -> Product | None:
    """Return the product with ``w_ij / sqrt(c_i c_j)``, zero diagonal, c the sums of the columns.

    Parameters
    ----------
    W, precision
        As for `weights_of`.

    Returns
    -------
    Product or None

    Notes
    -----
    As scikit-learn has it: degrees are those of the columns, which matters where W is directed, and
    a point that nobody listens to is divided by 1.
    """
    W = _without_diagonal(W)
    degree = _finite_sums(W, 0)
    held = _held(W, np.zeros(degree.size), precision, error=_ERROR32)
    return None if held is None else over_degrees(held, degree)


def over_degrees(weights: Product, degree: Floats) -> Product:
    """Return the product with ``w_ij / sqrt(d_i d_j)``, in which a degree of 0 counts as 1.

    Notes
    -----
    The quotients are never formed. A small weight times a small score may underflow before it is
    divided by the root of a small degree, so columns go through the product as large as they can.
    """
    root = np.sqrt(np.where(degree > 0.0, degree, 1.0))[:, None]
    mantissa, exponent = np.frexp(root)
    # No weight is larger than its degree, and sums have at most n terms.
    highest = 1000 - int(degree.size).bit_length() - max(0, int(np.frexp(degree.max())[1]))

    def matmul(V: Floats) -> Floats:
        sent = V / root
        lift = highest - np.frexp(sent.max(axis=0))[1]
        lifted = weights.matmul(np.ldexp(sent, lift))
        lifted /= mantissa
        result: Floats = np.ldexp(lifted, -exponent - lift)
        return result

    return Product(matmul, weights.own, weights.error)


def _held(W: Any, own: Floats, precision: str, error: float) -> Product | None:
    """Return the product with a matrix, held in the type that was asked for."""
    if is_sparse(W) or precision == "double":
        return Product(lambda V: np.asarray(W @ V), own)
    for start in range(0, W.shape[0], _ROWS):
        block = W[start : start + _ROWS]
        if not (block.max() < _MOST32 and block.min(initial=1.0, where=block > 0.0) >= _LEAST32):
            return None
    short = W.astype(np.float32)
    return Product(lambda V: _widened(short, V), own, error)


def _widened(short: npt.NDArray[np.float32], V: Floats) -> Floats:
    """Multiply by a float32 matrix in float64, a few rows at a time."""
    result = np.empty((short.shape[0], V.shape[1]))
    for start in range(0, short.shape[0], _ROWS):
        stop = start + _ROWS
        np.matmul(short[start:stop].astype(np.float64), V, out=result[start:stop])
    return result


def _without_diagonal(W: Any) -> Any:
    """Return the weights without self-loops: the same matrix where there are none."""
    if not W.diagonal().any():
        return W
    if is_sparse(W):
        from scipy.sparse import coo_array

        edges = coo_array(W)
        between = edges.row != edges.col
        rows, columns, data = edges.row[between], edges.col[between], edges.data[between]
        return coo_array((data, (rows, columns)), shape=W.shape).tocsr()
    bare = W.copy()
    np.fill_diagonal(bare, 0.0)
    return bare


def _scaled_rows(W: Any, scale: Floats) -> Any:
    """Return the weights times a factor a row."""
    if is_sparse(W):
        scaled = W.copy()
        scaled.data *= np.repeat(scale, np.diff(W.indptr))
        return scaled
    return W * scale[:, None]


def _finite_sums(W: Any, axis: int) -> Floats:
    """Return the sums of rows or columns, refusing weights whose sums leave float64."""
    with np.errstate(over="ignore"):
        sums: Floats = np.asarray(W.sum(axis=axis)).ravel()
    if not np.isfinite(sums).all():
        raise InputError(
            f"the weights of point {int(np.flatnonzero(~np.isfinite(sums))[0])} add up to more "
            "than float64 holds; divide all weights by their largest, which changes nothing else."
        )
    return sums
