"""Influence over the chunks of a Dask array: one task a chunk, on whatever scheduler is active."""

from __future__ import annotations

import math
import re
import time
from dataclasses import dataclass, replace
from functools import reduce
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt

from gssl_poison._arguments import check_choice, check_whole
from gssl_poison._arrays import Features, as_features, is_sparse, one_blas_thread
from gssl_poison.bandwidth import choose_gamma
from gssl_poison.exceptions import InputError, InputTypeError
from gssl_poison.graph import RBFGraph, check_rows, other_rows
from gssl_poison.influence import Influence, measure_influence
from gssl_poison.kernels.cuda import DEVICES
from gssl_poison.propagation import Direct

Integers = npt.NDArray[np.int64]

# Results that one task adds up, so that none holds those of all chunks.
_FAN_IN = 16
_ROW_NUMBER = re.compile(r"(?<=^X\[)\d+(?=, )|(?<=^row )\d+(?= of X )")


def measure_influence_dask(
    X: Any,
    labeled: npt.ArrayLike,
    gamma: float,
    *,
    device: str = "cpu",
    block_size: int | None = None,
    threads: int | None = None,
) -> Influence:
    """Measure the direct influence of labelled points on the rows of a Dask array.

    Parameters
    ----------
    X : (n, d) dask.array.Array
        The points, in chunks of known size: numpy, or scipy CSR, which stays sparse. Chunks of
        columns are merged into whole rows. X is read twice, first for its labelled rows: persist it
        where that is dear.
    labeled : (l,) array-like of int
        Row numbers of the labelled points.
    gamma : float
        Kernel coefficient of ``w_ij = exp(-gamma |x_i - x_j|^2)``, a positive number: the rules of
        `choose_gamma` read all points at once.
    device : {"cpu", "auto", "cuda"}, default "cpu"
        Where a worker computes; see `RBFGraph`. The GPU is the one that is current in the worker's
        process: dask-cuda gives every worker its own.
    block_size : int, optional
        Rows computed at a time within a chunk; see `measure_influence`.
    threads : int, optional
        Threads of one task, by default 1: Dask runs as many tasks on a worker as that has threads.
        More is for workers of one thread on machines with idle processors.

    Returns
    -------
    Influence
        ``mir``, ``undecided`` and ``n_unlabeled`` are what `measure_influence` gives in memory,
        whatever the chunks. ``total`` is the same bits for every scheduler and number of workers on
        processors of one kind, and depends on the chunks as it does on ``block_size``: so do
        ``rechecked``, ``routes`` and ``bound``.

    Raises
    ------
    InputError
        An argument is out of range, chunks are of unknown size, dask is not installed, or, from the
        worker that meets it, a feature is not finite or distances leave float64.
    InputTypeError
        X is no Dask array, or its chunks hold no real numbers.
    DeviceError
        A worker has no GPU.

    Notes
    -----
    ``MIR(j) = |{i in U : w_ij / sum_{k in L} w_ik > 1/2}|`` is a sum over rows, so every chunk adds
    its own: the labelled rows are gathered once and stay with the workers, a task measures their
    influence on the other rows of one chunk, and results of ``2 l`` numbers are added in the order
    of the chunks, 16 at a time. The active scheduler runs it all: threads by default, else that of
    `dask.config` or of a ``distributed.Client``.
    ``2 u l d`` operations in all, and ``l d`` a chunk to prepare the labelled side: chunks of some
    thousand rows hide it. A task holds its chunk up to three times, the labelled rows twice,
    and what `measure_influence` takes.

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> X = da.from_array(np.array([[0.0], [0.4], [1.0], [3.0]]), chunks=(2, 1))
    >>> measure_influence_dask(X, [0, 3], gamma=1.0).mir
    array([2, 0])
    """
    dask = _import_dask()
    started = time.perf_counter()
    rows = _check_input(dask, X, labeled)
    coefficient = _check_gamma(gamma)
    check_choice("device", device, DEVICES)
    if block_size is not None:
        check_whole("block_size", block_size, 1)
    threads = 1 if threads is None else threads
    check_whole("threads", threads, 1)

    X = X.rechunk({1: -1})
    labelled_side = _gather(dask, X, rows)
    settings = (coefficient, device, block_size, threads)
    measure = dask.delayed(_measure_chunk)
    results = [
        measure(labelled_side, chunk, _Place(start, n_rows, X.shape[1]), settings)
        for start, n_rows, chunk in _chunks_with_unlabeled(X, rows)
    ]
    # Tasks in threads of this process cannot limit BLAS for themselves: the limit is the process's,
    # and the first of them to end would lift it for the others.
    with one_blas_thread():
        measured: Influence = _add_up(dask, results).compute()
    return replace(measured, seconds=time.perf_counter() - started)


def _import_dask() -> Any:
    """Import dask with its arrays, or say what is missing."""
    try:
        import dask
        import dask.array
    except ImportError as error:
        raise InputError(
            f"X would be a Dask array, and dask cannot be imported ({error}); pip install "
            "'gssl-poison[dask]', or use measure_influence on what fits in memory."
        ) from error
    return dask


def _check_input(dask: Any, X: Any, labeled: npt.ArrayLike) -> Integers:
    """Refuse what is no Dask array of known size, and return the labelled row numbers."""
    if not isinstance(X, dask.array.Array):
        raise InputTypeError(
            f"X is of type {type(X).__name__}; pass a Dask array, e.g. dask.array.from_array(X, "
            "chunks=(10_000, -1)) or frame.to_dask_array(lengths=True), or use measure_influence."
        )
    if X.ndim != 2:
        raise InputError(f"X has {X.ndim} dimensions; pass one row per point (n, d).")
    if any(math.isnan(size) for size in X.shape):
        raise InputError(
            "X has chunks of unknown size, so its rows have no numbers; call "
            "X.compute_chunk_sizes() first."
        )
    if 0 in X.shape:
        raise InputError(
            f"X is empty, of shape {X.shape}; it needs at least one row and one feature."
        )
    rows = check_rows(labeled, X.shape[0], "labeled")
    if rows.size == X.shape[0]:
        raise InputError("all points are labelled; at least one must be left to be inferred.")
    return rows


