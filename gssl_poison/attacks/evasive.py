"""An adaptive attacker: greedy, among the flips that a detector he knows does not rank high."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from gssl_poison._arguments import check_whole
from gssl_poison.attacks._common import Surrogate, begin, shares_of, target_classes
from gssl_poison.attacks._search import Search
from gssl_poison.attacks.greedy import WRONG
from gssl_poison.exceptions import InputError, InputTypeError
from gssl_poison.problem import Poison, Problem

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
_NEVER = np.iinfo(np.int64).min


@dataclass(frozen=True)
class Evasive:
    """Flip greedily, but only labels that a detector, asked again, leaves outside its first ones.

    Parameters
    ----------
    detector : callable
        Takes class codes (l,) and returns how suspect every label would be with them, (l,).
    n_watched : int
        Labels at the top of the detector's ranking that the defender looks at.
    truth : bool, default True
        Wrong against the true classes; else against what the clean labels predict.

    Notes
    -----
    Of the flips that turn most predictions, ties by the label's influence, the first after which
    at least ``n_watched`` labels are more suspect than the flipped one. The detector is asked
    about every candidate with all flips so far and the candidate's own. Ends before the budget
    does where no flip passes. Earlier flips are not looked at again: later ones may raise them.

    Examples
    --------
    >>> import numpy as np
    >>> from gssl_poison import Direct, Problem, RBFGraph
    >>> graph = RBFGraph(np.array([[0.0], [0.1], [0.2], [1.0], [5.0], [5.1]]), gamma=1.0)
    >>> problem = Problem(graph, labeled=[0, 4], y=[0, 1], truth=[0, 0, 0, 0, 1, 1])
    >>> attack = Evasive(lambda codes: np.array([1.0, 0.0]), n_watched=1)
    >>> attack.attack(problem, Direct().fit(graph, [0, 4]), budget=1).order
    array([1])
    """

    detector: Callable[[Integers], Floats] = field(repr=False)
    n_watched: int
    truth: bool = True

    source: ClassVar[str] = "this project: greedy where the detector does not look"
    surrogate: ClassVar[str] = "victim"
    nested: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse a detector that cannot be asked."""
        if not callable(self.detector):
            raise InputTypeError(
                f"detector={self.detector!r} cannot be called; give a function of class codes (l,) "
                "that returns scores (l,)."
            )
        check_whole("n_watched", self.n_watched, 0)

    def attack(self, problem: Problem, surrogate: Surrogate, budget: float) -> Poison:
        """Choose labels to flip; see `MIR.attack`. Objective: wrong part of the points."""
        task = begin(problem, surrogate, budget)
        target = target_classes(problem, surrogate, self.truth, "Evasive")
        M = shares_of(task.fitted)
        search = Search.start(M, problem.y, target, problem.n_classes, task.card)
        total = search.M.sum(axis=0)
        order: list[int] = []
        wrong: list[int] = []
        while len(order) < task.n_flips:
            found = self._unseen(search, total)
            if found is None:
                break
            search.flip(*found)
            order.append(found[0])
            wrong.append(search.wrong)
        notes: tuple[str, ...] = ()
        if len(order) < task.n_flips:
            notes = (
                f"stopped after {len(order)} of {task.n_flips} flips: the detector ranks every "
                f"other one among its first {self.n_watched}",
            )
        return task.poison(
            self,
            order,
            search.codes[order],
            np.array(wrong) / target.size,
            WRONG,
            used_truth=self.truth,
            notes=notes,
        )

    def _unseen(self, search: Search, total: Floats) -> tuple[int, int] | None:
        """Return the best flip that the detector does not rank among its first, if there is one."""
        gains = search.gains()
        flips = np.argwhere(gains > _NEVER)
        labels, classes = flips.T
        best = np.lexsort((-total[labels], -gains[labels, classes]))
        codes = search.codes.copy()
        for j, new in flips[best].tolist():
            old, codes[j] = codes[j], new
            # A copy: what is done to it must not reach the next question.
            answer = np.asarray(self.detector(codes.copy()))
            codes[j] = old
            if answer.dtype.kind not in "biuf":
                raise InputTypeError(
                    f"the detector returned values of type {answer.dtype}; it must return one "
                    f"number for each of the {codes.size} labels."
                )
            scores = answer.astype(np.float64)
            if scores.shape != codes.shape or np.isnan(scores).any():
                raise InputError(
                    f"the detector returned shape {scores.shape} with {int(np.isnan(scores).sum())}"
                    f" NaN; it must return one number for each of the {codes.size} labels."
                )
            if int((scores > scores[j]).sum()) >= self.n_watched:
                return j, new
        return None
