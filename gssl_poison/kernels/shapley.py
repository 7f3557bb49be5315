"""Shapley values of labels for nearest-neighbour votes, by the exact recursion."""

from __future__ import annotations

from typing import Any

from numba import njit


@njit(cache=True, nogil=True)
def add_shapley(
    order: Any, n_linked: Any, found: Any, wanted: Any, weight: Any, value: Any
) -> None:
    """Add to ``value`` (l,) what every label is worth at some points, (b,).

    ``order`` (b, l) lists the labels by distance from each point, the first ``n_linked`` (b,) of
    them vote; ``found`` (l,) are their classes, ``wanted`` (b,) those of the points. With
    ``match_t`` whether the t-th label has the wanted class, ``s_t = s_{t+1} + (match_t -
    match_{t+1}) weight_t``, from the last that votes, beyond which nothing matches.
    """
    for i in range(order.shape[0]):
        worth, behind = 0.0, 0.0
        for t in range(n_linked[i] - 1, -1, -1):
            j = order[i, t]
            match = 1.0 if found[j] == wanted[i] else 0.0
            worth += (match - behind) * weight[t]
            behind = match
            value[j] += worth
