"""What `gssl-poison reproduce` shows while it runs, and prints when it is done."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gssl_poison._console import plain

if TYPE_CHECKING:
    from gssl_poison.experiments.runner import Reproduction
    from gssl_poison.experiments.watching import Progress


@contextmanager
def experiment_bar() -> Iterator[Callable[[Progress], None] | None]:
    """Yield a function that draws how far the experiments are; None where nobody looks on."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    with Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("cells, {task.fields[left]}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as bar:
        task = bar.add_task("reading data", total=None, left="")

        def show(progress: Progress) -> None:
            bar.update(
                task,
                description=progress.stage,
                completed=progress.done,
                total=progress.cells,
                left=time_left(progress.seconds_left),
            )

        yield show


def time_left(seconds: float | None) -> str:
    """Return a time in words, as exact as an estimate can be.

    Examples
    --------
    >>> time_left(None), time_left(42.0), time_left(600.0), time_left(9000.0)
    ('', 'less than a minute left', 'about 10 min left', 'about 2.5 h left')
    """
    if seconds is None:
        return ""
    if seconds < 60.0:
        return "less than a minute left"
    if seconds < 5400.0:
        return f"about {seconds / 60.0:.0f} min left"
    return f"about {seconds / 3600.0:.1f} h left"


def print_reproduction(
    done: Reproduction, questions: Collection[str], folder: Path, *, as_json: bool
) -> None:
    """Print the conclusions of some questions, where the time went, and where the rest is."""
    if as_json:
        sys.stdout.write(_document(done, folder) + "\n")
        return
    from rich.console import Console
    from rich.table import Table

    from gssl_poison.experiments.comparison import read_results
    from gssl_poison.experiments.findings import findings
    from gssl_poison.experiments.judging import UNMEASURED

    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False)
    for name in ("the paper concludes", "replication", "corrected"):
        table.add_column(name)
    for finding in findings(read_results(done.everything)):
        asked = finding.question.lower() in questions
        if not asked or finding.replication.word == finding.corrected.word == UNMEASURED:
            continue
        # A space that must not break is for the report.
        claim = finding.claim.replace("\xa0", " ")
        table.add_row(plain(claim), finding.replication.word, finding.corrected.word)
    console.print(table)
    of_before = len(done.table) - done.measured
    stages = ", ".join(f"{name} {seconds:,.0f} s" for name, seconds in done.stages.items())
    for line in (
        "",
        f"{done.measured:,} cells measured{f' ({stages})' if stages else ''}, {of_before:,} taken "
        f"from earlier runs; {len(done.everything):,} in {folder} in all.",
        f"Tables and figures: {folder / 'report.html'}, the same as text: {folder / 'report.md'}",
        f"Every figure with its settings: {folder / 'results.csv'}",
    ):
        console.print(plain(line), soft_wrap=True, markup=False)


def _document(done: Reproduction, folder: Path) -> str:
    """Return everything a program wants to know, as one JSON document."""
    rows: list[dict[str, Any]] = json.loads(done.table.to_json(orient="records"))
    return json.dumps(
        {
            "folder": str(folder),
            "measured": done.measured,
            "seconds": {name: round(seconds, 3) for name, seconds in done.stages.items()},
            "cells": [
                {name: value for name, value in row.items() if value not in (None, "")}
                for row in rows
            ],
        },
        indent=2,
    )
