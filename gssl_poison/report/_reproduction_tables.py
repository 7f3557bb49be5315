"""The tables of a report of experiments: the paper's beside ours, ready to be drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gssl_poison.experiments.cells import MODELS, Cell
from gssl_poison.experiments.comparison import (
    NEAR_POINTS,
    SAME_POINTS,
    Compared,
    Results,
)
from gssl_poison.experiments.names import (
    ATTACK_NAMES,
    MODEL_NAMES,
    VICTIM_NAMES,
    part_text,
    signed,
    title_of,
)
from gssl_poison.experiments.paper_tables import (
    Correlation,
    Repair,
    Timing,
    attack_errors,
    attacks_run,
    correlations,
    repairs,
    timings,
)
from gssl_poison.experiments.signed_ranks import group_title, signed_ranks

from ._format import NBSP
from ._reproduction_views import (
    ABSENT,
    NONE,
    SIGNS,
    UNPRINTED,
    Column,
    Table,
    Value,
    coefficient,
    difference_value,
    make_lines,
    points,
    printed_value,
    probability,
    tone_of,
)


def table_two(results: Results) -> list[Table]:
    """Draw Table 2, one table a data set."""
    by_dataset: dict[str, list[Correlation]] = {}
    for found in correlations(results):
        by_dataset.setdefault(found.mir.place.dataset, []).append(found)
    return [_correlations_of(results, name, some) for name, some in by_dataset.items()]


def _correlations_of(results: Results, dataset: str, found: Sequence[Correlation]) -> Table:
    has_paper = any(one.mir.paper is not None for one in found)
    groups = ("MIR, share above 1/2", "argmax count, as published")
    columns = [Column("paper")] if has_paper else []
    for k, group in enumerate(groups):
        for preset in results.presets:
            columns.append(Column(preset, group))
            if preset == "replication" and has_paper and k == 0:
                columns.append(Column("difference", group))
        columns.append(Column("samples", group))
        if has_paper:
            columns.append(Column("inside", group))
    rows = []
    for one in found:
        place = one.mir.place
        values = [printed_value(one.mir.paper, 1.0)] if has_paper else []
        for k, (compared, spread) in enumerate(
            ((one.mir, one.mir_spread), (one.argmax, one.argmax_spread))
        ):
            for preset in results.presets:
                values.append(coefficient(getattr(compared, preset)))
                if preset == "replication" and has_paper and k == 0:
                    values.append(difference_value(compared.difference, compared.column))
            values.append(ABSENT if spread is None else Value(_range(*spread)))
            if has_paper:
                values.append(_inside(one.inside(spread)))
        heads = (
            part_text(place.labeled),
            place.victim,
            one.mir.column.capitalize(),
        )
        rows.append((heads, values))
    about = "" if has_paper else "The paper has no such data set: not in the source."
    return Table(
        title_of(dataset),
        about,
        ("Labelled", "Victim", "Coefficient"),
        tuple(columns),
        make_lines(rows),
    )


def _range(low: float, high: float) -> str:
    return f"{low:.2f} to {high:.2f}".replace("-", "\u2212")


def _inside(inside: bool | None) -> Value:
    if inside is None:
        return NONE
    return Value("yes", "same") if inside else Value("no", "far")


def table_three(results: Results) -> Table | None:
    """Draw Table 3; None where nothing was timed."""
    found = timings(results)
    if not found:
        return None
    columns = (
        *(Column(name, "whole") for name in ("median", "deviation", "of MIR's")),
        Column("once", "matrix"),
        *(Column(name, "search alone") for name in ("median", "deviation", "of MIR's")),
        *(Column("made", "flips"), Column("number", "timings")),
    )
    medians = {(one.place, one.source): one.median for one in found}
    parts = {(one.place.budget, one.place.labeled) for one in found}
    rows = []
    for one in found:
        place = one.place
        if one.source == "paper" and one.median is None:
            continue
        dataset = title_of(place.dataset)
        if len(parts) > 1:
            dataset += f", {_task(place.budget, place.labeled)}"
        mir = medians.get((replace(place, attack="mir"), one.source))
        rows.append(((dataset, ATTACK_NAMES[place.attack], one.source), _timing(one, mir)))
    task = f", {_task(*next(iter(parts)))}" if len(parts) == 1 else ""
    about = (
        "Median and standard deviation over timings, in seconds, and the median as a multiple of "
        "MIR's. The paper's machine had 12 virtual CPUs; its part labelled is not printed."
    )
    if all(one.median is None for one in found if one.source == "paper"):
        about += " The paper's figures are not in the source at hand."
    foot = (
        "MIR is timed as a whole. Greedy and probabilistic read a matrix that is made once: their "
        "deviation is that of the search only, and a dash stands where it would cover only part "
        "of the time. The search alone is set against all of MIR, and greedy may make fewer flips: "
        "it stops where no single one gains."
    )
    heads = ("Data set", "Attack", "Source")
    title = f"Seconds to choose the labels{task}"
    parted = any(one.search is not None for one in found)
    return Table(title, about, heads, columns, make_lines(rows), foot if parted else "")


def _timing(one: Timing, mir: float | None) -> list[Value]:
    """Write one line of Table 3."""
    if one.median is None:
        return [ABSENT, *[NONE] * 8]
    whole = one.search is None
    return [
        *(_seconds(one.median), _seconds(one.deviation if whole else None)),
        _multiple(one.median, mir),
        *(_seconds(one.matrix), _seconds(one.search)),
        *(_seconds(None if whole else one.deviation), _multiple(one.search, mir)),
        *(NONE if n is None else Value(f"{n:g}") for n in (one.flips, one.timings)),
    ]


def _multiple(median: float | None, mir: float | None) -> Value:
    if not mir or median is None:
        return NONE
    ratio = median / mir
    return Value(f"{ratio:,.0f}\u00d7" if ratio >= 100 else f"{ratio:.3g}\u00d7")


def _task(budget: float, labeled: float) -> str:
    return f"{budget:g} flips at {part_text(labeled)} labelled"


def _seconds(value: float | None) -> Value:
    if value is None:
        return NONE
    return Value(f"{value:.2f}" if value >= 0.1 else f"{value:.2g}")


def table_four(results: Results) -> list[Table]:
    """Draw Table 4, one table for each data set and model."""
    by_block: dict[tuple[str, str], dict[Cell, Compared]] = {}
    for compared in attack_errors(results):
        place = compared.place
        by_block.setdefault((place.dataset, place.model), {})[place] = compared
    datasets = list(dict.fromkeys(dataset for dataset, _ in by_block))
    ordered = sorted(by_block, key=lambda k: (datasets.index(k[0]), MODELS.index(k[1])))
    return [
        _errors_of(results, *block, by_block[block])
        for block in ordered
        if attacks_run(results, block[0])
    ]


def _errors_of(results: Results, dataset: str, model: str, found: dict[Cell, Compared]) -> Table:
    attacks = attacks_run(results, dataset)
    has_paper = any(compared.paper is not None for compared in found.values())
    kinds = ["paper"] if has_paper else []
    for preset in results.presets:
        kinds.append(preset)
        if preset == "replication" and has_paper:
            kinds.append("difference")
    columns = [Column(kind, ATTACK_NAMES[attack]) for attack in attacks for kind in kinds]
    rows = []
    parts = sorted({place.labeled for place in found})
    budgets = sorted({0.0, *(place.budget for place in found)})
    some = next(iter(found))
    for labeled in parts:
        for budget in budgets:
            values: list[Value] = []
            for attack in attacks:
                # On clean labels all attacks have the same error: it is told under each.
                named = attack if budget else "none"
                place = replace(some, labeled=labeled, budget=budget, attack=named)
                compared = results.compare(place, "error")
                values += [_error_value(compared, kind) for kind in kinds]
            rows.append(((part_text(labeled), part_text(budget) if budget else "none"), values))
    about = ""
    if not has_paper:
        about = "The paper's figures are not in the source at hand."
    if some.victim != "propagation":
        about += f" The victim is {VICTIM_NAMES[some.victim]}."
    return Table(
        f"{title_of(dataset)}, {MODEL_NAMES[model]}",
        about.strip(),
        ("Labelled", "Flipped"),
        tuple(columns),
        make_lines(rows),
    )


def _error_value(compared: Compared, kind: str) -> Value:
    if kind == "paper":
        return printed_value(compared.paper)
    if kind == "difference":
        return difference_value(compared.difference)
    return points(compared.replication if kind == "replication" else compared.corrected)


def nearness(results: Results) -> Table | None:
    """Count how near the replicated errors come to the printed ones; None without any."""
    found = [c for c in attack_errors(results) if c.difference is not None]
    if not found:
        return None
    datasets = list(dict.fromkeys(c.place.dataset for c in found))
    columns = [
        Column(name, title_of(dataset))
        for dataset in datasets
        for name in (
            f"{SIGNS['same']} {SAME_POINTS:g}",
            f"{SIGNS['near']} {NEAR_POINTS:g}",
            f"{SIGNS['far']} more",
            "largest",
        )
    ]
    rows = []
    for model in MODELS:
        for attack, name in ATTACK_NAMES.items():
            some = [c for c in found if (c.place.model, c.place.attack) == (model, attack)]
            if some:
                values = [v for d in datasets for v in _counts(some, d)]
                rows.append(((MODEL_NAMES[model], name), values))
    return Table(
        "How near the replication comes",
        f"Printed errors of Table 4 that are met within {SAME_POINTS:g} points "
        f"({SIGNS['same']}), within {NEAR_POINTS:g} point ({SIGNS['near']}), or missed by more "
        f"({SIGNS['far']}), and the largest difference.",
        ("Model", "Attack"),
        tuple(columns),
        make_lines(rows),
    )


def _counts(found: Sequence[Compared], dataset: str) -> list[Value]:
    """Count the differences on a data set by their tone, and name the largest."""
    own = [c.difference for c in found if c.place.dataset == dataset]
    sizes = [size for size in own if size is not None]
    if not sizes:
        return [NONE] * 4
    tones = [tone_of(size) for size in sizes]
    counts = [(tone, tones.count(tone)) for tone in ("same", "near", "far")]
    largest = max(sizes, key=abs)
    return [
        *(Value(f"{n}", tone if n else "absent") for tone, n in counts),
        Value(signed(largest)),
    ]


def table_five(results: Results) -> list[Table]:
    """Draw Table 5, one table a data set."""
    by_dataset: dict[str, list[Repair]] = {}
    for line in repairs(results):
        by_dataset.setdefault(line.dataset, []).append(line)
    return [_repairs_of(dataset, lines) for dataset, lines in by_dataset.items()]


def _repairs_of(dataset: str, lines: Sequence[Repair]) -> Table:
    columns = (
        *(Column(name, "error") for name in ("clean", "poisoned", "relabelled", "more labelled")),
        *(Column(name, "induced error removed") for name in ("relabelling", "labelling more")),
    )
    rows = []
    for line in lines:
        if line.source == "paper" and line.clean is None and line.poisoned is None:
            continue
        absent = UNPRINTED if line.source == "paper" else ABSENT
        errors = [
            absent if value is None else Value(f"{100 * value:.2f}")
            for value in (line.clean, line.poisoned, line.relabelled, line.more)
        ]
        removed = [
            absent if value is None else _part(line, value)
            for value in (line.relabelled, line.more)
        ]
        heads = (MODEL_NAMES[line.model], part_text(line.labeled), line.source)
        rows.append((heads, [*errors, *removed]))
    return Table(title_of(dataset), "", ("Model", "Labelled", "Source"), columns, make_lines(rows))


def _part(line: Repair, repaired: float) -> Value:
    part = line.removed(repaired)
    if part is None:
        return NONE
    # As a whole number: a float has a negative zero.
    return Value(f"{round(100 * part)}{NBSP}%".replace("-", "\u2212"))


def wilcoxon_table(results: Results, question: str) -> Table | None:
    """Draw the signed-rank tests of a question; None where there are no pairs."""
    found = [test for test in signed_ranks(results) if test.question == question]
    if not found:
        return None
    first, told = found[0].first, "Wilcoxon signed-rank test, two-sided, over pairs of cells"
    columns = (
        Column("pairs"),
        Column("higher", f"error after {first}"),
        Column("lower", f"error after {first}"),
        Column("equal", f"error after {first}"),
        Column("median difference", "points"),
        Column("p"),
    )
    rows = []
    for test in found:
        heads = (f"{test.first} against {test.second}", test.source, group_title(test))
        values = [
            *(Value(f"{n}") for n in (test.pairs, test.higher, test.lower, test.equal)),
            Value(signed(test.median)),
            Value(test.remark, "absent") if test.p is None else Value(probability(test.p)),
        ]
        rows.append((heads, values))
    shared = "Pairs share draws of labels"
    shared += " and nested budgets" if question == "rq3" else ""
    shared += " and are not independent, so that p is a summary and no error rate."
    says = (
        "The paper reports p below 10\u207b\u00b9\u00b9 over all results, and no significant "
        "difference from probabilistic on RCV1. Its rows here are computed from the figures it "
        "prints for the cells that were run, beside those of a replication of the same cells."
        if question == "rq3"
        else "The paper reports p below 10\u207b\u2075; its figures are not in the source."
    )
    return Table(
        "Is the difference more than chance?",
        f"{told}; seeds are averaged first, so that a repeat is no pair of its own. {shared} "
        f"{says}",
        ("Compared", "Figures", "Over"),
        columns,
        make_lines(rows),
    )
