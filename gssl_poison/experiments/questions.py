"""Which cells answer which of the paper's research questions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from gssl_poison._arguments import check_choice, check_whole
from gssl_poison.exceptions import InputError
from gssl_poison.experiments.cells import MODELS, Cell
from gssl_poison.experiments.presets import preset_of
from gssl_poison.experiments.studies import USUAL, Study, attacks_of, study_of

QUESTIONS = ("rq1", "rq2", "rq3", "rq4")
LABELED = (0.05, 0.15, 0.25)
BUDGETS = (0.05, 0.1, 0.15, 0.2)
FIRST_SEED = 2020
# Of the paper: the part labelled where models are trained (Figure 4), the flips that are timed
# (Table 3) and where, the part flipped before labels are repaired (Table 5).
TRAINED_AT = 0.25
TIMED_AT, TIMED_FLIPS = 0.05, 20.0
REPAIRED_AFTER = 0.1


@dataclass(frozen=True)
class Plan:
    """What is asked, of what.

    Attributes
    ----------
    questions : tuple of str
        Of ``("rq1", "rq2", "rq3", "rq4")``.
    preset : {"corrected", "replication"}
    datasets : tuple of str
    labeled : tuple of float
        Parts of the points that have labels. RQ2 takes 25 % where that is among them, else the
        largest; the times of RQ3 take 5 %, else the smallest.
    budgets : tuple of float
        Parts of the labels that are flipped.
    repeats : int
        Choices of labels: seeds 2020, 2021, ...
    models : tuple of str
        Of ``("transductive", "forest", "mlp")``.

    Examples
    --------
    >>> len(Plan(("rq1",), "replication").cells())
    18
    """

    questions: tuple[str, ...]
    preset: str
    datasets: tuple[str, ...] = USUAL
    labeled: tuple[float, ...] = LABELED
    budgets: tuple[float, ...] = BUDGETS
    repeats: int = 1
    models: tuple[str, ...] = MODELS

    def __post_init__(self) -> None:
        """Refuse names that are not known, and numbers that no experiment can have."""
        preset_of(self.preset)
        check_whole("repeats", self.repeats, 1)
        for question in self.questions:
            check_choice("question", question, QUESTIONS)
        for model in self.models:
            check_choice("model", model, MODELS)
        for name in self.datasets:
            study_of(name)
        for name in ("labeled", "budgets"):
            check_parts(name, getattr(self, name))
        for name in ("questions", "datasets", "models"):
            if not getattr(self, name):
                raise InputError(f"{name} is empty; name at least one.")
        if self.questions == ("rq2",) and self.models == ("transductive",):
            raise InputError(
                "rq2 asks what models learn from the labels, and models=('transductive',) names "
                "none; add 'forest' or 'mlp'."
            )

    def cells(self) -> tuple[Cell, ...]:
        """Return the cells, sorted, each once, with those that others are made of."""
        found: set[Cell] = set()
        for name, repeat in product(self.datasets, range(self.repeats)):
            for question in self.questions:
                found.update(_CELLS[question](self, study_of(name), FIRST_SEED + repeat))
        kept = {cell for cell in found if cell.model in ("", *self.models)}
        return tuple(sorted(kept | {cell.inferred_by for cell in kept}))


def check_parts(name: str, values: Sequence[Any]) -> None:
    """Refuse parts that are none, that repeat, or an empty list of them."""
    wrong = [v for v in values if not (isinstance(v, int | float) and 0.0 < v < 1.0)]
    if wrong or not values or len(set(values)) < len(values):
        raise InputError(
            f"{name}={tuple(values)} must hold parts between 0 and 1, both excluded, each once, "
            "such as 0.05,0.15,0.25."
        )


def _correlations(plan: Plan, study: Study, seed: int) -> Iterator[Cell]:
    """Yield RQ1: whether MIR tells what a single flip does."""
    for labeled, victim in product(plan.labeled, study.victims):
        yield Cell("correlation", study.dataset, plan.preset, labeled, seed, victim)


def _models(plan: Plan, study: Study, seed: int) -> Iterator[Cell]:
    """Yield RQ2: what models learn from labels inferred of poisoned ones."""
    labeled = TRAINED_AT if TRAINED_AT in plan.labeled else max(plan.labeled)
    for victim, model in product(study.victims, MODELS[1:]):
        yield from _errors(plan, study, (labeled, seed, victim, model), ("mir",), plan.budgets)


def _attacks(plan: Plan, study: Study, seed: int) -> Iterator[Cell]:
    """Yield RQ3: which attack does most, and how fast it is."""
    attacks, victim = attacks_of(study, plan.preset), study.victims[0]
    for labeled, model in product(plan.labeled, MODELS):
        # What flips at random do is the yardstick; no model is trained for it.
        tried = (*attacks, "random") if model == "transductive" else attacks
        yield from _errors(plan, study, (labeled, seed, victim, model), tried, plan.budgets)
    at = TIMED_AT if TIMED_AT in plan.labeled else min(plan.labeled)
    if seed == FIRST_SEED:
        for attack in attacks:
            yield Cell("seconds", study.dataset, plan.preset, at, seed, victim, attack, TIMED_FLIPS)


def _repairs(plan: Plan, study: Study, seed: int) -> Iterator[Cell]:
    """Yield RQ4: whether it is better to check labels or to label more."""
    victim = study.victims[0]
    for labeled, model in product(plan.labeled, MODELS):
        where = (labeled, seed, victim, model)
        yield from _errors(plan, study, where, ("mir",), (REPAIRED_AFTER,))
        for repair in ("relabel", "label-more"):
            yield _error(plan, study, where, ("mir", REPAIRED_AFTER), repair)


def _errors(
    plan: Plan,
    study: Study,
    where: tuple[float, int, str, str],
    attacks: Iterable[str],
    budgets: Iterable[float],
) -> Iterator[Cell]:
    """Yield the error on clean labels, and after every attack at every budget."""
    for attack in (("none", 0.0), *product(attacks, budgets)):
        yield _error(plan, study, where, attack)


def _error(
    plan: Plan,
    study: Study,
    where: tuple[float, int, str, str],
    attack: tuple[str, float],
    repair: str = "none",
) -> Cell:
    labeled, seed, victim, model = where
    return Cell("error", study.dataset, plan.preset, labeled, seed, victim, *attack, repair, model)


_CELLS = {"rq1": _correlations, "rq2": _models, "rq3": _attacks, "rq4": _repairs}
