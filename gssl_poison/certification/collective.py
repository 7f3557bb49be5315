"""What one set of flips can do to all points at once: a proven upper bound."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gssl_poison.certification.pointwise import Radii, rounding_of
from gssl_poison.certification.relaxation import Duels, bound_turned
from gssl_poison.flip_program import can_try_all, most_wrong, program_size
from gssl_poison.labels import TIE
from gssl_poison.problem import Problem
from gssl_poison.propagation import Fitted

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Progress = Callable[[int, int], None]

METHODS = ("auto", "milp", "lagrangian")
# Numbers in an integer program that is tried first; larger ones seldom end in time.
_SMALL = 15_000
# Seconds for that before the other bound is tried, too.
_PATIENT = 10.0
# Gains kept, at 12 bytes each, at most; and of a block of rows while they are put in order.
_MOST_GAINS = 2**26
_BLOCK = 2**22
# Shares of a budget are bounded at multiples of these, one after the other: a bound made for a few
# flips more is nearly as good, and serves all shares below it.
_STEPS = (8, 4, 2, 1)


@dataclass
class _Group:
    """Rows whose flips no other group uses, and the most of them that k flips turn, (k + 1,)."""

    duels: Duels
    most: Integers
    solved: set[int]
    x: Floats | None = None

    def refine(self, n_flips: int, ends: float) -> None:
        """Lower ``most`` as far as a bound made for k flips does."""
        begin = None
        if self.x is not None and self.x.sum() > 0.0:
            begin = np.minimum(1.0, self.x * (n_flips / self.x.sum()))
        found = bound_turned(self.duels, n_flips, ends, begin)
        self.x = found.x
        self.solved.add(n_flips)
        # Rows are whole; what is this near to the next number is counted as it.
        table = np.floor(found.table(n_flips, self.duels.label) + 1e-6).astype(np.int64)
        self.most[: n_flips + 1] = np.minimum(self.most[: n_flips + 1], table)


def bound_together(
    problem: Problem,
    victim: Fitted,
    found: Radii,
    target: Integers,
    counts: tuple[int, ...],
    *,
    method: str = "auto",
    time_limit: float = 60.0,
    progress: Progress | None = None,
) -> tuple[list[int], list[str]]:
    """Return for every budget the most points that can be wrong, and what proved it.

    Parameters
    ----------
    problem : Problem
    victim : Fitted
        With its M stored.
    found : Radii
    target : (u,) int64
        A point is wrong where its prediction is another class.
    counts : tuple of int
        Budgets, ascending.
    method : {"auto", "milp", "lagrangian"}
    time_limit : float
        Seconds for each budget.
    progress : callable, optional

    Notes
    -----
    Points that are wrong already count as wrong. Of two classes, a flip of a label of class a can
    only turn points of class a: the bound is the largest, over all ways to divide the budget, of
    the sum of two bounds, and those divisions that matter are bounded anew until the largest one
    is as tight as it gets. Of more classes all points are bounded together.
    """
    shares = np.ascontiguousarray(victim.shares())
    right = found.predicted == target
    wrong = int((~right).sum())
    pointwise = [wrong + int((right & (found.radius <= k)).sum()) for k in counts]
    rounding = rounding_of(problem.y.size)
    # An error that is lost in the rounding is none for the exact answers, which judge flips by
    # their predictions; the relaxation has its own order of adding up, and needs the allowance.
    error = (problem.y.size + 2 * counts[-1]) * victim.error
    margin = 0.0 if error <= 1e-3 * rounding else error + rounding
    small = program_size(len(shares), problem.y.size, problem.n_classes) <= _SMALL
    groups: list[_Group] | None = None
    bounds, methods = [], []
    for step, k in enumerate(counts):
        ends = time.perf_counter() + time_limit
        bound, how = pointwise[step], "pointwise"
        proven = bound == wrong
        few = small or can_try_all(len(shares), problem.y.size, problem.n_classes, k)
        if not proven and (method == "milp" or (method == "auto" and few)):
            answer = most_wrong(
                shares,
                problem.y,
                target,
                problem.n_classes,
                k,
                time_limit=time_limit if method == "milp" else min(time_limit, _PATIENT),
                margin=margin,
                method=method,
            )
            proven = answer.optimal
            if answer.bound <= bound:
                bound, how = answer.bound, answer.method
        if not proven and method != "milp":
            ends = max(ends, time.perf_counter() + 0.1 * time_limit)
            if groups is None:
                rows = np.flatnonzero(right & (found.radius <= counts[-1]))
                groups = _groups(
                    problem, shares, found, rows=rows, n_flips=counts[-1], margin=error + rounding
                )
            together = wrong + _divide(groups, k, ends)
            if groups and together <= bound:
                bound, how = together, "lagrangian"
        bounds.append(bound)
        methods.append(how)
        if progress is not None:
            progress(step + 1, len(counts))
    return bounds, methods


def _groups(
    problem: Problem,
    shares: Floats,
    found: Radii,
    *,
    rows: Integers,
    n_flips: int,
    margin: float,
) -> list[_Group]:
    """Divide the rows into groups whose useful flips are different ones; none where too large."""
    c, y = problem.n_classes, problem.y
    label, new = (v.astype(np.int64) for v in np.nonzero(y[:, None] != np.arange(c)))
    members = [(rows, np.arange(label.size))]
    if c == 2:
        members = [
            (rows[found.predicted[rows] == a], np.flatnonzero(y[label] == a)) for a in range(2)
        ]
    if sum(r.size * (c - 1) * m.size for r, m in members) > _MOST_GAINS:
        return []
    groups = []
    for own, moves in members:
        radius = found.radius[own]
        lines = _lines(
            shares,
            y,
            found.predicted,
            rows=own,
            label=label[moves],
            new=new[moves],
            n_classes=c,
            margin=margin,
        )
        first = (c - 1) * np.arange(own.size + 1, dtype=np.int64)
        duels = Duels.of(lines, first, radius, label[moves])
        counts = np.bincount(np.minimum(radius, n_flips), minlength=n_flips + 1)
        groups.append(_Group(duels, np.cumsum(counts)[: n_flips + 1], set()))
    return groups


def _lines(
    shares: Floats,
    codes: Integers,
    predicted: Integers,
    *,
    rows: Integers,
    label: Integers,
    new: Integers,
    n_classes: int,
    margin: float,
) -> Iterator[tuple[Floats, Floats]]:
    """Yield what every move gains the rivals of the rows, and what they need, in blocks of rows."""
    step = max(1, _BLOCK // max(1, label.size * (n_classes - 1)))
    old, one_hot = codes[label], np.eye(n_classes)[codes]
    for begin in range(0, rows.size, step):
        part = rows[begin : begin + step]
        own = predicted[part][:, None]
        rivals = np.arange(n_classes - 1) + (np.arange(n_classes - 1) >= own)
        # Of a row its duels lie together: (rows, rivals, moves).
        a, b = own[:, :, None], rivals[:, :, None]
        sign = (new == b).astype(np.float64) - (new == a) + (old == a) - (old == b)
        gains = np.maximum(sign, 0.0) * shares[part][:, None, label]
        scores = shares[part] @ one_hot
        need = np.take_along_axis(scores, own, 1) - np.take_along_axis(scores, rivals, 1)
        need += np.where(rivals > own, TIE, -TIE) - margin
        yield gains.reshape(-1, label.size), need.reshape(-1)


def _divide(groups: list[_Group], n_flips: int, ends: float) -> int:
    """Return the most rows that k flips turn, however they are divided among the groups."""
    while True:
        total, shares_of_budget = _largest(groups, n_flips)
        open_ = [
            (step, int(group.most[k]), group, up)
            for group, k in zip(groups, shares_of_budget, strict=True)
            for step in _STEPS
            if k > 0 and group.most[k] > 0
            if (up := min(-(-k // step) * step, n_flips)) not in group.solved
        ]
        if not open_ or time.perf_counter() > ends:
            return total
        _, _, group, up = max(open_, key=lambda entry: entry[:2])
        group.refine(up, ends)


def _largest(groups: list[_Group], n_flips: int) -> tuple[int, list[int]]:
    """Return the largest sum over the divisions of the budget, and that division."""
    if len(groups) == 1:
        return int(groups[0].most[n_flips]), [n_flips]
    if not groups:
        return 0, []
    sums = groups[0].most[: n_flips + 1] + groups[1].most[: n_flips + 1][::-1]
    k = int(sums.argmax())
    return int(sums[k]), [k, n_flips - k]
