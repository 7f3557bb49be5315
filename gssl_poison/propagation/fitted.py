"""A propagator on one graph and one set of labelled points: the operator M, and what it can do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from gssl_poison._arrays import available_memory
from gssl_poison.exceptions import InputError
from gssl_poison.graph import check_rows
from gssl_poison.linalg import Solution
from gssl_poison.propagation.harmonic_sparse import SparseHarmonic
from gssl_poison.propagation.stored import ClampedMatrix, RowsMatrix, too_small
from gssl_poison.sparse_graph import Graph

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# Numbers of a batch of columns that are propagated together where a block of M is asked for.
_BATCH = 2**25


class Operator(Protocol):
    """What a fitted propagator needs of its M, an (n, l) matrix that may never be stored.

    Results come with the logarithm of a factor, one for all rows or one a row: true scores may be
    too small for float64 where their ratios are not. ``lift`` is the power of two by which unit
    vectors are multiplied for the same reason, where rows of M come from `adjoint`.
    """

    @property
    def lift(self) -> int:
        """Power of two that keeps small scores representable."""

    def apply(self, Y: Floats) -> tuple[Floats, float | Floats]:
        """Return F and s with ``M Y = exp(s) F``."""

    def adjoint(self, R: Floats) -> Floats:
        """Return ``M.T R``."""

    def rows(self, rows: Integers) -> tuple[Floats, float | Floats] | None:
        """Return rows of M with their factor, or None where `adjoint` is the way to them."""


@dataclass(frozen=True)
class Fitted:
    """A propagator fitted to a graph and its labelled points: ``F = M Y``.

    Made by ``fit`` of `Direct`, `Propagation`, `Harmonic`, `Spreading` or `Predicted`.

    Attributes
    ----------
    propagator : Direct, Propagation, Harmonic, Spreading or Predicted
        The settings.
    graph : RBFGraph, DenseGraph or SparseGraph
    labeled, unlabeled : (l,), (u,) int64
        Row numbers; columns of M are in the order of ``labeled``.
    unreached : (r,) int64
        Unlabelled points that no label reaches: their rows of M are 0.
    method : str
        How the work is done: "direct", "loop", "series", "gth", "cholesky", "cg", "lu", "bicgstab".
    n_iter : int
        Iterations of the loop or terms of the series, 1 for an elimination, 0 where each product
        is a solve, whose figures `solve` returns.
    residual : float
        What is left of the equations: of an elimination, componentwise on a sample of rows; 0
        where there is nothing to solve.
    converged : bool
    error : float
        Largest absolute error of a row-normalised entry of M, where it is known, besides that of
        the log-weights; 0 stands for rounding alone.
    """

    propagator: Any
    graph: Graph = field(repr=False)
    labeled: Integers = field(repr=False)
    unlabeled: Integers = field(repr=False)
    operator: Operator = field(repr=False)
    method: str
    unreached: Integers = field(repr=False, default_factory=lambda: np.empty(0, dtype=np.int64))
    n_iter: int = 1
    residual: float = 0.0
    converged: bool = True
    error: float = 0.0
    clamped: bool = True
    without_own: Callable[[], Floats] | None = field(repr=False, default=None)

    def apply(self, Y: npt.ArrayLike, *, normalized: bool = False) -> Floats:
        """Return the scores ``F = M Y`` of all points.

        Parameters
        ----------
        Y : (l, c) array-like
            A row for every labelled point, in the order of ``labeled``: one-hot, or soft.
        normalized : bool, default False
            Divide every row by its sum, which must then be of non-negative labels. Right even
            where the scores themselves are too small for float64; rows no label reaches stay 0.

        Returns
        -------
        (n, c) float64

        Raises
        ------
        InputError
            Y has another shape, is not finite, or is negative where rows are to be normalised.
        """
        scores, log_scale = self.operator.apply(self._check(Y, "Y", self.labeled.size))
        if not normalized:
            return _scaled(scores, log_scale)
        if np.min(Y, initial=0.0) < 0.0:
            raise InputError(
                f"Y has the entry {np.min(Y)}; rows can be normalised for non-negative labels only."
            )
        if (np.sum(Y, axis=1) > 0.0).all():
            self._refuse_too_small(scores, np.arange(self.graph.n_points))
        return _row_normalized(scores)

    def solve(self, Y: npt.ArrayLike) -> Solution:
        """Return the scores with the figures of the solve that found them.

        Parameters
        ----------
        Y : (l, c) array-like
            As in `apply`.

        Returns
        -------
        Solution
            ``value`` (n, c), ``n_iter``, ``residual``, ``converged``, ``bound``.
        """
        if isinstance(self.operator, SparseHarmonic):
            return self.operator.solve(self._check(Y, "Y", self.labeled.size))
        return Solution(self.apply(Y), self.n_iter, self.residual, self.converged, self.error)

    def adjoint(self, R: npt.ArrayLike) -> Floats:
        """Return ``G = M.T R``: how a sum of scores, weighted by R, depends on every label.

        Parameters
        ----------
        R : (n, c) array-like
            A row for every point.

        Returns
        -------
        (l, c) float64
        """
        return self.operator.adjoint(self._check(R, "R", self.graph.n_points))

    def matrix(self, rows: npt.ArrayLike | None = None) -> Floats:
        """Return rows of M, (r, l) float64.

        Parameters
        ----------
        rows : (r,) int, optional
            Row numbers; the unlabelled points by default.

        Notes
        -----
        Read where M is stored; otherwise ``min(r, l)`` columns are propagated, a few hundred at a
        time, and the result is the only memory that grows with r or l.
        """
        return _scaled(*self._rows(rows))

    def shares(self, rows: npt.ArrayLike | None = None) -> Floats:
        """Return rows of M divided by their sums, (r, l): who decides a point, and how much of it.

        Rows that no label reaches are 0.

        Parameters
        ----------
        rows : (r,) int, optional
            Row numbers; the unlabelled points by default.
        """
        chosen = self.unlabeled if rows is None else np.asarray(rows)
        scores = self._rows(rows)[0]
        self._refuse_too_small(scores, chosen)
        return _row_normalized(scores)

    def share_blocks(self, size: int) -> Iterator[tuple[slice, Floats]]:
        """Yield the shares of the unlabelled points, a block of rows at a time.

        Parameters
        ----------
        size : int
            Rows of a block, at least.

        Notes
        -----
        Where M is computed and not stored, all of it is computed at once, by its ``l`` columns, if
        a quarter of the free memory holds it; otherwise a block of rows is as many products.
        """
        n_rows = self.unlabeled.size
        stored = self.operator.rows(self.unlabeled[:1]) is not None
        if not stored and 32 * n_rows * self.labeled.size <= available_memory():
            whole = self.shares()
            for start in range(0, n_rows, size):
                yield slice(start, start + size), whole[start : start + size]
            return
        # Not stored: as many rows as are propagated together.
        step = size if stored else max(size, 16, _BATCH // self.graph.n_points)
        for start in range(0, n_rows, step):
            part = slice(start, start + step)
            yield part, self.shares(self.unlabeled[part])

    def stored(self) -> Fitted:
        """Return the same with its M in memory: computed once, however often it is read.

        Raises
        ------
        InputError
            M does not fit: ``u l`` numbers, ``n l`` where labels are not clamped.

        Notes
        -----
        The cost of `matrix`, once; nothing where M is in memory already.
        """
        if isinstance(self.operator, ClampedMatrix | RowsMatrix):
            return self
        n, l = self.graph.n_points, self.labeled.size  # noqa: E741
        self._refuse_beyond_memory(self.unlabeled.size if self.clamped else n)
        if self.clamped:
            states = np.setdiff1d(self.unlabeled, self.unreached)
            values = self.matrix(states) if states.size else np.empty((0, l))
            return replace(self, operator=ClampedMatrix(n, self.labeled, states, values))
        scores, log_scale = self._rows(np.arange(n, dtype=np.int64))
        factors = np.broadcast_to(np.asarray(log_scale, dtype=np.float64), (n,))
        return replace(self, operator=RowsMatrix.of(scores, factors, self.unreached))

    def _refuse_beyond_memory(self, n_rows: int) -> None:
        """Refuse to hold rows of M, with as much again to work on them, that do not fit."""
        needed = 16 * n_rows * self.labeled.size
        if needed > available_memory():
            raise InputError(
                f"M, {n_rows:,} rows by {self.labeled.size:,} labels, takes {needed / 2**30:.1f} "
                f"GiB with its working copy, and {available_memory() / 2**30:.1f} GiB are free; "
                "use fewer points, or what reads M by blocks: mir and total."
            )

    def _refuse_too_small(self, scores: Floats, rows: Integers) -> None:
        """Refuse scores of points that a label reaches but float64 does not."""
        empty = ~(scores.max(axis=1, initial=0.0) > 0.0)
        if empty.any():
            empty &= ~np.isin(rows, self.unreached)
            if empty.any():
                raise too_small(int(rows[np.argmax(empty)]))

    def leave_one_out(self) -> Floats:
        """Return what every labelled point would be told by the others, (l, l) float64.

        Row ``j`` holds the shares of the other labels at point ``j``, were it unlabelled; its own
        entry is 0, and the row sums to 1, or to 0 where no other label reaches it.

        Raises
        ------
        InputError
            A loop of fixed length that clamps its labels has no such formula, nor has what is
            predicted from scores that a label has moved.

        Notes
        -----
        Direct: drop the point and renormalise. Harmonic: ``h_jk`` is proportional to
        ``w_jk + sum_i w_ji M_ik`` over ``k != j``, and M without label j is ``M + M_j h_j``.
        Spreading, which clamps nothing: the other columns of its own row.
        """
        if self.without_own is None:
            why = "its length is fixed"
            if not self.clamped:
                why = "it predicts from the scores of all points, which the label has moved"
            raise InputError(
                f"{self.propagator} has no formula for leaving a label out: {why}; "
                "fit it anew without the point, or use Harmonic, Spreading or Direct."
            )
        told = self.without_own()
        np.fill_diagonal(told, 0.0)
        return _row_normalized(told)

    def _rows(self, rows: npt.ArrayLike | None) -> tuple[Floats, float | Floats]:
        """Return rows of M and the logarithm of their factor."""
        n = self.graph.n_points
        chosen = self.unlabeled if rows is None else check_rows(rows, n, "rows")
        read = self.operator.rows(chosen)
        if read is not None:
            return read
        l = self.labeled.size  # noqa: E741 - the number of labelled points, everywhere
        block = np.empty((chosen.size, l))
        batch = max(16, _BATCH // n)
        if chosen.size < l:
            for start in range(0, chosen.size, batch):
                part = chosen[start : start + batch]
                unit = np.zeros((n, part.size))
                unit[part, np.arange(part.size)] = 2.0**self.operator.lift
                block[start : start + batch] = self.operator.adjoint(unit).T
            return block, -self.operator.lift * float(np.log(2.0))
        log_scale: float | Floats = 0.0
        for start in range(0, l, batch):
            unit = np.zeros((l, min(batch, l - start)))
            unit[start + np.arange(unit.shape[1]), np.arange(unit.shape[1])] = 1.0
            scores, log_scale = self.operator.apply(unit)
            block[:, start : start + batch] = scores[chosen]
        return block, log_scale

    def _check(self, values: npt.ArrayLike, name: str, size: int) -> Floats:
        """Return values as float64 of the right height."""
        given = np.asarray(values, dtype=np.float64)
        if given.ndim != 2 or given.shape[0] != size:
            raise InputError(
                f"{name} has shape {given.shape}; give one row for each of the {size:,} "
                f"{'labelled points' if name == 'Y' else 'points'} and one column a class."
            )
        if not np.isfinite(given).all():
            raise InputError(f"{name} holds a value that is not finite; every entry must be.")
        return given


def _scaled(scores: Floats, log_scale: float | Floats) -> Floats:
    """Return ``exp(log_scale) * scores``."""
    if isinstance(log_scale, float):
        # Powers of two, all of them: exact, where exp would round.
        return np.ldexp(scores, round(log_scale / float(np.log(2.0))))
    result: Floats = scores * np.exp(log_scale)[:, None]
    return result


def _row_normalized(scores: Floats) -> Floats:
    """Divide rows by their sums; rows of zeros stay."""
    # By the largest entry first: sums of very small scores would lose digits to denormal numbers.
    largest = scores.max(axis=1, keepdims=True, initial=0.0)
    shares: Floats = scores / np.where(largest > 0.0, largest, 1.0)
    sums = shares.sum(axis=1, keepdims=True)
    shares /= np.where(sums > 0.0, sums, 1.0)
    return shares
