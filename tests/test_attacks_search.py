"""The state of a search, against a count from scratch; what the stronger attacks promise."""

from __future__ import annotations

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from attack_problems import digits, fitted
from small_problems import small_problem

import gssl_poison as gp
from gssl_poison.attacks import (
    MIR,
    Coverage,
    Degree,
    Exact,
    Greedy,
    GreedyInit,
    LabelNoise,
    Smoothed,
    Swaps,
    Total,
    Uncertainty,
)
from gssl_poison.attacks._search import Search
from gssl_poison.attacks.smoothed import steepest
from gssl_poison.metrics import predict


def wrong_rows(M, codes, target, n_classes):
    """The plain count, in float64."""
    return int((predict(M @ np.eye(n_classes)[codes]) != target).sum())


@st.composite
def searches(draw):
    """Shares with ties and zeros in them, labels and targets."""
    labels, u, c = draw(st.integers(2, 9)), draw(st.integers(1, 12)), draw(st.integers(2, 4))
    seed = draw(st.integers(0, 10_000))
    rng = np.random.default_rng(seed)
    shape = (u, labels)
    M = rng.integers(0, 4, shape) ** 2.0 if draw(st.booleans()) else rng.random(shape) ** 4
    sums = M.sum(axis=1, keepdims=True)
    M = np.ascontiguousarray(M / np.where(sums > 0.0, sums, 1.0))
    return M, rng.integers(0, c, labels), rng.integers(0, c, u), c, rng


@hypothesis.given(searches())
@hypothesis.settings(max_examples=150)
def test_a_search_knows_what_every_flip_would_do(case):
    """Flip and take back at random: all that is kept up to date equals what is counted anew."""
    M, codes, target, c, rng = case
    search = Search.start(M, codes, target, c)
    for _ in range(3 * codes.size):
        flipped = np.flatnonzero(~search.free)
        if flipped.size and rng.random() < 0.4:
            search.unflip(int(rng.choice(flipped)))
        elif search.free.any():
            j = int(rng.choice(np.flatnonzero(search.free)))
            search.flip(j, int((search.codes[j] + rng.integers(1, c)) % c))
        assert search.wrong == wrong_rows(M, search.codes, target, c)
        for j in np.flatnonzero(search.free):
            for new in range(c):
                changed = search.codes.copy()
                changed[j] = new
                expected = wrong_rows(M, changed, target, c) - search.wrong
                assert search.change[j, new] == expected
        np.testing.assert_array_equal(search.codes == codes, search.free)


def plain_greedy(M, codes, target, n_classes, k):
    """Every flip of every round counted from scratch; the first among equals."""
    codes, free, wrong = codes.copy(), np.ones(codes.size, dtype=bool), []
    for _ in range(k):
        best = (-1, 0, 0)
        for j in np.flatnonzero(free):
            for new in range(n_classes):
                if new == codes[j]:
                    continue
                changed = codes.copy()
                changed[j] = new
                count = wrong_rows(M, changed, target, n_classes)
                if count > best[0]:
                    best = (count, j, new)
        free[best[1]] = False
        codes[best[1]] = best[2]
        wrong.append(best[0])
    return wrong


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("truth", [True, False])
def test_greedy_takes_the_flip_that_turns_most(n_classes, truth):
    """Up to the first tie the counts are those of the plain loop; after it each is a best flip."""
    problem = digits(n_classes)
    prop = fitted(problem)
    target = problem.truth[problem.unlabeled] if truth else gp.metrics.predictions(prop, problem)
    poison = Greedy(truth=truth).attack(problem, prop, 6)
    M, codes = prop.shares(), problem.y.copy()
    for j, new, wrong in zip(poison.order, poison.new, poison.objective * len(M), strict=True):
        here = plain_greedy(M, codes, target, n_classes, 1)[0]
        codes[j] = new
        assert round(wrong) == here == wrong_rows(M, codes, target, n_classes)
    assert poison.objective[0] * len(M) == pytest.approx(
        plain_greedy(M, problem.y, target, n_classes, 1)[0]
    )


def test_the_published_greedy_stops_where_nothing_gains_and_ours_fills_the_budget():
    problem = digits(2, gamma=20.0)
    prop = fitted(problem)
    stopped = Greedy(fill=False).attack(problem, prop, problem.y.size)
    filled = Greedy().attack(problem, prop, problem.y.size)
    assert len(stopped) < len(filled) == problem.y.size
    assert "no further one gains" in stopped.notes[0]
    assert (np.diff(stopped.objective) > 0.0).all()


def test_a_greedy_start_with_the_best_pair():
    problem = digits(2)
    prop = fitted(problem)
    M, target = prop.shares(), problem.truth[problem.unlabeled]
    best = max(
        wrong_rows(M, np.where(np.isin(np.arange(15), [i, j]), 1 - problem.y, problem.y), target, 2)
        for i in range(15)
        for j in range(i)
    )
    poison = GreedyInit().attack(problem, prop, 4)
    assert round(poison.objective[1] * len(M)) == best
    assert (
        GreedyInit().attack(problem, prop, 1).objective
        == Greedy().attack(problem, prop, 1).objective
    )


