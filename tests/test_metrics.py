"""All single flips from one M, against a new fit for each."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.semi_supervised import LabelPropagation

from gssl_poison import (
    Direct,
    Harmonic,
    InputError,
    Propagation,
    RBFGraph,
    Spreading,
    flip_errors,
)

N = 120
LABELED = np.arange(0, N, 8)


def digits(n_classes):
    X, y = load_digits(n_class=n_classes, return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))[:N]
    return X[order] / 16.0, y[order]


def refitted(fitted, codes, truth, j, new):
    """The error after a change of one label, by propagating the changed labels."""
    changed = codes.copy()
    changed[j] = new
    F = fitted.apply(np.eye(truth.max() + 1)[changed], normalized=True)
    return np.mean((F.argmax(axis=1) != truth)[fitted.unlabeled])


@pytest.mark.parametrize("n_classes", [2, 3, 5])
@pytest.mark.parametrize(
    "propagator",
    [Direct(), Propagation(4), Harmonic(), Spreading(0.3), Spreading(0.8, 5)],
    ids=repr,
)
def test_every_flip_is_what_a_new_fit_says(propagator, n_classes):
    X, truth = digits(n_classes)
    fitted = propagator.fit(RBFGraph(X, 1.0), LABELED)
    codes = truth[LABELED]
    errors = flip_errors(fitted, codes, truth, n_classes)
    expected = [
        [refitted(fitted, codes, truth, j, new) for new in range(n_classes)]
        for j in range(LABELED.size)
    ]
    np.testing.assert_array_equal(errors, expected)
    assert np.unique(errors).size > 2


def test_every_flip_is_what_scikit_learn_retrained_says():
    X, truth = digits(2)
    y = np.full(N, -1)
    y[LABELED] = truth[LABELED]
    fitted = Propagation(6).fit(RBFGraph(X, 2.0), LABELED)
    errors = flip_errors(fitted, truth[LABELED], truth, 2)
    for k, j in enumerate(LABELED):
        flipped = y.copy()
        flipped[j] = 1 - y[j]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            victim = LabelPropagation(gamma=2.0, max_iter=6, tol=0.0).fit(X, flipped)
        wrong = (victim.transduction_ != truth)[fitted.unlabeled]
        assert errors[k, 1 - y[j]] == wrong.mean()


def test_classes_are_checked():
    X, truth = digits(3)
    fitted = Direct().fit(RBFGraph(X, 1.0), LABELED)
    with pytest.raises(InputError, match="give 15 class codes"):
        flip_errors(fitted, truth, truth, 3)
    with pytest.raises(InputError, match="n_classes is 2"):
        flip_errors(fitted, truth[LABELED], truth, 2)
    with pytest.raises(InputError, match="whole numbers"):
        flip_errors(fitted, truth[LABELED].astype(float), truth, 3)
