"""An absorbing chain in CSR: products and residuals with proven rounding, shared by threads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gssl_poison.kernels import csr

if TYPE_CHECKING:
    from scipy.sparse import csc_array, csr_array

Floats = npt.NDArray[np.float64]

_U = 2.0**-53
# More than a row's products can lose to underflow, and than its entries below 2**-1022 are off by.
_UNDERFLOW = 2.0**-900
# Entries below which a second thread costs more than it saves.
_FEW_ENTRIES = 300_000


@dataclass(frozen=True, eq=False)
class Chain:
    """The matrix ``(A x)_i = leak_i x_i + sum_j P_ij (x_i - x_j)``.

    Attributes
    ----------
    P : (m, m) scipy.sparse.csr_array of float64
    leak : (m,) float64
    relative_error : float
        What every entry of P, leak and right-hand sides may be off by, relative to itself.
    """

    P: csr_array = field(repr=False)
    leak: Floats = field(repr=False)
    relative_error: float

    @property
    def n_states(self) -> int:
        """Number of states."""
        return int(self.leak.size)

    @property
    def n_chunks(self) -> int:
        """Number of chunks of rows."""
        return -(-self.n_states // csr.CHUNK)

    @property
    def arrays(self) -> tuple[Any, Any, Any, Floats]:
        """What the kernels take first."""
        return self.P.indptr, self.P.indices, self.P.data, self.leak

    @cached_property
    def diagonal(self) -> Floats:
        """``leak_i + sum_j P_ij``, of which P_ii is still to be taken off."""
        diagonal: Floats = self.leak + self.P.sum(axis=1)
        return diagonal

    @cached_property
    def _transposed(self) -> csc_array:
        return self.P.T

    @cached_property
    def _relative(self) -> Floats:
        """Rounding of a row's sum, relative to the absolute values of its terms, (m, 1)."""
        terms = np.diff(self.P.indptr).astype(np.float64)
        relative: Floats = self.relative_error + 1.001 * _U * (terms + 8.0)
        return relative[:, None]

    @cached_property
    def _relative_transposed(self) -> Floats:
        """As `_relative`, of a column's sum with its diagonal, which is itself a sum."""
        terms = np.bincount(self.P.indices, minlength=self.n_states) + np.diff(self.P.indptr)
        relative: Floats = self.relative_error + 1.001 * _U * (terms.astype(np.float64) + 12.0)
        return relative[:, None]

    def multiply(self, X: Floats, team: Team) -> Floats:
        """Return ``A X``, (m, c)."""
        out, energy = np.empty_like(X), np.empty((self.n_chunks, X.shape[1]))
        team.run(csr.multiply, *self.arrays, X, self.leak, out, energy)
        return out

    def multiply_transposed(self, Y: Floats) -> Floats:
        """Return ``A.T Y``, (m, c)."""
        product: Floats = self.diagonal[:, None] * Y - self._transposed @ Y
        return product

    def residual(self, X: Floats, B: Floats, team: Team) -> tuple[Floats, Floats]:
        """Return ``B - A X`` as computed, and a bound on what rounding did to it, (m, c) each.

        Notes
        -----
        A sum of k terms, each of up to three roundings, is off by ``(k + 3) u`` of the sum of their
        absolute values, to first order (Higham 2002, section 3.1); and so is that sum itself.
        """
        out, size = np.empty_like(X), np.empty_like(X)
        team.run(csr.residual, *self.arrays, X, B, out, size)
        size *= self._relative
        size += _UNDERFLOW
        return out, size

    def residual_transposed(self, Y: Floats, R: Floats) -> tuple[Floats, Floats]:
        """Return ``R - A.T Y`` as computed, and a bound on what rounding did to it."""
        out: Floats = R - self.multiply_transposed(Y)
        size: Floats = np.abs(Y)
        size = self.diagonal[:, None] * size + self._transposed @ size + np.abs(R)
        size *= self._relative_transposed
        size += _UNDERFLOW
        return out, size


class Team:
    """Threads that share the chunks of a chain by their entries; a context manager."""

    def __init__(self, chain: Chain, threads: int) -> None:
        starts = np.arange(1, chain.n_chunks) * csr.CHUNK
        work = chain.P.nnz + chain.n_states
        threads = 1 if work < _FEW_ENTRIES else min(threads, chain.n_chunks)
        shares = work / threads * np.arange(1, threads)
        cuts = np.searchsorted(chain.P.indptr[starts] + starts, shares) + 1
        ends = [0, *cuts.tolist(), chain.n_chunks]
        self._parts = list(pairwise(ends))
        self._stack = ExitStack()
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> Team:
        """Start the threads; the caller's own is one of them."""
        if len(self._parts) > 1:
            self._pool = self._stack.enter_context(ThreadPoolExecutor(len(self._parts) - 1))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let the threads go."""
        self._stack.close()

    def run(self, kernel: Callable[..., None], *arguments: Any) -> None:
        """Run a kernel on all chunks."""
        first, *others = self._parts
        waiting = (
            [self._pool.submit(kernel, *arguments, *part) for part in others] if self._pool else []
        )
        kernel(*arguments, *first)
        for one in waiting:
            one.result()
