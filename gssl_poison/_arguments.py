"""Settings, checked where they are given."""

from __future__ import annotations

import numpy as np

from gssl_poison.exceptions import InputError


def check_whole(name: str, value: object, least: int) -> None:
    """Refuse what is not a whole number from ``least``."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise InputError(f"{name}={value!r} is not a whole number; give at least {least}.")


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Refuse a setting that is none of its choices."""
    if value not in choices:
        raise InputError(f"{name}={value!r} is not known; use one of {', '.join(choices)}.")


def check_part(name: str, value: object, below: float, *, included: bool) -> None:
    """Refuse what is not a number from 0 to a limit, which may be included or not."""
    right = isinstance(value, int | float | np.integer | np.floating)
    if isinstance(value, bool) or not right or not _within(float(value), below, included):  # type: ignore[arg-type]
        limit = f"0 to {below:g}" if included else f"0 to {below:g}, {below:g} excluded"
        raise InputError(f"{name}={value!r} is out of range; give a number from {limit}.")


def _within(value: float, below: float, included: bool) -> bool:
    """Tell whether a number lies between 0 and a limit; NaN does not."""
    return 0.0 <= value <= below and (included or value < below)
