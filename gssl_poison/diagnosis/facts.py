"""What a diagnosis holds: plain numbers, every count with how it was counted."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Count:
    """How many unlabelled points have a property, counted or scaled up from a sample.

    Attributes
    ----------
    found, looked_at : int
        Points that have it, of those that were looked at.
    points : int
        ``found`` scaled up to all unlabelled points: exact if all were looked at.
    everyone : int
        Unlabelled points.
    """

    found: int
    looked_at: int
    points: int
    everyone: int

    @property
    def part(self) -> float:
        """Part of the points looked at."""
        return self.found / self.looked_at

    def __str__(self) -> str:
        """Say it in words that do not claim more than was counted."""
        if self.looked_at == self.everyone or self.found in (0, self.looked_at):
            looked_at = "" if self.looked_at == self.everyone else " looked at"
            if self.found == self.looked_at:
                return f"all {plural(self.looked_at)}{looked_at}"
            some = f"{self.found:,}" if self.found else "none"
            return f"{some} of {plural(self.looked_at)}{looked_at}"
        # As many digits as a sample of this size tells.
        error = self.everyone * math.sqrt(self.part * (1.0 - self.part) / self.looked_at)
        unit = 10 ** max(0, math.floor(math.log10(error)))
        return f"about {round(self.points / unit) * unit:,} of {plural(self.everyone)}"


def plural(points: int) -> str:
    """Return a number of points in words."""
    return "1 point" if points == 1 else f"{points:,} points"


@dataclass(frozen=True)
class Spread:
    """Least, median and largest value over the points looked at; None where there is none."""

    least: float | None
    median: float | None
    largest: float | None


@dataclass(frozen=True)
class SelfLoops:
    """What a point listens to itself, in W divided by its row sums as scikit-learn has it.

    Attributes
    ----------
    share : Spread
        ``P_ii``.
    log10_rest : Spread
        ``log10(1 - P_ii)``, which tells values next to 1 apart.
    nearly_all : Count
        Points with ``P_ii > 1 - 1e-9``.
    """

    share: Spread
    log10_rest: Spread
    nearly_all: Count


@dataclass(frozen=True)
class Neighbours:
    """To how many points a point listens in effect: the exponential of the entropy of its shares.

    Attributes
    ----------
    everyone : Spread
        Over all other points.
    labels : Spread
        Over labelled points, for points that have any in reach.
    """

    everyone: Spread
    labels: Spread


@dataclass(frozen=True)
class Underflow:
    """What is left of the weights ``w_ij`` in a type of number.

    Attributes
    ----------
    no_neighbour, no_label : Count
        Points whose every weight (to other points; to labelled points) rounds to 0. Missing edges
        do not count: a point must have a neighbour for its weight to be lost.
    few_digits_neighbour, few_digits_label : Count
        Points whose largest such weight is below the smallest normal number, so that it has lost
        digits, or all; these include the former.
    """

    no_neighbour: Count
    no_label: Count
    few_digits_neighbour: Count
    few_digits_label: Count


@dataclass(frozen=True)
class Reach:
    """How labels travel along edges; exact.

    Attributes
    ----------
    unreached : int
        Unlabelled points without any path to a label.
    first_unreached : tuple of int
        Up to ten of their row numbers.
    components : int
        Connected parts that the unreached points form.
    no_labeled_neighbour : int
        Points no label reaches in one step.
    steps : int
        Steps a label needs to the farthest point that it reaches.
    """

    unreached: int
    first_unreached: tuple[int, ...]
    components: int
    no_labeled_neighbour: int
    steps: int


@dataclass(frozen=True)
class Loop:
    """Whether scikit-learn's loop of label propagation does more than its first step.

    Attributes
    ----------
    second_change : float
        Largest sum over all points and classes of the changes that the second step can make: a
        bound if all points were looked at, else an estimate of it.
    one_step : bool
        Whether that is below scikit-learn's default ``tol``, so that the loop ends there.
    log10_steps : float or None
        Logarithm of the number of steps after which the median point has listened to another
        point once: about what convergence takes at the least.
    decided, decided_wholly : Count
        Points whose nearest label holds more than 0.5, or 0.999, of the direct share.
    settled : Count
        Points that have the class of their nearest label after 30 steps, whatever the labels are.
    nearest_neighbour : bool
        Whether the loop is a nearest-labelled-neighbour rule: nine in ten points are settled.
    """

    second_change: float
    one_step: bool
    log10_steps: float | None
    decided: Count
    decided_wholly: Count
    settled: Count
    nearest_neighbour: bool


@dataclass(frozen=True)
class Conditioning:
    """What a solver of the harmonic equations meets.

    Attributes
    ----------
    log10_leave : Spread
        Logarithm of the probability that a walk, from a point with a labelled neighbour, goes to a
        label in its next step to another point. Walks leave at least that often.
    zero_diagonal : Count
        Points whose entry of D - W, row sums with self-loops less the self-loop in float64, is
        exactly 0.
    digits_lost : float or None
        Decimal digits, of 16, that the worst such difference loses; None if nothing is left.
    """

    log10_leave: Spread
    zero_diagonal: Count
    digits_lost: float | None


@dataclass(frozen=True)
class Need:
    """Memory of one way to solve.

    Attributes
    ----------
    solver : str
    n_bytes : int
        Memory beyond the input, about.
    fits : bool
        Whether that is free now.
    """

    solver: str
    n_bytes: int
    fits: bool


@dataclass(frozen=True)
class Diagnosis:
    """What to expect of a graph and its labelled points; made by `diagnose`.

    Attributes
    ----------
    graph : {"rbf", "dense", "sparse"}
    gamma : float or None
        The kernel coefficient, where there is one.
    symmetric : bool
    n_points, n_labeled, n_unlabeled : int
    n_looked_at : int
        Unlabelled points whose rows were read, each against all points.
    exact : bool
        Whether these are all unlabelled points. If not, counts are scaled up, and the least and
        largest values are those of the sample.
    self_loops, neighbours, float32, float64, reach, loop, conditioning
        The findings.
    memory : tuple of Need
    free_memory : int
        Bytes.
    recommended : str
        A propagator, as `parse_propagator` reads it.
    recommended_graph : str or None
        A graph to build instead, where this one is too large.
    reason : str
        One sentence.
    warnings : tuple of str
    """

    graph: str
    gamma: float | None
    symmetric: bool
    n_points: int
    n_labeled: int
    n_unlabeled: int
    n_looked_at: int
    exact: bool
    self_loops: SelfLoops
    neighbours: Neighbours
    float32: Underflow
    float64: Underflow
    reach: Reach
    loop: Loop
    conditioning: Conditioning
    memory: tuple[Need, ...]
    free_memory: int
    recommended: str
    recommended_graph: str | None
    reason: str
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        """Return the diagnosis in words."""
        from gssl_poison.diagnosis.words import as_text

        return as_text(self)

    def as_dict(self) -> dict[str, Any]:
        """Return plain dictionaries, lists and numbers, as JSON has them."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain


def _plain(value: Any) -> Any:
    """Turn tuples into lists, at any depth."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value
