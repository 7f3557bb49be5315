"""Dense absorbing chains: rows of log-weights in, absorption probabilities out.

A harmonic score is the probability that a random walk which starts at an unlabelled point is
absorbed at a label; a closed-form spreading score is one on a graph with a way out of every point.
Both are ``(I - P) X = B`` with ``P`` substochastic, and go through here when the graph is dense.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from gssl_poison._arrays import available_memory, n_threads, one_blas_thread
from gssl_poison.exceptions import InputError, NumericalError
from gssl_poison.kernels.cuda import Card

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
# (r,) row numbers -> (r, u + t) log-weights, states first; what a state weighs itself is ignored.
LogRowsOf = Callable[[Integers], Any]

_ROWS = 192
# Part of the largest score of a row that underflow may have taken from it.
_LOST = 1e-10
# What Cholesky may get wrong, by its bound, where it is used at all.
_CHOLESKY_ERROR = 1e-11
# A componentwise residual above this is a defect of the program, not of the data.
_RESIDUAL = 1e-8
_CHECKED_ROWS = 256


@dataclass(frozen=True)
class DenseChain:
    """The rows of an absorbing chain, each near ``2**HIGH`` at its own scale.

    Attributes
    ----------
    A : (u, u) float64
        Weights among the states; what stands on the diagonal means nothing.
    B : (u, 2 + m) float64
        Weight of leaving, bound on what underflow took, right-hand sides.
    log_degree : (u,) float64
        Logarithm of the sum of a row's weights as they truly are; -inf for a state without any.
    card : Card, optional
        Whose arrays these are; by default the host's.
    """

    A: Any = field(repr=False)
    B: Any = field(repr=False)
    log_degree: Any = field(repr=False)
    card: Card | None = field(repr=False, default=None)


@dataclass(frozen=True)
class ChainSolution:
    """What `solve_chain` found.

    Attributes
    ----------
    value : (u, m) float64
        The solution times ``2**exponent``.
    exponent : int
    method : str
        "gth" or "cholesky".
    lost : float
        Largest part of a row that underflow may have taken.
    """

    value: Floats = field(repr=False)
    exponent: int
    method: str
    lost: float


def memory_needed(n_states: int, n_targets: int) -> int:
    """Return the bytes that an elimination holds at once."""
    return 8 * (n_states**2 + 2 * n_states * (n_targets + 2) + 4 * _ROWS * n_states)


def refuse_beyond_memory(
    n_states: int, n_targets: int, what: str, card: Card | None = None
) -> None:
    """Refuse an elimination that the free memory of the machine, or the card, cannot hold."""
    needed = memory_needed(n_states, n_targets)
    free = available_memory() if card is None else card.free_memory()
    if needed > free:
        raise InputError(
            f"{what} on a dense graph of {n_states:,} states and {n_targets:,} labels needs "
            f"{needed / 2**30:.1f} GiB and {free / 2**30:.1f} GiB are free; use a sparse graph "
            "(knn_graph), fewer points, or an iterative propagator."
        )


def fill_chain(
    rows_of: LogRowsOf, states: Integers, n_targets: int, card: Card | None = None
) -> DenseChain:
    """Read the rows of a chain, each shifted by its largest log-weight.

    Parameters
    ----------
    rows_of : callable
        Returns log-weights to ``u`` states, then to ``t`` targets, on the card if there is one.
    states : (u,) int64
        Row numbers of the states, in the order of the columns.
    n_targets : int
        Targets, which become right-hand sides; a row's weight of leaving is their sum.
    card : Card, optional

    Returns
    -------
    DenseChain

    Notes
    -----
    Memory of the result and of a few blocks. Weights below ``2**-1974`` of their row's largest
    become 0, and are counted in the bound on what is lost.
    """
    from gssl_poison.kernels.gth import EXTRA, HIGH, LEAVE, LOST, TINY

    xp: Any = np if card is None else card.xp
    u = states.size
    A, B = xp.empty((u, u)), xp.empty((u, EXTRA + n_targets))
    log_degree = xp.empty(u)

    def fill(part: slice) -> None:
        block = rows_of(states[part])
        own = xp.arange(part.start, part.stop)
        block[own - part.start, own] = -np.inf
        top = block.max(axis=1)
        shift = xp.where(xp.isfinite(top), top, 0.0)
        # exp(x / 2) squared reaches twice as far down as exp(x), and is as accurate.
        block -= shift[:, None]
        block *= 0.5
        xp.exp(block, out=block)
        block *= 2.0 ** (HIGH // 2)
        xp.multiply(block, block, out=block)
        A[part], B[part, EXTRA:] = block[:, :u], block[:, u:]
        B[part, LEAVE] = block[:, u:].sum(axis=1)
        B[part, LOST] = TINY * (block == 0.0).sum(axis=1)
        with np.errstate(divide="ignore"):
            log_degree[part] = shift + xp.log(xp.ldexp(block.sum(axis=1), -HIGH))

    if card is not None:
        for part in _slices(u):
            fill(part)
    else:
        with one_blas_thread(), ThreadPoolExecutor(n_threads()) as pool:
            for _ in pool.map(fill, _slices(u)):
                pass
    return DenseChain(A, B, log_degree, card)


def solve_chain(chain: DenseChain, *, symmetric: bool, name: Callable[[int], str]) -> ChainSolution:
    """Solve an absorbing chain, overwriting its rows.

    Parameters
    ----------
    chain : DenseChain
    symmetric : bool
        Whether weights are the same both ways, so that Cholesky is possible, on the host.
    name : callable
        Says which point a state is, for an error.

    Returns
    -------
    ChainSolution

    Raises
    ------
    NumericalError
        Underflow took so much of a row that its scores are not known.

    Notes
    -----
    Elimination without subtraction, ``2/3 u^3 + 2 u^2 m`` operations, right to a relative rounding
    error in every entry; or Cholesky, half of that, where its error bound is below 1e-11.
    """
    card = chain.card
    if symmetric and card is None and _cholesky_error(chain) <= _CHOLESKY_ERROR:
        return ChainSolution(_cholesky(chain), 0, "cholesky", 0.0)
    from gssl_poison.kernels.gth import EXTRA, SOLVED, eliminate, solve

    largest = float((chain.B[:, EXTRA:] / _row_sums(chain)[:, None]).max())
    try:
        eliminate(chain.A, chain.B, card=card)
    except FloatingPointError as error:
        raise _beyond_float64(name(int(error.args[0]))) from None
    value, lost = solve(chain.A, chain.B, card=card)
    if card is not None:
        value, lost = card.get(value), card.get(lost)
    size = value.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        part = np.ldexp(lost * largest, SOLVED) / size
    # A row of zeros is a point that no right-hand side reaches: the caller knows those.
    part[(size == 0.0) & (lost < 2.0**-1000)] = 0.0
    if not (part <= _LOST).all():
        raise _beyond_float64(name(int(np.argmax(~(part <= _LOST)))))
    return ChainSolution(value, SOLVED, "gth", float(part.max(initial=0.0)))


def check_rows_of(
    rows_of: LogRowsOf, states: Integers, matrix: Floats, seed: int = 0
) -> tuple[float, int]:
    """Check absorption probabilities against the graph they came from.

    Parameters
    ----------
    rows_of : callable
        The log-weights, read anew.
    states : (u,) int64
    matrix : (u, m) float64
        Absorption probabilities.
    seed : int
        Of the rows and the two positive vectors.

    Returns
    -------
    residual : float
        Largest ``|x_i - sum_j p_ij x_j - sum_k p_ik y_k| / x_i`` over ``x = matrix y``, two random
        positive ``y`` and up to 256 rows.
    n_rows : int
        Rows looked at.

    Raises
    ------
    NumericalError
        The residual is not that of rounding.

    Notes
    -----
    Row sums prove nothing, being 1 by construction; this reads each row of the graph again, in
    another way. ``2 u m`` operations and 256 rows of the graph.
    """
    rng = np.random.default_rng(seed)
    u, m = matrix.shape
    y = rng.uniform(0.1, 1.0, (m, 2))
    # Targets that lie far apart show a row that is mixed up: not all weights within one decade.
    y[:, 1] = 10.0 ** rng.uniform(-3.0, 0.0, m)
    x = matrix @ y
    chosen = np.sort(rng.permutation(u)[:_CHECKED_ROWS])
    block = rows_of(states[chosen])
    block[np.arange(chosen.size), chosen] = -np.inf
    weights = np.exp(block - block.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    # What a row gives to itself through others is taken out of neither side: all terms positive.
    expected = weights @ np.concatenate([x, y])
    residual = float((np.abs(expected - x[chosen]) / x[chosen]).max())
    if not residual <= _RESIDUAL:
        raise NumericalError(
            f"the elimination left a componentwise residual of {residual:.1e}, above {_RESIDUAL}; "
            "this is a defect of gssl-poison or of the machine: please report it with the input."
        )
    return residual, int(chosen.size)


def _slices(size: int) -> Iterator[slice]:
    """Cut a range into blocks of rows."""
    return (slice(start, min(start + _ROWS, size)) for start in range(0, size, _ROWS))


def _row_sums(chain: DenseChain) -> Any:
    """Return what a state's transitions sum to, leaving included."""
    from gssl_poison.kernels.gth import LEAVE

    xp: Any = np if chain.card is None else chain.card.xp
    xp.fill_diagonal(chain.A, 0.0)
    sums = chain.A.sum(axis=1) + chain.B[:, LEAVE]
    return xp.where(sums > 0.0, sums, 1.0)


