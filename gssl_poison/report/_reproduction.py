"""The report of the experiments: the paper's tables and figure side by side with ours, in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gssl_poison._atomic import atomic_write
from gssl_poison.exceptions import InputError
from gssl_poison.experiments.comparison import Results, number_of, read_results
from gssl_poison.experiments.explanations import Explanation, explain_samples, explanations
from gssl_poison.experiments.findings import Finding, findings, judged_on, tally
from gssl_poison.experiments.judging import FAILS, HOLDS, IN_PART, UNMEASURED
from gssl_poison.experiments.names import part_text, signed, title_of
from gssl_poison.experiments.paper import PAPER_DATASETS
from gssl_poison.experiments.paper_tables import attack_errors, curves

from ._format import listing, plural
from ._page import render_page, write_page
from ._reproduction_figure import Figure, figure_four
from ._reproduction_markdown import write_markdown
from ._reproduction_run import run_settings, time_table
from ._reproduction_tables import (
    nearness,
    table_five,
    table_four,
    table_three,
    table_two,
    wilcoxon_table,
)
from ._reproduction_views import Table, duration, tone_of

if TYPE_CHECKING:
    import pandas as pd

HTML, MARKDOWN, FIGURE = "report.html", "report.md", "figure-4.svg"
QUESTIONS = {
    "RQ1": "Does MIR tell which flips do harm?",
    "RQ2": "What does it do to models?",
    "RQ3": "Is MIR better than what was there?",
    "RQ4": "What helps against it?",
}


@dataclass(frozen=True)
class Part:
    """A part of the report about one of the paper's tables."""

    anchor: str
    title: str
    about: str
    tables: tuple[Table, ...]
    missing: str = ""


@dataclass(frozen=True)
class ReproductionPage:
    """Everything that the report says; HTML and Markdown both draw it.

    Attributes
    ----------
    headline : tuple of (str, bool)
        The second of each pair marks what is coloured.
    lead : str
    tiles : tuple of (str, str)
    presets : tuple of str
    findings : tuple of (str, str, tuple of Finding)
        By question: its name, what it asks, its conclusions.
    correlations, timings, errors, repairs : Part
    figure : Figure or None
    compares : bool
        Whether any replicated error stands beside a printed one.
    explained : tuple of (str, str, tuple of Explanation)
        By data set, attack and model: their names, the cause, the cells.
    times : Table
    settings : tuple of (str, str)
    command : str or None
    """

    headline: tuple[tuple[str, bool], ...]
    lead: str
    tiles: tuple[tuple[str, str], ...]
    presets: tuple[str, ...]
    findings: tuple[tuple[str, str, tuple[Finding, ...]], ...]
    correlations: Part
    timings: Part
    errors: Part
    repairs: Part
    figure: Figure | None
    compares: bool
    explained: tuple[tuple[str, str, tuple[Explanation, ...]], ...]
    times: Table
    settings: tuple[tuple[str, str], ...]
    command: str | None


def write_reproduction(table: pd.DataFrame, folder: Path, *, command: str | None = None) -> None:
    """Write a report of the experiments: ``report.html``, ``report.md`` and ``figure-4.svg``.

    Parameters
    ----------
    table : pandas.DataFrame
        The long table of finished cells, as ``results.csv`` holds it; any subset of the cells.
    folder : pathlib.Path
        Where to write; made where it is missing.
    command : str, optional
        The command line to show.

    Raises
    ------
    InputError
        The table has no rows, lacks a field of a cell, or has a cell twice; or `folder` is a file.

    Notes
    -----
    The report depends on nothing but the table and the command. Each file is replaced in one step.
    A figure of an earlier run is removed where no cell of this one belongs to it.
    """
    target = Path(folder)
    if target.exists() and not target.is_dir():
        raise InputError(f"{folder} is a file; give a folder to write the report to.")
    page = make_page(table, command)
    target.mkdir(parents=True, exist_ok=True)
    if page.figure is None:
        (target / FIGURE).unlink(missing_ok=True)
    else:
        drawing = render_page("reproduction.svg.j2", figure=page.figure)
        with atomic_write(target / FIGURE) as temporary:
            temporary.write_bytes(drawing.encode("utf-8", "replace"))
    with atomic_write(target / MARKDOWN) as temporary:
        temporary.write_bytes(write_markdown(page, FIGURE).encode("utf-8", "backslashreplace"))
    write_page(target / HTML, render_reproduction(page))


def render_reproduction(page: ReproductionPage) -> str:
    """Return the HTML of a page."""
    words = {HOLDS: "yes", IN_PART: "partly", FAILS: "no", UNMEASURED: "open"}
    return render_page("reproduction.html.j2", page=page, verdict_class=words, signed=signed)


