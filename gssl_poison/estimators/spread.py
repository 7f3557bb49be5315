"""The rule of `LabelSpreading`: a part from the neighbours, the rest from one's own label."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from gssl_poison.estimators.gaussian import similarity_of_points
from gssl_poison.estimators.logarithms import n_terms, spread_in_logarithms
from gssl_poison.estimators.loop import row_normalized
from gssl_poison.estimators.products import Product, similarity_of
from gssl_poison.estimators.source import Limit, Source
from gssl_poison.exceptions import NumericalError
from gssl_poison.graph import RBFGraph
from gssl_poison.propagation import Spreading, walks
from gssl_poison.propagation.spreading import SpreadingLoop

Floats = npt.NDArray[np.float64]

# Iterations in logarithms that are still worth making where float64 has no closed form.
_MOST_TERMS = 250


@dataclass(frozen=True)
class SpreadStep:
    """``F <- alpha S F + (1 - alpha) Y``, one linear map from the start.

    Attributes
    ----------
    product : Product
        S, with a zero diagonal.
    alpha : float
    Y : (n, c) float64
        The labels, rows of 0 where there is none.
    """

    product: Product
    alpha: float
    Y: Floats = field(repr=False)
    start: None = None
    early_doubt: None = None

    @property
    def error(self) -> float:
        """Relative error of an entry of S."""
        return self.product.error

    @property
    def lost(self) -> float:
        """Bound of what left out weights add to a score in one iteration."""
        return self.product.lost

    def __call__(self, columns: Floats, n_classes: int) -> Floats:
        """Return scores, and what is pushed along with them, one iteration later."""
        result = self.product.matmul(columns)
        result *= self.alpha
        result[:, :n_classes] += (1.0 - self.alpha) * self.Y
        return result

    def in_logarithms(self, source: Source, n_iter: int) -> Floats:
        """Return the distributions of the loop where neither weights nor scores underflow."""
        labeled = np.flatnonzero(self.Y.any(axis=1))
        return spread_in_logarithms(source.graph, labeled, self.Y[labeled], self.alpha, n_iter)


@dataclass(frozen=True)
class Spread:
    """Label spreading as scikit-learn iterates it, and its limit.

    Attributes
    ----------
    alpha : float
    """

    alpha: float

    def step(self, source: Source, Y: Floats, precision: str) -> SpreadStep | None:
        """Return the loop's step, or None where single precision cannot be proven enough."""
        if isinstance(source.graph, RBFGraph):
            product = similarity_of_points(source.graph, precision)
        else:
            product = similarity_of(source.W, precision)
        return None if product is None else SpreadStep(product, self.alpha, Y)

    def limit(self, source: Source, Y: Floats) -> Limit:
        """Return the closed form, which the loop has at the end of all iterations."""
        labeled = np.flatnonzero(Y.any(axis=1))
        if labeled.size == source.n_points:
            return self._limit_of_labels(source, Y)
        terms = n_terms(self.alpha, int(source.graph.hops(labeled).max()))
        try:
            fitted = Spreading(self.alpha).fit(source.graph, labeled)
            distributions = fitted.apply(Y[labeled], normalized=True)
        except NumericalError:
            if terms > _MOST_TERMS:
                raise
            exact = spread_in_logarithms(source.graph, labeled, Y[labeled], self.alpha, terms)
            return exact, terms, np.flatnonzero(source.graph.hops(labeled) < 0)
        lost = np.asarray(~distributions.any(axis=1))
        lost[fitted.unreached] = False
        if lost.any():
            exact = spread_in_logarithms(source.graph, labeled, Y[labeled], self.alpha, terms)
            distributions[lost] = exact[lost]
        return distributions, fitted.n_iter, fitted.unreached

    def _limit_of_labels(self, source: Source, Y: Floats) -> Limit:
        """Return the limit where every point is labelled, and only takes from its neighbours."""
        everyone = np.arange(source.n_points, dtype=np.int64)
        similarity, terms = walks.similarity_of(source.graph), n_terms(self.alpha, 0)
        loop = SpreadingLoop(similarity, everyone, everyone.size, self.alpha, terms)
        scores, _ = loop.apply(Y)
        return row_normalized(np.ldexp(scores, -loop.lift)), terms, everyone[:0]
