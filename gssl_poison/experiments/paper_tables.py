"""The paper's tables and figure as comparisons: what was run, beside what is printed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from gssl_poison.experiments.cells import ATTACKS, MODELS, VICTIMS, Cell
from gssl_poison.experiments.comparison import Compared, Estimate, Results, place_of
from gssl_poison.experiments.names import order_of
from gssl_poison.experiments.paper import printed
from gssl_poison.experiments.questions import FIRST_SEED, REPAIRED_AFTER, TRAINED_AT

COEFFICIENTS = ("kendall", "pearson")
RIVALS = ("greedy", "probabilistic")
# Poisoning that adds less than this to the error leaves too little for a repair to remove: one
# random forest after another differs by as much.
LEAST_INDUCED = 0.01


@dataclass(frozen=True)
class Correlation:
    """One coefficient of Table 2.

    Attributes
    ----------
    mir, argmax : Compared
        With MIR as the paper defines it, and with the plain argmax count of its published code.
    mir_spread, argmax_spread : (float, float) or None
        From the 2.5 % to the 97.5 % quantile over samples of 10 % of the labelled points with
        replacement, as the published code draws one; of the replication, else of the corrected.
    """

    mir: Compared
    argmax: Compared
    mir_spread: tuple[float, float] | None
    argmax_spread: tuple[float, float] | None

    def inside(self, spread: tuple[float, float] | None) -> bool | None:
        """Tell whether the paper's figure, which is rounded, lies within a spread."""
        paper = self.mir.paper
        if paper is None or spread is None:
            return None
        return spread[0] - 0.005 <= paper <= spread[1] + 0.005


@dataclass(frozen=True)
class Timing:
    """One attack on one data set in Table 3, of one source, in seconds.

    Attributes
    ----------
    place : Cell
    source : {"paper", "replication", "corrected"}
    median : float or None
        Of the whole: what the attack reads, and its search.
    deviation : float or None
        Over the timings, of what was timed more than once: the search alone where there is a
        `matrix`, else the whole.
    matrix : float or None
        Of the matrix that the attack reads, which is made once; None where each timing has it.
    flips, timings : float or None
        Labels flipped, and how often that was timed; means over the seeds.
    """

    place: Cell
    source: str
    median: float | None
    deviation: float | None
    matrix: float | None
    flips: float | None
    timings: float | None

    @property
    def search(self) -> float | None:
        """The median of the search alone; None where it was not timed apart."""
        if self.median is None or self.matrix is None:
            return None
        # A mean of medians less a mean may miss zero by a rounding.
        return max(0.0, self.median - self.matrix)


@dataclass(frozen=True)
class Curve:
    """One curve of Figure 4: the error of a model against the part of the labels flipped.

    Attributes
    ----------
    budgets : tuple of float
        From 0, the clean error.
    errors : tuple of Estimate or None
        None where a cell was not run.
    paper : tuple of float or None
        What Table 4 prints of the same cells.
    """

    dataset: str
    preset: str
    labeled: float
    victim: str
    model: str
    budgets: tuple[float, ...]
    errors: tuple[Estimate | None, ...]
    paper: tuple[float | None, ...]

    @property
    def rise(self) -> float | None:
        """What the largest budget of the paper, 20 %, adds to the clean error, in points."""
        found = dict(zip(self.budgets, self.errors, strict=True))
        clean, poisoned = found.get(0.0), found.get(0.2)
        if clean is None or poisoned is None:
            return None
        rise = 100 * (poisoned.value - clean.value)
        return None if math.isnan(rise) else rise


@dataclass(frozen=True)
class Repair:
    """One line of Table 5: the errors before and after two repairs, of one source.

    Attributes
    ----------
    source : {"paper", "replication", "corrected"}
    clean, poisoned, relabelled, more : float or None
        Means over the seeds.
    """

    dataset: str
    model: str
    labeled: float
    source: str
    clean: float | None
    poisoned: float | None
    relabelled: float | None
    more: float | None

    @property
    def induced(self) -> float | None:
        """What poisoning adds to the error."""
        if self.clean is None or self.poisoned is None:
            return None
        return self.poisoned - self.clean

    def removed(self, repaired: float | None) -> float | None:
        """Return the part of the induced error that a repair removes; None where that is small."""
        if repaired is None or self.poisoned is None or self.induced is None:
            return None
        if self.induced < LEAST_INDUCED:
            return None
        return (self.poisoned - repaired) / self.induced


def correlations(results: Results) -> tuple[Correlation, ...]:
    """Return Table 2, Kendall before Pearson for each cell."""
    found = []
    for place in results.places("correlation"):
        for name in COEFFICIENTS:
            mir = results.compare(place, name)
            argmax = replace(results.compare(place, f"{name}_argmax"), paper=mir.paper)
            spreads = [_spread(results, place, column) for column in (name, f"{name}_argmax")]
            found.append(Correlation(mir, argmax, *spreads))
    return tuple(found)


def _spread(results: Results, place: Cell, column: str) -> tuple[float, float] | None:
    """Return the two ends of a spread, each a mean over the seeds."""
    for preset in ("replication", "corrected"):
        low, high = (results.value(place, preset, f"{column}_{end}") for end in ("low", "high"))
        if low is not None and high is not None:
            return low, high
    return None


