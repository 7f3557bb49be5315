"""Blocked elimination without subtraction of the states of an absorbing Markov chain.

Grassmann, Taksar and Heyman (1985) eliminate a chain's states by additions, multiplications and
divisions of non-negative numbers alone, so that every entry keeps its relative accuracy however
nearly the chain falls apart. It blocks like an LU factorisation: a block of rows is reduced to its
exits, and the rest is updated by one matrix product.

A row may have any scale, since only ratios within a row matter. Rows are kept near ``2**HIGH`` and
exits near ``2**EXIT``, and every row is scaled up again when its turn comes. What rounding to zero
may have taken from a row is bounded in a column of its own, which the elimination carries along.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from gssl_poison.kernels.blas import add_product
from gssl_poison.kernels.cuda import Card

Floats = npt.NDArray[np.float64]

# log2 of the largest entry of a row, of an exit, and of a solution. An entry is multiplied by
# 2**-EXIT before it meets an exit, so sums stay below 2**(HIGH + 20) for a million states.
HIGH, EXIT, SOLVED = 900, 500, 400

# The smallest positive number: what one rounding to zero can take away is less.
TINY = 2.0**-1074
# Within a block ratios of rows are formed; one that is rounded to zero would have met a whole row.
_RATIO = TINY * 2.0 ** (HIGH + 20)

# States eliminated at a time: enough for the product of the rest to run at BLAS's rate, few enough
# that the work within a block stays small beside it.
BLOCK = 192

# Threads of the kernel that eliminates within a block.
_CORNER_THREADS = 1024

# Columns of the right-hand side before the caller's: weight of leaving for good, and a bound on
# the weight that underflow took from the row.
LEAVE, LOST, EXTRA = 0, 1, 2


def eliminate(A: Any, B: Any, block: int = BLOCK, card: Card | None = None) -> None:
    """Reduce every row to the exits of its state once all states before it are gone, in place.

    Parameters
    ----------
    A : (u, u) float64, C-ordered
        Weights from states to states; the diagonal is ignored. Overwritten by the reduced rows.
    B : (u, 2 + m) float64, C-ordered
        Weight of leaving for good, bound on the weight lost to underflow so far, and ``m``
        right-hand sides, in the scale of the rows of ``A``. All non-negative, a row's sum at most
        about ``2**HIGH``. Overwritten.
    block : int
        States eliminated at a time; on a card at most 512.
    card : Card, optional
        Whose arrays these are; by default the host's.

    Raises
    ------
    FloatingPointError
        A state has no exit that float64 can hold; the error's argument is its number.

    Notes
    -----
    State ``p`` has ``s_p x_p = sum_{j > p} a_pj x_j + b_p`` when its turn comes, where
    ``s_p = sum_{j > p} a_pj + leave_p`` is a sum and never a difference. ``2/3 u^3 + u^2 m``
    operations, all but ``O(block u^2)`` of them in products of what is left.

    References
    ----------
    Grassmann, Taksar and Heyman 1985, Regenerative analysis and steady state distributions for
    Markov chains. O'Cinneide 1993, Entrywise perturbation theory and error analysis for Markov
    chains.
    """
    xp: Any = np if card is None else card.xp
    add = add_product if card is None else card.add_product
    u = A.shape[0]
    for start in range(0, u, block):
        stop = min(start + block, u)
        here, size = slice(start, stop), stop - start
        _rescale(xp, A[here, start:], B[here])
        B[here, LOST] += _RATIO * size**2
        leaving = A[here, stop:].sum(axis=1) + B[here, LEAVE]
        corner = xp.ascontiguousarray(A[here, here])
        lower, paths, sums = xp.empty((size, size)), xp.empty((size, size)), xp.empty(size)
        bad = _reduce(card, corner, leaving, lower, paths, sums)
        if bad < size:
            raise FloatingPointError(start + bad)
        mantissa, exponent = xp.frexp(sums)
        for rest in (A[here, stop:], B[here]):
            exits = xp.matmul(lower, rest)
            # Two steps: 2**EXIT / s may leave float64 where the exit itself does not.
            xp.ldexp(exits, (EXIT - exponent)[:, None], out=exits)
            xp.divide(exits, mantissa[:, None], out=rest)
        A[here, here] = paths
        B[here, LOST] += TINY * (u + B.shape[1])
        if stop < u:
            inflow = xp.matmul(A[stop:, here], paths)
            xp.ldexp(inflow, -EXIT, out=inflow)
            add(A[stop:, stop:], inflow, A[here, stop:])
            add(B[stop:], inflow, B[here])
            # So would a path that is rounded to zero; all else that is lost is far below.
            B[stop:, LOST] += _RATIO * size


def solve(A: Any, B: Any, block: int = BLOCK, card: Card | None = None) -> tuple[Any, Any]:
    """Return the solution of an eliminated chain, and the bound on what underflow took from it.

    Parameters
    ----------
    A, B : (u, u), (u, 2 + m) float64
        As `eliminate` leaves them.
    block, card
        The same as there.

    Returns
    -------
    solution : (u, m) float64
        ``2**SOLVED`` times x, where ``s_i x_i = sum_j a_ij x_j + b_i`` of the rows as they were.
    lost : (u,) float64
        Bound on the weight, relative to a visit's, that underflow took on all ways out of a state:
        where right-hand sides are the weights of leaving, ``x_i`` is that far from the truth at
        most, besides the relative rounding error of every entry.

    Notes
    -----
    ``u^2 m`` operations.
    """
    xp: Any = np if card is None else card.xp
    u = A.shape[0]
    x = xp.empty((u, B.shape[1] - LOST))
    for start in reversed(range(0, u, block)):
        stop = min(start + block, u)
        here = slice(start, stop)
        known = xp.ldexp(B[here, LOST:], SOLVED - EXIT)
        if stop < u:
            further = xp.matmul(A[here, stop:], x[stop:])
            known += xp.ldexp(further, -EXIT, out=further)
        xp.matmul(A[here, here], known, out=x[here])
    return x[:, 1:], xp.ldexp(x[:, 0], -SOLVED)


def _rescale(xp: Any, states: Any, others: Any) -> None:
    """Bring the largest way out of every row of a block back to ``2**HIGH``, by a power of two."""
    own = xp.arange(states.shape[0])
    states[own, own] = 0.0
    largest = xp.maximum(states.max(axis=1), others[:, LEAVE])
    # A row without any way out is found, and named, when its sum is taken.
    shift = xp.where(largest > 0.0, HIGH - xp.frexp(largest)[1], 0)[:, None]
    xp.ldexp(states, shift, out=states)
    xp.ldexp(others, shift, out=others)


def _reduce(card: Card | None, corner: Any, leaving: Any, lower: Any, paths: Any, sums: Any) -> int:
    """Eliminate within a block; return the first state without an exit, or the block's size."""
    if card is None:
        from gssl_poison.kernels.corner import reduce_corner

        first: int = reduce_corner(corner, leaving, lower, paths, sums)
        return first
    bad = card.empty((1,), "int32")
    size = np.int32(leaving.size)
    card.launch(
        "reduce_corner", (1,), _CORNER_THREADS, (corner, leaving, size, lower, paths, sums, bad)
    )
    return int(card.get(bad)[0])
