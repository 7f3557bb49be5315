"""One block of rows, from points to shares: prepare, multiply, reduce, recheck what is in doubt.

`Columns` holds what every block shares, the labelled side. `reduce_block` is a pure function of
row numbers, so blocks run on any thread, in any order, and give the same bits.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gssl_poison._arrays import Features, is_sparse, refuse_not_finite
from gssl_poison.exceptions import InputError
from gssl_poison.kernels import cpu, recheck
from gssl_poison.kernels.bounds import LOOSEST, UNIT_ROUNDOFF, decision_band, score_bound

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# Beyond this norm, in units of the largest labelled norm, float32 could overflow.
_LARGEST_FLOAT32_NORM = 2.0**60
# Scaling by 2**k with |k| beyond this leaves float64 once squared.
_LARGEST_EXPONENT = 505


@dataclass(frozen=True)
class BlockResult:
    """What one block of rows adds to the columns.

    Attributes
    ----------
    total : (l,) float64
        Sum of the shares of the block's rows.
    major : (l,) int64
        Rows of the block in which a column holds more than half.
    undecided, rechecked, rows : int
        Rows within the routine's own bound of one half; rows it was asked about; all rows.
    route : str
        Type of the product: "float32", "float64" or "sparse".
    bound : float
        Largest proven error of a score that shares were taken from, in log units.
    """

    total: Floats
    major: Integers
    undecided: int
    rechecked: int
    rows: int
    route: str
    bound: float


def norm_above(squares: Floats, n_terms: int | Floats) -> Floats:
    """Return upper bounds of norms whose squares were summed over ``n_terms`` terms in float64."""
    norms: Floats = np.sqrt(squares) * (1.0 + (np.asarray(n_terms) + 10.0) * 2.0**-52)
    return norms


class Columns:
    """The labelled side, prepared once: centred, scaled, and in each precision that was needed.

    Parameters
    ----------
    X : (n, d) features
        All points.
    labeled : (l,) int64
        Row numbers of the labelled points.
    gamma : float
        Kernel coefficient.
    offset : (l,) float64, optional
        Added to every log-weight of a column; known within ``offset_error``.
    offset_error : float
        See ``offset``.
    """

    def __init__(
        self,
        X: Features,
        labeled: Integers,
        gamma: float,
        offset: Floats | None = None,
        offset_error: float = 0.0,
    ) -> None:
        self.X = X
        self.labeled = labeled
        self.gamma = gamma
        self.n_labeled = int(labeled.size)
        self.n_features = int(X.shape[1])
        self.offset = np.zeros(self.n_labeled) if offset is None else offset
        self.offset_error = offset_error
        self.sparse = is_sparse(X)
        self._prepared: dict[str, tuple[npt.NDArray[Any], npt.NDArray[Any]]] = {}
        self._lock = threading.Lock()
        # Kernels read C-ordered rows where they lie; of anything else the labelled rows are copied.
        self.in_place = not self.sparse and bool(X.flags.c_contiguous)
        if self.sparse:
            self._prepare_sparse()
        else:
            self._prepare_dense()

    def _prepare_dense(self) -> None:
        """Find the centre, the scale and the norms of the labelled points."""
        self.raw = self.X if self.in_place else np.ascontiguousarray(self.X[self.labeled])
        self.raw_rows = self.labeled if self.in_place else np.arange(self.n_labeled)
        n_features = self.n_features
        self.center = np.zeros(n_features)
        step = max(1, 2**20 // n_features)
        for start in range(0, self.n_labeled, step):
            part = self.raw[self.raw_rows[start : start + step]]
            self.center += part.sum(axis=0, dtype=np.float64)
        self.center /= self.n_labeled
        self.scale = 1.0
        squares = self._labeled_squares(step)
        self.scale = self._choose_scale(math.sqrt(squares.max()))
        if 2.0**-600 < squares.max() < 2.0**600:
            self.squares = squares * self.scale**2  # a power of two: exact
        else:  # the first pass may have lost digits to underflow
            self.squares = self._labeled_squares(step)
        self.largest_norm = float(norm_above(self.squares, n_features).max())

    def _labeled_squares(self, step: int) -> Floats:
        """Return the squared norms of the labelled points, centred and scaled, (l,)."""
        squares = np.empty(self.n_labeled)
        scratch = np.empty((min(step, self.n_labeled), self.n_features), dtype=np.float32)
        for start in range(0, self.n_labeled, step):
            part = slice(start, start + step)
            cpu.center_rows(
                self.raw, self.raw_rows[part], self.center, self.scale, scratch, squares[part]
            )
        self.refuse_not_finite(squares, self.labeled)
        return squares

    def refuse_not_finite(self, squares: Floats, rows: Integers) -> None:
        """Refuse rows whose squared norm is not finite."""
        if not np.isfinite(squares).all():
            refuse_not_finite(self.X, rows[~np.isfinite(squares)])

    def _choose_scale(self, largest: float) -> float:
        """Return the power of two that brings the largest labelled norm near 1."""
        if largest == 0.0:
            return 1.0
        exponent = -math.frexp(largest)[1]
        if abs(exponent) > _LARGEST_EXPONENT or not math.isfinite(
            self.gamma * 2.0 ** (-2 * exponent)
        ):
            raise InputError(
                f"labelled points lie {largest:.3g} from their mean, and squared distances times "
                f"gamma = {self.gamma:.3g} leave float64; rescale X to values near 1."
            )
        return float(2.0**exponent)

    def _prepare_sparse(self) -> None:
        """Store the labelled rows by feature, and their norms."""
        rows = self.X[self.labeled].astype(np.float64)
        self.squares = np.asarray(rows.multiply(rows).sum(axis=1)).ravel()
        self.refuse_not_finite(self.squares, self.labeled)
        self.by_feature = rows.T.tocsr()
        self.scale = 1.0
        self.largest_norm = float(norm_above(self.squares, self.n_features).max())

    @property
    def scaled_gamma(self) -> float:
        """Kernel coefficient in the units of the scaled points."""
        return self.gamma / self.scale**2

    def bias(self) -> Floats:
        """Return what is added to every score of a column, (l,)."""
        bias: Floats = self.offset - self.scaled_gamma * self.squares
        return bias

    def prepared(self, precision: str) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return the centred, scaled labelled points (l, d) and the bias (l,) in a precision."""
        with self._lock:
            if precision not in self._prepared:
                points = np.empty((self.n_labeled, self.X.shape[1]), dtype=precision)
                unused = np.empty(self.n_labeled)
                cpu.center_rows(self.raw, self.raw_rows, self.center, self.scale, points, unused)
                self._prepared[precision] = (points, self.bias().astype(precision))
            return self._prepared[precision]

    def row_bound(self, row_norm: Floats, n_terms: int | Floats, precision: str) -> Floats:
        """Bound the error of the scores of rows of these norms, offsets included; (rows,)."""
        bound = score_bound(self.scaled_gamma, n_terms, row_norm, self.largest_norm, precision)
        offset = float(np.abs(self.offset).max())
        bound += 4.0 * UNIT_ROUNDOFF[precision] * offset + self.offset_error
        return bound


