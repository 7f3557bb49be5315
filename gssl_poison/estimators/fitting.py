"""From training points and labels to a distribution over the classes for every point."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from gssl_poison.estimators.loop import Run, Step, row_normalized, run, run_certified
from gssl_poison.estimators.source import Limit, Source, classes_of, source_of
from gssl_poison.exceptions import InputError
from gssl_poison.kernels.cuda import resolve_device

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class LoopStep(Step, Protocol):
    """One iteration of a loop that can be gone over in logarithms."""

    def in_logarithms(self, source: Source, n_iter: int) -> Floats:
        """Return the distributions after ``n_iter`` iterations, at any gamma."""


class Rule(Protocol):
    """What tells label propagation from label spreading."""

    def step(self, source: Source, Y: Floats, precision: str) -> LoopStep | None:
        """Return one iteration, or None where single precision will not do."""

    def limit(self, source: Source, Y: Floats) -> Limit:
        """Return the distributions that the loop tends to."""


@dataclass(frozen=True)
class Found:
    """What a solver found.

    Attributes
    ----------
    distributions : (n, c) float64
        Rows that sum to 1, or to 0 where no label reaches the point.
    n_iter : int
    unreached : (r,) int64
        The points that no label reaches.
    reran : bool
        Whether single precision was not enough.
    """

    distributions: Floats = field(repr=False)
    n_iter: int
    unreached: Integers = field(repr=False)
    reran: bool = False


def fit(estimator: Any, rule: Rule, X: Any, y: Any) -> Any:
    """Fit an estimator: read the data, solve, and set its fitted attributes.

    Parameters
    ----------
    estimator : LabelPropagation or LabelSpreading
        Parameters have been validated.
    rule : Rule
    X, y
        As the estimator's ``fit`` was given them.

    Returns
    -------
    estimator
    """
    from sklearn.utils.validation import validate_data

    _check_settings(estimator)
    X, y = validate_data(estimator, X, y, accept_sparse=["csr", "csc"], reset=True)
    classes, codes = classes_of(np.asarray(y))
    source = source_of(estimator, X)
    Y = np.zeros((codes.size, classes.size))
    Y[codes >= 0, codes[codes >= 0]] = 1.0
    if estimator.solver == "exact":
        found = Found(*rule.limit(source, Y))
    else:
        task = Task(rule, source, Y, estimator.max_iter, estimator.tol)
        found = iterate(task, estimator.precision)
    if found.unreached.size:
        warnings.warn(
            f"no label reaches {_points(found.unreached.size)}, listed in unreached_, whose rows "
            "of label_distributions_ stay 0; label a point of every component, or add edges.",
            UserWarning,
            stacklevel=4,
        )
    estimator.X_ = X
    estimator.classes_ = classes
    estimator.label_distributions_ = found.distributions
    estimator.transduction_ = classes[np.argmax(found.distributions, axis=1)]
    estimator.n_iter_ = found.n_iter
    estimator.unreached_ = found.unreached
    estimator.reran_in_double_ = found.reran
    estimator._neighbors = source.neighbors
    return estimator


def _check_settings(estimator: Any) -> None:
    """Refuse settings that go with no other, and a device that is not there."""
    resolve_device(estimator.device, able=False)
    if estimator.solver == "exact" and estimator.precision == "single":
        raise InputError(
            "solver='exact' runs in float64, and precision='single' was asked for; use "
            "precision='double', or solver='iterative'."
        )


@dataclass(frozen=True)
class Task:
    """What a loop is to run on: a rule, a graph, labels (n, c), and when to stop."""

    rule: Rule
    source: Source
    Y: Floats
    max_iter: int
    tol: float


def iterate(task: Task, precision: str) -> Found:
    """Run the loop, and go over the rows that it left at zero.

    Parameters
    ----------
    task : Task
    precision : {"double", "single"}

    Returns
    -------
    Found
    """
    ran = _run_single(task) if precision == "single" else None
    reran = precision == "single" and ran is None
    if ran is None:
        step = task.rule.step(task.source, task.Y, "double")
        assert step is not None  # noqa: S101 - only single precision may not do
        ran = step, run(step, task.Y, task.max_iter, task.tol)
    step, result = ran
    if not result.converged:
        from sklearn.exceptions import ConvergenceWarning

        warnings.warn(
            f"max_iter={task.max_iter} was reached without convergence. Increase max_iter, or use "
            "solver='exact'.",
            ConvergenceWarning,
            stacklevel=5,
        )
    distributions, unreached = _fill(task, step, result)
    return Found(distributions, result.n_iter, unreached, reran)


def _run_single(task: Task) -> tuple[LoopStep, Run] | None:
    """Run the loop in single precision, or return None where double might decide otherwise."""
    step = task.rule.step(task.source, task.Y, "single")
    if step is None:
        return None
    if step.error == 0.0:  # weights that single precision leaves as they are: those of edges
        return step, run(step, task.Y, task.max_iter, task.tol)
    result = run_certified(step, task.Y, task.max_iter, task.tol)
    if result is None:
        return None
    # A row of zeros may be one that only float32 leaves there.
    empty = np.flatnonzero(~result.scores.any(axis=1))
    if empty.size:
        hops = task.source.graph.hops(np.flatnonzero(task.Y.any(axis=1)))[empty]
        if ((hops >= 0) & (hops <= result.n_iter)).any():
            return None
    return step, result


def _fill(task: Task, step: LoopStep, result: Run) -> tuple[Floats, Integers]:
    """Return distributions, with rows the loop left at zero, and the points without a path."""
    distributions = row_normalized(result.scores)
    empty = np.flatnonzero(~distributions.any(axis=1))
    if empty.size == 0:
        return distributions, empty
    hops = task.source.graph.hops(np.flatnonzero(task.Y.any(axis=1)))[empty]
    waiting, unreached = empty[hops >= 0], empty[hops < 0]
    if waiting.size:
        # A label needs as many iterations as there are edges on its way.
        n_iter = max(result.n_iter, int(hops.max()))
        distributions[waiting] = step.in_logarithms(task.source, n_iter)[waiting]
    return distributions, unreached


def _points(count: int) -> str:
    """Name a number of points."""
    return "1 point" if count == 1 else f"{count:,} points"
