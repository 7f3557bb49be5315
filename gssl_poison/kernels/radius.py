"""How few labels decide a row: the least number of flips that can change its prediction."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from gssl_poison.labels import TIE

# Stretches no longer than this are put in order, not split further.
_SHORT = 16


@njit(cache=True, nogil=True)
def count_needed(
    M: Any, scores: Any, codes: Any, predicted: Any, error: float, rounding: float, out: Any
) -> None:
    """Write to ``out`` (r, 2) how few flips change each row: by its shares, and beyond any doubt.

    ``M`` (r, l) row-normalised, ``scores`` (r, c), ``codes`` (l,), ``predicted`` (r,). The first
    column takes the shares as they are. The second allows every share to be off by ``error``, and
    what is added up by ``rounding``: no smaller number of flips can change the row; it is 0 where
    the prediction itself is in doubt. ``l + 1`` stands for a row that no flips change.
    """
    n_labeled, n_classes = codes.size, scores.shape[1]
    gains = np.empty(n_labeled)
    for i in range(M.shape[0]):
        first = predicted[i]
        out[i, 0] = out[i, 1] = n_labeled + 1
        # A row that no label reaches has no shares to be wrong about.
        if not M[i].any():
            continue
        for rival in range(n_classes):
            if rival == first:
                continue
            # A rival of lower index wins ties, one of higher index has to exceed them.
            need = scores[i, first] - scores[i, rival] + (TIE if rival > first else -TIE)
            for side in range(2):
                off = side * error
                size = 0
                for j in range(n_labeled):
                    if codes[j] != rival:
                        gains[size] = (2.0 if codes[j] == first else 1.0) * (M[i, j] + off)
                        size += 1
                wanted = need - side * (n_labeled * error + rounding)
                fewest = _fewest(gains[:size], wanted)
                out[i, side] = min(out[i, side], fewest if fewest <= size else n_labeled + 1)


@njit(cache=True, nogil=True)
def _fewest(values: Any, wanted: float) -> Any:
    """Return how many of the values, the largest first, add up to what is wanted.

    One more than there are where all do not. Reorders the values; a partial selection, so that the
    cost is that of a few passes.
    """
    if wanted <= 0.0:
        return 0
    low, high, total = 0, values.size, 0.0
    most = values.size + 1
    # The answer's last value lies in low..high - 1, those before low make up ``total``.
    while high - low > _SHORT:
        pivot = _middle(values[low], values[(low + high) // 2], values[high - 1])
        left, right, part = low, high - 1, 0.0
        while left <= right:
            while values[left] > pivot:
                part += values[left]
                left += 1
            while values[right] < pivot:
                right -= 1
            if left <= right:
                values[left], values[right] = values[right], values[left]
                part += values[left]
                left += 1
                right -= 1
        if total + part >= wanted:
            high = most = left
        else:
            total += part
            low = left
    rest = np.sort(values[low:high])
    for k in range(rest.size):
        total += rest[rest.size - 1 - k]
        if total >= wanted:
            return low + k + 1
    # Another order of adding may have reached what this one just misses.
    return most


@njit(cache=True, nogil=True)
def _middle(a: float, b: float, c: float) -> float:
    """Return the median of three."""
    return max(min(a, b), min(max(a, b), c))