class Workspace:
    """Buffers of one thread, grown to the largest block it has seen."""

    def __init__(self) -> None:
        self._arrays: dict[tuple[str, str], npt.NDArray[Any]] = {}

    def take(self, name: str, shape: tuple[int, ...], dtype: str) -> npt.NDArray[Any]:
        """Return an uninitialised array of this shape, in memory that is used again."""
        size = math.prod(shape)
        flat = self._arrays.get((name, dtype))
        if flat is None or flat.size < size:
            flat = self._arrays[name, dtype] = np.empty(size, dtype=dtype)
        return flat[:size].reshape(shape)


def reduce_block(columns: Columns, rows: Integers, workspace: Workspace) -> BlockResult:
    """Reduce a block of rows to what it adds to every column.

    Parameters
    ----------
    columns : Columns
        The labelled side.
    rows : (b,) int64
        Row numbers of the block.
    workspace : Workspace
        Buffers of the calling thread.

    Returns
    -------
    BlockResult

    Raises
    ------
    InputError
        A row holds a value that is not finite, or so large that its square is not.

    Notes
    -----
    Costs ``2 b l d`` operations in the product and about ten a score after it; memory
    ``b (l + d)`` numbers.
    """
    n_labeled = columns.n_labeled
    total = np.zeros(n_labeled)
    rest, first = np.empty(rows.size), np.empty(rows.size, dtype=np.int64)
    buffer = workspace.take("shares", (n_labeled,), "float32")
    if columns.sparse:
        route, (scores, bound) = "sparse", _sparse_dots(columns, rows, workspace)
        bias = columns.bias()
    else:
        source, source_rows = _source(columns, rows)
        route, scores, bound = _dense_dots(columns, rows, source, source_rows, workspace)
        bias = columns.prepared(route)[1]
    slope = scores.dtype.type(2.0 * columns.scaled_gamma)
    cpu.shares_of_block(scores, slope, bias, bound, buffer, total, rest, first)

    low, high = decision_band(bound)
    verdict = np.where(rest < low, recheck.MAJOR, recheck.MINOR).astype(np.int64)
    # Not "low <= rest": a rest that is not a number is in doubt.
    loose = ~(bound <= LOOSEST)
    doubtful = np.flatnonzero(loose | ~((rest < low) | (rest > high)))
    if doubtful.size:
        if columns.sparse:
            X = columns.X
            where: tuple[Any, ...] = (X.data, X.indices, X.indptr, rows, columns.labeled)
            decide: Any = recheck.recheck_sparse
        else:
            where = (source, source_rows, columns.raw, columns.raw_rows)
            decide = recheck.recheck_dense
        known = (columns.gamma, columns.offset, columns.offset_error)
        decide(scores, bound, doubtful, *where, *known, total, first, verdict)
    return BlockResult(
        total=total,
        major=np.bincount(first[verdict == recheck.MAJOR], minlength=n_labeled),
        undecided=int((verdict == recheck.UNDECIDED).sum()),
        rechecked=int(doubtful.size),
        rows=int(rows.size),
        route=route,
        bound=float(bound[~loose].max(initial=0.0)),
    )


