"""What `gssl-poison queue` and `gssl-poison apply` check, print and write."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gssl_poison._attack_console import print_document
from gssl_poison._console import plain
from gssl_poison._inputs import is_file
from gssl_poison.exceptions import InputError
from gssl_poison.review.fingerprints import label_text
from gssl_poison.review.labelstudio import config_path
from gssl_poison.review.queue import SUFFIXES

if TYPE_CHECKING:
    import pandas as pd

    from gssl_poison.datasets import Dataset
    from gssl_poison.review.applying import Applied
    from gssl_poison.review.auditing import Audit

# Rows of the queue, and kinds of corrections, that are printed.
_SHOWN = 10


def check_queue_file(out: Path, source: str, answers: Path | None, *, force: bool) -> list[Path]:
    """Refuse a queue that cannot or must not be written; return the files it will be."""
    if out.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"--out {out} ends in {out.suffix or 'nothing'!r}; name the queue .csv for a "
            "spreadsheet, or .json for Label Studio."
        )
    files = [out] if out.suffix.lower() == ".csv" else [out, config_path(out)]
    inputs = [Path(source)] if is_file(source) else []
    inputs += [] if answers is None else [answers]
    for file in files:
        if file.is_dir() or not file.absolute().parent.is_dir():
            raise InputError(f"{file} cannot be written: give a file in a folder that exists.")
        if not file.exists():
            continue
        if any(kept.exists() and file.samefile(kept) for kept in inputs):
            raise InputError(f"{file} is an input, which is never changed; give another name.")
        if not force:
            raise InputError(
                f"{file} exists, and may hold answers; give another name, or replace it with "
                "--force."
            )
    return files


def print_queue(
    queue: pd.DataFrame, audit: Audit, dataset: Dataset, files: Sequence[Path], *, as_json: bool
) -> None:
    """Print the first rows of a queue, and what to do with it."""
    import typer
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    everyone, checked = audit.problem.labeled.size, int(audit.checked.sum())
    if as_json:
        document = {
            "data": dataset.name,
            "source": dataset.source,
            "n_labeled": int(everyone),
            "n_checked": checked,
            "gamma": audit.gamma,
            "influence": audit.influence,
            "graph": audit.graph,
            "written": [str(file) for file in files],
            "queue": queue.to_dict(orient="records"),
        }
        print_document(document)
        return
    console = Console(highlight=False)
    before = f", {checked:,} are checked already" if checked else ""
    console.print(
        Text(plain(f"{dataset.name}: {len(queue):,} of {everyone:,} labels to check{before}"))
    )
    grid = Table()
    names = ("order", "point", "label", "others say", "against", "wrong?", "decides", "changes")
    for name in names:
        grid.add_column(name, justify="left" if name in ("label", "others say") else "right")
    for row in queue.head(_SHOWN).to_dict(orient="records"):
        grid.add_row(
            str(row["order"]),
            str(row["point"]),
            Text(plain(row["label"])),
            Text(plain("same" if row["says"] == row["label"] else row["says"])),
            f"{100 * row['share_against']:.0f} %",
            f"{100 * row['probability']:.0f} %",
            f"{row['decides']:,}",
            f"{row['changes']:,}",
        )
    console.print(grid)
    for file in files:
        typer.echo(f"written: {file}")
    if len(files) == 1:
        advice = (
            'Fill in the column "answer": the right label, ? where you cannot tell, nothing where '
            "nobody looked. Then gssl-poison apply it."
        )
    else:
        advice = (
            f"In Label Studio, paste {files[1].name} into the labelling interface of a project "
            f"(Code), import {files[0].name}, label, and export as JSON. Then gssl-poison apply it."
        )
    console.print(Text(plain(advice)))


def print_applied(done: Applied, dataset: Dataset, again: Sequence[str], *, as_json: bool) -> None:
    """Print what applying answers changed, and how to look at the result."""
    import typer

    kinds = Counter(
        (label_text(old), label_text(new)) for old, new in zip(done.old, done.new, strict=True)
    )
    if as_json:
        print_document(
            {
                "data": dataset.name,
                "source": dataset.source,
                "written": done.path,
                "corrected": [
                    {"point": int(point), "old": old, "new": new}
                    for point, old, new in zip(done.points, done.old, done.new, strict=True)
                ],
                "confirmed": done.confirmed,
                "already": done.already,
                "cannot_tell": done.cannot_tell,
                "unanswered": done.unanswered,
                "notes": list(done.notes),
            }
        )
        return
    parts = [f"{len(done.points):,} labels corrected", f"{done.confirmed:,} confirmed"]
    for count, what in (
        (done.already, "corrected before"),
        (done.cannot_tell, "nobody could tell"),
        (done.unanswered, "not answered"),
    ):
        parts += [f"{count:,} {what}"] if count else []
    typer.echo(plain(f"{dataset.name}: {', '.join(parts)}"))
    for (old, new), count in kinds.most_common(_SHOWN):
        typer.echo(plain(f"  {old} -> {new}: {count:,}"))
    if len(kinds) > _SHOWN:
        typer.echo(f"  and {len(kinds) - _SHOWN:,} other changes of class")
    for note in done.notes:
        typer.echo(plain(f"Note: {note}"))
    typer.echo(f"written: {done.path}")
    typer.echo(plain(f"Look again: {shlex.join(again)}"))