def test_coverage_counts_points_of_which_most_influence_is_flipped():
    problem = digits(3)
    prop = fitted(problem, gp.Direct())
    poison = Coverage().attack(problem, prop, 5)
    shares = prop.shares()[:, poison.order]
    covered = [(shares[:, : k + 1].sum(axis=1) > 0.5 + 1e-9).sum() for k in range(5)]
    np.testing.assert_array_equal(poison.objective, covered)
    assert (np.diff(covered) >= 0).all()


def test_mir_and_total_are_in_the_order_of_their_measures():
    problem = digits(3)
    prop = fitted(problem)
    mir, total = gp.major_influence_range(prop), gp.total_influence(prop)
    np.testing.assert_array_equal(
        Total().attack(problem, prop, 7).order, np.argsort(-total, kind="stable")[:7]
    )
    by_mir = MIR().attack(problem, prop, 15)
    assert (np.diff(mir[by_mir.order]) <= 0).all()
    same = np.diff(mir[by_mir.order]) == 0
    assert same.any()
    assert (np.diff(total[by_mir.order])[same] <= 0).all()
    by_position = MIR(ties="position").attack(problem, prop, 15).order
    np.testing.assert_array_equal(by_position, np.argsort(-mir, kind="stable"))


@pytest.mark.parametrize("attack", [MIR(), Total(), Degree(), Uncertainty()])
def test_the_new_label_is_the_one_that_changes_most_predictions(attack):
    problem = digits(4)
    prop = fitted(problem, gp.Direct())
    poison = attack.attack(problem, prop, 4)
    M, codes = prop.shares(), problem.y.copy()
    clean = gp.metrics.predictions(prop, problem)
    for j, new in zip(poison.order, poison.new, strict=True):
        counts = []
        for c in range(4):
            changed = codes.copy()
            changed[j] = c
            counts.append(wrong_rows(M, changed, clean, 4) if c != codes[j] else -1)
        assert counts[new] == max(counts)
        codes[j] = new
    random = MIR(labels="random").attack(problem, prop, 15)
    assert (random.new != random.old).all()
    assert np.unique((random.new - random.old) % 4).size > 1


@pytest.mark.parametrize("n_classes", [2, 3])
def test_local_search_is_never_worse_than_its_start_and_no_swap_is_better(n_classes):
    problem = digits(n_classes)
    prop = fitted(problem)
    start = Degree().attack(problem, prop, 4)
    better = Swaps(start=Degree(), n_kicks=0).attack(problem, prop, 4)
    M, target = prop.shares(), problem.truth[problem.unlabeled]
    found = round(better.objective[-1] * len(M))
    assert found >= wrong_rows(M, start.apply(problem.y), target, n_classes)
    codes = better.apply(problem.y)
    assert found == wrong_rows(M, codes, target, n_classes)
    for out in better.order:
        for j in np.flatnonzero(~np.isin(np.arange(15), better.order)):
            for new in range(n_classes):
                changed = codes.copy()
                changed[out], changed[j] = problem.y[out], new
                assert wrong_rows(M, changed, target, n_classes) <= found
    kicked = Swaps(start=Degree()).attack(problem, prop, 4)
    assert kicked.objective[-1] >= better.objective[-1]


def test_no_flip_is_made_that_only_mends_predictions():
    """All labels flipped is two classes with exchanged names: half of that does more harm."""
    problem = digits(2)
    prop = fitted(problem)
    everything = problem.y.size
    for attack in (Swaps(), Smoothed(), Exact()):
        poison = attack.attack(problem, prop, everything)
        assert gp.error_rate(prop, problem, poison) == poison.objective[-1]
        assert poison.objective[-1] == poison.objective.max()
    filled = Greedy().attack(problem, prop, everything)
    assert len(filled) == everything
    if filled.objective[-1] < filled.objective.max():
        assert "the others fill the budget" in filled.notes[0]


@pytest.mark.parametrize("seed", range(8))
def test_swaps_are_never_worse_than_a_start_that_stops_early(seed):
    problem, victim, k = small_problem(seed)
    start = Exact()
    best = start.attack(problem, victim, k)
    swapped = Swaps(start=start, n_kicks=2).attack(problem, victim, k)
    assert gp.error_rate(victim, problem, swapped) == gp.error_rate(victim, problem, best)


def test_stopped_by_the_clock_exact_is_as_good_as_local_search():
    problem = digits(2, n=300)
    prop = fitted(problem)
    poison = Exact(time_limit=1e-3, method="milp").attack(problem, prop, 8)
    local = Swaps(n_kicks=0).attack(problem, prop, 8)
    assert poison.objective[-1] >= local.objective[-1]
    assert "not proven optimal" in poison.notes[0]
    assert poison.bound >= poison.objective[-1]


@pytest.mark.parametrize("n_classes", [2, 3])
def test_smoothed_is_never_worse_than_greedy_and_swaps(n_classes):
    problem = digits(n_classes)
    prop = fitted(problem)
    local = Swaps(n_kicks=0).attack(problem, prop, 5).objective[-1]
    assert Smoothed().attack(problem, prop, 5).objective[-1] >= local


