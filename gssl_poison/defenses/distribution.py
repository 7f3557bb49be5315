"""Labels judged by the company they are in: their class, and the source that gave them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from gssl_poison.defenses._common import Booleans, Floats, Integers, above
from gssl_poison.defenses.opinions import against, told
from gssl_poison.exceptions import InputError, InputTypeError
from gssl_poison.metrics import predict
from gssl_poison.problem import Problem, check_fits
from gssl_poison.propagation import Fitted


@dataclass(frozen=True, eq=False)
class ClassShares:
    """How often every class is among the labels, and among the predictions.

    Attributes
    ----------
    labels, predicted : (c,) int64
        Labels of the class, and unlabelled points that are predicted to have it.
    residual : (c,) float64
        How far the labels exceed what the predictions lead to expect, in standard deviations.
    """

    labels: Integers
    predicted: Integers
    residual: Floats


def compare_classes(problem: Problem, propagator: Fitted) -> ClassShares:
    """Compare the classes of the labels with those that a propagator predicts from them.

    Parameters
    ----------
    problem : Problem
    propagator : Fitted
        The victim, which predicts. Points that no label reaches are left out.

    Returns
    -------
    ClassShares

    Notes
    -----
    The adjusted residuals of the table with two rows, labels and predictions: with ``a_c`` of l
    labels and ``b_c`` of u predictions of class c, and ``q = (a_c + b_c) / (l + u)``,

        z_c = (a_c / l - b_c / u) / sqrt(q (1 - q) (1 / l + 1 / u))

    and 0 where q is 0 or 1. Its square is Pearson's statistic of the class against all others.

    References
    ----------
    Haberman 1973, The analysis of residuals in cross-classified tables.

    Examples
    --------
    >>> import numpy as np
    >>> from gssl_poison import Direct, Problem, RBFGraph
    >>> graph = RBFGraph(np.array([[0.0], [0.1], [0.2], [5.0], [5.1], [5.2]]), gamma=1.0)
    >>> problem = Problem(graph, labeled=[0, 3], y=[0, 1])
    >>> shares = compare_classes(problem, Direct().fit(graph, [0, 3]))
    >>> shares.labels, shares.predicted, shares.residual
    (array([1, 1]), array([2, 2]), array([0., 0.]))
    """
    check_fits(problem, propagator, "propagator")
    c = problem.n_classes
    scores = propagator.apply(np.eye(c)[problem.y], normalized=True)[propagator.unlabeled]
    heard = scores[scores.sum(axis=1) > 0.0]
    labels = np.bincount(problem.y, minlength=c)
    predicted = np.bincount(predict(heard), minlength=c)
    table = np.stack([labels, predicted])
    return ClassShares(labels, predicted, _residuals(table)[0])


@dataclass(frozen=True)
class ClassShift:
    """Score a label by how far its class is more frequent among labels than among predictions.

    Notes
    -----
    The residual of `compare_classes` for the class that the label has, with its sign: all labels
    of a class score alike. Above 3, which chance exceeds for one class in 700, if labelled points
    are drawn as the others are and the predictions are right.

    A screen for flips that favour one class. It is blind to flips that balance, and the labels of
    much influence move more predictions than labels: a shift below -3 is then the sign.
    Where labelled points were chosen by class, it says so and nothing more. One M times ``Y``.

    Examples
    --------
    >>> import numpy as np
    >>> from gssl_poison import Direct, Problem, RBFGraph
    >>> X = np.concatenate([np.zeros(8), np.full(40, 5.0)])[:, None]
    >>> graph = RBFGraph(X, gamma=1.0)
    >>> problem = Problem(graph, labeled=[0, 1, 2, 3, 4, 5, 8], y=[0, 0, 0, 0, 0, 0, 1])
    >>> ClassShift().score(problem, Direct().fit(graph, problem.labeled)).round(1)
    array([ 5.3,  5.3,  5.3,  5.3,  5.3,  5.3, -5.3])
    """

    source: ClassVar[str] = "class balance of labels against predictions"
    threshold: ClassVar[float] = 3.0

    def score(self, problem: Problem, propagator: Fitted) -> Floats:
        """Return the residual of every label's class, (l,), in standard deviations.

        Parameters
        ----------
        problem : Problem
        propagator : Fitted
            The victim, which predicts.
        """
        residual: Floats = compare_classes(problem, propagator).residual[problem.y]
        return residual

    def is_poisoned(
        self, problem: Problem, propagator: Fitted, threshold: float | None = None
    ) -> Booleans:
        """Return which labels score above a threshold, (l,); by default above 3."""
        return above(self.score(problem, propagator), threshold, self.threshold)


@dataclass(frozen=True)
class Source:
    """A source of labels, and what the other labels say of it.

    Attributes
    ----------
    name : str
    labels, contradicted : int
        Its labels, and those of which the others say another class.
    z : float
        How far it is contradicted more than chance would have it, in standard deviations.
    dominates : tuple
        Classes of which it gave more than half of the labels, and far more than its part of all.
    """

    name: str
    labels: int
    contradicted: int
    z: float
    dominates: tuple[Any, ...] = ()


@dataclass(frozen=True)
class SourceDominance:
    """Score a label by how much more its source is contradicted than the other sources are.

    Parameters
    ----------
    provenance : sequence of str or int
        Who gave every label, in the order of ``problem.labeled``.
    witness : str, default "auto"
        Who contradicts: see `told`.

    Notes
    -----
    Labels are put into strata by the class that the other labels say, so that a source which
    labels what is hard is compared with others on what is hard. Of the ``N_a`` labels in stratum a,
    ``D_a`` have another class than is said there. Were the names dealt out at random within the
    strata, those among the ``n_a`` labels of one source would be hypergeometric,

        P(d_a) = C(D_a, d_a) C(N_a - D_a, n_a - d_a) / C(N_a, n_a)

    and D, their sum over the strata, the convolution of these: exact for any number of labels, of
    which most sources of a crowd have few. With d those that it has, z is minus the normal
    quantile of ``P(D >= d)`` where that is below one half, else that of ``P(D <= d)`` where that
    is, else 0: at most 38, where float64 ends. Labels of which nobody says anything are left out.

    The score of all labels of a source is its z; above 3 it is suspect, which befalls one honest
    source in 700 at most. It takes honest sources to err alike, and only the rest to say so: of two
    sources of one size nobody can tell which lies.

    A class is dominated where one source gave more than half of its labels, and its adjusted
    residual in the table of sources and classes is above 3. That is not evidence against a source
    and no part of the score, but says where nobody could contradict it.

    ``O(l^2 d)`` for the witness; a convolution a source and class.

    References
    ----------
    Mantel and Haenszel 1959, Statistical aspects of the analysis of data from retrospective
    studies of disease: the strata. Fisher's exact test is the case of one.

    Examples
    --------
    >>> import numpy as np
    >>> from gssl_poison import Direct, Problem, RBFGraph
    >>> X = np.concatenate([np.linspace(0, 1, 20), np.linspace(9, 10, 20), [0.5]])[:, None]
    >>> y = np.repeat([0, 1], 20)
    >>> y[[2, 6, 14, 22, 30, 38]] = 1 - y[[2, 6, 14, 22, 30, 38]]
    >>> problem = Problem(RBFGraph(X, gamma=1.0), labeled=np.arange(40), y=y)
    >>> prop = Direct().fit(problem.graph, problem.labeled)
    >>> detector = SourceDominance(["ann", "bob", "eve", "kim"] * 10)
    >>> detector.sources(problem, prop)[0]
    Source(name='eve', labels=10, contradicted=6, z=3.78..., dominates=())
    """

    provenance: Sequence[str | int]
    witness: str = "auto"

    source: ClassVar[str] = "provenance: disagreement of a source given what others say"
    threshold: ClassVar[float] = 3.0

    def __post_init__(self) -> None:
        """Keep the names as a tuple of texts."""
        object.__setattr__(self, "provenance", _names(self.provenance))

    def sources(
        self, problem: Problem, propagator: Fitted, opinions: Floats | None = None
    ) -> tuple[Source, ...]:
        """Return what the others say of every source, the most contradicted first.

        Parameters
        ----------
        problem : Problem
        propagator : Fitted
            The victim; read where it is the witness.
        opinions : (l, l) float64, optional
            What `told` returns for these, where it is known already.

        Raises
        ------
        InputError
            There is not one name for every label.
        """
        names, number, z, contradicted = self._compared(problem, propagator, opinions)
        table = np.zeros((names.size, problem.n_classes), dtype=np.int64)
        np.add.at(table, (number, problem.y), 1)
        most = (2 * table > table.sum(axis=0)) & (_residuals(table) > self.threshold)
        return tuple(
            Source(
                name=str(names[s]),
                labels=int(table[s].sum()),
                contradicted=int(contradicted[s]),
                z=float(z[s]),
                dominates=tuple(problem.classes[c] for c in np.flatnonzero(most[s])),
            )
            for s in np.argsort(-z, kind="stable")
        )

    def score(self, problem: Problem, propagator: Fitted) -> Floats:
        """Return the evidence against the source of every label, (l,), in standard deviations.

        Parameters
        ----------
        problem : Problem
        propagator : Fitted
            The victim; read where it is the witness.

        Raises
        ------
        InputError
            There is not one name for every label.
        """
        _, number, z, _ = self._compared(problem, propagator)
        score: Floats = z[number]
        return score

    def is_poisoned(
        self, problem: Problem, propagator: Fitted, threshold: float | None = None
    ) -> Booleans:
        """Return which labels score above a threshold, (l,); by default above 3."""
        return above(self.score(problem, propagator), threshold, self.threshold)

    def _compared(
        self, problem: Problem, propagator: Fitted, opinions: Floats | None = None
    ) -> tuple[npt.NDArray[np.str_], Integers, Floats, Integers]:
        """Return the sources, the number of each label's, their z and contradicted labels."""
        if len(self.provenance) != problem.y.size:
            raise InputError(
                f"provenance names {len(self.provenance):,} sources, and there are "
                f"{problem.y.size:,} labels; give one name a label, in the order of labeled."
            )
        if opinions is None:
            opinions = told(problem, propagator, self.witness)
        _, said = against(opinions, problem.y, problem.n_classes)
        names, number = np.unique(np.array(self.provenance, dtype=np.str_), return_inverse=True)
        heard = opinions.sum(axis=1) > 0.0
        wrong = said != problem.y
        z = np.empty(names.size)
        for s in range(names.size):
            mine = heard & (number == s)
            chance = np.ones(1)
            for a in np.unique(said[mine]):
                stratum = heard & (said == a)
                counts = (stratum, stratum & wrong, stratum & mine)
                chance = np.convolve(chance, _dealt_out(*(int(c.sum()) for c in counts)))
            z[s] = _quantile(chance, int((mine & wrong).sum()))
        return names, number, z, np.bincount(number[wrong], minlength=names.size)


