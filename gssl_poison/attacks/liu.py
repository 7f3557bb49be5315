"""Attacks of Liu et al. that search among real numbers and round: trust region and probabilities.

Their greedy attacks are in `gssl_poison.attacks.greedy`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from gssl_poison._arguments import check_choice
from gssl_poison.attacks._common import PRESETS, SEED, Surrogate
from gssl_poison.attacks._relaxation import Relaxed, check_settings
from gssl_poison.exceptions import InputError
from gssl_poison.problem import Poison, Problem

Floats = npt.NDArray[np.float64]

# Where probabilities are kept, so that their logits are finite.
_LEAST, _MOST = 0.001, 0.999


@dataclass(frozen=True)
class Threshold:
    """Flip the labels that turn most in the worst labels of the same length: trust region.

    Parameters
    ----------
    truth : bool, default True
        Wrong against the true classes; else against what the clean labels predict.
    preset : {"corrected", "replication"}, default "corrected"
        "replication": the published procedure on its numerically void K, formed of the graph with
        self-loops in float64, in place of the surrogate's M; two classes only. It climbs with the
        wrong sign of g and reads v where d is meant.
    n_steps : int, default 100
    step : float, default 1e-3

    Notes
    -----
    With y in {-1, 1}, ``d_j = -1`` a flip and ``v = y_L * d``, maximises
    ``1/2 |K v - y_U|^2 = 1/2 v^T M v - g^T v + const``, ``M = K^T K``, ``g = K^T y_U``, over
    ``|v| <= sqrt(l)`` by projected ascent from ``-sqrt(l) g / |g|``, and flips the labels of least
    d. Steps never lead inwards: the function is convex and above its value at 0 from the start, so
    that sphere and ball are one constraint. The published code has ``+g``, starts there, and takes
    the least v, none above 1. More classes: a label is the mixture of the old class and of the one
    that does most damage, scaled to -1..1. ``u l^2`` operations and l^2 a step.

    References
    ----------
    Liu, Si, Zhu, Li and Hsieh 2019, A unified framework for data poisoning attack to graph-based
    semi-supervised learning.

    Examples
    --------
    >>> import numpy as np
    >>> from gssl_poison import Harmonic, Problem, RBFGraph
    >>> graph = RBFGraph(np.array([[0.0], [0.1], [0.2], [1.0], [5.0], [5.1]]), gamma=1.0)
    >>> problem = Problem(graph, labeled=[0, 4], y=[0, 1], truth=[0, 0, 0, 0, 1, 1])
    >>> poison = Threshold().attack(problem, Harmonic().fit(graph, [0, 4]), budget=1)
    >>> poison.order, poison.objective
    (array([0]), array([0.75]))
    """

    truth: bool = True
    preset: str = "corrected"
    n_steps: int = 100
    step: float = 1e-3

    source: ClassVar[str] = "Liu et al., NeurIPS 2019"
    surrogate: ClassVar[str] = "harmonic"
    nested: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse settings that cannot be meant."""
        check_choice("preset", self.preset, PRESETS)
        check_settings(self, ("step",))

    def attack(self, problem: Problem, surrogate: Surrogate, budget: float) -> Poison:
        """Choose labels to flip; see `MIR.attack`. Objective: wrong part of the points."""
        published = self.preset == "replication"
        if published and problem.n_classes > 2:
            raise InputError(
                f"preset='replication' with {problem.n_classes} classes: the published threshold "
                "attack reads labels of -1 and 1; use two classes, or preset='corrected'."
            )
        relaxed = Relaxed.start(self, problem, surrogate, budget)
        with np.errstate(all="ignore"):
            slope = relaxed.fast_slope(self.n_steps)
            linear = slope(np.zeros(problem.y.size))
            # In d, -g is +linear: the published sign is the other one.
            climbed = -linear if published else linear
            d = _to_sphere(climbed)
            for _ in range(self.n_steps):
                d = _to_sphere(d + self.step * (slope(d) - linear + climbed))
        if published:
            d = d * relaxed.moving[:, 0]
        return relaxed.poison(self, d, wanted=d < 1.0)


