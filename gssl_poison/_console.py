"""What the command line prints and writes: tables, the progress bar, result files."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from gssl_poison.datasets import Dataset, DatasetInfo


@contextmanager
def progress_bar() -> Iterator[Any]:
    """Yield a progress function that draws a bar on a terminal, once work takes over a second."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    bar = Progress(
        TextColumn("ranking"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("rows, {task.fields[rate]} rows/s,"),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=Console(stderr=True),
        transient=True,
    )
    started = time.perf_counter()
    task = bar.add_task("ranking", total=None, rate="-")

    def advance(done: int, everything: int) -> None:
        elapsed = time.perf_counter() - started
        if elapsed > 1.0 and not bar.live.is_started:
            bar.start()
        bar.update(task, completed=done, total=everything, rate=f"{done / elapsed:,.0f}")

    try:
        yield advance
    finally:
        bar.stop()


def plain(value: object) -> str:
    """Return text that cannot move the cursor or colour the terminal, whatever the data say."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(value))


def gamma_line(facts: Mapping[Any, Any]) -> str:
    """Say which gamma was used and how it was found."""
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
    shown = table.head(top)
    some = f"These {len(shown)} of {len(table):,} labels are" if len(shown) > 1 else "This label is"
    console.print(
        Text(
            f"{some} the major influence on {shown['share'].sum():.1%} of the unlabelled points; "
            f"on {facts['undominated'] / facts['n_unlabeled']:.1%} no single label is."
        )
    )
    for note in facts["notes"]:
        console.print(Text(plain(f"Note: {note}")))
    console.print(
        Text(
            f"Ranked in {facts['seconds']:.2f} s ({facts['route']}, {facts['device']}), "
            f"gamma found in {facts['seconds_gamma']:.2f} s."
        )
    )


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
            row.name, f"{row.n:,}", f"{row.d:,}", str(len(row.classes)), Text(plain(place))
        )
    Console(highlight=False).print(grid)
