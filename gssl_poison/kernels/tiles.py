"""Building the operator of all pairs of points: which of them it keeps, in what range and type."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gssl_poison._arrays import as_features, available_memory, n_threads, one_blas_thread
from gssl_poison.exceptions import InputError, NumericalError
from gssl_poison.kernels import sweeps, triangle
from gssl_poison.kernels.bounds import NEGLIGIBLE, UNIT_ROUNDOFF
from gssl_poison.kernels.columns import Columns
from gssl_poison.kernels.operator import RBFOperator
from gssl_poison.kernels.pairs import Pairs
from gssl_poison.kernels.pruned import EXACT, near_pairs
from gssl_poison.kernels.routes import choose_pairs
from gssl_poison.kernels.sweeps import Scaling, Store

Floats = npt.NDArray[np.float64]
Progress = Callable[[int, int], None]

PURPOSES = ("propagation", "spreading")
PRECISIONS = ("double", "single")
STORAGES = ("auto", "triangle", "pruned", "free")

# Sums of float32 weights begin at the top of its range, so that more of them stay above its bottom.
_AMPLIFY = {"single": 2.0**125, "double": 1.0}
_SMALLEST = {"single": 2.0**-126, "double": 2.0**-1022}
# A row of which scaling loses more than this has lost neighbours that matter.
_LOST = {"single": 1e-7, "double": 1e-12}
# Pruned pairs take 12 bytes an entry, both ways, and as much again while they are collected.
_MOST_KEPT = 0.05
# What weights are stored in.
_NUMBERS = {"single": "float32", "double": "float64"}


def rbf_operator(
    X: Any,
    gamma: float,
    *,
    purpose: str = "propagation",
    precision: str = "double",
    storage: str = "auto",
    memory: int | None = None,
    progress: Progress | None = None,
    threads: int | None = None,
) -> RBFOperator:
    """Build the operator of all pairs of points.

    Parameters
    ----------
    X : (n, d) array-like or scipy sparse
        The points; used where they lie, see `as_features`.
    gamma : float
        Kernel coefficient.
    purpose : {"propagation", "spreading"}
        "propagation": raw weights, which the caller adds a self-loop of weight 1 to and multiplies
        by numbers in [0, 1]. "spreading": weights over the roots of both degrees, at any gamma.
    precision : {"double", "single"}
        "double": weights good to about 1e-10, stored in float64. "single": to about 1e-6 for 8-bit
        data and at worst 1e-3, stored in float32. ``error`` of the operator has the proven bound.
    storage : {"auto", "triangle", "pruned", "free"}
        See `RBFOperator`. "pruned" is for "propagation" only; "auto" takes it where few pairs are
        left, else the triangle where it fits ``memory``, else "free".
    memory : int, optional
        Bytes that "auto" may store; by default half of what the machine has free.
    progress : callable, optional
        Called as ``progress(done, all)`` in pairs of points, from the calling thread. The count
        starts anew where "auto" finds too many pairs to prune, or "single" cannot hold them;
        "free" needs no pass for "propagation".
    threads : int, optional
        By default the processors this process may use. Results do not depend on it.

    Returns
    -------
    RBFOperator

    Raises
    ------
    InputError
        An argument is not one of those above, a feature is not finite, or distances leave float64.
    NumericalError
        Of "spreading", in float64 too: a point is so much farther from all others than its nearest
        neighbour is from its own that their normalised weight underflows.

    Notes
    -----
    ``n^2 d`` operations, half of what a full matrix takes: the product runs over one triangle, in
    exact integers where features are 8-bit numbers. The triangle is ``n^2 / 2`` numbers. A stored
    weight is ``exp(log w_ij - p_i - p_j)``; for "spreading" p is half the largest log-weight of a
    point, which puts all of them in [0, 1] and loses a pair only where it weighs less than
    ``exp(-708)`` (float32: ``exp(-174)``) of the geometric mean of both points' largest.

    Examples
    --------
    >>> import numpy as np
    >>> operator = rbf_operator(np.array([[0.0], [1.0], [2.0]]), 1.0)
    >>> operator.matmul(np.eye(3)).round(4)
    array([[0.    , 0.3679, 0.0183],
           [0.3679, 0.    , 0.3679],
           [0.0183, 0.3679, 0.    ]])
    """
    _check(gamma, purpose, precision, storage, threads)
    features = as_features(X)
    n = int(features.shape[0])
    columns = Columns(features, np.arange(n), float(gamma))
    workers = n_threads() if threads is None else threads
    room = available_memory() // 2 if memory is None else memory
    build = _Builder(columns, precision, storage, room, workers, progress)
    with one_blas_thread(), np.errstate(under="ignore"):
        return build.propagation() if purpose == "propagation" else build.spreading()


def _check(gamma: object, purpose: str, precision: str, storage: str, threads: object) -> None:
    """Refuse arguments that mean nothing."""
    for name, value, known in (
        ("purpose", purpose, PURPOSES),
        ("precision", precision, PRECISIONS),
        ("storage", storage, STORAGES),
    ):
        if value not in known:
            raise InputError(f"{name}={value!r} is not known; use one of {', '.join(known)}.")
    if storage == "pruned" and purpose == "spreading":
        raise InputError(
            "storage='pruned' leaves out weights that are small beside a self-loop, and spreading "
            "has no self-loops; use 'triangle' or 'free'."
        )
    if (
        isinstance(gamma, bool)
        or not isinstance(gamma, int | float | np.integer | np.floating)
        or not (math.isfinite(gamma) and gamma > 0.0)
    ):
        raise InputError(f"gamma={gamma!r} is not usable; it must be a positive finite number.")
    if threads is not None and (
        isinstance(threads, bool) or not isinstance(threads, int | np.integer) or threads < 1
    ):
        raise InputError(f"threads={threads!r} is not a positive whole number; give at least 1.")


@dataclass(frozen=True)
class _Builder:
    """What both kinds of operator are built from."""

    columns: Columns
    precision: str
    storage: str
    room: int
    workers: int
    progress: Progress | None

    def propagation(self) -> RBFOperator:
        """Build raw weights."""
        n, precision = self.columns.n_labeled, self.precision
        if self.storage in {"auto", "pruned"}:
            operator = self._pruned()
            if operator is not None:
                return operator
        pairs = choose_pairs(self.columns, precision)
        store = self._new_store()
        held = self._held(store)
        # In float64 all that it can represent is kept, subnormal numbers included.
        floor = 0.0 if held == "double" else _SMALLEST[held] / _AMPLIFY[held]
        scaling = Scaling(np.zeros(n), floor, _AMPLIFY[held])
        if store is not None:
            sweeps.fill(pairs, scaling, self.workers, self._report(1), store)
        dropped = (n - 1) * max(floor, 2.0**-1074)
        return self._operator("propagation", precision, pairs, dropped, scaling, store)

    def _pruned(self) -> RBFOperator | None:
        n = self.columns.n_labeled
        most = math.inf if self.storage == "pruned" else _MOST_KEPT * n * (n - 1) / 2
        pairs = choose_pairs(self.columns, self.precision, search=True)
        kept = near_pairs(pairs, self.workers, self._report(1), most)
        if kept is None:
            return None
        dropped = (n - 1) * math.exp(-NEGLIGIBLE) * 1.001
        # Distances of what is kept were taken directly, or in whole numbers.
        return self._operator("propagation", "double", pairs, dropped, kept=kept)

    def spreading(self) -> RBFOperator:
        """Build weights that are normalised by both degrees."""
        n, precision = self.columns.n_labeled, self.precision
        pairs = choose_pairs(self.columns, precision)
        store = self._new_store()
        if n == 1:
            scaling = Scaling(np.zeros(1), 0.0, 1.0)
            if store is not None:
                sweeps.fill(pairs, scaling, self.workers, sweeps.silent, store)
            return self._operator("spreading", precision, pairs, 0.0, scaling, store)
        report = self._report(2)
        measured = store is not None and sweeps.keeps_distances(pairs, _NUMBERS[precision])
        # Potentials need not be exact: where distances are not kept, cheap ones will do.
        first = pairs if measured else choose_pairs(self.columns, precision, search=True)
        largest = sweeps.largest_log_weights(
            first, self.workers, report, store if measured else None
        )
        held = self._held(store)
        amplify = _AMPLIFY[held]
        scaling = Scaling(0.5 * largest, _SMALLEST[held] / amplify, amplify)
        log_degree, kept = sweeps.log_degrees(
            pairs, scaling, largest, self.workers, report, store, measured=measured
        )
        row = int(kept.argmin())
        if not kept[row] >= 1.0 - _LOST[held]:
            del store
            return self._beyond_range(row, float(largest[row]))
        slack = math.exp(2.0 * (first.error + first.relative * first.farthest))
        dropped = (n - 1) * scaling.floor * slack
        return self._operator("spreading", precision, pairs, dropped, scaling, store, log_degree)

    def _beyond_range(self, row: int, largest: float) -> RBFOperator:
        """Start again in double precision, or say that even that does not reach far enough."""
        if self.precision == "single":
            double = _Builder(
                self.columns, "double", self.storage, self.room, self.workers, self.progress
            )
            return double.spreading()
        raise NumericalError(
            f"at gamma = {self.columns.gamma:.3g} the largest weight of point {row}, "
            f"exp({largest:.4g}), is out of float64's range beside those of its neighbours; lower "
            "gamma, or leave the point out."
        )

    def _report(self, passes: int) -> Callable[[int], None]:
        """Return what adds pairs up and tells the caller's progress function."""
        n, progress = self.columns.n_labeled, self.progress
        if progress is None:
            return sweeps.silent
        everything, done = passes * (n * (n - 1) // 2), 0

        def report(pairs: int) -> None:
            nonlocal done
            done += pairs
            progress(done, everything)

        return report

    def _held(self, store: Store | None) -> str:
        """Return the precision of scaled weights; those that are not stored are float64."""
        return "double" if store is None else self.precision

    def _new_store(self) -> Store | None:
        """Return memory for a triangle, or None where weights are not to be stored."""
        n, numbers = self.columns.n_labeled, _NUMBERS[self.precision]
        fits = sweeps.store_bytes(n, numbers) <= self.room
        if self.storage == "triangle" or (self.storage == "auto" and fits):
            return sweeps.new_store(n, numbers)
        return None

    def _operator(
        self,
        purpose: str,
        precision: str,
        pairs: Pairs,
        dropped: float,
        scaling: Scaling | None = None,
        store: Store | None = None,
        log_degree: Floats | None = None,
        kept: Any = None,
    ) -> RBFOperator:
        if kept is not None:
            storage, nbytes = "pruned", kept.data.nbytes + kept.indices.nbytes + kept.indptr.nbytes
        elif store is not None:
            storage = "triangle"
            nbytes = sum(tile.nbytes for tiles in store.values() for tile in tiles)
        else:
            storage, nbytes = "free", 0
        return RBFOperator(
            n=self.columns.n_labeled,
            purpose=purpose,
            storage=storage,
            precision=precision,
            route=pairs.route,
            error=self._error(pairs, storage, precision, scaling),
            dropped=dropped,
            nbytes=int(nbytes),
            _pairs=pairs,
            _scaling=scaling,
            _store=store,
            kept=kept,
            _log_degree=log_degree,
            _workers=self.workers,
        )

    def _error(self, pairs: Pairs, storage: str, precision: str, scaling: Scaling | None) -> float:
        """Bound the error of the logarithm of a kept weight."""
        u = UNIT_ROUNDOFF["float64"]
        if storage == "pruned":
            error = pairs.error if pairs.error <= EXACT else 0.0
            reach = NEGLIGIBLE
            relative = max(pairs.relative, (self.columns.n_features / 32 + 20.0) * u)
            return error + reach * relative + 4.0 * u
        assert scaling is not None  # noqa: S101 - for the type checker
        deepest = float(np.abs(scaling.potential).max())
        # No log-weight is larger than the farthest pair's, nor kept below the float type's range.
        reach = min(pairs.farthest, 750.0 + 2.0 * deepest)
        error = pairs.error + reach * pairs.relative + (reach + 2.0 * deepest) * 8.0 * u
        # The sums of a degree, the exponentials, and the roundings of a product's factors.
        error += (self.columns.n_labeled + 32.0) * u + triangle.EXP64_BOUND
        if precision == "single" and storage == "triangle":
            error += 1.001 * UNIT_ROUNDOFF["float32"]
        return error
