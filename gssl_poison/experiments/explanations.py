"""Why a figure is off the printed one by more than a point: a sentence from the row's own facts."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from gssl_poison.experiments.cells import Cell
from gssl_poison.experiments.comparison import (
    NEAR_POINTS,
    SAME_POINTS,
    Compared,
    Results,
    number_of,
)
from gssl_poison.experiments.names import (
    ATTACK_NAMES,
    MODEL_NAMES,
    part_text,
    signed,
    title_of,
)
from gssl_poison.experiments.paper import printed, printed_cells
from gssl_poison.experiments.paper_tables import Correlation, attack_errors, correlations
from gssl_poison.experiments.questions import BUDGETS

# Points kept for testing (the paper's Table 1).
_TESTED: Mapping[str, int] = {"mnist-1-7": 2163, "cifar10-cat-ship": 2000, "rcv1": 677_399}
_SPAN = re.compile(r"row sums.*? span ([-+.\w]+) to ([-+.\w]+)")
# Row sums of K, which must be 1: within this of it K is roughly what it should be.
_ROUGHLY = 0.05
# Of figures with two digits one in ten is a whole tenth.
_MOSTLY = 0.8
# Points of error within which a printed one is taken for that of random flips.
_BY_CHANCE = 5.0


@dataclass(frozen=True)
class Explanation:
    """Why one figure is off.

    Attributes
    ----------
    compared : Compared
    cause : str
        What holds for all cells of its kind: sentences.
    detail : str
        What is of this cell alone; may be empty.
    """

    compared: Compared
    cause: str
    detail: str

    @property
    def group(self) -> str:
        """Return what it is told under: data set, attack and model."""
        place = self.compared.place
        attack = ATTACK_NAMES[place.attack]
        return f"{title_of(place.dataset)}, {attack}, {MODEL_NAMES[place.model]}"

    @property
    def where(self) -> str:
        """Return which of the cells told under one group it is."""
        place = self.compared.place
        labeled = f"{part_text(place.labeled)} labelled"
        return f"{labeled}, {part_text(place.budget)} flipped" if place.budget else labeled


def explanations(results: Results, points: float = NEAR_POINTS) -> tuple[Explanation, ...]:
    """Explain every replicated error of Table 4 that is off the printed one.

    Parameters
    ----------
    results : Results
    points : float
        How far off is explained.

    Returns
    -------
    tuple of Explanation
        By data set, model, attack, part labelled and budget.
    """
    off = [
        compared
        for compared in attack_errors(results)
        if compared.difference is not None and abs(compared.difference) > points
    ]
    found = [Explanation(c, *_why(results, c)) for c in off]
    # `places` come by data set already: a stable sort keeps that, the parts and the budgets.
    datasets = list(dict.fromkeys(e.compared.place.dataset for e in found))
    return tuple(
        sorted(
            found,
            key=lambda e: (
                datasets.index(e.compared.place.dataset),
                e.compared.place.model != "transductive",
                list(ATTACK_NAMES).index(e.compared.place.attack),
            ),
        )
    )


def explain_samples(results: Results) -> str:
    """Say which printed coefficients of Table 2 samples explain, and which they do not.

    Parameters
    ----------
    results : Results

    Returns
    -------
    str
        Sentences; empty where no replicated coefficient stands beside a printed one.
    """
    known = [
        one
        for one in correlations(results)
        if one.mir.replication is not None and one.inside(one.mir_spread) is not None
    ]
    if not known:
        return ""
    with_mir = [one for one in known if one.inside(one.mir_spread)]
    outside = [one for one in known if one not in with_mir and not one.inside(one.argmax_spread)]
    either = len(known) - len(outside)
    with_argmax = sum(bool(one.inside(one.argmax_spread)) for one in known)
    told = (
        f"Of {len(known)} printed coefficients {with_argmax} are inside with the argmax count, "
        f"which the published code correlates, {len(with_mir)} with MIR and {either} with one of "
        f"the two; chance alone would leave {0.05 * len(known):.0f} outside."
    )
    if outside:
        told += f" Outside both: {'; '.join(map(_of_sample, outside))}."
    return told


def _of_sample(one: Correlation) -> str:
    """Say how far a printed coefficient is from where samples lie, with the nearer count."""
    place, paper = one.mir.place, one.mir.paper or 0.0
    spreads = [spread for spread in (one.mir_spread, one.argmax_spread) if spread]
    low, high = min(spreads, key=lambda ends: max(ends[0] - paper, paper - ends[1]))
    side = f"below {low:.3f}" if paper < low else f"above {high:.3f}"
    return (
        f"{title_of(place.dataset)}, {part_text(place.labeled)} labelled, {place.victim}, "
        f"{one.mir.column.capitalize()}: {paper:.2f} is {side}"
    )


def _why(results: Results, compared: Compared) -> tuple[str, str]:
    """Return the cause and the detail of one cell."""
    place = compared.place
    causes, details = [], []
    if place.attack in ("greedy", "probabilistic"):
        facts = _facts(results, place)
        causes += _of_kernel(facts, place.attack)
        if place.attack == "greedy":
            causes.append("Greedy stops where no single flip gains.")
            details += _of_stopping(facts, place)
        else:
            causes += _of_tenths(place)
            details += _of_random(results, compared, sound=_is_sound(facts))
    if place.model == "forest":
        causes.append(_of_forests(place))
        details += _of_inferred(results, place)
    if not causes:
        causes.append(
            "Nothing in the run explains it: neither the attack nor this victim draws anything at "
            "random beyond the choice of labels."
        )
    return " ".join(causes), "; ".join(details)


def _facts(results: Results, place: Cell) -> dict[str, Any]:
    """Return what the row of a cell says; what it lacks, the one its labels come from may have."""
    cells = (place, replace(place, model="transductive"))
    facts: dict[str, Any] = {}
    for name in ("flips", "labels"):
        figures = (results.value(cell, "replication", name) for cell in cells)
        facts[name] = next((n for n in figures if n is not None), math.nan)
    rows = [results.first(cell, "replication") for cell in cells]
    notes = [row["note"] for row in rows if isinstance(row.get("note"), str)]
    return {**facts, "note": " | ".join(notes)}


def _span_of(facts: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the least and the largest row sum of K as the note has them; None without."""
    found = _SPAN.search(str(facts["note"]))
    if found is None or math.isnan(number_of(found[1]) + number_of(found[2])):
        return None
    return found[1], found[2]


