"""What every detector and every repair is, and what they check first."""

from __future__ import annotations

from typing import ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from gssl_poison.exceptions import InputError
from gssl_poison.problem import Problem
from gssl_poison.propagation import Fitted

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]

# Distances that differ by less than this part of a row's largest tie: products round them apart.
TIED = 1e-12


class Detector(Protocol):
    """A frozen dataclass of settings that scores labels: higher is more suspect.

    Class attributes say what a caller must know before: ``source``, where the method comes from;
    ``threshold``, the score above which a label is suspect where no truth sets another one.
    """

    source: ClassVar[str]
    threshold: ClassVar[float]

    def score(self, problem: Problem, propagator: Fitted) -> Floats:
        """Return how suspect every label is, (l,)."""

    def is_poisoned(
        self, problem: Problem, propagator: Fitted, threshold: float | None = None
    ) -> Booleans:
        """Return which labels score above a threshold, (l,)."""


def above(score: Floats, threshold: float | None, natural: float) -> Booleans:
    """Return which scores lie above a threshold, by default the detector's own."""
    limit = natural if threshold is None else threshold
    if isinstance(limit, bool) or not isinstance(limit, int | float | np.floating | np.integer):
        raise InputError(f"threshold={threshold!r} is not a number; give one, or None.")
    if np.isnan(limit):
        raise InputError("threshold is NaN, above which there is nothing; give a number, or None.")
    return score > limit
