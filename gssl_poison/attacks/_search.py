"""The state of a search over flips: what each would do next, from one M."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from gssl_poison.kernels.cuda import Card
from gssl_poison.kernels.cuda_flips import CardFlips
from gssl_poison.metrics import predict

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
_NEVER = np.iinfo(np.int64).min


@dataclass
class Search:
    """Labels as flipped so far, and how many more rows every further flip would turn wrong.

    Attributes
    ----------
    M : (u, l) float64
        Shares, never changed.
    target : (u,) int64
        The classes that the rows shall not have.
    clean : (l,) int64
        The classes before any flip.
    codes : (l,) int64
    host_scores : (u, c) float64
        What the labels say of the rows; where flips are counted on a card, before any of them.
    free : (l,) bool
        Labels that may still be flipped.
    change : (l, c) int64
        Rows a flip to a class would turn wrong, less those it would turn right.
    room : (u,) float64
        See `gssl_poison.kernels.flips`; means nothing where flips are counted on a card.
    wrong, start_wrong : int
        Rows whose prediction is not their target, now and before any flip.
    on_card : CardFlips, optional
        What counts flips in place of the CPU's kernels.
    """

    M: Floats
    target: Integers
    clean: Integers
    codes: Integers
    host_scores: Floats
    free: npt.NDArray[np.bool_]
    change: Integers
    room: Floats
    wrong: int
    start_wrong: int = 0
    on_card: CardFlips | None = None

    @classmethod
    def start(
        cls,
        M: Floats,
        codes: Integers,
        target: Integers,
        n_classes: int,
        card: Card | None = None,
    ) -> Search:
        """Look at all flips once: one pass over M."""
        scores = M @ np.eye(n_classes)[codes]
        on_card = None if card is None else CardFlips(card, M, scores, codes, target)
        return cls._start(M, codes, target, scores, on_card)

    @classmethod
    def _start(
        cls,
        M: Floats,
        codes: Integers,
        target: Integers,
        scores: Floats,
        on_card: CardFlips | None,
    ) -> Search:
        """Count the flips of a search that has made none."""
        wrong = int((predict(scores) != target).sum())
        search = cls(
            M=M,
            target=target,
            clean=codes,
            codes=codes.copy(),
            host_scores=scores,
            free=np.ones(codes.size, dtype=np.bool_),
            change=np.zeros((codes.size, scores.shape[1]), dtype=np.int64),
            room=np.empty(len(M)),
            wrong=wrong,
            start_wrong=wrong,
            on_card=on_card,
        )
        if on_card is not None:
            search.change = on_card.count()
            return search
        from gssl_poison.kernels.flips import count_flips

        count_flips(M, scores, search.codes, target, search.free, search.change, search.room)
        return search

    def again(self) -> Search:
        """Return a search on the same M that has made no flip."""
        scores = self.M @ np.eye(self.change.shape[1])[self.clean]
        there = self.on_card
        if there is not None:
            there = CardFlips(there.card, there.M, scores, self.clean, self.target)
        return Search._start(self.M, self.clean, self.target, scores, there)

    @property
    def scores(self) -> Floats:
        """What the labels as flipped so far say of the rows, (u, c)."""
        return self.host_scores if self.on_card is None else self.on_card.scores

    def gains(self) -> Integers:
        """Return ``change`` with the least number where there is no flip to make, (l, c)."""
        gains = self.change.copy()
        gains[~self.free] = _NEVER
        gains[np.arange(self.codes.size), self.codes] = _NEVER
        return gains

    def flip(self, j: int, new: int) -> None:
        """Flip one free label, and look again at the rows where that matters."""
        self.wrong += int(self.change[j, new])
        self._move(j, new)

    def _move(self, j: int, new: int) -> None:
        """Give a label another class and bring all but ``wrong`` up to date."""
        if self.on_card is not None:
            self.on_card.flip(j, int(self.codes[j]), new)
            self.codes[j], self.free[j] = new, False
            self.change = self.on_card.count()
            return
        from gssl_poison.kernels.flips import flip_label

        flip_label(
            self.M,
            self.host_scores,
            self.codes,
            self.target,
            self.free,
            self.change,
            self.room,
            j,
            new,
        )

    def copy(self) -> Search:
        """Return a search that goes on by itself."""
        return replace(
            self,
            codes=self.codes.copy(),
            host_scores=self.host_scores.copy(),
            on_card=None if self.on_card is None else self.on_card.copy(),
            free=self.free.copy(),
            change=self.change.copy(),
            room=self.room.copy(),
        )

    def unflip(self, j: int) -> None:
        """Give a flipped label its old class back, and make it free to be flipped again."""
        flipped = int(self.codes[j])
        self._move(j, int(self.clean[j]))
        self.free[j] = True
        if self.on_card is None:
            self._count_anew(j)
        self.wrong -= int(self.change[j, flipped])

    def _count_anew(self, j: int) -> None:
        """Count what flips of one label would do, which has not been free."""
        from gssl_poison.kernels.flips import count_flips

        column = np.ascontiguousarray(self.M[:, j : j + 1])
        change, scores = np.zeros((1, self.change.shape[1]), dtype=np.int64), self.host_scores
        room = np.empty(len(column))
        free = np.ones(1, dtype=np.bool_)
        count_flips(column, scores, self.codes[j : j + 1], self.target, free, change, room)
        self.change[j] = change[0]
        np.minimum(self.room, room, out=self.room)

    def nearness(self, flips: Integers) -> Floats:
        """Return how much nearer to turning each flip (label, class) brings the rows still right.

        The sum over those rows of the part of their lead that it takes, at most 1 a row.
        """
        labels, classes = (np.ascontiguousarray(column) for column in flips.T)
        if self.on_card is not None:
            return self.on_card.nearness(labels, classes)
        from gssl_poison.kernels.flips import add_nearness

        found = np.zeros(len(flips))
        add_nearness(self.M, self.host_scores, self.codes, self.target, labels, classes, found)
        return found
