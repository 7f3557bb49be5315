"""What the other labels say about each label: the evidence that detectors and repairs weigh."""

from __future__ import annotations

import numpy as np

from gssl_poison._arrays import available_memory
from gssl_poison.bandwidth import effective_number, solve_gamma, squared_distances
from gssl_poison.defenses._common import TIED, Floats, Integers
from gssl_poison.exceptions import InputError, InputTypeError
from gssl_poison.graph import RBFGraph
from gssl_poison.problem import Problem, check_fits
from gssl_poison.propagation import Fitted, parse_propagator

# Other labels that the median labelled point listens to. Fewer let one poisoned hub speak for a
# whole neighbourhood; many more let the larger class outvote it.
N_VOICES = 20.0
# Labelled points by which that is found.
_SAMPLE = 1000
# Where a graph has edges only, labelled points seldom share one: the walk must reach further.
_FAR = "spreading:alpha=0.9,n_iter=30"


def told(problem: Problem, propagator: Fitted, witness: str = "auto") -> Floats:
    """Return what every labelled point is told by the other labels.

    Parameters
    ----------
    problem : Problem
    propagator : Fitted
        Read where ``witness="propagator"``.
    witness : str, default "auto"
        Who speaks. "neighbours": the other labelled points by ``exp(-g |x - x'|^2)``, with g such
        that the median one listens to an effective 20 of them, or to half of them where there are
        fewer than 40. "propagator": `propagator` without
        the point's own label. Or the text of another propagator, such as "harmonic". "auto":
        "neighbours" where the graph has features, else "spreading:alpha=0.9,n_iter=30".

    Returns
    -------
    (l, l) float64
        Row j holds the shares of the other labels at labelled point j: its own entry is 0, and the
        row sums to 1, or to 0 where no other label reaches it.

    Raises
    ------
    InputError
        The witness is not known, or has no formula for leaving a label out; or the memory does not
        hold what the labels say of each other.

    Notes
    -----
    The kernel of the victim is often so narrow that a point hears its nearest label alone; where
    that one is poisoned, every honest label around it looks wrong. A wider kernel is a jury.
    ``l^2 d`` operations for "neighbours", else those of `Fitted.leave_one_out`; ``48 l^2`` bytes
    at most while they run, of which the result is a sixth.

    Examples
    --------
    >>> import numpy as np
    >>> from gssl_poison import Direct, Problem, RBFGraph
    >>> graph = RBFGraph(np.array([[0.0], [0.1], [0.2], [5.0]]), gamma=1.0)
    >>> problem = Problem(graph, labeled=[0, 1, 2], y=[0, 1, 0])
    >>> told(problem, Direct().fit(graph, [0, 1, 2])).round(1)
    array([[0. , 0.9, 0.1],
           [0.5, 0. , 0.5],
           [0.1, 0.9, 0. ]])
    """
    check_fits(problem, propagator, "propagator")
    if not isinstance(witness, str):
        raise InputTypeError(f"witness={witness!r} is no text; give the name of a witness.")
    _refuse_beyond_memory(problem.y.size)
    if witness == "auto":
        witness = "neighbours" if isinstance(problem.graph, RBFGraph) else _FAR
    if witness == "propagator":
        return propagator.leave_one_out()
    if witness == "neighbours":
        return _neighbours(problem)
    other = parse_propagator(witness).fit(problem.graph, problem.labeled)
    check_fits(problem, other, "witness")
    return other.leave_one_out()


