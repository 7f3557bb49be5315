"""Attacks on real values: the exact one is exact, and nothing is ever better."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from gssl_poison import Direct, Harmonic, RBFGraph, SparseGraph, Spreading
from gssl_poison.attacks._sphere import (
    leading_vector,
    maximize_on_few,
    maximize_on_sphere,
    of_length,
    solve_secular,
)
from gssl_poison.attacks.real_values import Perturbation, RegressionProblem, predict_values, rmse
from gssl_poison.attacks.regression import (
    REGRESSION_ATTACKS,
    GaussianPerturbation,
    LeadingEigenvector,
    ProjectedAscent,
    SparsePerturbation,
    TrustRegion,
)
from gssl_poison.exceptions import InputError, InputTypeError
from gssl_poison.propagation import Fitted

Floats = npt.NDArray[np.float64]

# Every attack with every attacker it knows.
EVERY: tuple[Any, ...] = (
    *(
        kind(truth=truth)
        for kind in (TrustRegion, ProjectedAscent, LeadingEigenvector, SparsePerturbation)
        for truth in (True, False)
    ),
    GaussianPerturbation(),
)


def quadratic(H: Floats, g: Floats, t: Floats) -> Floats:
    """Evaluate the objective at t, or at every row of t."""
    return 0.5 * (t @ H * t).sum(axis=-1) + t @ g


def make(n: int = 40, l: int = 8, seed: int = 0) -> tuple[RegressionProblem, Fitted]:  # noqa: E741
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 2))
    truth = np.sin(X[:, 0]) + 0.3 * X[:, 1] ** 2
    labeled = rng.permutation(n)[:l]
    graph = RBFGraph(X, gamma=2.0)
    y = truth[labeled] + 0.1 * rng.standard_normal(l)
    return RegressionProblem(graph, labeled, y, truth), Harmonic().fit(graph, labeled)


def parts(problem: RegressionProblem, victim: Fitted) -> tuple[Floats, Floats, Floats]:
    """Return K, H and g, the plain way."""
    K = victim.shares()
    assert problem.truth is not None
    return K, K.T @ K, K.T @ (K @ problem.y - problem.truth[problem.unlabeled])


def with_truth(problem: RegressionProblem, values: Floats) -> RegressionProblem:
    """Give the unlabelled points other true values."""
    truth = np.zeros(problem.graph.n_points)
    truth[problem.unlabeled] = values
    return dataclasses.replace(problem, truth=truth)


def sphere_points(dimension: int, count: int) -> Floats:
    """Return points that cover a circle or a sphere evenly."""
    k = np.arange(count) + 0.5
    if dimension == 2:
        angle = 2 * np.pi * k / count
        return np.column_stack([np.cos(angle), np.sin(angle)])
    z, angle = 1 - 2 * k / count, np.pi * (1 + 5**0.5) * k
    rest = np.sqrt(1 - z**2)
    return np.column_stack([rest * np.cos(angle), rest * np.sin(angle), z])


# --- the maximum on a sphere


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("seed", range(8))
def test_nothing_on_the_sphere_is_higher(dimension: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((4, dimension))
    H, g = A.T @ A, 10.0 ** rng.uniform(-3, 1) * rng.standard_normal(dimension)
    radius = float(10.0 ** rng.uniform(-2, 2))
    t, proof = maximize_on_sphere(H, g, radius)
    found = float(quadratic(H, g, t))
    on_grid = quadratic(H, g, radius * sphere_points(dimension, 200_000)).max()
    slope = radius * (radius * np.linalg.norm(H, 2) + np.linalg.norm(g))
    assert on_grid <= found * (1 + 1e-14)
    assert found <= on_grid + 1e-4 * slope
    assert found <= proof.bound <= found + 1e-12 * slope


@given(
    seed=st.integers(0, 2**32 - 1),
    n_columns=st.integers(1, 12),
    rows=st.integers(1, 20),
    pull=st.integers(-30, 30),
    radius=st.integers(-20, 20),
)
def test_conditions_of_a_global_maximum(
    seed: int, n_columns: int, rows: int, pull: int, radius: int
) -> None:
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((rows, n_columns))
    H, r = A.T @ A, 10.0**radius
    g = 10.0**pull * (A.T @ rng.standard_normal(rows))
    t, proof = maximize_on_sphere(H, g, r)
    top = np.linalg.eigvalsh(H)[-1]
    assert np.linalg.norm(t) == pytest.approx(r, rel=1e-14)
    assert proof.largest_eigenvalue == pytest.approx(top, rel=1e-13)
    assert proof.multiplier >= proof.largest_eigenvalue
    left = proof.multiplier * t - H @ t - g
    assert np.linalg.norm(left) <= 1e-13 * (proof.multiplier * r + np.linalg.norm(g))
    assert proof.residual <= 1e-13
    scale = r * (r * top + np.linalg.norm(g))
    value = float(quadratic(H, g, t))
    assert value <= proof.bound <= value + 1e-11 * scale


def test_climbing_from_anywhere_is_never_better(rng: np.random.Generator) -> None:
    second_tops = 0
    for _ in range(10):
        A = rng.standard_normal((6, 5))
        H, g = A.T @ A, 0.3 * A.T @ rng.standard_normal(6)
        t, _ = maximize_on_sphere(H, g, 2.0)
        most = float(quadratic(H, g, t))
        reached = []
        for start in rng.standard_normal((30, 5)):
            other = of_length(start, 2.0)
            for _ in range(500):
                other = of_length(H @ other + g, 2.0)
            reached.append(float(quadratic(H, g, other)))
        assert most * (1 - 1e-6) <= max(reached) <= most * (1 + 1e-12)
        second_tops += min(reached) < most * (1 - 1e-6)
    # Otherwise there was nothing to be trapped by.
    assert second_tops > 3


def test_hard_case_is_filled_up_along_the_leading_direction() -> None:
    H, g = np.diag([2.0, 1.0, 2.0]), np.array([0.0, 3.0, 0.0])
    t, proof = maximize_on_sphere(H, g, 5.0)
    assert proof.hard_case
    assert proof.multiplier == proof.largest_eigenvalue == 2.0
    assert t[1] == pytest.approx(3.0)
    assert np.hypot(t[0], t[2]) == pytest.approx(4.0)
    assert float(quadratic(H, g, t)) == pytest.approx(29.5)
    # At a small radius g reaches the sphere by itself.
    t, proof = maximize_on_sphere(H, g, 1.0)
    assert not proof.hard_case
    np.testing.assert_allclose(t, [0.0, 1.0, 0.0], atol=1e-15)
    assert proof.multiplier == pytest.approx(4.0)


@pytest.mark.parametrize("tiny", [1e-5, 1e-12, 1e-17, 1e-100, 1e-300, 5e-324])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_nearly_hard_cases_lose_no_digits(tiny: float, sign: float) -> None:
    t, proof = maximize_on_sphere(np.diag([1.0, 2.0]), np.array([3.0, sign * tiny]), 5.0)
    np.testing.assert_allclose(np.abs(t), [3.0, 4.0], rtol=1e-4)
    assert np.linalg.norm(t) == pytest.approx(5.0, rel=1e-15)
    assert proof.residual <= 1e-15
    if tiny > 1e-200:
        assert np.sign(t[1]) == sign


def test_the_secular_equation_is_solved_to_its_last_digit() -> None:
    below = np.array([0.9, 0.5, 1e-9, 0.0])
    for pulls in ([0.0, 0.0, 0.0, 1e-30], [5.0, 1.0, 0.0, 0.0], [0.3, 0.2, 1e-9, 1e-20]):
        mu = solve_secular(below, np.array(pulls))
        used = np.array(pulls) != 0.0
        assert np.linalg.norm(np.array(pulls)[used] / (below[used] + mu)) == pytest.approx(
            1.0, rel=1e-14
        )
    assert solve_secular(below, np.zeros(4)) == 0.0
    assert solve_secular(below, np.array([0.1, 0.1, 0.0, 0.0])) == 0.0


def test_few_entries_against_every_choice(rng: np.random.Generator) -> None:
    from itertools import combinations

    hits = 0
    for _ in range(10):
        A = rng.random((7, 6))
        H, g = A.T @ A, A.T @ rng.standard_normal(7)
        best = max(
            float(
                quadratic(
                    H[np.ix_(s, s)],
                    g[list(s)],
                    maximize_on_sphere(H[np.ix_(s, s)], g[list(s)], 1.5)[0],
                )
            )
            for s in combinations(range(6), 2)
        )
        starts = (leading_vector(H), np.diag(H), g)
        tried = [maximize_on_few(H, g, 1.5, start, 2) for start in starts]
        assert all(np.count_nonzero(t) == 2 for t in tried)
        found = max(float(quadratic(H, g, t)) for t in tried)
        assert found <= best * (1 + 1e-12)
        hits += found >= best * (1 - 1e-12)
    assert hits >= 8


# --- the attacks


@pytest.mark.parametrize("attack", EVERY, ids=repr)
@pytest.mark.parametrize(("n", "l"), [(40, 8), (12, 9), (3, 1), (5, 4)])
def test_every_attack_keeps_its_promises(attack: Any, n: int, l: int) -> None:  # noqa: E741
    if isinstance(attack, SparsePerturbation):
        attack = dataclasses.replace(attack, n_nonzero=min(3, l))
    problem, victim = make(n, l)
    assert problem.truth is not None
    before = [a.copy() for a in (problem.labeled, problem.y, problem.truth, victim.shares())]
    _, H, g = parts(problem, victim)
    knows = bool(getattr(attack, "truth", False))
    for radius in (1e-3, 0.5, 30.0):
        found = attack.attack(problem, victim, radius)
        assert np.isfinite(found.values).all()
        assert np.linalg.norm(found.values) == pytest.approx(radius, rel=1e-12)
        assert (found.radius, found.used_truth, found.method) == (radius, knows, repr(attack))
        assert found.seconds > 0
        value = float(quadratic(H, g if knows else np.zeros(l), found.values))
        assert found.objective == pytest.approx(value, rel=1e-9, abs=1e-14)
        most = TrustRegion(truth=knows).attack(problem, victim, radius)
        assert found.objective <= most.objective * (1 + 1e-12)
        assert rmse(victim, problem, found) <= rmse(
            victim, problem, TrustRegion().attack(problem, victim, radius)
        ) * (1 + 1e-12)
        again = attack.attack(problem, victim, radius)
        np.testing.assert_array_equal(found.values, again.values)
    after = (problem.labeled, problem.y, problem.truth, victim.shares())
    for was, now in zip(before, after, strict=True):
        np.testing.assert_array_equal(was, now)


@pytest.mark.parametrize("propagator", [Direct(), Harmonic(), Spreading(0.5)], ids=repr)
def test_the_objective_is_half_the_squared_error_added(propagator: Any) -> None:
    problem, _ = make()
    victim = propagator.fit(problem.graph, problem.labeled)
    for attack in EVERY:
        found = attack.attack(problem, victim, 0.7)
        clean, poisoned = predict_values(victim, problem), predict_values(victim, problem, found)
        np.testing.assert_allclose(
            poisoned, victim.shares() @ (problem.y + found.values), rtol=1e-12, atol=1e-13
        )
        if found.used_truth:
            assert found.objective_name == "half the squared error added"
            added = rmse(victim, problem, found) ** 2 - rmse(victim, problem) ** 2
            assert found.objective == pytest.approx(0.5 * problem.unlabeled.size * added, rel=1e-9)
        else:
            assert found.objective_name == "half the squared shift of the predictions"
            shift = float(((poisoned - clean) ** 2).sum())
            assert found.objective == pytest.approx(0.5 * shift, rel=1e-9)
        poisoned_problem = problem.poisoned(found)
        assert rmse(victim, poisoned_problem) == rmse(victim, problem, found)


def test_hard_case_of_a_problem() -> None:
    problem, victim = make()
    K, H, _ = parts(problem, victim)
    leading = leading_vector(H)
    # An error that the leading direction does not feel.
    error = np.random.default_rng(1).standard_normal(len(K))
    error -= (error @ K @ leading) / (K @ leading @ K @ leading) * (K @ leading)
    problem = with_truth(problem, K @ problem.y - error)
    _, _, g = parts(problem, victim)
    assert abs(g @ leading) < 1e-13
    for radius in (0.01, 1.0, 1e3):
        found = TrustRegion().attack(problem, victim, radius)
        proof = found.certificate
        assert proof is not None
        assert proof.residual < 1e-13
        assert proof.bound == pytest.approx(found.objective, rel=1e-11)
        # Climbing from g never leaves the plane without the leading direction.
        climbed = ProjectedAscent(n_steps=100, step=1.0).attack(problem, victim, radius)
        assert climbed.objective <= found.objective * (1 + 1e-12)
    assert abs(found.values @ leading) > 0.99 * radius
    assert proof.multiplier == pytest.approx(proof.largest_eigenvalue, rel=1e-12)


def test_perfect_predictions_leave_both_signs() -> None:
    problem, victim = make()
    K, H, _ = parts(problem, victim)
    problem = with_truth(problem, K @ problem.y)
    expected = 2.0 * leading_vector(H)
    assert (expected > 0).all()  # as K has no negative entry
    for attack in (TrustRegion(), TrustRegion(truth=False), LeadingEigenvector(truth=True)):
        found = attack.attack(problem, victim, 2.0)
        np.testing.assert_allclose(found.values, expected, rtol=1e-10)
        assert any("both signs" in note for note in found.notes)
    climbed = ProjectedAscent(step=1.0).attack(problem, victim, 2.0)
    np.testing.assert_allclose(climbed.values, expected, rtol=1e-6)
    assert any("equal entries" in note for note in climbed.notes)


def test_the_eigenvector_takes_the_worse_sign() -> None:
    problem, victim = make()
    assert problem.truth is not None
    for offset in (-5.0, 5.0):
        moved = dataclasses.replace(problem, truth=problem.truth + offset)
        found = LeadingEigenvector(truth=True).attack(moved, victim, 1.0)
        # Predictions that are too low are lowered, those too high raised.
        assert np.sign(found.values.sum()) == -np.sign(offset)
        other = dataclasses.replace(found, values=-found.values)
        assert rmse(victim, moved, found) > rmse(victim, moved, other)


@pytest.mark.parametrize("attack", EVERY[:-1], ids=repr)
def test_invariance(attack: Any) -> None:
    if isinstance(attack, SparsePerturbation):
        attack = dataclasses.replace(attack, n_nonzero=3)
    problem, victim = make()
    assert problem.truth is not None
    found = attack.attack(problem, victim, 0.5)
    # The origin of the unit does not matter, nor does the unit.
    shifted = RegressionProblem(
        problem.graph, problem.labeled, problem.y + 3.0, problem.truth + 3.0
    )
    np.testing.assert_allclose(attack.attack(shifted, victim, 0.5).values, found.values, atol=1e-9)
    scaled = RegressionProblem(problem.graph, problem.labeled, problem.y * 8.0, problem.truth * 8.0)
    np.testing.assert_allclose(
        attack.attack(scaled, victim, 4.0).values, 8.0 * found.values, atol=1e-9
    )
    # Nor the order of the labelled points.
    order = np.random.default_rng(3).permutation(problem.y.size)
    permuted = RegressionProblem(
        problem.graph, problem.labeled[order], problem.y[order], problem.truth
    )
    other = Harmonic().fit(problem.graph, problem.labeled[order])
    np.testing.assert_allclose(
        attack.attack(permuted, other, 0.5).values, found.values[order], atol=1e-9
    )


@pytest.mark.parametrize("n_nonzero", [1, 3, 8, 0.5, np.int64(2), 0.29, 0.01])
def test_exactly_so_many_labels_change(n_nonzero: float) -> None:
    problem, victim = make(l=8) if n_nonzero != 0.29 else make(n=150, l=100)
    count = {0.5: 4, 0.29: 29, 0.01: 1}.get(n_nonzero, int(n_nonzero))
    found = SparsePerturbation(n_nonzero, truth=True).attack(problem, victim, 1.0)
    assert len(found) == count
    assert f"{count} of {problem.y.size} labels change" in found.notes
    if count == problem.y.size:
        whole = TrustRegion().attack(problem, victim, 1.0)
        np.testing.assert_allclose(found.values, whole.values, atol=1e-10)


def test_an_ascent_that_has_not_arrived_says_so() -> None:
    problem, victim = make()
    short = ProjectedAscent(n_steps=1, step=1e-6).attack(problem, victim, 1.0)
    assert any("has not arrived" in note for note in short.notes)
    long = ProjectedAscent(n_steps=5000, step=10.0).attack(problem, victim, 1.0)
    assert not any("has not arrived" in note for note in long.notes)
    exact = TrustRegion().attack(problem, victim, 1.0)
    np.testing.assert_allclose(long.values, exact.values, rtol=1e-6, atol=1e-8)


def test_seeds() -> None:
    problem, victim = make()
    first, same, other = (
        GaussianPerturbation(seed).attack(problem, victim, 1.0).values for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()


def test_points_no_label_reaches_are_left_out() -> None:
    W = np.zeros((6, 6))
    for i, j in ((0, 1), (1, 2), (3, 4), (4, 5)):
        W[i, j] = W[j, i] = 1.0
    graph = SparseGraph(sparse.csr_array(W))
    problem = RegressionProblem(graph, [0, 2], [1.0, 2.0], truth=[0, 1.75, 0, 9e9, 9e9, 9e9])
    victim = Harmonic(unreached="leave").fit(graph, [0, 2])
    np.testing.assert_allclose(predict_values(victim, problem), [1.5])
    assert rmse(victim, problem) == pytest.approx(0.25)
    found = TrustRegion().attack(problem, victim, 1.0)
    assert found.notes[0] == "3 points that no label reaches are left out"
    np.testing.assert_allclose(found.values, [-(0.5**0.5)] * 2)


@pytest.mark.parametrize("size", [1e-100, 1e100])
def test_extreme_units_give_numbers(size: float) -> None:
    problem, victim = make()
    assert problem.truth is not None
    for radius in (1e-100, 1.0, 1e100):
        for scale in (size / 10, 0.0):
            other = RegressionProblem(
                problem.graph, problem.labeled, problem.y * scale, problem.truth * scale
            )
            for attack in EVERY:
                chosen = attack
                if isinstance(attack, SparsePerturbation):
                    chosen = dataclasses.replace(attack, n_nonzero=2)
                found = chosen.attack(other, victim, radius)
                assert np.isfinite(found.values).all()
                assert np.isfinite(found.objective)
                assert np.linalg.norm(found.values / radius) == pytest.approx(1.0)


def test_equal_labels() -> None:
    problem, victim = make()
    same = dataclasses.replace(problem, y=np.full(8, 2.5))
    np.testing.assert_array_equal(predict_values(victim, same), 2.5)


def test_the_table_of_attacks() -> None:
    problem, victim = make(l=12)
    assert list(REGRESSION_ATTACKS) == [
        "trust-region",
        "projected-ascent",
        "eigenvector",
        "sparse",
        "gaussian",
    ]
    for kind in REGRESSION_ATTACKS.values():
        assert kind.surrogate == "harmonic"
        assert kind.source
        assert len(kind().attack(problem, victim, 0.3)) >= 1


# --- what is kept and what is refused


def test_arrays_are_copies_that_cannot_be_written_to() -> None:
    problem, victim = make()
    y = np.ones(8)
    mine = dataclasses.replace(problem, y=y)
    y[0] = 7.0
    assert mine.y[0] == 1.0
    found = TrustRegion().attack(problem, victim, 1.0)
    for array in (mine.y, mine.labeled, mine.truth, found.values):
        assert array is not None
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 3
    clean = problem.y.copy()
    poisoned = found.apply(problem.y)
    np.testing.assert_array_equal(problem.y, clean)
    np.testing.assert_allclose(poisoned - clean, found.values, atol=1e-15)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": [1.0, 2.0]}, r"y has shape \(2,\) .* give 8 real numbers"),
        ({"y": ["a"] * 8}, "type <U1; give 8 real numbers"),
        ({"y": [1j] * 8}, "give 8 real numbers"),
        ({"y": [0.0, np.nan, *[1.0] * 6]}, "y holds nan at position 1; every value must be finite"),
        ({"y": [np.inf] * 8}, "y holds inf at position 0"),
        ({"y": [1e101] * 8}, "at most 1e"),
        ({"truth": np.zeros(39)}, "truth has shape"),
        ({"truth": np.full(40, np.nan)}, "truth holds nan"),
        ({"labeled": [0, 0, 1, 2, 3, 4, 5, 6]}, "8 row numbers, 7 of them distinct"),
        ({"labeled": np.arange(8.0)}, "labeled has shape"),
        ({"labeled": np.arange(40), "y": np.ones(40)}, "all 40 points are labelled"),
    ],
)
def test_bad_problems(changes: dict[str, Any], message: str) -> None:
    problem, _ = make()
    with pytest.raises(InputError, match=message):
        dataclasses.replace(problem, **changes)


@pytest.mark.parametrize("attack", EVERY, ids=repr)
@pytest.mark.parametrize(
    ("radius", "error"),
    [
        (0.0, InputError),
        (-1.0, InputError),
        (np.nan, InputError),
        (np.inf, InputError),
        (1e-200, InputError),
        ("1", InputTypeError),
        (True, InputTypeError),
        (None, InputTypeError),
    ],
)
def test_bad_radius(attack: Any, radius: Any, error: type[Exception]) -> None:
    problem, victim = make(n=30, l=12)
    with pytest.raises(error, match=r"radius=.*unit of the labels"):
        attack.attack(problem, victim, radius)


@pytest.mark.parametrize("attack", [a for a in EVERY if getattr(a, "truth", False)], ids=repr)
def test_truth_is_asked_for(attack: Any) -> None:
    problem, victim = make(n=30, l=12)
    blind = dataclasses.replace(problem, truth=None)
    with pytest.raises(InputError, match=rf"{type(attack).__name__} with truth=True needs"):
        attack.attack(blind, victim, 1.0)
    dataclasses.replace(attack, truth=False).attack(blind, victim, 1.0)
    with pytest.raises(InputError, match="cannot be told without the truth"):
        rmse(victim, blind)


def test_a_propagator_of_another_problem_is_refused() -> None:
    problem, victim = make()
    other, _ = make(seed=1)
    with pytest.raises(InputError, match="the surrogate is fitted to"):
        TrustRegion().attack(other, victim, 1.0)
    with pytest.raises(InputError, match="the victim is fitted to"):
        rmse(victim, other)
    found = TrustRegion().attack(problem, victim, 1.0)
    with pytest.raises(InputError, match="give 8 real numbers"):
        found.apply([1.0, 2.0])


def test_nothing_predicted_is_no_error_rate() -> None:
    W = np.zeros((4, 4))
    W[0, 1] = W[1, 0] = W[2, 3] = W[3, 2] = 1.0
    graph = SparseGraph(sparse.csr_array(W))
    problem = RegressionProblem(graph, [0, 1], [0.0, 1.0], truth=np.zeros(4))
    victim = Harmonic(unreached="leave").fit(graph, [0, 1])
    with pytest.raises(InputError, match="no label reaches any of the 2 unlabelled points"):
        rmse(victim, problem)


@pytest.mark.parametrize(
    ("kind", "settings", "error"),
    [
        (ProjectedAscent, {"n_steps": 0}, InputError),
        (ProjectedAscent, {"n_steps": 2.5}, InputError),
        (ProjectedAscent, {"n_steps": True}, InputError),
        (ProjectedAscent, {"step": 0.0}, InputError),
        (ProjectedAscent, {"step": np.nan}, InputError),
        (ProjectedAscent, {"step": np.inf}, InputError),
        (SparsePerturbation, {"n_nonzero": 0}, InputError),
        (SparsePerturbation, {"n_nonzero": 1.0}, InputError),
        (SparsePerturbation, {"n_nonzero": np.nan}, InputError),
        (SparsePerturbation, {"n_nonzero": "3"}, InputTypeError),
        (SparsePerturbation, {"n_nonzero": True}, InputTypeError),
    ],
)
def test_bad_settings(kind: Any, settings: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=f"{next(iter(settings))}="):
        kind(**settings)


def test_more_labels_than_there_are() -> None:
    problem, victim = make()
    with pytest.raises(InputError, match=r"n_nonzero=9 .* 1\.\.8"):
        SparsePerturbation(9).attack(problem, victim, 1.0)


def test_a_perturbation_counts_the_labels_that_change() -> None:
    assert len(Perturbation(np.array([0.0, 0.3, -0.4]), 0.5, 0.0)) == 2
