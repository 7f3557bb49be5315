"""Which route to the distances of all pairs is the cheapest that is good enough, by its bound."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from gssl_poison.exceptions import InputError
from gssl_poison.kernels.bounds import UNIT_ROUNDOFF, direct_error
from gssl_poison.kernels.codes import CodePairs, all_near
from gssl_poison.kernels.columns import Columns
from gssl_poison.kernels.lattice import LatticeColumns
from gssl_poison.kernels.pairs import CHUNK, Pairs

Floats = npt.NDArray[np.float64]

# Log-weights may be off by this much before a dearer route is taken.
_TOLERANCE = {"single": 1e-3, "double": 1e-8}
# By this much where distances only tell which pairs are looked at again.
_TOLERANCE_OF_SEARCH = 1.0
# Codes that are further off their values than this get the rest of the product too.
_EXACT = 1e-6
# How far a value divided by 255 in float64 may be from its code, in parts of itself, the rounding
# of the step included: better than any product in float64.
_NEAR = 2.0**-51
# What the unit, its product with a distance, and the next difference round.
_ROUNDING = 2.0**-50


def choose_pairs(columns: Columns, precision: str, *, search: bool = False) -> Pairs:
    """Choose the cheapest route whose bound is good enough for a precision.

    Parameters
    ----------
    columns : Columns
        All points.
    precision : {"single", "double"}
        What the log-weights are good for.
    search : bool
        Whether they only tell which pairs are looked at again, or about how large they are.

    Returns
    -------
    Pairs

    Raises
    ------
    InputError
        A feature is not finite, or distances times gamma leave float64.

    Notes
    -----
    Routes and their bounds, g gamma, in log units of a pair, R the largest norm about the mean:

    - "int8": ``2 off g (2 R_0)^2``, R_0 the largest norm about the origin; 0 for whole numbers;
    - "int8+": ``2 g step^2 h sqrt(2 d) max|c|`` and ``g (2 off R_0)^2``, h the unit of residues;
    - "float32", "float64": ``gamma_k g (2 R)^2`` with k = 11 + the terms of a sum of products;
    - "sparse": the same, R about the origin and the terms those of the longest row;
    - "direct": ``(d / 32 + 16) 2^-53`` of the log-weight itself, a hundred times slower.
    """
    tolerance = _TOLERANCE_OF_SEARCH if search else _TOLERANCE[precision]
    if columns.sparse:
        return _choose_sparse(columns, tolerance)
    lattice = columns.once(lambda: columns.lattice)
    if lattice is not None:
        pairs = _choose_codes(columns, lattice, precision, search=search)
        if pairs is not None:
            return pairs
    norm = columns.centered.largest_norm
    _refuse_too_far(columns, norm, columns.centered.squares)
    farthest = columns.scaled_gamma * (2.0 * norm) ** 2 * (1.0 + 1e-9)
    fast = ("float32",) if precision == "single" or search else ()
    for route in (*fast, "float64"):
        step = min(CHUNK[route], columns.n_features)
        error = distance_error(step - (-columns.n_features // step), route) * farthest
        if error <= tolerance:
            return Pairs(columns, route, columns.scaled_gamma, error, _ROUNDING, farthest)
    return _direct(columns, farthest)


def distance_error(n_terms: int, precision: str) -> float:
    """Bound the error of a squared distance from a product, in parts of ``(|x| + |y|)^2``.

    Notes
    -----
    ``|x|^2``, ``|y|^2`` and ``2 x.y`` are each within ``gamma_k``, k = terms + 10, of terms whose
    sizes sum to ``(|x| + |y|)^2``: the sum of the products, the rounding of both factors, of the
    biases, and two of the final sums. Underflow adds less than the last digit of that.
    """
    k = (n_terms + 11.0) * UNIT_ROUNDOFF[precision]
    return k / (1.0 - k) if k < 0.5 else math.inf


def _refuse_too_far(columns: Columns, norm: float, squares: Floats) -> None:
    """Refuse points between which squared distances, or gamma times them, leave float64."""
    columns.refuse_too_far(np.array([norm]), np.array([squares.argmax()]))


def _direct(columns: Columns, farthest: float) -> Pairs:
    relative = direct_error(columns.n_features) + _ROUNDING
    return Pairs(columns, "direct", columns.gamma, 0.0, relative, farthest)


def _choose_sparse(columns: Columns, tolerance: float) -> Pairs:
    norm = columns.largest_norm
    _refuse_too_far(columns, norm, columns.sparse_squares)
    farthest = columns.gamma * (2.0 * norm) ** 2 * (1.0 + 1e-9)
    error = distance_error(columns.most_terms, "float64") * farthest
    if error <= tolerance:
        return Pairs(columns, "sparse", columns.gamma, error, _ROUNDING, farthest)
    return _direct(columns, farthest)


def _choose_codes(
    columns: Columns, lattice: LatticeColumns, precision: str, *, search: bool
) -> Pairs | None:
    """Return a route in whole numbers, or None where it is not good enough."""
    unit = lattice.unit(columns.gamma)
    farthest = columns.gamma * (2.0 * lattice.largest_norm) ** 2
    if not math.isfinite(4.0 * farthest):
        raise InputError(
            f"squared distances times gamma = {columns.gamma:.3g} overflow float64; lower gamma."
        )
    off = lattice.off
    if off and all_near(columns, lattice, _NEAR):
        off = _NEAR
    codes = CodePairs(columns, lattice, off)
    # A value off its code by `off` of itself moves |x - y|^2 by 2 off (|x| + |y|)^2 (1 + off).
    error = 2.01 * (off + 2.0**-52) * farthest if off else 0.0
    good = _TOLERANCE_OF_SEARCH if search else _EXACT if precision == "single" else 0.0
    if off <= _NEAR or error <= good:
        return Pairs(columns, "int8", unit, error, _ROUNDING, farthest, codes)
    if precision == "double" or search:
        return None
    # Residues e are known within half their unit h, so 2 (c - c').(e - e') within 2 h |c - c'|_1,
    # at most 2 h sqrt(2 d) max|c| for codes, which are not negative; |e - e'|^2 is left out.
    largest = lattice.largest_norm / lattice.step
    lacking = 2.0 * codes.residue * math.sqrt(2.0 * columns.n_features) * largest
    lacking = lacking * (1.0 + 2.0**-18) + (2.0 * off * largest) ** 2 * 1.001
    error = unit * lacking + farthest * 2.0**-48
    if error > _TOLERANCE["single"]:
        return None
    return Pairs(columns, "int8+", unit, error, _ROUNDING, farthest, codes)
