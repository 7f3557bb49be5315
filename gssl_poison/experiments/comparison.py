"""A table of finished cells, read once: each figure beside the paper's, averaged over seeds."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gssl_poison.exceptions import InputError
from gssl_poison.experiments.cells import Cell
from gssl_poison.experiments.names import order_of
from gssl_poison.experiments.paper import printed
from gssl_poison.experiments.presets import PRESETS
from gssl_poison.experiments.questions import FIRST_SEED
from gssl_poison.experiments.tables import CELL_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

_NUMBERS = ("labeled", "seed", "budget")
NOT_RUN, NOT_PRINTED = "not run", "not in the source"
# How far a figure may be from the printed one to count as the same, and as near: points of error.
SAME_POINTS, NEAR_POINTS = 0.05, 1.0


@dataclass(frozen=True)
class Estimate:
    """A figure over the seeds of a cell.

    Attributes
    ----------
    value : float
        Their mean; NaN where the figure is not defined.
    deviation : float
        Their sample standard deviation; NaN for one seed.
    seeds : int
    """

    value: float
    deviation: float
    seeds: int


@dataclass(frozen=True)
class Compared:
    """One figure: the paper's, and ours under both presets.

    Attributes
    ----------
    place : Cell
        Which figure; its preset and seed say nothing.
    column : str
        Of the results: "error", "kendall", ...
    paper : float or None
        None where the source has no such figure.
    replication, corrected : Estimate or None
        Means over their seeds; None where it was not run.
    """

    place: Cell
    column: str
    paper: float | None
    replication: Estimate | None
    corrected: Estimate | None

    @property
    def difference(self) -> float | None:
        """Replication less paper: in points for an error, else as it is; None without either."""
        if self.paper is None or self.replication is None or math.isnan(self.replication.value):
            return None
        scale = 100.0 if self.column == "error" else 1.0
        return scale * (self.replication.value - self.paper)


def place_of(cell: Cell) -> Cell:
    """Return the figure that a cell is a measurement of: the same for all presets and seeds.

    Examples
    --------
    >>> a = Cell("correlation", "digits-1-7", "corrected", 0.1, 2021, "propagation")
    >>> b = Cell("correlation", "digits-1-7", "replication", 0.1, 2020, "propagation")
    >>> place_of(a) == place_of(b)
    True
    """
    return replace(cell, preset="replication", seed=FIRST_SEED)


@dataclass(frozen=True, eq=False)
class Results:
    """The rows of a table by preset, place and seed.

    Attributes
    ----------
    rows : mapping of (str, Cell) to mapping of int to mapping
        The columns of a row by preset and place, then by seed in ascending order.
    """

    rows: Mapping[tuple[str, Cell], Mapping[int, Mapping[str, Any]]]

    @property
    def presets(self) -> tuple[str, ...]:
        """Those that were run: replication first, as it stands beside the paper."""
        found = {preset for preset, _ in self.rows}
        return tuple(preset for preset in ("replication", "corrected") if preset in found)

    def places(self, kind: str) -> tuple[Cell, ...]:
        """Return what was measured of a kind, in the order of a report."""
        found = {place for _, place in self.rows if place.kind == kind}
        return tuple(sorted(found, key=lambda place: (order_of(place.dataset), place)))

    def datasets(self, preset: str | None = None) -> tuple[str, ...]:
        """Return the data sets that something was measured on, under one preset or any."""
        found = {place.dataset for name, place in self.rows if preset in (None, name)}
        return tuple(sorted(found, key=order_of))

    def only(self, datasets: Collection[str]) -> Results:
        """Return the rows of some data sets."""
        return Results({key: rows for key, rows in self.rows.items() if key[1].dataset in datasets})

    def seeds(self, preset: str) -> tuple[int, ...]:
        """Return the seeds of a preset."""
        found = {seed for (name, _), rows in self.rows.items() if name == preset for seed in rows}
        return tuple(sorted(found))

    def estimate(self, place: Cell, preset: str, column: str) -> Estimate | None:
        """Return the mean of a column over the seeds of a cell; None where it was not run."""
        rows = self.rows.get((preset, place))
        return None if rows is None else _mean(rows.values(), column)

    def value(self, place: Cell, preset: str, column: str) -> float | None:
        """Return the mean alone; None where it was not run or is not defined."""
        found = self.estimate(place, preset, column)
        return None if found is None or math.isnan(found.value) else found.value

    def first(self, place: Cell, preset: str) -> Mapping[str, Any]:
        """Return the row that stands for a cell: of the paper's seed, else of the first; or {}."""
        rows = self.rows.get((preset, place), {})
        return rows.get(FIRST_SEED) or next(iter(rows.values()), {})

    def compare(self, place: Cell, column: str) -> Compared:
        """Put the figures of a place side by side."""
        return Compared(
            place,
            column,
            printed(place).get(column),
            self.estimate(place, "replication", column),
            self.estimate(place, "corrected", column),
        )


