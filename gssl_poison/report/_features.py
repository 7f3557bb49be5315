"""Rows that are no images, as numbers: which features a page names, and what sets a row apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from gssl_poison.datasets import Dataset

MAX_FEATURE_COLUMNS = 6
# Labelled rows of a class that are read to say what is usual for it.
_USUAL = 500
_TELLING = 5

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Telling:
    """A feature in which a row is unlike its class: its value, and the means of two classes."""

    name: str
    value: float
    own: float
    said: float


def feature_names(dataset: Dataset) -> tuple[str, ...]:
    """Name the features worth a column: a handful, and no pixels."""
    d = int(dataset.X.shape[1])
    if dataset.image_shape is not None or d > MAX_FEATURE_COLUMNS:
        return ()
    return tuple(dataset.feature_names or (f"feature {k}" for k in range(d)))


def feature_values(dataset: Dataset, rows: Integers) -> list[tuple[float, ...]]:
    """Read the features of some rows, where `feature_names` names them; else empty tuples."""
    if not rows.size or not feature_names(dataset):
        return [()] * int(rows.size)
    return [tuple(float(value) for value in row) for row in _dense(dataset.X[rows])]


class Usual:
    """The mean row of every class, over some of its labelled rows; read when first asked for."""

    def __init__(self, dataset: Dataset, labeled: Integers, y: Integers) -> None:
        self._dataset, self._labeled, self._y = dataset, labeled, y
        self._means: dict[int, Floats] = {}

    def of(self, code: int) -> Floats:
        """Return the mean row of a class, (d,); zeros where nothing carries it."""
        if code not in self._means:
            rows = self._labeled[self._y == code]
            rows = np.sort(np.random.RandomState(0).permutation(rows)[:_USUAL])
            mean = np.zeros(int(self._dataset.X.shape[1]))
            if rows.size:
                mean = np.asarray(self._dataset.X[rows].mean(axis=0), dtype=np.float64).ravel()
            self._means[code] = mean
        return self._means[code]

    def telling(self, row: int, own: int, said: int) -> tuple[Telling, ...]:
        """Name the features that bring a row nearer to the class said than to its own.

        The squared distances to the two means differ by a sum over the features; these are its
        largest terms. Where both classes are one, the features furthest from its mean.
        """
        value = _dense(self._dataset.X[np.array([row])])[0]
        usual, other = self.of(own), self.of(said)
        pull = (value - usual) ** 2 - (0.0 if own == said else (value - other) ** 2)
        best = np.argsort(-pull, kind="stable")[:_TELLING]
        names = self._dataset.feature_names
        return tuple(
            Telling(
                names[k] if names else f"feature {k}",
                float(value[k]),
                float(usual[k]),
                float(other[k]),
            )
            for k in best.tolist()
            if pull[k] > 0.0
        )


def _dense(rows: Any) -> Floats:
    """Return rows as an array of numbers."""
    return np.asarray(rows.toarray() if hasattr(rows, "toarray") else rows, dtype=np.float64)
