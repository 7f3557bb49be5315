"""The state of a search over flips: what each would do next, from one M."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

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
    scores : (u, c) float64
    free : (l,) bool
        Labels that may still be flipped.
    change : (l, c) int64
        Rows a flip to a class would turn wrong, less those it would turn right.
    room : (u,) float64
        See `gssl_poison.kernels.flips`.
    wrong, start_wrong : int
        Rows whose prediction is not their target, now and before any flip.
    """

    M: Floats
    target: Integers
    clean: Integers
    codes: Integers
    scores: Floats
    free: npt.NDArray[np.bool_]
    change: Integers
    room: Floats
    wrong: int
    start_wrong: int = 0

    @classmethod
    def start(cls, M: Floats, codes: Integers, target: Integers, n_classes: int) -> Search:
        """Look at all flips once: one pass over M."""
        l = codes.size  # noqa: E741
        search = cls(
            M=M,
            target=target,
            clean=codes,
            codes=codes.copy(),
            scores=M @ np.eye(n_classes)[codes],
            free=np.ones(l, dtype=np.bool_),
            change=np.empty((l, n_classes), dtype=np.int64),
            room=np.empty(len(M)),
            wrong=0,
        )
        search.recount()
        search.start_wrong = search.wrong
        return search

    def recount(self) -> None:
        """Find ``change``, ``room`` and ``wrong`` anew."""
        from gssl_poison.kernels.flips import count_flips, predict

        predicted = np.empty(len(self.M), dtype=np.int64)
        predict(self.scores, predicted)
        self.wrong = int((predicted != self.target).sum())
        self.change[:] = 0
        count_flips(self.M, self.scores, self.codes, self.target, self.free, self.change, self.room)

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
        from gssl_poison.kernels.flips import flip_label

        flip_label(
            self.M,
            self.scores,
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
            scores=self.scores.copy(),
            free=self.free.copy(),
            change=self.change.copy(),
            room=self.room.copy(),
        )

    def unflip(self, j: int) -> None:
        """Give a flipped label its old class back, and make it free to be flipped again."""
        from gssl_poison.kernels.flips import count_flips

        flipped = int(self.codes[j])
        self._move(j, int(self.clean[j]))
        column = np.ascontiguousarray(self.M[:, j : j + 1])
        change = np.zeros((1, self.scores.shape[1]), dtype=np.int64)
        room = np.empty(len(column))
        free = np.ones(1, dtype=np.bool_)
        count_flips(column, self.scores, self.codes[j : j + 1], self.target, free, change, room)
        self.free[j] = True
        self.change[j] = change[0]
        self.wrong -= int(change[0, flipped])
        np.minimum(self.room, room, out=self.room)

    def nearness(self, flips: Integers) -> Floats:
        """Return how much nearer to turning each flip (label, class) brings the rows still right.

        The sum over those rows of the part of their lead that it takes, at most 1 a row.
        """
        from gssl_poison.kernels.flips import add_nearness

        found = np.zeros(len(flips))
        labels, classes = (np.ascontiguousarray(column) for column in flips.T)
        add_nearness(self.M, self.scores, self.codes, self.target, labels, classes, found)
        return found
