"""Attacks on real-valued labels, all with `.attack(problem, surrogate, radius)`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from gssl_poison.attacks._common import SEED
from gssl_poison.attacks._sphere import (
    Certificate,
    leading_vector,
    maximize_on_few,
    maximize_on_sphere,
    of_length,
)
from gssl_poison.attacks.real_values import (
    Perturbation,
    Quadratic,
    RegressionProblem,
    predict_values,
    rmse,
)
from gssl_poison.exceptions import InputError, InputTypeError
from gssl_poison.propagation import Fitted

_BOTH_SIGNS = (
    "both signs move the predictions equally far; the one that raises the labels on the whole is "
    "taken"
)
# Part of the gradient along the sphere from which on an ascent has not arrived.
_ARRIVED = 1e-6
# What multiplies a gradient in float64 without overflow.
_LARGEST = 1e100


class RegressionAttack(Protocol):
    """What an attack on real values is: a frozen dataclass of its settings with one verb.

    ``source`` says where the method comes from, ``surrogate`` which propagator it was made for.
    """

    source: ClassVar[str]
    surrogate: ClassVar[str]

    def attack(self, problem: RegressionProblem, surrogate: Fitted, radius: float) -> Perturbation:
        """Choose what to add to the labels."""


@dataclass(frozen=True)
class TrustRegion:
    """Maximise the error exactly: no perturbation of that length does more.

    Parameters
    ----------
    truth : bool, default True
        Whether the attacker knows the true values of the unlabelled points; one who does not
        maximises the distance from the clean predictions, as `LeadingEigenvector` does.

    Notes
    -----
    With ``f = K (y + t)``, K the shares of the unlabelled points, the squared error grows by twice

        1/2 t.T K.T K t + g.T t,   g = K.T (K y - y_U),

    a convex quadratic, which on ``|t| = radius`` can have a second, lower top. Its secular equation
    gives the global one, with a proof in ``certificate``. ``r l^2 + 9 l^3`` operations for r
    unlabelled points.

    References
    ----------
    Liu, Si, Zhu, Li and Hsieh 2019, A unified framework for data poisoning attack to graph-based
    semi-supervised learning, whose objective it is. More and Sorensen 1983, Computing a trust
    region step.

    Examples
    --------
    >>> import numpy as np
    >>> from gssl_poison import Harmonic, RBFGraph
    >>> graph = RBFGraph(np.array([[0.0], [0.1], [0.2], [1.0], [1.1]]), gamma=2.0)
    >>> problem = RegressionProblem(
    ...     graph, [0, 3], y=[0.0, 1.0], truth=[0.0, 0.2, 0.1, 1.0, 1.0]
    ... )
    >>> victim = Harmonic().fit(graph, [0, 3])
    >>> found = TrustRegion().attack(problem, victim, radius=0.5)
    >>> found.values.round(3), round(rmse(victim, problem, found), 3)
    (array([0.467, 0.178]), 0.418)
    """

    truth: bool = True

    source: ClassVar[str] = "Liu et al. 2019, solved exactly"
    surrogate: ClassVar[str] = "harmonic"

    def attack(self, problem: RegressionProblem, surrogate: Fitted, radius: float) -> Perturbation:
        """Choose what to add to the labels.

        Parameters
        ----------
        problem : RegressionProblem
        surrogate : Fitted
            The propagator whose shares are read.
        radius : float
            Length of the perturbation, in the unit of the labels.

        Returns
        -------
        Perturbation
            With a certificate. Its objective is comparable between attacks of one ``used_truth``.
        """
        task = Quadratic.begin(problem, surrogate, radius, self.truth, "TrustRegion")
        t, certificate = maximize_on_sphere(task.hessian(), task.g, task.radius)
        notes = (_BOTH_SIGNS,) if not task.g.any() else ()
        return task.perturbation(self, t, certificate=certificate, notes=notes)


@dataclass(frozen=True)
class ProjectedAscent:
    """Climb from the direction of the gradient, as published.

    Parameters
    ----------
    n_steps : int, default 2000
    step : float, default 1e-3
        By which the gradient is multiplied.
    truth : bool, default True
        As in `TrustRegion`. Without it the gradient at 0 is 0, and the ascent starts from equal
        entries.

    Notes
    -----
    ``t <- radius (t + step (K.T K t + g)) / |...|`` from ``t = radius g / |g|``. The objective is
    convex, so that no step lowers it, and from there the limit is the maximum, unless g is
    orthogonal to the leading eigenspace; but steps of a length that does not know the data's may
    be far from it, and a note says when they are.
    ``r l^2 + 2 n_steps l^2`` operations.

    References
    ----------
    Liu et al. 2019, the published code.

    Examples
    --------
    >>> import numpy as np
    >>> from gssl_poison import Harmonic, RBFGraph
    >>> graph = RBFGraph(np.array([[0.0], [0.1], [0.2], [1.0], [1.1]]), gamma=2.0)
    >>> problem = RegressionProblem(
    ...     graph, [0, 3], y=[0.0, 1.0], truth=[0.0, 0.2, 0.1, 1.0, 1.0]
    ... )
    >>> victim = Harmonic().fit(graph, [0, 3])
    >>> found = ProjectedAscent().attack(problem, victim, radius=0.5)
    >>> found.values.round(3), round(rmse(victim, problem, found), 3)
    (array([ 0.499, -0.032]), 0.399)
    """

    n_steps: int = 2000
    step: float = 1e-3
    truth: bool = True

    source: ClassVar[str] = "Liu et al. 2019, published code"
    surrogate: ClassVar[str] = "harmonic"

    def __post_init__(self) -> None:
        """Refuse settings that are no ascent."""
        if not (_is_number(self.n_steps) and self.n_steps % 1 == 0 and self.n_steps >= 1):
            raise InputError(f"n_steps={self.n_steps!r} must be a whole number, 1 or more.")
        if not (_is_number(self.step) and 0.0 < self.step <= _LARGEST):
            raise InputError(f"step={self.step!r} must be a positive, finite number, such as 1e-3.")

    def attack(self, problem: RegressionProblem, surrogate: Fitted, radius: float) -> Perturbation:
        """Choose what to add to the labels; see `TrustRegion.attack`."""
        task = Quadratic.begin(problem, surrogate, radius, self.truth, "ProjectedAscent")
        H, notes = task.hessian(), []
        start = task.g
        if not start.any():
            start = np.ones_like(task.g)
            notes.append("the gradient at 0 is 0: the ascent starts from equal entries")
        t = of_length(start, task.radius)
        for _ in range(self.n_steps):
            t = of_length(t + self.step * (H @ t + task.g), task.radius)
        unit = t / task.radius
        gradient = H @ t + task.g
        along = gradient - (gradient @ unit) * unit
        left = float(np.linalg.norm(along) / np.linalg.norm(gradient)) if gradient.any() else 0.0
        if left > _ARRIVED:
            notes.append(
                f"after {self.n_steps:,} steps {left:.1e} of the gradient still points along the "
                "sphere: the ascent has not arrived"
            )
        return task.perturbation(self, t, notes=tuple(notes))


@dataclass(frozen=True)
class LeadingEigenvector:
    """Move the labels along the direction that moves the predictions most.

    Parameters
    ----------
    truth : bool, default False
        Whether the attacker knows the true values, and takes the worse of both signs.

    Notes
    -----
    ``t = +- radius v``, v the leading eigenvector of ``K.T K``; its entries all have one sign, as
    those of K do. Of the clean predictions both signs are equally far; the one that raises the
    labels is taken. ``r l^2 + 4/3 l^3`` operations.

    References
    ----------
    Liu et al. 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from gssl_poison import Harmonic, RBFGraph
    >>> graph = RBFGraph(np.array([[0.0], [0.1], [0.2], [1.0], [1.1]]), gamma=2.0)
    >>> problem = RegressionProblem(graph, [0, 3], y=[0.0, 1.0])
    >>> victim = Harmonic().fit(graph, [0, 3])
    >>> LeadingEigenvector().attack(problem, victim, radius=0.5).values.round(3)
    array([0.407, 0.29 ])
    """

    truth: bool = False

    source: ClassVar[str] = "Liu et al. 2019"
    surrogate: ClassVar[str] = "harmonic"

    def attack(self, problem: RegressionProblem, surrogate: Fitted, radius: float) -> Perturbation:
        """Choose what to add to the labels; see `TrustRegion.attack`."""
        task = Quadratic.begin(problem, surrogate, radius, self.truth, "LeadingEigenvector")
        t = of_length(leading_vector(task.hessian()), task.radius)
        pull = float(task.g @ t)
        notes = (_BOTH_SIGNS,) if pull == 0.0 else ()
        return task.perturbation(self, -t if pull < 0.0 else t, notes=notes)


@dataclass(frozen=True)
class SparsePerturbation:
    """Change few labels by much: exactly as many as are asked for.

    Parameters
    ----------
    n_nonzero : int or float, default 0.1
        Labels that change, or the part of them, between 0 and 1, which is one label at least.
    truth : bool, default False
        As in `TrustRegion`.

    Notes
    -----
    By turns, the maximum on given labels is found exactly, and the labels with the largest entries
    of its gradient are given next (the truncated power method, solved where it only climbs): the
    objective never falls. From the leading eigenvector, from g, and from the labels that do most
    by themselves; the best is returned. Which labels are best is NP-hard: nothing is proven about
    them. scikit-learn's SparsePCA was not taken: it centres K, and its alpha does not say how many
    entries it leaves. ``r l^2 + 4/3 l^3`` operations, and ``9 n_nonzero^3`` some ten times.

    References
    ----------
    Liu et al. 2019 use a sparse principal component of K. Yuan and Zhang 2013, Truncated power
    method for sparse eigenvalue problems.

    Examples
    --------
    >>> import numpy as np
    >>> from gssl_poison import Harmonic, RBFGraph
    >>> graph = RBFGraph(np.array([[0.0], [0.1], [0.2], [1.0], [1.1]]), gamma=2.0)
    >>> problem = RegressionProblem(graph, [0, 3], y=[0.0, 1.0])
    >>> victim = Harmonic().fit(graph, [0, 3])
    >>> SparsePerturbation(n_nonzero=1).attack(problem, victim, radius=0.5).values
    array([0.5, 0. ])
    """

    n_nonzero: float = 0.1
    truth: bool = False

    source: ClassVar[str] = "Liu et al. 2019, by truncated ascent"
    surrogate: ClassVar[str] = "harmonic"

    def __post_init__(self) -> None:
        """Refuse what is neither a count nor a part."""
        if not _is_number(self.n_nonzero):
            raise InputTypeError(
                f"n_nonzero={self.n_nonzero!r} is not a number; give a count such as 20, or a part "
                "such as 0.1."
            )
        whole = isinstance(self.n_nonzero, int | np.integer)
        if not (self.n_nonzero >= 1 if whole else 0.0 < self.n_nonzero < 1.0):
            raise InputError(
                f"n_nonzero={self.n_nonzero!r} is out of range; a count is a whole number from 1, "
                "a part lies between 0 and 1."
            )

    def attack(self, problem: RegressionProblem, surrogate: Fitted, radius: float) -> Perturbation:
        """Choose what to add to the labels; see `TrustRegion.attack`."""
        count = self._count(problem.y.size)
        task = Quadratic.begin(problem, surrogate, radius, self.truth, "SparsePerturbation")
        H, g = task.hessian(), task.g
        alone = 0.5 * task.radius * np.diag(H) + np.abs(g)
        starts = [leading_vector(H), alone, *([g] if g.any() else [])]
        tried = [maximize_on_few(H, g, task.radius, start, count) for start in starts]
        best = max(tried, key=task.value)
        notes = (f"{count:,} of {g.size:,} labels change",)
        return task.perturbation(self, best, notes=notes if g.any() else (*notes, _BOTH_SIGNS))

    def _count(self, n_labeled: int) -> int:
        """Return how many labels change."""
        if isinstance(self.n_nonzero, int | np.integer):
            if self.n_nonzero > n_labeled:
                raise InputError(
                    f"n_nonzero={self.n_nonzero} is more than there are labels; it must lie in "
                    f"1..{n_labeled}."
                )
            return int(self.n_nonzero)
        # 0.29 * 100 is 28.999...: what is whole but for its last digits is whole.
        return max(1, int(self.n_nonzero * n_labeled + 1e-9))


@dataclass(frozen=True)
class GaussianPerturbation:
    """Change labels at random: what an attack must be compared with.

    Parameters
    ----------
    random_state : int, default 2020

    Notes
    -----
    Independent normal entries, scaled to the radius: a uniform direction. Reads no truth.

    References
    ----------
    Liu et al. 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from gssl_poison import Harmonic, RBFGraph
    >>> graph = RBFGraph(np.array([[0.0], [0.1], [0.2], [1.0], [1.1]]), gamma=2.0)
    >>> problem = RegressionProblem(graph, [0, 3], y=[0.0, 1.0])
    >>> found = GaussianPerturbation().attack(
    ...     problem, Harmonic().fit(graph, [0, 3]), radius=0.5
    ... )
    >>> round(float(np.linalg.norm(found.values)), 12)
    0.5
    """

    random_state: int = SEED

    source: ClassVar[str] = "Liu et al. 2019"
    surrogate: ClassVar[str] = "harmonic"

    def attack(self, problem: RegressionProblem, surrogate: Fitted, radius: float) -> Perturbation:
        """Choose what to add to the labels; see `TrustRegion.attack`."""
        task = Quadratic.begin(problem, surrogate, radius, False, "GaussianPerturbation")
        drawn = np.random.default_rng(self.random_state).standard_normal(problem.y.size)
        return task.perturbation(self, of_length(drawn, task.radius))


def _is_number(value: object) -> bool:
    """Tell numbers from what only looks like them."""
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


# One line an attack, as in `ATTACKS`; these take a radius where those take a budget.
REGRESSION_ATTACKS: dict[str, type[RegressionAttack]] = {
    "trust-region": TrustRegion,
    "projected-ascent": ProjectedAscent,
    "eigenvector": LeadingEigenvector,
    "sparse": SparsePerturbation,
    "gaussian": GaussianPerturbation,
}

__all__ = [
    "REGRESSION_ATTACKS",
    "Certificate",
    "GaussianPerturbation",
    "LeadingEigenvector",
    "Perturbation",
    "ProjectedAscent",
    "RegressionAttack",
    "RegressionProblem",
    "SparsePerturbation",
    "TrustRegion",
    "predict_values",
    "rmse",
]
