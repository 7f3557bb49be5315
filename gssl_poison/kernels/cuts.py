"""Linear bounds on when flips turn a row, each the tightest of its family at a fractional point.

A duel is won, its row turned, where the gains of the flips made reach its need. With x the flips,
at most k of them, and z = 1 where it is won, for any theta >= 0 and any set A of flips

    N z <= sum_{j not in A} min(N, max(0, g_j - theta)) x_j,
    N = need - k theta - sum_A max(0, g_j - theta) > 0

holds: of what is needed, k flips bring at most theta each besides their excess over it, those in A
at most theirs, the others must bring the rest, and one that brings more than the rest counts once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

# A bound whose N has lost more digits than this is not used.
_LEAST = 1e-4
# Rounds coefficients up: N is off by some 1e-16 of the need, so by 1e-12 of itself.
_UP = 1.0 + 1e-10


@njit(cache=True, nogil=True)
def order_gains(lines: Any, dropped: float, start: Any, need: Any, gains: Any, moves: Any) -> Any:
    """Write the gains of duels (d, m) one after another, each the largest first; return how many.

    Duel i begins at ``start[i]`` of ``gains`` and ``moves``, and ends at ``start[i + 1]``, which is
    set here. Its smallest gains, together at most the part ``dropped`` of the need, are left out
    and taken off ``need`` (d,).
    """
    end = start[0]
    for i in range(lines.shape[0]):
        line = lines[i]
        order = np.argsort(-line)
        kept, off = line.size, 0.0
        while kept > 0:
            last = max(line[order[kept - 1]], 0.0)
            if off + last > dropped * need[i]:
                break
            off += last
            kept -= 1
        need[i] -= off * _UP
        for s in range(kept):
            gains[end + s] = line[order[s]]
            moves[end + s] = order[s]
        end += kept
        start[i + 1] = end
    return end


@njit(cache=True, nogil=True)
def bound_rows(
    rows: Any,
    first: Any,
    start: Any,
    need: Any,
    gains: Any,
    moves: Any,
    n_flips: float,
    x: Any,
    levels: Any,
    coefficients: Any,
) -> float:
    """Add the tightest bounds of ``rows`` at ``x`` (m,) to ``coefficients`` (m,); return the rest.

    Row i has the duels ``first[i]`` to ``first[i + 1]`` and is turned where one of them is won.
    A is tried as the flips with ``x >= level``, for all ``levels``.
    """
    constant = 0.0
    line = np.zeros(x.size)
    for i in rows:
        value = 0.0
        for d in range(first[i], first[i + 1]):
            own = slice(start[d], start[d + 1])
            value = _raise(gains[own], moves[own], need[d], n_flips, x, levels, line)
            if value >= 1.0:
                break
        if value < 1.0 and first[i + 1] - first[i] > 1:
            # Only one flip of each kind is made, whichever duels it helps: the largest counts.
            value = 0.0
            for m in range(x.size):
                value += line[m] * x[m]
        if value >= 1.0:
            # That a row is turned at most once is the tightest bound here.
            constant += 1.0
        for d in range(first[i], first[i + 1]):
            for s in range(start[d], start[d + 1]):
                if value < 1.0:
                    coefficients[moves[s]] += line[moves[s]]
                line[moves[s]] = 0.0
    return constant


@njit(cache=True, nogil=True)
def _raise(
    gains: Any, moves: Any, need: float, n_flips: float, x: Any, levels: Any, line: Any
) -> float:
    """Raise ``line`` to the coefficients of the tightest bound; return its value at x."""
    best, rank, chosen = 1.0, -1, 2.0
    for level in levels:
        value, place = _scan(gains, moves, need, n_flips, x, level)
        if value < best:
            best, rank, chosen = value, place, level
    if rank < 0:
        return 1.0
    theta = gains[rank + 1] if rank + 1 < gains.size else 0.0
    rest = need - n_flips * theta
    for s in range(rank + 1):
        if x[moves[s]] >= chosen:
            rest -= gains[s] - theta
    for s in range(rank + 1):
        if x[moves[s]] < chosen:
            line[moves[s]] = max(line[moves[s]], min(1.0, (gains[s] - theta) / rest * _UP))
    return best


@njit(cache=True, nogil=True)
def _scan(gains: Any, moves: Any, need: float, n_flips: float, x: Any, level: float) -> Any:
    """Return the least value at x over theta, and the last gain above that theta; one pass."""
    best, rank = 1.0, -1
    fixed, n_fixed = 0.0, 0
    free, weighted = 0.0, 0.0  # sums of x and of gain times x, over flips not in A
    top, capped, capped_weighted = 0, 0.0, 0.0  # the same over those before ``top``
    for s in range(gains.size):
        part = x[moves[s]]
        if part >= level:
            fixed += gains[s]
            n_fixed += 1
        else:
            free += part
            weighted += gains[s] * part
        theta = gains[s + 1] if s + 1 < gains.size else 0.0
        rest = need - n_flips * theta - (fixed - n_fixed * theta)
        if rest <= _LEAST * need:
            continue
        # Those that bring all that is missing count once, however much more they bring.
        while top <= s and gains[top] - theta >= rest:
            if x[moves[top]] < level:
                capped += x[moves[top]]
                capped_weighted += gains[top] * x[moves[top]]
            top += 1
        while top > 0 and gains[top - 1] - theta < rest:
            top -= 1
            if x[moves[top]] < level:
                capped -= x[moves[top]]
                capped_weighted -= gains[top] * x[moves[top]]
        value = capped + (weighted - capped_weighted - theta * (free - capped)) / rest
        if value < best:
            best, rank = value, s
    return best, rank
