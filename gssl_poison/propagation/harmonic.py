"""The harmonic solution: every unlabelled score is the mean of its neighbours', labels clamped."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from gssl_poison.elimination import check_rows_of, fill_chain, refuse_beyond_memory, solve_chain
from gssl_poison.exceptions import InputError, NumericalError, UnreachedError
from gssl_poison.graph import RBFGraph
from gssl_poison.kernels.cuda import card_of
from gssl_poison.propagation.fitted import Fitted, Operator
from gssl_poison.propagation.graphs import is_real, log_rows_of, split_points
from gssl_poison.propagation.harmonic_sparse import ACCURACY, SparseHarmonic, prepare
from gssl_poison.propagation.on_card import source_of
from gssl_poison.propagation.stored import ClampedMatrix
from gssl_poison.sparse_graph import Graph, SparseGraph

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

UNREACHED = ("error", "leave")
METHODS = ("auto", "gth", "sparse")

# Numbers of a block of transition rows: 128 MiB.
_BLOCK = 2**24
# What a sparse solve is asked for where only a small part of it is kept, and what part of that
# its error may be.
_TOLD, _NOISE = 1e-13, 1e-6
# Below this a sum of probabilities has lost digits.
_SMALLEST = 1e-290


@dataclass(frozen=True)
class Harmonic:
    """The limit of label propagation: absorption probabilities of the random walk.

    Parameters
    ----------
    unreached : {"error", "leave"}, default "error"
        What to do with points that no label reaches: name them in an error, or leave their scores
        at 0 and list them in the result's ``unreached``.
    method : {"auto", "gth", "sparse"}, default "auto"
        Elimination without subtraction, which is right at any gamma and stores n^2 numbers, or
        conjugate gradients on the edges of a sparse graph, whose error is certified. "auto" takes
        the second for a `SparseGraph`, and the first where that cannot certify its answer and the
        points fit.
    tol : float, default 1e-9
        Certified error of a score that a sparse solve may have.

    Notes
    -----
    ``M = (D_UU - W_UU)^-1 W_UL``; self-loops cancel. At large gamma the difference cancels
    altogether, so no difference is taken: see `gssl_poison.kernels.gth`. ``2/3 u^3 + 2 u^2 l``
    operations for the whole of M. Half of that, by Cholesky, where a cheap bound shows that nothing
    cancels.

    References
    ----------
    Zhu, Ghahramani and Lafferty 2003, Semi-supervised learning using Gaussian fields and harmonic
    functions. Grassmann, Taksar and Heyman 1985.

    Examples
    --------
    >>> import numpy as np
    >>> from gssl_poison import RBFGraph
    >>> graph = RBFGraph(np.array([[0.0], [1.0], [2.0], [4.0]]), gamma=20.0)
    >>> Harmonic().fit(graph, np.array([0, 3])).matrix().round(4)
    array([[1., 0.],
           [1., 0.]])
    """

    unreached: str = "error"
    method: str = "auto"
    tol: float = 1e-9

    def __post_init__(self) -> None:
        """Refuse unknown settings."""
        if self.unreached not in UNREACHED:
            raise InputError(
                f"unreached={self.unreached!r} is not known; use one of {', '.join(UNREACHED)}."
            )
        if self.method not in METHODS:
            raise InputError(
                f"method={self.method!r} is not known; use one of {', '.join(METHODS)}."
            )
        if not (is_real(self.tol) and 0.0 < self.tol < 1.0):
            raise InputError(f"tol={self.tol!r} must lie between 0 and 1, both excluded.")

    def fit(self, graph: Graph, labeled: npt.ArrayLike) -> Fitted:
        """Eliminate the unlabelled points, or prepare the sparse solver.

        Parameters
        ----------
        graph : RBFGraph, DenseGraph or SparseGraph
        labeled : (l,) int
            Row numbers of the labelled points.

        Returns
        -------
        Fitted

        Raises
        ------
        UnreachedError
            Points without a path to a label, unless ``unreached="leave"``.
        NumericalError
            float64 cannot carry the walk; the message says where.
        InputError
            The elimination would not fit in memory.
        """
        rows, others = split_points(labeled, graph)
        reached = graph.hops(rows)[others] >= 0
        states, unreached = others[reached], others[~reached]
        if unreached.size and self.unreached == "error":
            raise _unreached_error(unreached)
        if isinstance(graph, SparseGraph) and self.method != "gth" and states.size:
            sparse = prepare(graph, rows, states, self.tol)
            if sparse is not None:
                return Fitted(
                    propagator=self,
                    graph=graph,
                    labeled=rows,
                    unlabeled=others,
                    operator=sparse,
                    method=sparse.system.method,
                    unreached=unreached,
                    n_iter=0,
                    error=max(self.tol, ACCURACY),
                    without_own=partial(told_by_others, graph, rows, states, sparse),
                )
        if self.method == "sparse":
            raise InputError(
                "method='sparse' needs a SparseGraph whose weights a sparse solver can certify; "
                "use method='auto'."
            )
        if states.size == 0:
            operator = ClampedMatrix(graph.n_points, rows, states, np.empty((0, rows.size)))
            nothing = partial(told_by_others, graph, rows, states, operator)
            return Fitted(
                self, graph, rows, others, operator, "gth", unreached, without_own=nothing
            )
        card = card_of(graph)
        refuse_beyond_memory(states.size, rows.size, "Harmonic", card)
        columns = np.concatenate([states, rows])
        chain = fill_chain(source_of(graph, columns, card), states, rows.size, card)
        solution = solve_chain(
            chain,
            symmetric=graph.symmetric and self.method == "auto",
            name=lambda state: f"point {states[state]}",
        )
        matrix = np.ldexp(solution.value, -solution.exponent)
        # By the host, also where it is a card that is checked.
        residual, _ = check_rows_of(log_rows_of(graph, columns), states, matrix)
        operator = ClampedMatrix(graph.n_points, rows, states, matrix)
        return Fitted(
            propagator=self,
            graph=graph,
            labeled=rows,
            unlabeled=others,
            operator=operator,
            method=solution.method,
            unreached=unreached,
            residual=residual,
            error=solution.lost,
            without_own=partial(told_by_others, graph, rows, states, operator),
        )


def told_by_others(graph: Graph, labeled: Integers, states: Integers, operator: Operator) -> Floats:
    """Return where a walk from each labelled point ends first, (l, l), its own end included."""
    columns = np.concatenate([states, labeled])
    source = log_rows_of(graph, columns)
    told = np.empty((labeled.size, labeled.size))
    step = max(1, _BLOCK // graph.n_points)
    for start in range(0, labeled.size, step):
        part = labeled[start : start + step]
        block = source(part)
        block[np.arange(part.size), states.size + start + np.arange(part.size)] = -np.inf
        top = block.max(axis=1, keepdims=True)
        weights = np.exp(block - np.where(np.isfinite(top), top, 0.0))
        sums = weights.sum(axis=1, keepdims=True)
        weights /= np.where(sums > 0.0, sums, 1.0)
        sent = np.zeros((graph.n_points, part.size))
        sent[columns] = weights.T
        if isinstance(operator, SparseHarmonic):
            block, bound = operator.adjoint_within(sent, _TOLD)
        else:
            block, bound = operator.adjoint(sent), 0.0
        told[start : start + step] = block.T
        complete = isinstance(graph, RBFGraph) and labeled.size > 1
        _refuse_noise(told, start, part, bound, _SMALLEST if complete else 0.0)
    return told


def _refuse_noise(told: Floats, start: int, part: Integers, bound: float, least: float) -> None:
    """Refuse rows of which, without their own label, no more is left than the solver's error."""
    rows = np.arange(start, start + part.size)
    # Not the sum less the own part: where that is nearly 1, nothing would be left of the others.
    others = told[rows]
    others[np.arange(rows.size), rows] = 0.0
    others = others.sum(axis=1)
    # Where nothing is left at all, no other label is in reach.
    noisy = (bound > _NOISE * others) & (others > 0.0) | (others < -bound) | (others < least)
    if noisy.any():
        point = int(part[np.argmax(noisy)])
        raise NumericalError(
            f"nearly every walk from labelled point {point} returns to it before it meets another "
            f"label: what the others would say is lost in float64 (error {bound:.0e}); use a "
            "smaller gamma, more neighbours, or Harmonic(method='gth')."
        )


def _unreached_error(unreached: Integers) -> UnreachedError:
    """Name the points that no label reaches."""
    shown = ", ".join(map(str, unreached[:10]))
    more = f" and {unreached.size - 10:,} more" if unreached.size > 10 else ""
    return UnreachedError(
        f"no label reaches point{'s' if unreached.size > 1 else ''} {shown}{more}; label one point "
        "of every component, add edges (a larger n_neighbors), or pass unreached='leave' to leave "
        "their scores at 0."
    )
