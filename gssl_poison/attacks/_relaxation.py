"""Flips made continuous: the losses of Liu et al., their gradients, and the way back to flips.

A label is flipped where ``d_j = -1`` and kept where ``d_j = 1``, and a mixture of both in between.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from gssl_poison._arguments import check_whole
from gssl_poison.attacks._common import (
    Surrogate,
    Task,
    begin,
    fitted_of,
    kernel_of,
    shares_of,
    target_classes,
)
from gssl_poison.attacks._search import Search
from gssl_poison.exceptions import InputError, NumericalError
from gssl_poison.labels import TIE
from gssl_poison.metrics import predict
from gssl_poison.problem import Poison, Problem

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

WRONG = "wrong part of the unlabelled points, on the K used"
# K.T K costs what this many labels a step cost two products with K: l^2 u against 4 u l a step,
# at the tenfold rate of products of matrices.
_LABELS_PER_STEP = 32


@dataclass(frozen=True)
class Relaxed:
    """What an attack with a real d for every label starts from.

    Attributes
    ----------
    task : Task
    K : (u, l) float64
        The shares of the surrogate, or the published K.
    target : (u,) int64
        The classes that the unlabelled points shall not have.
    new : (l,) int64
        What every label becomes when it is flipped.
    fixed, moving : (l, m) float64
        Labels are ``fixed + moving * d``, between -1 and 1 in every column.
    answer : (u, m) float64
        The targets, -1 or 1 in every column.
    weight : float
        What a column counts for: wrong predictions count alike for any number of classes.
    published : bool
        Whether K is the published one.
    notes : tuple of str
        What there is to say about K.
    """

    task: Task
    K: Floats
    target: Integers
    new: Integers
    fixed: Floats
    moving: Floats
    answer: Floats
    weight: float
    published: bool
    notes: tuple[str, ...]

    @classmethod
    def start(cls, attack: Any, problem: Problem, surrogate: Surrogate, budget: float) -> Relaxed:
        """Check the inputs of an attack, find its targets, its K and the new classes.

        Notes
        -----
        With c classes label j is ``e_old (1 + d_j) / 2 + e_new (1 - d_j) / 2``, scaled to -1..1,
        against ``2 one_hot(target) - 1``. Two columns say the same twice, and one is kept: that is
        ``y_j d_j`` with y in {-1, 1}. A wrong prediction differs in two columns, so each of more
        columns counts half.
        """
        task = begin(problem, surrogate, budget, preset=attack.preset)
        c, y = problem.n_classes, problem.y
        target = target_classes(problem, surrogate, attack.truth, type(attack).__name__)
        published = attack.preset == "replication"
        K, notes = kernel_of(attack.preset, problem, surrogate)
        # A void K cannot tell which class does damage: the surrogate says it in both presets.
        if c == 2:
            new = 1 - y
        else:
            who = f"{type(attack).__name__} with {c} classes"
            sound = shares_of(fitted_of(surrogate, who)) if published else K
            new = Search.start(sound, y, target, c, task.card).gains().argmax(axis=1)
        one = np.eye(c)
        used = slice(1, 2) if c == 2 else slice(0, c)
        return cls(
            task=task,
            K=K,
            target=target,
            new=new,
            fixed=(one[y] + one[new] - 1.0)[:, used],
            moving=(one[y] - one[new])[:, used],
            answer=(2.0 * one[target] - 1.0)[:, used],
            weight=1.0 if c == 2 else 0.5,
            published=published,
            notes=notes,
        )

    def slope(self, d: Floats, sharpness: float | None = None) -> Floats:
        """Return the gradient by d, (l,), of how far the scores are from the targets.

        ``weight / 2 |f - answer|^2`` with ``f = K (fixed + moving d)``, or
        ``tanh(sharpness K (fixed + moving d))``. ``4 u l m`` operations.
        """
        scores = self.K @ (self.fixed + self.moving * d[:, None])
        if sharpness is None:
            off = scores - self.answer
        else:
            scores *= sharpness
            np.tanh(scores, out=scores)
            off = (scores - self.answer) * (sharpness * (1.0 - scores * scores))
        back: Floats = (self.moving * (self.K.T @ off)).sum(axis=1)
        return self.weight * back

    def fast_slope(self, n_steps: int) -> Callable[[Floats], Floats]:
        """Return `slope` without tanh, for many steps: from ``K.T K`` where that is cheaper.

        ``H d + r`` with ``H = weight (K.T K) * (moving moving.T)``: l^2 operations a step in place
        of 4 u l. On a void K the two differ by more than the numbers themselves, and the published
        order of operations is kept.
        """
        if self.published or self.K.shape[1] > _LABELS_PER_STEP * n_steps:
            return self.slope
        products = gram(self.K)
        back = products @ self.fixed - self.K.T @ self.answer
        r = self.weight * (self.moving * back).sum(axis=1)
        H = products
        H *= self.weight * (self.moving @ self.moving.T)
        return lambda d: H @ d + r

    def poison(self, attack: Any, score: Floats, wanted: npt.NDArray[np.bool_]) -> Poison:
        """Flip the labels of least score within the budget.

        Parameters
        ----------
        attack : dataclass
        score : (l,) float64
        wanted : (l,) bool
            Labels the published procedure would flip at all. Of others none is flipped in a
            replication; else they come in the order of their scores when the budget is left.
        """
        notes = self.notes
        lost = int((~np.isfinite(score)).sum())
        if lost and not self.published:
            raise NumericalError(
                f"{lost} of {score.size} relaxed labels are not finite after {attack!r}: its steps "
                "diverge; use a smaller step."
            )
        if lost:
            notes += (f"{lost} of {score.size} relaxed labels overflowed and are not flipped",)
        # Stable, NaN last.
        order = np.argsort(score, kind="stable")[: self.task.n_flips]
        if self.published:
            order = order[wanted[order] & np.isfinite(score[order])]
            missing = self.task.n_flips - order.size
            if missing:
                notes += (
                    f"{missing} fewer flips than the budget of {self.task.n_flips}: the published "
                    "procedure wants no more",
                )
        return self.task.poison(
            attack,
            order,
            self.new[order],
            self._wrong_after(order),
            WRONG,
            used_truth=attack.truth,
            notes=notes,
        )

    def _wrong_after(self, order: Integers) -> Floats:
        """Return the wrong part of the unlabelled points after each flip, (k,)."""
        if self.published:
            return self._wrong_as_published(order)
        y, c = self.task.problem.y, self.task.problem.n_classes
        columns = np.ascontiguousarray(self.K[:, order].T)
        wrong = np.empty(order.size)
        if c == 2:
            # One number a row says it all; ties are the lower class's, as in `predict`.
            margin = self.K @ (2.0 * y - 1.0)
            columns *= 2.0 * (self.new[order] - y[order])[:, None]
            for k, moved in enumerate(columns):
                margin += moved
                wrong[k] = np.mean((margin > TIE) != self.target)
            return wrong
        scores = self.K @ np.eye(c)[y]
        for k, j in enumerate(order):
            scores[:, y[j]] -= columns[k]
            scores[:, self.new[j]] += columns[k]
            wrong[k] = np.mean(predict(scores) != self.target)
        return wrong

    def _wrong_as_published(self, order: Integers) -> Floats:
        """Return the same by the sign of every sum in full: no update is right on a void K."""
        y, c = self.task.problem.y, self.task.problem.n_classes
        codes = np.tile(y, (order.size, 1))
        for k, j in enumerate(order):
            codes[k:, j] = self.new[j]
        with np.errstate(all="ignore"):
            if c == 2:
                signs = np.sign(self.K @ (2.0 * codes.T - 1.0))
                return np.asarray((signs != self.answer).mean(axis=0))
            predicted = [(self.K @ np.eye(c)[line]).argmax(axis=1) for line in codes]
        return np.array([np.mean(line != self.target) for line in predicted])


def gram(K: Floats, parts: int = 3) -> Floats:
    """Return ``K.T K``, (l, l), from its lower blocks.

    ``K.T @ K`` in numpy is one call of BLAS's symmetric product, which OpenBLAS does at a third of
    the rate of ordinary ones where K is tall.
    """
    l = K.shape[1]  # noqa: E741
    result = np.empty((l, l))
    edges = np.linspace(0, l, min(parts, l) + 1).astype(int)
    blocks = [slice(a, b) for a, b in pairwise(edges)]
    for i, rows in enumerate(blocks):
        for columns in blocks[: i + 1]:
            result[rows, columns] = K[:, rows].T @ K[:, columns]
            result[columns, rows] = result[rows, columns].T
    return result


def check_settings(attack: Any, positive: tuple[str, ...]) -> None:
    """Refuse a number of steps, a seed or a size that cannot be meant.

    Parameters
    ----------
    attack : dataclass
    positive : tuple of str
        Fields that are finite numbers above 0.
    """
    for name, least in (("n_steps", 1), ("random_state", 0)):
        check_whole(name, getattr(attack, name, least), least)
    for name in positive:
        value = getattr(attack, name)
        right = isinstance(value, int | float | np.integer | np.floating)
        if isinstance(value, bool) or not right or not 0.0 < value < np.inf:
            raise InputError(f"{name}={value!r} is out of range; give a finite number above 0.")
    weight = getattr(attack, "weight", 0.0)
    right = isinstance(weight, int | float | np.integer | np.floating)
    if isinstance(weight, bool) or not right or not 0.0 <= weight < np.inf:
        raise InputError(f"weight={weight!r} is out of range; give a finite number, at least 0.")
