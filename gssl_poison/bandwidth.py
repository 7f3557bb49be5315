"""Choosing gamma, the kernel coefficient of ``w_ij = exp(-gamma |x_i - x_j|^2)``."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gssl_poison._arrays import Features, is_sparse, refuse_not_finite
from gssl_poison.exceptions import InputError

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

RULES = ("auto", "scale", "median", "loo")

# Enough for the median of an entropy to be steady within a few per cent.
_SAMPLE = 256
# Distances of the sample are held at once: at most this many.
_MOST_DISTANCES = 2**21
_LOO_SAMPLE = 2048


@dataclass(frozen=True)
class Bandwidth:
    """A value of gamma and how it was found.

    Attributes
    ----------
    gamma : float
        The kernel coefficient, in inverse squared units of X.
    rule : str
        ``"given"``, or the name of the rule.
    note : str
        How it was found, in words that follow "gamma 0.75: ".
    reads_labels : bool
        Whether the labels, not only their positions, had a say.
    """

    gamma: float
    rule: str
    note: str
    reads_labels: bool = False


def choose_gamma(
    X: Features,
    gamma: float | str = "auto",
    *,
    labeled: Integers | None = None,
    unlabeled: Integers | None = None,
    codes: Integers | None = None,
) -> Bandwidth:
    """Return the kernel coefficient for a number or the name of a rule.

    Parameters
    ----------
    X : (n, d) features
        As `gssl_poison._arrays.as_features` returns them.
    gamma : float or {"auto", "scale", "median", "loo"}
        A positive number is taken as it is. See Notes for the rules.
    labeled, unlabeled : (l,), (u,) int64, optional
        Row numbers; ``"auto"`` needs both, ``"loo"`` the first.
    codes : (l,) int64, optional
        Classes of the labelled points; ``"loo"`` needs them.

    Returns
    -------
    Bandwidth

    Raises
    ------
    InputError
        The number is not positive and finite, the rule is not known, or it lacks what it needs.

    Notes
    -----
    - ``"scale"``: ``1 / (d var(X))``.
    - ``"median"``: one over the median squared distance of a sample of points (Garreau,
      Jitkrittum and Kanagawa 2017, arXiv:1707.07269).
    - ``"auto"``: the gamma at which the median unlabelled point of a fixed sample is influenced
      by an effective 3 labelled points, the exponential of the entropy of its shares. With l < 6
      labelled points the target is ``1 + 2 (l - 1) / 5``. Entropy falls as gamma grows, so
      a root search finds it. Points that tie at the shortest distance count as one. Labels are not
      read. Costs ``2 s l d`` operations, ``s`` at most 256.
    - ``"loo"``: the gamma that maximises the leave-one-out log-likelihood of the known labels,
      ``sum_j log(sum_{k != j, y_k = y_j} w_jk / sum_{k != j} w_jk)``, over at most 2,048 of them.
      It reads labels. A class of one point has no support without it and is left out of the sum.
      One class alone is refused: every gamma is equally likely.
    """
    if isinstance(gamma, str):
        # Overflow and underflow end in a value that is checked, and refused in words.
        with np.errstate(all="ignore"):
            return _by_rule(X, gamma, labeled, unlabeled, codes)
    if isinstance(gamma, bool) or not isinstance(gamma, int | float | np.integer | np.floating):
        raise InputError(f"gamma={gamma!r} is neither a number nor one of {', '.join(RULES)}.")
    try:
        value = float(gamma)
    except OverflowError:
        value = math.inf
    if not (math.isfinite(value) and value > 0.0):
        raise InputError(
            f"gamma={value} is not usable; it must be a positive finite number, or one of "
            f"{', '.join(RULES)}."
        )
    return Bandwidth(value, "given", "as given")


def _by_rule(
    X: Features,
    rule: str,
    labeled: Integers | None,
    unlabeled: Integers | None,
    codes: Integers | None,
) -> Bandwidth:
    """Dispatch on the name of the rule."""
    if rule == "scale":
        return _scale(X)
    if rule == "median":
        return _median(X)
    if rule == "auto":
        if labeled is None or unlabeled is None:
            raise InputError(
                "gamma='auto' needs to know which points are labelled; pass labeled=, a number, "
                "'scale' or 'median'."
            )
        return _effective_neighbours(X, labeled, unlabeled)
    if rule == "loo":
        if labeled is None or codes is None:
            raise InputError("gamma='loo' reads the known labels; pass labeled= and y=.")
        return _leave_one_out(X, labeled, codes)
    raise InputError(
        f"gamma={rule!r} is not a rule; use a positive number or one of {', '.join(RULES)}."
    )


def squared_distances(X: Features, rows: Integers, columns: Integers) -> Floats:
    """Return squared distances between two sets of rows, (rows, columns) float64, by one product.

    Good to about 1e-14 of the squared norms: enough to choose a bandwidth, not to decide a count.
    """
    if is_sparse(X):
        a, b = X[rows].astype(np.float64), X[columns].astype(np.float64)
        a_squares, b_squares = (np.asarray(m.multiply(m).sum(axis=1)).ravel() for m in (a, b))
        product = (a @ b.T).toarray()
    else:
        a, b = np.asarray(X[rows], dtype=np.float64), np.asarray(X[columns], dtype=np.float64)
        # Before the centre is taken: one row that is not finite would spoil them all.
        for points, which in ((b, columns), (a, rows)):
            _refuse_not_finite(X, points.sum(axis=1), which)
        center = b.mean(axis=0)
        a, b = a - center, b - center
        a_squares, b_squares = np.einsum("ij,ij->i", a, a), np.einsum("ij,ij->i", b, b)
        product = a @ b.T
    for squares, which in ((b_squares, columns), (a_squares, rows)):
        _refuse_not_finite(X, squares, which)
    distances: Floats = a_squares[:, None] + b_squares - 2.0 * product
    _refuse_not_finite(X, distances.sum(axis=1), rows)
    # A distance lost to cancellation is a duplicate's: exactly 0.
    floor = 1e-14 * (a_squares[:, None] + b_squares)
    distances[distances < floor] = 0.0
    return distances


def _refuse_not_finite(X: Features, sums: Floats, rows: Integers) -> None:
    """Refuse the rows whose sums are not finite."""
    if not np.isfinite(sums).all():
        refuse_not_finite(X, rows[~np.isfinite(sums)])


def _sample(points: Integers, size: int) -> Integers:
    """Return a fixed random subset, ascending."""
    if points.size <= size:
        return points
    chosen = np.random.default_rng(0).choice(points.size, size=size, replace=False)
    return points[np.sort(chosen)]


def _scale(X: Features) -> Bandwidth:
    """1 / (d var), the variance over all entries, in row blocks."""
    n, d = X.shape
    if is_sparse(X):
        data = X.data.astype(np.float64)
        mean = data.sum() / (n * d)
        variance = float((np.square(data - mean).sum() + (n * d - data.size) * mean**2) / (n * d))
    else:
        step = max(1, 2**20 // d)
        starts = range(0, n, step)
        mean = sum(float(X[s : s + step].sum(dtype=np.float64)) for s in starts) / (n * d)
        variance = sum(
            float(np.square(X[s : s + step].astype(np.float64) - mean).sum()) for s in starts
        ) / (n * d)
    if not math.isfinite(variance):
        refuse_not_finite(X, np.arange(n, dtype=np.int64))
    if variance == 0.0:
        return Bandwidth(
            1.0, "scale", "all features are constant, so gamma is 1 and does not matter"
        )
    return _checked(1.0 / (d * variance), "scale", "1 / (number of features x variance of X)")


def _median(X: Features) -> Bandwidth:
    """One over the median squared distance between the points of a sample."""
    points = _sample(np.arange(X.shape[0], dtype=np.int64), 4 * _SAMPLE)
    distances = squared_distances(X, points, points)[np.triu_indices(points.size, 1)]
    middle = float(np.median(distances)) if distances.size else 0.0
    if middle == 0.0:
        positive = distances[distances > 0.0]
        if positive.size == 0:
            return Bandwidth(
                1.0, "median", "all sampled points are equal, so gamma is 1 and does not matter"
            )
        return _checked(
            1.0 / float(np.median(positive)),
            "median",
            "one over the median squared distance of the sampled pairs that differ "
            "(most of them are duplicates)",
        )
    return _checked(1.0 / middle, "median", f"one over the median squared distance, {middle:.4g}")


def _checked(gamma: float, rule: str, words: str, reads_labels: bool = False) -> Bandwidth:
    """Build the result of a rule, refusing a value that left float64."""
    if not (math.isfinite(gamma) and gamma > 0.0):
        raise InputError(f"gamma={rule!r} gives {gamma} on this X; rescale X or give a number.")
    return Bandwidth(gamma, rule, words, reads_labels)


def effective_number(distances: Floats, gamma: float) -> Floats:
    """Return the exponential of the entropy of every row's shares at this gamma, (rows,)."""
    scores = -gamma * (distances - distances.min(axis=1, keepdims=True))
    weights = np.exp(scores)
    mass = weights.sum(axis=1)
    # A weight that underflows to 0 adds nothing, however far below its score is.
    products = np.multiply(weights, scores, out=np.zeros_like(scores), where=weights > 0.0)
    result: Floats = mass * np.exp(-products.sum(axis=1) / mass)
    return result


