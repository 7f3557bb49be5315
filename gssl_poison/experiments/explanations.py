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
from gssl_poison.experiments.names import ATTACK_NAMES, MODEL_NAMES, part_text, signed, title_of
from gssl_poison.experiments.paper import printed, printed_cells
from gssl_poison.experiments.paper_tables import attack_errors
from gssl_poison.experiments.questions import BUDGETS

# Points kept for testing (the paper's Table 1).
_TESTED: Mapping[str, int] = {"mnist-1-7": 2163, "cifar10-cat-ship": 2000, "rcv1": 677_399}
_SPAN = re.compile(r"row sums.*? span ([-+.\w]+) to ([-+.\w]+)")
# Row sums of K, which must be 1: within this of it K is roughly what it should be.
_ROUGHLY = 0.05
# Of figures with two digits one in ten is a whole tenth.
_MOSTLY = 0.8


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
            causes.append("It draws noise from a generator whose state the text does not give.")
            causes += _of_tenths(place)
            details += _of_random(results, place)
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
    rows = [
        results.first(cell, "replication") for cell in (place, replace(place, model="transductive"))
    ]
    facts: dict[str, Any] = {
        name: next((n for n in (number_of(row.get(name)) for row in rows) if n >= 0), math.nan)
        for name in ("flips", "labels")
    }
    notes = [row["note"] for row in rows if isinstance(row.get("note"), str)]
    return {**facts, "note": " | ".join(notes)}


def _of_kernel(facts: Mapping[str, Any], attack: str) -> list[str]:
    """Say how sound the K is that the attack reads."""
    found = _SPAN.search(str(facts["note"]))
    low, high = (number_of(text) for text in found.groups()) if found else (math.nan, math.nan)
    name = ATTACK_NAMES[attack].capitalize()
    if found is None or math.isnan(low + high):
        return [f"{name} reads K as published, formed with self-loops in float64."]
    span = f"{found[1]} to {found[2]}"
    if max(abs(low - 1), abs(high - 1)) <= _ROUGHLY:
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
        "tenths of a point, as of 1,000 points: they come of another evaluation than the others."
    ]


def _of_random(results: Results, place: Cell) -> list[str]:
    """Say what as many random flips do, which on some data sets is the printed error."""
    at_random = replace(place, attack="random", model="transductive")
    error = results.value(at_random, "replication", "error")
    if error is None or place.model != "transductive":
        return []
    return [f"random flips of as many labels give {100.0 * error:.2f} here"]


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
    on = f" on {tested:,} test points" if tested else ""
    told = "The paper's forests have no seed: one differs from the next by tenths of a point"
    if place.attack == "none":
        return f"{told}{on}, at times by a point."
    return f"{told}{on}, and by more where labels are poisoned."


def _of_inferred(results: Results, place: Cell) -> list[str]:
    """Say how far off the labels are that a model is trained on."""
    difference = results.compare(replace(place, model="transductive"), "error").difference
    if difference is None:
        return []
    if abs(difference) <= SAME_POINTS:
        return ["the labels it learns from have the printed error"]
    return [f"the error of the labels it learns from is off by {signed(difference)}"]
