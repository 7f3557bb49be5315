"""How few labels decide a row, on the GPU: what `kernels.radius` counts, a block a row."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gssl_poison.kernels.cuda import Card
from gssl_poison.labels import TIE

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# Threads of a block, as in the kernel.
_THREADS = 256


def count_needed_on_card(
    card: Card,
    M: Floats,
    scores: Floats,
    codes: Integers,
    predicted: Integers,
    error: float,
    rounding: float,
) -> Integers:
    """Return how few flips change each row: by its shares, and beyond any doubt.

    Parameters
    ----------
    card : Card
    M : (r, l) float64
        Shares, row-normalised.
    scores : (r, c) float64
    codes : (l,) int64
        Classes of the labelled points.
    predicted : (r,) int64
    error : float
        How far every share may be off.
    rounding : float
        How far what is added up may be.

    Returns
    -------
    (r, 2) int64
        As `kernels.radius.count_needed` writes it, ``l + 1`` for a row that no flips change.

    Notes
    -----
    A reading of a row and of the codes is ``12 l`` bytes; all but the first are of a cache, where
    they fit. Of two classes there are about 20 to 40, and 130 at most, where the gains that decide
    are all alike; a further rival adds as many at most. ``8 r l`` bytes on the card.
    """
    r, l = M.shape  # noqa: E741 - the number of labelled points, everywhere
    needed = card.empty((r, 2), "int32")
    arguments = (
        card.put(M),
        card.put(scores),
        card.put(codes.astype(np.int32)),
        card.put(predicted.astype(np.int32)),
        np.int32(l),
        np.int32(scores.shape[1]),
        np.float64(TIE),
        np.float64(error),
        np.float64(l * error + rounding),
        needed,
    )
    card.launch("count_needed", (r,), _THREADS, arguments)
    return card.get(needed).astype(np.int64)
