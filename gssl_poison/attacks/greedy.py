"""Greedy attacks: one flip after another, each the one that turns most predictions now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from gssl_poison._arguments import check_choice
from gssl_poison.attacks._common import (
    NEW_LABELS,
    PRESETS,
    SEED,
    Surrogate,
    begin,
    choose_new,
    kernel_of,
    shares_of,
    target_classes,
)
from gssl_poison.attacks._search import Search
from gssl_poison.problem import Poison, Problem

Floats = npt.NDArray[np.float64]
_NEVER = np.iinfo(np.int64).min
WRONG = "wrong part of the unlabelled points"


@dataclass(frozen=True)
class Greedy:
    """Flip, one after another, the label that turns most predictions of the surrogate wrong.

    Parameters
    ----------
    truth : bool, default True
        Wrong against the true classes; else against what the clean labels predict.
    fill : bool, default True
        Go on when no single flip turns more predictions than it mends, with the one that brings
        the others nearest to turning; else stop there, as the published code does.
    preset : {"corrected", "replication"}, default "corrected"
        "replication": the published procedure on its numerically void K, formed of the graph with
        self-loops in float64, in place of the surrogate's M; stops when no flip gains.

    Notes
    -----
    Maximises ``|{i : argmax_c (M Y)_ic != target_i}|``; of flips that turn equally many, the first
    in index order. Where none gains, the one that moves the rows still right furthest towards
    turning, ``sum_i min(1, gain_ij / gap_i)``. One pass over M for all candidates, then only over
    rows whose candidates can have changed.

    References
    ----------
    Liu, Si, Zhu, Li and Hsieh 2019, A unified framework for data poisoning attack to graph-based
    semi-supervised learning.

    Examples
    --------
    >>> import numpy as np
    >>> from gssl_poison import Harmonic, Problem, RBFGraph
    >>> graph = RBFGraph(np.array([[0.0], [0.1], [0.2], [1.0], [5.0], [5.1]]), gamma=1.0)
    >>> problem = Problem(graph, labeled=[0, 4], y=[0, 1], truth=[0, 0, 0, 0, 1, 1])
    >>> poison = Greedy().attack(problem, Harmonic().fit(graph, [0, 4]), budget=1)
    >>> poison.order, poison.objective
    (array([0]), array([0.75]))
    """

    truth: bool = True
    fill: bool = True
    preset: str = "corrected"

    source: ClassVar[str] = "Liu et al., NeurIPS 2019; filling the budget: this project"
    surrogate: ClassVar[str] = "victim"
    nested: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse an unknown preset."""
        check_choice("preset", self.preset, PRESETS)

    def attack(self, problem: Problem, surrogate: Surrogate, budget: float) -> Poison:
        """Choose labels to flip; see `MIR.attack`. Objective: wrong part of the points."""
        return _climb_to(self, problem, surrogate, budget, None)


