"""The estimators where weights underflow and scikit-learn's rows are 0 or NaN."""

from __future__ import annotations

import tracemalloc
import warnings
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
from half_labeled import BOTH, fit_with_warnings, line, moons, one_hot, peer_of
from scipy.sparse import csr_array
from sklearn.datasets import make_moons
from sklearn.exceptions import ConvergenceWarning

from gssl_poison.estimators import LabelPropagation, LabelSpreading, inference
from gssl_poison.estimators.logarithms import spread_in_logarithms
from gssl_poison.exceptions import InputError, NumericalError
from gssl_poison.graph import DenseGraph
from gssl_poison.sparse_graph import SparseGraph


def exact_loop(make: Any, X: np.ndarray, y: np.ndarray, gamma: float, n_iter: int) -> Any:
    """Run the loop in 50 digits and any range of exponents, from the definition."""
    mp = mpmath.mp.clone()
    mp.dps = 50
    n, Y = len(X), one_hot(y)
    W = mp.matrix(n, n)
    for i in range(n):
        for j in range(n):
            W[i, j] = mp.exp(-mp.mpf(gamma) * sum(mp.mpf(t) ** 2 for t in X[i] - X[j]))
    F = start = mp.matrix(Y.tolist())
    clamped = make is LabelPropagation
    if not clamped:
        for i in range(n):
            W[i, i] = 0
        root = [mp.sqrt(sum(W[i, :])) for i in range(n)]
        for i in range(n):
            for j in range(n):
                W[i, j] /= root[i] * root[j]
    for _ in range(n_iter):
        F = W * F
        for i in range(n):
            total = sum(F[i, :])
            for c in range(Y.shape[1]):
                if clamped:
                    F[i, c] = start[i, c] if y[i] != -1 else F[i, c] / total
                else:
                    F[i, c] = F[i, c] * mp.mpf("0.2") + start[i, c] * mp.mpf("0.8")
    sums = [sum(F[i, :]) for i in range(n)]
    return np.array([[float(F[i, c] / sums[i]) for c in range(Y.shape[1])] for i in range(n)])


@BOTH
@pytest.mark.parametrize("gamma", [20.0, 500.0])
@pytest.mark.parametrize("max_iter", [1, 3, 40])
def test_rows_that_underflow_get_what_the_loop_tends_to(
    make: Any, gamma: float, max_iter: int
) -> None:
    X, y = line()
    model = make(gamma=gamma, max_iter=max_iter)
    caught = fit_with_warnings(model, X, y)
    assert {w.category for w in caught} <= {ConvergenceWarning}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = peer_of(make)(gamma=gamma, max_iter=max_iter).fit(X, y)
    lost = theirs.label_distributions_.sum(axis=1) == 0.0
    assert lost.any()
    expected = exact_loop(make, X, y, gamma, model.n_iter_)
    np.testing.assert_allclose(model.label_distributions_[lost], expected[lost], atol=1e-10)
    assert model.unreached_.size == 0


@pytest.mark.parametrize("graph", [DenseGraph, SparseGraph])
def test_spreading_in_logarithms_is_spreading(graph: Any) -> None:
    rng = np.random.default_rng(3)
    W = np.where(rng.random((30, 30)) < 0.2, rng.random((30, 30)), 0.0)  # directed, some isolated
    Y = one_hot(np.repeat([0, 1, 2], 3))
    labeled = np.arange(9)
    bare = W - np.diag(np.diag(W))
    root = np.sqrt(np.where(bare.sum(axis=0) > 0.0, bare.sum(axis=0), 1.0))
    start = np.zeros((30, 3))
    start[:9] = Y
    F = start
    for _ in range(6):
        F = 0.7 * (bare / root / root[:, None]) @ F + 0.3 * start
    sums = F.sum(axis=1, keepdims=True)
    found = spread_in_logarithms(
        graph(W if graph is DenseGraph else csr_array(W)), labeled, Y, 0.7, 6
    )
    np.testing.assert_allclose(found, F / np.where(sums > 0.0, sums, 1.0), atol=1e-13)


