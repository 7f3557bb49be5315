"""Single precision: the labels of double, by a proof, or double itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from half_labeled import BOTH, fit_with_warnings, line, moons, one_hot
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics.pairwise import rbf_kernel

from gssl_poison.estimators import LabelPropagation, LabelSpreading, fitting, loop
from gssl_poison.estimators.clamped import ClampedStep
from gssl_poison.estimators.products import Product, similarity_of, weights_of
from gssl_poison.estimators.source import Source
from gssl_poison.estimators.spread import SpreadStep
from gssl_poison.graph import DenseGraph


@BOTH
@pytest.mark.parametrize("kernel", ["rbf", "knn", "precomputed"])
@pytest.mark.parametrize("gamma", [0.5, 5.0, 60.0])
def test_single_precision_gives_the_labels_of_double(make: Any, kernel: str, gamma: float) -> None:
    X, y = moons()
    X = rbf_kernel(X, X, gamma=gamma) if kernel == "precomputed" else X
    double = make(kernel=kernel, gamma=gamma, max_iter=300)
    single = make(kernel=kernel, gamma=gamma, max_iter=300, precision="single")
    fit_with_warnings(double, X, y)
    fit_with_warnings(single, X, y)
    np.testing.assert_array_equal(single.transduction_, double.transduction_)
    assert single.n_iter_ == double.n_iter_
    np.testing.assert_allclose(single.label_distributions_, double.label_distributions_, atol=1e-3)
    assert not double.reran_in_double_


@BOTH
def test_single_precision_where_float32_has_no_weights(make: Any) -> None:
    X, y = line()
    for gamma in (3.0, 20.0):
        double = make(gamma=gamma, max_iter=50).fit(X, y)
        single = make(gamma=gamma, max_iter=50, precision="single").fit(X, y)
        np.testing.assert_array_equal(single.transduction_, double.transduction_)
        assert single.n_iter_ == double.n_iter_
    # 1e-60 is 0 in float32, and the point in the middle would have no neighbour.
    W = np.array([[1.0, 1e-60, 0.0], [1e-60, 1.0, 3e-60], [0.0, 3e-60, 1.0]])
    single = make(kernel="precomputed", precision="single").fit(W, [0, -1, 1])
    assert single.reran_in_double_
    np.testing.assert_array_equal(single.transduction_, [0, 1, 1])


@BOTH
def test_a_tie_is_left_to_double(make: Any) -> None:
    W = rbf_kernel(np.array([[0.0], [0.7], [1.4]]), gamma=0.3)
    model = make(kernel="precomputed", precision="single", max_iter=200).fit(W, [0, -1, 1])
    assert model.reran_in_double_
    double = make(kernel="precomputed", max_iter=200).fit(W, [0, -1, 1])
    np.testing.assert_array_equal(model.label_distributions_, double.label_distributions_)


def test_single_precision_is_used_where_it_decides() -> None:
    X, y = load_digits(return_X_y=True)
    X, y = X[:300] / 16, np.where(np.arange(300) % 6 == 0, y[:300], -1)
    for make in (LabelPropagation, LabelSpreading):
        W = rbf_kernel(X, X, gamma=1.0)
        model = make(kernel="precomputed", precision="single", max_iter=400).fit(W, y)
        assert not model.reran_in_double_


def off_by(product: Product, W: np.ndarray, error: float, rng: Any) -> Product:
    """Return a product every entry of which is off by up to a factor ``exp(error)``."""
    factor = np.exp(rng.uniform(-error, error, W.shape))
    return Product(lambda V: (W * factor) @ V, product.own * np.diag(factor), error)


@pytest.mark.parametrize("rule", ["clamped", "spread"])
@pytest.mark.parametrize("sparse", [False, True], ids=["complete", "with paths"])
def test_what_is_certified_is_what_exact_weights_decide(rule: str, sparse: bool) -> None:
    rng = np.random.default_rng(8)
    certified = undecided = 0
    for _ in range(150):
        n = int(rng.integers(4, 25))
        W = rbf_kernel(rng.normal(size=(n, 2)), gamma=rng.choice([0.3, 2.0, 8.0]))
        if sparse:
            W[rng.random((n, n)) < 0.6] = 0.0
            np.fill_diagonal(W, rng.choice([0.0, 1.0, 50.0]))
        y = np.where(rng.random(n) < 0.4, rng.integers(0, 3, n), -1)
        y[:2] = [0, 1]
        Y, error = one_hot(y), float(rng.choice([1e-2, 1e-3, 1e-5]))
        if rule == "clamped":
            true = weights_of(W, "double")
            wrong = off_by(true, W, error, rng)
            steps = [ClampedStep(p, Y) for p in (true, wrong)]
        else:
            true = similarity_of(W, "double")
            S = true.matmul(np.eye(n))
            steps = [SpreadStep(p, 0.6, Y) for p in (true, off_by(true, S, error, rng))]
        tol, max_iter = float(rng.choice([1e-1, 1e-3, 1e-5])), int(rng.choice([3, 30, 300]))
        expected = loop.run(steps[0], Y, max_iter, tol)
        found = loop.run_certified(steps[1], Y, max_iter, tol)
        if found is None:
            undecided += 1
            continue
        certified += 1
        assert (found.n_iter, found.converged) == (expected.n_iter, expected.converged)
        np.testing.assert_array_equal(found.scores.argmax(1), expected.scores.argmax(1))
    # The proof is neither empty nor always there.
    assert certified > 40
    assert undecided > 10


def problems(rule: str, seed: int, count: int) -> Iterator[tuple[Any, Any, np.ndarray]]:
    """Give steps of exact weights and of weights that are off, and labels."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        n = int(rng.integers(4, 20))
        W = rbf_kernel(rng.normal(size=(n, 2)), gamma=rng.choice([0.3, 2.0, 8.0]))
        if rng.random() < 0.5:
            W[rng.random((n, n)) < 0.5] = 0.0
        np.fill_diagonal(W, rng.choice([0.01, 1.0]))
        Y = one_hot(np.array([0, 1, *np.where(rng.random(n - 2) < 0.3, 1, -1)]))
        error = float(rng.choice([1e-2, 1e-4]))
        if rule == "clamped":
            true = weights_of(W, "double")
            wrong = off_by(true, W, error, rng)
            # On a Gaussian graph the first iteration comes from elsewhere, and is exact.
            listened = ClampedStep(true, Y)(Y, 2) if rng.random() < 0.5 else None
            yield ClampedStep(true, Y), ClampedStep(wrong, Y, listened), Y
        else:
            true = similarity_of(W, "double")
            wrong = off_by(true, true.matmul(np.eye(n)), error, rng)
            yield SpreadStep(true, 0.6, Y), SpreadStep(wrong, 0.6, Y), Y


