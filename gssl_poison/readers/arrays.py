"""Files that hold arrays: .npz archives, and svmlight lines."""

from __future__ import annotations

import re
import zlib
from lzma import LZMAError
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gssl_poison.datasets.files import CSR_ARRAYS, as_csr, npz_names, read_npz
from gssl_poison.exceptions import InputError, InputTypeError
from gssl_poison.readers.cells import Content, as_labels, as_sources
from gssl_poison.readers.columns import same_column
from gssl_poison.readers.unpack import open_packed

if TYPE_CHECKING:
    from pathlib import Path

_NUMBER = rb"[+-]?(\d+\.?\d*|\.\d+|inf|nan)([eE][+-]?\d+)?"
_SVM_LINE = re.compile(
    rb"\s*(#.*)?|\s*" + _NUMBER + rb"(\s+qid:\d+)?(\s+\d+:" + _NUMBER + rb")*\s*(#.*)?",
    re.IGNORECASE | re.DOTALL,
)


def read_archive(file: Path, label: str | None, provenance: str | None = None) -> Content:
    """Read X, or a CSR matrix, and the labels from an .npz archive."""
    present = npz_names(file)
    label = "y" if label is None else label
    listed = ", ".join(map(repr, present[:12])) or "none"
    sparse = "X" not in present and set(CSR_ARRAYS) <= set(present)
    if not sparse and "X" not in present:
        raise InputError(
            f"{file} has no array 'X'; its arrays are {listed}. Save the features as X (n, d), or "
            f"as the arrays of scipy.sparse.save_npz, and the labels as {label} (n,)."
        )
    if label not in present:
        raise InputError(
            f"{file} has no array {label!r}; its arrays are {listed}. Save the labels as y (n,), "
            "or name their array (label=, --label)."
        )
    if provenance is not None and provenance not in present:
        raise InputError(
            f"{file} has no array {provenance!r}; its arrays are {listed}. Save where each label "
            "comes from as one of n texts, or leave it out (provenance=, --provenance)."
        )
    features = CSR_ARRAYS if sparse else ("X",)
    if provenance == label:
        raise same_column(str(file), label)
    if provenance in features:
        raise InputError(
            f"array {provenance!r} of {file} holds the features; name the one that says where "
            "labels come from (provenance=, --provenance)."
        )
    extras = [name for name in ("feature_names", "image_shape") if name in present]
    origin = () if provenance is None or provenance in extras else (provenance,)
    found = read_npz(file, (*features, label, *extras, *origin))
    X = as_csr(file, found) if sparse else _checked_features(file, found["X"])
    y = _checked_labels(file, label, found[label])
    if X.shape[0] != y.size:
        raise InputError(
            f"{file} has {X.shape[0]} rows of features and {y.size} labels in {label!r}; they must "
            "be the same points in the same order."
        )
    names = _feature_names(file, found.get("feature_names"), X.shape[1])
    shape = _image_shape(file, found.get("image_shape"), X.shape[1])
    given = None if provenance is None else _sources(file, provenance, found[provenance], y.size)
    return Content(X, y, names, shape, given, label)


def _checked_features(file: Path, X: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Refuse features that are not a table of real numbers."""
    if X.dtype.kind not in "buif":
        raise InputTypeError(
            f"array 'X' of {file} holds {X.dtype} values; save it as float32 or float64."
        )
    if X.ndim != 2 or 0 in X.shape:
        raise InputError(
            f"array 'X' of {file} has shape {X.shape}; save one row of features per point (n, d), "
            "images as X.reshape(len(X), -1)."
        )
    return X


def _checked_labels(file: Path, label: str, y: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Refuse labels that are not one number or text per row."""
    if y.dtype.kind not in "buifU":
        raise InputTypeError(
            f"array {label!r} of {file} holds {y.dtype} values; save labels as numbers (NaN where "
            "not known) or text (y.astype(str), '' where not known)."
        )
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        raise InputError(f"array {label!r} of {file} has shape {y.shape}; save one label per row.")
    return y


def _sources(file: Path, name: str, values: npt.NDArray[Any], n: int) -> npt.NDArray[np.object_]:
    """Read the array that says where each label comes from."""
    if values.shape == (n, 1):
        values = values[:, 0]
    if values.dtype.kind not in "buifU" or values.shape != (n,):
        raise InputError(
            f"array {name!r} of {file} is {values.dtype} of shape {values.shape}; save one text or "
            f"whole number for each of the {n:,} points ('' where not known)."
        )
    return as_sources(values.tolist())


def _feature_names(file: Path, names: npt.NDArray[Any] | None, d: int) -> tuple[str, ...] | None:
    """Read the optional feature names."""
    if names is None:
        return None
    if names.dtype.kind != "U" or names.shape != (d,):
        raise InputError(
            f"array 'feature_names' of {file} is {names.dtype} of shape {names.shape}; save one "
            f"text for each of the {d} features, or leave it out."
        )
    return tuple(names.tolist())


def _image_shape(file: Path, shape: npt.NDArray[Any] | None, d: int) -> tuple[int, ...] | None:
    """Read the optional image shape."""
    if shape is None:
        return None
    sides = shape.ravel().tolist()
    whole = shape.dtype.kind in "iu" and len(sides) in (2, 3) and min(sides) > 0
    if not whole or int(np.prod(sides)) != d:
        raise InputError(
            f"array 'image_shape' of {file} is {sides}; save (rows, columns) or (channels, rows, "
            f"columns) with product {d}, the number of features, or leave it out."
        )
    return tuple(sides)


def read_svmlight(
    file: Path, packed: str, label: str | None, provenance: str | None = None
) -> Content:
    """Read svmlight (libsvm) lines: ``label index:value ...``; whole-number labels become int."""
    from scipy.sparse import csr_array
    from sklearn.datasets import load_svmlight_file

    if label is not None:
        raise InputError(
            f"label={label!r} was given for {file}, but svmlight lines have no columns: each "
            "begins with its label; leave label out."
        )
    if provenance is not None:
        raise InputError(
            f"provenance={provenance!r} was given for {file}, but svmlight lines do not say where "
            "labels come from; leave it out, or convert the file to one with columns."
        )
    try:
        with open_packed(file, packed) as stream:
            X, y = load_svmlight_file(stream)
    except (EOFError, LZMAError, OSError, zlib.error) as error:
        raise InputError(
            f"{file} cannot be read ({error}); it is damaged: write or fetch it again."
        ) from error
    except (IndexError, OverflowError, ValueError) as error:
        raise InputError(
            f"{file}{_first_bad_line(file, packed)} is not svmlight ({error}); every line must be "
            "'label index:value ...' with rising indices."
        ) from error
    if X.nnz == 0:
        raise InputError(
            f"{file} holds {X.shape[0]} points and no feature of theirs; every line must be "
            "'label index:value ...'."
        )
    return Content(csr_array(X), _whole_labels(y))


def _first_bad_line(file: Path, packed: str) -> str:
    """Say which line is the first that svmlight does not allow, where its form shows it."""
    with open_packed(file, packed) as stream:
        for number, line in enumerate(stream, 1):
            if not _SVM_LINE.fullmatch(line):
                return f" line {number}"
    return ""


def _whole_labels(y: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
    """Turn the floats of a svmlight file into ints if they are; NaN becomes None then."""
    known = y[~np.isnan(y)]
    if not (np.isfinite(known).all() and (known == np.trunc(known)).all()):
        return y
    if np.abs(known).max(initial=0) >= 2**53:
        return y
    return as_labels([int(v) if v == v else None for v in y.tolist()])  # noqa: PLR0124
