"""The rule of `LabelPropagation`: means of neighbours, self-loops included, and labels put back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from gssl_poison.estimators.gaussian import walk_of_points
from gssl_poison.estimators.products import Product, weights_of
from gssl_poison.estimators.source import Limit, Source
from gssl_poison.graph import RBFGraph
from gssl_poison.propagation import Harmonic, Propagation

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# What the cancellation in "all weight less one's own" may hide.
_CANCELLED = 2.0**-50


@dataclass(frozen=True)
class ClampedStep:
    """``F <- D^-1 W F``, rows divided by their sums, labelled rows put back.

    Attributes
    ----------
    product : Product
        W with self-loops.
    Y : (n, c) float64
        The labels, rows of 0 where there is none.
    listened : (n, c) float64 or None
        On a Gaussian graph, the scores after the first iteration, from logarithms of weights.
    faint : bool
        Whether some of those weights are too small for float64, so that scikit-learn's loop, which
        has 0 for them, does not start like that.
    """

    product: Product
    Y: Floats = field(repr=False)
    listened: Floats | None = field(repr=False, default=None)
    faint: bool = False

    @property
    def error(self) -> float:
        """Relative error of a share of a row, whose sum has an error of its own."""
        return 2.0 * self.product.error

    @property
    def lost(self) -> float:
        """Bound of what left out weights add to a score in one iteration."""
        return self.product.lost

    @property
    def start(self) -> Floats | None:
        """The scores after the first iteration, where they are known already."""
        return None if self.faint else self.listened

    @property
    def early_doubt(self) -> Callable[[int, Floats, Floats], Floats]:
        """Rows are divided by the weight of the points that a label has reached so far."""
        return self._early_doubt

    def __call__(self, columns: Floats, n_classes: int) -> Floats:
        """Return scores, and what is pushed along with them, one iteration later."""
        result = self.product.matmul(columns)
        sums = result[:, :n_classes].sum(axis=1, keepdims=True)
        result /= np.where(sums == 0.0, 1.0, sums)
        labeled = self.Y.any(axis=1)
        result[labeled, :n_classes] = self.Y[labeled]
        result[labeled, n_classes:] = 0.0
        return result

    def _early_doubt(self, n_iter: int, before: Floats, scores: Floats) -> Floats:
        """Bound how far the change of every point's scores may be off, (n,).

        Notes
        -----
        With ``m`` the share of row i that is not its own, the change of a point that a label had
        reached is ``sum_j T_ij (F_j - F_i)``, off by at most ``2 m (exp(e) - 1 + err)`` with
        ``err`` the error of a row of scores so far; where a label has only now arrived, the change
        is the row of scores itself.
        """
        reached: Any = before.any(axis=1)
        weight = self.product.matmul(reached[:, None].astype(np.float64))[:, 0]
        weight = np.where(weight > 0.0, weight, 1.0)
        moved = np.exp(self.error) * ((weight - self.product.own) / weight + _CANCELLED)
        off = np.expm1(self.error) + np.expm1(self.error * (n_iter - 1))
        arrived = np.where(scores.any(axis=1), np.expm1(self.error * n_iter), 0.0)
        bound: Floats = np.where(reached, 2.0 * moved * off, arrived)
        bound[self.Y.any(axis=1)] = 0.0
        return bound

    def in_logarithms(self, source: Source, n_iter: int) -> Floats:
        """Return the distributions of the loop where weights cannot underflow."""
        if self.listened is None:
            labeled = np.flatnonzero(self.Y.any(axis=1))
            fitted = Propagation(n_iter).fit(source.graph, labeled)
            return fitted.apply(self.Y[labeled], normalized=True)
        # From the second iteration on every point has its self-loop of 1, beside which weights that
        # underflow are nothing.
        scores = self.listened
        for _ in range(1, n_iter):
            scores = self(scores, scores.shape[1])
        return scores


@dataclass(frozen=True)
class Clamped:
    """Label propagation as scikit-learn iterates it, and its limit."""

    def step(self, source: Source, Y: Floats, precision: str) -> ClampedStep | None:
        """Return the loop's step, or None where single precision cannot be proven enough."""
        if isinstance(source.graph, RBFGraph):
            walk = walk_of_points(source.graph, Y, precision)
            return None if walk is None else ClampedStep(walk.product, Y, walk.start, walk.faint)
        product = weights_of(source.W, precision)
        return None if product is None else ClampedStep(product, Y)

    def limit(self, source: Source, Y: Floats) -> Limit:
        """Return the harmonic solution, which the loop has at the end of all iterations."""
        labeled = np.flatnonzero(Y.any(axis=1))
        if labeled.size == source.n_points:
            return Y, 1, labeled[:0]
        fitted = Harmonic(unreached="leave").fit(source.graph, labeled)
        distributions = fitted.apply(Y[labeled], normalized=True)
        return distributions, max(1, fitted.n_iter), fitted.unreached
