"""What every attack does first and last: its inputs checked, its new labels chosen, its Poison."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from gssl_poison.attacks.published import Published, published_kernel
from gssl_poison.exceptions import InputError
from gssl_poison.kernels.cuda import Card, card_of
from gssl_poison.metrics import predictions
from gssl_poison.problem import Poison, Problem, check_fits, count_flips
from gssl_poison.propagation import Fitted

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Progress = Callable[[int, int], None]
# What an attack reads: a propagator's M, or, where it replicates published code, its K.
Surrogate: TypeAlias = Fitted | Published

NEW_LABELS = ("damage", "random")
PRESETS = ("corrected", "replication")
SEED = 2020


class Attack(Protocol):
    """What an attack is: a frozen dataclass of its settings with one verb.

    Class attributes say what a caller must know before: ``source``, where the method comes from;
    ``surrogate``, the propagator it was made for ("victim": that of the victim); ``nested``,
    whether one run holds the answers to all smaller budgets.
    """

    source: ClassVar[str]
    surrogate: ClassVar[str]
    nested: ClassVar[bool]

    def attack(self, problem: Problem, surrogate: Surrogate, budget: float) -> Poison:
        """Choose labels to flip."""


@dataclass(frozen=True)
class Task:
    """The checked inputs of an attack."""

    problem: Problem
    surrogate: Surrogate
    n_flips: int
    started: float

    @property
    def fitted(self) -> Fitted:
        """The surrogate of an attack that reads an M."""
        return fitted_of(self.surrogate, "what reads an M")

    @property
    def card(self) -> Card | None:
        """The GPU that counts flips, where the graph is computed on one."""
        return card_of(self.problem.graph)

    def poison(
        self,
        attack: Any,
        order: npt.ArrayLike,
        new: npt.ArrayLike,
        objective: npt.ArrayLike,
        objective_name: str,
        *,
        used_truth: bool = False,
        bound: float | None = None,
        notes: tuple[str, ...] = (),
    ) -> Poison:
        """Return the result of an attack."""
        chosen = np.asarray(order, dtype=np.int64)
        return Poison(
            order=chosen,
            old=self.problem.y[chosen],
            new=np.asarray(new, dtype=np.int64),
            objective=np.asarray(objective, dtype=np.float64),
            objective_name=objective_name,
            seconds=time.perf_counter() - self.started,
            used_truth=used_truth,
            method=repr(attack),
            nested=attack.nested,
            bound=bound,
            notes=notes,
        )


def begin(
    problem: Problem, surrogate: Surrogate, budget: float, *, preset: str = "corrected"
) -> Task:
    """Check the inputs of an attack; only the preset "replication" reads a published K."""
    started = time.perf_counter()
    if preset == "replication" and isinstance(surrogate, Published):
        surrogate.check_fits(problem, "surrogate")
    else:
        check_fits(problem, fitted_of(surrogate, "this attack as it is set"), "surrogate")
    if problem.n_classes < 2:
        raise InputError(
            f"all {problem.y.size} labels are of class {problem.classes[0]!r}, and there is no "
            "other to flip one to; name another class with Problem(n_classes=...)."
        )
    return Task(problem, surrogate, count_flips(budget, problem.y.size), started)


def fitted_of(surrogate: Surrogate, who: str) -> Fitted:
    """Return the surrogate, unless it is a published K, which has no predictions of its own."""
    if isinstance(surrogate, Published):
        raise InputError(
            f"{who} needs a fitted propagator, and the surrogate is the published K, which "
            "the attacks of Liu et al. read with preset='replication', the truth and two classes; "
            "give Harmonic().fit(problem.graph, problem.labeled), or another one."
        )
    return surrogate


def target_classes(problem: Problem, surrogate: Surrogate, truth: bool, who: str) -> Integers:
    """Return the classes (u,) that an attack wants the unlabelled points not to have.

    The true ones, or for an attacker who does not know them what the clean labels predict.
    """
    if not truth:
        return predictions(fitted_of(surrogate, f"{who} with truth=False"), problem)
    if problem.truth is None:
        raise InputError(
            f"{who} with truth=True needs the true classes of the unlabelled points; give "
            "Problem(truth=...), or truth=False (--no-truth), to go by predictions."
        )
    return problem.truth[problem.unlabeled]


def shares_of(surrogate: Fitted) -> Floats:
    """Return the row-normalised M of the unlabelled points, (u, l), if memory holds it.

    By blocks that stay in the cache while they are normalised: five times faster than all at once.
    """
    stored = surrogate.stored()
    M = np.empty((stored.unlabeled.size, stored.labeled.size))
    for part, block in stored.share_blocks(max(1, _CACHED // stored.labeled.size)):
        M[part] = block
    return M


def kernel_of(
    preset: str, problem: Problem, surrogate: Surrogate
) -> tuple[Floats, tuple[str, ...]]:
    """Return what a preset reads, (u, l): the surrogate's shares or the published K, with notes."""
    if preset != "replication":
        return shares_of(fitted_of(surrogate, f"preset={preset!r}")), ()
    if isinstance(surrogate, Published):
        return surrogate.K, (surrogate.note,)
    K, note = published_kernel(problem.graph, problem.labeled)
    return K, (note,)


def choose_new(task: Task, order: Integers, rule: str, seed: int = SEED) -> Integers:
    """Return the new classes of labels that are flipped in a given order.

    Of two classes there is one other. Of more, "random" draws one, as the paper does, and "damage"
    takes the one that changes most predictions of the surrogate, given the flips before it.
    """
    problem, chosen = task.problem, np.asarray(order, dtype=np.int64)
    old, c = problem.y[chosen], problem.n_classes
    if c == 2:
        return 1 - old
    if rule == "random":
        return (old + np.random.default_rng(seed).integers(1, c, chosen.size)) % c
    from gssl_poison.kernels.flips import count_flips as count

    target = predictions(task.fitted, problem)
    one_hot = np.eye(c)[problem.y]
    columns, scores = np.empty((chosen.size, target.size)), np.empty((target.size, c))
    for part, block in task.fitted.share_blocks(max(1, _BLOCK // problem.y.size)):
        columns[:, part] = block[:, chosen].T
        scores[part] = block @ one_hot
    free, room = np.ones(1, dtype=np.bool_), np.empty(target.size)
    new = np.empty_like(old)
    for k, column in enumerate(columns):
        change = np.zeros((1, c), dtype=np.int64)
        count(column[:, None], scores, old[k : k + 1], target, free, change, room)
        change[0, old[k]] = np.iinfo(np.int64).min
        new[k] = change[0].argmax()
        scores[:, old[k]] -= column
        scores[:, new[k]] += column
    return new


# Numbers of a block of shares: 64 MiB, and 2 MiB that stay in a cache.
_BLOCK, _CACHED = 2**23, 2**18
