"""What the command line prints and writes: tables, the progress bar, result files."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from gssl_poison.datasets import Dataset, DatasetInfo
    from gssl_poison.diagnosis import Diagnosis

# Seconds of work that need no bar.
_PATIENCE = 1.0


@contextmanager
def progress_bar(verb: str) -> Iterator[Any]:
    """Yield a progress function that draws a bar on a terminal, once work takes over a second.

    Until it is called the bar only shows that something is going on.
    """
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
    )

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    task = bar.add_task(verb, total=None, rate="")
    started: list[float] = []

    def advance(done: int, everything: int) -> None:
        # The first block of rows starts the clock: what came before was another kind of work.
        if not started:
            started.extend((time.perf_counter(), done))
        elapsed = time.perf_counter() - started[0]
        rate = f"rows, {(done - started[1]) / elapsed:,.0f} rows/s" if elapsed > 0.1 else "rows"
        bar.update(task, completed=done, total=everything, rate=rate)

    # A thread of its own: while a solver runs nobody calls.
    timer = threading.Timer(_PATIENCE, bar.start)
    timer.start()
    try:
        yield advance
    finally:
        timer.cancel()
        timer.join()
        bar.stop()


def plain(value: object) -> str:
    """Return text that cannot move the cursor or colour the terminal, whatever the data say."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(value))


def gamma_line(facts: Mapping[Any, Any]) -> str:
    """Say which gamma was used and how it was found."""
    if facts["gamma"] is None:
        return f"no gamma: {facts['gamma_note']}"
    rule = "" if facts["gamma_rule"] == "given" else f" ({facts['gamma_rule']})"
    return f"gamma {facts['gamma']:.6g}{rule}: {facts['gamma_note']}"


