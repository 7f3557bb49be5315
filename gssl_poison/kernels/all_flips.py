"""Try every set of at most k flips: the answer where there are few enough of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from gssl_poison.kernels.flips import first_of
from gssl_poison.labels import TIE


@njit(cache=True, nogil=True)
def try_all(columns: Any, scores: Any, codes: Any, target: Any, labels: Any, classes: Any) -> int:
    """Return the most rows that are wrong; write the flips to ``labels``, ``classes`` (k,).

    ``columns`` (l, r) is M transposed, ``scores`` (r, c). Where fewer flips do it, the rest of
    ``labels`` is -1; of sets that do equally much the first in index order is kept, the shorter
    before the longer one. ``r c`` operations a set.
    """
    n_labels, n_rows = columns.shape
    n_classes, n_flips = scores.shape[1], labels.size
    # What the scores are after 0, 1, ... flips of the set at hand: kept, so that taking a flip
    # back leaves no rounding behind.
    after = np.empty((n_flips + 1, n_rows, n_classes))
    after[0] = scores
    most = _wrong(scores, target)
    labels[:] = -1
    label, new = np.full(n_flips, -1), np.full(n_flips, 0)
    depth = 0
    while depth >= 0:
        # The next class of this label, or the first one of the next.
        if label[depth] >= 0:
            new[depth] += 1
        else:
            label[depth] = 0 if depth == 0 else label[depth - 1] + 1
            new[depth] = 0
        while label[depth] < n_labels:
            if new[depth] >= n_classes:
                label[depth] += 1
                new[depth] = 0
            elif new[depth] == codes[label[depth]]:
                new[depth] += 1
            else:
                break
        if label[depth] >= n_labels:
            label[depth] = -1
            depth -= 1
            continue
        j, b = label[depth], new[depth]
        column, old = columns[j], codes[j]
        here = after[depth + 1]
        here[:] = after[depth]
        for i in range(n_rows):
            here[i, old] -= column[i]
            here[i, b] += column[i]
        wrong = _wrong(here, target)
        if wrong > most:
            most = wrong
            labels[:] = -1
            labels[: depth + 1] = label[: depth + 1]
            classes[: depth + 1] = new[: depth + 1]
        if depth + 1 < n_flips:
            depth += 1
            label[depth] = -1
    return most


@njit(cache=True, nogil=True)
def _wrong(scores: Any, target: Any) -> int:
    """Return how many rows are not predicted as their target."""
    wrong = 0
    if scores.shape[1] == 2:
        for i in range(target.size):
            wrong += (scores[i, 1] - scores[i, 0] > TIE) != (target[i] == 1)
        return wrong
    for i in range(target.size):
        wrong += first_of(scores[i]) != target[i]
    return wrong