def _is_sound(facts: Mapping[str, Any]) -> bool:
    """Tell whether K is known to be nearly right."""
    span = _span_of(facts)
    return span is not None and all(abs(number_of(text) - 1) <= _ROUGHLY for text in span)


def _of_kernel(facts: Mapping[str, Any], attack: str) -> list[str]:
    """Say how sound the K is that the attack reads."""
    ends = _span_of(facts)
    name = ATTACK_NAMES[attack].capitalize()
    if ends is None:
        return [f"{name} reads K as published, formed with self-loops in float64."]
    span = " to ".join(ends)
    if _is_sound(facts):
        return [
            f"{name} reads K as published; its row sums, which must be 1, span {span} here, so "
            "that it is nearly right."
        ]
    return [
        f"{name} reads K as published, formed with self-loops in float64; its row sums, which must "
        f"be 1, span {span} here. Such a K is void: what is chosen by it is the rounding of the "
        "LAPACK at hand, and differs from machine to machine."
    ]


def _of_tenths(place: Cell) -> list[str]:
    """Say so where printed errors are too round for the points that are predicted."""
    if place.model != "transductive":
        return []
    same = [
        cell
        for cell in printed_cells()
        if (cell.dataset, cell.attack, cell.model) == (place.dataset, place.attack, "transductive")
        and cell.repair == "none"
    ]
    tenths = [1000.0 * printed(cell)["error"] for cell in same if "error" in printed(cell)]
    round_ones = sum(abs(value - round(value)) < 1e-6 for value in tenths)
    if round_ones < _MOSTLY * len(tenths):
        return []
    return [
        f"{round_ones} of its {len(tenths)} printed transductive errors on this data set are whole "
        "tenths of a point, as of 1,000 points, which suggests another evaluation."
    ]


def _of_random(results: Results, compared: Compared, *, sound: bool) -> list[str]:
    """Say what as many random flips do, which on some data sets is about the printed error."""
    place, paper, ours = compared.place, compared.paper, compared.replication
    error = results.value(replace(place, attack="random"), "replication", "error")
    if error is None or paper is None or ours is None or place.model != "transductive":
        return []
    told = f"{100.0 * error:.2f} here"
    near = sound and abs(100.0 * (paper - error)) <= _BY_CHANCE
    # An attack that itself does no more than chance has nothing to be told apart by.
    if not near or 100.0 * (ours.value - error) <= _BY_CHANCE:
        return [f"random flips of as many labels give {told}"]
    return [
        f"the printed error is near that of as many random flips, {told}: the published run did "
        "little more than chance; the attack by its rule does much more"
    ]


def _of_stopping(facts: Mapping[str, Any], place: Cell) -> list[str]:
    """Say how many labels greedy flipped here, and from where on its printed error is constant."""
    details = []
    flips, labels = facts["flips"], facts["labels"]
    if not math.isnan(flips):
        may = "" if math.isnan(labels) else f" of {math.floor(place.budget * labels + 1e-9)}"
        details.append(f"{flips:.0f}{may} flips made here")
    errors = {b: printed(replace(place, budget=b)).get("error") for b in BUDGETS}
    last = errors[BUDGETS[-1]]
    since = next((b for b in BUDGETS if all(errors[c] == last for c in BUDGETS if c >= b)), None)
    if last is not None and since is not None and since < BUDGETS[-1]:
        details.append(f"the printed error is the same from {part_text(since)} on")
    return details


def _of_forests(place: Cell) -> str:
    """Say what the paper's forests were drawn with."""
    tested = _TESTED.get(place.dataset)
    on = f", and err on {tested:,} test points" if tested else ""
    return (
        f"The paper's forests have no seed{on}; what another seed would give is not measured by "
        "this run."
    )


def _of_inferred(results: Results, place: Cell) -> list[str]:
    """Say how far off the labels are that a model is trained on."""
    labels = replace(place, model="transductive")
    # What is printed of the labels may be scored a step later than what a model learns from.
    error, paper = results.value(labels, "replication", "error_inferred"), printed(labels)
    if error is None or "error" not in paper:
        return []
    difference = 100.0 * (error - paper["error"])
    if abs(difference) <= SAME_POINTS + 1e-9:
        return ["the labels it learns from have the printed error"]
    return [f"the error of the labels it learns from is off by {signed(difference)}"]
