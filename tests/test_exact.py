"""The exact attack, by enumeration and by the integer program, against trying all flips."""

from __future__ import annotations

import numpy as np
import pytest
from small_problems import brute_force, small_problem

from gssl_poison import DenseGraph, Direct, InputError, Problem, RBFGraph, error_rate
from gssl_poison.attacks.exact import Exact
from gssl_poison.flip_program import most_wrong

METHODS = pytest.mark.parametrize("method", ["auto", "milp"])


@METHODS
@pytest.mark.parametrize("seed", range(0, 90, 7))
def test_the_attack_is_the_best_of_all(seed, method):
    problem, victim, n_flips = small_problem(seed)
    if method == "milp" and problem.n_classes > 2:
        n_flips = 1  # The integer program of more takes a minute.
    target = problem.truth[problem.unlabeled]
    most, _ = brute_force(victim.shares(), problem.y, target, problem.n_classes, n_flips)
    poison = Exact(method=method).attack(problem, victim, n_flips)
    assert len(poison) <= n_flips
    assert round(error_rate(victim, problem, poison) * target.size) == most[-1]
    assert poison.bound == pytest.approx(most[-1] / target.size)
    assert poison.objective[-1] == pytest.approx(most[-1] / target.size)
    assert not any("not proven" in note for note in poison.notes)


@pytest.mark.parametrize("seed", [180, 173, 209])
def test_the_solver_loses_no_optimum(seed):
    """With HiGHS's presolve it does, at the first of these."""
    problem, victim, _ = small_problem(seed)
    target = problem.truth[problem.unlabeled]
    shares = np.ascontiguousarray(victim.shares())
    for k in (1, 2):
        tried = most_wrong(shares, problem.y, target, problem.n_classes, k)
        solved = most_wrong(
            shares, problem.y, target, problem.n_classes, k, method="milp", time_limit=5.0
        )
        assert solved.bound >= tried.wrong


def test_without_truth_it_goes_by_clean_predictions():
    problem, victim, n_flips = small_problem(3)
    shares = victim.shares()
    clean = (shares @ np.eye(problem.n_classes)[problem.y]).argmax(axis=1)
    most, _ = brute_force(shares, problem.y, clean, problem.n_classes, n_flips)
    poison = Exact(truth=False).attack(problem, victim, n_flips)
    assert poison.objective[-1] == pytest.approx(most[-1] / clean.size)
    assert not poison.used_truth


@METHODS
@pytest.mark.parametrize(("target", "expected"), [(0, 0), (1, 3)])
def test_ties_finer_than_the_solver(target, expected, method):
    # One flip of two equal labels makes an exact tie, which is the lower class's: rows of class 0
    # stand, rows of class 1 fall. The solver cannot see the difference.
    shares = np.full((3, 2), 0.5)
    codes = np.full(2, target)
    found = most_wrong(shares, codes, np.full(3, target), 2, 1, method=method)
    assert (found.wrong, found.bound, found.optimal) == (expected, expected, True)


@METHODS
def test_a_point_that_no_label_reaches_is_of_class_0(method):
    shares = np.array([[0.0, 0.0], [1.0, 0.0]])
    found = most_wrong(shares, np.array([1, 1]), np.array([1, 1]), 2, 1, method=method)
    assert (found.wrong, found.bound) == (2, 2)
    found = most_wrong(shares, np.array([0, 1]), np.array([0, 0]), 2, 2, method=method)
    assert (found.wrong, found.bound) == (1, 1)


def test_a_margin_counts_what_comes_near():
    shares = np.array([[0.6, 0.4]])
    codes, target = np.array([0, 0]), np.array([0])
    assert most_wrong(shares, codes, target, 2, 1).bound == 1
    shares = np.array([[0.4, 0.3, 0.3]])
    codes = np.zeros(3, dtype=np.int64)
    assert most_wrong(shares, codes, target, 2, 1).bound == 0
    assert most_wrong(shares, codes, target, 2, 1, margin=0.21).bound == 1


def test_stopped_by_the_clock_the_bound_holds():
    problem, victim, n_flips = small_problem(44)
    target = problem.truth[problem.unlabeled]
    most, _ = brute_force(victim.shares(), problem.y, target, problem.n_classes, n_flips)
    poison = Exact(time_limit=1e-3, method="milp").attack(problem, victim, n_flips)
    assert poison.bound * target.size >= most[-1] - 1e-9
    assert any("not proven" in note for note in poison.notes)


def test_too_large_a_problem_is_refused():
    rng = np.random.default_rng(0)
    graph = RBFGraph(rng.random((6000, 2)), gamma=1.0)
    labeled = np.arange(600)
    problem = Problem(graph, labeled, labeled % 2, truth=np.arange(6000) % 2)
    with pytest.raises(InputError, match="too many for Exact"):
        Exact().attack(problem, Direct().fit(graph, labeled), 3)


def test_a_time_that_is_none_is_refused():
    with pytest.raises(InputError, match="time_limit"):
        Exact(time_limit=0.0)


def test_no_truth_is_refused_in_plain_words():
    W = np.ones((4, 4)) - np.eye(4)
    problem = Problem(DenseGraph(W), [0, 1], [0, 1])
    with pytest.raises(InputError, match="truth"):
        Exact().attack(problem, Direct().fit(problem.graph, [0, 1]), 1)


@pytest.mark.parametrize(("weight", "wrong"), [(1e-10, 1), (1e-6, 1)])
def test_the_program_loses_no_solution_over_small_coefficients(weight, wrong):
    """Every label has a part in every row, most of them far below the solver's tolerances."""
    rng = np.random.default_rng(1)
    shares = weight * rng.random((60, 12)) + np.eye(12)[np.arange(60) % 12]
    shares /= shares.sum(axis=1, keepdims=True)
    codes, target = np.arange(12) % 2, np.arange(60) % 2
    for k in (1, 3):
        tried = most_wrong(shares, codes, target, 2, k)
        solved = most_wrong(shares, codes, target, 2, k, method="milp")
        assert (tried.method, solved.method) == ("enumeration", "milp")
        assert solved.wrong == solved.bound == tried.wrong == 5 * k * wrong
