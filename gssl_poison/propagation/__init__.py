"""Propagators: what maps labels to scores by one matrix M that does not depend on the labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from gssl_poison.exceptions import InputError
from gssl_poison.propagation.direct import NORMALIZATIONS, Direct
from gssl_poison.propagation.fitted import Fitted
from gssl_poison.propagation.harmonic import Harmonic
from gssl_poison.propagation.loop import Propagation
from gssl_poison.propagation.predicted import Predicted
from gssl_poison.propagation.spreading import Spreading
from gssl_poison.propagation.walks import shared_weights
from gssl_poison.sparse_graph import Graph

Propagator: TypeAlias = Direct | Propagation | Harmonic | Spreading | Predicted

# What each name takes on the command line and in configs, and how its text is read.
_SETTINGS: dict[str, tuple[Any, dict[str, Callable[[str], Any]]]] = {
    "direct": (Direct, {"normalization": str}),
    "propagation": (Propagation, {"n_iter": int, "storage": str}),
    "harmonic": (Harmonic, {"unreached": str, "method": str, "tol": float}),
    "spreading": (Spreading, {"alpha": float, "n_iter": int, "storage": str, "method": str}),
}


def parse_propagator(text: str) -> Propagator:
    """Return the propagator that a string such as ``"spreading:alpha=0.2,n_iter=10"`` names.

    Parameters
    ----------
    text : str
        ``direct``, ``propagation``, ``harmonic`` or ``spreading``, and after a colon its settings,
        separated by commas.

    Returns
    -------
    Direct, Propagation, Harmonic or Spreading

    Raises
    ------
    InputError
        The name or a setting is not known, or a value cannot be read.

    Examples
    --------
    >>> parse_propagator("propagation:n_iter=10")
    Propagation(n_iter=10, storage='auto')
    """
    name, _, rest = text.strip().partition(":")
    if name not in _SETTINGS:
        raise InputError(
            f"{text!r} names no propagator; use one of {', '.join(_SETTINGS)}, with settings after "
            "a colon, as in 'spreading:alpha=0.2,n_iter=10'."
        )
    kind, known = _SETTINGS[name]
    settings = {}
    for item in filter(None, (part.strip() for part in rest.split(","))):
        key, equals, value = (part.strip() for part in item.partition("="))
        if key not in known or not equals:
            raise InputError(
                f"{item!r} in {text!r} is no setting of {name}; it takes "
                f"{', '.join(f'{setting}=...' for setting in known)}."
            )
        if key in settings:
            raise InputError(f"{key} is given twice in {text!r}; give it once.")
        try:
            settings[key] = known[key](value)
        except ValueError:
            raise InputError(
                f"{key}={value!r} in {text!r} is not a number of the kind it must be; "
                f"give {'a whole number' if known[key] is int else 'a number'}."
            ) from None
    if kind is Propagation and "n_iter" not in settings:
        raise InputError(f"{text!r} needs its number of iterations: 'propagation:n_iter=10'.")
    propagator: Propagator = kind(**settings)
    return propagator


__all__ = [
    "NORMALIZATIONS",
    "Direct",
    "Fitted",
    "Graph",
    "Harmonic",
    "Predicted",
    "Propagation",
    "Propagator",
    "Spreading",
    "parse_propagator",
    "shared_weights",
]
