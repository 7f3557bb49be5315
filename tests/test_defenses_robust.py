"""Votes against trying all changes of labels, and the choice of alpha against refits."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pytest
from attack_problems import digits
from scipy.sparse import csr_array
from scipy.stats import trim_mean
from small_problems import first_of, poisonings, small_problem

from gssl_poison import (
    DenseGraph,
    Direct,
    Harmonic,
    InputError,
    InputTypeError,
    Problem,
    Propagation,
    RBFGraph,
    SparseGraph,
    Spreading,
)
from gssl_poison.defenses import robust
from gssl_poison.defenses._aggregate import NEVER, by_location, by_majority
from gssl_poison.defenses.robust import RULES, Vote, choose_alpha

VOTES = [
    Vote(n_parts=5, rule="median"),
    Vote(n_parts=4, rule="median"),
    Vote(n_parts=6, rule="trimmed", trim=0.2),
    Vote(n_parts=3, rule="trimmed", trim=0.0),
    Vote(n_parts=5, rule="majority"),
    Vote(n_parts=4, rule="majority"),
    Vote(n_parts=1, rule="median"),
]


def outcome(vote, values):
    """Return the predicted classes of shares, (heard parts, ..., c), as the rules say."""
    if len(values) == 0:
        return np.zeros(values.shape[1:-1], dtype=np.int64)
    if vote.rule == "majority":
        return first_of(np.eye(values.shape[-1])[first_of(values)].mean(axis=0))
    if vote.rule == "median":
        return first_of(np.median(values, axis=0))
    return first_of(trim_mean(values, vote.trim, axis=0))


def shares_of_parts(vote, problem):
    """Every part's share matrix at the unlabelled points, with the positions it is of."""
    result = []
    for part in vote.parts(problem.y.size):
        fitted = vote.propagator.fit(problem.graph, problem.labeled[part])
        result.append((part, fitted.shares(problem.unlabeled)))
    return result


@pytest.mark.parametrize("vote", VOTES, ids=repr)
@pytest.mark.parametrize("seed", [0, 3, 9, 12, 18, 21])
def test_no_change_of_fewer_labels_than_the_radius_changes_a_prediction(seed, vote):
    problem, victim, _ = small_problem(seed)
    some = problem.unlabeled[:12]
    keep = np.sort(np.concatenate([problem.labeled[:7], some]))
    labeled = np.searchsorted(keep, problem.labeled[:7])
    graph = RBFGraph(problem.graph.X[keep], problem.graph.gamma)
    c = problem.n_classes
    problem = Problem(graph, labeled, problem.y[:7], n_classes=c)
    vote = replace(vote, propagator=victim.propagator)
    voted, parts = vote.predict(problem), shares_of_parts(vote, problem)
    turned = np.full(some.size, 8)
    for size, labels in poisonings(problem.y, c, 5 if c == 2 else 3):
        one_hot = np.eye(c)[labels]
        values = [np.einsum("ul,blc->buc", S, one_hot[:, part]) for part, S in parts]
        changed = (outcome(vote, np.stack(values)) != voted.predicted).any(axis=0)
        assert size > 0 or not changed.any()
        turned[changed] = np.minimum(turned[changed], size)
    assert (turned >= np.minimum(voted.radius, 8)).all()
    assert (voted.radius >= 1).all()
    np.testing.assert_array_equal(voted.heard, vote.n_parts)


@pytest.mark.parametrize("rule", RULES)
def test_with_one_label_a_part_the_radius_is_exact(rule):
    for seed in (0, 1, 2, 5):
        problem = small_problem(seed)[0]
        # Edges to a few labels: parts are silent at many points.
        rng = np.random.default_rng(seed)
        W = np.zeros((17, 17))
        W[7:, :7] = rng.random((10, 7)) < 0.6
        W[16] = 0.0
        problem = Problem(DenseGraph(W), np.arange(7), rng.integers(0, 2, 7), n_classes=2)
        vote = Vote(n_parts=7, rule=rule, trim=0.3)
        voted = vote.predict(problem)
        turned = np.full(10, 8)
        heard = W[7:, :7] > 0
        for size, labels in poisonings(problem.y, 2, 7):
            values = np.eye(2)[labels.T]
            for i in range(10):
                changed = (outcome(vote, values[heard[i]]) != voted.predicted[i]).any()
                assert size > 0 or not changed
                turned[i] = min(turned[i], size) if changed else turned[i]
        np.testing.assert_array_equal(voted.radius, turned)
        np.testing.assert_array_equal(voted.heard, heard.sum(axis=1))
        assert (voted.heard[9], voted.predicted[9], voted.radius[9]) == (0, 0, 8)
        np.testing.assert_array_equal(voted.scores[9], 0.0)


