"""Proven rounding bounds of the fast path, in units of the logarithm of a weight.

The fast path scores a labelled point ``j`` for a row ``i`` by ``t_ij = 2 g x_i.y_j - g |y_j|^2``,
which is the log-weight up to a constant of the row. Everything below bounds ``|t_ij computed -
t_ij|`` by first-order analysis with the standard model ``fl(a op b) = (a op b)(1 + e)``,
``|e| <= u``, and ``gamma_k = k u / (1 - k u)`` (Higham 2002, section 3.1). A sum of ``d`` products
is covered in any order, with or without fused multiply-add, so the bound holds for every BLAS,
block size and thread count. ``docs/numerics.md`` derives each term.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

UNIT_ROUNDOFF = {"float32": 2.0**-24, "float64": 2.0**-53}

# exp32 of kernels/cpu.py is within 2**-20 of the exponential on [-87, 0] (tested against
# float64); the difference handed to it is rounded to float32, at most 87 * 2**-24 off; the float64
# sums of at most 2**31 terms, here and in the recheck routine, add less than 2**-20.
EXPONENTIAL_BOUND = 2.0**-20 + 87 * 2.0**-24 + 2.0**-20

# The recheck routine adds squared differences up in this many running sums.
RUNNING_SUMS = 32

# A row whose scores may be off by more than this, in log units, is not worth having: its shares are
# taken from the recheck routine instead, and a block of such rows runs in float64.
LOOSEST = 1.0 / 8.0

# A weight below exp(-44) of the largest of its row is left out of the recheck's sum, whose error
# bound counts it: exp(-44) = 8e-20, so that a thousand of them are less than float64 can see.
NEGLIGIBLE = 44.0


# Steps of 8-bit numbers that are tried, and how far, in parts of itself, a value may be from its
# code: whole numbers as they are, or divided by 255 and rounded to float32.
LATTICES = ((1.0, 0.0), (1.0 / 255.0, UNIT_ROUNDOFF["float32"] * (1.0 + 2.0**-20)))
# Twice a product of so many codes less a square fits 32 bits.
MOST_CODES = 2**14


def direct_error(n_features: int) -> float:
    """Bound the relative error of gamma times a squared distance in the recheck routine."""
    return (n_features / RUNNING_SUMS + 16.0) * UNIT_ROUNDOFF["float64"]


def score_bound(
    gamma: float,
    n_terms: int | npt.NDArray[np.float64],
    n_features: int,
    row_norm: npt.NDArray[np.float64],
    largest_norm: float,
    precision: str,
) -> npt.NDArray[np.float64]:
    """Bound the error of every score of a row.

    Parameters
    ----------
    gamma : float
        Kernel coefficient, in the units of the norms.
    n_terms : int or (rows,) float64
        Products summed one after another in a dot product: the number of features, of a chunk of
        them plus the number of chunks, or of stored entries of a sparse row.
    n_features : int
        Terms of ``|y_j|^2``.
    row_norm : (rows,) float64
        Upper bounds of ``|x_i|``, after centring.
    largest_norm : float
        Upper bound of ``|y_j|`` over the labelled points, after centring.
    precision : {"float32", "float64"}
        Type of the product.

    Returns
    -------
    (rows,) float64
        ``E_i`` with ``|t_ij computed - t_ij| <= E_i`` for every ``j``; inf where the analysis
        does not hold.

    Notes
    -----
    With ``k = n_terms + 8`` (the product, the rounding of both operands to ``precision``, of the
    factor ``2 g``, of the product by it and of the final sum):
    ``E_i = gamma_k 2 g |x_i| |y| + (4 u + (d + 8) 2^-53) g |y|^2``, plus what underflow can add;
    ``|y_j|^2`` is summed in float64 whatever the precision.
    """
    u = UNIT_ROUNDOFF[precision]
    k = np.asarray(n_terms, dtype=np.float64) + 8.0
    growth = np.where(k * u < 0.5, k * u / np.maximum(1.0 - k * u, 0.5), np.inf)
    smallest = 2.0**-124 if precision == "float32" else 2.0**-1020
    # Data are scaled so that the largest labelled norm is near 1: underflow costs at most
    # `smallest` a product.
    underflow = 2.0 * gamma * k * smallest * max(1.0, largest_norm) ** 2
    bound: npt.NDArray[np.float64] = (
        2.0 * gamma * row_norm * largest_norm * growth
        + (4.0 * u + (n_features + 8.0) * UNIT_ROUNDOFF["float64"]) * gamma * largest_norm**2
        + underflow
    )
    return bound


def decision_band(
    bound: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the thresholds on the computed rest between which a row must be rechecked.

    Parameters
    ----------
    bound : (rows,) float64
        Error ``E`` of the scores of each row.

    Returns
    -------
    low, high : (rows,) float64
        The *rest* of a row is the sum of all its weights but the largest, over the largest. Below
        ``low`` the first-ranked point certainly holds more than half, above ``high`` no point does.

    Notes
    -----
    Every computed ratio is within a factor ``exp(2 E + h)`` of the true one, ``h`` being
    `EXPONENTIAL_BOUND`, which gives ``low = exp(-2 E - h)``. Were another point than the computed
    first the true one and held more than half, its computed ratio is at most 1, its true ratio at
    most ``z = exp(2 E)``, and the true rest at most ``2 z - 1 <= z^2``: hence
    ``high = exp(6 E + h)``. E holds twice what the recheck routine's own log-weights may be off by,
    so that beyond the band that routine comes to the same verdict.
    """
    with np.errstate(over="ignore"):
        low = np.exp(-2.0 * bound - EXPONENTIAL_BOUND)
        high = np.exp(6.0 * bound + EXPONENTIAL_BOUND)
    return low, high


