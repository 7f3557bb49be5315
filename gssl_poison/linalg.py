"""Sparse absorbing chains: iterative or direct solves, each with a proven bound on its error.

A walk at state i goes to j with probability ``P_ij`` and is absorbed with probability ``leak_i``.
What it expects of where it ends is ``x = (I - P)^-1 B``; the adjoint counts visits instead. Dense
chains are eliminated without subtraction elsewhere: that needs no bound, and n^2 memory.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gssl_poison._arrays import n_threads
from gssl_poison.exceptions import InputError, NumericalError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from gssl_poison.kernels.cg import Stop
    from gssl_poison.kernels.chain import Chain, Team
    from gssl_poison.kernels.cuda import Card
    from gssl_poison.kernels.cuda_cg import CardChain
    from gssl_poison.kernels.refine import Adjoint, Certificate, Forward, Refined

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

METHODS = ("auto", "cg", "lu", "bicgstab")

# Directed systems up to this size are factorised: 0.5 s and 60 MiB on a graph of ten neighbours,
# and both grow with the square of the size.
_LARGEST_LU = 10_000
# Above this size vectors leave the cache, and neighbours are numbered next to one another.
_LARGEST_UNORDERED = 100_000
# Columns a batch: six vectors of each are held at once.
_BATCH = 16
# Logarithms of degrees may span this much: the inner product holds them all, centred.
_WIDEST_SPAN = 1300.0
_TINY = 2.0**-1074
_REMEDY = (
    "The graph nearly falls apart: use a smaller gamma or more neighbours, or eliminate it as a "
    "dense graph."
)


@dataclass(frozen=True)
class Solution:
    """What a solve found, and how far it can be off.

    Attributes
    ----------
    value : (m,) or (m, c) float64
        The solution, in the shape of the right-hand side.
    n_iter : int
        Iterations, summed over restarts and batches of columns; solves with the factors for "lu".
    residual : float
        ``max_i |b - A x|_i / max_i |b_i|`` of the worst column, from the solution as returned and
        not from the recursion that led to it. 0 where b is 0.
    converged : bool
        Whether every column's bound is within ``tol`` of its size, or as near to that as float64
        comes and within 1e-8 of it. False only where ``max_iter`` ended the solve.
    bound : float
        Certified error of the worst column. From `AbsorbingSystem.solve`: no entry is off by more.
        From `AbsorbingSystem.solve_adjoint`: ``sum_i leak_i |error_i|`` is not more.
    """

    value: Floats = field(repr=False)
    n_iter: int
    residual: float
    converged: bool
    bound: float


class _Prepared(NamedTuple):
    """The chain as it is solved: row i is state ``order[i]``, of degree ``weight[i]``."""

    chain: Chain
    weight: Floats
    order: Integers


@dataclass(frozen=True, eq=False)
class AbsorbingSystem:
    """The system ``(I - P) x = b`` of an absorbing Markov chain, prepared once.

    Parameters
    ----------
    P : (m, m) scipy.sparse.csr_array of float64
        Transition probabilities, non-negative; row i sums to ``1 - leak_i`` up to rounding.
    leak : (m,) float64
        Probability of absorption at the next step, non-negative and computed without cancellation.
        Every state must reach one that leaks.
    log_degree : (m,) float64, optional
        Logarithms of weights with ``exp(log_degree_i) P_ij`` symmetric, finite, at any common
        shift; leave out for a directed chain.
    method : {"auto", "cg", "lu", "bicgstab"}, default "auto"
        "auto" is "cg" where ``log_degree`` is given and spans 1,300 at most; else "lu" up to 10,000
        states and "bicgstab" above.
    relative_error : float, default 0.0
        What every entry of P, leak and right-hand sides may be off by, relative to itself; bounds
        then cover it.
    points : (m,) int64, optional
        Row numbers of the states, for error messages.
    threads : int, optional
        By default the processors this process may use; no result depends on it.
    card : Card, optional
        Runs the iterations of "cg"; what they prove is computed here.

    Attributes
    ----------
    P, leak, log_degree, method, relative_error, points, threads, card
        As given, with "auto" resolved.

    Raises
    ------
    InputError
        The method is not known, or is "cg" where that cannot be.

    Notes
    -----
    The diagonal of ``A = I - P`` is by definition ``leak_i + sum_{j != i} P_ij``, which is what
    rounded data mean: small relative changes of P and leak then change the solution little, however
    nearly the chain falls apart. A is an M-matrix, so its inverse is non-negative, and one vector
    ``z > 0`` with ``A z >= s > 0``, verified with rounding, proves for every approximation
    ``x' = x + e`` with residual r

        |e_i| <= max_k(|r_k| / s_k) z_i.

    z approximates ``A^-1 1``, the number of steps until absorption. Of the adjoint,
    ``A 1 = leak`` proves ``sum_i leak_i |e_i| <= sum_k |r_k|``: the error of ``B.T y`` for any
    ``B`` whose rows sum to leak at most. In both, |r| is what float64 gives plus a bound on its
    rounding.

    One product costs ``4 nnz c`` operations. Systems of more than 100,000 states are renumbered by
    reverse Cuthill-McKee.

    References
    ----------
    Berman and Plemmons 1994, Nonnegative matrices in the mathematical sciences, chapter 6.
    Higham 2002, Accuracy and stability of numerical algorithms, section 3.1.
    O'Cinneide 1993, Entrywise perturbation theory and error analysis for Markov chains.

    Examples
    --------
    Labels at both ends of a path of four points, of which the inner two are states:

    >>> import numpy as np
    >>> from scipy.sparse import csr_array
    >>> P = csr_array([[0.0, 0.5], [0.5, 0.0]])
    >>> system = AbsorbingSystem(P, leak=np.array([0.5, 0.5]), log_degree=np.zeros(2))
    >>> system.solve(np.array([0.5, 0.0])).value.round(4)
    array([0.6667, 0.3333])
    """

    P: csr_array = field(repr=False)
    leak: Floats = field(repr=False)
    log_degree: Floats | None = field(default=None, repr=False)
    method: str = "auto"
    relative_error: float = 0.0
    points: Integers | None = field(default=None, repr=False)
    threads: int | None = None
    card: Card | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Choose the method."""
        method = self.method
        if method not in METHODS:
            raise InputError(f"method={method!r} is not known; use one of {', '.join(METHODS)}.")
        span = np.inf
        if self.log_degree is not None and self.log_degree.size:
            span = float(np.ptp(self.log_degree))
        if method == "cg" and not span <= _WIDEST_SPAN:
            raise InputError(
                f"method='cg' needs a symmetric graph whose degrees span exp({_WIDEST_SPAN:.0f}) "
                f"at most, and here that is exp({span:.0f}); use 'auto', 'lu' or 'bicgstab'."
            )
        if method == "auto":
            small = self.leak.size <= _LARGEST_LU
            method = "cg" if span <= _WIDEST_SPAN else "lu" if small else "bicgstab"
        object.__setattr__(self, "method", method)

    @property
    def hitting_time(self) -> Floats:
        """Expected number of steps until absorption, (m,), to about a quarter of itself.

        Computed at first use, and by every `solve`: asking for it is the cheap way to learn whether
        float64 iteration can answer at all.

        Raises
        ------
        NumericalError
            Some walk is too long, or its length cannot be verified: the chain nearly falls apart.
        """
        z = np.empty(self.leak.size)
        z[self._prepared.order] = self._proven().z
        return z

    def solve(self, B: Floats, *, tol: float = 1e-10, max_iter: int = 10_000) -> Solution:
        """Solve ``(I - P) x = b`` for every column of B.

        Parameters
        ----------
        B : (m,) or (m, c) float64
        tol : float, default 1e-10
            Bound on the error of an entry to stop at, as a part of the column's largest entry.
        max_iter : int, default 10,000
            Iterations of a batch of columns, restarts included.

        Returns
        -------
        Solution

        Raises
        ------
        NumericalError
            float64 cannot bring the bound below 1e-8 of the column's largest entry (or ``tol``
            where that is larger); the message says where a walk is trapped.
        """
        from gssl_poison.kernels.refine import Forward

        z, s, _ = self._proven()
        return self._solve(B, Forward(self._prepared.chain, z, s, tol), max_iter)

    def solve_adjoint(self, R: Floats, *, tol: float = 1e-10, max_iter: int = 10_000) -> Solution:
        """Solve ``(I - P).T y = r`` for every column of R.

        Parameters
        ----------
        R : (m,) or (m, c) float64
        tol : float, default 1e-10
            Bound on ``sum_i leak_i |error_i|`` to stop at, as a part of ``sum_i |r_i|``, which is
            what ``sum_i leak_i y_i`` is for ``r >= 0``.
        max_iter : int, default 10,000
            As in `solve`.

        Returns
        -------
        Solution
            Its ``bound`` is on ``sum_i leak_i |error_i|``.

        Raises
        ------
        NumericalError
            float64 cannot bring the bound below 1e-8 of ``sum_i |r_i|`` (or ``tol`` where that is
            larger).
        """
        from gssl_poison.kernels.refine import Adjoint

        return self._solve(R, Adjoint(self._prepared.chain, tol), max_iter)

    def _solve(self, B: Floats, side: Forward | Adjoint, max_iter: int) -> Solution:
        """Solve in batches of columns, each scaled by a power of two and numbered as prepared."""
        from gssl_poison.kernels.chain import Team
        from gssl_poison.kernels.refine import refine

        chain, _, order = self._prepared
        columns = B if B.ndim == 2 else B[:, None]
        value = np.empty(columns.shape)
        n_iter, residual, bound, converged = 0, 0.0, 0.0, True
        with Team(chain, self.threads or n_threads()) as team, np.errstate(all="ignore"):
            for start in range(0, columns.shape[1], _BATCH):
                batch = slice(start, start + _BATCH)
                part = np.ascontiguousarray(columns[order, batch], dtype=np.float64)
                exponent = np.frexp(np.abs(part).max(axis=0, initial=0.0))[1]
                found = refine(self._correct, np.ldexp(part, -exponent), side, max_iter, team)
                _refuse_loose(found, side.tol, start)
                value[order, batch] = np.ldexp(found.value, exponent)
                # Scaling back may round once more, to a number below all normal ones.
                bounds = np.ldexp(found.bound, exponent) + np.where(found.bound > 0.0, _TINY, 0.0)
                bound = max(bound, float(bounds.max(initial=0.0)))
                residual = max(residual, float(found.residual.max(initial=0.0)))
                n_iter, converged = max(n_iter, found.n_iter), converged and not found.unfinished
        return Solution(value.reshape(B.shape), n_iter, residual, converged, bound)

    def _correct(
        self, R: Floats, stop: Stop, adjoint: bool, max_iter: int, team: Team
    ) -> tuple[Floats, int]:
        """Solve roughly for a residual, by the method of this system."""
        chain, weight, _ = self._prepared
        if self.method == "lu":
            return self._factors.solve(R, trans="T" if adjoint else "N"), 1
        if self.method == "bicgstab":
            from gssl_poison.kernels.bicgstab import solve_by_columns

            return solve_by_columns(chain, R, adjoint, max_iter, team)
        # P.T = D P D^-1, and so A.T y = r is A (y / d) = r / d.
        scale: Any = weight[:, None] if adjoint else 1.0
        X, n_iter = self._iterate(R / scale, stop, max_iter, team)
        return X * scale, n_iter

    def _iterate(self, R: Floats, stop: Stop, max_iter: int, team: Team) -> tuple[Floats, int]:
        """Run conjugate gradients, here or on the card."""
        chain, weight, _ = self._prepared
        if self._on_card is not None:
            from gssl_poison.kernels.cuda_cg import conjugate_gradients_on_card

            return conjugate_gradients_on_card(self._on_card, R, stop, max_iter)
        from gssl_poison.kernels.cg import conjugate_gradients

        return conjugate_gradients(chain, weight, R, stop, max_iter, team)

    @cached_property
    def _on_card(self) -> CardChain | None:
        """The chain on the card, if there is one."""
        if self.card is None:
            return None
        from gssl_poison.kernels.cuda_cg import CardChain

        return CardChain.of(self.card, self._prepared.chain, self._prepared.weight)

    def _proven(self) -> Certificate:
        """Return the certificate, or say why there is none."""
        from gssl_poison.kernels.refine import LONGEST_WALK

        found = self._certificate
        if not found.proven:
            z = np.where(np.isfinite(found.z), found.z, np.inf)
            # Where no walk is that long, the one whose length is least consistent is to blame.
            worst = np.argmax(z) if z.max() > LONGEST_WALK else np.argmin(found.s)
            state = int(self._prepared.order[worst])
            name = f"state {state}" if self.points is None else f"point {self.points[state]}"
            where = f" near {name}" if z.min() < np.inf else ""
            raise NumericalError(
                f"a random walk{where} takes {float(z.max()):.1e} steps or more until it is "
                f"absorbed; where that is beyond {LONGEST_WALK:.0e} or cannot be verified, float64 "
                f"iteration proves no digit of a score. {_REMEDY}"
            )
        return found

    @cached_property
    def _certificate(self) -> Certificate:
        """The proof that bounds errors, or what came of looking for it."""
        from gssl_poison.kernels.chain import Team
        from gssl_poison.kernels.refine import certify

        chain = self._prepared.chain
        with Team(chain, self.threads or n_threads()) as team, np.errstate(all="ignore"):
            return certify(chain, self._correct, team)

    @cached_property
    def _prepared(self) -> _Prepared:
        """Renumber a large system, and take logarithms off."""
        from gssl_poison.kernels.chain import Chain

        P, leak, weight = self.P, self.leak, np.empty(0)
        if self.method == "cg" and self.log_degree is not None:
            low, high = self.log_degree.min(), self.log_degree.max()
            weight = np.exp(self.log_degree - 0.5 * (low + high))
        order = np.arange(leak.size)
        if leak.size > _LARGEST_UNORDERED:
            from scipy.sparse.csgraph import reverse_cuthill_mckee

            order = reverse_cuthill_mckee(P, symmetric_mode=weight.size > 0).astype(np.int64)
            P = P[order][:, order]
            leak, weight = leak[order], weight[order] if weight.size else weight
        return _Prepared(Chain(P, leak, self.relative_error), weight, order)

    @cached_property
    def _factors(self) -> Any:
        """Factorise A, in an order that keeps the factors sparse."""
        from scipy.sparse import csc_array, diags_array
        from scipy.sparse.linalg import splu

        chain = self._prepared.chain
        A = csc_array(diags_array(chain.diagonal) - chain.P)
        try:
            # Rows of an M-matrix are dominated by their diagonal: no pivoting is needed.
            return splu(
                A,
                permc_spec="MMD_AT_PLUS_A",
                diag_pivot_thresh=0.0,
                options={"SymmetricMode": True},
            )
        except RuntimeError as error:
            raise NumericalError(
                f"the factors of the chain break down ({error}). {_REMEDY}"
            ) from error

    def __getstate__(self) -> dict[str, Any]:
        """Leave behind the factors and what is on the card, which cannot be pickled."""
        return {k: v for k, v in self.__dict__.items() if k not in ("_factors", "_on_card")}


def _refuse_loose(found: Refined, tol: float, first: int) -> None:
    """Refuse columns whose bound stands still where it proves too little."""
    from gssl_poison.kernels.refine import ACCURACY

    needed = max(tol, ACCURACY)
    loose = np.flatnonzero(~(found.bound <= needed * found.size))
    if loose.size and not found.unfinished:
        column = int(loose[0])
        part = float(found.bound[column] / found.size[column])
        raise NumericalError(
            f"float64 iteration brings the error bound of column {first + column} to {part:.1e} of "
            f"the column's size and no further; {needed:.0e} is needed. {_REMEDY}"
        )
