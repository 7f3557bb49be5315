"""One rule for each conclusion of the paper: from figures to a verdict, with the numbers in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gssl_poison.experiments.cells import Cell
from gssl_poison.experiments.comparison import Results
from gssl_poison.experiments.names import ATTACK_NAMES, part_text, title_of
from gssl_poison.experiments.paper_tables import curves, error_pairs, repairs, timings

HOLDS, IN_PART, FAILS, UNMEASURED = "holds", "holds in part", "does not hold", "not measured"
# What the paper calls a medium correlation, and how far its own coefficients move between parts
# labelled (0.47 to 0.56 on RCV1).
MEDIUM, LITTLE = 0.30, 0.10
# Points that the paper's attack adds at 20 %, and what rounds to "2 times" and to "half".
RISE_LOW, RISE_HIGH = 16, 45
TWICE, HALF, MINOR = 1.95, 0.45, 0.15
# What rounds to 50 % more.
ALMOST_HALF = 0.495


@dataclass(frozen=True)
class Verdict:
    """Whether a claim holds, and the numbers that say so.

    Attributes
    ----------
    word : {"holds", "holds in part", "does not hold", "not measured"}
    sentence : str
    """

    word: str
    sentence: str


def _counted(part: int, of: int) -> str:
    """Judge a claim about every case: it holds in all, in part in at least half, else not."""
    return HOLDS if part == of else IN_PART if 2 * part >= of else FAILS


def _worst(words: Iterable[str]) -> str:
    """Return the worst of the words that were found."""
    return max(words, key=(HOLDS, IN_PART, FAILS).index)


def _nothing(what: str) -> Verdict:
    """Return the verdict where no figure is."""
    return Verdict(UNMEASURED, f"There is no figure of {what}.")


def _kendalls(results: Results, preset: str) -> dict[Cell, float]:
    """Return Kendall's coefficients that were measured."""
    found = {
        place: results.value(place, preset, "kendall") for place in results.places("correlation")
    }
    return {place: value for place, value in found.items() if value is not None}


def medium_to_strong(results: Results, preset: str) -> Verdict:
    """Judge whether Kendall is at least medium everywhere."""
    values = list(_kendalls(results, preset).values())
    if not values:
        return _nothing("Kendall's coefficient")
    enough = sum(round(value, 2) >= MEDIUM for value in values)
    return Verdict(
        _counted(enough, len(values)),
        f"Kendall lies between {min(values):.2f} and {max(values):.2f}; {enough} of "
        f"{_plural(len(values), 'coefficient')} {'is' if enough == 1 else 'are'} at least "
        f"{MEDIUM:.2f}.",
    )


def stronger_under_propagation(results: Results, preset: str) -> Verdict:
    """Judge whether Kendall is higher under propagation than under spreading."""
    found = _kendalls(results, preset)
    pairs = [
        (value, found[other])
        for place, value in found.items()
        if place.victim == "propagation" and (other := replace(place, victim="spreading")) in found
    ]
    if not pairs:
        return _nothing("both victims on the same labels")
    higher = sum(a > b for a, b in pairs)
    mean = np.mean(pairs, axis=0)
    return Verdict(
        _counted(higher, len(pairs)),
        f"Kendall is higher under propagation in {higher} of {_plural(len(pairs), 'pair')}: "
        f"{mean[0]:.2f} against {mean[1]:.2f} on average.",
    )


def share_matters_little(results: Results, preset: str) -> Verdict:
    """Judge whether Kendall stays the same for any part labelled."""
    groups: dict[tuple[str, str], list[float]] = {}
    for place, value in _kendalls(results, preset).items():
        groups.setdefault((place.dataset, place.victim), []).append(value)
    spans = [max(values) - min(values) for values in groups.values() if len(values) > 1]
    if not spans:
        return _nothing("two parts labelled")
    little = sum(round(span, 2) <= LITTLE for span in spans)
    return Verdict(
        _counted(little, len(spans)),
        f"Between parts labelled Kendall moves by {min(spans):.2f} to {max(spans):.2f}; by at most "
        f"{LITTLE:.2f} in {little} of {_plural(len(spans), 'row')} of Table 2.",
    )


