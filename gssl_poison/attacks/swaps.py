"""Local search: exchange a flipped label for another one while that turns more predictions."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from gssl_poison._arguments import check_whole
from gssl_poison.attacks._common import (
    SEED,
    Attack,
    Surrogate,
    Task,
    begin,
    shares_of,
    target_classes,
)
from gssl_poison.attacks._search import Search
from gssl_poison.attacks.greedy import WRONG, Greedy, climb
from gssl_poison.exceptions import InputError
from gssl_poison.problem import Poison, Problem

# Flips taken back by a kick, at most.
_KICK = 6


@dataclass(frozen=True)
class Swaps:
    """Start from another attack, fill its budget, and swap flips while predictions turn.

    Parameters
    ----------
    start : attack, default Greedy()
        Any other attack.
    truth : bool, default True
        Turn predictions from the true classes; else from what the clean labels predict, the start
        as well.
    n_kicks : int, default 20
        How often to leave a local optimum: take back up to six flips at random, make one at random
        and the others greedily, and swap again. 0 stops at the first local optimum.
    random_state : int, default 2020
        Seed of the kicks.

    Notes
    -----
    Takes one flip back at a time and puts in its place the flip, of any label to any class, that
    leaves most predictions wrong, until a whole round changes nothing: no exchange of one flip for
    another is better. What a kick then leads to is kept where it is better. Flips that only mend
    predictions are not made, so that fewer than the budget may be. Never worse than its start on
    the surrogate. A swap costs two updates of the rows that matter, at most ``2 u l``.

    Examples
    --------
    >>> import numpy as np
    >>> from gssl_poison import Harmonic, Problem, RBFGraph
    >>> graph = RBFGraph(np.array([[0.0], [0.1], [0.2], [1.0], [5.0], [5.1]]), gamma=1.0)
    >>> problem = Problem(graph, labeled=[0, 4], y=[0, 1], truth=[0, 0, 0, 0, 1, 1])
    >>> Swaps().attack(problem, Harmonic().fit(graph, [0, 4]), budget=1).objective
    array([0.75])
    """

    start: Attack = field(default_factory=Greedy)
    truth: bool = True
    n_kicks: int = 20
    random_state: int = SEED

    source: ClassVar[str] = "this project: local search on the surrogate's M"
    surrogate: ClassVar[str] = "victim"
    nested: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Refuse what cannot be started from."""
        if isinstance(self.start, Swaps) or not callable(getattr(self.start, "attack", None)):
            raise InputError(f"start={self.start!r} is no attack to start from; give another one.")
        if not self.truth and getattr(self.start, "truth", False):
            blind: Any = self.start
            object.__setattr__(self, "start", replace(blind, truth=False))
        check_whole("n_kicks", self.n_kicks, 0)
        check_whole("random_state", self.random_state, 0)

    def attack(self, problem: Problem, surrogate: Surrogate, budget: float) -> Poison:
        """Choose labels to flip; see `MIR.attack`. Objective: wrong part of the points."""
        task = begin(problem, surrogate, budget)
        target = target_classes(problem, surrogate, self.truth, "Swaps")
        stored = task.fitted.stored()
        first = self.start.attack(problem, stored, budget)
        M = shares_of(stored)
        search = Search.start(M, problem.y, target, problem.n_classes, task.card)
        for j, new in zip(first.order.tolist(), first.new.tolist(), strict=True):
            search.flip(j, new)
        left = task.n_flips - len(first)
        filled = search.copy()
        climb(filled, left)
        swap(filled)
        if left:
            # Flips that only fill the budget may do good: what the start gains without them counts.
            climb(search, left, fill=False)
            swap(search)
            search = max(filled, search, key=lambda found: found.wrong)
        else:
            search = filled
        search, n_better = kick(search, self.n_kicks, self.random_state)
        note = f"{n_better} of {self.n_kicks} kicks led to a better optimum"
        return as_poison(
            self, task, search, (*first.notes, note), used_truth=self.truth or first.used_truth
        )


def as_poison(
    attack: Any, task: Task, search: Search, notes: tuple[str, ...], *, used_truth: bool
) -> Poison:
    """Return the flips in the order in which they turn most, without those that only do good."""
    order, wrong = in_order(search)
    harm = np.array([search.start_wrong, *wrong])
    best = max(1, int(harm.argmax()))
    if best < task.n_flips:
        notes += (f"{best} of {task.n_flips} flips: with more, fewer points are wrong",)
    return task.poison(
        attack,
        order[:best],
        search.codes[order[:best]],
        harm[1 : best + 1] / search.target.size,
        WRONG,
        used_truth=used_truth,
        notes=notes,
    )


def swap(search: Search) -> None:
    """Exchange one flip for another until no exchange gains."""
    gained = True
    while gained:
        gained = False
        for j in np.flatnonzero(~search.free).tolist():
            new, wrong = int(search.codes[j]), search.wrong
            search.unflip(j)
            gains = search.gains()
            best = int(gains.max())
            if search.wrong + best > wrong:
                search.flip(*divmod(int(gains.argmax()), gains.shape[1]))
                gained = True
            else:
                search.flip(j, new)


def kick(search: Search, n_kicks: int, seed: int) -> tuple[Search, int]:
    """Leave the local optimum and come back better, if that succeeds; return how often it did."""
    rng = np.random.default_rng(seed)
    n_flips = int((~search.free).sum())
    if n_flips < 2 or n_flips == search.codes.size:
        n_kicks = 0
    n_better = 0
    for _ in range(n_kicks):
        trial = search.copy()
        m = int(rng.integers(2, min(n_flips, _KICK) + 1))
        for j in rng.choice(np.flatnonzero(~trial.free), m, replace=False).tolist():
            trial.unflip(j)
        j = int(rng.choice(np.flatnonzero(trial.free)))
        c = trial.change.shape[1]
        trial.flip(j, int((trial.codes[j] + rng.integers(1, c)) % c))
        climb(trial, m - 1)
        swap(trial)
        if trial.wrong > search.wrong:
            search, n_better = trial, n_better + 1
    return search, n_better


def in_order(search: Search) -> tuple[list[int], list[int]]:
    """Return the flips in the order in which they turn most, and the wrong rows after each."""
    chosen = np.flatnonzero(~search.free)
    again = search.again()
    wanted = np.zeros_like(again.change, dtype=np.bool_)
    wanted[chosen, search.codes[chosen]] = True
    order: list[int] = []
    wrong: list[int] = []
    for _ in range(chosen.size):
        gains = np.where(wanted, again.gains(), np.iinfo(np.int64).min)
        j, new = divmod(int(gains.argmax()), gains.shape[1])
        again.flip(j, new)
        order.append(j)
        wrong.append(again.wrong)
    return order, wrong
