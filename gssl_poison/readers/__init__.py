"""Read a person's own file - a table, arrays or svmlight lines - into a `Dataset`."""

from __future__ import annotations

import os
from pathlib import Path

from gssl_poison.datasets import Dataset, Origin
from gssl_poison.exceptions import InputError
from gssl_poison.readers.arrays import read_archive, read_svmlight
from gssl_poison.readers.cells import Content, parse_label_value
from gssl_poison.readers.parquet import read_parquet
from gssl_poison.readers.text import TextFile, read_delimited

__all__ = ["parse_label_value", "read_input"]

DELIMITERS = {".csv": ",", ".tsv": "\t"}
SVMLIGHT = (".svm", ".svmlight", ".libsvm")
PARQUET = (".parquet", ".pq")
PACKED = (".gz", ".bz2", ".xz")
KNOWN = f".csv, .tsv, {', '.join(SVMLIGHT)} (or these with {', '.join(PACKED)}), .parquet, .npz"


def read_input(
    path: str | os.PathLike[str],
    *,
    label: str | None = None,
    unlabeled: str | None = None,
    provenance: str | None = None,
) -> Dataset:
    r"""Read a file of points, most of them without a label.

    Parameters
    ----------
    path : str or path-like
        A CSV or TSV table with a header (UTF-8), a Parquet table, an ``.npz`` archive or an
        svmlight file. The suffix says which; CSV, TSV and svmlight may be packed (``.csv.gz``).
    label : str, optional
        The label column, or the name of the label array in an archive. Left out: the column
        ``label``, else the one of ``y``, ``target``, ``class`` there is; the array ``y``.
    unlabeled : str, optional
        The value that marks unlabelled points, as text. It is only checked to occur, see
        `parse_label_value`; ``y`` keeps it.
    provenance : str, optional
        The column, or the array of an archive, that says where each label comes from: a person, a
        batch, a supplier. It is no feature, and may be text.

    Returns
    -------
    Dataset
        X is (n, d): float64 from text, sparse from svmlight, and of the file's own type otherwise
        (float32 stays float32). NaN and infinity stay. ``truth`` is None.

    Raises
    ------
    InputError
        The file is missing, damaged, ragged or empty, a feature is empty or not a number, or the
        label column is not there, or that of the provenance.
    InputTypeError
        A column or an array is of a type whose values are no numbers or labels.

    Notes
    -----
    Every column but these must be numeric; true and false count as 1 and 0. In CSV and TSV a
    label cell that is empty is missing; the others become whole numbers (1, -1) if all of them are
    whole numbers, decimal numbers if all are numbers, and text as it stands otherwise. Digits with
    a leading zero or more than 18 of them are text. ``NA`` and ``null`` are text; ``nan`` is
    missing among numbers and text among text. An archive holds ``X`` (n, d), or the arrays that
    ``scipy.sparse.save_npz`` writes for CSR, beside ``y`` (n,); ``feature_names`` (d,) and
    ``image_shape`` (2 or 3 numbers) are read where they are there. Pickles are never opened, and
    no file is opened for writing.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "points.csv"
    >>> _ = file.write_text("height,width,label\n1.5,2,cat\n0.5,3,\n")
    >>> data = read_input(file)
    >>> data.X.tolist(), data.y.tolist(), data.feature_names
    ([[1.5, 2.0], [0.5, 3.0]], ['cat', None], ('height', 'width'))
    """
    file = Path(path)
    packed, suffix = _suffixes(file)
    _check_file(file)
    if suffix in DELIMITERS:
        content = read_delimited(TextFile(file, DELIMITERS[suffix], packed), label, provenance)
    elif suffix in PARQUET:
        content = read_parquet(file, label, provenance)
    elif suffix in SVMLIGHT:
        content = read_svmlight(file, packed, label, provenance)
    else:
        content = read_archive(file, label, provenance)
    if unlabeled is not None:
        parse_label_value(unlabeled, content.y)
    return _as_dataset(file, content, provenance)


def _suffixes(file: Path) -> tuple[str, str]:
    """Return how a file is packed ('' for not at all) and the suffix that says what it holds."""
    suffixes = [suffix.lower() for suffix in file.suffixes]
    packed = suffixes.pop() if suffixes and suffixes[-1] in PACKED else ""
    suffix = suffixes[-1] if suffixes else ""
    if suffix == ".npy":
        raise InputError(
            f"{file} holds one array and so no labels; save features and labels together, "
            "numpy.savez('points.npz', X=X, y=y)."
        )
    text = suffix in DELIMITERS or suffix in SVMLIGHT
    if not (text or (not packed and (suffix in PARQUET or suffix == ".npz"))):
        raise InputError(
            f"{file} has the suffix {suffix + packed!r}, which does not say how to read it; name "
            f"the file with one of {KNOWN}."
        )
    return packed, suffix


def _check_file(file: Path) -> None:
    """Refuse what is not a file with something in it."""
    if file.is_dir():
        raise InputError(f"{file} is a folder; give the file in it.")
    if not file.exists():
        raise InputError(f"there is no file {file} (looked from {Path.cwd()}); correct the path.")
    if not file.is_file():
        raise InputError(f"{file} is not a regular file; write the data to one first.")
    if not os.access(file, os.R_OK):
        raise InputError(f"{file} may not be read by this user; change its permissions.")
    if file.stat().st_size == 0:
        raise InputError(f"{file} is empty (0 bytes); it must hold at least one labelled point.")


def _as_dataset(file: Path, content: Content, provenance: str | None) -> Dataset:
    """Put what was read into the one form the rest of the package takes."""
    return Dataset(
        name=file.name,
        X=content.X,
        y=content.y,
        truth=None,
        feature_names=content.feature_names,
        image_shape=content.image_shape,
        source=str(file),
        provenance=content.provenance,
        origin=Origin(file, content.label, provenance, content.columns),
    )
