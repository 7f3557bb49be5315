"""The K of the published attacks, formed as their code forms it: with self-loops, by LAPACK."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gssl_poison._arrays import available_memory
from gssl_poison.attacks._common import shares_of
from gssl_poison.exceptions import InputError, NumericalError
from gssl_poison.graph import RBFGraph, other_rows
from gssl_poison.problem import Problem
from gssl_poison.propagation import Fitted
from gssl_poison.sparse_graph import Graph

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# Numbers of the rows of S that are made together: 64 MiB.
_BLOCK = 2**23
# Row sums are 1 in exact arithmetic; what a sound inverse leaves of that is far below this.
_VOID = 1e-6


def kernel_of(preset: str, problem: Problem, surrogate: Fitted) -> tuple[Floats, tuple[str, ...]]:
    """Return what a preset reads, (u, l): the surrogate's shares or the published K, with notes."""
    if preset == "replication":
        K, note = published_kernel(problem.graph, problem.labeled)
        return K, (note,)
    return shares_of(surrogate), ()


def published_kernel(graph: Graph, labeled: Integers) -> tuple[Floats, str]:
    """Return ``K = (D_UU - S_UU)^-1 S_UL`` as the published code of the attacks computes it.

    Parameters
    ----------
    graph : RBFGraph
    labeled : (l,) int64
        Row numbers of the labelled points.

    Returns
    -------
    K : (u, l) float64
        Rows in ascending order of the unlabelled points, columns in the order of ``labeled``.
    note : str
        What its row sums span, which must be 1, and whether K is therefore numerically void.

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
    matrix, S_UL = _laplacian(graph, unlabeled, labeled)
    # Overflow and NaN are what happens here to the published code; the note and the check say so.
    with np.errstate(all="ignore"):
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
    # Written so that NaN, the sum of two overflows, is void as well.
    if not np.abs(sums - 1.0).max() <= _VOID:
        note += (
            ": it is numerically void (D - S with self-loops cancels in float64), and what is "
            "chosen by it says nothing about the method"
        )
    return K, note


def _laplacian(graph: RBFGraph, unlabeled: Integers, labeled: Integers) -> tuple[Floats, Floats]:
    """Return ``D_UU - S_UU`` and ``S_UL``, self-loops in both D and S."""
    matrix = np.empty((unlabeled.size, unlabeled.size))
    S_UL = np.empty((unlabeled.size, labeled.size))
    step = max(1, _BLOCK // graph.n_points)
    everyone = np.arange(graph.n_points, dtype=np.int64)
    for start in range(0, unlabeled.size, step):
        rows = unlabeled[start : start + step]
        part = slice(start, start + rows.size)
        S = graph.weights(rows, everyone)
        # By direct differences a point is at distance 0 of itself; by products, nearly so.
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
