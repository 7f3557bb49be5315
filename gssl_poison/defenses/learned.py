"""Relabelling that learns from the answers: which labels are wrong, and which of them matter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from gssl_poison.defenses._common import Booleans, Floats, Integers, above
from gssl_poison.defenses.checks import NO_ANSWER, Checks, Oracle, as_oracle
from gssl_poison.defenses.neighbours import Near, harm_of, nearest
from gssl_poison.defenses.opinions import strongest_other, told
from gssl_poison.exceptions import InputError, InputTypeError, NumericalError
from gssl_poison.influence import Influence, measure_influence
from gssl_poison.metrics import predict
from gssl_poison.problem import Problem, count_flips
from gssl_poison.propagation import Fitted
from gssl_poison.propagation.graphs import is_real

# What is believed before the first answer, per unit of each feature, and how firmly: the weights
# of contradiction, of harm, of total influence and of major influence range; inverse variances,
# that of the intercept first.
_WEIGHTS = (1.5, 1.5, 0.25, 0.25)
_FIRMNESS = (0.5, 1.0, 1.0, 1.0, 1.0)
# Neighbours by which harm is counted, at most and as a part of the labels: among few labels ten
# neighbours are of all classes.
_NEIGHBOURS, _PART = 10, 20
_STEPS = 200
_STILL, _LEAST, _ROUNDING = 1e-9, 1e-12, 1e-14
# Numbers of a block of shares: 64 MiB.
_BLOCK = 2**23


@dataclass(frozen=True)
class Learned:
    """Check the label whose correction is expected to change most, and learn from every answer.

    Parameters
    ----------
    witness : str, default "auto"
        Who contradicts labels: see `told`.
    noise : float, default 0.1
        The part of the labels that is thought to be wrong before the first answer.
    automatic : bool, default False
        After the checks, change labels that nobody looked at where the answers leave little doubt.
    certainty : float, default 0.5
        The probability of being wrong above which "automatic" changes a label.

    Notes
    -----
    The probability that label j is wrong is logistic in five features: 1; the share of the other
    labels at j for the strongest other class less that for its own; ``asinh(-l v_j)`` with its
    Shapley value v_j for predicting the other labels from ten neighbours (of less than 200 labels a
    twentieth); and the normal scores of its ranks by total influence and by major influence range.
    What a label is told may be wrong where its neighbours were flipped; what it does to them shows
    a flipped hub, which no honest neighbour outvotes. The weights have a Gaussian prior and are the
    most probable ones given the answers so far, by Newton's method: where the attacker chose
    influential labels the first answers say so, and where contradiction means nothing, too. Labels
    are judged as they were found, by the others as corrected so far.
    A check goes to the largest product of that probability and of what the correction would
    change: the mean of total influence and of predictions turned at once, each over its largest.
    "automatic" takes the labels above ``certainty``, gives them the strongest other class, if any
    other label there has one, weighs anew, and goes on until none is left. One pass over M for
    every answer that corrects; in memory ``48 l^2`` bytes at most, `check` M twice as well.

    Examples
    --------
    >>> import numpy as np
    >>> from gssl_poison import Direct, Problem, RBFGraph
    >>> X = np.array([0.0, 0.1, 0.2, 0.3, 0.4, 0.15, 5.0, 5.1, 5.2, 5.3])[:, None]
    >>> problem = Problem(
    ...     RBFGraph(X, gamma=1.0), [0, 1, 2, 3, 4, 6, 7, 8], [0, 0, 1, 0, 0, 1, 1, 1]
    ... )
    >>> prop = Direct().fit(problem.graph, problem.labeled)
    >>> Learned().check(problem, prop, 1, oracle=lambda point: 0).points
    array([2])
    """

    witness: str = "auto"
    noise: float = 0.1
    automatic: bool = False
    certainty: float = 0.5

    source: ClassVar[str] = "this project: expected change, learned from the answers"
    threshold: ClassVar[float] = 0.25

    def __post_init__(self) -> None:
        """Refuse parts outside their range."""
        for name in ("noise", "certainty"):
            value = getattr(self, name)
            if not (is_real(value) and 0.0 < value < 1.0):
                raise InputError(f"{name}={value!r} must lie between 0 and 1, both excluded.")
        if not isinstance(self.automatic, bool | np.bool_):
            raise InputTypeError(f"automatic={self.automatic!r} must be True or False.")

    def probability(
        self, problem: Problem, propagator: Fitted, answers: Mapping[int, int] | None = None
    ) -> Floats:
        """Return how probable it is that each label is wrong, (l,).

        Parameters
        ----------
        problem : Problem
            The labels as they were found.
        propagator : Fitted
        answers : mapping of int to int, optional
            Class codes that a person gave, by position in ``problem.labeled``. Those labels have a
            probability of 0 or 1.
        """
        belief = Belief.of(self, problem, propagator, answers or {})
        probability = belief.probability()
        known = belief.known
        probability[known] = belief.codes[known] != belief.found[known]
        return probability

    def score(self, problem: Problem, propagator: Fitted) -> Floats:
        """Return how probable it is that each label is wrong, before any answer, (l,)."""
        return self.probability(problem, propagator)

    def is_poisoned(
        self, problem: Problem, propagator: Fitted, threshold: float | None = None
    ) -> Booleans:
        """Return which labels are wrong with more than a probability, (l,); by default 0.25."""
        return above(self.score(problem, propagator), threshold, self.threshold)

    def priority(
        self, problem: Problem, propagator: Fitted, answers: Mapping[int, int] | None = None
    ) -> Floats:
        """Return what checking each label is expected to change, (l,); see `probability`.

        0 for those that were checked.
        """
        belief = Belief.of(self, problem, propagator, answers or {})
        turned = belief.turned(shares_of(propagator))
        priority = belief.probability() * belief.change(turned)
        priority[belief.known] = 0.0
        return priority

    def check(self, problem: Problem, propagator: Fitted, budget: float, oracle: Oracle) -> Checks:
        """Check labels one after another; see `repair`.

        Returns what was asked, answered and changed as well.
        """
        n_checks = count_flips(budget, problem.y.size)
        ask = as_oracle(oracle, problem)
        shares = list(shares_of(propagator.stored()))
        belief = Belief.of(self, problem, propagator, {})
        asked = np.zeros(problem.y.size, dtype=np.bool_)
        order: list[int] = []
        answers: list[int] = []
        change = belief.change(belief.turned(shares))
        for _ in range(n_checks):
            priority = np.where(asked, -np.inf, belief.probability() * change)
            j = int(priority.argmax())
            asked[j] = True
            answer = ask(int(problem.labeled[j]))
            order.append(j)
            answers.append(answer)
            if answer != NO_ANSWER and belief.learn(j, answer):
                change = belief.change(belief.turned(shares))
        changed = belief.imply(self.certainty, asked) if self.automatic else order[:0]
        return Checks(
            replace(problem, y=belief.codes),
            problem.labeled[order],
            np.array(answers, dtype=np.int64),
            problem.labeled[np.array(changed, dtype=np.int64)],
        )

    def repair(
        self, problem: Problem, propagator: Fitted, budget: float, oracle: Oracle
    ) -> Problem:
        """Return the problem with the labels corrected that a person was asked about.

        Parameters
        ----------
        problem : Problem
        propagator : Fitted
            The victim; its M is held in memory.
        budget : int or float
            Labels to check, or a part of them between 0 and 1.
        oracle : (n,) int, mapping or callable
            See `as_oracle`; asked once a check, each question chosen by the answers before it.

        Returns
        -------
        Problem
            With ``automatic`` also what the answers imply of other labels.
        """
        return self.check(problem, propagator, budget, oracle).problem


@dataclass
class Belief:
    """What is known of the labels so far, and what is thought of the others.

    Attributes
    ----------
    told : (l, l) float64
        What the other labels say: see `gssl_poison.defenses.told`.
    near : tuple
        The labelled points by distance: see `gssl_poison.defenses.neighbours.nearest`.
    influence : (l, 2) float64
        Normal scores of the ranks by total influence and by major influence range.
    total : (l,) float64
    found, codes : (l,) int64
        The labels as they were found, and as far as they are corrected.
    known : (l,) bool
        Labels that somebody looked at.
    prior : (5,) float64
        Weights before the first answer.
    n_classes : int
    """

    told: Floats
    near: tuple[tuple[slice, Near], ...]
    influence: Floats
    total: Floats
    found: Integers
    codes: Integers
    known: Booleans
    prior: Floats
    n_classes: int

    @classmethod
    def of(
        cls,
        settings: Learned,
        problem: Problem,
        propagator: Fitted,
        answers: Mapping[int, int],
        measured: Influence | None = None,
    ) -> Belief:
        """Weigh the labels as they were found, and take the answers in; influence may be known."""
        opinions = told(problem, propagator, settings.witness)
        measured = measured or measure_influence(propagator)
        # Where the counts tie, as at a small gamma all of them do, the sums tell.
        by_range = np.lexsort((measured.total, measured.mir))
        belief = cls(
            told=opinions,
            near=tuple(nearest(problem)),
            influence=np.stack(
                [
                    _normal_scores(np.argsort(measured.total, kind="stable")),
                    _normal_scores(by_range),
                ],
                axis=1,
            ),
            total=measured.total,
            found=problem.y,
            codes=problem.y.copy(),
            known=np.zeros(problem.y.size, dtype=np.bool_),
            prior=np.array([np.log(settings.noise / (1.0 - settings.noise)), *_WEIGHTS]),
            n_classes=problem.n_classes,
        )
        for position, code in answers.items():
            if not (_is_code(position, problem.y.size) and _is_code(code, problem.n_classes)):
                raise InputError(
                    f"answers give position {position} the class code {code}; positions lie in 0 "
                    f"to {problem.y.size - 1}, as in problem.labeled, and codes in 0 to "
                    f"{problem.n_classes - 1}."
                )
            belief.learn(position, code)
        return belief

    def learn(self, j: int, code: int) -> bool:
        """Take an answer in; tell whether it corrects the label."""
        corrects = bool(self.codes[j] != code)
        self.known[j] = True
        self.codes[j] = code
        return corrects

    def features(self) -> tuple[Floats, Integers]:
        """Return the features of every label as it was found, (l, 5), and what the others say."""
        said, against = strongest_other(self.told, self.codes, self.found, self.n_classes)
        ones, size = np.ones(self.found.size), self.found.size
        n_neighbors = min(_NEIGHBOURS, max(1, size // _PART))
        harm = harm_of(self.near, self.found, self.codes, n_neighbors)
        return np.column_stack([ones, against, np.arcsinh(size * harm), self.influence]), said

    def probability(self) -> Floats:
        """Return how probable it is that each label, as found, is wrong."""
        features, _ = self.features()
        wrong = (self.codes != self.found)[self.known]
        return _logistic(features @ _most_probable(features[self.known], wrong, self.prior))

    def turned(self, shares: Iterable[Floats]) -> Integers:
        """Return how many predictions change if each label becomes what the others say, (l,)."""
        return self.turned_of(count_turned(shares, self.codes, self.n_classes))

    def turned_of(self, change: Integers) -> Integers:
        """Return the same from the changes that every class would make: see `count_turned`."""
        said, _ = strongest_other(self.told, self.codes, self.found, self.n_classes)
        turned: Integers = change[np.arange(said.size), said]
        return np.where(said == self.codes, 0, turned)

    def change(self, turned: Integers) -> Floats:
        """Return what correcting each label would change, at most 1."""
        parts = (self.total, turned.astype(np.float64))
        change: Floats = 0.5 * np.sum([v / max(float(v.max()), 1.0) for v in parts], axis=0)
        return change

    def imply(self, certainty: float, asked: Booleans) -> list[int]:
        """Change the labels that the answers leave little doubt about; return their positions."""
        settled = asked.copy()
        changed: list[int] = []
        while True:
            features, said = self.features()
            weights = _most_probable(
                features[self.known], (self.codes != self.found)[self.known], self.prior
            )
            certain = (_logistic(features @ weights) > certainty) & ~settled & (said != self.found)
            if not certain.any():
                return changed
            self.codes[certain] = said[certain]
            settled |= certain
            changed += np.flatnonzero(certain).tolist()


def _is_code(value: object, below: int) -> bool:
    """Tell whether a value is a whole number from 0 to a limit."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return whole and 0 <= int(value) < below  # type: ignore[call-overload]


