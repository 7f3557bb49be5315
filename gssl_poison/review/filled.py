"""Filled queues as CSV tables have them, split by whatever the spreadsheet chose."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, NamedTuple

from gssl_poison.exceptions import InputError
from gssl_poison.readers.columns import shown
from gssl_poison.readers.text import Record, TextFile
from gssl_poison.review.formulas import unguarded

if TYPE_CHECKING:
    from pathlib import Path

# What a file of answers must have; the other columns of a queue are for people.
NEEDED = ("point", "answer", "row", "data")


class Given(NamedTuple):
    """An answer as a file has it: nothing in ``answer`` is no answer, None is "cannot tell"."""

    place: str
    point: str
    answer: str | None
    row: str
    data: str
    label: str


def read_table(file: Path) -> list[Given]:
    """Read a filled CSV table, split by whatever the spreadsheet chose."""
    last = 0
    try:
        table, header = _header(file)
        rows = []
        for record in table.records(strict=True):
            first, last = last == 0, record.last
            if first or not any(cell.strip() for cell in record.cells):
                continue  # the header; a line of separators that a spreadsheet left
            rows.append(_row(file, record, header))
    except UnicodeDecodeError as error:
        raise InputError(
            f'{file} is not UTF-8 text ({error}); in a spreadsheet save it as "CSV UTF-8".'
        ) from error
    except csv.Error as error:
        raise InputError(
            f"line {last + 1} of {file} cannot be read as cells ({error}); correct its quotes."
        ) from error
    return rows


def _row(file: Path, record: Record, header: list[str]) -> Given:
    """Return the answer of one line."""
    where, cells = f"line {record.first}", record.cells
    if len(cells) < len(header) or any(cell.strip() for cell in cells[len(header) :]):
        raise InputError(
            f"{where} of {file} has {len(cells)} cells and the header {len(header)}; every line "
            "must have as many: put text that holds the separator in quotes."
        )
    point, answer, row, data = (cells[header.index(name)] for name in NEEDED)
    label = cells[header.index("label")] if "label" in header else ""
    answer = unguarded(answer) if answer.strip() else ""
    return Given(where, point.strip(), answer, row.strip(), data.strip(), unguarded(label))


def _header(file: Path) -> tuple[TextFile, list[str]]:
    """Find what splits the columns: the mark by which the needed ones are there."""
    names: list[str] = []
    for mark in ",;\t":
        table = TextFile(file, mark, "")
        header = next(table.records(), None)
        if header is None:
            raise InputError(f"{file} holds blank lines only; it must hold the queue.")
        found = [cell.strip().lower() for cell in header.cells]
        while found and not found[-1]:
            found.pop()  # columns that a spreadsheet added
        if set(NEEDED) <= set(found):
            twice = [name for name in dict.fromkeys(found) if name and found.count(name) > 1]
            if twice:
                raise InputError(
                    f"{file} has several columns named {shown(twice)}; keep the one of the queue."
                )
            return table, found
        names = max(names, found, key=len)
    missing = [name for name in NEEDED if name not in names]
    raise InputError(
        f"{file} has no column {shown(missing)}; its columns are {shown(names)}. The first line "
        "must be the header of the queue, with all its columns."
    )
