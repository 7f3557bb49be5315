"""Stabilised bi-conjugate gradients on directed absorbing chains."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gssl_poison.kernels.chain import Chain, Team

Floats = npt.NDArray[np.float64]

_RELATIVE = 1e-9


def solve_by_columns(
    chain: Chain, R: Floats, adjoint: bool, max_iter: int, team: Team
) -> tuple[Floats, int]:
    """Solve column by column, by stabilised bi-conjugate gradients."""
    from scipy.sparse.linalg import LinearOperator, bicgstab

    def product(x: Floats) -> Floats:
        column = np.ascontiguousarray(x.reshape(-1, 1))
        found = chain.multiply_transposed(column) if adjoint else chain.multiply(column, team)
        return found[:, 0]

    A = LinearOperator((chain.n_states,) * 2, matvec=product, dtype=np.float64)
    X, steps = np.zeros_like(R), np.zeros(R.shape[1], dtype=np.int64)
    for c in range(R.shape[1]):

        def count(_: Floats, c: int = c) -> None:
            steps[c] += 1

        X[:, c], _ = bicgstab(A, R[:, c], rtol=_RELATIVE, maxiter=max_iter, callback=count)
    return X, int(steps.max(initial=0))