def lattice_bound(
    gamma: float, off: float, norm: npt.NDArray[np.float64], largest_norm: float
) -> npt.NDArray[np.float64]:
    """Bound the error of the scores of 8-bit rows of these norms, in log units; (rows,).

    Notes
    -----
    A value off its lattice point by ``off`` of itself moves ``|x - y|^2`` by at most
    ``2 off (|x| + |y|)^2 (1 + off)``. The integer difference of two scores is exact; turning it
    into float32, scaling it and the constant lose three roundings of at most 87.
    """
    bound: npt.NDArray[np.float64] = 2.0 * gamma * off * (norm + largest_norm) ** 2 * 1.001
    return bound + 87.0 * 4.0 * UNIT_ROUNDOFF["float32"]


def slice_bound(
    n_features: int,
    row_norm: npt.NDArray[np.float64],
    row_scale: npt.NDArray[np.float64],
    largest_norm: float,
    largest_scale: float,
) -> npt.NDArray[np.float64]:
    """Bound the error of products of rows by their slices, besides the last rounding; (rows,).

    Parameters
    ----------
    n_features : int
    row_norm, row_scale : (rows,) float64
        Norms, and scales as `slice_rows` gives them.
    largest_norm, largest_scale : float
        Of the labelled points.

    Notes
    -----
    With ``x = s (a + b / 254 + c / 254^2 + r)``, ``|a|, |b|, |c| <= 127`` and ``|r| <= 1 / (2
    254^2)``: what is left off both sides moves a product by at most ``r (s_y |x|_1 + s_x |y|_1)``,
    and the products of ``b`` by ``c``, both ways, and of ``c`` by ``c``, which are not taken, are
    at most ``d s_x s_y (127^2 2 / 254^3 + 127^2 / 254^4)``. All other products and their sums are
    whole numbers below 2^31.
    """
    off = 1.001 / (2.0 * 254.0**2)  # the residual of a value is itself a rounding away
    root = math.sqrt(n_features)
    left = off * root * (largest_scale * row_norm + row_scale * (largest_norm + largest_scale))
    skipped = 127.0**2 * (2.0 / 254.0**3 + 1.0 / 254.0**4)
    bound: npt.NDArray[np.float64] = left + n_features * row_scale * largest_scale * skipped
    return bound * (1.0 + 1e-9)
