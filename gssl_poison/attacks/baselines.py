"""What a real attack must beat: chance, well-connected points, uncertain ones, label noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from gssl_poison._arguments import check_choice, check_whole
from gssl_poison.attacks._common import (
    NEW_LABELS,
    SEED,
    Surrogate,
    begin,
    choose_new,
)
from gssl_poison.exceptions import InputError
from gssl_poison.graph import DenseGraph, RBFGraph
from gssl_poison.problem import Poison, Problem
from gssl_poison.sparse_graph import Graph

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# Numbers of a block of weights: 64 MiB.
_BLOCK = 2**23


@dataclass(frozen=True)
class LabelNoise:
    """Flip labels at random: of one class or of all, to one class or to any other.

    Parameters
    ----------
    from_class, to_class : int, optional
        Class codes; all classes, and any other class, by default.
    random_state : int, default 2020

    Notes
    -----
    all-to-all, all-to-one, one-to-all and one-to-one, as the literature on label noise has them;
    the first is the random attack. Fewer flips than the budget where fewer labels fit.

    Examples
    --------
    >>> import numpy as np
    >>> from gssl_poison import Direct, Problem, RBFGraph
    >>> graph = RBFGraph(np.array([[0.0], [0.1], [5.0], [5.1]]), gamma=1.0)
    >>> problem = Problem(graph, labeled=[0, 2], y=[0, 1])
    >>> LabelNoise(to_class=0).attack(problem, Direct().fit(graph, [0, 2]), budget=1).order
    array([1])
    """

    from_class: int | None = None
    to_class: int | None = None
    random_state: int = SEED

    source: ClassVar[str] = "Liu et al., NeurIPS 2019 (random); CleanSight (patterns)"
    surrogate: ClassVar[str] = "direct"
    nested: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse a class that becomes itself, and a seed that is none."""
        check_whole("random_state", self.random_state, 0)
        if self.from_class is not None and self.from_class == self.to_class:
            raise InputError(
                f"from_class and to_class are both {self.to_class}; a flip needs two classes."
            )

    def attack(self, problem: Problem, surrogate: Surrogate, budget: float) -> Poison:
        """Choose labels to flip; see `MIR.attack`. Objective: labels flipped."""
        task = begin(problem, surrogate, budget)
        c = problem.n_classes
        for name, code in (("from_class", self.from_class), ("to_class", self.to_class)):
            if code is not None and not 0 <= code < c:
                raise InputError(f"{name}={code} is no class code; the problem has 0 to {c - 1}.")
        rng = np.random.default_rng(self.random_state)
        order = rng.permutation(problem.y.size)
        old = problem.y[order]
        new = (old + rng.integers(1, c, order.size)) % c
        if self.to_class is not None:
            new = np.full_like(old, self.to_class)
        fits = (new != old) & (True if self.from_class is None else old == self.from_class)
        order, new = order[fits][: task.n_flips], new[fits][: task.n_flips]
        notes: tuple[str, ...] = ()
        if order.size < task.n_flips:
            notes = (f"only {order.size} labels fit, and the budget is {task.n_flips}",)
        flips = np.arange(1, order.size + 1)
        return task.poison(self, order, new, flips, "labels flipped", notes=notes)


@dataclass(frozen=True)
class Degree:
    """Flip the labels of the points with the largest degree in the graph.

    Parameters
    ----------
    labels : {"damage", "random"}, default "damage"
        See `MIR`.
    random_state : int, default 2020
        Seed of "random".

    Notes
    -----
    ``d_j = sum_{i != j} w_ij``, descending; ``n l`` weights. Ties by position.

    Examples
    --------
    >>> import numpy as np
    >>> from gssl_poison import Direct, Problem, RBFGraph
    >>> graph = RBFGraph(np.array([[0.0], [0.1], [0.2], [5.0]]), gamma=1.0)
    >>> problem = Problem(graph, labeled=[0, 3], y=[0, 1])
    >>> Degree().attack(problem, Direct().fit(graph, [0, 3]), budget=1).order
    array([0])
    """

    labels: str = "damage"
    random_state: int = SEED

    source: ClassVar[str] = "baseline: degree centrality"
    surrogate: ClassVar[str] = "direct"
    nested: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse an unknown rule, and a seed that is none."""
        check_whole("random_state", self.random_state, 0)
        check_choice("labels", self.labels, NEW_LABELS)

    def attack(self, problem: Problem, surrogate: Surrogate, budget: float) -> Poison:
        """Choose labels to flip; see `MIR.attack`. Objective: logarithm of the smallest degree."""
        task = begin(problem, surrogate, budget)
        degree = log_degrees(problem.graph, problem.labeled)
        order = np.argsort(-degree, kind="stable")[: task.n_flips]
        new = choose_new(task, order, self.labels, self.random_state)
        return task.poison(
            self, order, new, degree[order], "logarithm of the degree of the point flipped"
        )


@dataclass(frozen=True)
class Uncertainty:
    """Flip the labels about which the other labels are least decided.

    Parameters
    ----------
    labels : {"damage", "random"}, default "damage"
        See `MIR`.
    random_state : int, default 2020
        Seed of "random".

    Notes
    -----
    What the others would predict for a labelled point comes from `Fitted.leave_one_out`; its
    margin, the highest score less the second, is least first. Ties by position.

    Examples
    --------
    >>> import numpy as np
    >>> from gssl_poison import Direct, Problem, RBFGraph
    >>> graph = RBFGraph(np.array([[0.0], [0.1], [2.4], [5.0], [5.1]]), gamma=0.1)
    >>> problem = Problem(graph, labeled=[0, 2, 4], y=[0, 0, 1])
    >>> Uncertainty().attack(problem, Direct().fit(graph, [0, 2, 4]), budget=1).order
    array([1])
    """

    labels: str = "damage"
    random_state: int = SEED

    source: ClassVar[str] = "baseline: margin sampling, turned into an attack"
    surrogate: ClassVar[str] = "direct"
    nested: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse an unknown rule, and a seed that is none."""
        check_whole("random_state", self.random_state, 0)
        check_choice("labels", self.labels, NEW_LABELS)

    def attack(self, problem: Problem, surrogate: Surrogate, budget: float) -> Poison:
        """Choose labels to flip; see `MIR.attack`. Objective: one less the margin."""
        task = begin(problem, surrogate, budget)
        scores = np.sort(task.fitted.leave_one_out() @ np.eye(problem.n_classes)[problem.y], axis=1)
        margin = scores[:, -1] - scores[:, -2]
        order = np.argsort(margin, kind="stable")[: task.n_flips]
        new = choose_new(task, order, self.labels, self.random_state)
        return task.poison(self, order, new, 1.0 - margin[order], "one less the margin left out")


def log_degrees(graph: Graph, points: Integers) -> Floats:
    """Return the logarithms of the degrees of some points, self-loops left out."""
    if not isinstance(graph, RBFGraph | DenseGraph):
        degrees: Floats = graph.transition(False)[1][points]
        return degrees
    everyone = np.arange(graph.n_points, dtype=np.int64)
    result = np.empty(points.size)
    step = max(1, _BLOCK // graph.n_points)
    for start in range(0, points.size, step):
        part = points[start : start + step]
        logs = graph.log_weights(part, everyone)
        logs[np.arange(part.size), part] = -np.inf
        top = logs.max(axis=1)
        base = np.where(np.isfinite(top), top, 0.0)
        with np.errstate(divide="ignore"):
            result[start : start + step] = base + np.log(np.exp(logs - base[:, None]).sum(axis=1))
    return result