def test_smoothed_sees_flips_that_only_together_turn_a_class():
    """Every point listens to five labels of its class equally: three flips turn all, two none."""
    y = np.repeat([0, 1], 5)
    own = np.arange(10)[None, :] // 5 == np.repeat([0, 1], [30, 12])[:, None]
    near = np.zeros((42, 10)) + own * 0.2
    # One label decides three points alone, which greedy takes first.
    lone = np.eye(10)[[9, 9, 9, 8, 7]]
    M = np.vstack([near, lone])
    target = np.repeat([0, 1], [30, 17])
    weights = np.zeros((57, 57))
    weights[10:, :10] = M
    weights[:10, 10:] = M.T
    weights[np.arange(57), np.arange(57)] = 1.0
    graph = gp.DenseGraph(weights)
    problem = gp.Problem(graph, np.arange(10), y, np.concatenate([y, target]))
    prop = gp.Direct().fit(graph, np.arange(10))
    greedy = Greedy().attack(problem, prop, 3).objective[-1]
    assert greedy < 30 / 47 <= Smoothed().attack(problem, prop, 3).objective[-1]


def test_label_noise_follows_its_pattern():
    problem = digits(4)
    prop = fitted(problem, gp.Direct())
    to_one = LabelNoise(to_class=2).attack(problem, prop, 6)
    assert (to_one.new == 2).all()
    assert (to_one.old != 2).all()
    one_to = LabelNoise(from_class=1).attack(problem, prop, 15)
    assert (one_to.old == 1).all()
    assert len(one_to) == (problem.y == 1).sum() < 15
    assert "only" in one_to.notes[0]
    pair = LabelNoise(from_class=1, to_class=3).attack(problem, prop, 2)
    assert (pair.old == 1).all()
    assert (pair.new == 3).all()
    with pytest.raises(gp.InputError, match="to_class=9"):
        LabelNoise(to_class=9).attack(problem, prop, 2)
    with pytest.raises(gp.InputError, match="needs two classes"):
        LabelNoise(from_class=1, to_class=1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MIR(labels="worst"), "labels='worst'"),
        (lambda: MIR(ties="none"), "ties='none'"),
        (lambda: Greedy(preset="x"), "preset='x'"),
        (lambda: Swaps(start=Swaps()), "no attack to start from"),
        (lambda: Swaps(n_kicks=-1), "n_kicks=-1"),
        (lambda: Swaps(n_kicks=1.5), "n_kicks=1.5"),
        (lambda: Smoothed(temperatures=(0.0,)), "temperatures"),
        (lambda: Smoothed(temperatures=0.5), "temperatures=0.5"),
        (lambda: LabelNoise(random_state=-1), "random_state=-1"),
        (lambda: MIR(random_state="a"), "random_state='a'"),
    ],
)
def test_settings_are_checked(make, message):
    with pytest.raises(gp.InputError, match=message):
        make()


def test_degree_is_that_of_the_graph_for_every_kind_of_graph():
    problem = digits(2)
    W = problem.graph.weights(np.arange(90), np.arange(90))
    degree = (W - np.eye(90)).sum(axis=1)[problem.labeled]
    expected = np.argsort(-degree, kind="stable")[:5]
    import scipy.sparse

    for graph in (
        problem.graph,
        gp.DenseGraph(W),
        gp.SparseGraph(scipy.sparse.csr_array(W)),
    ):
        same = gp.Problem(graph, problem.labeled, problem.y)
        order = Degree().attack(same, fitted(same, gp.Direct()), 5).order
        np.testing.assert_array_equal(order, expected)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_steepest_flip_is_that_of_the_gradient(n_classes):
    """First-order gains in the smoothed count, by differences."""
    problem = digits(n_classes)
    M = fitted(problem, gp.Direct()).shares()
    target, one_hot = problem.truth[problem.unlabeled], np.eye(n_classes)
    rows = np.arange(target.size)

    def smoothed(Y):
        scores = M @ Y
        own = scores[rows, target]
        scores[rows, target] = -np.inf
        return (1.0 / (1.0 + np.exp((own - scores.max(axis=1)) / 0.3))).sum()

    Y, step = one_hot[problem.y], 1e-6
    gains = np.full((problem.y.size, n_classes), -np.inf)
    for j, old in enumerate(problem.y):
        for new in range(n_classes):
            if new != old:
                moved = Y.copy()
                moved[j] += step * (one_hot[new] - one_hot[old])
                gains[j, new] = (smoothed(moved) - smoothed(Y)) / step
    search = Search.start(M, problem.y, target, n_classes)
    assert steepest(search, 0.3) == divmod(int(gains.argmax()), n_classes)


def test_a_label_that_changes_nothing_gets_another_class_all_the_same():
    problem = digits(4, gamma=50.0)
    prop = fitted(problem, gp.Direct())
    poison = MIR().attack(problem, prop, problem.y.size)
    assert (gp.major_influence_range(prop) == 0).any()
    assert (poison.new != poison.old).all()
