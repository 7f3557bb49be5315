"""Labels by class, and the names of where they come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gssl_poison.defenses.distribution import Source, compare_classes
from gssl_poison.exceptions import InputError, InputTypeError
from gssl_poison.labels import is_missing
from gssl_poison.problem import Problem
from gssl_poison.propagation import Fitted

__all__ = ["NOT_GIVEN", "ClassRow", "Source", "class_rows", "sources_of"]

# What labels are said to come from where the data do not say.
NOT_GIVEN = "(not given)"


@dataclass(frozen=True)
class ClassRow:
    """One class among the labels and among the predictions.

    Attributes
    ----------
    name : object
        The class as the data have it.
    labels : int
        Labelled points of it.
    share, predicted_share : float
        Part of the labels, and of the predictions for points that a label reaches.
    suspects : int
        Of its labels, those that look wrong.
    z : float
        How far the share lies above the predicted one, in standard deviations: see
        `gssl_poison.defenses.ClassShift`.
    """

    name: Any
    labels: int
    share: float
    predicted_share: float
    suspects: int
    z: float


def class_rows(
    problem: Problem, prop: Fitted, suspect: npt.NDArray[np.bool_]
) -> tuple[ClassRow, ...]:
    """Return a row for every class, in their order."""
    shares = compare_classes(problem, prop)
    predicted = shares.predicted / max(1, int(shares.predicted.sum()))
    suspects = np.bincount(problem.y[suspect], minlength=problem.n_classes)
    return tuple(
        ClassRow(
            name=problem.classes[c],
            labels=int(shares.labels[c]),
            share=float(shares.labels[c] / problem.y.size),
            predicted_share=float(predicted[c]),
            suspects=int(suspects[c]),
            z=float(shares.residual[c]),
        )
        for c in range(problem.n_classes)
    )


def sources_of(
    provenance: Any, labeled: npt.NDArray[np.int64], n_points: int
) -> tuple[tuple[str, ...], list[str]]:
    """Return where each label comes from, as text (l,), and a note where that is not said.

    Examples
    --------
    >>> sources_of(["Ann", None, "", 7], np.array([0, 2, 3]), 4)[0]
    ('Ann', '(not given)', '7')
    """
    if isinstance(provenance, str | bytes) or not hasattr(provenance, "__len__"):
        raise InputTypeError(
            f"provenance is of type {type(provenance).__name__}; give a sequence that says for "
            "each row of X where its label comes from."
        )
    values: Sequence[Any] = list(provenance)
    if len(values) != n_points:
        raise InputError(
            f"provenance has {len(values):,} entries and X has {n_points:,} rows; give one for "
            "each row, in the same order."
        )
    names = tuple(
        NOT_GIVEN if is_missing(values[row]) else str(values[row]).strip()
        for row in labeled.tolist()
    )
    empty = names.count(NOT_GIVEN)
    if not empty:
        return names, []
    whose = "1 label comes" if empty == 1 else f"{empty:,} labels come"
    return names, [f"Where {whose} from is not given; they count as one source, {NOT_GIVEN!r}."]
