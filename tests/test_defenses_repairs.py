"""Repairs: one contract for all of them, and each against a plain transcription of what it says."""

from __future__ import annotations

import numpy as np
import pytest
from attack_problems import digits, fitted

import gssl_poison as gp
from gssl_poison.attacks import Evasive, make_attack
from gssl_poison.defenses import (
    REPAIRS,
    Contradiction,
    LabelMore,
    Learned,
    OracleGreedy,
    Relabel,
    Suspicion,
    against,
    as_oracle,
    make_repair,
    told,
)
from gssl_poison.defenses.learned import Belief, _most_probable
from gssl_poison.exceptions import InputError, InputTypeError


def poisoned(n_classes=2, budget=0.2, n=180):
    """Digits with some labels flipped, and the victim."""
    problem = digits(n_classes, gamma=3.0, n=n)
    prop = fitted(problem, gp.Direct())
    return problem.poisoned(make_attack("total").attack(problem, prop, budget)), prop


@pytest.mark.parametrize("n_classes", [2, 5])
@pytest.mark.parametrize("name", REPAIRS)
def test_the_contract_of_repairs(name, n_classes):
    problem, prop = poisoned(n_classes)
    before = problem.y.copy()
    repair = make_repair(name, random_state=3)
    checks = repair.check(problem, prop, 4, problem.truth)
    after = checks.problem
    assert np.array_equal(problem.y, before)
    assert checks.points.size <= 4
    assert np.unique(checks.points).size == checks.points.size
    assert np.array_equal(checks.answers, problem.truth[checks.points])
    new = dict(zip(after.labeled.tolist(), after.y.tolist(), strict=True))
    assert all(
        new[point] == code
        for point, code in zip(checks.points.tolist(), checks.answers.tolist(), strict=True)
    )
    touched = np.isin(problem.labeled, np.concatenate([checks.points, checks.automatic]))
    assert np.array_equal(after.y[: problem.y.size][~touched], problem.y[~touched])
    assert not np.isin(checks.automatic, checks.points).any()
    again = repair.repair(problem, prop, 4, problem.truth)
    assert np.array_equal(again.labeled, after.labeled)
    assert np.array_equal(again.y, after.y)
    if not name.startswith("label"):
        assert np.array_equal(after.labeled, problem.labeled)


@pytest.mark.parametrize("name", REPAIRS)
def test_what_cannot_be_repaired_is_refused(name):
    problem, prop = poisoned()
    repair = make_repair(name)
    with pytest.raises(InputError, match="out of range"):
        repair.repair(problem, prop, 0, problem.truth)
    other = gp.Direct().fit(problem.graph, problem.labeled[:-1])
    with pytest.raises(InputError, match="fitted to"):
        repair.repair(problem, other, 2, problem.truth)
    with pytest.raises(InputError, match="oracle has shape"):
        repair.repair(problem, prop, 2, problem.truth[:3])


def test_an_oracle_that_cannot_tell_changes_nothing():
    problem, prop = poisoned()
    for name in ("relabel-mir", "learned", "learned-automatic"):
        checks = make_repair(name).check(problem, prop, 5, lambda _: None)
        assert np.array_equal(checks.problem.y, problem.y)
        assert (checks.answers == -1).all()
    more = LabelMore().repair(problem, prop, 5, {})
    assert np.array_equal(more.labeled, problem.labeled)


def test_oracles_of_all_kinds_say_the_same():
    problem, prop = poisoned()
    truth = problem.truth
    kinds = [truth, {i: int(code) for i, code in enumerate(truth)}, lambda i: int(truth[i])]
    found = [Learned().repair(problem, prop, 6, oracle).y for oracle in kinds]
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])


@pytest.mark.parametrize(
    ("answer", "error"),
    [(7, InputError), (-1, InputError), ("a", InputTypeError), (True, InputTypeError)],
)
def test_an_answer_that_is_no_class_is_refused(answer, error):
    problem, _ = poisoned()
    with pytest.raises(error, match="of point 0"):
        as_oracle(lambda _: answer, problem)(0)


