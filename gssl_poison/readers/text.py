"""CSV and TSV tables, through pyarrow.

pyarrow's CSV parser refuses rows of the wrong length, both too short and too long, and rounds
decimal text to the nearest float64. The type of every column is given to it, never guessed from
the first rows. Its errors name no lines: where it refuses, Python's csv module looks for the line.
"""

from __future__ import annotations

import csv
import io
import zlib
from dataclasses import dataclass
from lzma import LZMAError
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from gssl_poison.exceptions import InputError
from gssl_poison.readers.cells import Content, as_sources, parse_labels
from gssl_poison.readers.columns import check_names, not_numbers
from gssl_poison.readers.unpack import open_packed

if TYPE_CHECKING:
    from collections.abc import Iterator

# A line must fit into a block; 16 MiB holds a million columns.
BLOCK_BYTES = 1 << 24
TRUTH_VALUES = {"true": 1.0, "false": 0.0}
_DAMAGED = (EOFError, LZMAError, OSError, zlib.error)


class Record(NamedTuple):
    """A row of a text table and the lines (1-based) it begins and ends on."""

    first: int
    last: int
    cells: list[str]


@dataclass(frozen=True)
class TextFile:
    """A text table: its file, what splits the columns, and how it is packed ('' for not at all)."""

    path: Path
    delimiter: str
    packed: str

    def open(self) -> BinaryIO:
        """Open the file for reading bytes."""
        return open_packed(self.path, self.packed)

    def records(self, *, strict: bool = False) -> Iterator[Record]:
        """Yield every row that is not blank, the header among them."""
        with (
            self.open() as raw,
            io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as text,
        ):
            rows = csv.reader(text, delimiter=self.delimiter, strict=strict)
            first = 1
            for cells in rows:
                if cells:
                    yield Record(first, rows.line_num, cells)
                first = rows.line_num + 1

    def row(self, number: int) -> Record:
        """Return a data row (0-based)."""
        for place, record in enumerate(self.records()):
            if place == number + 1:  # place 0 is the header
                return record
        raise InputError(f"{self.path} changed while it was read; run again.")


def read_delimited(source: TextFile, label: str | None, provenance: str | None = None) -> Content:
    """Read a CSV or TSV file: a header, then one line per point."""
    path = source.path
    try:
        header = _header(source)
        names = [name.strip() for name in header.cells]
        label = check_names(str(path), names, label, provenance)
        texts = (label,) if provenance is None else (label, provenance)
        table = _parse(source, names, header.last, texts)
        X = _features(source, table, texts)
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text ({error}); save it as UTF-8.") from error
    except csv.Error as error:
        raise InputError(f"{path} cannot be read as a table ({error}); correct it.") from error
    except _DAMAGED as error:
        raise InputError(
            f"{path} cannot be read ({error}); it is damaged: write or fetch it again."
        ) from error
    y = parse_labels(*_distinct_cells(table, label))
    given = None if provenance is None else as_sources(*_distinct_cells(table, provenance))
    features = tuple(name for name in names if name not in texts)
    return Content(X, y, features, provenance=given, label=label, columns=tuple(names))


def _distinct_cells(table: Any, name: str) -> tuple[list[str], npt.NDArray[np.intp]]:
    """Return the different cells of a text column, and which of them stands in each row."""
    cells = table.column(name).combine_chunks().dictionary_encode()
    return cells.dictionary.to_pylist(), cells.indices.to_numpy(zero_copy_only=False)


def _header(source: TextFile) -> Record:
    """Return the first row; refuse a table without a second one, or split by something else."""
    rows = source.records()
    header = next(rows, None)
    if header is None:
        raise InputError(f"{source.path} holds blank lines only; it needs a header and points.")
    only = header.cells[0] if len(header.cells) == 1 else ""
    other = next((mark for mark in ",;\t" if mark in only), None)
    if other:
        raise InputError(
            f"{source.path} has one column, named {only!r}: its suffix says that columns are split "
            f"by {source.delimiter!r}, and they seem to be split by {other!r}; rename or convert "
            "the file."
        )
    if next(rows, None) is None:
        raise InputError(f"{source.path} has a header and no row below it; add the points.")
    return header