def print_table(table: pd.DataFrame, dataset: Dataset, top: int) -> None:
    """Print the first rows and, in words, what they are."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    facts = table.attrs
    console = Console(highlight=False)
    n_classes = len(facts["classes"])
    classes = "1 class" if n_classes == 1 else f"{n_classes} classes"
    heading = (
        f"{dataset.name}: {facts['n_labeled']:,} labelled and {facts['n_unlabeled']:,} unlabelled "
        f"points, {facts['n_features']:,} features, {classes}"
    )
    console.print(Text(plain(heading)))
    console.print(Text(plain(f"influence {facts['influence']}, graph {facts['graph']}")))
    console.print(Text(plain(gamma_line(facts))))
    grid = Table()
    grid.add_column("rank", justify="right")
    grid.add_column("point", justify="right")
    grid.add_column("label")
    for name in ("mir", "total", "share"):
        grid.add_column(name, justify="right")
    for row in table.head(top).itertuples():
        grid.add_row(
            str(row.rank),
            str(row.point),
            Text(plain(row.label)),
            f"{row.mir:,}",
            f"{row.total:,.2f}",
            f"{row.share:.2%}",
        )
    console.print(grid)
    console.print(Text(_what_they_decide(table, top)))
    for note in facts["notes"]:
        console.print(Text(plain(f"Note: {note}")))
    console.print(Text(_how_long(facts)))


def _what_they_decide(table: pd.DataFrame, top: int) -> str:
    """Say how far the labels shown reach, and what is left."""
    facts, shown = table.attrs, table.head(top)
    everyone, unreached = facts["n_unlabeled"], facts["unreached"]
    some = f"These {len(shown)} of {len(table):,} labels are" if len(shown) > 1 else "This label is"
    rest = (facts["undominated"] - unreached) / everyone
    text = (
        f"{some} the major influence on {shown['share'].sum():.1%} of the unlabelled points; "
        f"on {rest:.1%} no single label is"
    )
    return text + (f", and no label reaches {unreached / everyone:.1%}." if unreached else ".")


def _how_long(facts: Mapping[Any, Any]) -> str:
    """Say what took how long."""
    before = f"Prepared in {facts['seconds_fit']:.2f} s, ranked"
    built = "gamma found" if facts["graph"] == "rbf" else "graph built"
    return (
        f"{'Ranked' if facts['method'] == 'direct' else before} in {facts['seconds']:.2f} s "
        f"({facts['route']}, {facts['device']}), {built} in {facts['seconds_gamma']:.2f} s."
    )


def print_diagnosis(
    found: Diagnosis, dataset: Dataset, graph: str, bandwidth: Mapping[str, Any], command: str
) -> None:
    """Print what a diagnosis found, in sections, and the command it leads to."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from gssl_poison.diagnosis.words import sections

    console = Console(highlight=False)
    width = min(console.width, 96)
    n_features = int(dataset.X.shape[1])
    heading = [
        f"{dataset.name}: {found.n_labeled:,} labelled and {found.n_unlabeled:,} unlabelled "
        f"points, {n_features:,} features",
        f"graph {graph}, {gamma_line({'gamma': found.gamma, **bandwidth})}",
    ]
    if not found.exact:
        heading.append(
            f"Looked at {found.n_looked_at:,} unlabelled points drawn at random, each against all "
            "others. What is scaled up from them says 'about'."
        )
    for line in heading:
        console.print(Text(plain(line)), width=width)
    for title, rows in sections(found):
        console.print()
        console.print(Text(title, style="bold"))
        grid = Table.grid(padding=(0, 2))
        grid.add_column(width=37)
        grid.add_column(overflow="fold")
        for name, value in rows:
            grid.add_row(Text(f"  {name}"), Text(value))
        console.print(grid, width=width)
    for title, texts in (
        ("What to know", [f"- {text}" for text in found.warnings] or ["Nothing stands out."]),
        (f"Recommended: {found.recommended}", [found.reason]),
    ):
        console.print()
        console.print(Text(title, style="bold"))
        for text in texts:
            hanging = Table.grid(padding=(0, 1))
            mark, _, rest = text.partition(" ") if text.startswith("- ") else ("", "", text)
            hanging.add_row(Text(f"  {mark}" if mark else " "), Text(plain(rest)))
            console.print(hanging, width=width)
    # Not wrapped: it is there to be copied.
    console.print(Text(f"\n  {plain(command)}"), soft_wrap=True)


def as_json_text(table: pd.DataFrame, dataset: Dataset, top: int | None) -> str:
    """Return the ranking and its settings as one JSON document."""
    rows = table if top is None else table.head(top)
    return json.dumps(
        {
            "data": dataset.name,
            "source": dataset.source,
            "settings": table.attrs,
            "ranking": rows.to_dict(orient="records"),
        },
        indent=2,
        allow_nan=False,
        default=str,
    )


def write_table(table: pd.DataFrame, dataset: Dataset, path: Path) -> None:
    """Write the whole ranking in the format of the suffix, under a temporary name first."""
    from gssl_poison._atomic import atomic_write

    with atomic_write(path) as temporary:
        match path.suffix.lower():
            case ".csv":
                table.to_csv(temporary, index=False)
            case ".parquet":
                table.infer_objects().to_parquet(temporary, index=False)
            case _:
                temporary.write_text(as_json_text(table, dataset, None) + "\n", encoding="utf-8")


def print_datasets(rows: list[DatasetInfo]) -> None:
    """Print the list of data sets, with where each was found or how to get it."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table()
    grid.add_column("name", no_wrap=True)
    for name in ("points", "features", "classes"):
        grid.add_column(name, justify="right")
    grid.add_column("where it is, or how to get it", overflow="fold")
    for row in rows:
        place = row.found if row.found else f"not here: {row.how_to_get}"
        grid.add_row(
            row.name, f"{row.n:,}", f"{row.d:,}", str(len(row.classes) or "-"), Text(plain(place))
        )
    Console(highlight=False).print(grid)
