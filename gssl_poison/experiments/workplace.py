"""What the cells of a group share: data, graph, fitted victims, poisons; made once, if asked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from gssl_poison._arrays import as_features
from gssl_poison.attacks import make_attack
from gssl_poison.attacks.published import Published
from gssl_poison.datasets import drawn_rows, train_and_test
from gssl_poison.defenses import Checks, make_repair
from gssl_poison.experiments.studies import Roles, Study, roles_of, study_of
from gssl_poison.graph import RBFGraph
from gssl_poison.problem import Poison, Problem, count_flips
from gssl_poison.propagation import Direct, Fitted, Predicted, Propagator, Spreading
from gssl_poison.propagation.stored import RowsMatrix
from gssl_poison.review.fingerprints import fingerprint_data

Integers = npt.NDArray[np.int64]
T = TypeVar("T")

# The paper's effort: of the flips, a third is checked, or as many points are labelled.
EFFORT = 3
_REPAIRS = {"relabel": "relabel-mir", "label-more": "label-random"}


@dataclass(frozen=True, eq=False)
class Prepared:
    """A data set as the experiments take it: two parts with class codes, and their fingerprint."""

    study: Study
    X: Any = field(repr=False)
    codes: Integers = field(repr=False)
    X_test: Any = field(repr=False)
    codes_test: Integers = field(repr=False)
    n_classes: int
    fingerprint: str


@lru_cache(maxsize=2)
def prepare(dataset: str) -> Prepared:
    """Read a data set, both parts; kept, as many cells of a process want it.

    Raises
    ------
    InputError
        The experiments have no such data set, or its file is not what its name says.
    DatasetNotFoundError
        Its file is not here.

    Examples
    --------
    >>> data = prepare("digits-1-7")
    >>> data.X.shape, data.X_test.shape
    ((289, 64), (72, 64))
    """
    study = study_of(dataset)
    train, test = train_and_test(dataset)
    classes = sorted(set(train.y.tolist()))
    place = {label: code for code, label in enumerate(classes)}
    codes, codes_test = (
        np.array([place[label] for label in part.y.tolist()], dtype=np.int64)
        for part in (train, test)
    )
    X, X_test = as_features(train.X), as_features(test.X)
    found = hashlib.sha256()
    for part in (fingerprint_data(X), fingerprint_data(X_test)):
        found.update(part.encode())
    for labels in (codes, codes_test):
        found.update(np.ascontiguousarray(labels, dtype="<i8").tobytes())
    return Prepared(study, X, codes, X_test, codes_test, len(classes), found.hexdigest()[:16])


@cache
def fingerprint_of(dataset: str) -> str:
    """Return the fingerprint of a data set, both parts, features and labels."""
    return prepare(dataset).fingerprint


@cache
def size_of(dataset: str) -> int:
    """Return the number of training points of a data set."""
    return int(prepare(dataset).codes.size)


class Workplace:
    """The matrices of one data set, preset and seed, computed when the first cell asks for them.

    Parameters
    ----------
    data : Prepared
    preset : {"corrected", "replication"}
    seed : int
        Of the choice of labels and of the attacks.
    parts : tuple of float
        The parts labelled that cells will ask for: every smaller one is a beginning of the largest,
        and label spreading, which clamps nothing, has one M for all of them.
    device : {"cpu", "cuda"}, default "cpu"
        Where they are computed.
    """

    def __init__(
        self,
        data: Prepared,
        preset: str,
        seed: int,
        parts: tuple[float, ...],
        device: str = "cpu",
    ) -> None:
        self.data = data
        self.preset = preset
        self.seed = seed
        self.largest = max(parts)
        self.graph = RBFGraph(data.X, data.study.gamma, device=device)
        self._kept: dict[tuple[Any, ...], Any] = {}

    def _once(self, key: tuple[Any, ...], make: Callable[[], T]) -> T:
        if key not in self._kept:
            self._kept[key] = make()
        made: T = self._kept[key]
        return made

    def forget(self, labeled: float) -> None:
        """Drop what only the cells of one part labelled share."""
        self._kept = {key: made for key, made in self._kept.items() if key[-1] != labeled}

    def roles(self, victim: str) -> Roles:
        """Return the propagators that score and that infer."""
        return roles_of(victim, self.preset)

    def problem(self, labeled: float) -> Problem:
        """Return the problem, labelled points in the order of the draw."""

        def make() -> Problem:
            rows = drawn_rows(self.graph.n_points, labeled, self.seed)
            codes = self.data.codes
            return Problem(self.graph, rows, codes[rows], codes, self.data.n_classes)

        return self._once(("problem", labeled), make)

    def direct(self, labeled: float) -> Fitted:
        """Return one step of propagation, which MIR reads."""
        return self._once(
            ("direct", labeled), lambda: Direct().fit(self.graph, self.problem(labeled).labeled)
        )

    def fitted(self, propagator: Propagator, labeled: float) -> Fitted:
        """Return a fitted propagator; what has M in memory already is taken first."""
        stored = self._kept.get(("stored", propagator, labeled))
        if stored is not None:
            return stored  # type: ignore[no-any-return]
        if isinstance(propagator, Direct):
            return self.direct(labeled)
        return self._once(
            ("fitted", propagator, labeled),
            lambda: propagator.fit(self.graph, self.problem(labeled).labeled),
        )

    def stored(self, propagator: Propagator, labeled: float) -> Fitted:
        """Return a fitted propagator with its M in memory."""
        if isinstance(propagator, Direct):
            return self.direct(labeled)

        def make() -> Fitted:
            if isinstance(propagator, Predicted):
                return propagator.after(self.stored(propagator.inner, labeled)).stored()
            if isinstance(propagator, Spreading):
                return _first_labels(self._whole(propagator), self.problem(labeled).labeled)
            return self.fitted(propagator, labeled).stored()

        return self._once(("stored", propagator, labeled), make)

    def _whole(self, propagator: Spreading) -> Fitted:
        """Return M of the largest part labelled, by elimination where the limit is wanted."""

        def make() -> Fitted:
            # Equal, and cheaper than the series where all columns are wanted.
            method = "gth" if propagator.n_iter is None else propagator.method
            wanted = replace(propagator, method=method)
            return wanted.fit(self.graph, self.problem(self.largest).labeled).stored()

        return self._once(("whole", propagator, None), make)

    def surrogate(self, attack: str, labeled: float) -> Fitted | Published:
        """Return what an attack reads: one step, the published K, or the victim's M."""
        if attack in ("mir", "random"):
            return self.direct(labeled)
        if self.preset == "replication":
            return self._once(("K", labeled), lambda: Published.of(self.problem(labeled)))
        return self.stored(self.roles(self.data.study.victims[0]).scored, labeled)

    def poisons(
        self, attack: str, labeled: float, budgets: tuple[float, ...]
    ) -> dict[float, Poison]:
        """Return the flips of an attack at some budgets."""
        method = make_attack(attack, preset=self.preset, random_state=self.seed)
        problem, reads = self.problem(labeled), self.surrogate(attack, labeled)
        counts = {budget: count_flips(budget, problem.y.size) for budget in budgets}
        most = method.attack(problem, reads, max(counts.values()))
        return {
            budget: most.first(count)
            if method.nested or count == max(counts.values())
            else method.attack(problem, reads, count)
            for budget, count in counts.items()
        }

    def repaired(self, repair: str, labeled: float, poison: Poison) -> Checks:
        """Return what a repair makes of poisoned labels, with an effort of a third of the flips."""
        poisoned = self.problem(labeled).poisoned(poison)
        method = make_repair(_REPAIRS[repair], random_state=self.seed)
        effort = max(1, len(poison) // EFFORT)
        return method.check(poisoned, self.direct(labeled), effort, self.data.codes)


def _first_labels(whole: Fitted, labeled: Integers) -> Fitted:
    """Return an M that clamps nothing for fewer labels: its first columns."""
    operator = whole.operator
    assert isinstance(operator, RowsMatrix)  # noqa: S101 - what `stored` makes where nothing is clamped
    if labeled.size == whole.labeled.size:
        return whole
    values = operator.values[:, : labeled.size].copy()
    return replace(
        whole,
        labeled=labeled,
        unlabeled=np.setdiff1d(np.arange(whole.graph.n_points, dtype=np.int64), labeled),
        operator=RowsMatrix.of(values, operator.log_sum, whole.unreached),
        without_own=None,
    )
