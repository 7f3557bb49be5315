"""Data sets with other labels, as files: in the source's own form where the format is the same."""

from __future__ import annotations

import bz2
import gzip
import lzma
import math
import shutil
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from gssl_poison.datasets.files import CSR_ARRAYS, read_npz
from gssl_poison.exceptions import InputError
from gssl_poison.labels import is_missing
from gssl_poison.readers import DELIMITERS, PACKED, PARQUET, SVMLIGHT
from gssl_poison.readers.columns import LABEL_NAMES
from gssl_poison.readers.unpack import open_packed
from gssl_poison.review.cells import relabel_delimited, relabel_svmlight
from gssl_poison.review.fingerprints import label_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gssl_poison.datasets import Dataset, Origin

NPZ = ".npz"
# Whole numbers that float64, which has NaN for "missing", holds all of.
_MOST_WHOLE = 2**53


@dataclass(frozen=True, eq=False)
class Relabelled:
    """A data set and the labels it is to have.

    Attributes
    ----------
    dataset : Dataset
    labels : (n,) list
        Every label, as a Python value; None or NaN where there is none.
    changed : dict of int to label
        Those that differ from the file the data set was read from; None for "none".
    """

    dataset: Dataset
    labels: list[Any]
    changed: dict[int, Any]


def kind_of(path: Path) -> tuple[str, str]:
    """Return the suffix that says what a file holds, and how it is packed ('' for not at all)."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    packed = suffixes.pop() if suffixes and suffixes[-1] in PACKED else ""
    suffix = suffixes[-1] if suffixes else ""
    text = suffix in DELIMITERS or suffix in SVMLIGHT
    if not (text or (not packed and (suffix in PARQUET or suffix == NPZ))):
        raise InputError(
            f"{path} ends in {suffix + packed or 'nothing'!r}; use one of .csv, .tsv, .parquet and "
            ".npz, or the suffix of the data."
        )
    return suffix, packed


def label_column(data: Relabelled, path: Path) -> str:
    """Return the name of the column, or array, that the labels are written to."""
    origin, suffix = data.dataset.origin, kind_of(path)[0]
    if suffix == NPZ:
        same = origin is not None and kind_of(origin.path)[0] == NPZ
        return origin.label or "y" if origin is not None and same else "y"
    if origin is not None and origin.columns and origin.label is not None:
        return origin.label
    taken = data.dataset.feature_names or ()
    free = next((name for name in LABEL_NAMES if name not in taken), None)
    if free is None:
        raise InputError(
            f"the features of {data.dataset.name} take all names a label column may have; write "
            f"{path.with_suffix(NPZ).name}."
        )
    return free


def write_relabelled(data: Relabelled, path: Path, temporary: Path) -> None:
    """Write to `temporary` what `path`, by its suffix, is to hold."""
    suffix, packed = kind_of(path)
    origin = data.dataset.origin
    source = kind_of(origin.path)[0] if origin is not None else ""
    if origin is not None and suffix in DELIMITERS and source == suffix:
        column = origin.columns.index(origin.label or "")
        text = _bytes_of(origin).decode("utf-8")
        y = data.dataset.y.tolist()
        text = relabel_delimited(text, DELIMITERS[suffix], column, y, data.changed)
        with _packing(temporary, packed) as out:
            out.write(text.encode("utf-8"))
    elif origin is not None and suffix in SVMLIGHT and source in SVMLIGHT:
        lines = relabel_svmlight(_bytes_of(origin), data.dataset.y.tolist(), data.changed)
        with _packing(temporary, packed) as out:
            out.write(lines)
    elif origin is not None and suffix in PARQUET and source in PARQUET:
        _relabel_parquet(data, origin, temporary)
    elif origin is not None and suffix == source == NPZ:
        _relabel_archive(data, origin, temporary)
    elif suffix in SVMLIGHT:
        raise InputError(
            f"{path} is svmlight, and {data.dataset.name} was not read from that; write .npz."
        )
    elif suffix == NPZ:
        _write_archive(data, temporary)
    else:
        _write_table(data, path, temporary)


def _bytes_of(origin: Origin) -> bytes:
    """Read the whole source, unpacked."""
    with open_packed(origin.path, kind_of(origin.path)[1]) as stream:
        return stream.read()


@contextmanager
def _packing(path: Path, packed: str) -> Iterator[BinaryIO]:
    """Open a file for writing bytes; `packed` is '', '.gz', '.bz2' or '.xz'."""
    with path.open("wb") as raw:
        if packed == ".gz":
            # Without the name and the time that gzip.open records: the same labels, the same bytes.
            with gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as out:
                yield cast("BinaryIO", out)
        elif packed:
            with (bz2 if packed == ".bz2" else lzma).open(raw, "wb") as out:
                yield cast("BinaryIO", out)
        else:
            yield raw


def _relabel_parquet(data: Relabelled, origin: Origin, temporary: Path) -> None:
    """Copy a Parquet table; the label column keeps its type, the others are as they were."""
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile, write_table

    with ParquetFile(origin.path) as parquet:
        table = parquet.read()
    place = table.schema.get_field_index(origin.label)
    values = table.column(place).to_pylist() if place >= 0 else []
    if len(values) != len(data.labels):
        raise has_changed(origin.path)
    for row, label in data.changed.items():
        values[row] = label
    field = table.schema.field(place)
    try:
        column = pa.array(values, type=field.type)
    except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
        raise InputError(
            f"the column {origin.label!r} of {origin.path} holds {field.type} values, and a new "
            f"label is none ({error}); write .csv, or change the type of the column first."
        ) from error
    field = field.with_nullable(field.nullable or column.null_count > 0)
    write_table(table.set_column(place, field, column), temporary)


def _relabel_archive(data: Relabelled, origin: Origin, temporary: Path) -> None:
    """Copy an .npz archive; all arrays but the labels byte for byte, unread."""
    name = str(origin.label)
    old = read_npz(origin.path, (name,))[name]
    if old.size != len(data.labels):
        raise has_changed(origin.path)
    values = old.ravel().tolist()
    for row, label in data.changed.items():
        values[row] = label
    y = label_array(values)
    fitting = old.dtype.kind != "U" and y.dtype.kind != "U"
    if fitting and np.array_equal(y.astype(old.dtype), y, equal_nan=y.dtype.kind == "f"):
        y = y.astype(old.dtype)
    with zipfile.ZipFile(origin.path) as source, zipfile.ZipFile(temporary, "w") as target:
        for info in source.infolist():
            entry = zipfile.ZipInfo(info.filename, info.date_time)
            entry.compress_type = info.compress_type
            with target.open(entry, "w", force_zip64=True) as out:
                if info.filename.removesuffix(".npy") == name:
                    np.lib.format.write_array(out, y.reshape(old.shape), allow_pickle=False)
                else:
                    with source.open(info) as member:
                        shutil.copyfileobj(member, out)


def _write_archive(data: Relabelled, temporary: Path) -> None:
    """Write a new archive: features, labels and what else is known of the points."""
    dataset, origin = data.dataset, data.dataset.origin
    X: Any = dataset.X
    arrays: dict[str, Any] = {"X": X}
    if not isinstance(X, np.ndarray):
        parts = (np.array(b"csr"), np.array(X.shape), X.data, X.indices, X.indptr)
        arrays = dict(zip(CSR_ARRAYS, parts, strict=True))
    arrays["y"] = label_array(data.labels)
    if dataset.feature_names is not None:
        arrays["feature_names"] = np.array(dataset.feature_names, dtype=np.str_)
    if dataset.image_shape is not None:
        arrays["image_shape"] = np.array(dataset.image_shape)
    if dataset.provenance is not None:
        name = (origin.provenance if origin is not None else None) or "provenance"
        if name in arrays:
            raise InputError(
                f"the column {name!r} has the name of another array of an .npz; rename it, or "
                "write a table."
            )
        arrays[name] = np.array([text or "" for text in dataset.provenance], dtype=np.str_)
    with temporary.open("wb") as out:
        np.savez(out, **arrays)


def _write_table(data: Relabelled, path: Path, temporary: Path) -> None:
    """Write a new table: CSV, TSV or Parquet."""
    import pyarrow as pa
    from pyarrow.csv import CSVWriter, WriteOptions
    from pyarrow.parquet import write_table

    dataset, origin = data.dataset, data.dataset.origin
    X: Any = dataset.X
    if not isinstance(X, np.ndarray):
        raise InputError(
            f"the features of {dataset.name} are sparse, and a table would hold every 0 of them; "
            f"write {path.with_suffix(NPZ).name}."
        )
    suffix, packed = kind_of(path)
    label = label_column(data, path)
    names = dataset.feature_names or tuple(f"feature_{j}" for j in range(X.shape[1]))
    columns = {name: pa.array(X[:, j]) for j, name in enumerate(names)}
    labels = [None if is_missing(value) else value for value in data.labels]
    if suffix in DELIMITERS:  # where pyarrow writes true, and this package True
        labels = [label_text(value) if isinstance(value, bool) else value for value in labels]
    columns[label] = pa.array(labels)
    if origin is not None and origin.provenance is not None and dataset.provenance is not None:
        columns[origin.provenance] = pa.array(dataset.provenance.tolist(), type=pa.string())
    order = origin.columns if origin is not None and origin.columns else tuple(columns)
    table = pa.table({name: columns[name] for name in order})
    if suffix in PARQUET:
        write_table(table, temporary)
        return
    with (
        _packing(temporary, packed) as out,
        CSVWriter(
            out, table.schema, write_options=WriteOptions(delimiter=DELIMITERS[suffix])
        ) as writer,
    ):
        writer.write_table(table)


def label_array(values: Sequence[Any]) -> npt.NDArray[Any]:
    """Return labels as an array without Python objects, of the type that they have.

    Examples
    --------
    >>> label_array([7, None, 1]), label_array(["cat", None])
    (array([ 7., nan,  1.]), array(['cat', ''], dtype='<U3'))
    """
    given = [value for value in values if not is_missing(value)]
    whole = len(given) == len(values)
    kinds = {type(value) for value in given}
    if whole and kinds in ({bool}, {int}) and max(map(abs, given)) < 2**63:
        return np.array(values)
    if kinds <= {int, float} and max(map(abs, given)) <= _MOST_WHOLE:
        return np.array([math.nan if is_missing(v) else v for v in values], dtype=np.float64)
    return np.array([label_text(value) for value in values], dtype=np.str_)


def has_changed(source: Path) -> InputError:
    """Return the error for a source that is not what was read."""
    return InputError(f"{source} has changed since it was read; read it again.")
