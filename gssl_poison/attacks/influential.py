"""Attacks that rank labels by their influence: they need no label and no truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gssl_poison._arguments import check_choice, check_whole
from gssl_poison.attacks._common import (
    NEW_LABELS,
    SEED,
    Surrogate,
    begin,
    choose_new,
)
from gssl_poison.influence import measure_influence
from gssl_poison.problem import Poison, Problem


@dataclass(frozen=True)
class MIR:
    """Flip the labels that are the major influence on most points; reads no label, no truth.

    Parameters
    ----------
    labels : {"damage", "random"}, default "damage"
        The new class, where there are more than two: the one that changes most predictions of the
        surrogate, or a random one, as in the paper.
    random_state : int, default 2020
        Seed of "random".
    ties : {"total", "position"}, default "total"
        What orders labels of one MIR, those with none among them: their total influence, or, as
        in the published code, their position in ``problem.labeled``.

    Notes
    -----
    ``MIR(j) = |{i in U : M_ij / sum_{k in L} M_ik > 1/2}|``, descending. The paper's surrogate is
    `Direct`. One pass over M.

    References
    ----------
    Influence-Driven Data Poisoning in Graph-Based Semi-Supervised Classifiers, section 4.

    Examples
    --------
    >>> import numpy as np
    >>> from gssl_poison import Direct, Problem, RBFGraph
    >>> graph = RBFGraph(np.array([[0.0], [0.1], [0.2], [1.0], [5.0], [5.1]]), gamma=1.0)
    >>> problem = Problem(graph, labeled=[0, 4], y=[0, 1])
    >>> MIR().attack(problem, Direct().fit(graph, [0, 4]), budget=1).order
    array([0])
    """

    labels: str = "damage"
    random_state: int = SEED
    ties: str = "total"

    source: ClassVar[str] = "Influence-Driven Data Poisoning, section 4"
    surrogate: ClassVar[str] = "direct"
    nested: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse an unknown rule, and a seed that is none."""
        check_whole("random_state", self.random_state, 0)
        check_choice("labels", self.labels, NEW_LABELS)
        check_choice("ties", self.ties, ("total", "position"))

    def attack(self, problem: Problem, surrogate: Surrogate, budget: float) -> Poison:
        """Choose labels to flip.

        Parameters
        ----------
        problem : Problem
        surrogate : Fitted
            The propagator whose M is read; in a replication of Liu et al. also a `Published` K.
        budget : int or float
            Labels, or a part of them between 0 and 1.

        Returns
        -------
        Poison
            Objective: unlabelled points whose major influence is flipped.
        """
        task = begin(problem, surrogate, budget)
        measured = measure_influence(task.fitted)
        second = -measured.total if self.ties == "total" else np.zeros_like(measured.total)
        order = np.lexsort((second, -measured.mir))[: task.n_flips]
        new = choose_new(task, order, self.labels, self.random_state)
        reached = np.cumsum(measured.mir[order])
        return task.poison(self, order, new, reached, "points whose major influence is flipped")


@dataclass(frozen=True)
class Total:
    """Flip the labels with the largest total influence; reads no label, no truth.

    Parameters
    ----------
    labels : {"damage", "random"}, default "damage"
        See `MIR`.
    random_state : int, default 2020
        Seed of "random".

    Notes
    -----
    ``sum_{i in U} M_ij / sum_k M_ik``, descending, ties by position. One pass over M.

    Examples
    --------
    >>> import numpy as np
    >>> from gssl_poison import Harmonic, Problem, RBFGraph
    >>> graph = RBFGraph(np.array([[0.0], [0.1], [0.2], [1.0], [5.0], [5.1]]), gamma=1.0)
    >>> problem = Problem(graph, labeled=[0, 4], y=[0, 1])
    >>> Total().attack(problem, Harmonic().fit(graph, [0, 4]), budget=1).objective.round(2)
    array([3.])
    """

    labels: str = "damage"
    random_state: int = SEED

    source: ClassVar[str] = "this project: sums of shares of the victim's M"
    surrogate: ClassVar[str] = "victim"
    nested: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse an unknown rule, and a seed that is none."""
        check_whole("random_state", self.random_state, 0)
        check_choice("labels", self.labels, NEW_LABELS)

    def attack(self, problem: Problem, surrogate: Surrogate, budget: float) -> Poison:
        """Choose labels to flip; see `MIR.attack`. Objective: sum of the flipped shares."""
        task = begin(problem, surrogate, budget)
        total = measure_influence(task.fitted).total
        order = np.argsort(-total, kind="stable")[: task.n_flips]
        new = choose_new(task, order, self.labels, self.random_state)
        return task.poison(self, order, new, np.cumsum(total[order]), "sum of the flipped shares")
