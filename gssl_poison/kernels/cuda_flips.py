"""What every single flip would do to the predictions, counted on a GPU: all of M, every time.

The CPU looks again only at rows that a flip can have changed (`gssl_poison.kernels.flips`); a card
reads all of M in less time than it would take to find them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from gssl_poison.kernels.cuda import Card
from gssl_poison.labels import TIE

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# Threads of a block, as in the kernels; rows that one counts, at most, and the shared memory that a
# kernel gets unasked.
_THREADS, _ROWS, _ROW_THREADS = 64, 128, 256
_SHARED = 48 * 1024


class CardFlips:
    """M, the scores and the labels as they are flipped, on a card.

    Parameters
    ----------
    card : Card
    M : (u, l) float64
        Of the host, or on the card already.
    scores : (u, c) float64
    codes : (l,) int64
    target : (u,) int64
        A row is wrong where its prediction is another class.
    """

    def __init__(
        self, card: Card, M: Any, scores: Floats, codes: Integers, target: Integers
    ) -> None:
        self.card, self.target = card, target
        self.M = card.put(M) if type(M) is np.ndarray else M
        self._target = card.put(target.astype(np.int32))
        self._codes = card.put(codes.astype(np.int32))
        self._scores = card.put(scores)

    @property
    def scores(self) -> Floats:
        """The scores as flipped so far, (u, c), of the host."""
        return self.card.get(self._scores)

    def copy(self) -> CardFlips:
        """Return one that goes on by itself, with the same M."""
        codes = self.card.get(self._codes).astype(np.int64)
        return CardFlips(self.card, self.M, self.scores, codes, self.target)

    def count(self) -> Integers:
        """Return how many more rows are wrong once label j has class b, (l, c)."""
        (n_rows, n_labeled), c = self.M.shape, self._scores.shape[1]
        change = self.card.xp.zeros((n_labeled, c), dtype=np.int32)
        kept = (self.M, self._scores, self._codes, self._target)
        rows = _ROWS
        while rows > 1 and rows * (8 * c + 8) > _SHARED:
            rows //= 2
        self.card.launch(
            "flip_errors",
            (-(-n_labeled // _THREADS), -(-n_rows // rows), c - 1),
            _THREADS,
            (*kept, *self._sizes(), np.float64(TIE), change),
            shared=rows * (8 * c + 8),
            ROWS=str(rows),
        )
        return self.card.get(change).astype(np.int64)

    def flip(self, label: int, old: int, new: int) -> None:
        """Give a label another class."""
        where = [np.int32(number) for number in (label, old, new)]
        self.card.launch(
            "flip_label",
            (-(-self.M.shape[0] // _ROW_THREADS),),
            _ROW_THREADS,
            (self.M, *self._sizes(), *where, self._scores, self._codes),
        )

    def nearness(self, labels: Integers, classes: Integers) -> Floats:
        """Return what `gssl_poison.kernels.flips.add_nearness` adds up, (m,)."""
        found = self.card.empty((labels.size,), "float64")
        given = [self.card.put(numbers.astype(np.int32)) for numbers in (labels, classes)]
        self.card.launch(
            "flip_nearness",
            (-(-labels.size // _THREADS),),
            _THREADS,
            (
                self.M,
                self._scores,
                self._codes,
                self._target,
                *given,
                *self._sizes(),
                np.int32(labels.size),
                np.float64(TIE),
                found,
            ),
        )
        return self.card.get(found)

    def _sizes(self) -> tuple[np.int32, np.int32, np.int32]:
        return np.int32(self.M.shape[0]), np.int32(self.M.shape[1]), np.int32(self._scores.shape[1])