def fewest_parts(vote, mine):
    """Set every subset of the parts, (h, c), to whole votes; the least that turns the outcome."""
    h, c = mine.shape
    for size in range(1, h + 1):
        new = np.eye(c)[np.array(list(product(range(c), repeat=size)))]
        for chosen in combinations(range(h), size):
            changed = np.repeat(mine[:, None], len(new), axis=1)
            changed[list(chosen)] = new.swapaxes(0, 1)
            if (outcome(vote, changed) != outcome(vote, mine)).any():
                return size
    return NEVER


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("m", [1, 2, 5, 6])
def test_a_majority_is_turned_by_so_many_parts_and_no_fewer(m, n_classes):
    ballots = np.array(list(product(range(-1, n_classes), repeat=m))).T
    vote = Vote(rule="majority")
    scores, predicted, parts = by_majority(ballots, n_classes)

    for column in range(0, ballots.shape[1], 1 if m < 5 else 13):
        ballot = ballots[:, column]
        heard = np.flatnonzero(ballot >= 0)
        mine = np.eye(n_classes)[ballot[heard]]
        assert predicted[column] == outcome(vote, mine)
        np.testing.assert_allclose(scores[column], mine.sum(axis=0) / max(heard.size, 1))
        assert parts[column] == fewest_parts(vote, mine)


@pytest.mark.parametrize("trim", [None, 0.0, 0.2, 0.34, 0.49])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_mean_is_turned_by_no_fewer_parts_and_of_two_classes_by_so_many(n_classes, trim):
    rng = np.random.default_rng(1)
    vote = Vote(rule="median") if trim is None else Vote(rule="trimmed", trim=trim)
    tight = 0
    for m in (1, 2, 3, 4, 5, 6):
        values = rng.dirichlet(np.ones(n_classes), size=(m, 25))
        # Whole quarters, so that much ties.
        values[:, :15] = rng.multinomial(4, np.ones(n_classes) / n_classes, size=(m, 15)) / 4
        heard = rng.random((m, 25)) < 0.8
        values[~heard] = 0.0
        scores, predicted, parts = by_location(values, heard, trim)
        for i in range(25):
            mine = values[heard[:, i], i]
            assert predicted[i] == outcome(vote, mine)
            if len(mine):
                middle = np.median(mine, axis=0) if trim is None else trim_mean(mine, trim)
                np.testing.assert_allclose(scores[i], middle, atol=1e-12)
            fewest = fewest_parts(vote, mine)
            if n_classes == 2:
                assert parts[i] == fewest
            assert parts[i] <= fewest
            tight += parts[i] == fewest
    assert tight > 90


def test_a_vote_is_made_of_its_parts():
    problem = digits(3, n=180)
    for propagator in (Direct(), Propagation(3), Harmonic(), Spreading(0.9)):
        vote = Vote(propagator, n_parts=7, rule="trimmed", trim=0.2)
        voted = vote.predict(problem)
        values = [S @ np.eye(3)[problem.y[part]] for part, S in shares_of_parts(vote, problem)]
        np.testing.assert_allclose(voted.scores, trim_mean(values, 0.2), atol=1e-9)
        np.testing.assert_array_equal(voted.unlabeled, problem.unlabeled)
        assert f"Vote(propagator={propagator}" in voted.holds_for
        assert voted.n_labeled == 30


def test_parts_are_a_seeded_partition():
    for n_parts, n_labeled in ((1, 1), (3, 10), (15, 15), (15, 50)):
        parts = Vote(n_parts=n_parts).parts(n_labeled)
        np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(n_labeled))
        assert len(parts) == n_parts
        assert {len(part) for part in parts} <= {n_labeled // n_parts, n_labeled // n_parts + 1}
    first, again = Vote(n_parts=5).parts(40), Vote(n_parts=5).parts(40)
    other = Vote(n_parts=5, random_state=1).parts(40)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_a_vote_holds_what_it_certifies_on_digits():
    problem = digits(2, n=360)
    voted = Vote().predict(problem)
    wrong = voted.predicted != problem.truth[problem.unlabeled]
    assert voted.error(problem) == wrong.mean() < 0.02
    for k in (0, 1, 3, 8, 60, 61):
        assert voted.certified(k) == (voted.radius > k).mean()
        assert voted.certified_accuracy(problem, k) == (~wrong & (voted.radius > k)).mean()
    assert voted.certified(0) == 1.0
    assert voted.certified(3) > 0.9
    assert voted.certified(8) == 0.0
    y = problem.y.copy()
    y[[4, 17, 30]] = 1 - y[[4, 17, 30]]
    again = Vote().predict(replace(problem, y=y))
    kept = voted.radius > 3
    np.testing.assert_array_equal(again.predicted[kept], voted.predicted[kept])


def test_parts_that_do_not_reach_a_point_are_silent():
    # Two components; the second has one label, and so one part that is heard there.
    W = np.zeros((12, 12))
    for i, j in [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (8, 9), (9, 10)]:
        W[i, j] = W[j, i] = 1.0
    y = np.array([0, 0, 0, 1])
    for graph in (DenseGraph(W), SparseGraph(csr_array(W))):
        problem = Problem(graph, [0, 2, 4, 8], y)
        for rule in RULES:
            voted = Vote(Harmonic(), n_parts=4, rule=rule).predict(problem)
            np.testing.assert_array_equal(problem.unlabeled, [1, 3, 5, 6, 7, 9, 10, 11])
            np.testing.assert_array_equal(voted.heard, [3, 3, 3, 0, 0, 1, 1, 0])
            np.testing.assert_array_equal(voted.predicted, [0, 0, 0, 0, 0, 1, 1, 0])
            np.testing.assert_array_equal(voted.radius, [2, 2, 2, 5, 5, 1, 1, 5])


def test_one_class_cannot_be_turned():
    problem = Problem(RBFGraph(np.arange(9.0)[:, None], 1.0), np.arange(5), np.zeros(5, dtype=int))
    for rule in RULES:
        voted = Vote(n_parts=3, rule=rule).predict(problem)
        assert (voted.radius == 6).all()
        assert (voted.predicted == 0).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_parts": 0}, "n_parts=0 is not a whole number; give at least 1"),
        ({"n_parts": 2.5}, r"n_parts=2\.5"),
        ({"rule": "mean"}, "rule='mean' is not known; use one of median, trimmed, majority"),
        ({"trim": 0.5}, r"trim=0\.5 is out of range; give a number from 0 to 0\.5, 0\.5 excluded"),
        ({"trim": -0.1}, r"trim=-0\.1"),
        ({"trim": float("nan")}, "trim=nan"),
        ({"random_state": -1}, "random_state=-1"),
    ],
)
def test_settings_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        Vote(**settings)


