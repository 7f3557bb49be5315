"""Defenses: detectors that score labels, and repairs that spend a person's checks on them."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import ClassVar, Protocol

from gssl_poison.defenses._common import Detector
from gssl_poison.defenses.checks import Checks, Oracle, as_oracle
from gssl_poison.defenses.contradiction import Contradiction, Suspicion
from gssl_poison.defenses.detection import (
    DetectionFigures,
    Threshold,
    best_threshold,
    detection_figures,
)
from gssl_poison.defenses.distribution import ClassShift, SourceDominance
from gssl_poison.defenses.label_more import LabelMore
from gssl_poison.defenses.learned import Learned
from gssl_poison.defenses.neighbours import KNNSanitization, KNNShapley
from gssl_poison.defenses.opinions import against, told
from gssl_poison.defenses.relabel import OracleGreedy, Relabel
from gssl_poison.defenses.robust import AlphaChoice, Vote, Voted, choose_alpha
from gssl_poison.exceptions import InputError
from gssl_poison.problem import Problem
from gssl_poison.propagation import Fitted


class Repair(Protocol):
    """What a repair is: a frozen dataclass of its settings with one verb, and its long form.

    ``check`` does the same as ``repair`` and also returns what was asked and answered.
    """

    source: ClassVar[str]

    def check(self, problem: Problem, propagator: Fitted, budget: float, oracle: Oracle) -> Checks:
        """Spend the checks."""

    def repair(
        self, problem: Problem, propagator: Fitted, budget: float, oracle: Oracle
    ) -> Problem:
        """Return the repaired problem."""


# One line a detector, settings and all: contract tests and benchmarks read this table. Those that
# need more than labels, such as `SourceDominance`, are not in it.
DETECTORS: dict[str, Detector] = {
    "contradiction": Contradiction(),
    "contradiction-propagator": Contradiction(witness="propagator"),
    "suspicion": Suspicion(),
    "knn-sanitization": KNNSanitization(),
    "knn-shapley": KNNShapley(),
    "class-shift": ClassShift(),
    "learned": Learned(),
}

# One line a repair: contract tests and the experiment grids read this table.
REPAIRS: dict[str, Repair] = {
    "relabel-mir": Relabel("mir"),
    "relabel-total": Relabel("total"),
    "relabel-suspicion": Relabel("suspicion"),
    "relabel-contradiction": Relabel("contradiction"),
    "relabel-random": Relabel("random"),
    "learned": Learned(),
    "learned-automatic": Learned(automatic=True),
    "label-random": LabelMore("random"),
    "label-uncertainty": LabelMore("uncertainty"),
    "label-influence": LabelMore("influence"),
    "oracle-greedy": OracleGreedy(),
}


def make_repair(name: str, *, random_state: int | None = None) -> Repair:
    """Return the repair of a name, with a seed where it draws.

    Parameters
    ----------
    name : str
        A key of ``REPAIRS``.
    random_state : int, optional

    Raises
    ------
    InputError
        The name is not known.

    Examples
    --------
    >>> make_repair("relabel-random", random_state=7)
    Relabel(by='random', random_state=7)
    """
    if name not in REPAIRS:
        raise InputError(f"repair={name!r} is not known; use one of {', '.join(REPAIRS)}.")
    repair = REPAIRS[name]
    if random_state is None or "random_state" not in {f.name for f in fields(repair)}:  # type: ignore[arg-type]
        return repair
    return replace(repair, random_state=random_state)  # type: ignore[type-var]


__all__ = [
    "DETECTORS",
    "REPAIRS",
    "AlphaChoice",
    "Checks",
    "ClassShift",
    "Contradiction",
    "DetectionFigures",
    "Detector",
    "KNNSanitization",
    "KNNShapley",
    "LabelMore",
    "Learned",
    "Oracle",
    "OracleGreedy",
    "Relabel",
    "Repair",
    "SourceDominance",
    "Suspicion",
    "Threshold",
    "Vote",
    "Voted",
    "against",
    "as_oracle",
    "best_threshold",
    "choose_alpha",
    "detection_figures",
    "make_repair",
    "told",
]
