"""What a report of experiments is made of: tables of texts, which HTML and Markdown both draw."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gssl_poison.experiments.comparison import (
    NEAR_POINTS,
    NOT_PRINTED,
    NOT_RUN,
    SAME_POINTS,
    Estimate,
)
from gssl_poison.experiments.names import signed

from ._format import NBSP

# Coefficients are printed with two decimals: the same is what rounds to them.
SAME_COEFFICIENT, NEAR_COEFFICIENT = 0.005, 0.05
SIGNS = {"same": "=", "near": "\u2248", "far": "\u2260"}
_UNSAFE = re.compile("[^\t\n\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SUPERSCRIPT = str.maketrans(
    "-0123456789", "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079"
)


@dataclass(frozen=True)
class Value:
    """One field of a table.

    Attributes
    ----------
    text : str
    tone : {"", "same", "near", "far", "absent"}
        How it is coloured; the text itself has a sign of the same meaning.
    """

    text: str
    tone: str = ""


@dataclass(frozen=True)
class Column:
    """One column: its name, below the name of its group if it has one."""

    name: str
    group: str = ""
    numeric: bool = True


@dataclass(frozen=True)
class Line:
    """One row: names first, then values.

    Attributes
    ----------
    heads : tuple of str
    repeated : int
        How many of them are those of the line before.
    values : tuple of Value
    """

    heads: tuple[str, ...]
    repeated: int
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes
    ----------
    title : str
    about : str
        A sentence or two on what it holds.
    heads : tuple of str
        Names of the columns of names.
    columns : tuple of Column
    lines : tuple of Line
    foot : str
        What is to be known of its figures; may be empty.
    """

    title: str
    about: str
    heads: tuple[str, ...]
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    foot: str = ""

    @property
    def groups(self) -> tuple[tuple[str, int], ...]:
        """Return the names over the columns, and how many columns each is over."""
        found: list[tuple[str, int]] = []
        for column in self.columns:
            if found and found[-1][0] == column.group:
                found[-1] = (column.group, found[-1][1] + 1)
            else:
                found.append((column.group, 1))
        return tuple(found)

    @property
    def grouped(self) -> bool:
        """Whether any column has a name over it."""
        return any(column.group for column in self.columns)

    @property
    def starts(self) -> frozenset[int]:
        """Return the columns that begin a group, where a line is drawn before them."""
        places, at = [], 0
        for _, span in self.groups:
            places.append(at)
            at += span
        return frozenset(places)


ABSENT = Value(NOT_RUN, "absent")
UNPRINTED = Value(NOT_PRINTED, "absent")
NONE = Value("\u2013", "absent")


def make_lines(rows: Iterable[tuple[Sequence[str], Sequence[Value]]]) -> tuple[Line, ...]:
    """Mark which names of each row are those of the row before."""
    found: list[Line] = []
    before: Sequence[str] = ()
    for heads, values in rows:
        repeated = 0
        while repeated < min(len(before), len(heads) - 1) and heads[repeated] == before[repeated]:
            repeated += 1
        found.append(Line(tuple(heads), repeated, tuple(values)))
        before = heads
    return tuple(found)


def points(found: Estimate | None) -> Value:
    """Write an error in per cent, with its deviation over seeds."""
    return _estimate(found, 100.0, 2)


def coefficient(found: Estimate | None) -> Value:
    """Write a correlation, with its deviation over seeds."""
    return _estimate(found, 1.0, 3)


def _estimate(found: Estimate | None, scale: float, decimals: int) -> Value:
    if found is None:
        return ABSENT
    if math.isnan(found.value):
        return Value("undefined", "absent")
    text = f"{scale * found.value:.{decimals}f}".replace("-", "\u2212")
    if not math.isnan(found.deviation):
        text += f"{NBSP}\u00b1{NBSP}{scale * found.deviation:.{decimals}f}"
    return Value(text)


def printed_value(paper: float | None, scale: float = 100.0) -> Value:
    """Write a figure of the paper as it is printed, with two decimals."""
    return UNPRINTED if paper is None else Value(f"{scale * paper:.2f}")


def difference_value(difference: float | None, column: str = "error") -> Value:
    """Write a difference, signed, with a mark and a tone that say how large it is."""
    if difference is None:
        return NONE
    tone = tone_of(difference, column)
    decimals = 2 if column == "error" else 3
    return Value(f"{SIGNS[tone]}{NBSP}{signed(difference, decimals)}", tone)


def tone_of(difference: float, column: str = "error") -> str:
    """Tell whether a difference is none to speak of, small, or large.

    Examples
    --------
    >>> tone_of(0.05), tone_of(-1.0), tone_of(1.01), tone_of(0.02, "kendall")
    ('same', 'near', 'far', 'near')
    """
    same, near = SAME_POINTS, NEAR_POINTS
    if column != "error":
        same, near = SAME_COEFFICIENT, NEAR_COEFFICIENT
    size = abs(difference) - 1e-9
    return "same" if size <= same else "near" if size <= near else "far"


def probability(p: float) -> str:
    """Write a p-value with two digits.

    Examples
    --------
    >>> probability(0.03125), probability(1.65e-13).split()[0]
    ('0.031', '1.7')
    """
    if p >= 1e-4:
        return f"{p:.2g}"
    digits, _, power = f"{p:.1e}".partition("e")
    return f"{digits} \u00d7 10{str(int(power)).translate(_SUPERSCRIPT)}"


def duration(seconds: float) -> str:
    """Write a time in the unit in which it is read best.

    Examples
    --------
    >>> [duration(s).replace(chr(160), " ") for s in (0.0123, 5, 61, 600, 4000)]
    ['0.012 s', '5.0 s', '61 s', '10.0 min', '1.1 h']
    """
    if seconds < 1:
        return f"{seconds:.2g}{NBSP}s"
    if seconds < 120:
        return f"{seconds:.{1 if seconds < 10 else 0}f}{NBSP}s"
    if seconds < 3600:
        return f"{seconds / 60:.1f}{NBSP}min"
    return f"{seconds / 3600:.1f}{NBSP}h"


def plain(text: str) -> str:
    """Replace the characters that XML and terminals have no place for.

    Examples
    --------
    >>> plain("a" + chr(0) + "b")
    'a\ufffdb'
    """
    return _UNSAFE.sub("\ufffd", text)
