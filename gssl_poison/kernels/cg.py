"""Conjugate gradients on absorbing chains, for several right-hand sides at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gssl_poison.kernels import csr
from gssl_poison.kernels.chain import Chain, Team

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

# Columns are moved together once so large a part of them stands still.
_IDLE = 0.25


@dataclass(frozen=True)
class Stop:
    """When a column's residual r is small enough; limits are (c,) float64.

    Attributes
    ----------
    largest : (c,) float64
        ``max_i |r_i|`` at most this, or at most ``relative`` times ``max_i |x_i|``.
    relative : float
    total : (c,) float64
        Or ``sum_i weight_i |r_i|`` at most this.
    beyond : float
        A column whose ``max_i |x_i|`` exceeds this is given up.
    """

    largest: Floats
    relative: float
    total: Floats
    beyond: float = np.inf

    def reached(self, columns: Any, total: Floats, largest_r: Floats, largest_x: Floats) -> Flags:
        """Tell which of ``columns`` are good enough."""
        limit = np.maximum(self.largest[columns], self.relative * largest_x)
        met: Flags = (largest_r <= limit) | (total <= self.total[columns])
        return met


def conjugate_gradients(
    chain: Chain, weight: Floats, B: Floats, stop: Stop, max_iter: int, team: Team
) -> tuple[Floats, int]:
    """Solve ``A X = B`` for a chain that is symmetric under ``weight``, from zero.

    Parameters
    ----------
    chain : Chain
        ``weight_i P_ij = weight_j P_ji``.
    weight : (m,) float64
        Positive; the degrees, at any common scale.
    B : (m, c) float64
    stop : Stop
    max_iter : int
    team : Team

    Returns
    -------
    X : (m, c) float64
        What was reached; the caller takes the true residual.
    n_iter : int
        Products that were needed.

    Notes
    -----
    A is self-adjoint in the inner product ``sum_i weight_i x_i y_i``, so this is the method of
    conjugate gradients on the symmetric system of unit diagonal (Jacobi's preconditioner), without
    the roots of the degrees, which may overflow. A column that is good enough, or breaks down,
    stands still from then on, and is moved out of the way once a quarter of them do. One product
    and ``11 m c`` numbers read or written an iteration.

    References
    ----------
    Hestenes and Stiefel 1952, Methods of conjugate gradients for solving linear systems.
    """
    n_columns = B.shape[1]
    solution = np.zeros_like(B)
    columns = np.arange(n_columns)
    X, R, direction, product = np.zeros_like(B), B.copy(), B.copy(), np.empty_like(B)
    n_iter = 0
    with np.errstate(all="ignore"):
        nowhere = np.zeros(n_columns)
        rr, total, largest_r, largest_x = _step(nowhere, X, R, B, B, weight, team)
        moving = ~stop.reached(columns, total, largest_r, largest_x) & (rr > 0.0)
        while moving.any() and n_iter < max_iter:
            if moving.sum() <= (1.0 - _IDLE) * moving.size:
                solution[:, columns] = X
                X, R, direction = (np.ascontiguousarray(a[:, moving]) for a in (X, R, direction))
                product = np.empty_like(X)
                columns, rr, moving = columns[moving], rr[moving], moving[moving]
            energy = np.empty((chain.n_chunks, columns.size))
            team.run(csr.multiply, *chain.arrays, direction, weight, product, energy)
            alpha = rr / energy.sum(axis=0)
            # A curvature of zero or below is rounding: the column can go no further.
            moving &= np.isfinite(alpha) & (alpha > 0.0)
            alpha[~moving] = 0.0
            before = rr
            rr, total, largest_r, largest_x = _step(alpha, X, R, direction, product, weight, team)
            n_iter += 1
            moving &= ~stop.reached(columns, total, largest_r, largest_x)
            moving &= np.isfinite(rr) & (rr > 0.0) & (largest_x <= stop.beyond)
            team.run(csr.turn, np.where(moving, rr / before, 0.0), R, direction)
    solution[:, columns] = X
    return solution, n_iter


def _step(
    alpha: Floats,
    X: Floats,
    R: Floats,
    direction: Floats,
    product: Floats,
    weight: Floats,
    team: Team,
) -> tuple[Floats, Floats, Floats, Floats]:
    """Take a step, and return ``sum w r^2``, ``sum w |r|``, ``max |r|`` and ``max |x|``, (c,)."""
    n_chunks = -(-X.shape[0] // csr.CHUNK)
    sums, largest = (np.empty((n_chunks, 2, X.shape[1])) for _ in range(2))
    team.run(csr.advance, alpha, direction, product, weight, X, R, sums, largest)
    rr, total = sums.sum(axis=0)
    largest_r, largest_x = largest.max(axis=0)
    return rr, total, largest_r, largest_x