def test_relabel_follows_the_rankings():
    problem, prop = poisoned()
    M = prop.shares()
    mir, total = (M > 0.5).sum(axis=0), M.sum(axis=0)
    assert np.array_equal(Relabel("mir").rank(problem, prop), np.lexsort((-total, -mir)))
    assert np.array_equal(Relabel("total").rank(problem, prop), np.argsort(-total, kind="stable"))
    score = Suspicion().score(problem, prop)
    assert np.array_equal(
        Relabel("suspicion").rank(problem, prop), np.argsort(-score, kind="stable")
    )
    drawn = Relabel("random", random_state=1).rank(problem, prop)
    assert np.array_equal(np.sort(drawn), np.arange(problem.y.size))


def wrong_after(problem, M, codes):
    """Count wrong predictions from scratch."""
    scores = M @ np.eye(problem.n_classes)[codes]
    return int((gp.metrics.predict(scores) != problem.truth[problem.unlabeled]).sum())


@pytest.mark.parametrize("n_classes", [2, 4])
def test_the_oracle_takes_the_label_that_mends_most(n_classes):
    problem, prop = poisoned(n_classes, 0.4)
    M, codes = prop.shares(), problem.y.copy()
    right = problem.truth[problem.labeled]
    expected = []
    for _ in range(6):
        tried = {}
        for j in np.flatnonzero(codes != right):
            trial = codes.copy()
            trial[j] = right[j]
            tried[j] = (wrong_after(problem, M, trial), -M[:, j].sum(), j)
        j = min(tried, key=tried.get)
        codes[j] = right[j]
        expected.append(problem.labeled[j])
    assert OracleGreedy().check(problem, prop, 6, problem.truth).points.tolist() == expected
    # Never more than there are wrong labels.
    everything = OracleGreedy().check(problem, prop, problem.y.size, problem.truth)
    assert everything.points.size == (problem.y != right).sum()
    assert np.array_equal(everything.problem.y, right)


def test_label_more_by_influence_is_what_labelling_would_do():
    problem, prop = poisoned(n=60)
    order = LabelMore("influence").rank(problem, prop)
    figures = []
    for point in problem.unlabeled:
        more = gp.Direct().fit(problem.graph, np.append(problem.labeled, point))
        shares = more.shares()[:, -1]
        figures.append((-(shares > 0.5).sum(), -shares.sum(), point))
    expected = [point for *_, point in sorted(figures)]
    # The counts decide; sums that differ in their last digits may change places.
    assert np.array_equal(
        [figures[np.searchsorted(problem.unlabeled, p)][0] for p in order],
        [figures[np.searchsorted(problem.unlabeled, p)][0] for p in expected],
    )
    assert order[:5].tolist() == expected[:5]


def test_label_more_by_uncertainty_takes_the_closest_scores():
    problem, prop = poisoned(3)
    scores = prop.apply(np.eye(3)[problem.y], normalized=True)[problem.unlabeled]
    ordered = np.sort(scores, axis=1)
    order = LabelMore("uncertainty").rank(problem, prop)
    margin = (ordered[:, -1] - ordered[:, -2])[np.searchsorted(problem.unlabeled, order)]
    assert (np.diff(margin) >= 0.0).all()


def test_label_more_leaves_something_to_predict():
    problem, _ = poisoned(n=30)
    few = gp.Problem(problem.graph, np.arange(20), problem.truth[:20], problem.truth)
    with pytest.raises(InputError, match="would leave none"):
        LabelMore().repair(few, gp.Direct().fit(few.graph, few.labeled), 10, few.truth)


# --- Learned -------------------------------------------------------------------------------------


