"""What every single flip of a label would do to the predictions, from M alone, kept up to date.

A row is looked at again only when a flip has moved its scores so far that some other flip could do
something else to it than before: its ``room`` is how far that is.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from gssl_poison.labels import TIE

# What the rounding of updated scores may add to that.
_CLEAR = 4e-12


@njit(cache=True, nogil=True)
def predict(scores: Any, out: Any) -> None:
    """Write the class of the highest score of each row (r, c) to ``out`` (r,).

    Ties, up to `TIE`, are the lower index's.
    """
    for i in range(scores.shape[0]):
        out[i] = first_of(scores[i])


@njit(cache=True, nogil=True)
def count_flips(
    M: Any, scores: Any, codes: Any, target: Any, free: Any, change: Any, room: Any
) -> None:
    """Add to ``change`` (l, c) how many more rows are wrong once label j has class b.

    ``M`` (r, l), ``scores`` (r, c), ``codes`` (l,), ``target`` (r,): a row is wrong
    where its prediction is another class. Labels that are not ``free`` (l,) are passed over.
    ``room`` (r,) receives how far two scores of a row may move against each other before any of
    this changes.
    """
    for i in range(M.shape[0]):
        room[i] = _scan(M[i], scores[i], codes, target[i], free, 1, change)


@njit(cache=True, nogil=True)
def flip_label(
    M: Any,
    scores: Any,
    codes: Any,
    target: Any,
    free: Any,
    change: Any,
    room: Any,
    j: int,
    new: int,
) -> int:
    """Flip label j and bring ``scores``, ``change`` and ``room`` up to date.

    Returns how many rows were looked at. The label is no longer ``free``, and its row of
    ``change`` means nothing from then on.
    """
    old, seen = codes[j], 0
    free[j] = False
    for i in range(M.shape[0]):
        part = M[i, j]
        if part == 0.0:
            continue
        room[i] -= 2.0 * abs(part)
        if room[i] > _CLEAR:
            scores[i, old] -= part
            scores[i, new] += part
            continue
        seen += 1
        _scan(M[i], scores[i], codes, target[i], free, -1, change)
        scores[i, old] -= part
        scores[i, new] += part
        room[i] = _scan(M[i], scores[i], codes, target[i], free, 1, change)
    codes[j] = new
    return seen


@njit(cache=True, nogil=True)
def add_nearness(
    M: Any, scores: Any, codes: Any, target: Any, labels: Any, classes: Any, out: Any
) -> None:
    """Add to ``out`` (m,) how much nearer to turning each of m flips brings the right rows.

    Flip k gives label ``labels[k]`` class ``classes[k]``. A row whose score of its target leads by
    ``gap`` counts with the part of the gap that is closed, at most 1, at least -1 where it widens.
    """
    n_classes = scores.shape[1]
    for i in range(M.shape[0]):
        row, right = scores[i], target[i]
        if first_of(row) != right:
            continue
        gap = 1e300
        for c in range(n_classes):
            if c != right:
                gap = min(gap, row[right] - row[c])
        gap = max(gap, TIE)
        for k in range(labels.size):
            j = labels[k]
            part, old, new = M[i, j], codes[j], classes[k]
            if part == 0.0:
                continue
            after = 1e300
            ahead = row[right] + part * ((1 if new == right else 0) - (1 if old == right else 0))
            for c in range(n_classes):
                if c != right:
                    moved = (1 if new == c else 0) - (1 if old == c else 0)
                    after = min(after, ahead - row[c] - part * moved)
            out[k] += max(-1.0, min(1.0, (gap - after) / gap))


@njit(cache=True, nogil=True)
def first_of(scores: Any) -> int:
    """Return the class of the highest score, the first of those that tie."""
    best, first = scores[0], 0
    for k in range(1, scores.size):
        if scores[k] > best + TIE:
            best, first = scores[k], k
    return first


@njit(cache=True, nogil=True)
def _scan(
    weights: Any, scores: Any, codes: Any, target: int, free: Any, sign: int, change: Any
) -> float:
    """Add ``sign`` times what every flip does to one row; return the row's room."""
    n_classes = scores.size
    first = first_of(scores)
    wrong = first != target
    gap = 1e300
    for k in range(n_classes):
        if k != first:
            gap = min(gap, abs(scores[first] - scores[k]))
    # A flip moves two scores by its weight: less than half of the gap turns nothing.
    enough = 0.5 * gap - _CLEAR
    widest, room = 0.0, gap
    for j in range(weights.size):
        part = weights[j]
        if abs(part) < enough:
            widest = max(widest, abs(part))
            continue
        if not free[j]:
            continue
        old = codes[j]
        if n_classes == 2:
            new = 1 - old
            margin = scores[1] - scores[0] + 2.0 * part * (new - old)
            change[j, new] += sign * (((margin > TIE) != target) - wrong)
            room = min(room, abs(margin))
            continue
        for new in range(n_classes):
            if new == old:
                continue
            before_old, before_new = scores[old], scores[new]
            scores[old] = before_old - part
            scores[new] = before_new + part
            after = first_of(scores)
            for k in range(n_classes):
                if k != after:
                    room = min(room, abs(scores[after] - scores[k]))
            scores[old], scores[new] = before_old, before_new
            change[j, new] += sign * ((after != target) - wrong)
    return min(room, gap - 2.0 * widest)