def _residuals(table: Integers) -> Floats:
    """Return the adjusted residuals of a table of counts; 0 where a margin leaves no choice."""
    total = float(table.sum())
    rows, columns = table.sum(axis=1, keepdims=True), table.sum(axis=0, keepdims=True)
    # total^2 times the numerator and its variance, so that what is equal gives exactly 0.
    excess = table * total - rows * columns.astype(np.float64)
    variance = (rows * (total - rows)) * (columns * (total - columns)) / max(total, 1.0)
    possible = variance > 0.0
    return np.where(possible, excess / np.sqrt(np.where(possible, variance, 1.0)), 0.0)


def _dealt_out(N: int, D: int, n: int) -> Floats:
    """Return the probabilities of 0 to n marked ones among n of N, of which D are marked."""
    from scipy.special import gammaln

    def log_choose(total: int, some: Integers) -> Floats:
        logs: Floats = gammaln(total + 1) - gammaln(some + 1) - gammaln(total - some + 1)
        return logs

    chance = np.zeros(n + 1)
    d = np.arange(max(0, n - (N - D)), min(n, D) + 1)
    log_chance = log_choose(D, d) + log_choose(N - D, n - d)
    chance[d] = np.exp(log_chance - log_chance.max())
    chance /= chance.sum()
    return chance


