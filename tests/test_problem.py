"""Problem and Poison: checked once, and never changed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scipy.sparse
from attack_problems import LABELED, N, digits, fitted

import gssl_poison as gp
from gssl_poison.problem import count_flips

GRAPH = gp.RBFGraph(np.arange(6.0)[:, None], gamma=1.0)
POISON = gp.Poison(order=[1, 0], old=[1, 0], new=[0, 1], objective=[0.5, 0.7])


def test_a_problem_keeps_its_own_arrays():
    labeled, y, truth = np.array([4, 0]), np.array([1, 0]), np.array([0, 0, 0, 1, 1, 1])
    problem = gp.Problem(GRAPH, labeled, y, truth)
    labeled[0], y[0], truth[0] = 3, 0, 1
    assert problem.labeled.tolist() == [4, 0]
    assert problem.y.tolist() == [1, 0]
    assert problem.truth[0] == 0
    for array in (problem.labeled, problem.y, problem.truth):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    assert problem.unlabeled.tolist() == [1, 2, 3, 5]
    assert (problem.n_classes, problem.classes) == (2, (0, 1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labeled": [0, 0]}, "1 of them distinct"),
        ({"labeled": [0, 6]}, "row numbers lie in 0 to 5"),
        ({"labeled": [0.0, 1.0]}, "type float64"),
        ({"labeled": [], "y": []}, "at least one"),
        ({"labeled": range(6), "y": [0] * 6}, "leave at least one"),
        ({"y": [0]}, "give 2 class codes"),
        ({"y": [0, -1]}, "runs from -1"),
        ({"y": ["a", "b"]}, "whole numbers from 0"),
        ({"truth": [0, 1]}, "give 6 class codes"),
        ({"n_classes": 1}, "give n_classes=2"),
        ({"classes": ("a",)}, "1 class names"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    given = {"labeled": [0, 4], "y": [0, 1], **change}
    with pytest.raises(gp.InputError, match=message):
        gp.Problem(GRAPH, **{k: list(v) if isinstance(v, range) else v for k, v in given.items()})


def test_a_label_column_makes_a_problem():
    y = [None, "b", None, "a", "", "b"]
    problem = gp.Problem.of(GRAPH, y, truth=["a", "b", "b", "a", "c", "b"])
    assert problem.labeled.tolist() == [1, 3, 5]
    assert problem.classes == ("a", "b", "c")
    assert problem.y.tolist() == [1, 0, 1]
    assert problem.truth.tolist() == [0, 1, 1, 0, 2, 1]
    assert gp.Problem.of(GRAPH, y).truth is None
    with pytest.raises(gp.InputError, match="truth has no label at row 1"):
        gp.Problem.of(GRAPH, y, truth=["a", None, "b", "a", "c", "b"])
    for truth in (["a", "b"], 3):
        with pytest.raises(gp.InputError, match="truth has shape"):
            gp.Problem.of(GRAPH, y, truth=truth)


def test_a_poison_changes_copies_only():
    y = np.array([0, 1, 1])
    assert POISON.apply(y).tolist() == [1, 0, 1]
    assert y.tolist() == [0, 1, 1]
    with pytest.raises(ValueError, match="read-only"):
        POISON.order[0] = 2
    with pytest.raises(gp.InputError, match="differ from the old ones"):
        POISON.apply([1, 1, 1])
    with pytest.raises(gp.InputError, match="differ from the old ones"):
        POISON.apply([1])
    for k in (-1, 1.5, True):
        with pytest.raises(gp.InputError, match="is not a number of flips"):
            POISON.first(k)
    assert POISON.first(1).apply(y).tolist() == [0, 0, 1]
    assert POISON.first(1).objective.tolist() == [0.5]
    together = dataclasses.replace(POISON, nested=False, bound=0.9)
    assert together.first(2).bound == 0.9
    with pytest.raises(gp.InputError, match="chooses its 2 flips together"):
        together.first(1)


@pytest.mark.parametrize(
    ("budget", "n_labeled", "flips"),
    [(0.05, 650, 32), (0.05, 500, 25), (0.29, 100, 29), (0.15, 650, 97), (1, 3, 1), (3, 3, 3)],
)
def test_budgets_are_counted_as_in_the_paper(budget, n_labeled, flips):
    assert count_flips(budget, n_labeled) == flips
    assert count_flips(np.float32(0.5), 8) == 4
    assert count_flips(np.int32(2), 8) == 2
    # A float32 counts as the decimal that it is printed as.
    assert count_flips(np.float32(0.29), 100) == 29
    assert count_flips(np.float32(0.7), 10) == 7


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize(
    "propagator", [gp.Direct(), gp.Propagation(3), gp.Harmonic(), gp.Spreading(0.4)], ids=repr
)
def test_the_error_is_that_of_the_flipped_labels(propagator, n_classes):
    problem = digits(n_classes)
    victim = fitted(problem, propagator)
    poison = gp.attacks.LabelNoise().attack(problem, victim, 6)
    one_hot = np.eye(n_classes)
    for after, error in (
        (problem.y, gp.error_rate(victim, problem)),
        (problem.poisoned(poison).y, gp.error_rate(victim, problem, poison)),
    ):
        predicted = victim.apply(one_hot[after], normalized=True).argmax(axis=1)
        assert error == np.mean((predicted != problem.truth)[victim.unlabeled])


def test_the_error_needs_truth_and_a_victim_of_the_problem():
    problem = digits(2)
    with pytest.raises(gp.InputError, match="without the truth"):
        gp.error_rate(fitted(problem), digits(2, truth=False))
    with pytest.raises(gp.InputError, match="the victim is fitted to"):
        gp.error_rate(gp.Direct().fit(problem.graph, LABELED[:-1]), problem)


def test_a_victim_of_the_same_points_in_another_order_is_named_so():
    problem = digits(2)
    with pytest.raises(gp.InputError, match="them in another order"):
        gp.error_rate(gp.Direct().fit(problem.graph, LABELED[::-1]), problem)


def test_what_is_no_graph_or_number_of_classes_is_refused():
    with pytest.raises(gp.InputTypeError, match="make an RBFGraph"):
        gp.Problem(np.zeros((4, 2)), [0, 1], [0, 1])
    for n_classes in (2.0, "2", True):
        with pytest.raises(gp.InputTypeError, match="not a whole number"):
            gp.Problem(GRAPH, [0, 4], [0, 1], n_classes=n_classes)


def test_problems_and_poisons_are_themselves():
    assert {POISON: 1}[POISON] == 1
    assert dataclasses.replace(POISON) != POISON


@pytest.mark.parametrize("scores", [[0.2, 0.8], [[np.nan, 1.0]], [[]]])
def test_scores_that_predict_nothing_are_refused(scores):
    with pytest.raises(gp.InputError, match="one row a point"):
        gp.metrics.predict(scores)


def test_unreached_points_are_of_class_0_and_ties_are_the_lower_index_s():
    links = np.array([[0, 0, 1, 0], [0, 0, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]], dtype=float)
    graph = gp.SparseGraph(scipy.sparse.csr_array(links))
    problem = gp.Problem(graph, [0, 1], [1, 0], [1, 0, 0, 0])
    victim = gp.Harmonic(unreached="leave").fit(graph, [0, 1])
    assert gp.metrics.predictions(victim, problem).tolist() == [0, 0]
    assert gp.error_rate(victim, problem) == 0.0
    np.testing.assert_array_equal(
        gp.metrics.predict([[0.5, 0.5 + 1e-13], [0.5, 0.5 + 1e-11]]), [0, 1]
    )


@pytest.mark.parametrize(
    "propagator",
    [gp.Direct(), gp.Propagation(3), gp.Harmonic(), gp.Spreading(0.4), gp.Spreading(0.9, 4)],
    ids=repr,
)
def test_a_stored_propagator_says_the_same(propagator, rng):
    problem = digits(3)
    free = fitted(problem, propagator)
    stored = free.stored()
    Y, R = rng.random((LABELED.size, 3)), rng.random((N, 2))
    rows = np.array([3, 0, 50])
    np.testing.assert_allclose(stored.apply(Y), free.apply(Y), rtol=1e-12)
    np.testing.assert_allclose(stored.adjoint(R), free.adjoint(R), rtol=1e-12)
    np.testing.assert_allclose(stored.matrix(rows), free.matrix(rows), rtol=1e-12)
    np.testing.assert_allclose(stored.shares(), free.shares(), rtol=1e-12)
    np.testing.assert_allclose(gp.total_influence(stored), gp.total_influence(free), rtol=1e-6)
    assert stored.stored() is stored


def test_what_does_not_fit_in_memory_is_not_stored(monkeypatch):
    problem = digits(2)
    monkeypatch.setattr("gssl_poison.propagation.fitted.available_memory", lambda: 1000)
    with pytest.raises(gp.InputError, match="M, 75 rows by 15 labels"):
        fitted(problem, gp.Direct()).stored()
