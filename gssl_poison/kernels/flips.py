"""Count wrong predictions after every single change of a label, from one M."""

from __future__ import annotations

from typing import Any

from numba import njit

# Scores less than this apart tie: duplicated points make exact ties, which rounding would hide.
TIE = 1e-12


@njit(cache=True, nogil=True)
def count_binary(M: Any, margin: Any, signs: Any, truth: Any, wrong: Any) -> None:
    """Add to ``wrong`` (l,) the rows whose prediction is wrong once a label of two is turned.

    ``margin`` (r,) is the score of class 1 minus that of class 0, ``signs`` (l,) +1 where a label
    is of class 1, ``truth`` (r,) booleans. A tie is class 0's, the lower index.
    """
    for i in range(M.shape[0]):
        for j in range(M.shape[1]):
            turned = margin[i] - 2.0 * signs[j] * M[i, j]
            wrong[j] += (turned > TIE) != truth[i]


@njit(cache=True, nogil=True)
def count_flips(M: Any, scores: Any, codes: Any, truth: Any, wrong: Any) -> None:
    """Add to ``wrong`` (l, c) the rows whose prediction is wrong once a label has another class.

    ``scores`` (r, c), ``codes`` (l,), ``truth`` (r,). Ties are the lower index's.
    """
    n_classes = scores.shape[1]
    for i in range(M.shape[0]):
        for j in range(M.shape[1]):
            old, part = codes[j], M[i, j]
            for new in range(n_classes):
                best, first = -1.0, 0
                for k in range(n_classes):
                    score = scores[i, k]
                    if new != old:
                        if k == old:
                            score -= part
                        elif k == new:
                            score += part
                    if score > best + TIE:
                        best, first = score, k
                wrong[j, new] += first != truth[i]