def totals(step: Any, Y: np.ndarray, count: int) -> list[float]:
    """Return by how much the scores change in all, iteration by iteration."""
    seen, before, scores = [], np.zeros_like(Y), Y
    for n_iter in range(count):
        seen.append(float(np.abs(scores - before).sum()))
        known = step.start if n_iter == 0 else None
        before, scores = scores, step(scores, Y.shape[1]) if known is None else known
    return seen


@pytest.mark.parametrize("rule", ["clamped", "spread"])
def test_a_tolerance_between_the_two_is_never_certified(rule: str) -> None:
    between = 0
    for true, wrong, Y in problems(rule, 5, 60):
        changes = [totals(step, Y, 12) for step in (true, wrong)]
        for k in range(1, 12):
            tol = (changes[0][k] + changes[1][k]) / 2
            if tol >= min(min(c[:k]) for c in changes) or changes[0][k] == changes[1][k]:
                continue  # the loop would have stopped before
            between += 1
            assert loop.run_certified(wrong, Y, 12, tol) is None
    assert between > 100


def test_the_step_after_a_first_one_that_is_exact_is_in_doubt_as_well() -> None:
    # With exact weights the third point stays where the first step takes it; with weights that are
    # off it moves by a part of their error.
    error = 1e-3
    W = np.diag([1.0, 1.0, 0.01])
    W[2, :2] = 0.8 * np.exp(error), 0.2 * np.exp(-error)
    Y = one_hot(np.array([0, 1, -1]))
    listened = np.array([[1.0, 0.0], [0.0, 1.0], [0.8, 0.2]])
    product = Product(lambda V: W @ V, np.diag(W), error)
    assert loop.run_certified(ClampedStep(product, Y, listened), Y, 9, error / 10) is None


