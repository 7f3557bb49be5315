"""Attacks: frozen dataclasses of settings, all with `.attack(problem, surrogate, budget)`."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from gssl_poison._arguments import check_choice
from gssl_poison.attacks._common import PRESETS, SEED, Attack
from gssl_poison.attacks.baselines import Degree, LabelNoise, Uncertainty
from gssl_poison.attacks.evasive import Evasive
from gssl_poison.attacks.exact import Exact
from gssl_poison.attacks.greedy import Coverage, Greedy, GreedyInit
from gssl_poison.attacks.influential import MIR, Total
from gssl_poison.attacks.liu import Probabilistic, ProbabilisticSoft, Threshold, ThresholdSoft
from gssl_poison.attacks.published import Published
from gssl_poison.attacks.regression import (
    REGRESSION_ATTACKS,
    GaussianPerturbation,
    LeadingEigenvector,
    ProjectedAscent,
    RegressionProblem,
    SparsePerturbation,
    TrustRegion,
    rmse,
)
from gssl_poison.attacks.smoothed import Smoothed
from gssl_poison.attacks.swaps import Swaps
from gssl_poison.exceptions import InputError

# One line an attack: contract tests, the command line and the experiment grids read this table.
ATTACKS: dict[str, Attack] = {
    "mir": MIR(),
    "greedy": Greedy(),
    "greedy-init": GreedyInit(),
    "threshold": Threshold(),
    "threshold-soft": ThresholdSoft(),
    "probabilistic": Probabilistic(),
    "probabilistic-soft": ProbabilisticSoft(),
    "total": Total(),
    "coverage": Coverage(),
    "swaps": Swaps(),
    "smoothed": Smoothed(),
    "exact": Exact(),
    "random": LabelNoise(),
    "degree": Degree(),
    "uncertainty": Uncertainty(),
    "all-to-all": LabelNoise(),
    "all-to-one": LabelNoise(to_class=0),
    "one-to-all": LabelNoise(from_class=0),
    "one-to-one": LabelNoise(from_class=0, to_class=1),
}

# What the published code does, by the setting that says so.
_REPLICATION = {"preset": "replication", "labels": "random", "ties": "position"}


def make_attack(
    name: str,
    *,
    preset: str = "corrected",
    truth: bool | None = None,
    random_state: int = SEED,
) -> Attack:
    """Return the attack of a name, with the settings among these that it has.

    Parameters
    ----------
    name : str
        A key of ``ATTACKS``, or one followed by "+swaps": local search from its flips.
    preset : {"corrected", "replication"}, default "corrected"
        Sound, or as the published code behind the paper's tables does it.
    truth : bool, optional
        Whether it may read the true classes of unlabelled points; by default what it does itself.
    random_state : int, default 2020

    Returns
    -------
    Attack

    Raises
    ------
    InputError
        The name or the preset is not known.

    Examples
    --------
    >>> make_attack("mir", preset="replication")
    MIR(labels='random', random_state=2020, ties='position')
    """
    name, plus, rest = name.partition("+")
    if plus and (rest != "swaps" or name == "swaps"):
        raise InputError(f"method={name + plus + rest!r} is not known; use NAME or NAME+swaps.")
    check_choice("method", name, tuple(ATTACKS))
    check_choice("preset", preset, PRESETS)
    wanted: dict[str, Any] = {"random_state": random_state}
    if preset == "replication":
        wanted |= _REPLICATION
    if truth is not None:
        wanted["truth"] = truth
    attack = _with(ATTACKS[name], wanted)
    return _with(Swaps(start=attack), wanted) if plus else attack


def _with(attack: Any, wanted: dict[str, Any]) -> Attack:
    """Return an attack with those of the wanted settings that it has."""
    changed: Attack = replace(
        attack, **{f.name: wanted[f.name] for f in fields(attack) if f.name in wanted}
    )
    return changed


__all__ = [
    "ATTACKS",
    "MIR",
    "REGRESSION_ATTACKS",
    "Attack",
    "Coverage",
    "Degree",
    "Evasive",
    "Exact",
    "GaussianPerturbation",
    "Greedy",
    "GreedyInit",
    "LabelNoise",
    "LeadingEigenvector",
    "Probabilistic",
    "ProbabilisticSoft",
    "ProjectedAscent",
    "Published",
    "RegressionProblem",
    "Smoothed",
    "SparsePerturbation",
    "Swaps",
    "Threshold",
    "ThresholdSoft",
    "Total",
    "TrustRegion",
    "Uncertainty",
    "make_attack",
    "rmse",
]