@dataclass(frozen=True)
class GreedyInit:
    """Flip the best pair of labels, found by trying all, then go on greedily.

    Parameters
    ----------
    truth, fill, preset
        See `Greedy`.

    Notes
    -----
    ``l (c - 1)`` first flips, each with the update of the rows it matters to: at most ``u l^2``
    operations for two classes. A budget of one is `Greedy`'s.

    References
    ----------
    See `Greedy`.

    Examples
    --------
    >>> import numpy as np
    >>> from gssl_poison import Harmonic, Problem, RBFGraph
    >>> graph = RBFGraph(np.array([[0.0], [0.1], [0.2], [1.0], [5.0], [5.1]]), gamma=1.0)
    >>> problem = Problem(graph, labeled=[0, 4], y=[0, 1], truth=[0, 0, 0, 0, 1, 1])
    >>> GreedyInit().attack(problem, Harmonic().fit(graph, [0, 4]), budget=2).objective
    array([0.75, 1.  ])
    """

    truth: bool = True
    fill: bool = True
    preset: str = "corrected"

    source: ClassVar[str] = "Liu et al., NeurIPS 2019"
    surrogate: ClassVar[str] = "victim"
    nested: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Refuse an unknown preset."""
        check_choice("preset", self.preset, PRESETS)

    def attack(self, problem: Problem, surrogate: Surrogate, budget: float) -> Poison:
        """Choose labels to flip; see `MIR.attack`. Objective: wrong part of the points."""
        return _climb_to(self, problem, surrogate, budget, best_pair)


@dataclass(frozen=True)
class Coverage:
    """Flip labels that together hold more than half of the influence on most points; no truth.

    Parameters
    ----------
    labels : {"damage", "random"}, default "damage"
        See `MIR`.
    random_state : int, default 2020
        Seed of "random".

    Notes
    -----
    Greedy on ``|{i : sum_{j flipped} M_ij / sum_k M_ik > 1/2}|``: where the flipped labels agree in
    a point's neighbourhood, those are the predictions that turn. `MIR` counts each label alone;
    this counts what several do together, without reading a label. Ties as in `Greedy`.

    Examples
    --------
    >>> import numpy as np
    >>> from gssl_poison import Direct, Problem, RBFGraph
    >>> graph = RBFGraph(np.array([[0.0], [0.1], [0.2], [1.0], [5.0], [5.1]]), gamma=1.0)
    >>> problem = Problem(graph, labeled=[0, 4], y=[0, 1])
    >>> Coverage().attack(problem, Direct().fit(graph, [0, 4]), budget=1).objective
    array([3.])
    """

    labels: str = "damage"
    random_state: int = SEED

    source: ClassVar[str] = "this project: MIR for several labels together"
    surrogate: ClassVar[str] = "victim"
    nested: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse an unknown rule."""
        check_choice("labels", self.labels, NEW_LABELS)

    def attack(self, problem: Problem, surrogate: Surrogate, budget: float) -> Poison:
        """Choose labels to flip; see `MIR.attack`. Objective: points whose majority is flipped."""
        task = begin(problem, surrogate, budget)
        # Labels of one class, and a flip moves a share to the other: a row is lost when more than
        # half of it has moved, which is the greedy attack on two classes.
        nobody = np.zeros_like(problem.y)
        M = shares_of(task.fitted)
        search = Search.start(M, nobody, np.zeros(len(M), dtype=np.int64), 2, task.card)
        order, covered = climb(search, task.n_flips)
        new = choose_new(task, np.array(order), self.labels, self.random_state)
        return task.poison(self, order, new, covered, "points of which most influence is flipped")


def _climb_to(
    attack: Greedy | GreedyInit,
    problem: Problem,
    surrogate: Surrogate,
    budget: float,
    opening: Callable[[Search], list[tuple[int, int]]] | None,
) -> Poison:
    """Make the opening flips, then the greedy ones."""
    task = begin(problem, surrogate, budget, preset=attack.preset)
    target = target_classes(problem, surrogate, attack.truth, type(attack).__name__)
    published = attack.preset == "replication"
    M, notes = kernel_of(attack.preset, problem, surrogate)
    search = Search.start(M, problem.y, target, problem.n_classes, task.card)
    order: list[int] = []
    wrong: list[int] = []
    if opening is not None and task.n_flips > 1:
        for j, new in opening(search):
            search.flip(j, new)
            order.append(j)
            wrong.append(search.wrong)
    more, after = climb(
        search,
        task.n_flips - len(order),
        fill=attack.fill and not published,
    )
    order, wrong = order + more, wrong + after
    top = int(np.argmax(wrong)) + 1 if wrong else 0
    if top < len(order):
        notes += (
            f"most points are wrong after {top} flips, {wrong[top - 1] / target.size:.2%}; the "
            "others fill the budget",
        )
    if len(order) < task.n_flips:
        notes += (
            f"stopped after {len(order)} of {task.n_flips} flips: no further one gains, and this "
            "setting does not fill the budget",
        )
    return task.poison(
        attack,
        order,
        search.codes[order],
        np.array(wrong) / target.size,
        WRONG,
        used_truth=attack.truth,
        notes=notes,
    )


def best_pair(search: Search) -> list[tuple[int, int]]:
    """Return the two flips that turn most rows together, the first such pair in index order."""
    found: list[tuple[int, int]] = []
    most = -1
    for j, new in np.argwhere(search.gains() > _NEVER).tolist():
        search.flip(j, new)
        gains = search.gains()
        second = int(gains.max(initial=_NEVER))
        if second > _NEVER and search.wrong + second > most:
            most = search.wrong + second
            other, to = divmod(int(gains.argmax()), gains.shape[1])
            found = [(j, new), (other, to)]
        search.unflip(j)
    return found


def climb(search: Search, n_flips: int, *, fill: bool = True) -> tuple[list[int], list[int]]:
    """Flip greedily; return the labels in order and the number of wrong rows after each."""
    order: list[int] = []
    wrong: list[int] = []
    while len(order) < n_flips:
        gains = search.gains()
        best = int(gains.max())
        if best <= 0 and not fill:
            break
        ties = np.argwhere(gains == best)
        if best <= 0 and len(ties) > 1:
            ties = ties[[int(np.argmax(search.nearness(ties)))]]
        j, new = (int(v) for v in ties[0])
        search.flip(j, new)
        order.append(j)
        wrong.append(search.wrong)
    return order, wrong
