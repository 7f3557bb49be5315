"""Parquet tables, through pyarrow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gssl_poison.exceptions import InputError, InputTypeError
from gssl_poison.readers.cells import Content, as_labels, as_sources
from gssl_poison.readers.columns import check_names, not_numbers

if TYPE_CHECKING:
    from pathlib import Path


def read_parquet(file: Path, label: str | None, provenance: str | None = None) -> Content:
    """Read a Parquet table; the columns keep their types, and float32 stays float32."""
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    try:
        # Not read_table: that one makes columns out of folder names such as "label=1".
        with ParquetFile(file) as parquet:
            names = list(parquet.schema_arrow.names)
            table = parquet.read()
        table.validate(full=True)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{file} is not a readable Parquet file ({error}); write or fetch it again."
        ) from error
    label = check_names(str(file), names, label, provenance)
    if table.num_rows == 0:
        raise InputError(f"{file} has columns and no rows; add the points.")
    columns = {name: table.column(name) for name in names if name not in (label, provenance)}
    wrong = [name for name, column in columns.items() if not _is_numeric(column.type)]
    if wrong:
        raise not_numbers(str(file), wrong, f"{columns[wrong[0]].type} values")
    empty = [
        (int(np.argmax(c.is_null().to_numpy())), n) for n, c in columns.items() if c.null_count
    ]
    if empty:
        row, name = min(empty, key=lambda place: place[0])
        raise InputError(
            f"column {name!r} of {file} is empty in row {row} (the first row is 0); every feature "
            "of a point must be known: fill it in or drop the row."
        )
    kept = [_feature(column) for column in columns.values()]
    X = np.empty((table.num_rows, len(kept)), dtype=np.result_type(*(c.dtype for c in kept)))
    for j, values in enumerate(kept):
        X[:, j] = values
    given = None if provenance is None else _sources(file, provenance, table.column(provenance))
    y = _parquet_labels(file, label, table.column(label))
    return Content(X, y, tuple(columns), provenance=given, label=label, columns=tuple(names))


def _is_numeric(kind: Any) -> bool:
    """Tell whether a pyarrow type has real numbers, or true and false, for values."""
    from pyarrow import types

    return bool(
        types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_boolean(kind)
        or types.is_decimal(kind)
        or types.is_null(kind)  # nothing but empty cells: reported as such
    )


def _feature(column: Any) -> npt.NDArray[Any]:
    """Return a column as uint8, float32 or float64."""
    kind = str(column.type)
    if kind.startswith("decimal"):
        column = column.cast("float64")
    values: npt.NDArray[Any] = column.to_numpy()
    if kind in ("uint8", "float"):
        return values
    return values.astype(np.float32 if kind == "halffloat" else np.float64, copy=False)


def _parquet_labels(file: Path, label: str, column: Any) -> npt.NDArray[Any]:
    """Return a label column as it is stored, None (NaN among floats) where it is empty."""
    from pyarrow import types

    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if types.is_floating(kind):
        floats: npt.NDArray[Any] = column.to_numpy().astype(np.float64, copy=False)
        return floats
    if not _is_name(kind):
        raise InputTypeError(
            f"the label column {label!r} of {file} holds {kind} values; labels must be text or "
            "whole numbers: convert it."
        )
    return as_labels(column.to_pylist())


def _is_name(kind: Any) -> bool:
    """Tell whether a pyarrow type holds text or whole numbers, true and false among them."""
    from pyarrow import types

    text = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    return bool(text or types.is_integer(kind) or types.is_boolean(kind) or types.is_null(kind))


def _sources(file: Path, name: str, column: Any) -> npt.NDArray[np.object_]:
    """Return a column that says where labels come from, as text; whole numbers may be floats."""
    from pyarrow import types

    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not (_is_name(column.type) or types.is_floating(column.type)):
        raise InputTypeError(
            f"the column {name!r} of {file} holds {column.type} values; where labels come from "
            "must be text or whole numbers: convert it."
        )
    return as_sources(column.to_pylist())
