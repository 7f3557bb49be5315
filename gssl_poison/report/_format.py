"""Numbers and names in words, as the report prints them."""

from __future__ import annotations

import math
from collections.abc import Iterable

NBSP = "\u00a0"


def count(value: float) -> str:
    """Group the thousands of a whole number: 12,357."""
    return f"{round(value):,}"


def number(value: float) -> str:
    """Show a real number with about four digits, without trailing zeros."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if 1e-3 <= abs(value) < 1e6:
        decimals = max(0, 3 - math.floor(math.log10(abs(value))))
        text = f"{value:,.{decimals}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return f"{value:.3g}"


def percent(part: float) -> str:
    """Show a part of one as a percentage; never 0 or 100 unless it is exactly that."""
    value = 100 * part
    if value in (0, 100):
        text = f"{value:.0f}"
    elif value < 0.01:
        text = "under 0.01"
    elif value < 1:
        text = f"{value:.2g}"
    elif value < 10:
        text = f"{value:.1f}"
    elif value < 99.5:
        text = f"{value:.0f}"
    else:
        text = f"{min(value, 99.9):.1f}" if value < 100 else f"{value:.0f}"
    return f"{text}{NBSP}%"


def plural(value: int, one: str, many: str | None = None) -> str:
    """Put a count before its noun: 1 label, 2,000 labels."""
    return f"{count(value)} {one if value == 1 else many or one + 's'}"


def listing(items: Iterable[str]) -> str:
    """Join names as prose does: a, b and c."""
    names = list(items)
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def short(name: str, length: int = 40) -> str:
    """Cut a long name, so that no class name can push a page apart."""
    return name if len(name) <= length else name[: length - 1] + "\u2026"
