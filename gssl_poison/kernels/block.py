"""One block of rows, from points to shares: prepare, multiply, reduce, recheck what is in doubt.

`reduce_block` is a pure function of row numbers, so blocks run on any thread, in any order, and
give the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gssl_poison.kernels import cpu, int8, recheck
from gssl_poison.kernels.bounds import LOOSEST, UNIT_ROUNDOFF, direct_error
from gssl_poison.kernels.columns import Columns, norm_above
from gssl_poison.kernels.lattice import encode_rows
from gssl_poison.kernels.results import (
    LARGEST_FLOAT32_NORM,
    BlockResult,
    has_good_unit,
    judge,
    result_of,
)
from gssl_poison.kernels.workspace import Workspace

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# Products summed at a time; long enough that the matrix product runs at its full rate.
_CHUNK = 1024


@dataclass(frozen=True)
class Products:
    """Dot products of a block, and what makes scores of them.

    Attributes
    ----------
    route : str
        As in `BlockResult`.
    dots : (b', l') array, C-ordered
        Products; rows and columns beyond b and l are padding.
    slope, bias : scalar, (l,) array
        A score is ``slope * dot + bias``, in the type of ``dots``.
    unit : float
        What a score of 1 is in log units.
    bound : (b,) float64
        Proven error of a row's scores, in log units.
    """

    route: str
    dots: npt.NDArray[Any]
    slope: Any
    bias: npt.NDArray[Any]
    unit: float
    bound: Floats


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
    source, source_rows = _source(columns, rows)
    products = _multiply(columns, rows, source, source_rows, workspace)
    bound = products.bound
    total = np.zeros(columns.n_labeled)
    rest, first = np.empty(rows.size), np.empty(rows.size, dtype=np.int64)
    cpu.shares_of_block(
        products.dots,
        products.slope,
        products.bias,
        np.float32(products.unit),
        bound,
        workspace.take("shares", (columns.n_labeled,), "float32"),
        total,
        rest,
        first,
    )
    verdict, doubtful = judge(rest, bound)
    unresolved = np.zeros(1, dtype=np.int64)
    if doubtful.size:
        if columns.sparse:
            X = columns.X
            where: tuple[Any, ...] = (X.data, X.indices, X.indptr, rows, columns.labeled)
            decide: Any = recheck.recheck_sparse
        else:
            where = (source, source_rows, columns.raw, columns.raw_rows)
            decide = recheck.recheck_dense
        known = (columns.gamma, columns.offset, columns.offset_error)
        relative = direct_error(columns.n_features)
        results = (total, unresolved, first, verdict)
        decide(products.dots, products.unit, bound, doubtful, *where, *known, relative, *results)
    return result_of(
        total, first, verdict, bound, int(unresolved[0]), int(doubtful.size), products.route
    )


def _source(columns: Columns, rows: Integers) -> tuple[Any, Integers]:
    """Return C-ordered memory that holds the block's raw rows, and where in it they are."""
    if columns.sparse or columns.in_place:
        return columns.X, rows
    return np.ascontiguousarray(columns.X[rows]), np.arange(rows.size)


def _multiply(
    columns: Columns, rows: Integers, source: Any, source_rows: Integers, workspace: Workspace
) -> Products:
    """Multiply a block by the cheapest route whose bound is good."""
    if columns.sparse:
        return _multiply_sparse(columns, rows, workspace)
    if columns.once(lambda: columns.lattice) is not None:
        products = _multiply_codes(columns, source, source_rows, workspace)
        if products is not None:
            return products
    return _multiply_dense(columns, rows, source, source_rows, workspace)


def _multiply_codes(
    columns: Columns, source: npt.NDArray[Any], source_rows: Integers, workspace: Workspace
) -> Products | None:
    """Multiply a block of 8-bit codes exactly, or return None where it is no such block."""
    lattice = columns.lattice
    assert lattice is not None  # noqa: S101 - for the type checker
    n_rows, width = source_rows.size, int8.padded(columns.n_features, int8.GROUP)
    codes = workspace.take("codes", (int8.padded(n_rows, int8.ROWS), width), "uint8")
    codes[:, columns.n_features :] = 0
    squares = np.empty(n_rows, dtype=np.int64)
    unit = lattice.unit(columns.gamma)
    if not has_good_unit(unit):
        return None
    if not encode_rows(source, source_rows, lattice.step, lattice.off, codes, squares):
        return None
    norm = lattice.norm_above(squares)
    bound = lattice.row_bound(columns.gamma, norm)
    bound += columns.recheck_bound(columns.gamma, norm + lattice.largest_norm)
    if not np.median(bound) <= LOOSEST:
        return None
    shape = (codes.shape[0], lattice.panels.shape[0] * int8.PANEL)
    dots = workspace.take("dots", shape, "int32")
    int8.multiply(codes, lattice.panels, dots)
    return Products("int8", dots, np.int32(2), lattice.minus_squares, unit, bound)