@dataclass(frozen=True)
class ThresholdSoft:
    """Flip the labels that gradient ascent on squashed scores lowers most.

    Parameters
    ----------
    truth : bool, default True
        See `Threshold`.
    preset : {"corrected", "replication"}, default "corrected"
        "replication": the published procedure on its numerically void K, formed of the graph with
        self-loops in float64, in place of the surrogate's M; fewer flips than the budget where
        fewer labels went below 1.
    n_steps : int, default 300
    step : float, default 0.01
    sharpness : float, default 0.5
        Of the tanh that stands for the sign.
    weight : float, default 0.1
        Of the penalty on flips.

    Notes
    -----
    Minimises ``-1/2 |tanh(s K (y_L * d)) - y_U|^2 + weight/8 |1 - d|^2`` over real d, by gradient
    steps from 1, and flips the labels of least d. More classes as in `Threshold`. 4 u l
    operations a step.

    References
    ----------
    See `Threshold`.

    Examples
    --------
    >>> import numpy as np
    >>> from gssl_poison import Harmonic, Problem, RBFGraph
    >>> graph = RBFGraph(np.array([[0.0], [0.1], [0.2], [1.0], [5.0], [5.1]]), gamma=1.0)
    >>> problem = Problem(graph, labeled=[0, 4], y=[0, 1], truth=[0, 0, 0, 0, 1, 1])
    >>> ThresholdSoft().attack(problem, Harmonic().fit(graph, [0, 4]), budget=1).order
    array([0])
    """

    truth: bool = True
    preset: str = "corrected"
    n_steps: int = 300
    step: float = 0.01
    sharpness: float = 0.5
    weight: float = 0.1

    source: ClassVar[str] = "Liu et al., NeurIPS 2019"
    surrogate: ClassVar[str] = "harmonic"
    nested: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse settings that cannot be meant."""
        check_choice("preset", self.preset, PRESETS)
        check_settings(self, ("step", "sharpness"))

    def attack(self, problem: Problem, surrogate: Surrogate, budget: float) -> Poison:
        """Choose labels to flip; see `MIR.attack`. Objective: wrong part of the points."""
        relaxed = Relaxed.start(self, problem, surrogate, budget)
        d = np.ones(problem.y.size)
        with np.errstate(all="ignore"):
            for _ in range(self.n_steps):
                gain = relaxed.slope(d, self.sharpness)
                d = d - self.step * (0.25 * self.weight * (d - 1.0) - gain)
        return relaxed.poison(self, d, wanted=d < 1.0)


@dataclass(frozen=True)
class Probabilistic:
    """Flip the labels whose probability of being flipped rises most: Gumbel-softmax.

    Parameters
    ----------
    truth : bool, default True
        See `Threshold`.
    preset : {"corrected", "replication"}, default "corrected"
        "replication": the published procedure on its numerically void K, formed of the graph with
        self-loops in float64, in place of the surrogate's M; one draw of noise for all labels;
        fewer flips than the budget where fewer probabilities went above one half.
    random_state : int, default 2020
        Seed of the noise.
    n_steps : int, default 100
    step : float, default 1e-5
    temperature : float, default 0.5
        Of the relaxation: the lower, the nearer z is to -1 or 1.
    weight : float, default 0.1
        Of the penalty on probabilities.

    Notes
    -----
    ``z = 2 / (1 + exp((log(a / (1 - a)) + e) / temperature)) - 1`` with e the difference of two
    Gumbel draws, one for each label, and a, from 1/2, the probabilities; minimises
    ``-1/2 |K (y_L * z) - y_U|^2 + weight/2 |a|^2`` by gradient steps with new draws in each, a kept
    in [0.001, 0.999], and flips the labels of largest a. The published code draws one e for all,
    at the location l, which the difference takes out. More classes as in `Threshold`. As the loss
    is quadratic in z, ``u l^2`` operations once and l^2 a step.

    References
    ----------
    See `Threshold`.

    Examples
    --------
    >>> import numpy as np
    >>> from gssl_poison import Harmonic, Problem, RBFGraph
    >>> graph = RBFGraph(np.array([[0.0], [0.1], [0.2], [1.0], [5.0], [5.1]]), gamma=1.0)
    >>> problem = Problem(graph, labeled=[0, 4], y=[0, 1], truth=[0, 0, 0, 0, 1, 1])
    >>> Probabilistic().attack(problem, Harmonic().fit(graph, [0, 4]), budget=1).order
    array([0])
    """

    truth: bool = True
    preset: str = "corrected"
    random_state: int = SEED
    n_steps: int = 100
    step: float = 1e-5
    temperature: float = 0.5
    weight: float = 0.1

    source: ClassVar[str] = "Liu et al., NeurIPS 2019"
    surrogate: ClassVar[str] = "harmonic"
    nested: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse settings that cannot be meant."""
        check_choice("preset", self.preset, PRESETS)
        check_settings(self, ("step", "temperature"))

    def attack(self, problem: Problem, surrogate: Surrogate, budget: float) -> Poison:
        """Choose labels to flip; see `MIR.attack`. Objective: wrong part of the points."""
        relaxed = Relaxed.start(self, problem, surrogate, budget)
        l = problem.y.size  # noqa: E741
        published = self.preset == "replication"
        draw = _noise(self.random_state, l, published=published, one=published)
        with np.errstate(all="ignore"):
            a = _raise_probabilities(self, l, relaxed.fast_slope(self.n_steps), draw)
        return relaxed.poison(self, -a, wanted=a > 0.5)


