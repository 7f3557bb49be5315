"""scikit-learn's loop with its ``tol`` stopping, plain and with a proof of what it decided."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# Scores below this are so near the end of float64 that relative errors are not what is proven.
_SMALLEST = 1e-250


class Step(Protocol):
    """One iteration of a loop.

    It works on columns of numbers a point. The first of them are scores, which it may also
    normalise and clamp; on any further ones it acts as the linear map it is, which is how bounds on
    errors travel with the scores.
    """

    @property
    def error(self) -> float:
        """Relative error of a coefficient of the step, in log units; 0 stands for float64."""

    @property
    def lost(self) -> float:
        """What left out coefficients add to a score in one iteration, as in `Product`."""

    @property
    def start(self) -> Floats | None:
        """The scores after the first iteration, (n, c), where they are known already."""

    @property
    def early_doubt(self) -> Callable[[int, Floats, Floats], Floats] | None:
        """None where the step is one linear map from the start.

        Otherwise a function that bounds how far the change of every point's scores may be off, of
        the number of iterations and of the scores before the last one and after it.
        """

    def __call__(self, columns: Floats, n_classes: int) -> Floats:
        """Return what columns, of which the first ``n_classes`` are scores, are one step later."""


@dataclass(frozen=True)
class Run:
    """Where a loop ended.

    Attributes
    ----------
    scores : (n, c) float64
        Scores, not yet divided by their sums.
    n_iter : int
        Iterations.
    converged : bool
        Whether the scores had come to rest within ``tol``.
    """

    scores: Floats = field(repr=False)
    n_iter: int
    converged: bool


def run(step: Step, Y: Floats, max_iter: int, tol: float) -> Run:
    """Iterate until the scores of all points change by less than ``tol`` in all.

    Parameters
    ----------
    step : Step
    Y : (n, c) float64
        The labels, rows of 0 where there is none.
    max_iter : int
    tol : float

    Returns
    -------
    Run
    """
    previous, scores = np.zeros_like(Y), Y
    for n_iter in range(max_iter):
        if np.abs(scores - previous).sum() < tol:
            return Run(scores, n_iter, True)
        known = step.start if n_iter == 0 else None
        previous, scores = scores, step(scores, Y.shape[1]) if known is None else known
    return Run(scores, max_iter, False)


def run_certified(step: Step, Y: Floats, max_iter: int, tol: float) -> Run | None:
    """Iterate as `run`, and return None where float64 might decide otherwise.

    Decisions are when to stop and, of every point, which class has the largest score.

    Parameters
    ----------
    step : Step
        Its coefficients may be off by ``step.error``.
    Y, max_iter, tol
        As for `run`.

    Returns
    -------
    Run or None

    Notes
    -----
    All terms are non-negative, so after k iterations a score is within a factor ``exp(k e)`` of
    float64's, where ``e`` is the error of a coefficient of the step. That alone would drown a
    stopping sum, which is one of differences. But differences d of scores go through the same
    linear map T as the scores, so a bound b on their errors becomes
    ``T (exp(e) b + (exp(e) - 1) |d|)``, which decays as they do: one more column for every product,
    and another for what coefficients that are left out would have added. The map is the same once a
    label has come to all the points that it will come to.
    """
    n, n_classes = Y.shape
    # What sums of products lose in float64, here and in the run that is not made.
    rounding = (n + 16.0) * 2.0**-51
    error = step.error + rounding
    previous, scores = np.zeros_like(Y), Y
    doubt, left_out, left_before = np.zeros(n), np.zeros(n), np.zeros(n)
    largest, reached = 1.0, [-1, int(Y.any(axis=1).sum())]
    for n_iter in range(max_iter):
        change = np.abs(scores - previous).sum(axis=1)
        total = float(change.sum())
        off = float((doubt + n_classes * (left_out + left_before)).sum()) + rounding * total
        if tol > 0.0 and not abs(total - tol) > off:
            return None
        if total < tol:
            return _decided(Run(scores, n_iter, True), error, left_out)
        known = step.start if n_iter == 0 else None
        previous, left_before = scores, left_out
        if known is None:
            bound = np.exp(error) * doubt + np.expm1(error) * change
            pushed = step(np.column_stack([scores, bound, np.exp(error) * left_out]), n_classes)
            scores = pushed[:, :n_classes].copy()
            doubt, left_out = pushed[:, n_classes], pushed[:, n_classes + 1]
        else:
            scores = known
        if step.early_doubt is not None and reached[-1] != reached[-2]:
            doubt = step.early_doubt(n_iter + 1, previous, scores)
        reached.append(int(scores.any(axis=1).sum()))
        doubt = doubt + rounding * scores.sum(axis=1)
        left_out = left_out + step.lost * largest
        largest = max(largest, float(scores.max()))
    return _decided(Run(scores, max_iter, False), error, left_out)


def _decided(found: Run, error: float, left_out: Floats) -> Run | None:
    """Return a run unless the bounds leave open which class of some point is the first."""
    scores = found.scores
    if scores.shape[1] == 1:
        return found
    top = np.partition(scores, -2, axis=1)[:, -2:]
    second, first = top[:, 0], top[:, 1]
    told = first > np.exp(2.0 * error * max(found.n_iter, 1)) * (second + left_out)
    sure = (first == 0.0) | (told & (first > _SMALLEST))
    return found if sure.all() else None


def row_normalized(scores: Floats) -> Floats:
    """Divide rows by their sums; rows of zeros stay."""
    sums = scores.sum(axis=1, keepdims=True)
    normalized: Floats = scores / np.where(sums == 0.0, 1.0, sums)
    return normalized