def _multiply_dense(
    columns: Columns,
    rows: Integers,
    source: npt.NDArray[Any],
    source_rows: Integers,
    workspace: Workspace,
) -> Products:
    """Multiply a block in float32 where its bound is good, else in float64."""
    known = columns.once(lambda: columns.centered)
    squares = np.empty(rows.size)
    for precision in ("float32", "float64"):
        points = workspace.take("points", (rows.size, columns.n_features), precision)
        cpu.center_rows(source, source_rows, known.center, known.scale, points, squares)
        columns.refuse_not_finite(squares, rows)
        norm = norm_above(squares, columns.n_features)
        columns.refuse_too_far(norm, rows)
        chunks = _chunks(columns.n_features)
        bound = columns.row_bound(norm, chunks[0].stop + len(chunks), precision)
        if np.median(bound) <= LOOSEST and norm.max() <= LARGEST_FLOAT32_NORM:
            break
    dots = workspace.take("dots", (rows.size, columns.n_labeled), precision)
    labeled = columns.once(lambda: columns.points(precision))
    np.matmul(points[:, chunks[0]], labeled[:, chunks[0]].T, out=dots)
    for chunk in chunks[1:]:
        part = workspace.take("part", dots.shape, precision)
        np.matmul(points[:, chunk], labeled[:, chunk].T, out=part)
        np.add(dots, part, out=dots)
    slope = dots.dtype.type(2.0 * columns.scaled_gamma)
    return Products(precision, dots, slope, columns.bias(precision), 1.0, bound)


def _chunks(n_features: int) -> list[slice]:
    """Cut features into chunks whose products are summed one after another.

    A sum of d products is bounded by ``d u``, a sum of chunks by their length plus their number: a
    third as many rows of 3,072 features are in doubt, for a few additions a score.
    """
    step = n_features if n_features <= _CHUNK else _CHUNK
    return [slice(start, min(start + step, n_features)) for start in range(0, n_features, step)]


def _multiply_sparse(columns: Columns, rows: Integers, workspace: Workspace) -> Products:
    """Multiply a block of CSR rows by the labelled rows, in float64, without densifying either."""
    X, labeled = columns.X, columns.once(lambda: columns.by_feature)
    squares, n_terms = np.empty(rows.size), np.empty(rows.size)
    cpu.sparse_squares(X.data, X.indptr, rows, squares, n_terms)
    columns.refuse_not_finite(squares, rows)
    dots = workspace.take("dots", (rows.size, columns.n_labeled), "float64")
    cpu.sparse_dots(
        X.data, X.indices, X.indptr, rows, labeled.data, labeled.indices, labeled.indptr, dots
    )
    norm = norm_above(squares, n_terms)
    columns.refuse_too_far(norm, rows)
    bound = columns.row_bound(norm, np.maximum(n_terms, columns.most_terms), "float64")
    slope = np.float64(2.0 * columns.gamma)
    return Products("sparse", dots, slope, columns.bias("float64"), 1.0, bound)


def add_degrees(columns: Columns, rows: Integers, workspace: Workspace) -> tuple[Floats, Floats]:
    """Return what a block of rows adds to the column sums of W, (l,), and the error it may have.

    Notes
    -----
    float64 throughout, since every share depends on these sums: ``2 b l d`` operations, twice as
    slow as float32. A labelled row meets itself too: its self-loop weighs 1.
    """
    degree, error = np.zeros(columns.n_labeled), np.zeros(columns.n_labeled)
    relative = direct_error(columns.n_features)
    if columns.sparse:
        X = columns.X
        cpu.degrees_of_sparse_block(
            X.data,
            X.indices,
            X.indptr,
            rows,
            columns.labeled,
            columns.gamma,
            relative,
            degree,
            error,
        )
        return degree, error
    known = columns.once(lambda: columns.centered)
    source, source_rows = _source(columns, rows)
    points = workspace.take("points", (rows.size, columns.n_features), "float64")
    squares = np.empty(rows.size)
    cpu.center_rows(source, source_rows, known.center, known.scale, points, squares)
    columns.refuse_not_finite(squares, rows)
    norm = norm_above(squares, columns.n_features)
    columns.refuse_too_far(norm, rows)
    dots = workspace.take("dots", (rows.size, columns.n_labeled), "float64")
    np.matmul(points, columns.once(lambda: columns.points("float64")).T, out=dots)
    # |x|^2, |y|^2 and 2 x.y are each within gamma_(d+10) of terms that sum to (|x| + |y|)^2.
    k = (columns.n_features + 10.0) * UNIT_ROUNDOFF["float64"]
    bound = columns.scaled_gamma * (norm + known.largest_norm) ** 2 * k / (1.0 - k)
    cpu.degrees_of_dense_block(
        dots,
        squares,
        known.squares,
        bound,
        source,
        source_rows,
        columns.raw,
        columns.raw_rows,
        columns.gamma,
        known.scale**-2,
        relative,
        degree,
        error,
    )
    return degree, error