def values_of(problem, codes):
    """Transcribe the recursion of Jia et al., labels as found voting on labels as corrected."""
    k = min(10, max(1, len(codes) // 20))
    X = problem.graph.X[problem.labeled].astype(np.float64)
    l = len(codes)  # noqa: E741
    value = np.zeros(l)
    for j in range(l):
        others = [i for i in range(l) if i != j]
        others.sort(key=lambda i: (round(float(((X[i] - X[j]) ** 2).sum()), 9), i))
        match = [float(problem.y[i] == codes[j]) for i in others]
        s = match[-1] / max(k, l - 1)
        value[others[-1]] += s / l
        for t in range(l - 3, -1, -1):
            s += (match[t] - match[t + 1]) / max(k, t + 1)
            value[others[t]] += s / l
    return value


def probability_of(problem, prop, answers, noise=0.1):
    """Transcribe the model: features, then the weights by a general minimiser."""
    from scipy.optimize import minimize
    from scipy.stats import norm, rankdata

    codes = problem.y.copy()
    for j, code in answers.items():
        codes[j] = code
    T, c = told(problem, prop), problem.n_classes
    own, other = np.empty(len(codes)), np.empty(len(codes))
    for j, found in enumerate(problem.y):
        votes = [T[j][codes == k].sum() for k in range(c)]
        own[j] = votes.pop(found)
        other[j] = max(votes)
    M = prop.shares()
    total, mir = M.sum(axis=0), (M > 0.5).sum(axis=0)
    both = mir + total / (10.0 * len(M))
    l = len(codes)  # noqa: E741
    X = np.column_stack(
        [
            np.ones(l),
            other - own,
            np.arcsinh(-l * values_of(problem, codes)),
            norm.ppf((rankdata(total, "ordinal") - 0.5) / l),
            norm.ppf((rankdata(both, "ordinal") - 0.5) / l),
        ]
    )
    prior = np.array([np.log(noise / (1 - noise)), 1.5, 1.5, 0.25, 0.25])
    known = np.array(list(answers), dtype=int)
    wrong = np.array([problem.y[j] != code for j, code in answers.items()], dtype=float)

    def loss(w):
        z = X[known] @ w
        fit = np.logaddexp(0.0, z).sum() - (wrong * z).sum()
        return fit + 0.5 * (np.array([0.5, 1.0, 1.0, 1.0, 1.0]) * (w - prior) ** 2).sum()

    weights = minimize(loss, prior, tol=1e-12).x
    p = 1.0 / (1.0 + np.exp(-X @ weights))
    p[known] = wrong
    return p


@pytest.mark.parametrize("n_classes", [2, 5])
def test_the_model_of_learned(n_classes):
    problem, prop = poisoned(n_classes, 0.3)
    answers = {j: int(problem.truth[problem.labeled[j]]) for j in (0, 3, 7, 11, 12)}
    for known in ({}, answers):
        found = Learned().probability(problem, prop, known)
        np.testing.assert_allclose(found, probability_of(problem, prop, known), atol=1e-5)
        priority = Learned().priority(problem, prop, known)
        assert (priority[list(known)] == 0.0).all()
        assert (priority >= 0.0).all()


def test_the_weights_settle_whatever_the_answers_are():
    # Answers against everything that was believed: plain Newton steps swing for ever there.
    rng = np.random.default_rng(0)
    prior = np.array([-2.2, 1.5, 1.5, 0.25, 0.25])
    for _ in range(300):
        k = int(rng.integers(1, 200))
        harm = np.arcsinh(rng.standard_cauchy(k) * rng.choice([1.0, 10.0, 100.0]))
        F = np.column_stack([np.ones(k), rng.uniform(-1, 1, k), harm, rng.normal(size=(k, 2))])
        wrong = rng.random(k) < rng.choice([0.0, 0.05, 0.5, 0.95, 1.0])
        w = _most_probable(F, wrong, prior)
        p = 1.0 / (1.0 + np.exp(-F @ w))
        slope = F.T @ (p - wrong) + np.array([0.5, 1.0, 1.0, 1.0, 1.0]) * (w - prior)
        assert np.abs(slope).max() < 1e-6


@pytest.mark.parametrize("n_classes", [2, 5])
def test_what_a_correction_turns(n_classes):
    problem, prop = poisoned(n_classes, 0.3)
    belief = Belief.of(Learned(), problem, prop, {})
    M = prop.shares()
    now = gp.metrics.predict(M @ np.eye(n_classes)[problem.y])
    _, said = belief.features()
    expected = []
    for j, new in enumerate(said):
        codes = problem.y.copy()
        codes[j] = new
        expected.append(int((gp.metrics.predict(M @ np.eye(n_classes)[codes]) != now).sum()))
    assert belief.turned([M[:7], M[7:]]).tolist() == expected
    change = belief.change(np.array(expected))
    assert change.max() <= 1.0
    np.testing.assert_allclose(
        change, 0.5 * (belief.total / belief.total.max() + np.array(expected) / max(expected))
    )


def test_learned_asks_what_it_ranks_first_given_the_answers():
    problem, prop = poisoned(3, 0.3)
    asked, answers = [], {}
    checks = Learned().check(problem, prop, 8, problem.truth)
    place = {int(point): j for j, point in enumerate(problem.labeled)}
    for point, answer in zip(checks.points.tolist(), checks.answers.tolist(), strict=True):
        priority = Learned().priority(problem, prop, answers)
        j = int(priority.argmax())
        asked.append(int(problem.labeled[j]))
        answers[place[point]] = answer
    assert asked == checks.points.tolist()


def test_automatic_changes_repair_more_and_spare_clean_labels():
    problem, prop = poisoned(2, 0.2, n=360)
    truth = problem.truth[problem.labeled]
    n_wrong = int((problem.y != truth).sum())
    by_hand = Learned().repair(problem, prop, 4, problem.truth)
    alone = Learned(automatic=True).check(problem, prop, 4, problem.truth)
    assert (by_hand.y != truth).sum() == n_wrong - 4
    assert alone.automatic.size > 0
    assert (alone.problem.y != truth).sum() < (by_hand.y != truth).sum()
    clean = digits(2, gamma=3.0, n=360)
    checks = Learned(automatic=True).check(clean, prop, 4, clean.truth)
    assert checks.automatic.size == 0
    sure = Learned(automatic=True, certainty=0.999).check(problem, prop, 4, problem.truth)
    assert sure.automatic.size < alone.automatic.size


@pytest.mark.parametrize("value", [0.0, 1.0, float("nan"), "a", True])
@pytest.mark.parametrize("name", ["noise", "certainty"])
def test_learned_refuses_parts_out_of_range(name, value):
    with pytest.raises(InputError, match=name):
        Learned(**{name: value})


@pytest.mark.parametrize("answers", [{-1: 0}, {400: 0}, {0: 2}, {0: -1}])
def test_answers_that_fit_no_label_are_refused(answers):
    problem, prop = poisoned()
    with pytest.raises(InputError, match="answers give position"):
        Learned().probability(problem, prop, answers)


def test_names_that_are_not_known():
    with pytest.raises(InputError, match="repair='x'"):
        make_repair("x")
    with pytest.raises(InputError, match="by='x'"):
        Relabel("x")
    with pytest.raises(InputError, match="by='x'"):
        LabelMore("x")


# --- the evidence --------------------------------------------------------------------------------


def test_the_jury_listens_to_an_effective_twenty():
    problem, prop = poisoned(2, n=360)
    T = told(problem, prop)
    assert (np.diag(T) == 0.0).all()
    np.testing.assert_allclose(T.sum(axis=1), 1.0)
    entropy = -(T * np.log(np.where(T > 0.0, T, 1.0))).sum(axis=1)
    assert np.median(np.exp(entropy)) == pytest.approx(20.0, rel=1e-3)
    # Shares fall with the distance.
    X = problem.graph.X[problem.labeled].astype(np.float64)
    d = ((X[0] - X[1:]) ** 2).sum(axis=1)
    assert (np.diff(T[0, 1:][np.argsort(d, kind="stable")]) <= 1e-15).all()


@pytest.mark.parametrize("witness", ["propagator", "harmonic", "spreading:alpha=0.5"])
def test_other_witnesses_are_their_leave_one_out(witness):
    problem, prop = poisoned(2)
    kind = prop.propagator if witness == "propagator" else gp.parse_propagator(witness)
    expected = kind.fit(problem.graph, problem.labeled).leave_one_out()
    np.testing.assert_allclose(told(problem, prop, witness), expected)


def test_witnesses_that_cannot_speak():
    problem, prop = poisoned(2)
    with pytest.raises(InputError, match="no formula"):
        told(problem, prop, "propagation:n_iter=3")
    with pytest.raises(InputError, match="no propagator"):
        told(problem, prop, "nobody")
    with pytest.raises(InputTypeError, match="witness=3"):
        told(problem, prop, 3)
    W = np.ones((4, 4))
    dense = gp.Problem(gp.DenseGraph(W), [0, 1], [0, 1])
    with pytest.raises(InputError, match="needs the features"):
        told(dense, gp.Direct().fit(dense.graph, [0, 1]), "neighbours")


def test_evidence_of_a_graph_without_features():
    X = digits(2).graph.X
    graph = gp.knn_graph(X, 8)
    labeled = np.arange(0, 90, 6)
    y = digits(2).y
    problem = gp.Problem(graph, labeled, y)
    T = told(problem, gp.Direct().fit(graph, labeled))
    sums = T.sum(axis=1)
    assert (np.isclose(sums, 1.0) | (sums == 0.0)).all()
    contradiction, said = against(T, y, 2)
    assert contradiction.mean() < 0.3
    assert (said == y).mean() > 0.7


def test_labels_that_nobody_speaks_about():
    one = gp.Problem(gp.RBFGraph(np.array([[0.0], [1.0]]), 1.0), [0], [0], n_classes=2)
    prop = gp.Direct().fit(one.graph, [0])
    assert told(one, prop).tolist() == [[0.0]]
    contradiction, said = against(told(one, prop), one.y, 2)
    assert contradiction.tolist() == [0.0]
    assert said.tolist() == [0]
    assert Learned().check(one, prop, 1, {0: 1}).problem.y.tolist() == [1]


def test_duplicates_are_a_jury_too():
    X = np.repeat([[0.0], [9.0]], 30, axis=0)
    y = np.array([0] * 10 + [1] * 10)
    y[0] = 1
    problem = gp.Problem(gp.RBFGraph(X, 1.0), np.r_[0:10, 30:40], y)
    contradiction, said = against(
        told(problem, gp.Direct().fit(problem.graph, problem.labeled)), y, 2
    )
    assert contradiction.argmax() == 0
    assert said[0] == 0


# --- the adaptive attacker ----------------------------------------------------------------------


@pytest.mark.parametrize(("gamma", "n_watched"), [(3.0, 1), (0.1, 0)])
def test_the_adaptive_attacker_is_greedy_where_the_detector_does_not_look(gamma, n_watched):
    # At the smaller gamma no single flip turns anything: influence decides.
    problem = digits(2, gamma=gamma, n=360)
    prop = fitted(problem, gp.Direct())
    T, M = told(problem, prop), prop.shares()
    total = M.sum(axis=0)

    def score(codes):
        return against(T, codes, 2)[0] * total

    poison = Evasive(score, n_watched=n_watched).attack(problem, prop, 5)
    assert len(poison) == 5
    codes = problem.y.copy()
    for j, new in zip(poison.order, poison.new, strict=True):
        passed = []
        for k in np.flatnonzero(codes == problem.y):
            trial = codes.copy()
            trial[k] = 1 - trial[k]
            scores = score(trial)
            if (scores > scores[k]).sum() >= n_watched:
                passed.append((wrong_after(problem, M, trial), total[k]))
        mine = codes.copy()
        mine[j] = new
        assert (wrong_after(problem, M, mine), total[j]) == pytest.approx(max(passed))
        codes = mine
    assert np.array_equal(poison.apply(problem.y), codes)
    free = Evasive(score, n_watched=0).attack(problem, prop, 5)
    assert free.objective[-1] >= poison.objective[-1]


def test_the_adaptive_attacker_stops_where_everything_is_watched():
    problem = digits(2)
    prop = fitted(problem, gp.Direct())
    poison = Evasive(lambda codes: np.zeros(codes.size), n_watched=1).attack(problem, prop, 3)
    assert len(poison) == 0
    assert "stopped after 0 of 3" in poison.notes[0]
    with pytest.raises(InputError, match="detector returned shape"):
        Evasive(lambda _: np.zeros(2), 1).attack(problem, prop, 1)
    with pytest.raises(InputTypeError, match="cannot be called"):
        Evasive(None, 1)
    with pytest.raises(InputError, match="n_watched"):
        Evasive(lambda codes: codes, -1)


def test_equal_distances_weigh_the_same_however_they_are_rounded():
    X = np.vstack([np.eye(60), np.full((1, 60), 0.1)])
    problem = gp.Problem(gp.RBFGraph(X, gamma=1.0), np.arange(60), np.arange(60) % 2)
    opinions = told(problem, fitted(problem, gp.Direct()))
    others = opinions[~np.eye(60, dtype=bool)]
    assert others == pytest.approx(np.full(60 * 59, 1 / 59))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("unit", [1e-158, 1e-100, 1e150])
def test_the_jury_does_not_depend_on_the_unit_of_the_features(unit):
    X = np.random.default_rng(0).random((60, 2))
    said = []
    for scale in (1.0, unit):
        graph = gp.RBFGraph(X * scale, gamma=1.0)
        problem = gp.Problem(graph, np.arange(50), np.arange(50) % 2)
        said.append(told(problem, fitted(problem, gp.Direct())))
    assert said[1] == pytest.approx(said[0], rel=1e-3)


def test_labels_of_which_the_memory_does_not_hold_the_opinions_are_refused(monkeypatch):
    problem = digits(2)
    prop = fitted(problem, gp.Direct())
    monkeypatch.setattr("gssl_poison.defenses.opinions.available_memory", lambda: 100)
    for judge in (told, Contradiction().score, Learned().score):
        with pytest.raises(InputError, match=r"labels say of each other takes .* are free"):
            judge(problem, prop)


def test_automatic_changes_nothing_where_no_other_class_is_said():
    # Point 3 shares no edge with a labelled one; of class 0 there is no label at all.
    W = np.zeros((7, 7))
    for a, b in ((0, 1), (1, 2), (2, 0), (3, 6), (4, 5)):
        W[a, b] = W[b, a] = 1.0
    problem = gp.Problem(gp.DenseGraph(W), [0, 1, 2, 3], [1, 1, 1, 1], n_classes=2)
    prop = gp.Harmonic(unreached="leave").fit(problem.graph, problem.labeled)
    eager = Learned(automatic=True, certainty=1e-6)
    checks = eager.check(problem, prop, 1, lambda _: 1)
    assert checks.automatic.size == 0
    assert np.array_equal(checks.problem.y, problem.y)
    X = np.random.default_rng(0).random((40, 2))
    single = gp.Problem(
        gp.RBFGraph(X, gamma=1.0), np.arange(30), np.zeros(30, dtype=int), n_classes=1
    )
    assert eager.check(single, fitted(single, gp.Direct()), 3, lambda _: 0).automatic.size == 0


@pytest.mark.parametrize("answers", [{1.5: 0}, {"a": 0}, {True: 0}, {0: 1.0}, {0: True}])
def test_answers_that_are_no_positions_or_codes_are_refused(answers):
    problem = digits(2)
    with pytest.raises(InputError, match="answers give position"):
        Learned().probability(problem, fitted(problem, gp.Direct()), answers)


def test_automatic_is_true_or_false():
    with pytest.raises(InputTypeError, match="automatic='no' must be True or False"):
        Learned(automatic="no")


@pytest.mark.parametrize("seed", [-1, 1.5, "a", True])
@pytest.mark.parametrize("repair", [Relabel, LabelMore])
def test_seeds_that_are_none_are_refused(repair, seed):
    with pytest.raises(InputError, match="random_state="):
        repair("random", random_state=seed)


def test_a_detector_cannot_change_what_it_is_asked_about_next():
    problem = digits(2)
    asked = []

    def careless(codes):
        asked.append(codes.copy())
        codes[:] = 0
        return np.arange(codes.size)

    Evasive(careless, n_watched=3).attack(problem, fitted(problem, gp.Direct()), 2)
    assert max((codes != problem.y).sum() for codes in asked) == 2


def test_a_detector_must_return_numbers():
    problem = digits(2)
    with pytest.raises(InputTypeError, match="values of type <U1"):
        Evasive(lambda codes: ["a"] * codes.size, 1).attack(
            problem, fitted(problem, gp.Direct()), 1
        )
