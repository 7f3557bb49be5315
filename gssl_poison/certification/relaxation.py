"""The Lagrangian bound on how many rows k flips turn, by cutting planes of growing strength."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from gssl_poison._arrays import n_threads

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# What may be left out of the gains of a row, as a part of what it needs.
_DROPPED = 1e-7
# Flips this near to being made are tried as made, in the bound of a row.
_LEVELS = np.array([2.0, 0.999, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
# Rows that are bounded together, and rounds of bounding them.
_PARTS = 40
_ROUNDS = 60
# Rounds without progress after which to stop, and what progress is, in rows and as a part.
_PATIENCE = 5
_PROGRESS = (0.1, 1e-4)
# What adding up rounded numbers may have taken off a bound, as a part of all rows.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Duels:
    """Rows, their rivals, and what each flip gains a rival, as `gssl_poison.kernels.cuts` has it.

    Attributes
    ----------
    radius : (r,) int64
        No smaller number of flips turns the row.
    first : (r + 1,) int64
        Where the duels of a row begin.
    start, need, gains, moves
        See `gssl_poison.kernels.cuts.order_gains`.
    label : (m,) int64
        The label that a move flips.
    """

    radius: Integers
    first: Integers = field(repr=False)
    start: Integers = field(repr=False)
    need: Floats = field(repr=False)
    gains: Floats = field(repr=False)
    moves: npt.NDArray[np.int32] = field(repr=False)
    label: Integers = field(repr=False)

    @classmethod
    def of(
        cls,
        lines: Iterator[tuple[Floats, Floats]],
        first: Integers,
        radius: Integers,
        label: Integers,
    ) -> Duels:
        """Order the gains of duels, given as blocks of gains (d, m) and needs (d,)."""
        from gssl_poison.kernels.cuts import order_gains

        starts, needs, gains, moves = [np.zeros(1, dtype=np.int64)], [], [], []
        for block, need in lines:
            start = np.zeros(len(block) + 1, dtype=np.int64)
            own, which = np.empty(block.size), np.empty(block.size, dtype=np.int32)
            end = order_gains(block, _DROPPED, start, need, own, which)
            starts.append(start[1:] + starts[-1][-1])
            needs.append(need)
            gains.append(own[:end].copy())
            moves.append(which[:end].copy())
        none = np.empty(0)
        return cls(
            radius,
            first,
            np.concatenate(starts),
            np.concatenate([*needs, none]),
            np.concatenate([*gains, none]),
            np.concatenate([*moves, none.astype(np.int32)]),
            label,
        )


@dataclass
class _Cut:
    """A linear bound on the turned rows of a part: ``constant + coefficients @ x``."""

    part: int
    constant: float
    coefficients: Floats
    idle: int = 0


def bound_turned(duels: Duels, n_flips: int, ends: float, begin: Floats | None = None) -> Bounded:
    """Bound how many rows at most k flips turn.

    Parameters
    ----------
    duels : Duels
    n_flips : int
    ends : float
        When to stop, by `time.perf_counter`.
    begin : (m,) float64, optional
        Fractional flips to begin at.

    Returns
    -------
    Bounded

    Notes
    -----
    Every row has a family of linear bounds on its ``z_i`` (see `gssl_poison.kernels.cuts`). At
    fractional flips x the tightest ones are found and added up over parts of the rows; the linear
    program over all sums so far gives the next x, until nothing is gained. Its multipliers, at
    least 0 and of sum 1 for every part, weight the sums to one ``constant + q @ x``, whose maximum
    is ``constant`` and the k largest entries of q, of every label the largest: a bound for any such
    multipliers, so that nothing depends on how well the program was solved.

    A round costs ``O(entries of M)`` for each of 11 levels, and a linear program of ``l`` unknowns.
    """
    from gssl_poison.kernels.cuts import bound_rows

    rows = np.flatnonzero(duels.radius <= n_flips)
    parts = np.array_split(rows[np.argsort(_leaders(duels)[rows], kind="stable")], _PARTS)
    parts = [part for part in parts if part.size]
    n_moves = duels.label.size
    x = np.full(n_moves, min(1.0, n_flips / max(n_moves, 1))) if begin is None else begin
    best = Bounded(float(rows.size), np.zeros(n_moves), rows.size, x)
    if not parts:
        return best
    middle, most, cuts, patience = x, -1.0, list[_Cut](), 0

    def bound(k: int) -> _Cut:
        sums = np.zeros(n_moves)
        constant = bound_rows(
            parts[k],
            duels.first,
            duels.start,
            duels.need,
            duels.gains,
            duels.moves,
            float(n_flips),
            x,
            _LEVELS,
            sums,
        )
        return _Cut(k, constant, sums)

    with ThreadPoolExecutor(n_threads()) as pool:
        for _ in range(_ROUNDS):
            new = list(pool.map(bound, range(len(parts))))
            cuts += new
            value = sum(cut.constant + float(cut.coefficients @ x) for cut in new)
            if value > most:
                most, middle = value, x
            weights, ahead = _master(cuts, len(parts), duels.label, n_flips, ends)
            if weights is None:
                break
            found = _weighted(cuts, weights, rows.size, ahead)
            before, after = best.at(n_flips, duels.label), found.at(n_flips, duels.label)
            if after < before:
                best = found
            enough = max(_PROGRESS[0], _PROGRESS[1] * before)
            patience = 0 if after < before - enough else patience + 1
            if patience >= _PATIENCE or time.perf_counter() > ends:
                break
            for cut, weight in zip(cuts, weights, strict=True):
                cut.idle = 0 if weight > 0.0 else cut.idle + 1
            cuts = [cut for cut in cuts if cut.idle < _PATIENCE]
            x = 0.5 * (ahead + middle)
    return best


@dataclass(frozen=True)
class Bounded:
    """A linear bound on the rows that flips turn, ``constant + coefficients @ x``.

    Attributes
    ----------
    constant : float
    coefficients : (m,) float64
    n_rows : int
        Rows it speaks of.
    x : (m,) float64
        The fractional flips of the last linear program.
    """

    constant: float
    coefficients: Floats = field(repr=False)
    n_rows: int
    x: Floats = field(repr=False)

    def at(self, n_flips: int, label: Integers) -> float:
        """Return what no k flips exceed."""
        return float(self.table(n_flips, label)[-1])

    def table(self, n_flips: int, label: Integers) -> Floats:
        """Return what no number of flips from 0 to k exceeds, (k + 1,)."""
        largest = np.zeros(int(label.max(initial=-1)) + 1)
        np.maximum.at(largest, label, self.coefficients)
        gained = np.zeros(n_flips + 1)
        top = np.sort(largest)[::-1][:n_flips]
        gained[1 : top.size + 1] = np.cumsum(top)
        gained[top.size + 1 :] = gained[top.size]
        result: Floats = (self.constant + gained) * (1.0 + _ROUNDING)
        return result


def _leaders(duels: Duels) -> Integers:
    """Return the move that gains most in the first duel of every row: rows alike lie together."""
    if duels.moves.size == 0:
        return np.zeros(duels.radius.size, dtype=np.int64)
    at = np.minimum(duels.start[duels.first[:-1]], duels.moves.size - 1)
    return duels.moves[at].astype(np.int64)


def _weighted(cuts: list[_Cut], weights: Floats, n_rows: int, x: Floats) -> Bounded:
    """Return the sum of the cuts with their weights."""
    constant = sum(w * cut.constant for w, cut in zip(weights, cuts, strict=True))
    sums = np.zeros(x.size)
    for w, cut in zip(weights, cuts, strict=True):
        if w > 0.0:
            sums += w * cut.coefficients
    return Bounded(float(constant), sums, n_rows, x)


def _master(
    cuts: list[_Cut], n_parts: int, label: Integers, n_flips: int, ends: float
) -> tuple[Floats | None, Floats]:
    """Return weights of the cuts, of sum 1 for every part, and the flips that all cuts favour.

    None where the time is over.
    """
    from scipy import sparse
    from scipy.optimize import linprog

    m, left = label.size, ends - time.perf_counter()
    part = np.array([cut.part for cut in cuts])
    if left <= 0.0:
        return None, np.zeros(m)
    against = np.stack([-cut.coefficients for cut in cuts])
    counted = sparse.csr_array((np.ones(part.size), (np.arange(part.size), part)))
    flips = np.ones((1, m))
    shared = np.flatnonzero(np.bincount(label, minlength=1) > 1)
    once = (label == shared[:, None]).astype(np.float64)
    blocks: Any = [
        [sparse.csr_array(against), counted],
        [sparse.csr_array(np.vstack([flips, once])), None],
    ]
    limits = np.concatenate(
        [[cut.constant for cut in cuts], [float(n_flips)], np.ones(shared.size)]
    )
    together: Any = sparse.block_array(blocks, format="csr")
    found: Any = linprog(
        np.concatenate([np.zeros(m), -np.ones(n_parts)]),
        A_ub=together,
        b_ub=limits,
        bounds=[(0.0, 1.0)] * m + [(None, None)] * n_parts,
        method="highs",
        options={"time_limit": left},
    )
    if found.status != 0:
        return None, np.zeros(m)
    weights = np.maximum(-found.ineqlin.marginals[: part.size], 0.0)
    sums = np.bincount(part, weights, minlength=n_parts)
    # Any weights of sum 1 prove a bound: where rounding left none, the last cut stands alone.
    for k in np.flatnonzero(sums <= 0.0):
        weights[np.flatnonzero(part == k)[-1]] = sums[k] = 1.0
    return weights / sums[part], np.clip(found.x[:m], 0.0, 1.0)