@pytest.mark.parametrize("rule", ["clamped", "spread"])
def test_a_tolerance_far_from_both_is_certified(rule: str) -> None:
    found = 0
    for _, wrong, Y in problems(rule, 6, 40):
        changes = totals(wrong, Y, 12)
        tol = float(np.sqrt(changes[2] * changes[1]))
        found += changes[2] < 0.5 * changes[1] and loop.run_certified(wrong, Y, 12, tol) is not None
    assert found > 10


@pytest.mark.parametrize("rule", ["clamped", "spread"])
def test_shares_that_the_error_of_weights_could_turn_are_not_certified(rule: str) -> None:
    # Weights may be off by 1e-3 each: up for one label and down for the other.
    for gap, decided in ((1.9e-3, False), (1.2e-2, True)):
        W = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, np.exp(gap)], [1.0, np.exp(gap), 0.0]])
        Y = one_hot(np.array([0, 1, -1]))
        if rule == "clamped":
            step: Any = ClampedStep(Product(lambda V, W=W: W @ V, np.zeros(3), 1e-3), Y)
        else:
            step = SpreadStep(Product(lambda V, W=W: W @ V, np.zeros(3), 1e-3), 0.1, Y)
        assert (loop.run_certified(step, Y, 2, 0.0) is not None) == decided


def test_subnormal_float32_numbers_do_not_decide() -> None:
    # 7.4 + 7.4 > 14.6, but float32 would hold 7, 7 and 15 of its smallest number.
    smallest = 2.0**-149
    W = np.zeros((4, 4))
    W[3, :3] = np.array([7.4, 7.4, 14.6]) * smallest
    model = LabelPropagation(kernel="precomputed", precision="single").fit(W, [0, 0, 1, -1])
    assert model.transduction_[3] == 0
    assert model.reran_in_double_


def test_a_row_that_only_float32_leaves_at_zero_is_done_again() -> None:
    W = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 1e-3], [0.0, 1e-3, 0.0]])
    Y = one_hot(np.array([0, -1, -1]))
    lossy = W.copy()
    lossy[2] = 0.0

    class Rule:
        def step(self, _: Source, Y: np.ndarray, precision: str) -> SpreadStep:
            kept = W if precision == "double" else lossy
            return SpreadStep(Product(lambda V: kept @ V, np.zeros(3), 1e-7, 1e-2), 0.5, Y)

    task = fitting.Task(Rule(), Source(DenseGraph(W), W), Y, max_iter=3, tol=0.0)
    with pytest.warns(ConvergenceWarning):
        found = fitting.iterate(task, "single")
    assert found.reran
    np.testing.assert_allclose(found.distributions, 1.0)


def test_left_out_weights_count_in_the_proof() -> None:
    W = np.array([[0.0, 1e-7, 0.0, 0.0], [1e-7, 0.0, 1.0, 2e-7], [0, 1.0, 0, 0], [0, 2e-7, 0, 0]])
    Y = one_hot(np.array([0, -1, -1, 1]))
    S = similarity_of(W, "double").matmul(np.eye(4))
    for lost, decided in ((0.0, True), (1e-2, False)):
        product = Product(lambda V: S @ V, np.zeros(4), 1e-9, lost)
        assert (loop.run_certified(SpreadStep(product, 0.5, Y), Y, 4, 0.0) is not None) == decided