def _beyond_float64(point: str) -> NumericalError:
    """Say that float64 ends here."""
    return NumericalError(
        f"a random walk near {point} leaves its surroundings with a probability below what "
        "float64 can hold, so no score there would be right; use a smaller gamma, or "
        "'propagation', which does not wait for the walk to leave."
    )


def _cholesky_error(chain: DenseChain) -> float:
    """Bound the error of Cholesky, cheaply.

    ``I - D^1/2 P D^-1/2`` has eigenvalues of at least the smallest probability of leaving at once,
    and going back to probabilities costs the root of the ratio of the degrees.
    """
    from gssl_poison.kernels.gth import LEAVE

    sums = _row_sums(chain)
    leave = float((chain.B[:, LEAVE] / sums).min(initial=1.0))
    spread = float(np.ptp(chain.log_degree)) if chain.log_degree.size else 0.0
    if leave <= 0.0 or not spread < 600.0:
        return np.inf
    bound: float = 8.0 * (sums.size + 8.0) * 2.0**-53 * math.exp(spread / 2.0) / leave
    return bound


def _cholesky(chain: DenseChain) -> Floats:
    """Solve a symmetric chain by Cholesky, in place; ``u^3 / 3 + 2 u^2 m`` operations."""
    from scipy.linalg.blas import dtrsm
    from scipy.linalg.lapack import dpotrf

    from gssl_poison.kernels.gth import EXTRA

    A, B = chain.A, chain.B[:, EXTRA:].copy()
    sums = _row_sums(chain)
    root = np.exp((chain.log_degree - chain.log_degree.mean()) / 2.0)
    A *= -(root / sums)[:, None]
    A /= root[None, :]
    np.fill_diagonal(A, 1.0)
    B *= (root / sums)[:, None]
    factor, info = dpotrf(A.T, lower=0, clean=0, overwrite_a=1)
    if info != 0:
        raise NumericalError(
            f"Cholesky broke down at state {info}; this is a defect of gssl-poison: please report "
            "it with the input."
        )
    # Columns of a Fortran array: the rows of B stand on the left of the factor.
    half = dtrsm(1.0, factor, B.T, side=1, lower=0, trans_a=0, overwrite_b=1)
    whole = dtrsm(1.0, factor, half, side=1, lower=0, trans_a=1, overwrite_b=1)
    value: Floats = np.ascontiguousarray(whole.T)
    value /= root[:, None]
    return value
