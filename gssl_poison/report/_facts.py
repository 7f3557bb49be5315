"""The ranking table and its data set as plain arrays and strings, checked once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gssl_poison.exceptions import InputError

if TYPE_CHECKING:
    import pandas as pd

    from gssl_poison.datasets import Dataset

COLUMNS = ("rank", "point", "label", "mir", "total", "share")
SETTINGS = (
    "gamma",
    "gamma_rule",
    "gamma_note",
    "by",
    "normalization",
    "n_labeled",
    "n_unlabeled",
    "classes",
    "one_class",
    "undecided",
    "undominated",
)


@dataclass(frozen=True)
class Facts:
    """What every part of the report reads; arrays are in rank order, length l."""

    name: str
    point: npt.NDArray[np.int64]
    mir: npt.NDArray[np.int64]
    total: npt.NDArray[np.float64]
    share: npt.NDArray[np.float64]
    label: tuple[str, ...]
    code: npt.NDArray[np.int64]  # index of `label` in `classes`
    classes: tuple[str, ...]
    truth: tuple[str | None, ...]  # true class where it is known and differs from the label
    truth_known: bool
    settings: Mapping[str, Any]

    @property
    def n_labeled(self) -> int:
        """Number of labelled points, l."""
        return int(self.point.size)

    @property
    def n_unlabeled(self) -> int:
        """Number of unlabelled points, u."""
        return int(self.settings["n_unlabeled"])

    @property
    def by_total(self) -> bool:
        """Whether the ranking is by total influence rather than by MIR."""
        return bool(self.settings["by"] == "total")

    @property
    def influence(self) -> str:
        """The propagator whose influence was ranked, as it was asked for."""
        return str(self.settings.get("influence", "direct"))

    @property
    def kind(self) -> str:
        """The propagator's name: direct, propagation, harmonic or spreading."""
        # From "spreading:alpha=0.2", or from the repr of an object, "Spreading(alpha=0.2, ...)".
        return self.influence.partition(":")[0].partition("(")[0].strip().lower()

    @property
    def column_row(self) -> bool:
        """Whether weights were divided by their column's sum first, however that was asked for."""
        return "column-row" in (self.settings["normalization"], self.influence.rpartition("=")[2])

    @property
    def n_iter(self) -> int:
        """Iterations of a loop or of a solver."""
        return int(self.settings.get("n_iter", 1))

    @property
    def graph(self) -> str:
        """The graph, as it was asked for."""
        return str(self.settings.get("graph", "rbf"))

    @property
    def gamma(self) -> float | None:
        """The kernel coefficient, None where the graph has none."""
        gamma = self.settings["gamma"]
        return None if gamma is None else float(gamma)

    @property
    def unreached(self) -> int:
        """Unlabelled points that no label reaches."""
        return int(self.settings.get("unreached", 0))

    @property
    def shared(self) -> int:
        """Unlabelled points that labels reach, and none of them decides."""
        return int(self.settings["undominated"]) - self.unreached

    @property
    def weight(self) -> npt.NDArray[np.float64]:
        """Part of the unlabelled points each label decides, or carries when ranked by total."""
        if not self.by_total:
            return self.share
        return self.total / max(1, self.n_unlabeled - self.unreached)


def read_facts(table: pd.DataFrame, dataset: Dataset) -> Facts:
    """Check that the table is a ranking of this data set and unpack it.

    Raises
    ------
    InputError
        A column or a setting is missing, or the table does not belong to the data set.
    """
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise InputError(
            f"The table has no column {missing[0]!r}; a report needs the table that "
            "gssl_poison.rank returns, with all of its columns."
        )
    settings = {str(key): value for key, value in table.attrs.items()}
    missing = [name for name in SETTINGS if name not in settings]
    if missing:
        raise InputError(
            f"The table carries no setting {missing[0]!r} in table.attrs; a report needs the "
            "table that gssl_poison.rank returns, not one read back from a file."
        )
    n = int(dataset.X.shape[0])
    point = table["point"].to_numpy(dtype=np.int64)
    if not point.size or len(table) + int(settings["n_unlabeled"]) != n or point.max() >= n:
        raise InputError(
            f"The table ranks {len(table):,} of {len(table) + int(settings['n_unlabeled']):,} "
            f"points and the data set has {n:,} rows; give the data set that was ranked and the "
            "whole table (max_rows limits what is shown)."
        )
    label = tuple(str(value) for value in table["label"].tolist())
    classes = tuple(dict.fromkeys([*map(str, settings["classes"]), *label]))
    index = {name: code for code, name in enumerate(classes)}
    truth: tuple[str | None, ...] = (None,) * len(label)
    if dataset.truth is not None:
        known = [dataset.truth[row] for row in point.tolist()]
        truth = tuple(
            None if same_class(given, true) else str(true)
            for given, true in zip(label, known, strict=True)
        )
    return Facts(
        name=str(dataset.name),
        point=point,
        mir=table["mir"].to_numpy(dtype=np.int64),
        total=table["total"].to_numpy(dtype=np.float64),
        share=table["share"].to_numpy(dtype=np.float64),
        label=label,
        code=np.array([index[name] for name in label], dtype=np.int64),
        classes=classes,
        truth=truth,
        truth_known=dataset.truth is not None,
        settings=settings,
    )


def same_class(given: str, true: object) -> bool:
    """Compare two class names, taking 1, 1.0 and "1" for the same class."""
    if given == str(true):
        return True
    try:
        return float(given) == float(str(true))
    except ValueError:
        return False
