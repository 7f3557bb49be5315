"""What `gssl-poison audit` does: read the points and what people answered, audit, compare."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gssl_poison._arrays import as_features
from gssl_poison._inputs import read_gamma, read_points
from gssl_poison.exceptions import InputError
from gssl_poison.review.answers import read_answers
from gssl_poison.review.auditing import Audit, audit

if TYPE_CHECKING:
    from gssl_poison.datasets import Dataset

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Audited:
    """An audit, the one before it where that was asked for, and how many suspects are tolerated."""

    dataset: Dataset
    audit: Audit
    n_features: int
    allowed: int
    before: Audit | None = None
    before_name: str = ""

    @property
    def passed(self) -> bool:
        """Whether there are no more suspects than tolerated."""
        return self.audit.n_suspects <= self.allowed


@dataclass(frozen=True)
class Comparison:
    """What differs from the labels before.

    Attributes
    ----------
    relabelled, added, removed : int
        Points whose label is another one, that have one now, and that had one.
    predictions : int
        Points unlabelled in both that are predicted otherwise.
    common : int
        Points unlabelled in both.
    """

    relabelled: int
    added: int
    removed: int
    predictions: int
    common: int


def run_audit(
    source: str,
    *,
    label: str | None,
    unlabeled: str | None,
    labeled: str | None,
    seed: int,
    provenance: str | None,
    answers: Path | None,
    before: str | None,
    allow: str,
    gamma: str,
    graph: str,
    influence: str,
    certificate: bool,
    device: str,
    progress: Progress | None,
) -> Audited:
    """Read what the options name, refusing what cannot work before the first long step."""
    tolerated = read_allow(allow)
    dataset, mark = read_points(source, label, unlabeled, labeled, seed, provenance=provenance)
    known: dict[int, Any] = {}
    labels = dataset.y
    if answers is not None:
        given = read_answers(answers, dataset, unlabeled=mark)
        known, labels = given.known(), given.before(dataset)
    earlier = None
    if before is not None:
        earlier = read_points(before, label, unlabeled, labeled, seed, provenance=provenance)
        check_same_points(dataset, earlier[0], before)

    def look(some: Dataset, mark: Any, bandwidth: float | str, known: dict[int, Any]) -> Audit:
        return audit(
            some.X,
            labels if some is dataset else some.y,
            gamma=bandwidth,
            influence=influence,
            graph=graph,
            unlabeled=mark,
            provenance=some.provenance,
            answers=known,
            device=device,
            certificate=certificate,
            progress=progress,
        )

    found = look(dataset, mark, read_gamma(gamma), known)
    # Where a rule found gamma, it would find another one for other labelled points.
    same = read_gamma(gamma) if graph != "rbf" or found.gamma is None else found.gamma
    return Audited(
        dataset=dataset,
        audit=found,
        n_features=int(dataset.X.shape[1]),
        allowed=tolerated(found.problem.y.size),
        before=None if earlier is None else look(*earlier, same, {}),
        before_name=before or "",
    )


def read_allow(text: str) -> Callable[[int], int]:
    """Read --allow: a whole number is a count of suspects, anything else a part of the labels.

    Examples
    --------
    >>> read_allow("3")(650), read_allow("0.01")(650)
    (3, 6)
    """
    try:
        value = int(text) if text.strip().isdigit() else float(text)
    except ValueError:
        value = -1
    if isinstance(value, int) and value >= 0:
        return lambda _: value
    if not 0.0 < value < 1.0:
        raise InputError(
            f"--allow {text!r} is out of range; give a number of suspects (0, 3) or a part of the "
            "labels between 0 and 1 (0.01)."
        )
    # 0.29 * 100 is 28.999...: what is whole but for its last digits is whole.
    return lambda n_labeled: int(value * n_labeled + 1e-9)


def check_same_points(now: Dataset, before: Dataset, name: str) -> None:
    """Refuse to compare labels of other points, or of the same ones in another order."""
    from scipy import sparse

    shapes = tuple(now.X.shape), tuple(before.X.shape)
    if shapes[0] != shapes[1]:
        raise InputError(
            f"--before {name} has {shapes[1][0]:,} points of {shapes[1][1]:,} features, and "
            f"{now.name} has {shapes[0][0]:,} of {shapes[0][1]:,}; give the same points with "
            "other labels."
        )
    first, second = as_features(now.X), as_features(before.X)
    if sparse.issparse(first) or sparse.issparse(second):
        differ: Any = sparse.csr_array(first) != sparse.csr_array(second)
        rows = differ.nonzero()[0]
    else:
        rows = np.flatnonzero((first != second).any(axis=1))
    if rows.size:
        raise InputError(
            f"--before {name} has other features than {now.name}, first in row {rows.min():,} (the "
            "first row is 0); give the same points in the same order, with other labels."
        )


def compare(now: Audit, before: Audit) -> Comparison:
    """Say how labels and predictions differ between two audits of the same points."""
    from gssl_poison.metrics import predictions

    n = now.problem.graph.n_points
    labels, predicted = [], []
    for some in (before, now):
        names = np.array([str(name) for name in some.problem.classes], dtype=object)
        have, seen = (np.full(n, "", dtype=object) for _ in range(2))
        have[some.problem.labeled] = names[some.problem.y]
        seen[some.problem.unlabeled] = names[predictions(some.prop, some.problem)]
        labels.append(have)
        predicted.append(seen)
    had, has = (_filled(column) for column in labels)
    both = _filled(predicted[0]) & _filled(predicted[1])
    return Comparison(
        relabelled=int((had & has & (labels[0] != labels[1])).sum()),
        added=int((has & ~had).sum()),
        removed=int((had & ~has).sum()),
        predictions=int((both & (predicted[0] != predicted[1])).sum()),
        common=int(both.sum()),
    )


def _filled(column: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Tell where a column holds something."""
    return np.array(column != "", dtype=np.bool_)
