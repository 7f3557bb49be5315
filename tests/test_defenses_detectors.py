"""Detectors against their definitions, written out; and the figures that say how good they are."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import combinations, permutations, product

import numpy as np
import pytest
from attack_problems import digits
from scipy.sparse import csr_array
from scipy.stats import chi2_contingency, fisher_exact, hypergeom, norm
from sklearn.metrics import f1_score, precision_score, recall_score
from small_problems import small_problem

from gssl_poison import (
    DenseGraph,
    Direct,
    InputError,
    InputTypeError,
    Problem,
    RBFGraph,
    SparseGraph,
)
from gssl_poison.defenses import neighbours
from gssl_poison.defenses.detection import best_threshold, detection_figures
from gssl_poison.defenses.distribution import (
    ClassShift,
    Source,
    SourceDominance,
    compare_classes,
)
from gssl_poison.defenses.neighbours import KNNSanitization, KNNShapley
from gssl_poison.defenses.opinions import against, told

SEEDS = range(30)


def fit(problem):
    return Direct().fit(problem.graph, problem.labeled)


def linked(problem):
    """The other labelled positions at each of them, nearest first, ties by position; by loops."""
    l, graph = problem.y.size, problem.graph  # noqa: E741
    result = []
    for j in range(l):
        if isinstance(graph, RBFGraph):
            # Features are whole numbers here, or random: squares are exact, or do not tie.
            gaps = graph.X[problem.labeled].astype(float) - graph.X[problem.labeled[j]]
            far = (gaps**2).sum(axis=1)
        else:
            far = -graph.log_weights([problem.labeled[j]], problem.labeled)[0]
        others = [k for k in range(l) if k != j and far[k] < np.inf]
        result.append(sorted(others, key=lambda k: (far[k], k)))
    return result


def sparse_problem(n_classes=3):
    """A directed graph with few edges among the labels, one label without any."""
    rng = np.random.default_rng(8)
    W = np.where(rng.random((30, 30)) < 0.25, rng.integers(1, 4, (30, 30)) / 4.0, 0.0)
    W[5] = 0.0
    W[5, 25:] = 1.0
    return Problem(SparseGraph(csr_array(W)), np.arange(20), rng.integers(0, n_classes, 20))


def dense_problem():
    rng = np.random.default_rng(9)
    graph = DenseGraph(rng.integers(0, 4, (18, 18)).astype(float))
    return Problem(graph, rng.permutation(18)[:12], rng.integers(0, 4, 12), n_classes=4)


def problems():
    return [small_problem(seed)[0] for seed in SEEDS] + [sparse_problem(), dense_problem()]


def sanitized(problem, n_neighbors, eta):
    """What Paudice et al. do, by counting."""
    y, scores = problem.y.copy(), []
    for j, near in enumerate(linked(problem)):
        voters = [int(problem.y[k]) for k in near[:n_neighbors]]
        share = [Fraction(voters.count(c), max(len(voters), 1)) for c in range(problem.n_classes)]
        own = int(problem.y[j])
        best, said = max((share[c], -c) for c in range(problem.n_classes) if c != own)
        changes = best > share[own] and best >= Fraction(str(eta))
        if changes:
            y[j] = -said
        scores.append(float((best + changes) / 2))
    return y, scores


@pytest.mark.parametrize(("n_neighbors", "eta"), [(1, 0.5), (3, 0.0), (4, 0.5), (5, 0.6), (30, 1)])
def test_sanitisation_is_the_vote_of_the_nearest(n_neighbors, eta):
    detector, changed = KNNSanitization(n_neighbors, eta), 0
    for problem in problems():
        y, scores = sanitized(problem, n_neighbors, eta)
        before = problem.y.copy()
        cleaned = detector.relabel(problem, fit(problem))
        np.testing.assert_array_equal(cleaned.y, y)
        np.testing.assert_array_equal(problem.y, before)
        assert (cleaned.n_classes, cleaned.classes) == (problem.n_classes, problem.classes)
        np.testing.assert_allclose(detector.score(problem, fit(problem)), scores, rtol=1e-12)
        flagged = detector.is_poisoned(problem, fit(problem))
        np.testing.assert_array_equal(flagged, y != problem.y)
        changed += flagged.sum()
    assert changed > 0


def test_a_tie_keeps_the_label_and_eta_is_reached_by_equality():
    # Point 0 is labelled 0; its four neighbours vote as listed, ten points cannot be reached.
    for votes, eta, expected in (
        ([0, 0, 1, 1], 0.5, 0),
        ([0, 1, 1, 1], 0.75, 1),
        ([0, 1, 1, 1], 0.76, 0),
        ([1, 1, 2, 2], 0.5, 1),
        ([2, 2, 2, 1], 0.5, 2),
        ([0, 1, 2, 2], 0.5, 2),
        ([0, 1, 2, 2], 0.6, 0),
    ):
        W = np.zeros((6, 6))
        W[0, 1:5] = 1.0
        problem = Problem(DenseGraph(W), np.arange(5), np.array([0, *votes]), n_classes=3)
        detector = KNNSanitization(4, eta)
        assert detector.relabel(problem, fit(problem)).y[0] == expected
        assert detector.is_poisoned(problem, fit(problem))[0] == (expected != 0)
        # Those that hear nobody keep their labels, with the lowest score.
        np.testing.assert_array_equal(detector.score(problem, fit(problem))[1:], 0.0)


def test_distances_that_products_round_apart_tie():
    # A point in the middle of a circle of others, far from the origin.
    angle = np.arange(12) * (np.pi / 6)
    X = np.concatenate([[[0.0, 0.0]], np.stack([np.cos(angle), np.sin(angle)], 1), [[9.0, 9.0]]])
    for y in ([0, 1, 1, 1] + [0] * 9, [0] * 10 + [1, 1, 1]):
        problem = Problem(RBFGraph(1000.0 + 0.1 * X, 1.0), np.arange(13), y)
        assert KNNSanitization(3).relabel(problem, fit(problem)).y[0] == y[1]


def test_blocks_change_nothing(monkeypatch):
    problem = small_problem(11)[0]
    detectors = (KNNSanitization(3), KNNShapley(3))
    whole = [d.score(problem, fit(problem)) for d in detectors]
    monkeypatch.setattr(neighbours, "_BLOCK", 3 * problem.y.size)
    for detector, expected in zip(detectors, whole, strict=True):
        np.testing.assert_allclose(detector.score(problem, fit(problem)), expected, rtol=1e-12)


def worth(problem, near, subset, n_neighbors):
    """What a set of labels is worth to nearest-neighbour prediction of all labelled points."""
    total = Fraction(0)
    for j in range(problem.y.size):
        voters = [k for k in near[j] if k in subset][:n_neighbors]
        total += Fraction(sum(int(problem.y[k] == problem.y[j]) for k in voters), n_neighbors)
    return total / problem.y.size


@pytest.mark.parametrize("n_neighbors", [1, 2, 3, 10])
def test_shapley_values_are_those_of_all_subsets(n_neighbors):
    for seed in range(6):
        full = sparse_problem(2) if seed == 5 else small_problem(seed)[0]
        chosen = full.labeled[: 5 + seed % 3]
        problem = Problem(full.graph, chosen, full.y[: chosen.size], n_classes=full.n_classes)
        near, l = linked(problem), problem.y.size  # noqa: E741
        expected = []
        for i in range(l):
            others = [k for k in range(l) if k != i]
            value = Fraction(0)
            for size in range(l):
                part = Fraction(1, l * math.comb(l - 1, size))
                for subset in map(set, combinations(others, size)):
                    gain = worth(problem, near, subset | {i}, n_neighbors)
                    value += part * (gain - worth(problem, near, subset, n_neighbors))
            expected.append(-float(value))
        score = KNNShapley(n_neighbors).score(problem, fit(problem))
        np.testing.assert_allclose(score, expected, atol=1e-12)


def test_shapley_values_sum_to_the_votes_for_the_right_class():
    for problem in problems():
        near = linked(problem)
        everyone = set(range(problem.y.size))
        score = KNNShapley(4).score(problem, fit(problem))
        assert score.sum() == pytest.approx(-float(worth(problem, near, everyone, 4)), abs=1e-12)
        assert not np.signbit(score[score == 0.0]).any()


def test_neighbours_find_flipped_digits():
    problem = digits(10, n=600, gamma=0.5)
    flipped = np.arange(0, problem.y.size, 9)
    y = problem.y.copy()
    y[flipped] = (y[flipped] + 1) % 10
    wrong = y != problem.y
    poisoned = Problem(problem.graph, problem.labeled, y, n_classes=10)
    for detector, least in ((KNNSanitization(5), 0.9), (KNNShapley(5), 0.85)):
        score = detector.score(poisoned, fit(problem))
        assert detection_figures(score, wrong, 10, 0.5).auc > least


def test_one_label_has_nobody_to_contradict_it():
    problem = Problem(RBFGraph(np.array([[0.0], [1.0]]), 1.0), [1], [0], n_classes=2)
    for detector in (KNNSanitization(), KNNShapley(), SourceDominance(["a"])):
        assert detector.score(problem, fit(problem)).tolist() == [0.0]
        assert not detector.is_poisoned(problem, fit(problem)).any()
    assert KNNSanitization().relabel(problem, fit(problem)).y.tolist() == [0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: KNNSanitization(0), "n_neighbors=0 is not a whole number; give at least 1"),
        (lambda: KNNSanitization(2.0), r"n_neighbors=2\.0"),
        (lambda: KNNSanitization(True), "n_neighbors=True"),
        (
            lambda: KNNSanitization(eta=1.01),
            r"eta=1\.01 is out of range; give a number from 0 to 1",
        ),
        (lambda: KNNSanitization(eta=-0.1), r"eta=-0\.1"),
        (lambda: KNNSanitization(eta=float("nan")), "eta=nan"),
        (lambda: KNNSanitization(eta="half"), "eta='half'"),
        (lambda: KNNSanitization(eta=True), "eta=True"),
        (lambda: KNNShapley(-1), "n_neighbors=-1"),
        (lambda: SourceDominance(["a", ""]), r"provenance\[1\] is ''"),
        (lambda: SourceDominance(["a", None]), r"provenance\[1\] is None"),
        (lambda: SourceDominance([1.5]), r"provenance\[0\] is 1\.5"),
        (lambda: SourceDominance([True]), r"provenance\[0\] is True"),
    ],
)
def test_settings_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize("provenance", ["ab", None, 3])
def test_provenance_must_be_a_sequence(provenance):
    with pytest.raises(InputTypeError, match="give a sequence"):
        SourceDominance(provenance)


@pytest.mark.parametrize(
    "detector", [KNNSanitization(), KNNShapley(), ClassShift(), SourceDominance(["a"] * 15)]
)
def test_every_detector_checks_the_propagator_and_the_threshold(detector):
    problem = digits(3)
    prop = fit(problem)
    score = detector.score(problem, prop)
    assert score.shape == problem.y.shape
    assert score.dtype == np.float64
    natural = detector.is_poisoned(problem, prop)
    np.testing.assert_array_equal(natural, score > detector.threshold)
    middle = float(np.median(score))
    np.testing.assert_array_equal(detector.is_poisoned(problem, prop, middle), score > middle)
    with pytest.raises(InputError, match="threshold is NaN"):
        detector.is_poisoned(problem, prop, float("nan"))
    other = Direct().fit(problem.graph, problem.labeled[::-1])
    with pytest.raises(InputError, match="another order"):
        detector.score(problem, other)


def test_the_shift_of_a_class_is_pearsons_statistic():
    for seed in SEEDS:
        problem, victim, _ = small_problem(seed)
        shares = compare_classes(problem, victim)
        c = problem.n_classes
        scores = victim.shares() @ np.eye(c)[problem.y]
        predicted = np.bincount(scores.argmax(axis=1), minlength=c)
        np.testing.assert_array_equal(shares.labels, np.bincount(problem.y, minlength=c))
        np.testing.assert_array_equal(shares.predicted, predicted)
        l, u = problem.y.size, problem.unlabeled.size  # noqa: E741
        for k in range(c):
            a, b = shares.labels[k], shares.predicted[k]
            z = shares.residual[k]
            if 0 < a + b < l + u:
                table = [[a, l - a], [b, u - b]]
                statistic = chi2_contingency(table, correction=False).statistic
                assert z**2 == pytest.approx(statistic, abs=1e-9)
                assert np.sign(z) == np.sign(a / l - b / u)
            else:
                assert z == 0.0
        score = ClassShift().score(problem, victim)
        np.testing.assert_array_equal(score, shares.residual[problem.y])


def test_points_that_no_label_reaches_are_no_prediction():
    W = np.zeros((8, 8))
    W[0, 2] = W[2, 0] = W[1, 3] = W[3, 1] = 1.0
    problem = Problem(DenseGraph(W), [0, 1], [1, 1], n_classes=2)
    shares = compare_classes(problem, fit(problem))
    assert shares.predicted.tolist() == [0, 2]
    alone = Problem(DenseGraph(np.zeros((8, 8))), [0, 1], [0, 1])
    shares = compare_classes(alone, fit(alone))
    assert shares.predicted.tolist() == [0, 0]
    assert shares.residual.tolist() == [0.0, 0.0]


def test_a_favoured_class_is_found_until_it_wins():
    X = np.repeat([0.0, 1.0], [200, 200])[:, None]
    for n_flipped, predicted, sign in ((0, [160, 160], 0), (18, [160, 160], 1), (21, [0, 320], -1)):
        y = np.repeat([0, 1], 40)
        y[:n_flipped] = 1
        poisoned = Problem(RBFGraph(X, 50.0), np.arange(0, 400, 5), y)
        shares = compare_classes(poisoned, fit(poisoned))
        assert shares.predicted.tolist() == predicted
        assert np.sign(shares.residual[1]) == sign
        flagged = ClassShift().is_poisoned(poisoned, fit(poisoned))
        np.testing.assert_array_equal(flagged, y == (sign + 1) // 2 if sign else np.zeros(80))


def signed(at_least, at_most):
    """The normal quantile of the smaller tail, where it is below one half."""
    if at_least < 0.5:
        return norm.isf(at_least)
    return norm.ppf(at_most) if at_most < 0.5 else 0.0


def named(seed, problem, n_sources=4):
    return [f"s{k}" for k in np.random.default_rng(seed).integers(0, n_sources, problem.y.size)]


def test_a_source_is_compared_within_what_is_said():
    for problem in [*(small_problem(seed)[0] for seed in SEEDS), sparse_problem()]:
        names = named(3, problem)
        prop = fit(problem)
        opinions = told(problem, prop)
        _, said = against(opinions, problem.y, problem.n_classes)
        heard = opinions.sum(axis=1) > 0
        found = {s.name: s for s in SourceDominance(names).sources(problem, prop)}
        assert set(found) == set(names)
        for name, source in found.items():
            mine = np.array([n == name for n in names])
            chance, d = np.ones(1), 0
            for a in range(problem.n_classes):
                stratum = heard & (said == a)
                if not stratum.any():
                    continue
                wrong = stratum & (problem.y != a)
                counts = np.arange((stratum & mine).sum() + 1)
                d += (wrong & mine).sum()
                pmf = hypergeom(stratum.sum(), wrong.sum(), (stratum & mine).sum()).pmf(counts)
                # What many have is counted by hand: all ways for two strata to add up to it.
                both = np.zeros(chance.size + counts.size - 1)
                for i, j in product(range(chance.size), counts):
                    both[i + j] += chance[i] * pmf[j]
                chance = both
            z = signed(chance[d:].sum(), chance[: d + 1].sum())
            assert source.z == pytest.approx(z, abs=1e-9)
            assert source.contradicted == d
            assert source.labels == mine.sum()
        score = SourceDominance(names).score(problem, prop)
        assert score.tolist() == [found[name].z for name in names]
        order = [s.z for s in SourceDominance(names).sources(problem, prop)]
        assert order == sorted(order, reverse=True)


def test_in_one_stratum_it_is_fishers_exact_test():
    # One class is said everywhere: the others' labels are 1 wherever a point has a neighbour.
    X = np.zeros((41, 1))
    y = np.repeat([0, 1], [10, 30])
    problem = Problem(RBFGraph(X, 1.0), np.arange(40), y)
    names = ["a"] * 7 + ["b"] * 3 + ["a"] * 5 + ["b"] * 25
    first, second = SourceDominance(names).sources(problem, fit(problem))
    table = [[7, 5], [3, 25]]
    p = fisher_exact(table, alternative="greater").pvalue
    assert (first.name, first.labels, first.contradicted) == ("a", 12, 7)
    assert first.z == pytest.approx(norm.isf(p)) == pytest.approx(-second.z)


def test_labels_that_hear_nobody_are_no_evidence():
    # Twelve labels that hear one another, and as many without an edge.
    W = np.zeros((25, 25))
    W[:12, :12] = 1.0
    y = np.array([1] * 3 + [0] * 9 + [0] * 12)
    names = ["a"] * 3 + ["b"] * 9
    found = {}
    for source in ("a", "b"):
        problem = Problem(DenseGraph(W), np.arange(24), y)
        detector = SourceDominance(names + [source] * 12)
        found[source] = [
            (s.name, s.contradicted, s.z) for s in detector.sources(problem, fit(problem))
        ]
    p = fisher_exact([[3, 0], [0, 9]], alternative="greater").pvalue
    assert found["a"] == found["b"]
    assert found["a"] == [
        ("a", 3, pytest.approx(norm.isf(p))),
        ("b", 0, pytest.approx(-norm.isf(p))),
    ]


def test_evidence_may_be_as_large_as_float64_holds():
    X = np.zeros((4001, 1))
    y = np.repeat([0, 1], [1000, 3000])
    problem = Problem(RBFGraph(X, 1.0), np.arange(4000), y)
    names = ["a"] * 1000 + ["b"] * 3000
    z = [s.z for s in SourceDominance(names).sources(problem, fit(problem))]
    assert z == [pytest.approx(37.5, abs=1), pytest.approx(-37.5, abs=1)]


def test_chance_is_that_of_names_dealt_out_at_random():
    problem = small_problem(18)[0]
    chosen = problem.labeled[:7]
    problem = Problem(problem.graph, chosen, problem.y[:7], n_classes=problem.n_classes)
    prop = fit(problem)
    _, said = against(told(problem, prop), problem.y, problem.n_classes)
    wrong = said != problem.y
    assert 0 < wrong.sum() < 7
    strata = [np.flatnonzero(said == a) for a in np.unique(said)]
    names = np.array(list("aabbaba"))
    counts = []
    for order in permutations(range(7)):
        moved = np.array(order)
        if all(set(moved[part]) == set(part) for part in strata):
            counts.append((wrong & (names[moved] == "a")).sum())
    counts = np.array(counts)
    for name in "ab":
        dealt = counts if name == "a" else wrong.sum() - counts
        d = (wrong & (names == name)).sum()
        found = {s.name: s.z for s in SourceDominance(names).sources(problem, prop)}
        assert found[name] == pytest.approx(signed((dealt >= d).mean(), (dealt <= d).mean()))


def test_few_honest_sources_are_suspected():
    rng = np.random.default_rng(2)
    X = np.zeros((401, 1))
    y = np.repeat([0, 1], [12, 388])
    problem = Problem(RBFGraph(X, 1.0), np.arange(400), y)
    prop = fit(problem)
    z = []
    for _ in range(40):
        detector = SourceDominance(rng.integers(0, 25, 400).tolist())
        z += [s.z for s in detector.sources(problem, prop)]
    assert np.mean(np.array(z) > 2.0) <= 0.0228
    assert np.mean(np.array(z) > 3.0) <= 0.0014


def test_a_source_that_lies_is_found_and_the_honest_are_not():
    problem = digits(3, n=480, gamma=0.5)
    names = np.array(["ann", "bob", "eve", "kim"] * 20)
    y = problem.y.copy()
    lies = np.flatnonzero(names == "eve")[::2]
    y[lies] = (y[lies] + 1) % 3
    poisoned = Problem(problem.graph, problem.labeled, y, n_classes=3)
    detector = SourceDominance(names)
    found = detector.sources(poisoned, fit(poisoned))
    assert [s.name for s in found if s.z > 3] == ["eve"]
    np.testing.assert_array_equal(detector.is_poisoned(poisoned, fit(poisoned)), names == "eve")
    assert detector == SourceDominance(tuple(names))


def test_a_source_dominates_a_class_that_it_alone_gave():
    y = np.repeat([0, 1], 20)
    problem = Problem(RBFGraph(np.arange(41.0)[:, None], 1.0), np.arange(40), y, classes=("a", "b"))

    def dominated(names):
        found = SourceDominance(names).sources(problem, fit(problem))
        return {s.name: s.dominates for s in found if s.dominates}

    assert dominated(["x"] * 20 + ["y"] * 20) == {"x": ("a",), "y": ("b",)}
    # Most of a class, but no more than of the rest.
    assert dominated(["x"] * 15 + ["y"] * 5 + ["x"] * 15 + ["y"] * 5) == {}
    # Far more than of the rest, but no more than half of a class.
    assert dominated(["x"] * 10 + ["y"] * 30) == {"y": ("b",)}
    assert dominated(["x"] * 11 + ["y"] * 29) == {"x": ("a",), "y": ("b",)}
    assert dominated(["x"] * 40) == {}


def test_provenance_has_one_name_a_label():
    problem = digits(2)
    for names in (["a"] * 14, ["a"] * 16):
        with pytest.raises(InputError, match=f"names {len(names)} sources, and there are 15 label"):
            SourceDominance(names).score(problem, fit(problem))
    whole = SourceDominance(list(range(15)))
    assert {s.name for s in whole.sources(problem, fit(problem))} == set(map(str, range(15)))
    assert Source("a", 1, 0, 0.0).dominates == ()


def scored(seed):
    rng = np.random.default_rng(seed)
    size = int(rng.integers(2, 25))
    wrong = rng.random(size) < 0.4
    wrong[0] = True
    # Few values: many ties.
    return rng.integers(0, 6, size) / 4.0 + wrong * rng.integers(0, 2), wrong


@pytest.mark.parametrize("seed", range(40))
def test_the_best_threshold_is_the_best_of_all(seed):
    score, wrong = scored(seed)
    best = best_threshold(score, wrong)
    cuts = [*np.unique(score), -1.0]
    f1 = {cut: f1_score(wrong, score > cut, zero_division=0.0) for cut in cuts}
    highest = max(f1.values())
    value = max(cut for cut in cuts if f1[cut] == pytest.approx(highest, abs=1e-12))
    flagged = score > best.value
    np.testing.assert_array_equal(flagged, score > value)
    assert best.value == value or (value == -1.0 and best.value == np.nextafter(min(score), -9))
    assert best.f1 == pytest.approx(highest)
    assert best.precision == pytest.approx(precision_score(wrong, flagged))
    assert best.recall == pytest.approx(recall_score(wrong, flagged))


def test_of_equal_cuts_the_highest_is_taken():
    best = best_threshold([4.0, 3.0, 2.0, 1.0], [True, False, False, True])
    assert (best.value, best.f1, best.precision, best.recall) == (3.0, 2 / 3, 1.0, 0.5)


@pytest.mark.parametrize("seed", range(40))
def test_figures_are_those_of_their_definitions(seed):
    score, wrong = scored(seed)
    figures = detection_figures(score, wrong, 2, 0.75)
    flagged = score > 0.75
    pairs = [(a > b) + 0.5 * (a == b) for a in score[wrong] for b in score[~wrong]]
    if pairs:
        assert figures.auc == pytest.approx(np.mean(pairs))
    else:
        assert np.isnan(figures.auc)
    assert figures.precision == pytest.approx(precision_score(wrong, flagged, zero_division=0.0))
    assert figures.recall == pytest.approx(recall_score(wrong, flagged))
    assert figures.f1 == pytest.approx(f1_score(wrong, flagged))
    two = sorted(range(score.size), key=lambda j: (-score[j], j))[:2]
    assert figures.precision_at_budget == wrong[two].sum() / 2
    assert figures.recall_at_budget == pytest.approx(wrong[two].sum() / wrong.sum())
    assert (figures.n_flagged, figures.n_checked) == (flagged.sum(), 2)
    assert (figures.n_wrong, figures.n_labeled) == (wrong.sum(), wrong.size)
    assert figures.threshold == 0.75


def test_a_budget_is_a_count_or_a_part():
    score, wrong = np.arange(10.0), np.arange(10) > 7
    assert detection_figures(score, wrong, 0.3, 0.0).n_checked == 3
    assert detection_figures(score, wrong, 0.3, 0.0).precision_at_budget == pytest.approx(2 / 3)
    with pytest.raises(InputError, match="budget=11"):
        detection_figures(score, wrong, 11, 0.0)


@pytest.mark.parametrize(
    ("score", "wrong", "message"),
    [
        ([1.0, 2.0], [True], "True or False for each of the 2 labels"),
        ([1.0, 2.0], [1, 0], "True or False for each"),
        ([1.0, np.nan], [True, False], "not finite"),
        ([1.0, np.inf], [True, False], "not finite"),
        ([[1.0, 2.0]], [[True, False]], "one finite number a label"),
        (["a", "b"], [True, False], "one finite number a label"),
        ([1.0, 2.0], [False, False], "none of the 2 labels is wrong"),
    ],
)
def test_scores_and_marks_are_checked(score, wrong, message):
    with pytest.raises(InputError, match=message):
        best_threshold(score, wrong)
    with pytest.raises(InputError, match=message):
        detection_figures(score, wrong, 1, 0.5)


def test_a_threshold_must_be_given():
    for threshold, message in (
        (None, "names no cut"),
        (float("nan"), "NaN"),
        ("a", "not a number"),
    ):
        with pytest.raises(InputError, match=message):
            detection_figures([1.0, 2.0], [True, False], 1, threshold)
