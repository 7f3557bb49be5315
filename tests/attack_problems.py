"""Problems that every attack must be able to deal with."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

import gssl_poison as gp

N = 90
LABELED = np.arange(0, N, 6)


def digits(n_classes: int, truth: bool = True, gamma: float = 1.0, n: int = N) -> gp.Problem:
    """Handwritten digits, every sixth labelled."""
    X, y = load_digits(n_class=n_classes, return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))[:n]
    X, y = X[order] / 16.0, y[order]
    graph = gp.RBFGraph(X, gamma)
    labeled = np.arange(0, n, 6)
    return gp.Problem(graph, labeled, y[labeled], y if truth else None, n_classes)


def fitted(problem: gp.Problem, propagator: gp.propagation.Propagator | None = None) -> gp.Fitted:
    """A propagator on a problem: harmonic unless another is asked for."""
    return (propagator or gp.Harmonic()).fit(problem.graph, problem.labeled)
