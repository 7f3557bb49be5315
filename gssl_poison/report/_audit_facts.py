"""What the page about an audit reads: the audit, checked against the data, and what follows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gssl_poison.exceptions import InputError
from gssl_poison.metrics import predictions
from gssl_poison.problem import Poison

from ._facts import same_class

if TYPE_CHECKING:
    from gssl_poison.datasets import Dataset
    from gssl_poison.review.auditing import Audit

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Findings:
    """An audit with what the page adds to it; l labelled and u unlabelled points.

    Attributes
    ----------
    name : str
        Of the data.
    audit : Audit
    classes : tuple of str
    order : (l,) int64
        Positions, most worth checking first.
    rank : (l,) int64
        Place of every position in that order, from 1.
    suspects : (s,) int64
        Positions of the suspects, in that order.
    predicted : (u,) int64
    hang : int
        Predictions that change if every suspect becomes the class that the others say, its own
        left out.
    truth : tuple of (str or None), or None
        The true class of every position whose label differs from it, where truth is known.
    """

    name: str
    audit: Audit
    classes: tuple[str, ...]
    order: Integers
    rank: Integers
    suspects: Integers
    predicted: Integers = field(repr=False)
    hang: int
    truth: tuple[str | None, ...] | None

    @property
    def n_labeled(self) -> int:
        """Number of labelled points, l."""
        return int(self.audit.problem.y.size)

    @property
    def n_unlabeled(self) -> int:
        """Number of unlabelled points, u."""
        return int(self.predicted.size)

    @property
    def n_suspects(self) -> int:
        """Number of suspects, s."""
        return int(self.suspects.size)

    @property
    def n_checked(self) -> int:
        """Number of labels that a person has looked at."""
        return int(np.count_nonzero(self.audit.checked))

    @property
    def point(self) -> Integers:
        """Row numbers of the labelled points."""
        return self.audit.problem.labeled

    @property
    def code(self) -> Integers:
        """Class codes of the labels."""
        return self.audit.problem.y

    @property
    def heard(self) -> npt.NDArray[np.bool_]:
        """Whether any other label speaks at a labelled point, (l,)."""
        return np.asarray((self.audit.voices >= 0).any(axis=1))

    @property
    def one_class(self) -> bool:
        """Whether all labels are of one class."""
        return bool((self.code == self.code[0]).all())

    def label(self, position: int) -> str:
        """Name the class of a label."""
        return self.classes[int(self.code[position])]


def find(audit: Audit, dataset: Dataset) -> Findings:
    """Check that an audit is of this data set, and work out what hangs on its suspects.

    Raises
    ------
    InputError
        The data set has another number of rows.
    """
    problem = audit.problem
    n = int(dataset.X.shape[0])
    if problem.graph.n_points != n:
        raise InputError(
            f"the audit is of {problem.graph.n_points:,} points and the data set has {n:,} rows; "
            "give the data set that was audited."
        )
    l = problem.y.size  # noqa: E741 - the number of labelled points, everywhere
    order = audit.order
    rank = np.empty(l, dtype=np.int64)
    rank[order] = np.arange(1, l + 1)
    suspects = order[audit.suspect[order]]
    predicted = predictions(audit.prop, problem)
    hang = 0
    turned = suspects[audit.instead[suspects] != problem.y[suspects]]
    if turned.size:
        new = audit.instead[turned]
        correction = Poison(turned, problem.y[turned], new, np.zeros(turned.size))
        hang = int(np.count_nonzero(predictions(audit.prop, problem, correction) != predicted))
    classes = tuple(str(name) for name in problem.classes)
    truth: tuple[str | None, ...] | None = None
    if dataset.truth is not None:
        truth = tuple(
            None if same_class(classes[code], dataset.truth[row]) else str(dataset.truth[row])
            for row, code in zip(problem.labeled.tolist(), problem.y.tolist(), strict=True)
        )
    return Findings(
        str(dataset.name), audit, classes, order, rank, suspects, predicted, hang, truth
    )