def _quantile(chance: Floats, d: int) -> float:
    """Return how unlikely d is, or more, as a normal quantile; negative where less is."""
    from scipy.special import ndtri

    least = float(np.finfo(np.float64).tiny)
    # From the far end, so that small tails are summed before large ones.
    above_or_at = float(np.cumsum(chance[::-1])[chance.size - 1 - d])
    below_or_at = float(np.cumsum(chance)[d])
    if above_or_at < 0.5:
        return -float(ndtri(max(above_or_at, least)))
    return float(ndtri(max(below_or_at, least))) if below_or_at < 0.5 else 0.0


def _names(provenance: Sequence[str | int]) -> tuple[str, ...]:
    """Return names of sources as texts, refusing what names nobody."""
    if isinstance(provenance, str) or not isinstance(provenance, Sequence | np.ndarray):
        raise InputTypeError(
            f"provenance is of type {type(provenance).__name__}; give a sequence with the name of "
            "every label's source."
        )
    for position, name in enumerate(provenance):
        whole = isinstance(name, int | np.integer) and not isinstance(name, bool)
        if not whole and not (isinstance(name, str) and name.strip()):
            raise InputError(
                f"provenance[{position}] is {name!r}, which names no source; give a text or a "
                "whole number, such as 'unknown'."
            )
    return tuple(str(name) for name in provenance)
