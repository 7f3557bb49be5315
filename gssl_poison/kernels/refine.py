"""Iterative refinement of absorbing chains until a bound on the error is proven.

Whatever finds a correction, only the true residual of what is returned is believed, and M-matrix
theory turns it into a bound: see `gssl_poison.linalg`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from gssl_poison.kernels.cg import Stop
from gssl_poison.kernels.chain import Chain, Team

Floats = npt.NDArray[np.float64]
# correct(R, stop, adjoint, max_iter, team) -> rough solution (m, c), iterations
Correct: TypeAlias = Callable[[Floats, Stop, bool, int, Team], tuple[Floats, int]]

# A bound above this part of a solution's size is refused, whatever was asked for.
ACCURACY = 1e-8

_U = 2.0**-53
# Rounding a solution moves its residual by a few _U, which counts once for every step of a walk.
LONGEST_WALK = ACCURACY / (4.0 * _U)
# Residual of the hitting time: it need only be below 1.
_HITTING_RESIDUAL = 0.25
_HITTING_ITERATIONS = 10_000
# Covers the rounding of the bounds themselves.
_ABOVE = 1.001


class Certificate(NamedTuple):
    """``A z >= s``, verified; a proof where s > 0 and z > 0, which ``proven`` says."""

    z: Floats
    s: Floats
    proven: bool


@dataclass(frozen=True)
class Forward:
    """``A x = b``, measured by the largest entry; z and s as in `Certificate`."""

    chain: Chain = field(repr=False)
    z: Floats = field(repr=False)
    s: Floats = field(repr=False)
    tol: float
    adjoint = False

    def stop(self, size: Floats) -> Stop:
        """Stop where the bound will be met; a residual below the rounding of x is not to be had."""
        relative = max(0.5 * self.tol * float(self.s.min() / self.z.max()), 2.0 * _U)
        return Stop(relative * size, relative, np.zeros(size.size))

    def residual(self, X: Floats, B: Floats, team: Team) -> tuple[Floats, Floats]:
        """Return the residual and a bound on its rounding."""
        return self.chain.residual(X, B, team)

    def bound(self, R: Floats, rounding: Floats) -> Floats:
        """Bound the largest error of an entry, (c,)."""
        worst: Floats = ((np.abs(R) + rounding) / self.s[:, None]).max(axis=0)
        return worst * (float(self.z.max()) * _ABOVE)

    def size(self, X: Floats, _: Floats) -> Floats:
        """Return the largest entry of the solution, (c,)."""
        largest: Floats = np.abs(X).max(axis=0, initial=0.0)
        return largest


@dataclass(frozen=True)
class Adjoint:
    """``A.T y = r``, measured by sums weighted by leak: ``A 1 = leak`` is all the proof needed."""

    chain: Chain = field(repr=False)
    tol: float
    adjoint = True

    def stop(self, size: Floats) -> Stop:
        """Stop where the bound will be met."""
        return Stop(np.zeros(size.size), 0.0, 0.5 * self.tol * size)

    def residual(self, Y: Floats, R: Floats, _: Team) -> tuple[Floats, Floats]:
        """Return the residual and a bound on its rounding."""
        return self.chain.residual_transposed(Y, R)

    def bound(self, R: Floats, rounding: Floats) -> Floats:
        """Bound the sum of leak times error, (c,)."""
        total: Floats = (np.abs(R) + rounding).sum(axis=0)
        return total * _ABOVE

    def size(self, _: Floats, R: Floats) -> Floats:
        """Return the sum of leak times solution for R >= 0, (c,)."""
        total: Floats = np.abs(R).sum(axis=0)
        return total


@dataclass(frozen=True)
class Refined:
    """What refinement came to.

    Attributes
    ----------
    value : (m, c) float64
    bound, size : (c,) float64
        Proven error of every column, and what it is measured by.
    residual : (c,) float64
        Largest entry of the true residual, as a part of that of the right-hand side.
    n_iter : int
    unfinished : bool
        Whether the iterations ran out before every bound was met or stood still.
    """

    value: Floats = field(repr=False)
    bound: Floats
    size: Floats
    residual: Floats
    n_iter: int
    unfinished: bool


def refine(
    correct: Correct, B: Floats, side: Forward | Adjoint, max_iter: int, team: Team
) -> Refined:
    """Correct a solution by its true residual until every column's bound is met or stands still.

    Parameters
    ----------
    correct : callable
        Solves roughly; twice the digits it gets right are reached by two calls.
    B : (m, c) float64
        Right-hand sides, at a scale near 1; a column of zeros is solved by zeros.
    side : Forward or Adjoint
    max_iter : int
    team : Team

    Returns
    -------
    Refined
    """
    X, R = np.zeros_like(B), B.copy()
    bound = np.where(B.any(axis=0), np.inf, 0.0)
    size = side.size(X, B)
    todo = np.flatnonzero(bound)
    n_iter = 0
    while todo.size and n_iter < max_iter:
        wanted = np.ascontiguousarray(B[:, todo])
        rough, used = correct(
            np.ascontiguousarray(R[:, todo]),
            side.stop(size[todo]),
            side.adjoint,
            max_iter - n_iter,
            team,
        )
        n_iter += max(used, 1)
        candidate = X[:, todo] + rough
        residual, rounding = side.residual(candidate, wanted, team)
        new, old = side.bound(residual, rounding), bound[todo]
        better = new < old
        kept = todo[better]
        X[:, kept], R[:, kept] = candidate[:, better], residual[:, better]
        bound[kept], size[kept] = new[better], side.size(candidate, wanted)[better]
        unmet = bound[todo] > side.tol * size[todo]
        if n_iter < max_iter:
            unmet &= 2.0 * new <= old
        todo = todo[unmet]
    largest = np.abs(B).max(axis=0, initial=0.0)
    relative = np.abs(R).max(axis=0, initial=0.0) / np.where(largest > 0.0, largest, 1.0)
    return Refined(X, bound, size, relative, n_iter, bool(todo.size))


def certify(chain: Chain, correct: Correct, team: Team) -> Certificate:
    """Find ``z > 0`` with ``A z >= s > 0``, rounding included, near the time until absorption.

    Notes
    -----
    ``A z = 1`` need only be solved to a quarter. Given up where z grows beyond `LONGEST_WALK`, a
    correction no longer halves the error, or 10,000 iterations do not do.
    """
    nothing = np.zeros((chain.n_states, 1))
    stop = Stop(np.array([_HITTING_RESIDUAL]), 0.0, np.zeros(1), LONGEST_WALK)
    z, s, R = nothing, nothing, nothing + 1.0
    n_iter, missing, proven = 0, np.inf, chain.n_states == 0
    while n_iter < _HITTING_ITERATIONS and not proven:
        step, used = correct(R, stop, False, _HITTING_ITERATIONS - n_iter, team)
        n_iter += max(used, 1)
        z = z + step
        inflow, rounding = chain.residual(z, nothing, team)
        s = -inflow - rounding
        before, missing = missing, 1.0 - float(s.min())
        if not (float(z.max()) <= LONGEST_WALK and 2.0 * missing <= before):
            break
        proven = missing <= 2.0 * _HITTING_RESIDUAL and float(z.min()) > 0.0
        R = 1.0 + inflow
    return Certificate(z[:, 0], s[:, 0], proven)