def timings(results: Results) -> tuple[Timing, ...]:
    """Return Table 3, MIR first on each data set, the paper's line before ours."""
    ordered = sorted(
        results.places("seconds"),
        key=lambda place: (order_of(place.dataset), place.labeled, ATTACKS.index(place.attack)),
    )
    columns = ("seconds_median", "seconds_deviation", "seconds_matrix", "flips", "timings")
    found = []
    for place in ordered:
        for source in ("paper", *results.presets):
            median, deviation, matrix, *sizes = (
                value_of(results, source, place, column) for column in columns
            )
            # No seconds of a matrix: each timing has all of the attack in it.
            found.append(Timing(place, source, median, deviation, matrix or None, *sizes))
    return tuple(found)


def attack_errors(results: Results) -> tuple[Compared, ...]:
    """Return Table 4: every error that was measured without a repair, except after spreading."""
    return tuple(
        results.compare(place, "error")
        for place in results.places("error")
        if place.repair == "none" and place.victim != "spreading" and place.attack != "random"
    )


def curves(results: Results) -> tuple[Curve, ...]:
    """Return Figure 4, for the presets, data sets, victims and models that were run.

    Notes
    -----
    The part labelled is 25 %, as in the paper, where a model was trained at it; else the largest.
    """
    learned = [
        place
        for place in results.places("error")
        if place.model != "transductive"
        and place.repair == "none"
        and place.attack in ("none", "mir")
    ]
    found = []
    for dataset in dict.fromkeys(place.dataset for place in learned):
        own = [place for place in learned if place.dataset == dataset]
        labeled = _trained_at(own)
        own = [place for place in own if place.labeled == labeled]
        budgets = tuple(sorted({0.0, *(place.budget for place in own)}))
        kinds = dict.fromkeys((place.victim, place.model) for place in own)
        ordered = sorted(kinds, key=lambda k: (VICTIMS.index(k[0]), MODELS.index(k[1])))
        for preset in results.presets:
            for victim, model in ordered:
                places = [_after_mir(dataset, labeled, victim, model, b) for b in budgets]
                errors = tuple(results.estimate(place, preset, "error") for place in places)
                if any(errors):
                    paper = tuple(printed(place).get("error") for place in places)
                    found.append(
                        Curve(dataset, preset, labeled, victim, model, budgets, errors, paper)
                    )
    return tuple(found)


def _trained_at(places: Iterable[Cell]) -> float:
    """Choose the part labelled that a figure shows: where spreading was run too, if anywhere."""
    places = tuple(places)
    both = {place.labeled for place in places if place.victim == "spreading"}
    both = both or {place.labeled for place in places}
    return TRAINED_AT if TRAINED_AT in both else max(both)


def _after_mir(dataset: str, labeled: float, victim: str, model: str, budget: float) -> Cell:
    """Return the place of an error after MIR at a budget, or on clean labels at none."""
    attack = "mir" if budget else "none"
    where = (labeled, FIRST_SEED, victim)
    return Cell("error", dataset, "replication", *where, attack, budget, "none", model)


def repairs(results: Results) -> tuple[Repair, ...]:
    """Return Table 5, the paper's line before ours for each model and part labelled."""
    lines = dict.fromkeys(
        (place.dataset, place.model, place.labeled, place.victim)
        for place in results.places("error")
        if place.repair in ("relabel", "label-more")
    )
    ordered = sorted(lines, key=lambda k: (order_of(k[0]), MODELS.index(k[1]), k[2:]))
    found = []
    for dataset, model, labeled, victim in ordered:
        clean = _after_mir(dataset, labeled, victim, model, 0.0)
        poisoned = replace(clean, attack="mir", budget=REPAIRED_AFTER)
        places = (
            *(clean, poisoned),
            *(replace(poisoned, repair=repair) for repair in ("relabel", "label-more")),
        )
        for source in ("paper", *results.presets):
            values = [value_of(results, source, place, "error") for place in places]
            found.append(Repair(dataset, model, labeled, source, *values))
    return tuple(found)


def error_pairs(
    results: Results, source: str, rival: str
) -> tuple[tuple[Cell, float, float, float | None], ...]:
    """Return the errors after MIR beside those after a rival attack, and the clean error.

    Parameters
    ----------
    results : Results
    source : {"paper", "replication", "corrected"}
        "paper" takes the printed figures of the cells that were run under any preset.
    rival : {"greedy", "probabilistic"}

    Returns
    -------
    tuple of (Cell, float, float, float or None)
        The place after MIR, the error after MIR, after the rival, and on clean labels, where that
        is known.
    """
    found, run = [], set(results.places("error"))
    for place in results.places("error"):
        if place.attack != "mir" or place.repair != "none" or place.victim == "spreading":
            continue
        cells = (
            place,
            replace(place, attack=rival),
            replace(place, attack="none", budget=0.0),
        )
        if cells[1] not in run:
            continue
        mir, other, clean = (value_of(results, source, cell, "error") for cell in cells)
        if mir is not None and other is not None:
            found.append((place, mir, other, clean))
    return tuple(found)


def value_of(results: Results, source: str, place: Cell, column: str) -> float | None:
    """Return a figure of the paper, or the mean of a preset; None where there is none."""
    if source == "paper":
        return printed(place).get(column)
    return results.value(place_of(place), source, column)


def attacks_run(results: Results, dataset: str) -> tuple[str, ...]:
    """Return the paper's attacks that were run on a data set, in its order."""
    found = {place.attack for place in results.places("error") if place.dataset == dataset}
    return tuple(attack for attack in ATTACKS[1:-1] if attack in found)
