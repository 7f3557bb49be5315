"""Predictions that few labels cannot turn: votes of parts of the labels, and a chosen alpha."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from gssl_poison._arguments import check_choice, check_part, check_whole
from gssl_poison._arrays import available_memory
from gssl_poison.defenses._aggregate import NEVER, by_location, by_majority
from gssl_poison.defenses._common import Booleans, Floats, Integers
from gssl_poison.defenses.opinions import against
from gssl_poison.exceptions import InputError, InputTypeError
from gssl_poison.metrics import predict
from gssl_poison.problem import Problem, check_fits
from gssl_poison.propagation import Direct, Harmonic, Propagation, Propagator, Spreading

RULES = ("median", "trimmed", "majority")


@dataclass(frozen=True, eq=False)
class Voted:
    """The predictions of a vote, and how many labels must change before they can.

    Attributes
    ----------
    scores : (u, c) float64
        Medians or trimmed means of the shares, or parts of the votes; rows need not sum to 1.
    predicted : (u,) int64
        Class codes; 0 where no part is heard.
    radius : (u,) int64
        No set of fewer labels, whatever they are changed to, changes the prediction; ``l + 1``
        where none does.
    heard : (u,) int64
        Parts that a point hears.
    unlabeled : (u,) int64
        The points, as row numbers.
    n_labeled : int
    holds_for : str
        The one vote of which this is true.
    """

    scores: Floats = field(repr=False)
    predicted: Integers = field(repr=False)
    radius: Integers = field(repr=False)
    heard: Integers = field(repr=False)
    unlabeled: Integers = field(repr=False)
    n_labeled: int
    holds_for: str

    def __post_init__(self) -> None:
        """Make the arrays ones that cannot be written to."""
        for name in ("scores", "predicted", "radius", "heard", "unlabeled"):
            value = np.array(getattr(self, name))
            value.flags.writeable = False
            object.__setattr__(self, name, value)

    def certified(self, k: int) -> float:
        """Return the part of the points whose prediction no k changed labels change.

        Parameters
        ----------
        k : int
            From 0.
        """
        check_whole("k", k, 0)
        return float((self.radius > k).mean())

    def error(self, problem: Problem) -> float:
        """Return the part of the unlabelled points that are predicted wrongly.

        Parameters
        ----------
        problem : Problem
            With truth.

        Raises
        ------
        InputError
            The problem has no truth, or other unlabelled points.
        """
        return float(self._wrong(problem).mean())

    def certified_accuracy(self, problem: Problem, k: int) -> float:
        """Return the part of the points that are right and stay so under any k changed labels.

        Parameters
        ----------
        problem : Problem
            With truth.
        k : int
            From 0.

        Raises
        ------
        InputError
            The problem has no truth, or other unlabelled points; k is no number of labels.
        """
        check_whole("k", k, 0)
        return float((~self._wrong(problem) & (self.radius > k)).mean())

    def _wrong(self, problem: Problem) -> Booleans:
        """Return which predictions are wrong."""
        if problem.truth is None:
            raise InputError(
                "the error cannot be told without the truth; give Problem(truth=...), the true "
                "class codes of all points."
            )
        if not np.array_equal(problem.unlabeled, self.unlabeled):
            raise InputError(
                f"the vote is on {self.unlabeled.size:,} points, and the problem has other "
                f"unlabelled points ({problem.unlabeled.size:,}); pass the problem that was voted "
                "on."
            )
        wrong: Booleans = self.predicted != problem.truth[self.unlabeled]
        return wrong


@dataclass(frozen=True)
class Vote:
    """Let parts of the labels predict by themselves, and put their predictions together.

    Parameters
    ----------
    propagator : Direct, Propagation, Harmonic or Spreading, default Direct()
        What every part is propagated with.
    n_parts : int, default 15
        Parts of the labelled points, of nearly equal size.
    rule : {"median", "trimmed", "majority"}, default "median"
        How the parts are put together: by the median or the trimmed mean of every class's shares,
        or by one vote a part.
    trim : float, default 0.25
        In 0..0.5: the part of the shares that "trimmed" leaves out at either end.
    random_state : int, default 2020
        Seed of the partition, which does not depend on the labels.

    Notes
    -----
    Of every part p a propagator is fitted to the whole graph, with the labels of p alone; the
    others' points are unlabelled to it. Its row-normalised scores at point i are ``s_p(i)``; a part
    of which no label gets to i is silent there. Which parts are silent depends on the graph.

    **The radius.** Every label is in one part, so that k changed labels change the scores of at
    most k parts, and to shares in 0..1 at most. (1) Majority: let the winner a have ``n_a`` votes.
    A changed part closes the gap to a rival b by 2 if it voted a, by 1 if a third class, else not
    at all; so no fewer than ``ceil((n_a - n_b + [b > a]) / 2)`` parts let b win, ties being the
    lower class's, and so many that vote a do. (2) Median and trimmed mean: both grow with every
    share, so among all changes of k shares the lowest value is that with the k largest at 0, the
    highest that with the k smallest at 1. While the lowest of a is above the highest of every b,
    ties as before, the outcome stands. The radius is the least k for which that fails. Hence a
    proven lower bound of the labels that must change. Of two classes it is, in parts, exact: the k
    parts largest for a are the smallest for b. A part may take more than one label to turn.

    The price is accuracy: parts know less than all labels do. One fit and ``Y`` a part, and
    ``n_parts u c`` numbers. `Harmonic` is fitted with ``unreached="leave"``.

    References
    ----------
    Fang, Sun, Li, Gong, Tian and Liu 2021, Data poisoning attacks and defenses to crowdsourcing
    systems: the median of weighted averages. For the proof by parts
    Levine and Feizi 2021, Deep partition aggregation.

    Examples
    --------
    >>> import numpy as np
    >>> from gssl_poison import Problem, RBFGraph
    >>> X = np.array([[0.0], [0.1], [0.2], [0.3], [5.0], [5.1], [5.2], [0.1], [5.1]])
    >>> problem = Problem(RBFGraph(X, gamma=1.0), np.arange(7), y=[0, 1, 0, 0, 1, 1, 1])
    >>> voted = Vote(n_parts=3, rule="majority").predict(problem)
    >>> voted.predicted, voted.certified(0)
    (array([0, 1]), 1.0)
    """

    propagator: Propagator = field(default_factory=Direct)
    n_parts: int = 15
    rule: str = "median"
    trim: float = 0.25
    random_state: int = 2020

    source: ClassVar[str] = "median of weighted averages; deep partition aggregation"

    def __post_init__(self) -> None:
        """Refuse settings outside their range."""
        if not isinstance(self.propagator, Direct | Propagation | Harmonic | Spreading):
            raise InputTypeError(
                f"propagator={self.propagator!r} is no propagator; give one such as Direct(), not "
                "fitted."
            )
        check_whole("n_parts", self.n_parts, 1)
        check_choice("rule", self.rule, RULES)
        check_part("trim", self.trim, 0.5, included=False)
        check_whole("random_state", self.random_state, 0)

    def parts(self, n_labeled: int) -> tuple[Integers, ...]:
        """Return the partition of the labelled positions, each part ascending.

        Parameters
        ----------
        n_labeled : int

        Raises
        ------
        InputError
            There are fewer labels than parts.
        """
        if self.n_parts > n_labeled:
            raise InputError(
                f"n_parts={self.n_parts} is more than the {n_labeled} labels, and every part needs "
                f"one; give at most {n_labeled}."
            )
        shuffled = np.random.default_rng(self.random_state).permutation(n_labeled)
        return tuple(np.sort(part) for part in np.array_split(shuffled, self.n_parts))

    def predict(self, problem: Problem) -> Voted:
        """Return the outcome of the vote at all unlabelled points.

        Parameters
        ----------
        problem : Problem

        Returns
        -------
        Voted

        Raises
        ------
        InputError
            There are fewer labels than parts, or the scores of all parts do not fit into memory.
        NumericalError
            A part's scores leave float64.
        """
        parts = self.parts(problem.y.size)
        u, c = problem.unlabeled.size, problem.n_classes
        _refuse_beyond_memory(self.n_parts, u, c)
        propagator = self.propagator
        if isinstance(propagator, Harmonic):
            propagator = replace(propagator, unreached="leave")
        shares = np.empty((self.n_parts, u, c))
        for p, part in enumerate(parts):
            alone = Problem(problem.graph, problem.labeled[part], problem.y[part], n_classes=c)
            fitted = propagator.fit(problem.graph, alone.labeled)
            check_fits(alone, fitted, "propagator")
            scores = fitted.apply(np.eye(c)[alone.y], normalized=True)
            shares[p] = scores[problem.unlabeled]
        heard = shares.sum(axis=2) > 0.0
        if self.rule == "majority":
            votes = np.stack([predict(of_part) for of_part in shares])
            votes[~heard] = -1
            outcome = by_majority(votes, c)
        else:
            outcome = by_location(shares, heard, None if self.rule == "median" else self.trim)
        scores, predicted, needed = outcome
        radius = np.where(needed == NEVER, problem.y.size + 1, needed)
        return Voted(
            scores=scores,
            predicted=predicted,
            radius=radius,
            heard=heard.sum(axis=0),
            unlabeled=problem.unlabeled,
            n_labeled=int(problem.y.size),
            holds_for=f"{self!r}, {type(problem.graph).__name__}, {c} classes",
        )


@dataclass(frozen=True)
class AlphaChoice:
    """The alpha under which most labels agree with what the others say.

    Attributes
    ----------
    alpha : float
    alphas : tuple of float
        Those tried, ascending.
    agreement : tuple of float
        The part of the labels that is what the others say, for each of them; NaN where no label
        hears another.
    """

    alpha: float
    alphas: tuple[float, ...]
    agreement: tuple[float, ...]


def choose_alpha(
    problem: Problem, alphas: Iterable[float] = (0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
) -> AlphaChoice:
    """Choose alpha of label spreading by leaving labels out; reads no truth.

    Parameters
    ----------
    problem : Problem
    alphas : iterable of float, default (0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
        Each between 0 and 1.

    Returns
    -------
    AlphaChoice
        The alpha of the highest agreement; of several, the smallest.

    Raises
    ------
    InputError
        No alpha is given, one is out of range, or no label hears another at any of them.

    Notes
    -----
    Row j of `Fitted.leave_one_out` holds what the others say at labelled point j; its class against
    ``y_j``, over the labels that hear anybody. The larger alpha, the further a label travels and
    the less a single one decides, but the more of the graph's mistakes are believed. Poisoned
    labels take part in the choice: they disagree with any alpha that hears the honest ones.
    One fit and ``leave_one_out`` an alpha, which from 0.9 on takes hundreds of products with S.

    Examples
    --------
    >>> import numpy as np
    >>> from gssl_poison import Problem, RBFGraph
    >>> X = np.array([[0.0], [0.1], [0.2], [0.3], [5.0], [5.1], [5.2], [0.1], [5.1]])
    >>> problem = Problem(RBFGraph(X, gamma=1.0), np.arange(7), y=[0, 0, 0, 0, 1, 1, 1])
    >>> choose_alpha(problem, (0.5, 0.9))
    AlphaChoice(alpha=0.5, alphas=(0.5, 0.9), agreement=(1.0, 1.0))
    """
    tried = tuple(sorted({Spreading(alpha).alpha for alpha in alphas}))
    if not tried:
        raise InputError("alphas is empty; give at least one alpha between 0 and 1.")
    agreement = []
    for alpha in tried:
        fitted = Spreading(alpha).fit(problem.graph, problem.labeled)
        check_fits(problem, fitted, "propagator")
        opinions = fitted.leave_one_out()
        _, said = against(opinions, problem.y, problem.n_classes)
        heard = opinions.sum(axis=1) > 0.0
        agrees = said == problem.y
        agreement.append(float(agrees[heard].mean()) if heard.any() else float("nan"))
    if np.isnan(agreement).all():
        raise InputError(
            "no label hears another on this graph, so none can be left out; use a graph with more "
            "edges (a larger n_neighbors)."
        )
    best = int(np.nanargmax(agreement))
    return AlphaChoice(float(tried[best]), tuple(float(a) for a in tried), tuple(agreement))


def _refuse_beyond_memory(n_parts: int, n_unlabeled: int, n_classes: int) -> None:
    """Refuse a vote whose scores, and their ranking, do not fit."""
    needed = 24 * n_parts * n_unlabeled * n_classes
    if needed > available_memory():
        raise InputError(
            f"the shares of {n_parts} parts at {n_unlabeled:,} points take {needed / 2**30:.1f} "
            f"GiB with their ranking, and {available_memory() / 2**30:.1f} GiB are free; use fewer "
            "parts or points."
        )
