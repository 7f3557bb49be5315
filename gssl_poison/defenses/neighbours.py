"""Labels judged by the nearest labelled points: sanitisation by vote, and Shapley values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import numpy as np

from gssl_poison._arguments import check_part, check_whole
from gssl_poison.bandwidth import squared_distances
from gssl_poison.defenses._common import TIED, Booleans, Floats, Integers, above
from gssl_poison.graph import RBFGraph
from gssl_poison.problem import Problem, check_fits
from gssl_poison.propagation import Fitted

# Numbers of a block of distances: 32 MiB.
_BLOCK = 2**22


@dataclass(frozen=True)
class KNNSanitization:
    """Give every label the class that most of its nearest labelled neighbours have.

    Parameters
    ----------
    n_neighbors : int, default 10
        Nearest other labelled points that vote; all of them where there are fewer.
    eta : float, default 0.5
        In 0..1: the share of the votes that a class needs to replace a label.

    Notes
    -----
    With r the largest share of the votes among the classes that the label does not have, and own
    that of its own class, the label is replaced where ``r > own`` and ``r >= eta``. Neighbours are
    the nearest by the features of an `RBFGraph`, elsewhere those with the largest weights, and only
    points that share an edge; ties go to the lower position, of classes to the label's own, then
    the lowest.

    The score is ``r / 2`` where the label stays and ``(1 + r) / 2`` where it is replaced: above 0.5
    exactly where sanitisation changes the label, and growing with r on both sides.

    ``O(l^2 (d + log l))``, blocks of rows.

    References
    ----------
    Paudice, Munoz-Gonzalez and Lupu 2018, Label sanitization against label flipping poisoning
    attacks.

    Examples
    --------
    >>> import numpy as np
    >>> from gssl_poison import Direct, Problem, RBFGraph
    >>> graph = RBFGraph(np.array([[0.0], [0.1], [0.3], [1.0], [1.1], [5.0]]), gamma=1.0)
    >>> problem = Problem(graph, labeled=[0, 1, 2, 3, 4], y=[0, 1, 0, 1, 1])
    >>> prop = Direct().fit(graph, problem.labeled)
    >>> KNNSanitization(n_neighbors=2).score(problem, prop)
    array([0.25, 1.  , 0.25, 0.25, 0.25])
    >>> KNNSanitization(n_neighbors=2).relabel(problem, prop).y
    array([0, 0, 0, 1, 1])
    """

    n_neighbors: int = 10
    eta: float = 0.5

    source: ClassVar[str] = "Paudice, Munoz-Gonzalez and Lupu 2018"
    threshold: ClassVar[float] = 0.5

    def __post_init__(self) -> None:
        """Refuse settings outside their range."""
        check_whole("n_neighbors", self.n_neighbors, 1)
        check_part("eta", self.eta, 1.0, included=True)

    def score(self, problem: Problem, propagator: Fitted) -> Floats:
        """Return how strongly its neighbours contradict every label, (l,), in 0..1; see above.

        Parameters
        ----------
        problem : Problem
        propagator : Fitted
            Checked against the problem, and not read.
        """
        _, share, replaced = self._votes(problem, propagator)
        return 0.5 * (share + replaced)

    def is_poisoned(
        self, problem: Problem, propagator: Fitted, threshold: float | None = None
    ) -> Booleans:
        """Return which labels score above a threshold, (l,); by default those to be replaced."""
        return above(self.score(problem, propagator), threshold, self.threshold)

    def relabel(self, problem: Problem, propagator: Fitted) -> Problem:
        """Return the problem with the labels replaced, all at once, by the labels as they were.

        Parameters
        ----------
        problem : Problem
        propagator : Fitted
            Checked against the problem, and not read.
        """
        said, _, replaced = self._votes(problem, propagator)
        return replace(problem, y=np.where(replaced, said, problem.y))

    def _votes(self, problem: Problem, propagator: Fitted) -> tuple[Integers, Floats, Booleans]:
        """Return the strongest other class, its share, and whether it replaces the label."""
        check_fits(problem, propagator, "propagator")
        y, l = problem.y, problem.y.size  # noqa: E741 - the number of labelled points, everywhere
        said, share, replaced = y.copy(), np.zeros(l), np.zeros(l, dtype=np.bool_)
        for part, near in nearest(problem):
            voters = near.order[:, : self.n_neighbors]
            n_voters = np.minimum(near.n_linked, voters.shape[1])
            heard = np.arange(voters.shape[1]) < n_voters[:, None]
            votes = np.stack(
                [((y[voters] == c) & heard).sum(axis=1) for c in range(problem.n_classes)], axis=1
            )
            rows = np.arange(len(votes))
            # By the quotient, which is rounded once: 6 of 10 voters are a share of 0.6.
            shares = votes / np.maximum(n_voters, 1)[:, None]
            own = shares[rows, y[part]].copy()
            shares[rows, y[part]] = -1.0
            other = shares.argmax(axis=1)
            most = np.maximum(shares[rows, other], 0.0)
            said[part], share[part] = other, most
            replaced[part] = (most > own) & (most >= self.eta)
        return said, share, replaced


@dataclass(frozen=True)
class KNNShapley:
    """Score a label by how much it harms nearest-neighbour predictions of the others.

    Parameters
    ----------
    n_neighbors : int, default 10
        Neighbours of the predictor by which labels are valued.

    Notes
    -----
    The game: a set S of labels is worth ``U(S) = 1/l sum_j v_j(S)``, with ``v_j(S)`` the number of
    labels of j's class among the K nearest to j in S without j, over K. The Shapley value of a
    label is the mean over j of that in ``v_j``, exactly: with the others at j in order of distance,
    ``match_t`` whether the t-th has j's class and m their number,

        s_m = match_m / max(K, m),  s_t = s_{t+1} + (match_t - match_{t+1}) / max(K, t)

    The score is minus the value, so that labels which harm, above 0, are suspect; values sum to
    the part of right votes when all labels are there. Neighbours as in `KNNSanitization`: points
    without an edge to j never vote on it, and are worth nothing to it. ``O(l^2 (d + log l))``.

    References
    ----------
    Jia, Dao, Wang, Hubis, Gurel, Li, Zhang, Spanos and Song 2019, Efficient task-specific data
    valuation for nearest neighbor algorithms.

    Examples
    --------
    >>> import numpy as np
    >>> from gssl_poison import Direct, Problem, RBFGraph
    >>> X = np.array([[0.0], [0.1], [0.2], [0.3], [1.0], [1.1], [1.3], [5.0]])
    >>> problem = Problem(RBFGraph(X, gamma=1.0), np.arange(7), y=[0, 0, 1, 0, 1, 1, 1])
    >>> prop = Direct().fit(problem.graph, problem.labeled)
    >>> KNNShapley(n_neighbors=1).score(problem, prop).round(3)
    array([-0.143, -0.143,  0.036, -0.036, -0.143, -0.143, -0.143])
    """

    n_neighbors: int = 10

    source: ClassVar[str] = "Jia et al. 2019"
    threshold: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        """Refuse a number of neighbours that is none."""
        check_whole("n_neighbors", self.n_neighbors, 1)

    def score(self, problem: Problem, propagator: Fitted) -> Floats:
        """Return minus the Shapley value of every label, (l,), in -1..1.

        Parameters
        ----------
        problem : Problem
        propagator : Fitted
            Checked against the problem, and not read.
        """
        check_fits(problem, propagator, "propagator")
        return harm_of(nearest(problem), problem.y, problem.y, self.n_neighbors)

    def is_poisoned(
        self, problem: Problem, propagator: Fitted, threshold: float | None = None
    ) -> Booleans:
        """Return which labels score above a threshold, (l,); by default those that harm."""
        return above(self.score(problem, propagator), threshold, self.threshold)


class Near(NamedTuple):
    """Labelled positions in order of distance, (b, l), and how many of them are linked, (b,)."""

    order: Integers
    n_linked: Integers


def harm_of(
    near: Iterable[tuple[slice, Near]], found: Integers, right: Integers, n_neighbors: int
) -> Floats:
    """Return minus the Shapley value (l,) of labels as found, by how they vote on the right ones.

    See `KNNShapley`, where both are the same labels.
    """
    from gssl_poison.kernels.shapley import add_shapley

    l = found.size  # noqa: E741
    value = np.zeros(l)
    weight = 1.0 / np.maximum(n_neighbors, np.arange(1, l + 1))
    for part, some in near:
        add_shapley(some.order, some.n_linked, found, right[part], weight, value)
    # 0 and not -0 for what is worth nothing.
    return 0.0 - value / l


def nearest(problem: Problem) -> Iterator[tuple[slice, Near]]:
    """Yield the order of the other labelled points at blocks of labelled points."""
    graph, labeled = problem.graph, problem.labeled
    l = labeled.size  # noqa: E741
    step = max(1, _BLOCK // l)
    for start in range(0, l, step):
        part = slice(start, min(start + step, l))
        rows = labeled[part]
        if isinstance(graph, RBFGraph):
            far = squared_distances(graph.X, rows, labeled)
        else:
            far = -graph.log_weights(rows, labeled)
        far[np.arange(rows.size), start + np.arange(rows.size)] = np.inf
        yield part, Near(_in_order(far), np.isfinite(far).sum(axis=1))


def _in_order(far: Floats) -> Integers:
    """Return the columns of every row in ascending order; what ties up to rounding by position."""
    order = np.argsort(far, axis=1, kind="stable")
    ranked = np.take_along_axis(far, order, axis=1)
    largest = np.abs(np.where(np.isfinite(far), far, 0.0)).max(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        # Written so that NaN, between two points that are not linked, ties with nothing.
        new = ~(np.diff(ranked, axis=1) <= TIED * largest)
    tied = np.flatnonzero(~new.all(axis=1))
    group = np.concatenate([np.zeros((tied.size, 1), dtype=np.int64), new[tied].cumsum(axis=1)], 1)
    again = np.argsort(group * far.shape[1] + order[tied], axis=1)
    order[tied] = np.take_along_axis(order[tied], again, axis=1)
    return order
