"""Small half-labelled problems, and what the tests of the estimators ask of them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import sklearn.semi_supervised as peer
from sklearn.datasets import make_moons

from gssl_poison.estimators import LabelPropagation, LabelSpreading

BOTH = pytest.mark.parametrize("make", [LabelPropagation, LabelSpreading])


def line() -> tuple[np.ndarray, np.ndarray]:
    """Twelve points on a line, so far apart at gamma 20 that most weights are 0 in float64."""
    X = np.cumsum([0.0, 5.0, 6.1, 0.4, 9.0, 5.5, 7.3, 0.3, 6.6, 5.2, 0.2, 8.1])[:, None]
    y = np.full(12, -1)
    y[[0, 5, 11]] = [1, 0, 2]
    return X, y


def moons(part: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    X, truth = make_moons(150, noise=0.1, random_state=0)
    kept = np.random.default_rng(0).random(150) < part
    return X, np.where(kept, truth, -1)


def one_hot(y: np.ndarray) -> np.ndarray:
    return (np.asarray(y)[:, None] == np.unique(y[y != -1])).astype(np.float64)


def peer_of(make: Any) -> Any:
    return getattr(peer, make.__name__)


def fit_with_warnings(model: Any, X: Any, y: Any) -> list[Any]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, y)
    return caught
