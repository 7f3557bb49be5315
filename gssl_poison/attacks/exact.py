"""The best attack there is, by integer programming, where the problem is small."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from gssl_poison._arguments import check_choice
from gssl_poison.attacks._common import Surrogate, begin, shares_of, target_classes
from gssl_poison.attacks._search import Search
from gssl_poison.attacks.greedy import climb
from gssl_poison.attacks.swaps import as_poison, swap
from gssl_poison.exceptions import InputError
from gssl_poison.flip_program import fits_program, most_wrong
from gssl_poison.problem import Poison, Problem


@dataclass(frozen=True)
class Exact:
    """Flip the labels that turn most predictions of the surrogate, of all sets of flips.

    Parameters
    ----------
    truth : bool, default True
        Wrong against the true classes; else against what the clean labels predict.
    time_limit : float, default 60
        Seconds. Stopped by it, the attack returns the best flips found, and ``Poison.bound`` says
        how much better others could be.
    method : {"auto", "milp"}, default "auto"
        "auto" tries all sets of flips where there are few, else solves the integer program.

    Notes
    -----
    Maximises ``|{i : argmax_c (M Y)_ic != target_i}|`` over at most k flips to any class, by
    `gssl_poison.flip_program.most_wrong`. For some dozens of points and labels; the time grows
    exponentially with them. Flips are listed as a greedy attacker would make them.

    References
    ----------
    HiGHS, through `scipy.optimize.milp`.

    Examples
    --------
    >>> import numpy as np
    >>> from gssl_poison import Harmonic, Problem, RBFGraph
    >>> graph = RBFGraph(np.array([[0.0], [0.1], [0.2], [1.0], [5.0], [5.1]]), gamma=1.0)
    >>> problem = Problem(graph, labeled=[0, 4], y=[0, 1], truth=[0, 0, 0, 0, 1, 1])
    >>> poison = Exact().attack(problem, Harmonic().fit(graph, [0, 4]), budget=1)
    >>> poison.order, poison.objective, poison.bound
    (array([0]), array([0.75]), 0.75)
    """

    truth: bool = True
    time_limit: float = 60.0
    method: str = "auto"

    source: ClassVar[str] = "this project: all sets of flips, or a mixed-integer program (HiGHS)"
    surrogate: ClassVar[str] = "victim"
    nested: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Refuse a time that is none."""
        if not self.time_limit > 0.0:
            raise InputError(f"time_limit={self.time_limit} is not positive; give seconds.")
        check_choice("method", self.method, ("auto", "milp"))

    def attack(self, problem: Problem, surrogate: Surrogate, budget: float) -> Poison:
        """Choose labels to flip; see `MIR.attack`. Objective: wrong part of the points.

        Raises
        ------
        InputError
            The problem is too large for an integer program.
        """
        task = begin(problem, surrogate, budget)
        u, l, c = task.fitted.unlabeled.size, problem.y.size, problem.n_classes  # noqa: E741
        if not fits_program(u, l, c, task.n_flips):
            raise InputError(
                f"{u:,} points, {l:,} labels and {c} classes are too many for Exact, which tries "
                "all sets of flips, if cleverly; use Swaps(), and certify() for what none exceeds."
            )
        target = target_classes(problem, surrogate, self.truth, "Exact")
        M = shares_of(task.fitted)
        found = most_wrong(
            M,
            problem.y,
            target,
            c,
            task.n_flips,
            time_limit=self.time_limit,
            method=self.method,
        )
        search = Search.start(M, problem.y, target, c, task.card)
        if not found.optimal:
            # Stopped by the clock: what local search finds may be better.
            climb(search, task.n_flips)
            swap(search)
        if found.optimal or search.wrong < found.wrong:
            search = search.again()
            for j, new in zip(found.order.tolist(), found.new.tolist(), strict=True):
                search.flip(j, new)
        notes: tuple[str, ...] = ()
        if not found.optimal:
            notes += (
                f"not proven optimal in {self.time_limit:g} s: {search.wrong} points are wrong, "
                f"and no flips exceed {found.bound}",
            )
        poison = as_poison(self, task, search, notes, used_truth=self.truth)
        return replace(poison, bound=found.bound / u)
