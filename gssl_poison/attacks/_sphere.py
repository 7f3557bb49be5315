"""Convex quadratics on a sphere: their maximum, exactly, and a good one with few entries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh, norm

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# Newton's method needs some ten steps; the limit is there for what no one thought of.
_STEPS = 200
# Entries of g, relative to what would reach the sphere by itself, that are no more than an accident
# of denormal numbers.
_NOTHING = 1e-200


@dataclass(frozen=True)
class Certificate:
    """What proves that a point of the sphere is a global maximum.

    Attributes
    ----------
    multiplier : float
        The lambda of ``(lambda I - H) t = g``.
    largest_eigenvalue : float
        That of H; the multiplier is not below it.
    residual : float
        ``|(lambda I - H) t - g| / (lambda |t| + |g|)``, computed from H itself.
    bound : float
        What no point of the sphere exceeds, by duality, rounding of the eigenvalues included.
    hard_case : bool
        Whether g has no part in the leading eigenspace and does not reach the sphere by itself, so
        that the maximum is taken twice, or everywhere on a circle.
    """

    multiplier: float
    largest_eigenvalue: float
    residual: float
    bound: float
    hard_case: bool


def maximize_on_sphere(H: Floats, g: Floats, radius: float) -> tuple[Floats, Certificate]:
    """Return the t of length `radius` that maximises ``1/2 t.T H t + g.T t``, and the proof.

    Parameters
    ----------
    H : (l, l) float64
        Symmetric, positive semidefinite and not 0.
    g : (l,) float64
    radius : float
        Positive.

    Returns
    -------
    t : (l,) float64
        Where there are two, the one whose part in the leading eigenspace has a positive sum.
    certificate : Certificate

    Raises
    ------
    numpy.linalg.LinAlgError
        H has no eigendecomposition: it holds what is not finite.

    Notes
    -----
    A point t of the sphere is a global maximum if and only if ``(lambda I - H) t = g`` for a
    ``lambda >= lambda_max``. With ``H = V diag(e) V.T``, ``c = V.T g`` and
    ``mu = lambda - lambda_max``, that leaves one equation in one unknown,

        sum_i c_i^2 / (lambda_max - e_i + mu)^2 = radius^2,   mu >= 0.

    The inverse root of its left side is concave and increases, so that Newton's method climbs to
    the solution from below and cannot pass it. The unknown is mu and not lambda: where it is
    1e-17 of lambda_max it has all its digits all the same. One eigendecomposition, about
    ``9 l^3`` operations.

    References
    ----------
    More and Sorensen 1983, Computing a trust region step. Conn, Gould and Toint 2000, Trust-region
    methods, section 7.3.

    Examples
    --------
    >>> import numpy as np
    >>> t, proof = maximize_on_sphere(np.diag([1.0, 2.0]), np.array([3.0, 0.0]), 5.0)
    >>> t.round(12), proof.hard_case, proof.multiplier
    (array([3., 4.]), True, 2.0)
    """
    values, vectors = eigh(H)
    top = float(values[-1])
    # In units of the radius and of the largest eigenvalue, from here on.
    below = np.maximum(1.0 - values / top, 0.0)
    pulls = (vectors.T @ g) / top / radius
    pulls[np.abs(pulls) < _NOTHING] = 0.0
    mu = solve_secular(below, pulls)
    reached = np.zeros_like(pulls)
    used = pulls != 0.0
    reached[used] = pulls[used] / (below[used] + mu)
    hard_case = mu == 0.0
    if hard_case:
        side = 1.0 if vectors[:, -1].sum() >= 0.0 else -1.0
        reached[-1] = side * np.sqrt(max(0.0, 1.0 - float(norm(reached)) ** 2))
    t = vectors @ reached
    t *= radius / norm(t)
    multiplier = top * (1.0 + mu)
    left = multiplier * t - H @ t - g
    residual = float(norm(left) / (multiplier * radius + norm(g)))
    dual = 1.0 + mu + float(pulls[used] @ reached[used])
    # What eigh and the products here lose to rounding, 8 l eps of lambda radius^2, is added.
    lost = 8 * g.size * np.finfo(np.float64).eps * (1.0 + mu)
    bound = float(0.5 * top * radius * (dual + lost) * radius)
    return t, Certificate(multiplier, top, residual, bound, hard_case)


def solve_secular(below: Floats, pulls: Floats) -> float:
    """Return the ``mu >= 0`` with ``sum_i (pulls_i / (below_i + mu))^2 = 1``, or 0.

    Parameters
    ----------
    below : (l,) float64
        Distances from the largest eigenvalue, between 0 and 1; one of them is 0.
    pulls : (l,) float64

    Returns
    -------
    float
        0 where the sum is at most 1 for every ``mu > 0``: the hard case.

    Notes
    -----
    Newton's method on ``1 / |pulls / (below + mu)| = 1``, from a mu at which the sum is at least 1:
    each entry by itself, and all of them together, say how small mu cannot be.

    Examples
    --------
    >>> import numpy as np
    >>> solve_secular(np.array([1.0, 0.0]), np.array([0.0, 3.0]))
    3.0
    """
    used = pulls != 0.0
    if not used.any():
        return 0.0
    below, sizes = below[used], np.abs(pulls[used])
    mu = max(0.0, float((sizes - below).max()), float(norm(sizes)) - float(below.max()))
    if mu == 0.0 and float(norm(sizes / below)) <= 1.0:
        return 0.0
    for _ in range(_STEPS):
        reached = sizes / (below + mu)
        length = float(norm(reached))
        # Of unit length first: the squares of very large entries would not be representable.
        slope = float(((reached / length) ** 2 / (below + mu)).sum())
        step = (length - 1.0) / slope
        if not mu + step > mu:
            break
        mu += step
    return mu


def maximize_on_few(H: Floats, g: Floats, radius: float, start: Floats, count: int) -> Floats:
    """Return a t of length `radius` with so many entries, from which no step leads higher.

    Parameters
    ----------
    H : (l, l) float64
        Symmetric, positive semidefinite, no entry of its diagonal 0.
    g : (l,) float64
    radius : float
    start : (l,) float64
        Its largest entries are the first ones.
    count : int
        Entries that may differ from 0, 1 to l.

    Notes
    -----
    The objective is convex: of all t with so many entries the one along the largest of the gradient
    promises most, and does at least what it promises. So the objective grows until the entries
    stay, or would change for nothing.

    References
    ----------
    Yuan and Zhang 2013, Truncated power method for sparse eigenvalue problems.

    Examples
    --------
    >>> import numpy as np
    >>> maximize_on_few(np.diag([1.0, 2.0]), np.array([3.0, 0.0]), 1.0, np.ones(2), 1)
    array([1., 0.])
    """
    best, most = np.zeros_like(g), -np.inf
    support = _largest(start, count)
    for _ in range(_STEPS):
        t = np.zeros_like(g)
        t[support], _proof = maximize_on_sphere(H[np.ix_(support, support)], g[support], radius)
        moved = H @ t
        value = float(0.5 * (t @ moved) + g @ t)
        if not value > most:
            break
        best, most = t, value
        support = _largest(moved + g, count)
    return best


def leading_vector(H: Floats) -> Floats:
    """Return the leading eigenvector, of the two the one with the positive sum.

    Examples
    --------
    >>> import numpy as np
    >>> leading_vector(np.diag([1.0, 2.0]))
    array([0., 1.])
    """
    last = H.shape[0] - 1
    vector: Floats = eigh(H, subset_by_index=[last, last])[1][:, 0]
    return -vector if vector.sum() < 0.0 else vector


def of_length(t: Floats, radius: float) -> Floats:
    """Return the vector of that length in the direction of t, which is not 0.

    Examples
    --------
    >>> import numpy as np
    >>> of_length(np.array([3e-200, 4e-200]), 10.0)
    array([6., 8.])
    """
    # By the largest entry first, so that no square is too large or too small for float64.
    direction = t / np.abs(t).max()
    result: Floats = direction * (radius / np.linalg.norm(direction))
    return result


def _largest(t: Floats, count: int) -> Integers:
    """Return the positions of the largest entries by size, ascending; ties to the lower one."""
    return np.sort(np.argsort(-np.abs(t), kind="stable")[:count])