def rises_with_budget(results: Results, preset: str) -> Verdict:
    """Judge whether the error of models rises, by as much as the paper says."""
    rises, steps = [], []
    for curve in curves(results):
        if curve.preset == preset and curve.rise is not None:
            rises.append(curve.rise)
            errors = [error.value for error in curve.errors if error is not None]
            steps.append(bool((np.diff(errors) > 0).all()))
    if not rises:
        return _nothing(f"a model at {part_text(0.2)} of the labels flipped")
    within = [RISE_LOW <= round(rise) <= RISE_HIGH for rise in rises]
    word = HOLDS if all(within) and all(steps) else IN_PART if min(rises) > 0 else FAILS
    return Verdict(
        word,
        f"At {part_text(0.2)} of the labels flipped the error is {min(rises):.1f} to "
        f"{max(rises):.1f} points higher; {sum(within)} of {_plural(len(rises), 'curve')} "
        f"lie within {RISE_LOW} to {RISE_HIGH}, and {sum(steps)} rise at every step.",
    )


def steeper_under_propagation(results: Results, preset: str) -> Verdict:
    """Judge whether it rises more under propagation than under spreading."""
    rises = {
        (curve.dataset, curve.model, curve.victim): curve.rise
        for curve in curves(results)
        if curve.preset == preset and curve.rise is not None
    }
    pairs = [
        (rise, rises[dataset, model, "spreading"])
        for (dataset, model, victim), rise in rises.items()
        if victim == "propagation" and (dataset, model, "spreading") in rises
    ]
    if not pairs:
        return _nothing("a model after both victims")
    steeper = sum(a > b for a, b in pairs)
    mean = np.mean(pairs, axis=0)
    return Verdict(
        _counted(steeper, len(pairs)),
        f"The rise is larger under propagation in {steeper} of {_plural(len(pairs), 'pair')}: "
        f"{mean[0]:.1f} against {mean[1]:.1f} points on average.",
    )


def more_than(rival: str, results: Results, preset: str) -> Verdict:
    """Judge whether MIR does more to the victim in every cell, by the worst data set."""
    counted, told = _higher(rival, results, preset, transductive=True)
    if not counted:
        return _nothing(f"the victim after MIR beside {ATTACK_NAMES[rival]}")
    return Verdict(_worst(_counted(*counts) for counts in counted.values()), told)


def generally_more_than(rival: str, results: Results, preset: str) -> Verdict:
    """Judge whether MIR does more to models in most cells, of every data set or of all."""
    counted, told = _higher(rival, results, preset, transductive=False)
    if not counted:
        return _nothing(f"a model after MIR beside {ATTACK_NAMES[rival]}")
    mostly = [2 * higher > of for higher, of in counted.values()]
    higher, of = (sum(numbers) for numbers in zip(*counted.values(), strict=True))
    return Verdict(HOLDS if all(mostly) else IN_PART if 2 * higher > of else FAILS, told)


def _higher(
    rival: str, results: Results, preset: str, *, transductive: bool
) -> tuple[dict[str, tuple[int, int]], str]:
    """Count by data set where the error after MIR is the higher one, and tell it."""
    by_dataset: dict[str, list[bool]] = {}
    for place, mir, other, _ in error_pairs(results, preset, rival):
        if (place.model == "transductive") == transductive:
            by_dataset.setdefault(place.dataset, []).append(mir > other)
    counted = {dataset: (sum(some), len(some)) for dataset, some in by_dataset.items()}
    parts = ", ".join(f"{m} of {n} on {title_of(d)}" for d, (m, n) in counted.items())
    what = "The victim's error" if transductive else "The error of a model"
    return counted, f"{what} is higher after MIR than after {ATTACK_NAMES[rival]} in {parts}."


def half_more_than(rival: str, results: Results, preset: str) -> Verdict:
    """Judge whether MIR adds half as much again as a rival on average, on every data set."""
    by_dataset: dict[str, list[tuple[float, float]]] = {}
    for place, mir, other, clean in error_pairs(results, preset, rival):
        if clean is not None:
            by_dataset.setdefault(place.dataset, []).append((mir - clean, other - clean))
    if not by_dataset:
        return _nothing(f"MIR beside {ATTACK_NAMES[rival]} and the clean error")
    everything = [rises for some in by_dataset.values() for rises in some]
    whole, told = _added(everything)
    words = {whole}
    parts = []
    for dataset, rises in by_dataset.items():
        word, text = _added(rises)
        words.add(word)
        parts.append(f"{text} on {title_of(dataset)}")
    # The paper speaks of an average: a data set that says otherwise takes "holds" away, no more.
    word = HOLDS if words == {HOLDS} else FAILS if whole == FAILS else IN_PART
    told = f"{told}: {', '.join(parts)}" if len(parts) > 1 else parts[0]
    return Verdict(
        word,
        f"Points of error that MIR and {ATTACK_NAMES[rival]} add on average over "
        f"{_plural(len(everything), 'pair')}: {told}.",
    )


