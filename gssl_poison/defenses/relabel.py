"""Relabelling: look at the labels at the top of a ranking, and put right those that are wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gssl_poison._arguments import check_choice, check_whole
from gssl_poison.defenses._common import Floats, Integers
from gssl_poison.defenses.checks import Checks, Oracle, check_labels
from gssl_poison.defenses.contradiction import Contradiction, Suspicion
from gssl_poison.exceptions import InputError
from gssl_poison.influence import measure_influence
from gssl_poison.problem import Problem, check_fits, count_flips
from gssl_poison.propagation import Fitted

ORDERS = ("mir", "total", "suspicion", "contradiction", "random")


@dataclass(frozen=True)
class Relabel:
    """Check the labels that rank highest, all chosen before the first answer.

    Parameters
    ----------
    by : {"mir", "total", "suspicion", "contradiction", "random"}, default "mir"
        "mir" is the paper's countermeasure, ties by total influence; "total" is the sum of shares;
        the next two are the detectors of that name; "random" is the baseline.
    random_state : int, default 2020
        Seed of "random".

    Notes
    -----
    One check repairs one label at most. "mir" and "total" read no label: they find the flips of an
    attacker who chose by influence, and none of one who did not.

    References
    ----------
    Influence-Driven Data Poisoning in Graph-Based Semi-Supervised Classifiers, RQ4.

    Examples
    --------
    >>> import numpy as np
    >>> from gssl_poison import Direct, Problem, RBFGraph
    >>> graph = RBFGraph(np.array([[0.0], [0.1], [0.2], [1.0], [5.0], [5.1]]), gamma=1.0)
    >>> problem = Problem(graph, labeled=[0, 4], y=[1, 1])
    >>> prop = Direct().fit(graph, [0, 4])
    >>> Relabel("mir").repair(problem, prop, 1, oracle=[0, 0, 0, 0, 1, 1]).y
    array([0, 1])
    """

    by: str = "mir"
    random_state: int = 2020

    source: ClassVar[str] = "Influence-Driven Data Poisoning, RQ4; by suspicion: this project"

    def __post_init__(self) -> None:
        """Refuse an unknown order, and a seed that is none."""
        check_choice("by", self.by, ORDERS)
        check_whole("random_state", self.random_state, 0)

    def rank(self, problem: Problem, propagator: Fitted) -> Integers:
        """Return all labels, as positions in ``problem.labeled``, the one to check first first."""
        check_fits(problem, propagator, "propagator")
        if self.by == "random":
            return np.random.default_rng(self.random_state).permutation(problem.y.size)
        if self.by == "suspicion":
            return _descending(Suspicion().score(problem, propagator))
        if self.by == "contradiction":
            return _descending(Contradiction().score(problem, propagator))
        measured = measure_influence(propagator)
        if self.by == "total":
            return _descending(measured.total)
        return np.lexsort((-measured.total, -measured.mir))

    def check(self, problem: Problem, propagator: Fitted, budget: float, oracle: Oracle) -> Checks:
        """Look at the first labels; see `repair`. Returns what was asked and answered as well."""
        n_checks = count_flips(budget, problem.y.size)
        return check_labels(problem, self.rank(problem, propagator)[:n_checks], oracle)

    def repair(
        self, problem: Problem, propagator: Fitted, budget: float, oracle: Oracle
    ) -> Problem:
        """Return the problem with the labels corrected that a person was asked about.

        Parameters
        ----------
        problem : Problem
        propagator : Fitted
            Whose influence ranks the labels.
        budget : int or float
            Labels to check, or a part of them between 0 and 1.
        oracle : (n,) int, mapping or callable
            See `as_oracle`.

        Returns
        -------
        Problem
        """
        return self.check(problem, propagator, budget, oracle).problem


@dataclass(frozen=True)
class OracleGreedy:
    """Repair the wrong label that mends most predictions, one after another: knows the truth.

    No defence can know what this reads: which labels are wrong, and which predictions. It is the
    yardstick for the others, as one check repairs one label at most. Greedy, so not the optimum.

    Notes
    -----
    Of labels that mend equally many, the one with the largest total influence. One pass over M for
    every check.

    Examples
    --------
    >>> import numpy as np
    >>> from gssl_poison import Direct, Problem, RBFGraph
    >>> graph = RBFGraph(np.array([[0.0], [0.1], [0.2], [1.0], [5.0], [5.1]]), gamma=1.0)
    >>> truth = [0, 0, 0, 0, 1, 1]
    >>> problem = Problem(graph, labeled=[0, 4], y=[1, 0], truth=truth)
    >>> OracleGreedy().check(problem, Direct().fit(graph, [0, 4]), 1, truth).points
    array([0])
    """

    source: ClassVar[str] = "this project: the yardstick"

    def check(self, problem: Problem, propagator: Fitted, budget: float, oracle: Oracle) -> Checks:
        """Repair the best labels; see `Relabel.repair`. Wrong are those that truth contradicts."""
        check_fits(problem, propagator, "propagator")
        if problem.truth is None:
            raise InputError("OracleGreedy knows the truth; give Problem(truth=...).")
        n_checks = count_flips(budget, problem.y.size)
        right = problem.truth[problem.labeled]
        target = problem.truth[problem.unlabeled]
        order = _mend(propagator, problem, right, target, n_checks)
        return check_labels(problem, order, oracle)

    def repair(
        self, problem: Problem, propagator: Fitted, budget: float, oracle: Oracle
    ) -> Problem:
        """Return the problem with the best labels repaired; see `Relabel.repair`."""
        return self.check(problem, propagator, budget, oracle).problem


def _mend(
    propagator: Fitted, problem: Problem, right: Integers, target: Integers, n_checks: int
) -> Integers:
    """Return the wrong labels in the order in which correcting them mends most predictions."""
    from gssl_poison.kernels.flips import count_flips as count

    codes = problem.y.copy()
    total = measure_influence(propagator).total
    shares = propagator.stored()
    order: list[int] = []
    wrong = codes != right
    while len(order) < min(n_checks, int((problem.y != right).sum())):
        change = np.zeros((codes.size, problem.n_classes), dtype=np.int64)
        one_hot = np.eye(problem.n_classes)[codes]
        for part, block in shares.share_blocks(max(1, _BLOCK // codes.size)):
            count(block, block @ one_hot, codes, target[part], wrong, change, np.empty(len(block)))
        left = np.flatnonzero(wrong)
        mended = change[left, right[left]]
        j = int(left[np.lexsort((-total[left], mended))[0]])
        codes[j] = right[j]
        wrong[j] = False
        order.append(j)
    return np.array(order, dtype=np.int64)


# Numbers of a block of shares: 64 MiB.
_BLOCK = 2**23


def _descending(score: Floats) -> Integers:
    """Return positions by descending score, ties by position."""
    return np.argsort(-score, kind="stable")
