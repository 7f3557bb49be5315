"""Liu et al.'s relaxed attacks against their formulas written out, step by step."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import load_digits, make_moons

from gssl_poison import (
    DenseGraph,
    Direct,
    Harmonic,
    InputError,
    NumericalError,
    Problem,
    RBFGraph,
    error_rate,
)
from gssl_poison.attacks import _relaxation
from gssl_poison.attacks._common import begin
from gssl_poison.attacks._relaxation import Relaxed, gram
from gssl_poison.attacks.liu import Probabilistic, ProbabilisticSoft, Threshold, ThresholdSoft
from gssl_poison.attacks.published import published_kernel

ATTACKS = (Threshold(), ThresholdSoft(), Probabilistic(), ProbabilisticSoft(n_steps=60))
LABELED = np.random.default_rng(5).permutation(120)[:24]
BUDGET = 9


def digits(n_classes=2, gamma=0.5):
    X, y = load_digits(n_class=n_classes, return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))[:120]
    X, truth = X[order] / 16.0, y[order]
    problem = Problem(RBFGraph(X, gamma), LABELED, truth[LABELED], truth=truth)
    return problem, Harmonic().fit(problem.graph, LABELED)


def moons(gamma=4.0):
    X, truth = make_moons(120, noise=0.25, random_state=0)
    problem = Problem(RBFGraph(X, gamma), LABELED, truth[LABELED], truth=truth)
    return problem, Harmonic().fit(problem.graph, LABELED)


def plain(attack, K, y, y_U):
    """The published procedures with y in {-1, 1}: scores, of which the least are flipped."""
    l = y.size  # noqa: E741
    wrong = attack.preset == "replication"
    if isinstance(attack, Threshold):
        M, g = K.T @ K, K.T @ y_U
        g = g if wrong else -g
        v = np.sqrt(l) * g / np.linalg.norm(g)
        for _ in range(attack.n_steps):
            v = v + attack.step * (M @ v + g)
            v *= np.sqrt(l) / np.linalg.norm(v)
        return v if wrong else v * y
    if isinstance(attack, ThresholdSoft):
        d = np.ones(l)
        for _ in range(attack.n_steps):
            t = np.tanh(attack.sharpness * (K @ (y * d)))
            loss_by_d = -y * (K.T @ ((t - y_U) * (1 - t**2) * attack.sharpness))
            d = d - attack.step * (loss_by_d - 0.125 * attack.weight * 2 * (1 - d))
        return d
    soft = isinstance(attack, ProbabilisticSoft)
    rng = np.random.RandomState(2020) if wrong else np.random.default_rng(2020)
    a = np.full(l, 0.5)
    for _ in range(attack.n_steps):
        if wrong and not soft:
            e = rng.gumbel(l) - rng.gumbel(l)
        else:
            e = rng.gumbel(size=l) - rng.gumbel(size=l)
        inner = (np.log(a / (1 - a)) + e) / attack.temperature
        z = 2 / (1 + np.exp(inner)) - 1
        z_by_inner = -2 * np.exp(inner) / (1 + np.exp(inner)) ** 2
        z_by_a = z_by_inner / attack.temperature / (a * (1 - a))
        f, f_slope = K @ (y * z), 1.0
        if soft:
            f = np.tanh(attack.sharpness * f)
            f_slope = attack.sharpness * (1 - f**2)
        loss_by_z = -y * (K.T @ ((f - y_U) * f_slope))
        a = a - attack.step * (loss_by_z * z_by_a + attack.weight * a)
        a = np.clip(a, 0.001, 0.999)
    return -a


def sides(problem):
    """Labels and targets as -1 and 1."""
    return 2.0 * problem.y - 1.0, 2.0 * problem.truth[problem.unlabeled] - 1.0


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: type(a).__name__)
@pytest.mark.parametrize("make", [digits, moons])
def test_corrected_is_the_formula_on_the_shares(attack, make):
    problem, surrogate = make()
    poison = attack.attack(problem, surrogate, BUDGET)
    score = plain(attack, surrogate.shares(), *sides(problem))
    np.testing.assert_array_equal(poison.order, np.argsort(score, kind="stable")[:BUDGET])
    assert poison.notes == ()


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: type(a).__name__)
def test_replication_is_the_published_procedure_on_the_published_kernel(attack):
    problem, surrogate = digits()
    published = replace(attack, preset="replication")
    poison = published.attack(problem, surrogate, BUDGET)
    K, note = published_kernel(problem.graph, problem.labeled)
    y, y_U = sides(problem)
    score = plain(published, K, y, y_U)
    limit = -0.5 if isinstance(attack, Probabilistic | ProbabilisticSoft) else 1.0
    order = np.argsort(score, kind="stable")
    order = order[score[order] < limit][:BUDGET]
    np.testing.assert_array_equal(poison.order, order)
    assert poison.notes[0] == note
    d = np.ones(y.size)
    for k, j in enumerate(order):
        d[j] = -1.0
        assert poison.objective[k] == np.mean(np.sign(K @ (y * d)) != y_U)


@pytest.mark.parametrize("sharpness", [None, 0.7])
@pytest.mark.parametrize("n_classes", [2, 4])
def test_slope_is_the_gradient_of_the_loss(n_classes, sharpness, rng):
    problem, surrogate = digits(n_classes)
    relaxed = Relaxed.start(Threshold(), problem, surrogate, 3)
    K, c = surrogate.shares(), n_classes
    kept, moved = np.eye(c)[problem.y], np.eye(c)[relaxed.new]
    target = 2 * np.eye(c)[problem.truth[problem.unlabeled]] - 1

    def loss(d):
        # All columns, each for half: for two classes that must be the one column that is kept.
        Y = 2 * (kept * (1 + d[:, None]) / 2 + moved * (1 - d[:, None]) / 2) - 1
        f = K @ Y if sharpness is None else np.tanh(sharpness * (K @ Y))
        return 0.25 * np.sum((f - target) ** 2)

    d = rng.normal(size=problem.y.size)
    h = 1e-5
    expected = [(loss(d + h * e) - loss(d - h * e)) / (2 * h) for e in np.eye(d.size)]
    np.testing.assert_allclose(relaxed.slope(d, sharpness), expected, rtol=1e-6, atol=1e-7)
    if sharpness is None:
        np.testing.assert_allclose(relaxed.fast_slope(100)(d), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_fast_slope_is_slope(n_classes, rng):
    problem, surrogate = digits(n_classes)
    relaxed = Relaxed.start(Threshold(), problem, surrogate, 3)
    d = rng.normal(size=problem.y.size)
    fast = relaxed.fast_slope(100)
    assert fast != relaxed.slope
    np.testing.assert_allclose(fast(d), relaxed.slope(d), rtol=1e-12, atol=1e-12)


def test_few_steps_do_not_pay_for_a_gram_matrix(monkeypatch):
    problem, surrogate = digits()
    monkeypatch.setattr(_relaxation, "_LABELS_PER_STEP", 1)
    relaxed = Relaxed.start(Threshold(), problem, surrogate, 3)
    assert relaxed.fast_slope(10) == relaxed.slope
    assert relaxed.fast_slope(100) != relaxed.slope
    # Products of K by K or by vectors: the flips are the same.
    monkeypatch.setattr(_relaxation, "_LABELS_PER_STEP", 0)
    without = Probabilistic().attack(problem, surrogate, BUDGET)
    monkeypatch.undo()
    np.testing.assert_array_equal(
        without.order, Probabilistic().attack(problem, surrogate, BUDGET).order
    )


@pytest.mark.parametrize("shape", [(40, 1), (40, 2), (31, 7), (5, 50)])
def test_gram_by_blocks(shape, rng):
    K = rng.random(shape)
    result = gram(K)
    np.testing.assert_allclose(result, K.T @ K, rtol=1e-13)
    np.testing.assert_array_equal(result, result.T)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: type(a).__name__)
@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_objective_budget_and_classes(attack, n_classes):
    problem, surrogate = digits(n_classes)
    before = problem.y.copy()
    poison = attack.attack(problem, surrogate, BUDGET)
    assert len(poison) == BUDGET == np.unique(poison.order).size
    np.testing.assert_array_equal(poison.old, before[poison.order])
    assert (poison.new != poison.old).all()
    for k in range(1, BUDGET + 1):
        error = error_rate(surrogate, problem, poison.first(k))
        assert poison.objective[k - 1] == pytest.approx(error, abs=1e-15)
    np.testing.assert_array_equal(problem.y, before)
    assert poison.used_truth
    # One run holds the answers to all smaller budgets.
    np.testing.assert_array_equal(attack.attack(problem, surrogate, 4).order, poison.order[:4])


@pytest.mark.parametrize(
    "attack",
    [*ATTACKS[:3], ProbabilisticSoft(step=1e-4)],  # 1e-6, as published, hardly leaves the start
    ids=lambda a: type(a).__name__,
)
def test_attacks_do_harm(attack):
    problem, surrogate = digits(2)
    clean = error_rate(surrogate, problem)
    random = np.mean(
        [
            error_rate(
                surrogate,
                replace(
                    problem, y=np.where(np.isin(np.arange(24), chosen), 1 - problem.y, problem.y)
                ),
            )
            for chosen in (np.random.default_rng(s).permutation(24)[:BUDGET] for s in range(20))
        ]
    )
    assert attack.attack(problem, surrogate, BUDGET).objective[-1] > max(clean, random) + 0.05


@pytest.mark.parametrize("n_classes", [2, 4])
def test_without_truth_the_targets_are_the_predictions(n_classes):
    problem, surrogate = digits(n_classes)
    blind = replace(problem, truth=None)
    with pytest.raises(InputError, match="Threshold with truth=True"):
        Threshold().attack(blind, surrogate, 3)
    for attack in ATTACKS:
        unknown = replace(attack, truth=False).attack(blind, surrogate, BUDGET)
        assert not unknown.used_truth
        told = surrogate.apply(np.eye(problem.n_classes)[problem.y], normalized=True).argmax(axis=1)
        known = attack.attack(replace(problem, truth=told), surrogate, BUDGET)
        np.testing.assert_array_equal(unknown.order, known.order)
        np.testing.assert_array_equal(unknown.new, known.new)


def test_a_seed_repeats_and_another_differs():
    problem, surrogate = moons()
    for kind in (Probabilistic(), ProbabilisticSoft(n_steps=60)):
        first = Relaxed.start(kind, problem, surrogate, 24)
        assert first.task.n_flips == 24
        orders = [
            replace(kind, random_state=seed).attack(problem, surrogate, 24).order.tolist()
            for seed in (1, 1, 2)
        ]
        assert orders[0] == orders[1] != orders[2]


def test_the_presets_differ_where_the_code_is_wrong():
    problem, surrogate = digits()  # K is sound here: what differs is the procedure
    fixed = Threshold().attack(problem, surrogate, BUDGET)
    published = Threshold(preset="replication").attack(problem, surrogate, BUDGET)
    assert set(fixed.order.tolist()) != set(published.order.tolist())
    assert fixed.objective[-1] > published.objective[-1]
    # Without y_L, v below 0 is one class: the published attack flips labels of one class first.
    assert np.unique(problem.y[published.order]).size == 1
    one = Probabilistic(preset="replication").attack(problem, surrogate, 24)
    each = Probabilistic().attack(problem, surrogate, 24)
    assert one.order.tolist() != each.order[: len(one)].tolist()


def test_replication_says_how_many_flips_are_missing():
    problem, surrogate = digits()
    # So heavy a penalty takes every probability down.
    settings = {"weight": 1e4, "n_steps": 5}
    poison = Probabilistic(preset="replication", **settings).attack(problem, surrogate, BUDGET)
    assert len(poison) == 0
    assert "9 fewer flips than the budget of 9" in poison.notes[-1]
    assert len(Probabilistic(**settings).attack(problem, surrogate, BUDGET)) == BUDGET


def test_published_kernel_where_it_is_sound():
    problem, surrogate = digits(gamma=0.5)
    K, note = published_kernel(problem.graph, problem.labeled)
    np.testing.assert_allclose(K, surrogate.shares(), atol=1e-10)
    assert "void" not in note
    X = problem.graph.X
    S = np.exp(-0.5 * ((X[:, None] - X[None]) ** 2).sum(axis=2))
    U, L = problem.unlabeled, problem.labeled
    plainly = np.linalg.inv(np.diag(S.sum(axis=1)[U]) - S[np.ix_(U, U)]) @ S[np.ix_(U, L)]
    np.testing.assert_allclose(K, plainly, atol=1e-10)


def void_problem():
    """Pairs of points: self-loops hold all but the rounding of every row."""
    rng = np.random.default_rng(3)
    X = np.repeat(rng.normal(size=(30, 3)), 2, axis=0) * 4.0 + rng.normal(size=(60, 3)) * 0.5
    truth = np.repeat(np.arange(30) % 2, 2)
    labeled = rng.permutation(60)[:12]
    problem = Problem(RBFGraph(X, 9.0), labeled, truth[labeled], truth=truth)
    return problem, Harmonic().fit(problem.graph, labeled)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: type(a).__name__)
def test_a_void_kernel_is_named(attack):
    problem, surrogate = void_problem()
    poison = replace(attack, preset="replication").attack(problem, surrogate, 5)
    found = re.search(r"span (\S+) to (\S+): it is numerically void", poison.notes[0])
    K, _ = published_kernel(problem.graph, problem.labeled)
    assert abs(K.sum(axis=1) - 1.0).max() > 1e-3
    assert float(found[1]) == pytest.approx(K.sum(axis=1).min(), rel=1e-3)
    assert float(found[2]) == pytest.approx(K.sum(axis=1).max(), rel=1e-3)
    assert len(poison) <= 5
    assert np.isfinite(poison.objective).all()
    # The sound one is not touched by what voids the published one.
    assert attack.attack(problem, surrogate, 5).notes == ()


def test_a_singular_kernel_is_an_error():
    X = np.arange(8.0)[:, None] * 1e3
    problem = Problem(RBFGraph(X, 1.0), [0, 7], [0, 1], truth=[0, 0, 0, 0, 1, 1, 1, 1])
    with pytest.raises(NumericalError, match=r"exactly singular.*smaller gamma"):
        published_kernel(problem.graph, problem.labeled)


def test_what_has_nothing_to_replicate_is_refused(monkeypatch):
    problem, _ = digits()
    W = problem.graph.weights(np.arange(120), np.arange(120))
    dense = replace(problem, graph=DenseGraph(W))
    surrogate = Direct().fit(dense.graph, dense.labeled)
    with pytest.raises(InputError, match=r"DenseGraph has nothing to replicate.*corrected"):
        Probabilistic(preset="replication").attack(dense, surrogate, 3)
    assert len(Probabilistic().attack(dense, surrogate, 3)) == 3
    monkeypatch.setattr("gssl_poison.attacks.published.available_memory", lambda: 1000)
    with pytest.raises(InputError, match=r"inverts a dense matrix.*fewer points"):
        published_kernel(problem.graph, problem.labeled)


def test_more_classes_in_replication():
    problem, surrogate = digits(3)
    with pytest.raises(InputError, match="with 3 classes"):
        Threshold(preset="replication").attack(problem, surrogate, 3)
    for attack in ATTACKS[1:]:
        poison = replace(attack, preset="replication").attack(problem, surrogate, 3)
        for k in range(1, len(poison) + 1):
            # K is sound here, so that the victim's error is the objective.
            error = error_rate(surrogate, problem, poison.first(k))
            assert poison.objective[k - 1] == pytest.approx(error, abs=1e-15)


def test_new_classes_do_the_most_damage():
    problem, surrogate = digits(4)
    relaxed = Relaxed.start(Threshold(), problem, surrogate, 3)
    for j in range(problem.y.size):
        errors = np.full(4, -1.0)
        for c in range(4):
            if c != problem.y[j]:
                y = problem.y.copy()
                y[j] = c
                errors[c] = error_rate(surrogate, replace(problem, y=y))
        assert relaxed.new[j] == errors.argmax()
    assert begin(problem, surrogate, 3).n_flips == relaxed.task.n_flips


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (Threshold, {"preset": "fixed"}, "preset='fixed' is not known"),
        (Threshold, {"n_steps": 0}, "n_steps=0 is not a whole number; give at least 1"),
        (ThresholdSoft, {"n_steps": 2.5}, "n_steps=2.5"),
        (ThresholdSoft, {"step": 0.0}, "step=0.0 is out of range"),
        (ThresholdSoft, {"sharpness": -1.0}, "sharpness=-1.0 is out of range"),
        (Probabilistic, {"temperature": float("nan")}, "temperature=nan is out of range"),
        (Probabilistic, {"weight": -0.1}, "weight=-0.1 is out of range"),
        (Probabilistic, {"random_state": -1}, "random_state=-1"),
        (ProbabilisticSoft, {"step": True}, "step=True"),
    ],
)
def test_settings_are_checked(kind, settings, message):
    with pytest.raises(InputError, match=re.escape(message)):
        kind(**settings)


def test_steps_that_diverge_are_an_error():
    problem, surrogate = digits()
    with pytest.raises(NumericalError, match="use a smaller step"):
        ThresholdSoft(step=1e200).attack(problem, surrogate, 3)
