"""Conjugate gradients on a GPU: the loop of `gssl_poison.kernels.cg`, by sparse products there.

Only an approximation comes from here. What is left of the equations, and what that proves, is
computed on the host, as for every other way of finding one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from gssl_poison.kernels.cg import Stop
from gssl_poison.kernels.chain import Chain
from gssl_poison.kernels.cuda import Card

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CardChain:
    """A chain on a card: ``A x = diagonal x - P x``.

    Attributes
    ----------
    card : Card
    P : (m, m) sparse matrix of the card
    diagonal, weight : (m, 1) float64, on the card
    """

    card: Card
    P: Any = field(repr=False)
    diagonal: Any = field(repr=False)
    weight: Any = field(repr=False)

    @classmethod
    def of(cls, card: Card, chain: Chain, weight: Floats) -> CardChain:
        """Copy a chain to a card."""
        diagonal = card.put(chain.diagonal[:, None])
        return cls(card, card.sparse(chain.P), diagonal, card.put(weight[:, None]))

    def multiply(self, X: Any) -> Any:
        """Return ``A X``, (m, c)."""
        return self.diagonal * X - self.P @ X


def conjugate_gradients_on_card(
    chain: CardChain, B: Floats, stop: Stop, max_iter: int
) -> tuple[Floats, int]:
    """Solve ``A X = B`` from zero; see `gssl_poison.kernels.cg.conjugate_gradients`.

    Parameters
    ----------
    chain : CardChain
    B : (m, c) float64
        Of the host.
    stop : Stop
    max_iter : int

    Returns
    -------
    X : (m, c) float64
    n_iter : int

    Notes
    -----
    One sparse product an iteration, and two waits of the host, for c and for 4 c numbers.
    """
    card, columns = chain.card, np.arange(B.shape[1])
    R = card.put(B)
    X, direction = card.xp.zeros(B.shape), R.copy()
    rr, total, largest_r, largest_x = _measure(chain, X, R)
    moving = ~stop.reached(columns, total, largest_r, largest_x) & (rr > 0.0)
    n_iter = 0
    with np.errstate(all="ignore"):
        while moving.any() and n_iter < max_iter:
            product = chain.multiply(direction)
            alpha = rr / card.get((chain.weight * direction * product).sum(axis=0))
            # A curvature of zero or below is rounding: the column can go no further.
            moving &= np.isfinite(alpha) & (alpha > 0.0)
            step = card.put(np.where(moving, alpha, 0.0))
            X += step * direction
            R -= step * product
            before = rr
            rr, total, largest_r, largest_x = _measure(chain, X, R)
            n_iter += 1
            moving &= ~stop.reached(columns, total, largest_r, largest_x)
            moving &= np.isfinite(rr) & (rr > 0.0) & (largest_x <= stop.beyond)
            direction *= card.put(np.where(moving, rr / before, 0.0))
            direction += R
    return card.get(X), n_iter


def _measure(chain: CardChain, X: Any, R: Any) -> Floats:
    """Return ``sum w r^2``, ``sum w |r|``, ``max |r|`` and ``max |x|``, (4, c)."""
    xp, size = chain.card.xp, abs(R)
    weighted = chain.weight * size
    found = [
        (weighted * size).sum(axis=0),
        weighted.sum(axis=0),
        size.max(axis=0),
        abs(X).max(axis=0),
    ]
    return chain.card.get(xp.concatenate(found)).reshape(4, -1)
