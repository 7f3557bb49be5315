"""How the parts of a vote are put together, and how many of them must change to turn the outcome.

Every function returns scores (u, c), predictions (u,) and the least number of parts (u,), `NEVER`
where none suffice. A part that is silent at a point (no label of it gets there) stays so, whatever
its labels say.
"""

from __future__ import annotations

import numpy as np

from gssl_poison.defenses._common import Booleans, Floats, Integers
from gssl_poison.labels import TIE
from gssl_poison.metrics import predict

NEVER = int(np.iinfo(np.int64).max)

# What rounding can add to a difference of two means of shares, and far more.
_ROUNDING = 1e-13

Outcome = tuple[Floats, Integers, Integers]


def by_majority(votes: Integers, n_classes: int) -> Outcome:
    """Return the class that most parts vote for; ``votes`` (m, u), -1 where a part is silent.

    A part that turns from the winner a to b closes the gap between them by 2, and there are always
    enough parts that vote a: exact, where a part can be turned at all.
    """
    counts = np.stack([(votes == c).sum(axis=0) for c in range(n_classes)], axis=1)
    heard = counts.sum(axis=1)
    predicted = predict(counts)
    gap = counts[np.arange(len(counts)), predicted][:, None] - counts
    later = np.arange(n_classes) > predicted[:, None]
    # A tie is the lower class's: a later one must get ahead.
    needed = (gap + 1 + later) // 2
    needed[np.arange(len(counts)), predicted] = NEVER
    parts = np.where(heard > 0, needed.min(axis=1), NEVER)
    return counts / np.maximum(heard, 1)[:, None], predicted, parts


def by_location(values: Floats, heard: Booleans, trim: float | None) -> Outcome:
    """Return the class with the highest trimmed mean of its shares, or median where trim is None.

    ``values`` (m, u, c) shares in 0..1, ``heard`` (m, u). The outcome stands if the lowest mean
    that k parts can give the winner is above the highest that they can give every other class. Of
    two classes both come from the same k parts, and the number is exact.
    """
    m, u, c = values.shape
    scores, predicted = np.zeros((u, c)), np.zeros(u, dtype=np.int64)
    parts = np.full(u, NEVER)
    # Ascending, silent parts last: they are left out by counting.
    ranked = np.sort(np.where(heard[:, :, None], values, np.inf), axis=0)
    n_heard = heard.sum(axis=0)
    for h in range(1, m + 1):
        rows = np.flatnonzero(n_heard == h)
        if rows.size == 0:
            continue
        cut = (h - 1) // 2 if trim is None else int(trim * h)
        some = ranked[:h, rows]
        scores[rows] = some[cut : h - cut].mean(axis=0)
        predicted[rows] = predict(scores[rows])
        parts[rows] = _fewest(some, cut, predicted[rows])
    return scores, predicted, parts


def _fewest(ranked: Floats, cut: int, predicted: Integers) -> Integers:
    """Return how few of h parts can turn the predictions, (g,); ``ranked`` (h, g, c) ascending."""
    h, g, c = ranked.shape
    sums = np.concatenate([np.zeros((1, g, c)), np.cumsum(ranked, axis=0)])
    kept = h - 2 * cut
    everyone, classes = np.arange(g), np.arange(c)
    own, later = classes == predicted[:, None], classes > predicted[:, None]
    fewest = np.full(g, NEVER)
    # More than h - cut parts make no difference: nothing but theirs is left in the mean.
    for k in range(h - cut, 0, -1):
        # k parts at 0 instead of the k highest, and at 1 instead of the k lowest.
        last = min(h - cut + k, h)
        low = (sums[h - cut - k] - sums[max(cut - k, 0)]) / kept
        high = (sums[last] - sums[cut + k] + (h - cut + k - last)) / kept
        lead = low[everyone, predicted][:, None] - high
        safe = np.where(later, lead >= -TIE + _ROUNDING, lead > TIE + _ROUNDING) | own
        # Descending, so that the last one written is the fewest.
        fewest[~safe.all(axis=1)] = k
    return fewest
