"""Influence: what the columns of M decide, streamed by row blocks and never stored."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from gssl_poison._arguments import check_choice
from gssl_poison._arrays import n_threads, one_blas_thread
from gssl_poison.exceptions import DeviceError, InputError, InputTypeError
from gssl_poison.graph import RBFGraph
from gssl_poison.kernels import cuda
from gssl_poison.propagation import Direct, Fitted

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Progress = Callable[[int, int], None]
T = TypeVar("T")

PRODUCTS = ("float32", "slices")

# Scores of a block: 2**21 float32 are 8 MiB a thread. Fewer rows a block would make BLAS pack the
# labelled side too often, more would leave the last-level cache.
_SCORES = 2**21
_MOST_ROWS = 512
_FEWEST_ROWS = 16
# Values of a block of dense rows: 2**20 float32 are 4 MiB a thread.
_VALUES = 2**20
_FEWEST_WIDE_ROWS = 64

# Where M comes from a propagator whose entries carry rounding errors without a proven bound, a
# share is told from one half if it is this far off, and off by the propagator's own error.
_BAND = 1e-9


@dataclass(frozen=True)
class Influence:
    """What every labelled point decides among the unlabelled ones.

    Attributes
    ----------
    mir : (l,) int64
        Major influence range: unlabelled points in which its share is certainly above one half.
    total : (l,) float64
        Sum of its shares over the unlabelled points.
    n_unlabeled : int
        How many unlabelled points there are.
    undecided : int
        Points whose largest share cannot be told from one half in float64; not counted in ``mir``.
    unresolved : int
        Points whose shares float64 cannot tell at this gamma; left out of ``total``.
    unreached : int
        Points that no label reaches; left out of everything.
    rechecked : int
        Points the fast path left to the recheck routine.
    routes : dict of str to int
        Points by the type their product ran in.
    bound : float
        Largest proven error of a score in the fast path, at most 1/8: ``total`` is within a factor
        ``exp(2 bound + 1e-5)``, and as a rule a hundred times closer.
    seconds : float
        Wall-clock time.
    """

    mir: Integers = field(repr=False)
    total: Floats = field(repr=False)
    n_unlabeled: int
    undecided: int
    unresolved: int
    unreached: int
    rechecked: int
    routes: dict[str, int]
    bound: float
    seconds: float

    @property
    def share(self) -> Floats:
        """Part of the unlabelled points that each labelled point is the major influencer of."""
        return self.mir / self.n_unlabeled


def measure_influence(
    prop: Fitted,
    *,
    block_size: int | None = None,
    progress: Progress | None = None,
    threads: int | None = None,
    product: str = "float32",
) -> Influence:
    """Measure the influence of every labelled point.

    Parameters
    ----------
    prop : Fitted
        A fitted propagator of any kind; the device is that of its graph.
    block_size : int, optional
        Rows a block; by default what keeps a block's scores near the cache. Counts do not depend
        on it.
    progress : callable, optional
        Called as ``progress(done, all)`` in rows, from the calling thread.
    threads : int, optional
        Blocks at a time; by default the processors this process may use. Counts do not depend on
        it.
    product : {"float32", "slices"}, default "float32"
        How a GPU multiplies features that are no 8-bit numbers: in float32, or cut into three
        signed bytes a value, whose products are exact on its tensor cores. Counts do not depend
        on it: each has a proven bound, and what lies within it is rechecked.

    Returns
    -------
    Influence

    Raises
    ------
    InputError
        A feature is not finite, distances leave float64, or an argument is out of range.

    Notes
    -----
    Definitions 1 to 4 of the influence-driven attack: with shares ``s_ij = M_ij / sum_k M_ik``,
    ``MIR(j) = |{i : s_ij > 1/2}|`` and the total influence is ``sum_i s_ij``. The product runs in
    exact integers where the features are 8-bit numbers, in float32 where its rounding bound is
    small and in float64 elsewhere; a row whose count the bound leaves open is judged by one float64
    routine of fixed order, which defines the count. That is `Direct` on an `RBFGraph`; the shares
    of other propagators are read as they are, and those within 1e-9 and the propagator's own error
    of one half are undecided.
    ``2 u l d`` operations ("column-row": ``2 n l d`` in float64 before it); memory of
    ``threads (l + d)`` times the block size and ``l d`` numbers.
    """
    workers = n_threads() if threads is None else _check_count("threads", threads)
    if progress is not None and not callable(progress):
        raise InputTypeError(
            f"progress={progress!r} cannot be called; pass a function of (done, all) rows."
        )
    graph = prop.graph
    check_choice("product", product, PRODUCTS)
    if product != "float32" and getattr(graph, "device", "cpu") != "cuda":
        raise DeviceError(
            f"product={product!r} is how a GPU multiplies, and this graph is computed on the CPU; "
            "use product='float32', or RBFGraph(X, gamma, device='cuda')."
        )
    if not (isinstance(graph, RBFGraph) and isinstance(prop.propagator, Direct)):
        return _read_shares(prop, check_block_size(block_size, prop.labeled.size), progress)
    from gssl_poison.kernels.block import reduce_block
    from gssl_poison.kernels.columns import Columns
    from gssl_poison.kernels.parallel import in_order

    started = time.perf_counter()  # kernels are imported by now: this is the work
    width = 1 if graph.is_sparse else graph.n_features
    rows = check_block_size(block_size, prop.labeled.size, width)
    n_passes = 2 if prop.propagator.normalization == "column-row" else 1
    everything = prop.unlabeled.size + (graph.n_points if n_passes == 2 else 0)
    report = _Counter(progress, everything)
    with one_blas_thread():
        offset, offset_error = None, 0.0
        if n_passes == 2:
            offset, offset_error = _column_offsets(graph, prop.labeled, rows, workers, report)
        columns = Columns(graph.X, prop.labeled, graph.gamma, offset, offset_error)
        total = np.zeros(prop.labeled.size)
        mir = np.zeros(prop.labeled.size, dtype=np.int64)
        undecided = unresolved = rechecked = 0
        bound, routes = 0.0, dict[str, int]()

        if graph.device == "cuda":
            from gssl_poison.kernels.cuda_shares import reduce_on_card, rows_of_block

            rows = rows_of_block(columns) if block_size is None else rows
            parts = _blocks(prop.unlabeled, rows)
            results = reduce_on_card(cuda.card(), columns, parts, product, graph.resident)
        else:
            results = in_order(
                lambda part, workspace: reduce_block(columns, part, workspace),
                _blocks(prop.unlabeled, rows),
                workers,
            )
        for result in results:
            total += result.total
            mir += result.major
            undecided += result.undecided
            unresolved += result.unresolved
            rechecked += result.rechecked
            bound = max(bound, result.bound)
            routes[result.route] = routes.get(result.route, 0) + result.rows
            report.add(result.rows)
    return Influence(
        mir=mir,
        total=total,
        n_unlabeled=int(prop.unlabeled.size),
        undecided=undecided,
        unresolved=unresolved,
        unreached=0,
        rechecked=rechecked,
        routes=routes,
        bound=bound,
        seconds=time.perf_counter() - started,
    )


def _read_shares(prop: Fitted, size: int, progress: Progress | None) -> Influence:
    """Measure influence by reading the shares of a propagator that keeps or computes its M."""
    started = time.perf_counter()
    n_labeled, rows = prop.labeled.size, prop.unlabeled
    total, mir = np.zeros(n_labeled), np.zeros(n_labeled, dtype=np.int64)
    undecided = unreached = 0
    band = _BAND + 2.0 * prop.error
    report = _Counter(progress, rows.size)
    for _, shares in prop.share_blocks(size):
        total += shares.sum(axis=0)
        first = shares.argmax(axis=1)
        top = shares[np.arange(first.size), first]
        mir += np.bincount(first[top > 0.5 + band], minlength=n_labeled)
        undecided += int((np.abs(top - 0.5) <= band).sum())
        unreached += int((top == 0.0).sum())
        report.add(first.size)
    return Influence(
        mir=mir,
        total=total,
        n_unlabeled=int(rows.size),
        undecided=undecided,
        unresolved=0,
        unreached=unreached,
        rechecked=0,
        routes={prop.method: int(rows.size)},
        bound=prop.error,
        seconds=time.perf_counter() - started,
    )


def major_influence_range(prop: Fitted) -> Integers:
    """Return how many unlabelled points each labelled point holds more than half of, (l,) int64.

    Examples
    --------
    >>> import numpy as np
    >>> from gssl_poison import Direct, RBFGraph
    >>> graph = RBFGraph(np.array([[0.0], [0.4], [1.0], [3.0]]), gamma=1.0)
    >>> major_influence_range(Direct().fit(graph, np.array([0, 3])))
    array([2, 0])
    """
    return measure_influence(prop).mir


def total_influence(prop: Fitted) -> Floats:
    """Return the sum of every labelled point's shares, (l,) float64; they add up to u.

    Examples
    --------
    >>> import numpy as np
    >>> from gssl_poison import Direct, RBFGraph
    >>> graph = RBFGraph(np.array([[0.0], [0.4], [1.0], [3.0]]), gamma=1.0)
    >>> total_influence(Direct().fit(graph, np.array([0, 3]))).round(3)
    array([1.951, 0.049])
    """
    return measure_influence(prop).total


def check_block_size(block_size: int | None, n_labeled: int, n_features: int = 1) -> int:
    """Return the rows of a block, by default what keeps its scores near the cache."""
    if block_size is None:
        by_scores = max(_FEWEST_ROWS, _SCORES // n_labeled)
        by_values = max(_FEWEST_WIDE_ROWS, _VALUES // n_features)
        return min(_MOST_ROWS, by_scores, by_values)
    return _check_count("block_size", block_size)


def _check_count(name: str, value: object) -> int:
    """Refuse what is not a positive whole number."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise InputError(f"{name}={value!r} is not a positive whole number; give at least 1.")
    return int(value)