@dataclass(frozen=True)
class ProbabilisticSoft:
    """Flip the labels whose probability of being flipped rises most, on squashed scores.

    Parameters
    ----------
    truth : bool, default True
        See `Threshold`.
    preset : {"corrected", "replication"}, default "corrected"
        See `Probabilistic`; here the published code draws noise for each label.
    random_state : int, default 2020
        Seed of the noise.
    n_steps : int, default 1500
    step : float, default 1e-6
    temperature : float, default 0.2
    weight : float, default 0.01
        See `Probabilistic`.
    sharpness : float, default 10
        Of the tanh that stands for the sign.

    Notes
    -----
    `Probabilistic` with ``tanh(sharpness K (y_L * z))`` in place of ``K (y_L * z)``. 4 u l
    operations a step.

    References
    ----------
    See `Threshold`.

    Examples
    --------
    >>> import numpy as np
    >>> from gssl_poison import Harmonic, Problem, RBFGraph
    >>> graph = RBFGraph(np.array([[0.0], [0.1], [0.2], [1.0], [5.0], [5.1]]), gamma=1.0)
    >>> problem = Problem(graph, labeled=[0, 4], y=[0, 1], truth=[0, 0, 0, 0, 1, 1])
    >>> ProbabilisticSoft().attack(problem, Harmonic().fit(graph, [0, 4]), budget=1).order
    array([0])
    """

    truth: bool = True
    preset: str = "corrected"
    random_state: int = SEED
    n_steps: int = 1500
    step: float = 1e-6
    temperature: float = 0.2
    weight: float = 0.01
    sharpness: float = 10.0

    source: ClassVar[str] = "Liu et al., NeurIPS 2019"
    surrogate: ClassVar[str] = "harmonic"
    nested: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse settings that cannot be meant."""
        check_choice("preset", self.preset, PRESETS)
        check_settings(self, ("step", "temperature", "sharpness"))

    def attack(self, problem: Problem, surrogate: Surrogate, budget: float) -> Poison:
        """Choose labels to flip; see `MIR.attack`. Objective: wrong part of the points."""
        relaxed = Relaxed.start(self, problem, surrogate, budget)
        l = problem.y.size  # noqa: E741
        draw = _noise(self.random_state, l, published=self.preset == "replication", one=False)
        with np.errstate(all="ignore"):
            a = _raise_probabilities(self, l, lambda z: relaxed.slope(z, self.sharpness), draw)
        return relaxed.poison(self, -a, wanted=a > 0.5)


def _raise_probabilities(
    attack: Probabilistic | ProbabilisticSoft,
    n_labels: int,
    slope: Callable[[Floats], Floats],
    draw: Callable[[], Floats | float],
) -> Floats:
    """Return the probabilities (l,) of being flipped after all gradient steps."""
    a = np.full(n_labels, 0.5)
    for _ in range(attack.n_steps):
        logits = np.log(a / (1.0 - a))
        z = 2.0 / (1.0 + np.exp((logits + draw()) / attack.temperature)) - 1.0
        by_a = (z * z - 1.0) / (2.0 * attack.temperature * a * (1.0 - a))
        gradient = attack.weight * a - slope(z) * by_a
        a = np.clip(a - attack.step * gradient, _LEAST, _MOST)
    return a


def _noise(seed: int, n_labels: int, *, published: bool, one: bool) -> Callable[[], Floats | float]:
    """Return what draws the difference of two Gumbel variables, one for all labels or for each."""
    # numpy's old generator, the only one when the published code was written.
    rng = np.random.RandomState(seed) if published else np.random.default_rng(seed)
    if one:
        return lambda: float(rng.gumbel(n_labels) - rng.gumbel(n_labels))
    return lambda: rng.gumbel(size=n_labels) - rng.gumbel(size=n_labels)


def _to_sphere(v: Floats) -> Floats:
    """Return v (l,) at length sqrt(l); 0 stays."""
    # By the largest entry first: squares overflow on the published K.
    scaled = v / (np.abs(v).max() or 1.0)
    length = float(np.linalg.norm(scaled))
    return scaled * (np.sqrt(v.size) / length) if length > 0.0 else scaled