@BOTH
def test_a_point_that_is_far_away_follows_its_nearest(make: Any) -> None:
    X, y = moons()
    model = make(gamma=20.0, max_iter=500).fit(X, y)
    # |q|^2 is 1e16 here: taken into a distance, it would leave none of the digits that decide.
    queries = np.array([[1e8, 3.0], [-1e8, 1e7], [3.0, -1e8]])
    exact = [
        [sum((Fraction(float(a)) - Fraction(float(b))) ** 2 for a, b in zip(q, x, strict=True))
         for x in X]
        for q in queries
    ]  # fmt: skip
    nearest = [distances.index(min(distances)) for distances in exact]
    np.testing.assert_allclose(
        model.predict_proba(queries), model.label_distributions_[nearest], atol=1e-6
    )
    with pytest.raises(InputError, match="overflow float64"):
        model.predict([[1e308, 1.0]])


def test_points_without_a_distribution_have_no_say_in_a_new_one() -> None:
    F = np.array([[0.0, 0.0], [0.3, 0.7], [1.0, 0.0]])
    X = np.array([[0.0], [100.0], [200.0]])
    means = inference.gaussian_means(np.array([[1.0]]), X, 20.0, F)
    np.testing.assert_allclose(means / means.sum(), [[0.3, 0.7]])


@pytest.mark.parametrize("sparse", [False, True])
def test_new_points_are_weighed_block_by_block(
    sparse: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    X, queries = rng.normal(size=(60, 3)) * 3, rng.normal(size=(23, 3)) * 3
    F = rng.random((60, 4))
    if sparse:
        X, queries = csr_array(X * (X > 0)), csr_array(queries * (queries > 0))
    whole = inference.gaussian_means(queries, X, 7.0, F)
    monkeypatch.setattr(inference, "_QUERIES", 5)
    monkeypatch.setattr(inference, "_POINTS", 7)
    parts = inference.gaussian_means(queries, X, 7.0, F)
    np.testing.assert_allclose(parts, whole, rtol=1e-12)
    dense = [m.toarray() if sparse else m for m in (queries, X)]
    logs = -7.0 * ((dense[0][:, None] - dense[1][None]) ** 2).sum(axis=2)
    weights = np.exp(logs - logs.max(axis=1, keepdims=True))
    np.testing.assert_allclose(whole, weights @ F, rtol=1e-10)


def test_a_place_far_from_the_origin_is_as_good_as_any() -> None:
    rng = np.random.default_rng(0)
    X, queries, F = rng.normal(size=(50, 2)), rng.normal(size=(9, 2)), rng.random((50, 3))
    here = inference.gaussian_means(queries, X, 20.0, F)
    there = inference.gaussian_means(queries + 2.0**20, X + 2.0**20, 20.0, F)
    # What is left is the rounding of the points themselves, 1e-10.
    np.testing.assert_allclose(there, here, rtol=1e-6)


@BOTH
def test_memory_grows_neither_with_all_pairs_nor_with_all_queries(make: Any) -> None:
    n, n_queries = 4000, 12_000
    X, y = make_moons(n, noise=0.1, random_state=0)
    y = np.where(np.arange(n) % 20 == 0, y, -1)
    fit_with_warnings(make(gamma=20.0), X[:100], y[:100])  # what is compiled or imported once
    tracemalloc.start()
    try:
        model = make(gamma=20.0, max_iter=10)
        fit_with_warnings(model, X, y)
        fitting = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        model.predict_proba(np.tile(X, (n_queries // n, 1)))
        predicting = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert fitting < 0.85 * 8 * n**2
    assert predicting < 0.2 * 8 * n * n_queries


@pytest.mark.parametrize("gamma", [20.0, 500.0])
def test_exact_spreading_where_weights_underflow(gamma: float) -> None:
    X, y = line()
    model = LabelSpreading(gamma=gamma, solver="exact").fit(X, y)
    # 0.2^60 is nothing: that many iterations are the limit.
    expected = exact_loop(LabelSpreading, X, y, gamma, 60)
    np.testing.assert_allclose(model.label_distributions_, expected, atol=1e-10)
    assert model.unreached_.size == 0


def test_exact_propagation_is_right_or_refused_where_weights_underflow() -> None:
    X, y = line()
    model = LabelPropagation(gamma=10.0, solver="exact").fit(X, y)
    np.testing.assert_allclose(model.label_distributions_.sum(axis=1), 1.0, atol=1e-12)
    # Everything goes to the nearer end of the gap with the larger weight.
    np.testing.assert_array_equal(model.transduction_[[1, 4, 6, 10]], [1, 0, 0, 0])
    with pytest.raises(NumericalError, match="smaller gamma"):
        LabelPropagation(gamma=500.0, solver="exact").fit(X, y)