def _parse(source: TextFile, names: list[str], header_lines: int, texts: tuple[str, ...]) -> Any:
    """Return a pyarrow table: `texts` as text, features as float64, or as text where refused."""
    import pyarrow as pa
    from pyarrow.csv import ConvertOptions, ParseOptions, ReadOptions, read_csv

    def attempt(feature: Any) -> Any:
        types = {name: pa.string() if name in texts else feature for name in names}
        with source.open() as stream:
            return read_csv(
                stream,
                ReadOptions(column_names=names, skip_rows=header_lines, block_size=BLOCK_BYTES),
                ParseOptions(delimiter=source.delimiter, newlines_in_values=True),
                ConvertOptions(column_types=types, null_values=[""], strings_can_be_null=False),
            )

    try:
        table = attempt(pa.float64())
    except pa.ArrowInvalid as error:
        for record in source.records():
            if len(record.cells) != len(names):
                raise InputError(
                    f"{source.path} has {len(record.cells)} cells on line {record.first} and "
                    f"{len(names)} in the header; every line must have as many."
                ) from error
        try:
            table = attempt(pa.string())
        except pa.ArrowInvalid as again:
            raise InputError(
                f"{source.path} cannot be read as a table ({again}); correct it."
            ) from again
    cells = (cell for name in texts for cell in table.column(name).unique().to_pylist())
    if any("\n" in cell or "\r" in cell for cell in cells):
        # A quote that is not closed swallows the lines below it; strictly read, it is an error.
        for _ in source.records(strict=True):
            pass
    return table


def _features(source: TextFile, table: Any, texts: tuple[str, ...]) -> npt.NDArray[np.float64]:
    """Return the features of a parsed table; name what is empty or not a number."""
    names = [name for name in table.column_names if name not in texts]
    X = np.empty((table.num_rows, len(names)), dtype=np.float64)
    wrong: dict[str, int] = {}  # column -> its first row that is not a number
    empty: dict[str, int] = {}  # column -> its first row that is empty
    for j, name in enumerate(names):
        column = _as_floats(table.column(name))
        if column is not None:
            X[:, j] = column.to_numpy()
            if column.null_count:
                empty[name] = int(np.argmax(column.is_null().to_numpy()))
            continue
        for row, cell in enumerate(table.column(name).to_pylist()):
            if not cell.strip():
                empty.setdefault(name, row)
                continue
            value = _as_number(cell)
            if value is None:
                wrong[name] = row
                break
            X[row, j] = value
    if wrong:
        name = next(iter(wrong))
        record = source.row(wrong[name])
        cell = record.cells[table.column_names.index(name)]
        raise not_numbers(str(source.path), list(wrong), f"{cell!r} on line {record.first}")
    if empty:
        name = min(empty, key=lambda name: empty[name])
        raise InputError(
            f"column {name!r} of {source.path} is empty on line {source.row(empty[name]).first}; "
            "every feature of a point must be known: fill it in or drop the line."
        )
    return X


def _as_floats(column: Any) -> Any | None:
    """Return a pyarrow column as float64, None where some of its texts need a closer look."""
    import pyarrow as pa
    from pyarrow import compute

    if pa.types.is_floating(column.type):
        return column
    try:
        return compute.cast(compute.utf8_trim_whitespace(column), pa.float64())
    except pa.ArrowInvalid:
        return None


def _as_number(cell: str) -> float | None:
    """Read a number, or true or false; None for anything else, 1_000 among it."""
    text = cell.strip().lower()
    if text in TRUTH_VALUES:
        return TRUTH_VALUES[text]
    if "_" in text or not text.isascii():
        return None
    try:
        return float(text)
    except ValueError:
        return None
