"""Labelling more: spend the checks on points that have no label yet."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from gssl_poison._arguments import check_choice, check_whole
from gssl_poison.defenses._common import Integers
from gssl_poison.defenses.checks import NO_ANSWER, Checks, Oracle, as_oracle
from gssl_poison.exceptions import InputError
from gssl_poison.problem import Problem, check_fits, count_flips
from gssl_poison.propagation import Fitted
from gssl_poison.propagation.graphs import log_rows_of

CHOICES = ("random", "uncertainty", "influence")
# Numbers of a block of weights: 64 MiB.
_BLOCK = 2**23


@dataclass(frozen=True)
class LabelMore:
    """Ask for the classes of unlabelled points and add them to the labelled ones.

    Parameters
    ----------
    by : {"random", "uncertainty", "influence"}, default "random"
        "uncertainty": the points whose two highest scores are closest; "influence": those that
        would hold most points if they were labelled, by one step of propagation.
    random_state : int, default 2020
        Seed of "random".

    Notes
    -----
    The paper's alternative to relabelling. The labelled points are others afterwards: fit the
    propagator again. "influence" counts, for an unlabelled point i, the others r of which
    ``w_ri > sum_{k in L} w_rk``, ties by ``sum_r w_ri / (w_ri + sum_{k in L} w_rk)``: ``u^2 d``
    operations.

    References
    ----------
    Influence-Driven Data Poisoning in Graph-Based Semi-Supervised Classifiers, RQ4.

    Examples
    --------
    >>> import numpy as np
    >>> from gssl_poison import Direct, Problem, RBFGraph
    >>> graph = RBFGraph(np.array([[0.0], [0.1], [2.6], [5.0], [5.1]]), gamma=1.0)
    >>> problem = Problem(graph, labeled=[0, 4], y=[0, 1])
    >>> more = LabelMore("uncertainty")
    >>> more.repair(problem, Direct().fit(graph, [0, 4]), 1, oracle={2: 1}).labeled
    array([0, 4, 2])
    """

    by: str = "random"
    random_state: int = 2020

    source: ClassVar[str] = "Influence-Driven Data Poisoning, RQ4"

    def __post_init__(self) -> None:
        """Refuse an unknown choice, and a seed that is none."""
        check_choice("by", self.by, CHOICES)
        check_whole("random_state", self.random_state, 0)

    def rank(self, problem: Problem, propagator: Fitted) -> Integers:
        """Return the unlabelled points, by row number, the one to label first first."""
        check_fits(problem, propagator, "propagator")
        points = propagator.unlabeled
        if self.by == "random":
            return np.random.default_rng(self.random_state).permutation(points)
        if self.by == "uncertainty":
            if problem.n_classes < 2:
                raise InputError("by='uncertainty' compares classes, and there is one only.")
            scores = propagator.apply(np.eye(problem.n_classes)[problem.y], normalized=True)
            ordered = np.sort(scores[points], axis=1)
            return points[np.argsort(ordered[:, -1] - ordered[:, -2], kind="stable")]
        return points[_would_decide(problem, points)]

    def check(self, problem: Problem, propagator: Fitted, budget: float, oracle: Oracle) -> Checks:
        """Ask about the first points; see `repair`. Returns what was asked and answered as well."""
        n_checks = count_flips(budget, problem.y.size)
        points = self.rank(problem, propagator)[:n_checks]
        if points.size == propagator.unlabeled.size:
            raise InputError(
                f"{n_checks} more labels would leave none of the {points.size} unlabelled points "
                "to be predicted; give a smaller budget."
            )
        ask = as_oracle(oracle, problem)
        answers = np.array([ask(int(point)) for point in points], dtype=np.int64)
        told = answers != NO_ANSWER
        labeled = np.concatenate([problem.labeled, points[told]])
        codes = np.concatenate([problem.y, answers[told]])
        return Checks(replace(problem, labeled=labeled, y=codes), points, answers)

    def repair(
        self, problem: Problem, propagator: Fitted, budget: float, oracle: Oracle
    ) -> Problem:
        """Return the problem with more points labelled, at the end of ``labeled``.

        Parameters
        ----------
        problem : Problem
        propagator : Fitted
            Whose predictions are uncertain; fitted to the labelled points so far.
        budget : int or float
            Points to label, or a part of the number of labels so far.
        oracle : (n,) int, mapping or callable
            See `as_oracle`.

        Returns
        -------
        Problem
            Points the oracle cannot tell stay unlabelled.
        """
        return self.check(problem, propagator, budget, oracle).problem


def _would_decide(problem: Problem, points: Integers) -> Integers:
    """Return positions in ``points``, those first that would decide most others if labelled."""
    to_labels = log_rows_of(problem.graph, problem.labeled)
    to_points = log_rows_of(problem.graph, points)
    mir, total = np.zeros(points.size, dtype=np.int64), np.zeros(points.size)
    step = max(1, _BLOCK // points.size)
    for start in range(0, points.size, step):
        rows = points[start : start + step]
        labels = to_labels(rows)
        top = labels.max(axis=1)
        base = np.where(np.isfinite(top), top, 0.0)
        with np.errstate(divide="ignore"):
            heard = base + np.log(np.exp(labels - base[:, None]).sum(axis=1))
        block = to_points(rows)
        block[np.arange(rows.size), start + np.arange(rows.size)] = -np.inf
        mir += (block > heard[:, None]).sum(axis=0)
        # Where no label is heard a point would hold all: exp(-inf) is 0.
        with np.errstate(over="ignore", invalid="ignore"):
            shares = 1.0 / (1.0 + np.exp(heard[:, None] - block))
        total += np.where(np.isfinite(block), shares, 0.0).sum(axis=0)
    return np.lexsort((-total, -mir))
