"""The audit of a label set: which labels look wrong, and what hangs on them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gssl_poison._arrays import as_features
from gssl_poison.certification import Certificate
from gssl_poison.defenses.distribution import SourceDominance
from gssl_poison.defenses.learned import Belief, Learned, count_turned, shares_of
from gssl_poison.defenses.opinions import against, strongest_other
from gssl_poison.influence import Progress, measure_influence
from gssl_poison.kernels.cuda import resolve_device
from gssl_poison.labels import split_labels
from gssl_poison.problem import Problem, check_fits
from gssl_poison.propagation import Direct, Fitted, Propagator, parse_propagator
from gssl_poison.ranking import build_graph
from gssl_poison.review.groups import ClassRow, Source, class_rows, sources_of
from gssl_poison.review.steps import (
    Clock,
    answer_codes,
    hold,
    loudest,
    prove,
    versions,
)
from gssl_poison.review.words import audit_words, remarks
from gssl_poison.sparse_graph import Graph

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Audit", "ClassRow", "Source", "audit", "audit_problem"]

Booleans = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Audit:
    """What an audit of a label set found, a row for every labelled point.

    Attributes
    ----------
    problem : Problem
        The points, with the labels as answers corrected them.
    prop : Fitted
        What predicts from them, and whose influence is meant.
    given : (l,) int64
        Class codes as the data have them; ``problem.y`` differs where an answer corrected one.
    mir, total : (l,) int64, (l,) float64
        Influence of every label: see `measure_influence`.
    contradiction, said : (l,) float64, (l,) int64
        Share of the other labels that speak against each one, and the class they say: see
        `gssl_poison.defenses.opinions.against`.
    instead : (l,) int64
        The class that the others say, the label's own left out: ``said`` unless that is its own.
    suspicion : (l,) float64
        Contradiction times total influence over its mean.
    probability, priority : (l,) float64
        Estimated probability that a label is wrong, and that times what a correction would
        change: see `gssl_poison.defenses.Learned`. 0 where the label was checked.
    suspect : (l,) bool
        Probability above ``Learned.threshold``, one quarter, and not checked.
    changes : (l,) int64
        Unlabelled points whose prediction changes if the label becomes ``instead``.
    voices, voice_shares : (l, 5) int64, (l, 5) float64
        The loudest other labels at each labelled point as positions in ``problem.labeled``, loudest
        first, and their share of what is said there; -1 and 0 where there are fewer.
    checked : (l,) bool
        Labels that an answer confirmed or corrected.
    certificate : Certificate or None
        What no change of k labels can do to the predictions; None where it was not asked for or
        there is one class only.
    provenance : tuple of str or None
        Where each label comes from.
    sources : tuple of Source
        A row for every such place; empty without provenance.
    class_rows : tuple of ClassRow
    gamma : float or None
    gamma_rule, gamma_note : str
    graph, influence, device : str
    versions : dict of str to str
    seconds : dict of str to float
        Wall-clock time of every step.
    notes : tuple of str
        What a reader must know about this input.
    """

    problem: Problem
    prop: Fitted = field(repr=False)
    given: Integers = field(repr=False)
    mir: Integers = field(repr=False)
    total: Floats = field(repr=False)
    contradiction: Floats = field(repr=False)
    said: Integers = field(repr=False)
    instead: Integers = field(repr=False)
    suspicion: Floats = field(repr=False)
    probability: Floats = field(repr=False)
    priority: Floats = field(repr=False)
    suspect: Booleans = field(repr=False)
    changes: Integers = field(repr=False)
    voices: Integers = field(repr=False)
    voice_shares: Floats = field(repr=False)
    checked: Booleans = field(repr=False)
    certificate: Certificate | None
    provenance: tuple[str, ...] | None = field(repr=False)
    sources: tuple[Source, ...]
    class_rows: tuple[ClassRow, ...]
    gamma: float | None
    gamma_rule: str
    gamma_note: str
    graph: str
    influence: str
    device: str
    versions: dict[str, str] = field(repr=False)
    seconds: dict[str, float] = field(repr=False)
    notes: tuple[str, ...]

    @property
    def n_suspects(self) -> int:
        """Number of labels that look wrong and nobody has checked."""
        return int(self.suspect.sum())

    @property
    def n_corrected(self) -> int:
        """Number of labels that an answer says are wrong in the data."""
        return int((self.given != self.problem.y).sum())

    @property
    def order(self) -> Integers:
        """Positions of all labels, the most worth checking first; (l,) int64."""
        # The last key counts first; what still ties keeps the order of the points. Twelve digits:
        # products of matrices may differ in the last ones from run to run.
        keys = (np.round(-key, 12) for key in (self.total, self.suspicion, self.priority))
        return np.lexsort(tuple(keys)).astype(np.int64)

    def table(self) -> pd.DataFrame:
        """Return one row a labelled point, the most worth checking first.

        Returns
        -------
        DataFrame
            ``rank`` (from 1), ``point`` (row number), ``label`` (as the data have it), ``says``
            (the class that the other labels say), ``contradiction``, ``suspicion``,
            ``probability``, ``mir``, ``total``, ``changes``, ``suspect``, ``checked``, ``answer``
            (the right label where it was checked, else None) and ``source`` (where the label comes
            from, else None).
        """
        import pandas as pd

        order, classes = self.order, self.problem.classes
        answers = [
            classes[code] if checked else None
            for code, checked in zip(self.problem.y, self.checked, strict=True)
        ]
        sources = self.provenance or (None,) * len(answers)
        return pd.DataFrame(
            {
                "rank": np.arange(1, order.size + 1),
                "point": self.problem.labeled[order],
                "label": _objects([classes[code] for code in self.given[order]]),
                "says": _objects([classes[code] for code in self.said[order]]),
                "contradiction": self.contradiction[order],
                "suspicion": self.suspicion[order],
                "probability": self.probability[order],
                "mir": self.mir[order],
                "total": self.total[order],
                "changes": self.changes[order],
                "suspect": self.suspect[order],
                "checked": self.checked[order],
                "answer": _objects([answers[j] for j in order]),
                "source": _objects([sources[j] for j in order]),
            }
        )

    def in_words(self) -> list[str]:
        """Return what was found as short sentences."""
        return audit_words(self)


def audit(
    X: Any,
    y: Any,
    *,
    gamma: float | str = "auto",
    influence: str | Propagator = "direct",
    graph: str | Graph = "rbf",
    unlabeled: Any = None,
    provenance: Sequence[Any] | npt.NDArray[Any] | None = None,
    answers: Mapping[int, Any] | None = None,
    budgets: Sequence[float] = (1, 2, 5, 10),
    device: str = "auto",
    certificate: bool = True,
    progress: Progress | None = None,
) -> Audit:
    """Audit a label set: which labels look wrong, what hangs on them, what attackers could do.

    Parameters
    ----------
    X, y : (n, d) array-like, (n,) array-like
        Features and labels as `gssl_poison.rank` takes them.
    gamma, influence, graph, unlabeled, device
        As in `gssl_poison.rank`.
    provenance : (n,) sequence, optional
        Where the label of each point comes from: a person, a batch, a supplier. What it says of
        unlabelled points is not read.
    answers : dict of int to label, optional
        Right labels as a person gave them, by row number of X. They count in place of those of y,
        are suspects no more, and teach what a wrong label looks like here.
    budgets : sequence of int or float, default (1, 2, 5, 10)
        Numbers of changed labels, or parts of all labels, that the certificate is for. Those above
        the number of labels are left out, and a note says so.
    certificate : bool, default True
        Whether to prove what changed labels can do.
    progress : callable, optional
        Called as ``progress(done, all)``.

    Returns
    -------
    Audit

    Raises
    ------
    InputError
        A value that cannot be used; the message says which, why, and what to do.
    InputTypeError
        X or y of a type that holds no numbers or labels.
    DeviceError
        The device cannot run this here.

    Notes
    -----
    Influence costs what `gssl_poison.rank` does; what the labels say of each other ``l^2 d``; the
    rest reads M once by blocks, or keeps its ``u l`` numbers where the memory holds them. Of data
    too large for that the certificate is that of single predictions. The collective bound
    of each budget takes 10 seconds at most.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0.0], [0.1], [0.2], [0.3], [0.4], [0.15], [5.0], [5.1]])
    >>> found = audit(X, ["a", "a", "b", "a", "a", None, "b", None], gamma=1.0)
    >>> sorted(found.table().query("suspect")["point"])
    [2, 6]
    """
    propagator = parse_propagator(influence) if isinstance(influence, str) else influence
    used_device, _ = resolve_device(device)
    features = as_features(X)
    labels = split_labels(y, features.shape[0], unlabeled)
    checked = answer_codes(answers, labels)
    origin, unknown = None, list[str]()
    if provenance is not None:
        origin, unknown = sources_of(provenance, labels.labeled, features.shape[0])
    started = time.perf_counter()
    built = build_graph(graph, features, gamma, labels, device=used_device)
    seconds = {"graph": time.perf_counter() - started}
    problem = Problem(built, labels.labeled, labels.codes, classes=labels.classes)
    started = time.perf_counter()
    fitted = propagator.fit(built, labels.labeled)
    seconds["fit"] = time.perf_counter() - started
    found = audit_problem(
        problem,
        fitted,
        answers=checked,
        provenance=origin,
        budgets=budgets,
        certificate=certificate,
        progress=progress,
    )
    return replace(
        found,
        graph=graph if isinstance(graph, str) else found.graph,
        influence=influence if isinstance(influence, str) else found.influence,
        device=used_device,
        seconds={**seconds, **found.seconds},
        notes=(*found.notes, *unknown),
    )


def audit_problem(
    problem: Problem,
    prop: Fitted,
    *,
    answers: Mapping[int, int] | None = None,
    provenance: Sequence[str] | None = None,
    budgets: Sequence[float] = (1, 2, 5, 10),
    certificate: bool = True,
    progress: Progress | None = None,
) -> Audit:
    """Audit the labels of a problem with a propagator that is fitted to it.

    Parameters
    ----------
    problem : Problem
        Its truth is not read.
    prop : Fitted
    answers : dict of int to int, optional
        Right class codes by position in ``problem.labeled``.
    provenance : (l,) sequence of str, optional
    budgets, certificate, progress
        As in `audit`.

    Returns
    -------
    Audit

    Examples
    --------
    >>> import numpy as np
    >>> from gssl_poison import RBFGraph
    >>> graph = RBFGraph(np.arange(6.0)[:, None], gamma=1.0)
    >>> problem = Problem(graph, labeled=[0, 1, 2, 3, 4], y=[0, 0, 1, 0, 0])
    >>> audit_problem(problem, Direct().fit(graph, problem.labeled)).suspect
    array([False, False,  True, False, False])
    """
    check_fits(problem, prop, "propagator")
    clock = Clock()
    known = {int(j): int(code) for j, code in (answers or {}).items()}
    y = np.array(problem.y)
    y[list(known)] = list(known.values())
    checked = np.zeros(y.size, dtype=np.bool_)
    checked[list(known)] = True
    corrected = replace(problem, y=y)
    direct = isinstance(prop.propagator, Direct)
    held = prop if direct and not certificate else hold(prop)
    # Direct influence is counted by routines of its own, which need no M.
    measured = measure_influence(prop if direct else held, progress=progress)
    clock.lap("influence")
    # What is said does not depend on the labels: once is enough.
    belief = Belief.of(Learned(), problem, held, known, measured)
    opinions = belief.told
    contradiction, said = against(opinions, y, problem.n_classes)
    instead, _ = strongest_other(opinions, y, y, problem.n_classes)
    voices, voice_shares = loudest(opinions)
    clock.lap("opinions")
    mean = float(measured.total.mean())
    relative = measured.total / mean if mean > 0.0 else np.ones(y.size)
    probability = np.where(checked, 0.0, belief.probability())
    turned = count_turned(shares_of(held), y, problem.n_classes)
    priority = probability * belief.change(belief.turned_of(turned))
    suspect = (probability > Learned.threshold) & ~checked
    changes = turned[np.arange(y.size), instead]
    clock.lap("changes")
    notes, proven = list[str](), None
    if certificate:
        proven, notes = prove(corrected, held, budgets, int(turned.max()), progress)
        clock.lap("certificate")
    sources: tuple[Source, ...] = ()
    if provenance is not None:
        sources = SourceDominance(provenance).sources(corrected, prop, opinions)
    by_class = class_rows(corrected, held, suspect)
    clock.lap("groups")
    bandwidth = getattr(problem.graph, "bandwidth", None)
    return Audit(
        problem=corrected,
        prop=prop,
        given=np.array(problem.y),
        mir=measured.mir,
        total=measured.total,
        contradiction=contradiction,
        said=said,
        instead=instead,
        suspicion=contradiction * relative,
        probability=probability,
        priority=priority,
        suspect=suspect,
        changes=changes,
        voices=voices,
        voice_shares=voice_shares,
        checked=checked,
        certificate=proven,
        provenance=None if provenance is None else tuple(provenance),
        sources=sources,
        class_rows=by_class,
        gamma=None if bandwidth is None else float(bandwidth.gamma),
        gamma_rule="none" if bandwidth is None else bandwidth.rule,
        gamma_note="the graph was given" if bandwidth is None else bandwidth.note,
        graph=type(problem.graph).__name__,
        influence=repr(prop.propagator),
        device=getattr(problem.graph, "device", "cpu"),
        versions=versions(),
        seconds=clock.laps,
        notes=(*remarks(corrected, measured, opinions.sum(axis=1) > 0.0), *notes),
    )


def _objects(values: Sequence[Any]) -> pd.Series[Any]:
    """Return a column of values as they are, None among them."""
    import pandas as pd

    return pd.Series(list(values), dtype=object)