def _added(rises: Sequence[tuple[float, float]]) -> tuple[str, str]:
    """Judge what MIR and a rival add on average, and tell it."""
    ours, theirs = (float(100 * value) for value in np.mean(rises, axis=0))
    told = f"{ours:.1f} and {theirs:.1f}"
    if theirs <= 0:
        return HOLDS if ours > 0 else FAILS, told
    more = ours / theirs - 1
    word = HOLDS if more >= ALMOST_HALF else IN_PART if more > 0 else FAILS
    if more >= 2:
        return word, f"{told} ({_times(more + 1)} times as much)"
    return word, f"{told} ({_percent(abs(more))} {'more' if more >= 0 else 'less'})"


def fastest(results: Results, preset: str) -> Verdict:
    """Judge whether every rival takes at least twice as long as MIR."""
    own = {one.place: one for one in timings(results) if one.source == preset}
    ratios, alone = [], []
    for place, rival in own.items():
        mir = own.get(replace(place, attack="mir"))
        if place.attack != "mir" and mir is not None and mir.median and rival.median:
            ratios.append(rival.median / mir.median)
            if rival.search is not None:
                alone.append(rival.search / mir.median)
    if not ratios:
        return _nothing("the seconds of MIR and a rival")
    faster = sum(ratio > 1 for ratio in ratios)
    word = HOLDS if min(ratios) >= TWICE else IN_PART if 2 * faster >= len(ratios) else FAILS
    told = (
        f"MIR is faster in {faster} of {_plural(len(ratios), 'pair')}: the rival takes "
        f"{_times(min(ratios))} to {_times(max(ratios))} times as long."
    )
    if alone:
        told += (
            f" Its search alone, without the matrix that it reads, takes {_times(min(alone))} to "
            f"{_times(max(alone))} times as long as all of MIR."
        )
    return Verdict(word, told)


def relabelling_halves(results: Results, preset: str) -> Verdict:
    """Judge whether relabelling removes half of what the attack adds."""
    word, told = _removed(results, preset, "relabelled", lambda mean: round(mean, 4) >= HALF)
    return Verdict(word, f"Relabelling {told}" if word != UNMEASURED else told)


def more_is_minor(results: Results, preset: str) -> Verdict:
    """Judge whether labelling more removes little of what the attack adds."""
    word, told = _removed(results, preset, "more", lambda mean: mean < MINOR)
    return Verdict(word, f"Labelling more {told}" if word != UNMEASURED else told)


def _removed(
    results: Results, preset: str, repair: str, enough: Callable[[float], bool]
) -> tuple[str, str]:
    """Judge the part of the induced error that a repair removes: on average, else by data set."""
    by_dataset: dict[str, list[float]] = {}
    lines = [line for line in repairs(results) if line.source == preset]
    lines = [line for line in lines if getattr(line, repair) is not None]
    for line in lines:
        part = line.removed(getattr(line, repair))
        if part is not None:
            by_dataset.setdefault(line.dataset, []).append(part)
    parts = [part for some in by_dataset.values() for part in some]
    if not parts:
        what = "an attack that adds a point of error and is repaired"
        return UNMEASURED, f"There is no figure of {what}."
    means = {dataset: float(np.mean(some)) for dataset, some in by_dataset.items()}
    mean = float(np.mean(parts))
    word = HOLDS if enough(mean) else IN_PART if any(map(enough, means.values())) else FAILS
    rows = _plural(len(parts), "row")
    told = f"removes {_percent(mean)} of the induced error on average over {rows}"
    if len(means) > 1:
        told += f" ({', '.join(f'{title_of(d)} {_percent(m)}' for d, m in means.items())})"
    if len(parts) < len(lines):
        left = len(lines) - len(parts)
        told += f"; {_plural(left, 'row')} left out, where the attack adds less than a point"
    return word, f"{told}."


def relabelling_wins(results: Results, preset: str) -> Verdict:
    """Judge whether relabelling removes more than labelling more, in every row."""
    pairs = [
        (line.relabelled, line.more)
        for line in repairs(results)
        if line.source == preset and line.relabelled is not None and line.more is not None
    ]
    if not pairs:
        return _nothing("both repairs of the same labels")
    lower = sum(a < b for a, b in pairs)
    return Verdict(
        _counted(lower, len(pairs)),
        f"The error after relabelling is the lower one in {lower} of {_plural(len(pairs), 'row')}.",
    )


def _plural(value: int, noun: str) -> str:
    return f"{value:,} {noun}{'' if value == 1 else 's'}"


def _times(ratio: float) -> str:
    if ratio < 1:
        return f"{ratio:.2g}"
    return f"{ratio:,.0f}" if round(ratio, 1) >= 10 else f"{ratio:.1f}"


def _percent(part: float) -> str:
    return f"{round(100 * part)}\u00a0%".replace("-", "\u2212")