def _check_gamma(gamma: float | str) -> float:
    """Return gamma, refusing what is not a positive number."""
    if isinstance(gamma, str):
        raise InputError(
            f"gamma={gamma!r} is a rule, which would read all of X at once; pass a number, e.g. "
            "that of choose_gamma on a sample of rows."
        )
    return choose_gamma(None, gamma).gamma


@dataclass(frozen=True)
class _LabelledSide:
    """What every task needs to know of the labelled points.

    Attributes
    ----------
    rows : (l,) int64
        Their row numbers.
    points : (l, d) features
        The points, in the same order.
    """

    rows: Integers
    points: Features


@dataclass(frozen=True)
class _Place:
    """Where in the whole array a chunk lies, and its shape."""

    start: int
    n_rows: int
    n_features: int


def _gather(dask: Any, X: Any, rows: Integers) -> Any:
    """Collect the labelled rows in one place, and return a handle to them there.

    A handle, because rows that went through the calling process would be a part of the graph, and
    sent with it.
    """
    order = np.argsort(rows)
    ascending = X[rows[order]].rechunk(-1).to_delayed().item()
    side = dask.delayed(_in_order_given)(ascending, rows, order).persist()
    # Wait: a scheduler that is told of both passes at once keeps every chunk from the first.
    dask.delayed(_size)(side).compute()
    return side


def _in_order_given(ascending: Any, rows: Integers, order: Integers) -> _LabelledSide:
    """Put points back from the order of their rows into that of ``rows``."""
    points = as_features(ascending)
    return _LabelledSide(rows, points[np.argsort(order)])


def _size(side: _LabelledSide) -> int:
    """Return the number of labelled points, which says that they are there."""
    return int(side.rows.size)


def _chunks_with_unlabeled(X: Any, rows: Integers) -> list[tuple[int, int, Any]]:
    """Return first row, number of rows and handle of the chunks that have unlabelled rows."""
    sizes = X.chunks[0]
    edges = np.array([0, *accumulate(sizes)])
    n_labeled = np.diff(np.searchsorted(np.sort(rows), edges))
    return [
        (int(start), int(size), chunk)
        for start, size, known, chunk in zip(
            edges[:-1], sizes, n_labeled, X.to_delayed().ravel(), strict=True
        )
        if known < size
    ]


def _measure_chunk(
    side: _LabelledSide,
    chunk: Any,
    place: _Place,
    settings: tuple[float, str, int | None, int],
) -> Influence:
    """Measure the influence of the labelled points on the unlabelled rows of one chunk."""
    gamma, device, block_size, threads = settings
    features = as_features(chunk)
    if features.shape != (place.n_rows, place.n_features):
        raise InputError(
            f"the chunk of X at row {place.start} has shape {features.shape}, and X says "
            f"{(place.n_rows, place.n_features)}; call X.compute_chunk_sizes() first."
        )
    inside = (side.rows >= place.start) & (side.rows < place.start + place.n_rows)
    free = other_rows(side.rows[inside] - place.start, place.n_rows)
    points = _stack(side.points, features[free] if inside.any() else features)
    del features
    try:
        graph = RBFGraph(points, gamma, device=device)
        fitted = Direct().fit(graph, np.arange(side.rows.size))
        return measure_influence(fitted, block_size=block_size, threads=threads)
    except InputError as error:
        numbers = np.concatenate([side.rows, place.start + free])
        raise InputError(_renumber(str(error), numbers)) from error


def _stack(above: Features, below: Features) -> Features:
    """Return two sets of points as one."""
    if is_sparse(above):
        from scipy.sparse import vstack

        return vstack([above, below], format="csr")
    return np.concatenate([above, below])


def _renumber(message: str, numbers: Integers) -> str:
    """Return an error's message with the row number that a row has in the whole array.

    Examples
    --------
    >>> _renumber("X[1, 0] is nan; drop the row.", np.array([7, 20]))
    'X[20, 0] is nan; drop the row.'
    """
    return _ROW_NUMBER.sub(lambda found: str(numbers[int(found[0])]), message, count=1)


def _add_up(dask: Any, results: list[Any]) -> Any:
    """Return a handle to the sum of the chunks' results, of the same shape for every scheduler."""
    add = dask.delayed(_add)
    while len(results) > 1:
        results = [
            add(results[start : start + _FAN_IN]) for start in range(0, len(results), _FAN_IN)
        ]
    return results[0]


def _add(parts: list[Influence]) -> Influence:
    """Add the influence on some rows to that on others, in the order given."""
    return reduce(_add_two, parts)


def _add_two(one: Influence, other: Influence) -> Influence:
    """Add the influence on some rows to that on others."""
    routes = dict(one.routes)
    for route, n_rows in other.routes.items():
        routes[route] = routes.get(route, 0) + n_rows
    return Influence(
        mir=one.mir + other.mir,
        total=one.total + other.total,
        n_unlabeled=one.n_unlabeled + other.n_unlabeled,
        undecided=one.undecided + other.undecided,
        unresolved=one.unresolved + other.unresolved,
        unreached=one.unreached + other.unreached,
        rechecked=one.rechecked + other.rechecked,
        routes=routes,
        bound=max(one.bound, other.bound),
        seconds=one.seconds + other.seconds,
    )
