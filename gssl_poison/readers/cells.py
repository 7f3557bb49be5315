"""Label cells: from text to the values a person would call them."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gssl_poison.exceptions import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scipy.sparse import csr_array

# At most 18 digits, so that every whole number fits int64, and no leading zero: 007 is a name.
WHOLE = re.compile(r"[+-]?(0|[1-9][0-9]{0,17})")
DECIMAL = re.compile(r"[+-]?((0|[1-9][0-9]{0,17})(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")


class Content(NamedTuple):
    """What a reader finds in a file."""

    X: npt.NDArray[Any] | csr_array
    y: npt.NDArray[Any]
    feature_names: tuple[str, ...] | None = None
    image_shape: tuple[int, ...] | None = None
    provenance: npt.NDArray[np.object_] | None = None
    label: str | None = None
    columns: tuple[str, ...] = ()


def parse_label_value(text: str, y: npt.ArrayLike) -> Any:
    """Find the label that a text from the command line means.

    Parameters
    ----------
    text : str
        A label as a person types it. ``""`` and ``"nan"``, unless they occur as text, mean the
        missing labels.
    y : (n,) array-like
        The labels.

    Returns
    -------
    object
        The value as it occurs in `y`: a str, int, float or bool; NaN for the missing labels.

    Raises
    ------
    InputError
        No label of `y` is meant.

    Examples
    --------
    >>> parse_label_value("-1", [1, -1, 7]), parse_label_value("1", ["1", "7"])
    (-1, '1')
    """
    values = _distinct(y)
    if text in values:  # y holds text
        return text
    typed = text.strip()
    number = float(typed) if DECIMAL.fullmatch(typed) else None
    for value in values:
        if isinstance(value, bool):
            if typed.lower() == str(value).lower():
                return value
        elif isinstance(value, int | float) and value == number:
            return value
    if typed.lower() in ("", "nan"):
        return math.nan
    shown = ", ".join(sorted(map(repr, values))[:6]) + (", ..." if len(values) > 6 else "")
    raise InputError(
        f"the label {text!r} does not occur; the labels there are {shown or 'all missing'}."
    )


def _distinct(y: npt.ArrayLike) -> list[Any]:
    """Return the different labels that are not missing, as Python values, in order."""
    array = y if isinstance(y, np.ndarray) else np.asarray(y, dtype=object)
    values = (v.item() if isinstance(v, np.generic) else v for v in array.tolist())
    return [v for v in dict.fromkeys(values) if v is not None and v == v and v != ""]  # noqa: PLR0124


def parse_labels(texts: Sequence[str], codes: npt.NDArray[np.intp]) -> npt.NDArray[Any]:
    """Give label cells the type they all have: whole numbers, else numbers, else text.

    Parameters
    ----------
    texts : sequence of str
        The different cells.
    codes : (n,) int
        Which of them stands in each row.

    Returns
    -------
    (n,) ndarray
        int64, float64 (NaN where missing), or object (None where missing).
    """
    cells = [text.strip() for text in texts]
    given = [cell for cell in cells if cell]
    numbers = [cell for cell in given if cell.lower() != "nan"]
    values: list[Any]
    if all(map(WHOLE.fullmatch, numbers)):
        values = [int(cell) if WHOLE.fullmatch(cell) else None for cell in cells]
    elif all(DECIMAL.fullmatch(c) and math.isfinite(float(c)) for c in numbers):
        decimals = [float(c) if c and c.lower() != "nan" else math.nan for c in cells]
        return np.array(decimals, dtype=np.float64)[codes]
    else:
        values = [text if cell else None for text, cell in zip(texts, cells, strict=True)]
    return as_labels(values, codes)


def as_labels(values: Sequence[Any], codes: npt.NDArray[np.intp] | None = None) -> npt.NDArray[Any]:
    """Return int64 where all values are whole numbers, else an object array of them as they are."""
    if values and all(type(value) is int and abs(value) < 2**63 for value in values):
        whole = np.array(values, dtype=np.int64)
        return whole if codes is None else whole[codes]
    objects = np.empty(len(values), dtype=object)
    objects[:] = values
    return objects if codes is None else objects[codes]


def as_sources(
    values: Sequence[Any], codes: npt.NDArray[np.intp] | None = None
) -> npt.NDArray[np.object_]:
    """Return where labels come from, as text: 7 and 7.0 are '7', None where nothing is said."""
    names = np.empty(len(values), dtype=object)
    names[:] = [_source(value) for value in values]
    return names if codes is None else names[codes]


def _source(value: Any) -> str | None:
    """Return one name as text, None where there is none."""
    if value is None or value != value:  # noqa: PLR0124 - NaN
        return None
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value) if whole else value).strip() or None
