"""The published K, formed once for many attacks, and the same for any number of threads."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest
from attack_problems import digits, fitted
from scipy.sparse import csr_array
from threadpoolctl import threadpool_info, threadpool_limits

import gssl_poison as gp
from gssl_poison.attacks import ATTACKS, Published, Swaps, make_attack
from gssl_poison.attacks.published import published_kernel

READS_K = (
    "greedy",
    "greedy-init",
    "threshold",
    "threshold-soft",
    "probabilistic",
    "probabilistic-soft",
)
PROBLEM = digits(2)
K = Published.of(PROBLEM)
EACH = pytest.mark.parametrize("name", READS_K)


def replication(name, **settings):
    return make_attack(name, preset="replication", **settings)


@EACH
def test_it_is_what_attacks_form_themselves(name, monkeypatch):
    before = K.K.copy()
    own = replication(name).attack(PROBLEM, fitted(PROBLEM), 5)

    def never(*_):
        raise AssertionError("K is there")

    monkeypatch.setattr("gssl_poison.attacks._common.published_kernel", never)
    given = replication(name).attack(PROBLEM, K, 5)
    for field in ("order", "old", "new", "objective"):
        np.testing.assert_array_equal(getattr(given, field), getattr(own, field))
    assert (given.notes, given.method) == (own.notes, own.method)
    assert given.notes[0] == K.note
    np.testing.assert_array_equal(K.K, before)
    with pytest.raises(AssertionError, match="K is there"):
        replication(name).attack(PROBLEM, fitted(PROBLEM), 5)


def test_it_holds_what_was_formed():
    kernel, note = published_kernel(PROBLEM.graph, PROBLEM.labeled)
    np.testing.assert_array_equal(K.K, kernel)
    assert (K.note, K.graph) == (note, PROBLEM.graph)
    np.testing.assert_array_equal(K.labeled, PROBLEM.labeled)
    assert "K=" not in repr(K)


@EACH
def test_what_needs_a_propagator_refuses_it(name):
    needs = pytest.raises(gp.InputError, match=r"needs a fitted propagator.*published K")
    with needs:
        make_attack(name).attack(PROBLEM, K, 5)
    with needs:
        replication(name, truth=False).attack(PROBLEM, K, 5)


@pytest.mark.parametrize("preset", ["corrected", "replication"])
@pytest.mark.parametrize("name", [name for name in ATTACKS if name not in READS_K])
def test_all_other_attacks_refuse_it(name, preset):
    with pytest.raises(gp.InputError, match="needs a fitted propagator"):
        make_attack(name, preset=preset).attack(PROBLEM, K, 5)


def test_attacks_that_start_from_one_that_reads_it_refuse_it():
    for attack in (
        Swaps(start=replication("greedy")),
        gp.attacks.Evasive(detector=len, n_watched=1),
    ):
        with pytest.raises(gp.InputError, match="needs a fitted propagator"):
            attack.attack(PROBLEM, K, 5)


@pytest.mark.parametrize("kind", gp.attacks.REGRESSION_ATTACKS.values())
def test_attacks_on_real_values_refuse_it(kind):
    problem = gp.attacks.RegressionProblem(
        PROBLEM.graph, PROBLEM.labeled, PROBLEM.y.astype(float), PROBLEM.truth.astype(float)
    )
    with pytest.raises(gp.InputError, match="needs a fitted propagator"):
        kind().attack(problem, K, radius=1.0)


def test_more_classes():
    problem = digits(3)
    surrogate = Published.of(problem)
    for name in ("threshold-soft", "probabilistic", "probabilistic-soft"):
        with pytest.raises(gp.InputError, match="with 3 classes needs a fitted propagator"):
            replication(name).attack(problem, surrogate, 3)
    # The greedy attack tries every class, and asks no propagator which.
    own = replication("greedy").attack(problem, fitted(problem), 3)
    given = replication("greedy").attack(problem, surrogate, 3)
    np.testing.assert_array_equal(given.new, own.new)


def another(graph=PROBLEM.graph, labeled=PROBLEM.labeled):
    return gp.Problem(graph, labeled, PROBLEM.truth[labeled], PROBLEM.truth)


@EACH
@pytest.mark.parametrize(
    ("problem", "what"),
    [
        (another(labeled=PROBLEM.labeled[1:]), "other labelled points"),
        (another(labeled=PROBLEM.labeled[::-1]), "the same labelled points in another order"),
        (another(gp.RBFGraph(PROBLEM.graph.X, 1.5)), "another graph"),
        (another(gp.RBFGraph(PROBLEM.graph.X * 1.01, 1.0)), "another graph"),
        (another(gp.RBFGraph(csr_array(PROBLEM.graph.X), 1.0)), "another graph"),
        (digits(2, n=84), "another graph"),
    ],
)
def test_that_of_another_problem_is_refused(name, problem, what):
    with pytest.raises(gp.InputError, match=rf"has {what}; form it with Published.of"):
        replication(name).attack(problem, K, 2)


def test_that_of_an_equal_problem_is_taken():
    travelled = pickle.loads(pickle.dumps(K))  # noqa: S301 - its own bytes
    poisoned = dataclasses.replace(PROBLEM, y=1 - PROBLEM.y)
    for surrogate, problem in ((travelled, PROBLEM), (K, poisoned)):
        poison = replication("greedy").attack(problem, surrogate, 2)
        own = replication("greedy").attack(problem, fitted(problem), 2)
        np.testing.assert_array_equal(poison.order, own.order)
    sparse = another(gp.RBFGraph(csr_array(PROBLEM.graph.X), 1.0))
    again = another(gp.RBFGraph(csr_array(PROBLEM.graph.X), 1.0))
    assert replication("greedy").attack(again, Published.of(sparse), 2).notes
    dense = another(gp.DenseGraph(PROBLEM.graph.weights(np.arange(90), np.arange(90))))
    with pytest.raises(gp.InputError, match="another graph"):
        replication("greedy").attack(dense, K, 2)


# --- threads


def void_graph():
    """Points as far apart at their gamma as the paper's: D - S keeps nothing but roundings."""
    rng = np.random.default_rng(2)
    X = np.repeat(rng.normal(size=(200, 3)), 2, axis=0) * 4.0 + rng.normal(size=(400, 3)) * 0.5
    return gp.RBFGraph(X, 9.0)


@pytest.fixture
def two_threads():
    """Skip where BLAS has one thread whatever it is told."""
    with threadpool_limits(2, user_api="blas"):
        if not any(pool["num_threads"] == 2 for pool in threadpool_info()):
            pytest.skip("the BLAS of this machine runs on one thread only")


@pytest.mark.usefixtures("two_threads")
def test_it_does_not_depend_on_the_number_of_threads():
    graph, labeled = void_graph(), np.random.default_rng(5).permutation(400)[:40]
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads, user_api="blas"):
            found.append(published_kernel(graph, labeled))
            assert {p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"} == {
                threads
            }
    (one, note), (two, other) = found
    assert "numerically void" in note
    assert note == other
    np.testing.assert_array_equal(one.view(np.int64), two.view(np.int64))


@pytest.mark.usefixtures("two_threads")
def test_without_the_limit_it_would():
    """What makes the test above one: two threads round otherwise."""
    graph, labeled = void_graph(), np.random.default_rng(5).permutation(400)[:40]
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads, user_api="blas"):
            found.append(published_kernel(graph, labeled, repeatable=False)[0])
    if np.array_equal(*found):
        pytest.skip("this BLAS rounds alike on one and two threads")
    assert abs(found[0] - found[1]).max() > 1e-9