def shares_of(propagator: Fitted) -> Iterator[Floats]:
    """Yield the shares of the unlabelled points, a block of rows at a time."""
    for _, block in propagator.share_blocks(max(1, _BLOCK // propagator.labeled.size)):
        yield block


def count_turned(shares: Iterable[Floats], codes: Integers, n_classes: int) -> Integers:
    """Return how many predictions change if each label becomes each class, (l, c): one pass."""
    from gssl_poison.kernels.flips import count_flips as count

    one_hot = np.eye(n_classes)[codes]
    change = np.zeros((codes.size, n_classes), dtype=np.int64)
    free = np.ones(codes.size, dtype=np.bool_)
    for block in shares:
        scores = block @ one_hot
        count(block, scores, codes, predict(scores), free, change, np.empty(len(block)))
    return change


def _most_probable(features: Floats, wrong: Booleans, prior: Floats) -> Floats:
    """Return the most probable weights of the logistic model given the answers."""
    weights, firmness = prior.copy(), np.array(_FIRMNESS)

    def loss(at: Floats) -> float:
        score = features @ at
        misfit = float((np.logaddexp(0.0, score) - wrong * score).sum())
        return misfit + 0.5 * float((firmness * (at - prior) ** 2).sum())

    now = loss(weights)
    for _ in range(_STEPS):
        p = _logistic(features @ weights)
        slope = features.T @ (p - wrong) + firmness * (weights - prior)
        curvature = features.T @ (features * (p * (1.0 - p))[:, None]) + np.diag(firmness)
        step = np.linalg.solve(curvature, slope)
        # A whole step overshoots where the answers are the opposite of what was believed.
        part = 1.0
        while part > _LEAST and loss(weights - part * step) > now + _ROUNDING * (1.0 + now):
            part *= 0.5
        weights = weights - part * step
        now = loss(weights)
        if float(np.abs(part * step).max()) < _STILL:
            return weights
    raise NumericalError(
        f"the weights of {wrong.size:,} answers do not settle in {_STEPS} Newton steps, "
        f"the last of {float(np.abs(part * step).max()):.1e}; please report this with your data."
    )


def _logistic(score: Floats) -> Floats:
    """Return ``1 / (1 + exp(-score))`` without overflow."""
    from scipy.special import expit

    result: Floats = expit(score)
    return result


def _normal_scores(order: Integers) -> Floats:
    """Return the normal scores of ranks; ``order`` lists positions from least to most."""
    from scipy.special import ndtri

    ranks = np.empty(order.size)
    ranks[order] = np.arange(order.size)
    scores: Floats = ndtri((ranks + 0.5) / order.size)
    return scores
