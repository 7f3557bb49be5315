"""The K of the published attacks, formed as their code forms it: with self-loops, by LAPACK."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from gssl_poison._arrays import available_memory, one_blas_thread
from gssl_poison.exceptions import InputError, NumericalError
from gssl_poison.graph import RBFGraph, other_rows
from gssl_poison.problem import Problem
from gssl_poison.sparse_graph import Graph

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# Numbers of the rows of S that are made together: 64 MiB.
_BLOCK = 2**23
# Row sums are 1 in exact arithmetic. What a sound inverse leaves of that is far below the first;
# beyond the second it says little of who influences whom.
_SOUND, _VOID = 1e-6, 0.05


@dataclass(frozen=True, eq=False)
class Published:
    """The K of the published attacks, formed once for all of them: a surrogate of replications.

    Attributes
    ----------
    K : (u, l) float64
        See `published_kernel`.
    note : str
        What its row sums span.
    graph : RBFGraph
    labeled : (l,) int64
        Row numbers, in the order of the columns.

    Notes
    -----
    `Greedy`, `GreedyInit`, `Threshold`, `ThresholdSoft`, `Probabilistic` and `ProbabilisticSoft`
    with ``preset="replication"`` take it in place of a fitted propagator, of which they form the
    same K themselves, each anew; ``seconds`` of a `Poison` then holds no part of that. What goes by
    a propagator's predictions refuses K: ``truth=False``, and all but the greedy ones where there
    are more than two classes.

    Examples
    --------
    >>> from gssl_poison.attacks import Greedy
    >>> graph = RBFGraph(np.array([[0.0], [0.1], [0.2], [1.0], [5.0], [5.1]]), gamma=1.0)
    >>> problem = Problem(graph, labeled=[0, 4], y=[0, 1], truth=[0, 0, 0, 0, 1, 1])
    >>> Greedy(preset="replication").attack(problem, Published.of(problem), budget=1).order
    array([0])
    """

    K: Floats = field(repr=False)
    note: str
    graph: Graph = field(repr=False)
    labeled: Integers = field(repr=False)

    @classmethod
    def of(cls, problem: Problem, *, repeatable: bool = True) -> Published:
        """Form the K of a problem; only its graph and its labelled points matter.

        Parameters
        ----------
        problem : Problem
        repeatable : bool
            See `published_kernel`.

        Raises
        ------
        InputError, NumericalError
            See `published_kernel`.
        """
        K, note = published_kernel(problem.graph, problem.labeled, repeatable=repeatable)
        return cls(K, note, problem.graph, problem.labeled)

    def check_fits(self, problem: Problem, name: str) -> None:
        """Refuse a problem with another graph or other labelled points."""
        what = None
        if not _same_graph(self.graph, problem.graph):
            what = "another graph"
        elif not np.array_equal(self.labeled, problem.labeled):
            same = np.array_equal(np.sort(self.labeled), np.sort(problem.labeled))
            what = "the same labelled points in another order" if same else "other labelled points"
        if what is not None:
            raise InputError(
                f"the {name} is the published K of {self.labeled.size:,} labelled of "
                f"{self.graph.n_points:,} points, and the problem has {what}; form it with "
                "Published.of(problem)."
            )


def _same_graph(one: Graph, other: Graph) -> bool:
    """Tell whether two graphs have the same K: as one object, or by gamma and features."""
    if one is other:
        return True
    if not (isinstance(one, RBFGraph) and isinstance(other, RBFGraph)):
        return False
    if (one.gamma, one.X.shape, one.is_sparse) != (other.gamma, other.X.shape, other.is_sparse):
        return False
    return not (one.X != other.X).nnz if one.is_sparse else np.array_equal(one.X, other.X)


def published_kernel(
    graph: Graph, labeled: Integers, *, repeatable: bool = True
) -> tuple[Floats, str]:
    """Return ``K = (D_UU - S_UU)^-1 S_UL`` as the published code of the attacks computes it.

    Parameters
    ----------
    graph : RBFGraph
    labeled : (l,) int64
        Row numbers of the labelled points.
    repeatable : bool, default True
        Run BLAS and LAPACK on one thread; False lets them have all, which is faster.

    Returns
    -------
    K : (u, l) float64
        Rows in ascending order of the unlabelled points, columns in the order of ``labeled``.
    note : str
        What its row sums span, which must be 1, and whether K is therefore inexact or void.

    Raises
    ------
    InputError
        The graph is no `RBFGraph`, or the dense matrices do not fit into memory.
    NumericalError
        The matrix is exactly singular in float64, or its inverse is not finite.

    Notes
    -----
    S holds ``exp(-gamma |x_i - x_j|^2)`` with its diagonal of ones, D its row sums over all points:
    the self-loops cancel on paper only. Where they hold nearly all of a row, ``D - S`` keeps the
    rounding of 1 + sum in place of the sum, and its inverse is a number with nothing behind it.
    `Harmonic` has the same K without that subtraction. ``2 u^3 + 2 u^2 l`` operations and memory of
    three (u, u) matrices.

    Where K is void its rounding errors are all there is to it, and they depend on the order of the
    operations. On one thread K is the same for any number of them; another BLAS, or a processor for
    which it chooses other kernels, may still give another K.

    References
    ----------
    Liu, Si, Zhu, Li and Hsieh 2019, A unified framework for data poisoning attack to graph-based
    semi-supervised learning: their code.

    Examples
    --------
    >>> graph = RBFGraph([[0.0], [1.0], [2.0]], gamma=1.0)
    >>> K, note = published_kernel(graph, np.array([0, 2]))
    >>> K.round(3)
    array([[0.5, 0.5]])
    >>> note
    'K as published: its row sums, which must be 1, span 1 to 1'
    """
    if not isinstance(graph, RBFGraph):
        raise InputError(
            f"preset='replication' on a {type(graph).__name__} has nothing to replicate: the "
            "published code forms its K of an RBF graph; use RBFGraph(X, gamma), or "
            "preset='corrected'."
        )
    unlabeled = other_rows(labeled, graph.n_points)
    _refuse_beyond_memory(unlabeled.size, labeled.size)
    # Overflow and NaN are what happens here to the published code; the note and the check say so.
    threads = one_blas_thread() if repeatable else nullcontext()
    with threads, np.errstate(all="ignore"):
        matrix, S_UL = _laplacian(graph, unlabeled, labeled)
        try:
            K: Floats = np.linalg.inv(matrix) @ S_UL
        except np.linalg.LinAlgError as error:
            raise NumericalError(
                f"D - S of {unlabeled.size:,} unlabelled points is exactly singular in float64 at "
                f"gamma={graph.gamma:g}, and the published K does not exist; use a smaller gamma, "
                "or preset='corrected'."
            ) from error
        if not np.isfinite(K).all():
            raise NumericalError(
                f"the published K at gamma={graph.gamma:g} holds "
                f"{int((~np.isfinite(K)).sum()):,} numbers that are not finite; use a smaller "
                "gamma, or preset='corrected'."
            )
        sums = K.sum(axis=1)
    note = (
        f"K as published: its row sums, which must be 1, span {sums.min():.4g} to {sums.max():.4g}"
    )
    off = float(np.abs(sums - 1.0).max())
    # Written so that NaN, the sum of two overflows, is void as well.
    if not off <= _VOID:
        note += (
            ": it is numerically void (D - S with self-loops cancels in float64), and what is "
            "chosen by it says nothing about the method"
        )
    elif off > _SOUND:
        note += ": it is inexact by as much (D - S with self-loops cancels in float64)"
    return K, note


def _laplacian(graph: RBFGraph, unlabeled: Integers, labeled: Integers) -> tuple[Floats, Floats]:
    """Return ``D_UU - S_UU`` and ``S_UL``, self-loops in both D and S."""
    from sklearn.metrics.pairwise import rbf_kernel

    matrix = np.empty((unlabeled.size, unlabeled.size))
    S_UL = np.empty((unlabeled.size, labeled.size))
    step = max(1, _BLOCK // graph.n_points)
    X: Any = graph.X.astype(np.float64)
    for start in range(0, unlabeled.size, step):
        rows = unlabeled[start : start + step]
        part = slice(start, start + rows.size)
        # By products, as the published code has it: a point is then nearly at distance 0 of itself.
        S = rbf_kernel(X[rows], X, gamma=graph.gamma)
        S[np.arange(rows.size), rows] = 1.0
        S_UL[part] = S[:, labeled]
        np.negative(S[:, unlabeled], out=matrix[part])
        matrix[np.arange(start, start + rows.size), np.arange(start, start + rows.size)] += S.sum(
            axis=1
        )
    return matrix, S_UL


def _refuse_beyond_memory(n_unlabeled: int, n_labeled: int) -> None:
    """Refuse the inverse of a dense matrix that this machine's free memory cannot hold."""
    needed = 8 * (3 * n_unlabeled * (n_unlabeled + n_labeled) + 4 * _BLOCK)
    free = available_memory()
    if needed > free:
        raise InputError(
            f"the published K of {n_unlabeled:,} unlabelled and {n_labeled:,} labelled points "
            f"inverts a dense matrix: {needed / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are "
            "free; use fewer points, or preset='corrected'."
        )