def solve_gamma(excess: Callable[[float], float], start: float) -> float:
    """Return the gamma at which a decreasing function is 0, bracketed outwards from ``start``."""
    from scipy.optimize import brentq

    low = high = math.log(start)
    while excess(math.exp(low)) < 0.0:
        low -= 1.5
    while excess(math.exp(high)) > 0.0:
        high += 1.5
    if high - low > 1.5:  # one end is still the start, and the other is at most 1.5 past the root
        low, high = (high - 1.5, high) if high > math.log(start) else (low, low + 1.5)
    if low == high:
        return start
    return math.exp(brentq(lambda g: excess(math.exp(g)), low, high, xtol=1e-6))


def _effective_neighbours(X: Features, labeled: Integers, unlabeled: Integers) -> Bandwidth:
    """Find the gamma at which the median unlabelled point listens to an effective 3 labels."""
    n_labeled = labeled.size
    wanted = min(3.0, 1.0 + 0.4 * (n_labeled - 1))
    if n_labeled == 1:
        found = _scale(X)
        return Bandwidth(
            found.gamma, "auto", "a single labelled point has every share, whatever gamma is"
        )
    columns = _sample(labeled, _MOST_DISTANCES // 32)
    sample = _sample(unlabeled, max(32, min(_SAMPLE, _MOST_DISTANCES // columns.size)))
    distances = squared_distances(X, sample, columns)
    distances -= distances.min(axis=1, keepdims=True)
    positive = distances[distances > 0.0]
    # Where gamma grows without end only the labelled points nearest to a point are left.
    ties = float(np.median((distances == 0.0).sum(axis=1)))
    target = min(wanted * ties, 0.5 * (ties + columns.size))
    if positive.size == 0 or target <= ties:
        return Bandwidth(
            1.0,
            "auto",
            "most points are equally far from all labels, so gamma is 1 and hardly matters",
        )
    near = np.partition(distances, min(4, columns.size - 1), axis=1)[:, min(4, columns.size - 1)]
    start = 1.0 / np.median(near[near > 0.0]) if (near > 0.0).any() else 1.0 / positive.max()
    if not np.isfinite([start, 1.0 / start]).all():
        raise InputError(
            f"gamma='auto' would be near {start:.3g} on this X; rescale X to values near 1."
        )

    def excess(gamma: float) -> float:
        return float(np.median(effective_number(distances, gamma))) - target

    gamma = solve_gamma(excess, float(start))
    said = f"the median unlabelled point is influenced by an effective {target:.3g} labelled points"
    if ties > 1.0:
        said += f" (its {ties:.3g} nearest are duplicates, or equally near, and count as one)"
    return _checked(gamma, "auto", said + "; labels are not read")


def loo_log_likelihood(distances: Floats, codes: Integers, gamma: float) -> float:
    """Return the leave-one-out log-likelihood of the labels, classes of one point left out."""
    scores = -gamma * distances
    np.fill_diagonal(scores, -np.inf)
    total = _log_sum_exp(scores)
    same = _log_sum_exp(np.where(codes[:, None] == codes, scores, -np.inf))
    supported = np.bincount(codes)[codes] > 1
    return float((same - total)[supported].sum())


def _log_sum_exp(scores: Floats) -> Floats:
    """Return log(sum(exp(row))) of every row; -inf where the row is."""
    top = scores.max(axis=1, keepdims=True)
    safe = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore", under="ignore"):  # tests call this on its own
        result: Floats = np.log(np.exp(scores - safe).sum(axis=1)) + safe[:, 0]
    return result


def _leave_one_out(X: Features, labeled: Integers, codes: Integers) -> Bandwidth:
    """Maximise the leave-one-out likelihood over a grid of gammas, then refine the best."""
    position = _sample(np.arange(labeled.size, dtype=np.int64), _LOO_SAMPLE)
    points, codes = labeled[position], codes[position]
    counts = np.bincount(codes)
    n_classes, alone = int((counts > 0).sum()), int((counts == 1).sum())
    if n_classes < 2:
        raise InputError(
            "gamma='loo' compares classes and the labels have one class only; use gamma='auto'."
        )
    if alone == n_classes:
        raise InputError(
            f"gamma='loo' has no class with two labelled points among {n_classes}; "
            "use gamma='auto' or label more."
        )
    distances = squared_distances(X, points, points)
    positive = distances[distances > 0.0]
    if positive.size == 0:
        return Bandwidth(
            1.0, "loo", "all labelled points are equal, so gamma is 1 and does not matter"
        )
    low, high = math.log(1e-3 / float(positive.max())), math.log(1e3 / float(positive.min()))
    grid = np.linspace(low, high, 49)
    for _ in range(3):
        likelihood = [loo_log_likelihood(distances, codes, math.exp(g)) for g in grid]
        best = int(np.argmax(likelihood))
        log_gamma = float(grid[best])
        grid = np.linspace(grid[max(best - 1, 0)], grid[min(best + 1, grid.size - 1)], 13)
    words = f"best leave-one-out likelihood of {points.size} known labels, which it reads"
    if alone:
        words += f"; classes with a single labelled point are left out ({alone} of {n_classes})"
    return _checked(math.exp(log_gamma), "loo", words, reads_labels=True)
