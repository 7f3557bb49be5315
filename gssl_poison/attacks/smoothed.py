"""Greedy on a smoothed count of wrong predictions, from which local search starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from gssl_poison.attacks._common import Surrogate, begin, shares_of, target_classes
from gssl_poison.attacks._search import Search
from gssl_poison.attacks.greedy import climb
from gssl_poison.attacks.swaps import as_poison, swap
from gssl_poison.exceptions import InputError
from gssl_poison.problem import Poison, Problem

Floats = npt.NDArray[np.float64]

# Below this no row but those at the very point of turning has a slope.
_COLDEST = 1e-3


@dataclass(frozen=True)
class Smoothed:
    """Climb smoothed counts of wrong predictions, swap flips from each, and keep the best.

    Parameters
    ----------
    truth : bool, default True
        Turn predictions from the true classes; else from what the clean labels predict.
    temperatures : tuple of float, default (0.2, 0.5, 2.0)
        Widths of the smoothing, in shares of influence; a start for each, and one from `Greedy`.

    Notes
    -----
    A single flip that turns few predictions can be one of many that turn a whole class together:
    the greedy attack never sees them, and no swap finds them. So flips are chosen one by one by the
    gradient of ``sum_i 1 / (1 + exp(m_i / t))``, where ``m_i`` is the lead of the target's score
    over the next, which counts what many flips do to points far from turning; then `Swaps`'s
    exchanges go up on the count itself. Never worse than ``Swaps(n_kicks=0)``. A flip costs one
    product ``M.T R`` with R (u, c), ``2 u l c`` operations.

    Examples
    --------
    >>> import numpy as np
    >>> from gssl_poison import Harmonic, Problem, RBFGraph
    >>> graph = RBFGraph(np.array([[0.0], [0.1], [0.2], [1.0], [5.0], [5.1]]), gamma=1.0)
    >>> problem = Problem(graph, labeled=[0, 4], y=[0, 1], truth=[0, 0, 0, 0, 1, 1])
    >>> Smoothed().attack(problem, Harmonic().fit(graph, [0, 4]), budget=1).objective
    array([0.75])
    """

    truth: bool = True
    temperatures: tuple[float, ...] = (0.2, 0.5, 2.0)

    source: ClassVar[str] = "this project: gradient of a smoothed count, then swaps"
    surrogate: ClassVar[str] = "victim"
    nested: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Refuse temperatures that are none."""
        given: Any = self.temperatures
        if not isinstance(given, tuple) or not all(
            isinstance(t, int | float) and _COLDEST <= t < np.inf for t in given
        ):
            raise InputError(
                f"temperatures={given!r} is not a tuple of numbers from {_COLDEST:g}, in shares of "
                "influence; give some, such as (0.2, 0.5, 2.0)."
            )

    def attack(self, problem: Problem, surrogate: Surrogate, budget: float) -> Poison:
        """Choose labels to flip; see `MIR.attack`. Objective: wrong part of the points."""
        task = begin(problem, surrogate, budget)
        target = target_classes(problem, surrogate, self.truth, "Smoothed")
        M = shares_of(task.fitted)
        clean = Search.start(M, problem.y, target, problem.n_classes, task.card)
        best = clean.copy()
        climb(best, task.n_flips)
        swap(best)
        note = "best from the greedy start"
        for temperature in self.temperatures:
            search = clean.copy()
            for _ in range(task.n_flips):
                search.flip(*steepest(search, temperature))
            swap(search)
            if search.wrong > best.wrong:
                best, note = search, f"best from the start at temperature {temperature}"
        return as_poison(self, task, best, (note,), used_truth=self.truth)


def steepest(search: Search, temperature: float) -> tuple[int, int]:
    """Return the flip (label, class) with the largest first-order gain in the smoothed count."""
    rows = np.arange(search.target.size)
    scores = search.scores
    rivals = scores.copy()
    rivals[rows, search.target] = -np.inf
    rival = rivals.argmax(axis=1)
    lead = scores[rows, search.target] - rivals[rows, rival]
    # The slope of the logistic function, in a form that does not overflow.
    falling = np.exp(-np.abs(lead) / temperature)
    slope = falling / (1.0 + falling) ** 2
    pull = np.zeros_like(scores)
    pull[rows, search.target] = -slope
    pull[rows, rival] += slope
    toward = search.M.T @ pull
    own = toward[np.arange(search.codes.size), search.codes]
    gains = toward - own[:, None]
    gains[~search.free] = -np.inf
    gains[np.arange(search.codes.size), search.codes] = -np.inf
    j, new = divmod(int(gains.argmax()), gains.shape[1])
    return j, new