def against(told: Floats, y: Integers, n_classes: int) -> tuple[Floats, Integers]:
    """Return how much of what is said speaks against each label, and for which class instead.

    Parameters
    ----------
    told : (l, l) float64
        See `told`.
    y : (l,) int64
    n_classes : int

    Returns
    -------
    contradiction : (l,) float64
        Share of the other labels that are of another class, in 0..1; 0 where nobody speaks.
    said : (l,) int64
        The class with the largest share; ties are the label's own, then the lowest. The label's
        own where nobody speaks.

    Examples
    --------
    >>> import numpy as np
    >>> T = np.array([[0.0, 0.75, 0.25], [0.5, 0.0, 0.5], [0.0, 0.0, 0.0]])
    >>> contradiction, said = against(T, np.array([0, 1, 0]), 2)
    >>> contradiction, said
    (array([0.75, 1.  , 0.  ]), array([1, 0, 0]))
    """
    votes = told @ np.eye(n_classes)[y]
    everyone = np.arange(y.size)
    own = votes[everyone, y]
    heard = votes.sum(axis=1)
    contradiction: Floats = np.where(heard > 0.0, np.clip(heard - own, 0.0, 1.0), 0.0)
    said = votes.argmax(axis=1)
    return contradiction, np.where(votes[everyone, said] > own, said, y)


def strongest_other(
    told: Floats, y: Integers, own: Integers, n_classes: int
) -> tuple[Integers, Floats]:
    """Return which class besides its own has most votes at each label, and its votes less own.

    Parameters
    ----------
    told : (l, l) float64
        See `told`.
    y : (l,) int64
        The classes that speak.
    own : (l,) int64
        The class that is left out at each label.
    n_classes : int

    Returns
    -------
    other : (l,) int64
        Ties are the lowest class's; the label's own where no other label is of another class.
    lead : (l,) float64
        Votes of the strongest other class less those of the own, in -1..1.

    Examples
    --------
    >>> T = np.array([[0.0, 0.9, 0.1], [0.6, 0.0, 0.4], [0.0, 0.0, 0.0]])
    >>> y = np.array([0, 0, 1])
    >>> strongest_other(T, y, y, 3)[0]
    array([1, 1, 1])
    """
    everyone = np.arange(y.size)
    votes = told @ np.eye(n_classes)[y]
    mine = votes[everyone, own]
    votes[everyone, own] = 0.0
    other = votes.argmax(axis=1)
    most = votes[everyone, other]
    return np.where(most > 0.0, other, own), most - mine


def _neighbours(problem: Problem) -> Floats:
    """Return the shares of the other labelled points under a kernel wide enough to be a jury."""
    graph = problem.graph
    if not isinstance(graph, RBFGraph):
        raise InputError(
            "witness='neighbours' needs the features of an RBFGraph, and this graph has weights "
            f"only; use 'propagator' or another one, such as {_FAR!r}."
        )
    l = problem.y.size  # noqa: E741 - the number of labelled points, everywhere
    if l == 1:
        return np.zeros((1, 1))
    distances = squared_distances(graph.X, problem.labeled, problem.labeled)
    largest = distances.max(axis=1, keepdims=True)
    np.fill_diagonal(distances, np.inf)
    distances -= distances.min(axis=1, keepdims=True)
    # Else a g of 1e15 would tell the nearest apart by how they were rounded.
    distances[distances <= TIED * largest] = 0.0
    np.fill_diagonal(distances, np.inf)
    sample = distances[:: -(-l // _SAMPLE)]
    sample = sample[np.isfinite(sample)].reshape(len(sample), l - 1)
    ties = float(np.median((sample == 0.0).sum(axis=1)))
    wanted = min(max(N_VOICES, 2.0 * ties), 0.5 * (ties + l - 1))
    positive = sample[sample > 0.0]
    gamma = 1.0
    if positive.size:
        # In units of the median, which g follows: whatever the features are measured in.
        unit = float(np.median(positive))
        with np.errstate(over="ignore"):
            distances /= unit
            sample /= unit
        if wanted > ties:
            gamma = solve_gamma(
                lambda g: float(np.median(effective_number(sample, g))) - wanted, 1.0
            )
    distances *= -gamma
    shares: Floats = np.exp(distances, out=distances)
    shares /= shares.sum(axis=1, keepdims=True)
    return shares


def _refuse_beyond_memory(n_labeled: int) -> None:
    """Refuse labels of which the memory does not hold what each says of each."""
    needed = 48 * n_labeled**2
    if needed > available_memory():
        raise InputError(
            f"what {n_labeled:,} labels say of each other takes {needed / 2**30:.1f} GiB, and "
            f"{available_memory() / 2**30:.1f} GiB are free; judge fewer labels at a time."
        )
