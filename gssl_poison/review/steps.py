"""The steps of an audit: what the other labels say, what would change, what can be proven."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt

from gssl_poison.certification import Certificate, certify
from gssl_poison.exceptions import InputError
from gssl_poison.influence import Progress
from gssl_poison.labels import Labels, is_missing
from gssl_poison.problem import Problem
from gssl_poison.propagation import Fitted
from gssl_poison.propagation.stored import ClampedMatrix, RowsMatrix

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# How many of the other labels are named that speak loudest at a labelled point.
N_VOICES = 5
# Seconds for the collective bound of each budget; stopped earlier it is proven too.
_PROOF_SECONDS = 10.0


def answer_codes(answers: Mapping[int, Any] | None, labels: Labels) -> dict[int, int]:
    """Turn right labels by row number into class codes by position among the labelled points."""
    place = {int(row): j for j, row in enumerate(labels.labeled)}
    code = {name: k for k, name in enumerate(labels.classes)}
    found: dict[int, int] = {}
    for row, label in (answers or {}).items():
        if row not in place:
            raise InputError(
                f"the answer {label!r} is for point {row!r}, which has no label to check; answer "
                "for labelled points only."
            )
        if is_missing(label) or label not in code:
            names = ", ".join(map(repr, labels.classes[:8]))
            raise InputError(
                f"the answer {label!r} for point {row} is no class of the data; they have {names}."
            )
        found[place[row]] = code[label]
    return found


def loudest(opinions: Floats, most: int = N_VOICES) -> tuple[Integers, Floats]:
    """Return who speaks loudest at every labelled point and how loud; ties go to the lower index.

    Examples
    --------
    >>> loudest(np.array([[0.0, 0.3, 0.7], [0.5, 0.0, 0.5], [0.0, 0.0, 0.0]]), most=2)[0]
    array([[ 2,  1],
           [ 0,  2],
           [-1, -1]])
    """
    rest = opinions.copy()
    everyone = np.arange(len(rest))
    voices = np.full((len(rest), most), -1, dtype=np.int64)
    shares = np.zeros((len(rest), most))
    for k in range(most):
        first = rest.argmax(axis=1)
        share = rest[everyone, first]
        voices[:, k] = np.where(share > 0.0, first, -1)
        shares[:, k] = share
        rest[everyone, first] = 0.0
    return voices, shares


def prove(
    problem: Problem,
    held: Fitted,
    budgets: Sequence[float],
    worst: int,
    progress: Progress | None,
) -> tuple[Certificate | None, list[str]]:
    """Prove what changes of the labels can do to the predictions; say what could not be proven.

    ``worst`` is what the worst change of one label does.
    """
    l = problem.y.size  # noqa: E741
    if problem.n_classes < 2:
        return None, []
    fitting = [b for b in budgets if not (b > l or (b < 1 and b * l < 1))]
    notes = []
    if len(fitting) < len(budgets):
        left_out = ", ".join(f"{b:g}" for b in budgets if b not in fitting)
        notes.append(
            f"There {'is 1 label' if l == 1 else f'are {l:,} labels'}, so the certificate leaves "
            f"out the budgets {left_out}."
        )
    together = isinstance(held.operator, ClampedMatrix | RowsMatrix)
    if not together:
        notes.append(
            "M does not fit into memory, so beyond one changed label the certificate bounds every "
            "prediction by itself: no labels can turn more, and as a rule they turn fewer."
        )
    found = certify(
        problem,
        held,
        fitting or (1,),
        truth=False,
        collective=together,
        time_limit=_PROOF_SECONDS,
        progress=progress,
    )
    return _with_one(found, worst, held), notes


def _with_one(found: Certificate, worst: int, held: Fitted) -> Certificate:
    """Put what the worst change of one label does in place of a bound on it."""
    exact = worst / found.radius.size
    if 1 not in found.budgets or held.error > 0.0 or exact >= found.collective[0]:
        return found
    collective = np.array(found.collective)
    collective[0] = exact
    return replace(found, collective=collective, methods=("enumeration", *found.methods[1:]))


def hold(prop: Fitted) -> Fitted:
    """Keep M in memory where it fits: what reads it more than once computes it once."""
    try:
        return prop.stored()
    except InputError:
        return prop


def versions() -> dict[str, str]:
    """Return the versions that produce an audit."""
    packages = ("gssl-poison", "numpy", "scipy", "numba", "pandas", "scikit-learn")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


class Clock:
    """Wall-clock time of one step after the other."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._started = time.perf_counter()

    def lap(self, name: str) -> None:
        """Name the step that ends now."""
        now = time.perf_counter()
        self.laps[name] = now - self._started
        self._started = now