def make_page(table: pd.DataFrame, command: str | None = None) -> ReproductionPage:
    """Put together what a report says; the parameters are those of `write_reproduction`."""
    results = read_results(table)
    found = findings(results)
    explained = explanations(results)
    return ReproductionPage(
        headline=_headline(found, results),
        lead=_lead(results),
        tiles=_tiles(results, found),
        presets=results.presets,
        findings=tuple(
            (name, asks, tuple(one for one in found if one.question == name))
            for name, asks in QUESTIONS.items()
        ),
        correlations=_part(
            "table-2",
            "MIR and the error after a flip",
            "Correlation of MIR with the error after each single flip, over all labelled points. "
            "The paper's code takes one unseeded sample of 10\u00a0% of them, with replacement: "
            "\u201csamples\u201d is where 95\u00a0% of 1,000 such samples lie, \u201cinside\u201d "
            "whether the paper's figure, as rounded, is among them. They are of the replication "
            f"where that was run. {explain_samples(results)}".rstrip(),
            table_two(results),
            "rq1",
        ),
        timings=_part(
            "table-3",
            "How long an attack takes",
            "",
            [found for found in [table_three(results)] if found],
            "rq3",
        ),
        errors=_part(
            "table-4",
            "Error after each attack",
            "In per cent: of the unlabelled points (transductive), or of a model on points kept "
            "for testing. The difference is the replication less the paper, in points.",
            [
                *[one for one in [nearness(results)] if one],
                *table_four(results),
                *[one for one in [wilcoxon_table(results, "rq3")] if one],
            ],
            "rq3",
        ),
        repairs=_part(
            "table-5",
            "Two repairs after a tenth of the labels is poisoned",
            "Errors in per cent, clean, after MIR flips 10\u00a0% of the labels, and after each "
            "repair; then the part of the induced error that the repair removes. Table 5 itself "
            "is not in the source: the paper's clean and poisoned errors are those of Table 4. A "
            "dash stands where the attack adds less than a point, or nothing is known.",
            [
                *table_five(results),
                *[one for one in [wilcoxon_table(results, "rq4")] if one],
            ],
            "rq4",
        ),
        figure=figure_four(curves(results)),
        compares=nearness(results) is not None,
        explained=_grouped(explained),
        times=time_table(results),
        settings=run_settings(results),
        command=command,
    )


def _part(anchor: str, title: str, about: str, tables: Sequence[Table], question: str) -> Part:
    """Make a part; without tables it says how to get them."""
    missing = f"Not run: `gssl-poison reproduce {question}` fills it in."
    return Part(anchor, title, about, tuple(tables), "" if tables else missing)


def _headline(found: Iterable[Finding], results: Results) -> tuple[tuple[str, bool], ...]:
    """Say how many conclusions hold, with the sound solver where that was run."""
    preset = results.presets[-1]
    counts = tally(found, preset)
    judged = sum(n for word, n in counts.items() if word != UNMEASURED)
    if not judged:
        return (("No conclusion of the paper", True), (" can be judged by these cells.", False))
    how = "with sound solvers" if preset == "corrected" else "by its own procedure"
    names = judged_on(results, preset)
    on = listing(map(title_of, names))
    if not set(names) <= set(PAPER_DATASETS):
        on += ", which it does not have"
    return (
        (f"{counts[HOLDS]} of {judged}", True),
        (f" conclusions of the paper hold here {how}, on {on}.", False),
    )


def _lead(results: Results) -> str:
    """Say what was run."""
    cells = sum(len(rows) for rows in results.rows.values())
    names = listing(title_of(dataset) for dataset in results.datasets())
    runs = listing(
        f"{preset} ({plural(len(results.seeds(preset)), 'seed')})" for preset in results.presets
    )
    told = f"{plural(cells, 'finished cell')} on {names}, under the preset {runs}. "
    if len(results.presets) > 1:
        told = told.replace("under the preset", "under the presets")
    told += "Replication does as the paper's published code does; corrected puts a sound solver "
    told += "in place of a truncated loop and of a matrix that float64 cannot hold."
    absent = [title_of(name) for name in PAPER_DATASETS if name not in results.datasets()]
    if absent:
        told += f" Of the paper's data sets {listing(absent)} {_was(absent)} not run."
    return told


def _was(names: Sequence[str]) -> str:
    return "was" if len(names) == 1 else "were"


def _tiles(results: Results, found: Sequence[Finding]) -> tuple[tuple[str, str], ...]:
    """Choose up to five figures."""
    tiles = []
    compared = [c for c in attack_errors(results) if c.difference is not None]
    tones = {c: tone_of(c.difference or 0.0) for c in compared}
    exact = [c for c in compared if (c.place.model, c.place.attack) == ("transductive", "mir")]
    if exact:
        same = sum(tones[c] == "same" for c in exact)
        tiles.append(
            (
                f"{same} of {len(exact)}",
                "transductive MIR errors of Table 4 met within 0.05 points",
            )
        )
    if compared:
        near = sum(tones[c] != "far" for c in compared)
        tiles.append(
            (f"{near} of {len(compared)}", "printed errors of Table 4 met within one point")
        )
    for preset in results.presets:
        counts = tally(found, preset)
        judged = sum(counts.values()) - counts[UNMEASURED]
        how = "with sound solvers" if preset == "corrected" else "as published, replicated"
        if judged:
            tiles.append((f"{counts[HOLDS]} of {judged}", f"conclusions hold {how}"))
    every = [row for rows in results.rows.values() for row in rows.values()]
    spent = sum(s for row in every if (s := number_of(row.get("seconds"))) >= 0)
    if spent:
        tiles.append((duration(spent), "of computing, all cells added up"))
    return tuple(tiles)


def _grouped(
    explained: Iterable[Explanation],
) -> tuple[tuple[str, str, tuple[Explanation, ...]], ...]:
    """Collect the cells that are told under one heading and have one cause."""
    found: dict[tuple[str, str], list[Explanation]] = {}
    for one in explained:
        found.setdefault((one.group, one.cause), []).append(one)
    names = [group for group, _ in found]
    told = []
    for (group, cause), cells in found.items():
        # What is said of K differs between parts labelled: the heading then says which these are.
        heading = group
        if names.count(group) > 1:
            parts = sorted({one.compared.place.labeled for one in cells})
            heading += f", {listing(map(part_text, parts))} labelled"
        told.append((heading, cause, tuple(cells)))
    return tuple(told)
