"""Column names: which are allowed, and which one holds the labels."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from gssl_poison.exceptions import InputError
from gssl_poison.readers.cells import DECIMAL

if TYPE_CHECKING:
    from collections.abc import Sequence

LABEL_NAMES = ("label", "y", "target", "class")


def check_names(
    where: str, names: Sequence[str], label: str | None, provenance: str | None = None
) -> str:
    """Refuse columns without a name or with the same one; return the label column."""
    for place, name in enumerate(names, 1):
        if not name or name.startswith(("Unnamed: ", "__index_level_")):
            raise InputError(
                f"column {place} of {where} has no name of its own ({name!r}): it looks like saved "
                "row numbers, which would count as a feature; drop it (in pandas: write with "
                "index=False), or name it."
            )
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError(
            f"{where} has several columns named {shown(twice)}; give every column its own name."
        )
    if provenance is not None and provenance not in names:
        raise InputError(
            f"{where} has no column {provenance!r}; its columns are {shown(names)}. Name the one "
            "that says where labels come from (provenance=, --provenance), or leave it out."
        )
    if label is not None and label == provenance:
        raise same_column(where, label)
    label = _find_label(where, [name for name in names if name != provenance], label)
    if len(names) == 1:
        raise InputError(f"{where} has only the label column {label!r}; add the features.")
    if len(names) == 2 and provenance is not None:
        raise InputError(
            f"{where} has only the label column {label!r} and {provenance!r}, which says where "
            "labels come from; add the features."
        )
    return label


def same_column(where: str, label: str) -> InputError:
    """Return the error for one column that is to be two things."""
    return InputError(
        f"{label!r} of {where} is named as the labels and as where they come from (provenance=, "
        "--provenance); name two."
    )


def _find_label(where: str, names: Sequence[str], label: str | None) -> str:
    """Return the name of the label column, or raise the error that lists the columns."""
    if label is not None:
        if label in names:
            return label
        raise InputError(
            f"{where} has no column {label!r}; its columns are {shown(names)}. "
            "Name the label column (label=, --label)."
        )
    found = [name for name in LABEL_NAMES if name in names]
    if found[:1] == ["label"]:  # x, y, label are points in the plane
        found = [name for name in found if name != "y"]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(
            f"{where} has {len(found)} columns that may hold the labels, {shown(found)}; "
            "say which (label=, --label), and drop the others if they are no features."
        )
    hint = ""
    if sum(DECIMAL.fullmatch(name) is not None for name in names) >= max(1, len(names) - 1):
        hint = " The first line must be a header, and here it looks like a point: add one."
    raise InputError(
        f"{where} has no column named {', '.join(LABEL_NAMES[:-1])} or {LABEL_NAMES[-1]}; its "
        f"columns are {shown(names)}. Name the label column (label=, --label).{hint}"
    )


def not_numbers(where: str, wrong: Sequence[str], first: str) -> InputError:
    """Return the error for features that are text."""
    return InputError(
        f"{where} has columns that are not numbers: {shown(wrong, most=5)} (the first holds "
        f"{first}); encode or drop them, or name the label column (label=, --label) or, for an "
        "audit, the one that says where labels come from (provenance=, --provenance)."
    )


def shown(names: Sequence[str], most: int = 12) -> str:
    """List a few names."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + more