def test_wrong_inputs_are_refused(monkeypatch):
    problem = digits(2)
    fitted = Direct().fit(problem.graph, problem.labeled)
    for propagator in (fitted, "direct"):
        with pytest.raises(InputTypeError, match="is no propagator; give one such as Direct"):
            Vote(propagator)
    with pytest.raises(InputError, match="n_parts=16 is more than the 15 labels"):
        Vote(n_parts=16).predict(problem)
    voted = Vote(n_parts=15).predict(problem)
    for k in (-1, 1.5, True):
        with pytest.raises(InputError, match="k="):
            voted.certified(k)
        with pytest.raises(InputError, match="k="):
            voted.certified_accuracy(problem, k)
    with pytest.raises(InputError, match="without the truth"):
        voted.error(replace(problem, truth=None))
    with pytest.raises(InputError, match="pass the problem that was voted on"):
        voted.error(digits(2, n=60))
    with pytest.raises(ValueError, match="read-only"):
        voted.radius[0] = 9
    monkeypatch.setattr(robust, "available_memory", lambda: 10_000)
    with pytest.raises(InputError, match="fewer parts or points"):
        Vote(n_parts=15).predict(problem)


def hub():
    """A label next to a wrong one, which many right ones reach through an unlabelled point."""
    W = np.zeros((23, 23))
    W[0, 1], W[0, 22], W[2:22, 22] = 0.3, 1.0, 1.0
    y = np.zeros(22, dtype=np.int64)
    y[1] = 1
    return Problem(SparseGraph(csr_array(W + W.T)), np.arange(22), y)


@pytest.mark.parametrize("problem", [hub(), small_problem(1)[0], small_problem(4)[0]])
def test_alpha_is_chosen_by_refits_without_each_label(problem):
    agreement = []
    for alpha in (0.2, 0.9):
        right = 0
        for j, point in enumerate(problem.labeled):
            rest = np.delete(np.arange(problem.y.size), j)
            fitted = Spreading(alpha).fit(problem.graph, problem.labeled[rest])
            votes = fitted.shares([point])[0] @ np.eye(problem.n_classes)[problem.y[rest]]
            # A tie is no disagreement.
            right += votes[problem.y[j]] >= votes.max()
        agreement.append(right / problem.y.size)
    choice = choose_alpha(problem, (0.9, 0.2, 0.9))
    assert choice.alphas == (0.2, 0.9)
    assert choice.agreement == pytest.approx(agreement)
    assert choice.alpha == choice.alphas[int(np.argmax(agreement))]
    assert choice.alpha == (0.9 if problem.y.size == 22 else 0.2)
    assert choice == choose_alpha(replace(problem, truth=None), (0.2, 0.9))


def test_labels_that_hear_nobody_do_not_agree():
    W = np.zeros((8, 8))
    for i, j, w in [(0, 1, 1.0), (1, 2, 1.0), (3, 4, 1.0), (5, 6, 2.0)]:
        W[i, j] = W[j, i] = w
    graph = SparseGraph(csr_array(W))
    choice = choose_alpha(Problem(graph, [0, 2, 3, 5], [0, 1, 0, 0]), (0.5,))
    assert choice.agreement == (0.0,)
    with pytest.raises(InputError, match="no label hears another"):
        choose_alpha(Problem(graph, [0, 3], [0, 1]), (0.5,))
    problem = Problem(graph, [0, 2], [0, 1])
    with pytest.raises(InputError, match="alphas is empty"):
        choose_alpha(problem, ())
    with pytest.raises(InputError, match=r"alpha=1\.0 must lie between"):
        choose_alpha(problem, (0.5, 1.0))