def _source(columns: Columns, rows: Integers) -> tuple[npt.NDArray[Any], Integers]:
    """Return C-ordered memory that holds the block's raw rows, and where in it they are."""
    if columns.in_place:
        return columns.X, rows
    return np.ascontiguousarray(columns.X[rows]), np.arange(rows.size)


def _dense_dots(
    columns: Columns,
    rows: Integers,
    source: npt.NDArray[Any],
    source_rows: Integers,
    workspace: Workspace,
) -> tuple[str, npt.NDArray[Any], Floats]:
    """Multiply a block in float32 where its bound is good, else in float64."""
    shape = (rows.size, columns.X.shape[1])
    squares = np.empty(rows.size)
    for precision in ("float32", "float64"):
        points = workspace.take("points", shape, precision)
        cpu.center_rows(source, source_rows, columns.center, columns.scale, points, squares)
        columns.refuse_not_finite(squares, rows)
        norm = norm_above(squares, columns.n_features)
        bound = columns.row_bound(norm, shape[1], precision)
        if precision == "float64" or (
            np.median(bound) <= LOOSEST and norm.max() <= _LARGEST_FLOAT32_NORM
        ):
            break
    scores = workspace.take("scores", (rows.size, columns.n_labeled), precision)
    np.matmul(points, columns.prepared(precision)[0].T, out=scores)
    return precision, scores, bound


def _sparse_dots(
    columns: Columns, rows: Integers, workspace: Workspace
) -> tuple[npt.NDArray[Any], Floats]:
    """Multiply a block of CSR rows by the labelled rows, in float64, without densifying either."""
    X, labeled = columns.X, columns.by_feature
    squares, n_terms = np.empty(rows.size), np.empty(rows.size)
    cpu.sparse_squares(X.data, X.indptr, rows, squares, n_terms)
    columns.refuse_not_finite(squares, rows)
    norm = norm_above(squares, n_terms)
    scores = workspace.take("scores", (rows.size, columns.n_labeled), "float64")
    cpu.sparse_dots(
        X.data,
        X.indices,
        X.indptr,
        rows,
        labeled.data,
        labeled.indices,
        labeled.indptr,
        scores,
    )
    return scores, columns.row_bound(norm, n_terms, "float64")


def add_degrees(columns: Columns, rows: Integers, workspace: Workspace) -> tuple[Floats, Floats]:
    """Return what a block of rows adds to the column sums of W, (l,), and the error it may have.

    Notes
    -----
    float64 throughout, since every share depends on these sums: ``2 b l d`` operations, twice as
    slow as float32. The self-loop of a labelled row weighs exactly 1.
    """
    degree, error = np.zeros(columns.n_labeled), np.zeros(columns.n_labeled)
    position = {int(row): j for j, row in enumerate(columns.labeled)}
    own = np.fromiter((position.get(int(r), -1) for r in rows), dtype=np.int64, count=rows.size)
    if columns.sparse:
        X = columns.X
        cpu.degrees_of_sparse_block(
            X.data, X.indices, X.indptr, rows, columns.labeled, own, columns.gamma, degree, error
        )
        return degree, error
    source, source_rows = _source(columns, rows)
    points = workspace.take("points", (rows.size, columns.n_features), "float64")
    squares = np.empty(rows.size)
    cpu.center_rows(source, source_rows, columns.center, columns.scale, points, squares)
    columns.refuse_not_finite(squares, rows)
    norm = norm_above(squares, columns.n_features)
    dots = workspace.take("scores", (rows.size, columns.n_labeled), "float64")
    np.matmul(points, columns.prepared("float64")[0].T, out=dots)
    # |x|^2, |y|^2 and 2 x.y are each within gamma_(d+10) of terms that sum to (|x| + |y|)^2.
    k = (columns.n_features + 10.0) * UNIT_ROUNDOFF["float64"]
    bound = columns.scaled_gamma * (norm + columns.largest_norm) ** 2 * k / (1.0 - k)
    cpu.degrees_of_dense_block(
        dots,
        squares,
        columns.squares,
        bound,
        source,
        source_rows,
        columns.raw,
        columns.raw_rows,
        own,
        columns.gamma,
        columns.scale**-2,
        degree,
        error,
    )
    return degree, error
