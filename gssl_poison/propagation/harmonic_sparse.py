"""The harmonic solution on a sparse graph: M is never stored, every product with it is a solve."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gssl_poison._arrays import available_memory
from gssl_poison.elimination import memory_needed
from gssl_poison.exceptions import ConvergenceWarning, DeviceError, NumericalError
from gssl_poison.kernels.cuda import NO_KERNEL, card_of
from gssl_poison.linalg import AbsorbingSystem, Solution
from gssl_poison.propagation.graphs import listening_to
from gssl_poison.sparse_graph import SparseGraph

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# What a solve may be off by where float64 has no more: `gssl_poison.linalg` refuses beyond.
ACCURACY = 1e-8
# States up to which a graph that defeats iteration is eliminated instead: about a minute.
_MOST_ELIMINATED = 20_000


@dataclass(frozen=True)
class SparseHarmonic:
    """Products with M by certified solves.

    Attributes
    ----------
    n_points : int
    labeled, states : (l,), (s,) int64
        Row numbers of the labelled points and of those a label reaches.
    to_labels : (s, l) csr_array
        Transitions from states to labels.
    system : AbsorbingSystem
    tol : float
        Certified error that is asked for.
    """

    n_points: int
    labeled: Integers = field(repr=False)
    states: Integers = field(repr=False)
    to_labels: csr_array = field(repr=False)
    system: AbsorbingSystem = field(repr=False)
    tol: float
    lift: int = 0

    def apply(self, Y: Floats) -> tuple[Floats, float]:
        """Return ``M Y``."""
        return self.solve(Y).value, 0.0

    def solve(self, Y: Floats) -> Solution:
        """Return ``M Y`` with the figures of its solve."""
        found = self.system.solve(self.to_labels @ Y, tol=self.tol)
        _warn_if_stopped(found)
        scores = np.zeros((self.n_points, Y.shape[1]))
        scores[self.labeled] = Y
        scores[self.states] = found.value
        return Solution(scores, found.n_iter, found.residual, found.converged, found.bound)

    def adjoint(self, R: Floats) -> Floats:
        """Return ``M.T R``."""
        found = self.system.solve_adjoint(R[self.states], tol=self.tol)
        _warn_if_stopped(found)
        result: Floats = R[self.labeled] + self.to_labels.T @ found.value
        return result

    def adjoint_within(self, R: Floats, tol: float) -> tuple[Floats, float]:
        """Return ``M.T R`` and the bound on a column's summed error, as small as float64 has it."""
        found = self.system.solve_adjoint(R[self.states], tol=tol)
        _warn_if_stopped(found)
        result: Floats = R[self.labeled] + self.to_labels.T @ found.value
        return result, found.bound

    def rows(self, rows: Integers) -> None:
        """Leave rows to `adjoint`."""


def prepare(
    graph: SparseGraph, labeled: Integers, states: Integers, tol: float
) -> SparseHarmonic | None:
    """Set a sparse solver up, or return None where the graph is to be eliminated instead.

    Raises
    ------
    NumericalError
        No certified answer is possible, and the graph is too large to be eliminated.
    DeviceError
        The graph is on a GPU, and directed.
    """
    reached = np.zeros(graph.n_points, dtype=bool)
    reached[labeled], reached[states] = True, True
    card = card_of(graph)
    if card is not None and not graph.symmetric:
        raise DeviceError(NO_KERNEL)
    heard = listening_to(graph, reached)
    P, log_degree = heard.transition(False)
    among: Any = P[states]
    to_labels = among[:, labeled]
    system = AbsorbingSystem(
        among[:, states],
        np.asarray(to_labels.sum(axis=1)).ravel(),
        log_degree[states] if graph.symmetric else None,
        relative_error=_transition_error(heard),
        points=states,
        card=card,
    )
    try:
        # Walks that take too long are what no iteration in float64 can follow.
        _ = system.hitting_time
    except NumericalError:
        if states.size > _MOST_ELIMINATED:
            raise
        if memory_needed(states.size, labeled.size) > available_memory():
            raise
        return None
    return SparseHarmonic(graph.n_points, labeled, states, to_labels, system, tol)


def _transition_error(graph: SparseGraph) -> float:
    """Bound what a transition probability is off by: its exponential's argument, and the sum."""
    spread = float(np.ptp(graph.log_data)) if graph.log_data.size else 0.0
    most = int(np.diff(graph.indptr).max())
    return (min(spread, 800.0) + most + 8.0) * 2.0**-53


def _warn_if_stopped(found: Solution) -> None:
    """Say that a solve ran out of iterations, with what it left."""
    if not found.converged:
        warnings.warn(
            f"the sparse solver stopped after {found.n_iter:,} iterations, at a residual of "
            f"{found.residual:.1e} and a certified error of {found.bound:.1e}; use a larger tol, a "
            "smaller gamma or more neighbours.",
            ConvergenceWarning,
            stacklevel=4,
        )
