"""Real-valued labels under attack: the problem, a perturbation of its labels, and the error."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from gssl_poison.attacks._common import fitted_of
from gssl_poison.attacks._sphere import Certificate
from gssl_poison.exceptions import InputError, InputTypeError
from gssl_poison.problem import Problem, check_fits
from gssl_poison.propagation import Fitted
from gssl_poison.sparse_graph import Graph

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# Squares of what lies within these can be summed and divided in float64.
_LARGEST, _SMALLEST = 1e100, 1e-100


@dataclass(frozen=True)
class RegressionProblem:
    """A graph and the real values of its labelled points; with the truth, where it is known.

    Parameters
    ----------
    graph : RBFGraph, DenseGraph or SparseGraph
    labeled : (l,) int
        Row numbers of the labelled points, each once.
    y : (l,) float
        Their values, in any unit.
    truth : (n,) float, optional
        True values of all points.

    Raises
    ------
    InputError
        Lengths or row numbers do not fit, or a value is not a finite number.

    Examples
    --------
    >>> import numpy as np
    >>> from gssl_poison import RBFGraph
    >>> graph = RBFGraph(np.array([[0.0], [0.1], [2.0], [2.1]]), gamma=1.0)
    >>> RegressionProblem(graph, labeled=[0, 2], y=[0.5, 1.5]).unlabeled
    array([1, 3])
    """

    graph: Graph = field(repr=False)
    labeled: Integers
    y: Floats
    truth: Floats | None = None

    def __post_init__(self) -> None:
        """Check the arrays and keep copies of them that cannot be written to."""
        rows = self.points
        y = _reals(self.y, "y", rows.labeled.size)
        n = self.graph.n_points
        truth = None if self.truth is None else _reals(self.truth, "truth", n)
        for name, value in (("labeled", rows.labeled), ("y", y), ("truth", truth)):
            object.__setattr__(self, name, value)

    @property
    def points(self) -> Problem:
        """The same graph and labelled points, without values: what checks of them need."""
        return Problem(self.graph, self.labeled, np.zeros(np.size(self.labeled), dtype=np.int64))

    @property
    def unlabeled(self) -> Integers:
        """Row numbers of the points to be predicted, ascending."""
        return self.points.unlabeled

    def poisoned(self, perturbation: Perturbation) -> RegressionProblem:
        """Return the problem with the labels an attack left."""
        return replace(self, y=perturbation.apply(self.y))


@dataclass(frozen=True)
class Perturbation:
    """What an attack adds to the labels.

    Attributes
    ----------
    values : (l,) float64
        To be added to the labels, in the order of ``problem.labeled``.
    radius : float
        Its Euclidean length, in the unit of the labels.
    objective : float
        What the attacks maximise: half of what the perturbation adds to the sum of squared
        differences between the surrogate's predictions and the true values, or for an attacker
        who does not know those, its predictions from the clean labels.
    objective_name : str
        Which of the two.
    seconds : float
        Wall-clock time, a fitted surrogate given.
    used_truth : bool
        Whether the attack read the true values of unlabelled points.
    method : str
        The attack, as Python writes it.
    notes : tuple of str
        What a reader of the result must know.
    certificate : Certificate or None
        The proof that nothing of this length has a larger objective, where the attack gives one.
    """

    values: Floats
    radius: float
    objective: float
    objective_name: str = ""
    seconds: float = 0.0
    used_truth: bool = False
    method: str = ""
    notes: tuple[str, ...] = ()
    certificate: Certificate | None = None

    def __post_init__(self) -> None:
        """Keep an array that cannot be written to."""
        values = np.array(self.values, dtype=np.float64)
        values.flags.writeable = False
        object.__setattr__(self, "values", values)

    def __len__(self) -> int:
        """Return the number of labels that change."""
        return int(np.count_nonzero(self.values))

    def apply(self, y: npt.ArrayLike) -> Floats:
        """Return a copy of the labels with the perturbation added.

        Parameters
        ----------
        y : (l,) float
            Values of the labelled points, as they were.

        Raises
        ------
        InputError
            Another number of labels, or one that is not a finite number.
        """
        poisoned: Floats = _reals(y, "y", self.values.size) + self.values
        return poisoned


def predict_values(
    prop: Fitted, problem: RegressionProblem, perturbation: Perturbation | None = None
) -> Floats:
    """Return the predicted values of the unlabelled points that a label reaches, ascending.

    Parameters
    ----------
    prop : Fitted
        The victim; any propagator, whose shares weight the labels.
    problem : RegressionProblem
    perturbation : Perturbation, optional

    Returns
    -------
    (r,) float64
        Every one a mean of the labels, and so between the least and the largest.

    Notes
    -----
    Labels are propagated as two columns, ``(y - min) / span`` and ``(max - y) / span``, which are
    not negative and sum to 1: the shares need not be stored.

    Examples
    --------
    >>> import numpy as np
    >>> from gssl_poison import Direct, RBFGraph
    >>> graph = RBFGraph(np.array([[0.0], [1.0], [2.0]]), gamma=1.0)
    >>> problem = RegressionProblem(graph, labeled=[0, 2], y=[-1.0, 5.0])
    >>> predict_values(Direct().fit(graph, [0, 2]), problem)
    array([2.])
    """
    y = problem.y if perturbation is None else perturbation.apply(problem.y)
    low, span = float(y.min()), float(y.max() - y.min())
    part = (y - low) / (span or 1.0)
    scores = prop.apply(np.column_stack([part, 1.0 - part]), normalized=True)
    values: Floats = low + span * scores[_reached(prop), 0]
    return values


def rmse(
    prop: Fitted, problem: RegressionProblem, perturbation: Perturbation | None = None
) -> float:
    """Return the root of the mean squared error of the unlabelled points.

    Parameters
    ----------
    prop : Fitted
        The victim; any propagator fitted to the graph and the labelled points of the problem.
    problem : RegressionProblem
        With truth.
    perturbation : Perturbation, optional
        To be added to the labels first.

    Returns
    -------
    float
        In the unit of the labels. Points that no label reaches have no prediction, and are left
        out.

    Raises
    ------
    InputError
        The problem has no truth, the victim is not of this problem, or no label reaches a point.

    Examples
    --------
    >>> import numpy as np
    >>> from gssl_poison import Direct, RBFGraph
    >>> graph = RBFGraph(np.array([[0.0], [1.0], [2.0]]), gamma=1.0)
    >>> problem = RegressionProblem(graph, labeled=[0, 2], y=[0.0, 1.0], truth=[0.0, 0.75, 1.0])
    >>> rmse(Direct().fit(graph, [0, 2]), problem)
    0.25
    """
    check_fits(problem.points, prop, "victim")
    if problem.truth is None:
        raise InputError(
            "the error cannot be told without the truth; give RegressionProblem(truth=...), the "
            "true values of all points."
        )
    errors = predict_values(prop, problem, perturbation) - problem.truth[_reached(prop)]
    return float(np.sqrt((errors**2).mean()))


@dataclass(frozen=True)
class Quadratic:
    """The checked inputs of an attack, and what it maximises: ``1/2 |K t|^2 + g.T t``.

    Attributes
    ----------
    K : (r, l) float64
        Shares of the labels in the unlabelled points that one reaches.
    g : (l,) float64
        ``K.T (K y - target)``; 0 where the target is the clean prediction.
    """

    problem: RegressionProblem
    K: Floats
    g: Floats
    radius: float
    started: float
    truth: bool
    notes: tuple[str, ...]

    @classmethod
    def begin(
        cls, problem: RegressionProblem, surrogate: Fitted, radius: float, truth: bool, who: str
    ) -> Quadratic:
        """Check the inputs of an attack, and read its surrogate."""
        started = time.perf_counter()
        check_fits(problem.points, fitted_of(surrogate, who), "surrogate")
        length = check_radius(radius)
        if truth and problem.truth is None:
            raise InputError(
                f"{who} with truth=True needs the true values of the unlabelled points; give "
                "RegressionProblem(truth=...), or truth=False for an attacker who goes by "
                "predictions."
            )
        rows = _reached(surrogate)
        K = np.ascontiguousarray(surrogate.stored().shares(rows))
        notes: tuple[str, ...] = ()
        if surrogate.unreached.size:
            notes = (f"{surrogate.unreached.size:,} points that no label reaches are left out",)
        g = np.zeros(problem.y.size)
        if truth and problem.truth is not None:
            g = K.T @ (K @ problem.y - problem.truth[rows])
        return cls(problem, K, g, length, started, truth, notes)

    def hessian(self) -> Floats:
        """Return ``K.T K``, (l, l): ``r l^2`` operations."""
        return self.K.T @ self.K

    def value(self, t: Floats) -> float:
        """Return the objective."""
        moved = self.K @ t
        return float(0.5 * (moved @ moved) + self.g @ t)

    def perturbation(
        self,
        attack: Any,
        t: Floats,
        *,
        certificate: Certificate | None = None,
        notes: tuple[str, ...] = (),
    ) -> Perturbation:
        """Return the result of an attack."""
        named = "squared error added" if self.truth else "squared shift of the predictions"
        return Perturbation(
            values=t,
            radius=self.radius,
            objective=self.value(t),
            objective_name=f"half the {named}",
            seconds=time.perf_counter() - self.started,
            used_truth=self.truth,
            method=repr(attack),
            notes=(*self.notes, *notes),
            certificate=certificate,
        )


def check_radius(radius: Any) -> float:
    """Return the length of a perturbation as a float.

    Raises
    ------
    InputError
        Not positive, not finite, or of another order of magnitude than any data.
    InputTypeError
        Not a number.
    """
    if isinstance(radius, bool) or not isinstance(radius, int | float | np.integer | np.floating):
        raise InputTypeError(
            f"radius={radius!r} is not a number; give a length in the unit of the labels, such as "
            "0.1 * sqrt(l) for a change of 0.1 a label."
        )
    if not _SMALLEST <= radius <= _LARGEST:
        raise InputError(
            f"radius={radius} is out of range; it must be positive and finite ({_SMALLEST} to "
            f"{_LARGEST}), in the unit of the labels: 0.1 * sqrt(l) changes each of l by 0.1."
        )
    return float(radius)


def _reached(prop: Fitted) -> Integers:
    """Return the unlabelled points that a label reaches, one of them at least."""
    rows = np.setdiff1d(prop.unlabeled, prop.unreached)
    if rows.size == 0:
        raise InputError(
            f"no label reaches any of the {prop.unlabeled.size:,} unlabelled points, so that "
            "nothing is predicted; add edges (a larger n_neighbors), or label other points."
        )
    return rows


def _reals(values: Any, name: str, size: int) -> Floats:
    """Return finite numbers as an array of one's own."""
    given = np.asarray(values)
    if given.shape != (size,) or given.dtype.kind not in "fiu":
        raise InputError(
            f"{name} has shape {given.shape} and type {given.dtype}; give {size:,} real numbers."
        )
    result = np.array(given, dtype=np.float64)
    wrong = ~(np.abs(result) <= _LARGEST)
    if wrong.any():
        raise InputError(
            f"{name} holds {result[wrong][0]} at position {int(np.argmax(wrong))}; every value "
            f"must be finite, and at most {_LARGEST}, so that squares can be summed."
        )
    result.flags.writeable = False
    return result