def _mean(rows: Iterable[Mapping[str, Any]], column: str) -> Estimate:
    """Average a column over the rows in which it is a number."""
    values = np.array([number_of(row.get(column)) for row in rows])
    values = values[~np.isnan(values)]
    if values.size == 0:
        return Estimate(math.nan, math.nan, 0)
    deviation = float(values.std(ddof=1)) if values.size > 1 else math.nan
    return Estimate(float(values.mean()), deviation, int(values.size))


def number_of(value: Any) -> float:
    """Return a number, or NaN for what is none.

    Examples
    --------
    >>> number_of(3), number_of(""), number_of(None)
    (3.0, nan, nan)
    """
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def read_results(table: pd.DataFrame) -> Results:
    """Read a table of finished cells.

    Parameters
    ----------
    table : pandas.DataFrame
        One row a cell: the fields of `Cell` and the columns that were measured.

    Returns
    -------
    Results

    Raises
    ------
    InputError
        The table is empty, lacks a field of `Cell`, has a row that is no cell, or has one twice.

    Examples
    --------
    >>> import pandas as pd
    >>> from dataclasses import asdict
    >>> cells = [
    ...     Cell(
    ...         "error",
    ...         "a",
    ...         "corrected",
    ...         0.1,
    ...         2020 + k,
    ...         "propagation",
    ...         "none",
    ...         0.0,
    ...         "none",
    ...         "transductive",
    ...     )
    ...     for k in (0, 1)
    ... ]
    >>> results = read_results(pd.DataFrame([{**asdict(c), "error": 0.1} for c in cells]))
    >>> results.estimate(place_of(cells[0]), "corrected", "error").seeds
    2
    """
    missing = [name for name in CELL_COLUMNS if name not in table.columns]
    if missing:
        raise InputError(
            f"the table has no column {missing[0]!r}; give the long table of finished cells that "
            "`gssl-poison reproduce` writes."
        )
    if len(table) == 0:
        raise InputError(
            "the table has no rows, so there is nothing to report; run `gssl-poison reproduce` "
            "until at least one cell is finished."
        )
    rows: dict[tuple[str, Cell], dict[int, Mapping[str, Any]]] = {}
    for record in table.to_dict(orient="records"):
        row = {str(name): value for name, value in record.items()}
        cell = _cell_of(row)
        seeds = rows.setdefault((cell.preset, place_of(cell)), {})
        if cell.seed in seeds:
            raise InputError(
                f"the table has two rows for the cell {cell}; keep one row for each cell."
            )
        seeds[cell.seed] = row
    return Results({key: dict(sorted(seeds.items())) for key, seeds in sorted(rows.items())})


def _cell_of(row: Mapping[str, Any]) -> Cell:
    """Read the fields of a cell, as a CSV file may hold them: empty texts there are NaN."""
    values: dict[str, Any] = {
        name: row[name] if isinstance(row[name], str) else "" for name in CELL_COLUMNS
    }
    for name in _NUMBERS:
        # 3 * 0.05 is not 0.15: a part read back from arithmetic names the same cell.
        value = round(number_of(row[name]), 9)
        if math.isnan(value):
            raise InputError(f"a row has {name}={row[name]!r}; a finished cell has a number there.")
        values[name] = int(value) if name == "seed" else value
    if values["preset"] not in PRESETS:
        raise InputError(
            f"a row has preset={values['preset']!r}; its preset must be one of "
            f"{', '.join(PRESETS)}."
        )
    return Cell(**values)
