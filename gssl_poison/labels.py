"""Which points are labelled, and with what: the one place that decides what "unlabelled" is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gssl_poison.exceptions import InputError, InputTypeError

# Scores of two classes less than this apart tie, for the class of lower index: duplicated points
# make exact ties, which rounding would hide.
TIE = 1e-12


@dataclass(frozen=True)
class Labels:
    """A partly filled label column, split.

    Attributes
    ----------
    labeled, unlabeled : (l,), (u,) int64
        Row numbers, ascending.
    codes : (l,) int64
        Index into ``classes`` of every labelled point.
    classes : tuple
        The classes as the user wrote them, sorted.
    """

    labeled: npt.NDArray[np.int64]
    unlabeled: npt.NDArray[np.int64]
    codes: npt.NDArray[np.int64]
    classes: tuple[Any, ...]


def split_labels(y: Any, n_points: int, unlabeled: Any = None) -> Labels:
    """Split a label column into labelled and unlabelled points.

    Parameters
    ----------
    y : (n,) array-like
        Class of every point; NaN, None, an empty string or ``unlabeled`` where it is not known.
        -1 means unlabelled only where it cannot be a class: among codes 0, 1, 2, ...
    n_points : int
        Number of rows of X.
    unlabeled : scalar, optional
        The value that means unlabelled, besides the missing ones; NaN: the missing ones only.

    Returns
    -------
    Labels

    Raises
    ------
    InputError
        Lengths differ, nothing is labelled or unlabelled, labels are continuous, or -1 could
        be a class.
    InputTypeError
        Classes of several types that have no order.

    Examples
    --------
    >>> split_labels(["cat", None, "ship"], 3).labeled
    array([0, 2])
    """
    values = _as_objects(y)
    unlabeled = _plain(unlabeled)
    if len(values) != n_points:
        raise InputError(
            f"y has {len(values)} entries and X has {n_points} rows; they must be the same points "
            "in the same order."
        )
    missing = np.fromiter((is_missing(v) for v in values), dtype=bool, count=n_points)
    only_missing = unlabeled is not None and is_missing(unlabeled)
    if unlabeled is not None and not only_missing:
        marked = np.fromiter((_same(v, unlabeled) for v in values), dtype=bool, count=n_points)
        if not marked.any():
            raise InputError(
                f"unlabeled={unlabeled!r} does not occur in y; its values are "
                f"{_listed(values[~missing])}."
            )
        missing |= marked
    elif not only_missing:
        missing |= _minus_one_marks(values, missing)
    labeled = np.flatnonzero(~missing).astype(np.int64)
    rest = np.flatnonzero(missing).astype(np.int64)
    if labeled.size == 0:
        raise InputError("y has no labelled point; at least one label must be known.")
    if rest.size == 0:
        raise InputError(
            "y has no unlabelled point, so there is nothing to influence; leave the labels to be "
            "inferred empty (None or NaN), or name their value with unlabeled=."
        )
    classes, codes = encode_classes(values[labeled])
    return Labels(labeled, rest, codes, classes)


def _as_objects(y: Any) -> npt.NDArray[np.object_]:
    """Return y as a one-dimensional array of Python objects."""
    if isinstance(y, np.ma.MaskedArray):
        raise InputTypeError(
            "y is a masked array, whose mask would be lost; pass y.filled(...) with None or NaN "
            "where a label is not known."
        )
    module = type(y).__module__.partition(".")[0]
    if module == "torch":
        y = y.detach().cpu().tolist()
    elif module == "cupy":
        y = y.get()
    elif module == "pandas":
        y = y.to_numpy(dtype=object) if hasattr(y, "to_numpy") else np.asarray(y, dtype=object)
    if isinstance(y, list | tuple):
        items = list(y)
    else:
        array = np.asarray(y)
        if array.ndim == 2 and array.shape[1] == 1:
            array = array[:, 0]
        if array.ndim != 1:
            raise InputError(f"y has shape {array.shape}; pass one label per row (n,).")
        items = array.tolist()
    values = np.empty(len(items), dtype=object)
    values[:] = [_plain(item) for item in items]
    return values


def _plain(value: Any) -> Any:
    """Return a numpy scalar as the Python value it holds; refuse what cannot be a label."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, list | dict | set | np.ndarray):
        raise InputTypeError(
            f"y holds {value!r}, a {type(value).__name__}; a label must be a name or a number."
        )
    return value


def is_missing(value: Any) -> bool:
    """Tell whether a label is NaN, None, pandas' NA, NaT or an empty cell."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(value, str | bytes):
        return not value.strip()
    return bool(value != value)  # noqa: PLR0124 - of all values only NaN, of any type, differs


def _same(value: Any, mark: Any) -> bool:
    """Compare a label with the mark: equal numbers are equal whatever their type, True is not 1."""
    if isinstance(value, bool) != isinstance(mark, bool):
        return False
    return bool(value == mark)


def _minus_one_marks(
    values: npt.NDArray[np.object_], missing: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Return where -1 means unlabelled; refuse where it could be a class."""
    marks = np.zeros(values.size, dtype=bool)
    present = set(values[~missing].tolist())
    numbers = {v for v in present if isinstance(v, int | float) and not isinstance(v, bool)}
    as_text = {v.strip() for v in present if isinstance(v, str)} & {"-1", "-1.0"}
    if -1 not in numbers and not as_text:
        return marks
    others = numbers - {-1}
    plain_codes = len(numbers) == len(present) and bool(others) and all(v >= 0 for v in others)
    if not plain_codes or others == {1}:
        raise InputError(
            f"the labels are {_listed(values[~missing])}, and -1 may be a class or mean "
            "unlabelled; say which with unlabeled=-1 or, where only empty cells are unlabelled, "
            "unlabeled=nan (--unlabeled on the command line)."
        )
    marks[:] = [isinstance(v, int | float) and v == -1 for v in values]
    return marks


def encode_classes(
    labels: npt.NDArray[np.object_],
) -> tuple[tuple[Any, ...], npt.NDArray[np.int64]]:
    """Return the sorted classes and the code of every label (l,)."""
    distinct = set(labels.tolist())
    kinds = sorted({type(v).__name__ for v in labels})
    if "bool" in kinds and len(kinds) > 1:
        raise InputTypeError(
            f"the labels mix {' and '.join(kinds)}, of which True equals 1; use one type."
        )
    continuous = sorted(v for v in distinct if isinstance(v, float) and not v.is_integer())[:3]
    if continuous:
        raise InputError(
            f"label {continuous[0]!r} is not a class: labels must be names or whole numbers; "
            "bin a continuous target first."
        )
    try:
        classes = tuple(sorted(distinct))
    except TypeError as error:
        raise InputTypeError(
            f"the labels mix {' and '.join(kinds)}, which have no common order; use one type."
        ) from error
    position = {value: code for code, value in enumerate(classes)}
    codes = np.fromiter((position[v] for v in labels), dtype=np.int64, count=labels.size)
    return classes, codes


def _listed(values: npt.NDArray[np.object_]) -> str:
    """List a few distinct values for an error message."""
    distinct = sorted({repr(v) for v in values.tolist()})
    return ", ".join(distinct[:6]) + (", ..." if len(distinct) > 6 else "")
