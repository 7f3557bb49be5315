"""MNIST 1 against 7 at gamma 5, in full: the clean errors that every later figure starts from."""

from __future__ import annotations

import numpy as np
import pytest

import gssl_poison as gp
from gssl_poison.labels import split_labels

GAMMA = 5.0


@pytest.fixture(scope="module")
def mnist(data_dir):
    """Give points, labels and truth at a label rate."""

    def at(part):
        data = gp.load_dataset("mnist-1-7", labeled=part)
        labels = split_labels(data.y, len(data.X))
        return data.X, labels, np.searchsorted(np.array(labels.classes), np.asarray(data.truth))

    return at


def percent_wrong(predicted, labels, truth):
    return 100.0 * np.mean((predicted != truth)[labels.unlabeled])


@pytest.mark.parametrize(("part", "percent"), [(0.05, 1.246), (0.25, 0.574)])
def test_one_step_has_the_clean_error_of_the_paper(mnist, part, percent):
    X, labels, truth = mnist(part)
    fitted = gp.Direct().fit(gp.RBFGraph(X, GAMMA), labels.labeled)
    F = fitted.apply(np.eye(2)[labels.codes])
    assert percent_wrong(F.argmax(axis=1), labels, truth) == pytest.approx(percent, abs=5e-4)


def test_single_precision_has_it_too_where_scikit_learn_in_float32_has_not(mnist):
    """Many a point has no weight to a label that float32 can tell from 0."""
    X, labels, truth = mnist(0.05)
    y = np.full(len(X), -1)
    y[labels.labeled] = labels.codes
    single, double = (
        gp.LabelPropagation(gamma=GAMMA, max_iter=10, precision=p).fit(X, y)
        for p in ("single", "double")
    )
    np.testing.assert_array_equal(single.transduction_, double.transduction_)
    assert percent_wrong(single.transduction_, labels, truth) == pytest.approx(1.246, abs=5e-4)
    nearest = gp.Direct().fit(gp.RBFGraph(X, GAMMA), labels.labeled)
    weights = nearest.graph.weights(labels.unlabeled[::25], labels.labeled)
    assert (weights.astype(np.float32) == 0.0).all(axis=1).mean() > 0.1


def test_the_harmonic_solution_is_right_where_the_inverse_is_noise(mnist):
    X, labels, truth = mnist(0.05)
    fitted = gp.Harmonic().fit(gp.RBFGraph(X, GAMMA), labels.labeled)
    F = fitted.apply(np.eye(2)[labels.codes])
    assert fitted.method == "gth"
    assert fitted.residual < 1e-11
    np.testing.assert_allclose(F.sum(axis=1), 1.0, rtol=1e-12)
    assert percent_wrong(F.argmax(axis=1), labels, truth) == pytest.approx(0.882, abs=5e-4)


@pytest.mark.parametrize(
    ("part", "percent"),
    [
        (0.05, [16.22, 27.05, 35.85, 43.98]),
        (0.25, [17.47, 29.93, 40.26, 48.87]),
    ],
)
def test_mir_of_the_replication_makes_the_errors_of_the_paper(mnist, part, percent):
    """Ties of MIR are broken in the order in which the labelled points were drawn."""
    X, labels, truth = mnist(part)
    drawn = np.random.RandomState(2020).permutation(len(X))[: labels.labeled.size]
    problem = gp.Problem(gp.RBFGraph(X, GAMMA), drawn, truth[drawn], truth)
    victim = gp.Direct().fit(problem.graph, drawn).stored()
    attack = gp.attacks.make_attack("mir", preset="replication")
    poison = attack.attack(problem, victim, 0.2)
    for budget, expected in zip((0.05, 0.1, 0.15, 0.2), percent, strict=True):
        flips = poison.first(gp.problem.count_flips(budget, drawn.size))
        error = 100.0 * gp.error_rate(victim, problem, flips)
        assert error == pytest.approx(expected, abs=0.01)
