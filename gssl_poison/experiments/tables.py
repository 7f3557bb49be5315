"""The long table: one row a cell, in an order that depends on nothing but the cells."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gssl_poison._atomic import atomic_write
from gssl_poison.experiments.cells import Cell
from gssl_poison.experiments.store import Finished

if TYPE_CHECKING:
    import pandas as pd

CELL_COLUMNS = tuple(f.name for f in fields(Cell))
_CORRELATIONS = tuple(
    f"{name}{measure}{end}"
    for name in ("kendall", "pearson")
    for measure in ("", "_argmax")
    for end in ("", "_p", "_low", "_high")
)
FIGURES = (
    "labels",
    "unlabeled",
    "flips",
    "checks",
    "error",
    "error_inferred",
    *_CORRELATIONS,
    "seconds_median",
    "seconds_deviation",
    "seconds_matrix",
    "timings",
)
# What differs between two runs that measured the same: when, how long, and where.
TIMES = (
    "seconds_median",
    "seconds_deviation",
    "seconds_matrix",
    "seconds",
    "finished",
    "machine",
)
ORIGIN = ("note", "gamma", "victim_is", "device", "data", "versions", "machine")
COLUMNS = (*CELL_COLUMNS, *FIGURES, *ORIGIN, "seconds", "finished", "key")
_TEXTS = {"kind", "dataset", "preset", "victim", "attack", "repair", "model", *ORIGIN} - {"gamma"}
_TEXTS |= {"finished", "key"}
_WHOLE = {"labels", "unlabeled", "flips", "checks", "timings"}


def table_of(finished: Iterable[Finished], wanted: Collection[str] = ()) -> pd.DataFrame:
    """Return the rows of finished cells, sorted by the fields of `Cell`.

    Parameters
    ----------
    finished : iterable of Finished
        Where one cell was measured more than once, with other versions or other data, the row that
        was finished last is taken.
    wanted : collection of str
        Keys whose rows are taken before all others, whenever they were finished.

    Returns
    -------
    pandas.DataFrame
        ``COLUMNS``; whole numbers are Int64, texts are empty and figures NA where a cell has none.
    """
    import pandas as pd

    last: dict[tuple[Any, ...], dict[str, Any]] = {}
    empty = {f.name: f.default for f in fields(Cell)}
    for one in sorted(
        finished, key=lambda f: (f.key in wanted, str(f.row.get("finished", "")), f.key)
    ):
        row = dict(one.row)
        last[tuple(row.get(name, empty[name]) for name in CELL_COLUMNS)] = row
    rows = [last[cell] for cell in sorted(last)]
    table = pd.DataFrame(
        [[row.get(name) for name in COLUMNS] for row in rows], columns=list(COLUMNS), dtype=object
    )
    for name in COLUMNS:
        if name in _TEXTS:
            table[name] = table[name].fillna("").astype(str)
        elif name in _WHOLE or name == "seed":
            table[name] = table[name].astype("Int64")
        else:
            table[name] = table[name].astype("float64")
    table["budget"] = table["budget"].fillna(0.0)
    return table


def write_tables(table: pd.DataFrame, folder: Path) -> None:
    """Write ``results.csv`` and ``results.parquet``, each wholly or not at all."""
    text = io.StringIO()
    table.to_csv(text, index=False, lineterminator="\n")
    with atomic_write(folder / "results.csv") as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8", newline="")
    with atomic_write(folder / "results.parquet") as temporary:
        table.to_parquet(temporary, index=False)
