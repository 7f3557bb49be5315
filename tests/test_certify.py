"""Certificates against trying all flips, and where they are easy to get wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import linprog
from small_problems import brute_force, first_of, small_problem

from gssl_poison import (
    Certificate,
    DenseGraph,
    Direct,
    Harmonic,
    InputError,
    InputTypeError,
    Poison,
    Problem,
    Propagation,
    RBFGraph,
    SparseGraph,
    Spreading,
    certify,
)
from gssl_poison.certification.pointwise import radii
from gssl_poison.metrics import predictions

SEEDS = range(0, 100, 4)


def direct(weights, y, n_classes, truth=None):
    """A problem whose unlabelled points hear the labels with these weights (u, l)."""
    weights = np.atleast_2d(np.asarray(weights, dtype=float))
    u, l = weights.shape  # noqa: E741
    W = np.zeros((l + u, l + u))
    W[l:, :l], W[:l, l:] = weights, weights.T
    graph = DenseGraph(W)
    problem = Problem(graph, np.arange(l), np.asarray(y), truth=truth, n_classes=n_classes)
    return problem, Direct().fit(graph, np.arange(l))


@pytest.mark.parametrize("seed", SEEDS)
def test_radius_is_what_trying_all_flips_says(seed):
    problem, victim, n_flips = small_problem(seed)
    target = problem.truth[problem.unlabeled]
    _, expected = brute_force(victim.shares(), problem.y, target, problem.n_classes, n_flips)
    certificate = certify(problem, victim, (n_flips,), collective=False)
    np.testing.assert_array_equal(np.minimum(certificate.radius, n_flips + 1), expected)
    assert certificate.undecided == 0


@pytest.mark.parametrize("method", ["auto", "lagrangian"])
@pytest.mark.parametrize("truth", [True, False])
@pytest.mark.parametrize("seed", SEEDS)
def test_bounds_hold_and_are_in_order(seed, truth, method):
    problem, victim, n_flips = small_problem(seed)
    if method == "auto" and problem.n_classes > 2:
        n_flips = 2  # The integer program of more takes seconds.
    shares = victim.shares()
    clean = first_of(shares @ np.eye(problem.n_classes)[problem.y])
    target = problem.truth[problem.unlabeled] if truth else clean
    most, _ = brute_force(shares, problem.y, target, problem.n_classes, n_flips)
    budgets = (n_flips,) if method == "auto" else tuple(range(1, n_flips + 1))
    found = certify(problem, victim, budgets, truth=truth, method=method)
    counts = np.rint(found.collective * target.size)
    most = most[[0, *budgets]]
    assert (counts >= most[1:]).all()
    assert (found.collective <= found.pointwise).all()
    assert found.clean * target.size == pytest.approx(most[0])
    np.testing.assert_allclose(found.certified, 1.0 - found.pointwise)
    np.testing.assert_array_equal(found.predicted, clean)
    if method == "auto":
        np.testing.assert_array_equal(counts, most[1:])


def test_the_lagrangian_is_no_weaker_than_the_plain_linear_program():
    rng = np.random.default_rng(0)
    weights = rng.random((40, 16)) ** 4
    y = np.arange(16) % 2
    problem, victim = direct(weights, y, 2)
    shares = victim.shares()
    scores = shares @ np.eye(2)[y]
    predicted = first_of(scores)
    gap = np.abs(scores[:, 0] - scores[:, 1])
    found = certify(problem, victim, (2, 4), method="lagrangian")
    for k, bound in zip((2, 4), found.collective, strict=True):
        gains = 2.0 * shares * (y == predicted[:, None])
        C = np.minimum(1.0, gains / gap[:, None])[found.radius <= k]
        rows = len(C)
        plain = linprog(
            -np.concatenate([np.zeros(16), np.ones(rows)]),
            A_ub=np.block([[-C, np.eye(rows)], [np.ones((1, 16)), np.zeros((1, rows))]]),
            b_ub=np.concatenate([np.zeros(rows), [k]]),
            bounds=(0.0, 1.0),
        )
        assert bound * 40 <= -plain.fun + 1e-6
        # The linear program is not what is tight already: more than it is proven.
        assert bound * 40 <= np.floor(-plain.fun) - 1


@pytest.mark.parametrize(("own", "radius"), [(0, 2), (1, 1)])
def test_an_exact_tie_is_the_lower_class_s(own, radius):
    # Two labels of equal weight, both of one class: one flip makes the tie.
    problem, victim = direct([[1.0, 1.0]], [own, own], 2)
    assert certify(problem, victim, (1, 2)).radius.tolist() == [radius]
    expected = [float(radius <= 1), 1.0]
    assert certify(problem, victim, (1, 2)).collective.tolist() == expected
    assert certify(problem, victim, (1, 2), method="lagrangian").collective.tolist() == expected


def test_duplicated_points_tie_exactly():
    # Pairs of labelled points at the same place: their weights are the same bits.
    X = np.repeat(np.array([[0.0], [0.1], [1.7]]), 2, axis=0)
    labeled = [0, 1, 2, 3]
    for y, expected in ([0, 1, 0, 1], 0), ([1, 0, 1, 0], 0):
        problem = Problem(RBFGraph(X, gamma=1.0), labeled, y)
        found = certify(problem, Direct().fit(problem.graph, labeled), (1,))
        assert found.predicted.tolist() == [expected] * 2
        assert found.radius.tolist() == [1, 1]


def test_third_classes_count_half():
    # 5 of class 0 against 0 of class 1; the third class's 3 can only be given, 0's also be taken.
    problem, victim = direct([[5.0, 3.0]], [0, 2], 3)
    assert certify(problem, victim, (1,)).radius.tolist() == [1]
    problem, victim = direct([[2.0, 2.0, 2.0, 1.0, 1.0]], [0, 0, 0, 2, 2], 3)
    # 6 : 0 : 2; to class 2, two flips of weight 2: 2 : 6. One leaves 4 : 4, a tie: class 0's.
    assert certify(problem, victim, (1,)).radius.tolist() == [2]


def test_points_that_no_label_reaches_cannot_be_turned():
    W = np.zeros((6, 6))
    W[0, 1] = W[1, 2] = W[4, 5] = 1.0
    graph = SparseGraph(sparse.csr_array(W + W.T + np.eye(6)))
    victim = Harmonic(unreached="leave").fit(graph, [0, 2])
    for truth, wrong in ([1, 1, 1, 0, 0, 0], 0.0), ([1, 1, 1, 1, 1, 1], 0.75):
        problem = Problem(graph, [0, 2], [1, 1], truth=truth, n_classes=2)
        for method in ("auto", "lagrangian"):
            found = certify(problem, victim, (1, 2), method=method)
            assert found.radius.tolist() == [1, 3, 3, 3]
            assert found.clean == wrong
            assert found.pointwise.tolist() == [wrong + 0.25] * 2
            assert found.collective.tolist() == [wrong + 0.25] * 2


def test_an_error_of_the_shares_lowers_the_radius():
    # Shares .3 .25 .25 .2: one flip brings .6 of 1, two 1.1; with errors of .02, still two; with
    # .1, the first alone may do.
    problem, victim = direct([[0.3, 0.25, 0.25, 0.2]], [0, 0, 0, 0], 2)
    for error, radius, undecided in (0.0, 2, 0), (1e-3, 2, 0), (0.1, 1, 1), (0.3, 0, 1):
        found = certify(problem, replace(victim, error=error), (1, 2))
        assert (found.radius.tolist(), found.undecided) == ([radius], undecided)
        assert found.collective.tolist() == [float(radius <= 1), 1.0]


@pytest.mark.parametrize("seed", range(12))
def test_no_victim_within_the_error_escapes(seed):
    problem, victim, _ = small_problem(seed)
    error, shares = 1e-3, victim.shares()
    noise = np.random.default_rng(seed).uniform(-error, error, shares.shape)
    near = np.clip(shares + noise, 0.0, None)
    target = problem.truth[problem.unlabeled]
    for method in ("milp", "lagrangian"):
        held = replace(victim, error=error)
        found = certify(problem, held, (1, 2), method=method, truth=False)
        _, radius = brute_force(near, problem.y, target, problem.n_classes, 2)
        assert (np.minimum(found.radius, 3) <= radius).all()
        most, _ = brute_force(near, problem.y, found.predicted, problem.n_classes, 2)
        assert (np.rint(found.collective * target.size) >= most[1:]).all()


def test_blocks_and_threads_change_nothing(monkeypatch):
    problem, victim, _ = small_problem(20)
    whole = radii(problem, victim)
    monkeypatch.setattr("gssl_poison.certification.pointwise._BLOCK", 1)
    calls = []
    parts = radii(problem, victim, progress=lambda done, of: calls.append((done, of)))
    np.testing.assert_array_equal(whole.radius, parts.radius)
    assert calls[-1] == (victim.unlabeled.size,) * 2


def test_selection_is_a_sorted_sum():
    from gssl_poison.kernels.radius import _fewest

    rng = np.random.default_rng(0)
    for size in (0, 1, 5, 16, 17, 40, 333):
        for power in (1, 4, 12):
            values = rng.random(size) ** power
            values[: size // 3] = np.round(values[: size // 3], 1)
            total = np.cumsum(np.sort(values)[::-1])
            for wanted in (1e-9, *rng.random(5) * (values.sum() + 0.1)):
                assert _fewest(values.copy(), wanted) == (total < wanted).sum() + 1


def test_the_certificate_says_of_what_it_is_true():
    problem, victim, _ = small_problem(0)
    found = certify(problem, victim, (2, 0.3, 1, 2))
    assert isinstance(found, Certificate)
    assert found.budgets == (1, 2)
    assert found.n_labeled == problem.y.size
    assert "Direct" in found.holds_for
    assert "gamma" in found.holds_for
    assert found.used_truth
    with pytest.raises(ValueError, match="read-only"):
        found.radius[0] = 1


def test_bad_questions_are_refused():
    problem, victim, _ = small_problem(0)
    for budgets, error in (
        ((), InputError),
        ((0,), InputError),
        ((9,), InputError),
        ((1.5,), InputError),
        (("two",), InputTypeError),
    ):
        with pytest.raises(error, match="budget"):
            certify(problem, victim, budgets)
    with pytest.raises(InputError, match="method"):
        certify(problem, victim, (1,), method="simplex")
    with pytest.raises(InputError, match="truth"):
        certify(replace(problem, truth=None), victim, (1,), truth=True)
    other = Direct().fit(problem.graph, problem.labeled[::-1])
    with pytest.raises(InputError, match="victim"):
        certify(problem, other, (1,))
    problem, victim = direct([[1.0]], [0], 1)
    with pytest.raises(InputError, match="no other to flip"):
        certify(problem, victim, (1,))


def test_the_relaxation_holds_next_to_the_tie():
    """Rows that one flip turns by less than what adding up in another order may lose."""
    shares = np.zeros((2, 5))
    shares[0, :2] = shares[1, 2:4] = 0.5
    shares[:, 4] = 1e-12 * (1.0 + 4e-5)
    problem, victim = direct(shares, [0, 1, 0, 1, 0], 2)
    turned = Poison([4], [0], [1], [0.0])
    changed = predictions(victim, problem, turned) != predictions(victim, problem)
    for method in ("lagrangian", "milp", "auto"):
        found = certify(problem, victim, (1,), method=method)
        assert found.collective[0] >= changed.mean() == 1.0


def test_it_names_the_graph_of_the_victim():
    problem, _, _ = small_problem(0)
    other = RBFGraph(problem.graph.X, gamma=50.0)
    victim = Direct().fit(other, problem.labeled)
    assert "gamma=50" in certify(problem, victim, (1,)).holds_for


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"time_limit": -1}, "time_limit=-1"),
        ({"time_limit": np.nan}, "time_limit=nan"),
        ({"time_limit": "a"}, "time_limit='a'"),
        ({"method": "x", "collective": False}, "method='x'"),
    ],
)
def test_settings_are_checked(settings, message):
    problem, victim, _ = small_problem(0)
    with pytest.raises(InputError, match=message):
        certify(problem, victim, (1,), **settings)


def test_budgets_may_be_any_collection():
    problem, victim, _ = small_problem(0)
    assert certify(problem, victim, {2, 1}, collective=False).budgets == (1, 2)


@pytest.mark.parametrize(
    "propagator", [Propagation(1), Propagation(4), Spreading(0.3, 5)], ids=repr
)
@pytest.mark.parametrize("seed", range(0, 45, 9))
def test_loops_are_certified_as_their_limits_are(seed, propagator):
    problem, _, _ = small_problem(seed)
    victim = propagator.fit(problem.graph, problem.labeled)
    target = problem.truth[problem.unlabeled]
    most, radius = brute_force(victim.shares(), problem.y, target, problem.n_classes, 2)
    for method in ("auto", "lagrangian"):
        found = certify(problem, victim, (1, 2), method=method)
        np.testing.assert_array_equal(np.minimum(found.radius, 3), radius)
        counts = np.rint(found.collective * target.size)
        assert (counts >= most[1:]).all()
        assert method != "auto" or (counts == most[1:]).all()