def _blocks(rows: Integers, size: int) -> Iterator[Integers]:
    """Cut row numbers into consecutive blocks of almost equal length, at most ``size``.

    A multiple of eight of them, where there are that many, so that the usual numbers of threads
    finish together.
    """
    count = -(-rows.size // size)
    if count > 8:
        count = min(-(-count // 8) * 8, rows.size)
    edges = np.arange(count + 1) * rows.size // count
    return (rows[a:b] for a, b in pairwise(edges.tolist()))


class _Counter:
    """Counts rows and tells the caller's progress function."""

    def __init__(self, progress: Progress | None, everything: int) -> None:
        self._progress, self._all, self._done = progress, everything, 0

    def add(self, rows: int) -> None:
        self._done += rows
        if self._progress is not None:
            self._progress(self._done, self._all)


def _column_offsets(
    graph: RBFGraph, labeled: Integers, rows: int, workers: int, report: _Counter
) -> tuple[Floats, float]:
    """Return minus the logarithm of the labelled column sums of W, (l,), and its error."""
    from gssl_poison.kernels.block import add_degrees
    from gssl_poison.kernels.columns import Columns
    from gssl_poison.kernels.parallel import in_order

    columns = Columns(graph.X, labeled, graph.gamma)
    degree, error = np.zeros(labeled.size), np.zeros(labeled.size)
    everyone = np.arange(graph.n_points, dtype=np.int64)
    parts = list(_blocks(everyone, rows))
    for part, (weights, errors) in zip(
        parts,
        in_order(lambda part, space: add_degrees(columns, part, space), iter(parts), workers),
        strict=True,
    ):
        degree += weights
        error += errors
        report.add(part.size)
    # A sum of n positive terms in any order is within n u of itself.
    relative = float((error / degree).max()) + (everyone.size + 4.0) * 2.0**-53
    # Half or more: the sums are not known, and no row is decided by them.
    known = -float(np.log1p(-relative)) + 2.0**-50 if relative < 0.5 else np.inf
    return -np.log(degree), known
