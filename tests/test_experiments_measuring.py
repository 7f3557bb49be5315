"""Every figure of the experiments against scikit-learn, scipy and dense solves, all in float64."""

from __future__ import annotations

import functools
import warnings
from dataclasses import replace

import numpy as np
import pytest
from reference import transcribe
from scipy.sparse import csr_array
from scipy.spatial.distance import cdist
from scipy.stats import kendalltau, pearsonr
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from sklearn.semi_supervised import LabelPropagation, LabelSpreading
from threadpoolctl import threadpool_limits

import gssl_poison as gp
from gssl_poison.attacks import Greedy, Probabilistic, Published
from gssl_poison.exceptions import DeviceError, InputError
from gssl_poison.experiments import correlation, measuring
from gssl_poison.experiments.cells import Cell
from gssl_poison.experiments.inductive import Perceptron, model_error
from gssl_poison.experiments.perceptron import check_torch_device, predict_by_torch
from gssl_poison.experiments.questions import QUESTIONS, Plan
from gssl_poison.experiments.runner import reproduce
from gssl_poison.experiments.store import Store
from gssl_poison.experiments.workplace import prepare

GAMMA, ALPHA, N_ITER = 0.01, 0.2, 10
PARTS, BUDGETS, SEED = (0.1, 0.25), (0.1, 0.2), 2020
SAMPLES = 40
PRESETS = ("replication", "corrected")
EACH_PRESET = pytest.mark.parametrize("preset", PRESETS)


# --- the data, the labels and the victims, written down once more


def points(classes):
    """Return features and class codes of the digits, for training and for testing."""
    X, digits = load_digits(return_X_y=True)
    kept = np.isin(digits, classes)
    X, codes = X[kept], np.searchsorted(classes, digits[kept])
    if len(classes) == 2:
        # One class after the other.
        X, codes = X[np.argsort(codes, kind="stable")], np.sort(codes)
    tested = np.arange(len(X)) % 5 == 4
    return X[~tested], codes[~tested], X[tested], codes[tested]


TWO, TEN = (points(classes) for classes in ((1, 7), tuple(range(10))))
X, TRUTH, X_TEST, TRUTH_TEST = TWO
N = len(X)


def drawn(labeled, seed=SEED, n=N):
    return np.random.RandomState(seed).permutation(n)[: int(labeled * n)]


def others(rows, n=N):
    return np.setdiff1d(np.arange(n), rows)


def weights(X):
    return np.exp(-GAMMA * cdist(X, X, "sqeuclidean"))


def refitted(victim, X, rows, codes):
    """Return what scikit-learn predicts of the points without a label, and what it infers."""
    given = np.full(len(X), -1)
    given[rows] = codes
    kind, settings = LabelPropagation, {}
    if victim == "spreading":
        kind, settings = LabelSpreading, {"alpha": ALPHA}
    model = kind(kernel="rbf", gamma=GAMMA, max_iter=N_ITER, tol=0.0, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, given)
    assert model.n_iter_ == N_ITER
    left = others(rows, len(X))
    return model.predict(X[left]), model.transduction_[left]


@functools.cache
def solved(victim, rows, ten=False):
    """Return M of the limits, (u, l), from dense matrices."""
    X, rows = (TEN if ten else TWO)[0], np.array(rows)
    W, left = weights(X), others(rows, len(X))
    np.fill_diagonal(W, 0.0)
    degree = W.sum(axis=1)
    if victim == "propagation":
        return np.linalg.solve((np.diag(degree) - W)[np.ix_(left, left)], W[np.ix_(left, rows)])
    S = W / np.sqrt(degree[:, None] * degree[None])
    return ((1 - ALPHA) * np.linalg.inv(np.eye(len(X)) - ALPHA * S))[np.ix_(left, rows)]


def expected(preset, victim, rows, codes):
    """Return what is scored and what is inferred."""
    if preset == "replication":
        return refitted(victim, X, rows, codes)
    found = (solved(victim, tuple(rows)) @ np.eye(2)[codes]).argmax(axis=1)
    return found, found


def ranking(rows, ties, X=X):
    """Return positions by descending MIR, ties by total influence or by position."""
    told = transcribe(X, rows, GAMMA)
    assert told.doubtful == 0
    return np.lexsort((-told.total if ties == "total" else np.zeros(len(rows)), -told.mir))


# --- the engine, run once


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return the table of all questions in both presets, and the store behind it."""
    folder = tmp_path_factory.mktemp("run")
    plans = [Plan(QUESTIONS, preset, ("digits-1-7",), PARTS, BUDGETS) for preset in PRESETS]
    with pytest.MonkeyPatch.context() as patch:
        few = functools.partial(correlation.sampled_correlations, samples=SAMPLES)
        patch.setattr(measuring, "sampled_correlations", few)
        found = reproduce(plans, folder, n_jobs=1)
    assert found.measured == len(found.table) == 2 * 74
    return found.table, Store(folder)


def rows_of(table, **where):
    for name, value in where.items():
        table = table[table[name] == value]
    return table


def one(table, **where):
    found = rows_of(table, **where)
    assert len(found) == 1, where
    return found.iloc[0]


def test_the_data_are_the_digits():
    for name, (X, codes, X_test, codes_test) in (("digits-1-7", TWO), ("digits", TEN)):
        data = prepare(name)
        np.testing.assert_array_equal(data.X, X)
        np.testing.assert_array_equal(data.X_test, X_test)
        np.testing.assert_array_equal(data.codes, codes)
        np.testing.assert_array_equal(data.codes_test, codes_test)
        assert data.n_classes == len(set(codes))


def test_every_row_says_what_it_is(run):
    table, _ = run
    assert set(table["gamma"]) == {GAMMA}
    assert table["seed"].eq(SEED).all()
    for labeled in PARTS:
        part = rows_of(table, labeled=labeled, repair="none")
        assert set(part["labels"]) == {int(labeled * len(X))}
    assert (table["labels"] + table["unlabeled"]).eq(len(X)).all()
    for name in ("victim_is", "device", "data", "versions", "machine", "finished", "key"):
        assert (table[name] != "").all(), name
    assert (table["seconds"] >= 0.0).all()
    names = set(rows_of(table, preset="replication", victim="propagation")["victim_is"])
    assert names == {
        "Propagation(n_iter=10, storage='auto'), scored by Propagation(n_iter=11, storage='auto')"
    }


# --- RQ1


def errors_of_flips(preset, victim, rows):
    """Flip every label alone and predict again."""
    left, errors = others(rows), []
    for j in range(len(rows)):
        codes = TRUTH[rows].copy()
        codes[j] = 1 - codes[j]
        errors.append((expected(preset, victim, rows, codes)[0] != TRUTH[left]).mean())
    return np.array(errors)


def argmax_counts(rows):
    W = weights(X)[np.ix_(others(rows), rows)]
    return np.bincount(W.argmax(axis=1), minlength=len(rows))


@EACH_PRESET
@pytest.mark.parametrize("victim", ["propagation", "spreading"])
@pytest.mark.parametrize("labeled", PARTS)
def test_correlations(run, preset, victim, labeled):
    row = one(run[0], kind="correlation", preset=preset, victim=victim, labeled=labeled)
    rows = drawn(labeled)
    errors = errors_of_flips(preset, victim, rows)
    assert len(set(errors)) > 3
    told = transcribe(X, rows, GAMMA)
    assert told.doubtful == 0
    for ending, measure in (("", told.mir), ("_argmax", argmax_counts(rows))):
        for name, function in (("kendall", kendalltau), ("pearson", pearsonr)):
            of_all = function(measure, errors)
            assert row[f"{name}{ending}"] == pytest.approx(of_all.statistic, abs=1e-9)
            assert row[f"{name}{ending}_p"] == pytest.approx(of_all.pvalue, rel=1e-6)
            low, high = spread(function, measure, errors)
            assert row[f"{name}{ending}_low"] == pytest.approx(low, abs=1e-9)
            assert row[f"{name}{ending}_high"] == pytest.approx(high, abs=1e-9)
    assert row["note"] == ""


def spread(function, measure, errors):
    """Return 2.5 and 97.5 % quantiles over samples of a tenth of the points, with replacement."""
    rng, found = np.random.default_rng(SEED), []
    size = max(2, len(errors) // 10)
    for _ in range(SAMPLES):
        some = rng.integers(0, len(errors), size)
        if len(set(measure[some])) > 1 and len(set(errors[some])) > 1:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                found.append(function(measure[some], errors[some]).statistic)
    return np.quantile(found, [0.025, 0.975])


def test_the_two_counts_differ(run):
    table = rows_of(run[0], kind="correlation")
    assert (table["kendall"] != table["kendall_argmax"]).all()
    assert (table["kendall_low"] <= table["kendall_high"]).all()


def test_samples_are_the_published_ones():
    assert (correlation.SAMPLES, correlation.PART) == (1000, 0.1)
    rng = np.random.default_rng(0)
    x = rng.normal(size=100)
    y = x + rng.normal(size=100)
    found = correlation.sampled_correlations(x, y, seed=3)
    # Ten of a hundred points: far from the correlation of all.
    assert found["pearson_high"] - found["pearson_low"] > 0.3
    assert found == correlation.sampled_correlations(x, y, seed=3)
    assert found != correlation.sampled_correlations(x, y, seed=4)
    # Nearly constant samples warn in scipy, and nothing of it is seen here.
    steps = np.repeat([1.0, 1.0 + 1e-15], 50)
    assert correlation.sampled_correlations(steps, steps, seed=0, samples=20)


def test_what_never_changes_has_no_correlation():
    assert correlation.correlations([2, 2, 2], [0.1, 0.2, 0.3]) == {}
    assert correlation.correlations([1, 2, 3], [0.1, 0.1, 0.1]) == {}
    assert correlation.sampled_correlations([2, 2, 2], [0.1, 0.2, 0.3], seed=0) == {}


# --- RQ2 to RQ4: errors


def flips_of(preset, attack, labeled, budget):
    """Return the labels after an attack, in the order of the draw."""
    rows = drawn(labeled)
    codes, count = TRUTH[rows].copy(), int(budget * len(rows))
    if attack == "none":
        return codes
    if attack == "mir":
        order = ranking(rows, "position" if preset == "replication" else "total")[:count]
        codes[order] = 1 - codes[order]
        return codes
    problem = gp.Problem(gp.RBFGraph(X, GAMMA), rows, codes, TRUTH)
    settings = {"preset": preset}
    if attack == "probabilistic":
        settings["random_state"] = SEED
    kind = {"greedy": Greedy, "probabilistic": Probabilistic}[attack](**settings)
    reads = Published.of(problem)
    if preset == "corrected":
        reads = gp.Harmonic().fit(problem.graph, problem.labeled)
    return kind.attack(problem, reads, count).apply(codes)


def repaired(repair, labeled, codes, n_flips):
    """Return rows and labels after a third of the effort was spent on checks."""
    rows, effort = drawn(labeled), max(1, n_flips // 3)
    if repair == "relabel":
        first = ranking(rows, "total")[:effort]
        mended = codes.copy()
        mended[first] = TRUTH[rows][first]
        return rows, mended
    if repair == "label-more":
        more = np.random.default_rng(SEED).permutation(others(rows))[:effort]
        return np.concatenate([rows, more]), np.concatenate([codes, TRUTH[more]])
    return rows, codes


@EACH_PRESET
@pytest.mark.parametrize("labeled", PARTS)
@pytest.mark.parametrize("attack", ["none", "mir", "greedy", "probabilistic"])
def test_transductive_errors_and_inferred_labels(run, preset, labeled, attack):
    table, store = run
    some = rows_of(table, model="transductive", preset=preset, labeled=labeled, attack=attack)
    n_victims = 2 if labeled == 0.25 and attack in ("none", "mir") else 1
    n_budgets, n_repairs = (1, 0) if attack == "none" else (2, 2 * (attack == "mir"))
    assert len(some) == n_victims * n_budgets + n_repairs
    for _, row in some.iterrows():
        codes = flips_of(preset, attack, labeled, row["budget"])
        n_flips = int((codes != TRUTH[drawn(labeled)]).sum())
        assert row["flips"] == n_flips
        rows, codes = repaired(row["repair"], labeled, codes, n_flips)
        assert row["labels"] == len(rows)
        scored, inferred = expected(preset, row["victim"], rows, codes)
        left = others(rows)
        assert row["error"] == pytest.approx((scored != TRUTH[left]).mean(), abs=1e-12)
        kept = store.load(row["key"]).codes
        np.testing.assert_array_equal(kept[rows], codes)
        np.testing.assert_array_equal(kept[left], inferred)


def test_attacks_do_harm(run):
    # Guards the comparisons above: the errors that they agree on are not all 0.
    table = rows_of(run[0], model="transductive", repair="none")
    assert rows_of(table, attack="none")["error"].max() < 0.02
    chosen = table[(table["budget"] == 0.2) & (table["attack"] != "random")]
    assert chosen["error"].min() > 0.2
    # scikit-learn's predict is one step more than what it infers, and that is another error.
    pair = [
        (one_row["error"], (run[1].load(one_row["key"]).codes != TRUTH)[others(drawn(0.25))].mean())
        for _, one_row in rows_of(table, preset="replication", labeled=0.25).iterrows()
    ]
    assert any(scored != inferred for scored, inferred in pair)


@EACH_PRESET
@pytest.mark.parametrize("labeled", PARTS)
def test_relabelling_checks_the_top_third_by_mir(run, preset, labeled):
    table, store = run
    where = {"preset": preset, "labeled": labeled, "model": "transductive", "attack": "mir"}
    before = one(table, **where, budget=0.1, repair="none", victim="propagation")
    after = one(table, **where, repair="relabel")
    effort = {0.1: 1, 0.25: 2}[labeled]
    assert before["flips"] == after["flips"] == {0.1: 2, 0.25: 7}[labeled]
    assert after["checks"] == effort
    rows = drawn(labeled)
    poisoned, mended = (store.load(row["key"]).codes[rows] for row in (before, after))
    changed = np.flatnonzero(poisoned != mended)
    assert set(changed) == set(ranking(rows, "total")[:effort])
    np.testing.assert_array_equal(mended[changed], TRUTH[rows][changed])
    assert after["error"] < before["error"]


@EACH_PRESET
@pytest.mark.parametrize("labeled", PARTS)
def test_labelling_more_adds_as_many_points(run, preset, labeled):
    row = one(run[0], preset=preset, labeled=labeled, model="transductive", repair="label-more")
    effort = {0.1: 1, 0.25: 2}[labeled]
    assert row["labels"] == len(drawn(labeled)) + effort
    assert row["unlabeled"] == len(X) - row["labels"]
    assert row["checks"] == effort


def test_what_is_not_repaired_has_no_checks(run):
    assert rows_of(run[0], repair="none")["checks"].isna().all()


# --- models


def trained(model, X, codes, seed, n_epochs=5):
    if model == "forest":
        return RandomForestClassifier(n_estimators=100, random_state=seed).fit(X, codes)
    perceptron = MLPClassifier(
        hidden_layer_sizes=(128,),
        activation="relu",
        solver="adam",
        max_iter=n_epochs,
        random_state=seed,
    )
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)
        return perceptron.fit(X, codes)


@pytest.mark.parametrize("model", ["forest", "mlp"])
@pytest.mark.parametrize("victim", ["propagation", "spreading"])
def test_models_are_scikit_learns_on_the_inferred_labels(run, model, victim):
    table, store = run
    where = {"model": model, "victim": victim, "labeled": 0.25, "preset": "replication"}
    errors = set()
    for _, row in rows_of(table, **where).iterrows():
        parent = one(
            rows_of(table, kind="error", model="transductive"),
            **{
                name: row[name]
                for name in ("preset", "labeled", "victim", "attack", "budget", "repair")
            },
        )
        codes = store.load(parent["key"]).codes
        assert store.load(row["key"]).codes is None
        wrong = trained(model, X, codes, SEED).predict(X_TEST) != TRUTH_TEST
        assert row["error"] == pytest.approx(wrong.mean(), abs=1e-12)
        errors.add(row["error"])
        for name in ("labels", "unlabeled", "flips"):
            assert row[name] == parent[name]
        assert row["checks"] is parent["checks"] or row["checks"] == parent["checks"]
        assert row["note"] == ""
    assert len(errors) > 1


@pytest.mark.parametrize("model", ["forest", "mlp"])
def test_equal_labels_are_trained_on_once(run, model):
    # Clean labels are the same after both victims where both are right: one model, many rows.
    table = rows_of(run[0], model=model, attack="none", labeled=0.25)
    assert len(table) == 4
    # The first of them took the time.
    assert (table["seconds"] > 0.0).sum() <= 2
    assert table["error"].nunique() <= 2


def test_models_of_ten_classes_and_sparse_features():
    X, codes, X_test, codes_test = TEN
    for model in ("forest", "mlp"):
        dense = model_error(model, (X, codes), (X_test, codes_test), seed=1)
        wrong = trained(model, X, codes, 1).predict(X_test) != codes_test
        assert dense == pytest.approx(wrong.mean(), abs=1e-12)
        sparse = model_error(model, (csr_array(X), codes), (csr_array(X_test), codes_test), seed=1)
        assert abs(sparse - dense) < 0.05


def test_an_unknown_model_is_refused():
    with pytest.raises(InputError, match="model='svm' is not known; use one of forest, mlp"):
        model_error("svm", (X, TRUTH), (X_TEST, TRUTH_TEST), seed=0)


# --- the perceptron in torch


def by_torch(data, seed=0, **settings):
    torch = pytest.importorskip("torch")
    X, codes, X_test, _ = data
    threads = torch.get_num_threads()
    # Threads that wait for one another on busy processors take most of the time.
    torch.set_num_threads(1)
    try:
        return predict_by_torch(Perceptron(**settings), X, codes, X_test, seed=seed, device="cpu")
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize(
    ("data", "n_epochs"), [(TWO, 40), (TEN, 5)], ids=["two classes", "ten classes"]
)
def test_torch_learns_what_scikit_learn_learns(data, n_epochs):
    X, codes, X_test, codes_test = data
    ours, theirs = [], []
    for seed in range(3):
        ours.append((by_torch(data, seed, n_epochs=n_epochs) != codes_test).mean())
        peer = trained("mlp", X, codes, seed, n_epochs).predict(X_test)
        theirs.append((peer != codes_test).mean())
    ours, theirs = np.mean(ours), np.mean(theirs)
    assert theirs < 0.2
    assert abs(ours - theirs) < (0.03 if data is TWO else 0.06)


def test_torch_is_the_same_for_one_seed():
    first, again, other = (by_torch(TEN, seed, n_epochs=1) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert first.dtype == np.int64


def test_torch_takes_sparse_features_and_any_codes():
    X, codes, X_test, _ = TWO
    named = np.where(codes == 0, 3, 8)
    told = by_torch((X, named, X_test, None))
    np.testing.assert_array_equal(told, np.where(by_torch(TWO) == 0, 3, 8))
    sparse = by_torch((csr_array(X), named, csr_array(X_test), None))
    np.testing.assert_array_equal(sparse, told)
    alone = by_torch((X, np.full(len(X), 4), X_test, None))
    np.testing.assert_array_equal(alone, np.full(len(X_test), 4))


def test_torch_follows_the_formulas():
    # One step of one batch: Adam's first step is the learning rate towards the gradient's sign.
    torch = pytest.importorskip("torch")
    from gssl_poison.experiments.perceptron import _drawn, _forward

    draw = torch.Generator().manual_seed(5)
    shapes = [_drawn(64, 128, draw), _drawn(128, 1, draw)]
    # scikit-learn's own, hardly moved: a step of next to nothing.
    codes = (np.arange(60) % 2).astype(int)
    theirs = MLPClassifier((128,), learning_rate_init=1e-12, max_iter=1, random_state=1)
    with pytest.warns(ConvergenceWarning):
        theirs.fit(np.random.default_rng(0).random((60, 64)), codes)
    for (matrix, offset), their, (n_in, n_out) in zip(
        shapes, theirs.coefs_, [(64, 128), (128, 1)], strict=True
    ):
        assert matrix.shape == their.shape == (n_in, n_out)
        assert offset.shape == (n_out,)
        assert float(abs(matrix).max()) == pytest.approx(abs(their).max(), rel=0.05)
    layers = [part for shape in shapes for part in shape]
    some = torch.as_tensor(X[:7], dtype=torch.float32)
    hidden = np.maximum(X[:7] @ layers[0].numpy() + layers[1].numpy(), 0.0)
    np.testing.assert_allclose(
        _forward(layers, some).numpy(),
        hidden @ layers[2].numpy() + layers[3].numpy(),
        rtol=1e-4,
        atol=1e-5,
    )
    # A penalty that outweighs all else leaves no weights, and so one class.
    assert len(set(by_torch(TWO, l2=1e6, learning_rate=0.1, n_epochs=60))) == 1


def test_torch_divides_the_penalty_by_the_batch():
    # In one batch, all points twice and twice the penalty are the same loss.
    X, codes, X_test, _ = (part[:300] for part in TEN)
    twice = np.vstack([X, X]), np.concatenate([codes, codes]), X_test, None
    once = X, codes, X_test, None
    settings = {"n_epochs": 15, "batch_size": 1000}
    told = by_torch(once, l2=300.0, **settings)
    np.testing.assert_array_equal(by_torch(twice, l2=600.0, **settings), told)
    assert (by_torch(once, l2=600.0, **settings) != told).any()


def test_torch_on_a_gpu():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        with pytest.raises(DeviceError, match=r"device='cuda' cannot run here: torch .* no GPU"):
            check_torch_device("cuda")
        pytest.skip("no GPU")
    errors = [
        model_error("mlp", (X, TRUTH), (X_TEST, TRUTH_TEST), seed=0, device=device)
        for device in ("cpu", "cuda")
    ]
    assert abs(errors[0] - errors[1]) < 0.05


def test_without_torch_there_is_no_gpu(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(DeviceError, match=r"not installed; install gssl-poison\[torch\]"):
        check_torch_device("cuda")


# --- RQ3: seconds


def test_seconds(run):
    table = rows_of(run[0], kind="seconds")
    assert len(table) == 2 * 3
    assert set(table["labeled"]) == {0.1}
    assert (table["seconds_median"] > 0.0).all()
    assert (table["seconds_deviation"] >= 0.0).all()
    assert table["timings"].tolist() == [3, 5, 3] * 2
    assert rows_of(table, attack="mir")["seconds_matrix"].isna().all()
    rest = table[table["attack"] != "mir"]
    assert (rest["seconds_matrix"] > 0.0).all()
    assert (rest["seconds_median"] > rest["seconds_matrix"]).all()
    assert (rows_of(table, attack="mir")["flips"] == 20).all()
    # No figure of time in a text: two runs that measured the same have the same.
    assert set(rest["note"]) == {
        "its matrix is made once, the search that follows is timed 3 times"
    }


def test_fewer_labels_than_flips_are_all_flipped(tmp_path):
    plan = Plan(("rq3",), "corrected", ("digits-1-7",), (0.05,), (0.1,), models=("transductive",))
    table = rows_of(reproduce(plan, tmp_path, n_jobs=1).table, kind="seconds")
    assert table["budget"].tolist() == [20.0] * 3
    assert table["flips"].tolist() == [14] * 3


# --- repeats


def test_another_seed_is_another_draw(tmp_path):
    plan = Plan(
        ("rq4",), "corrected", ("digits-1-7",), (0.1,), (0.1,), repeats=2, models=("transductive",)
    )
    found = reproduce(plan, tmp_path, n_jobs=1)
    table = found.table
    assert set(table["seed"]) == {2020, 2021}
    for _, row in rows_of(table, attack="none").iterrows():
        rows = drawn(0.1, row["seed"])
        codes = Store(tmp_path).load(row["key"]).codes
        np.testing.assert_array_equal(codes[rows], TRUTH[rows])
        scored = expected("corrected", "propagation", rows, TRUTH[rows])[0]
        assert row["error"] == pytest.approx((scored != TRUTH[others(rows)]).mean(), abs=1e-12)
        np.testing.assert_array_equal(codes[others(rows)], scored)


# --- ten classes


@pytest.fixture(scope="module")
def ten(tmp_path_factory):
    """Return the table of RQ1 and RQ3 on ten classes, one victim's errors only."""
    folder = tmp_path_factory.mktemp("ten")
    plans = [
        Plan(("rq1", "rq3"), p, ("digits",), (0.1,), (0.1,), models=("transductive",))
        for p in PRESETS
    ]
    with pytest.MonkeyPatch.context() as patch:
        few = functools.partial(correlation.sampled_correlations, samples=5)
        patch.setattr(measuring, "sampled_correlations", few)
        return reproduce(plans, folder, n_jobs=1).table, Store(folder)


@pytest.mark.parametrize("victim", ["propagation", "spreading"])
def test_ten_classes_take_the_mean_over_the_other_classes(ten, victim):
    X, truth = TEN[:2]
    rows = drawn(0.1, n=len(X))
    left = others(rows, len(X))
    M = solved(victim, tuple(rows), ten=True)
    clean = M @ np.eye(10)[truth[rows]]
    errors = np.zeros(len(rows))
    for j, own in enumerate(truth[rows]):
        for other in set(range(10)) - {own}:
            scores = clean.copy()
            scores[:, own] -= M[:, j]
            scores[:, other] += M[:, j]
            errors[j] += (scores.argmax(axis=1) != truth[left]).sum()
    told = transcribe(X, rows, GAMMA)
    assert told.doubtful == 0
    row = one(ten[0], kind="correlation", victim=victim, preset="corrected")
    # Whole numbers of wrong points: those that are equal have one rank.
    assert len(set(errors)) < len(errors)
    assert row["kendall"] == pytest.approx(kendalltau(told.mir, errors).statistic, abs=1e-9)
    assert row["pearson"] == pytest.approx(pearsonr(told.mir, errors).statistic, abs=1e-9)
    if victim == "propagation":
        # Correlations forget what all labels have in common; the errors themselves do not.
        problem = gp.Problem(gp.RBFGraph(X, GAMMA), rows, truth[rows], truth)
        found = measuring.errors_after_flips(gp.Harmonic().fit(problem.graph, rows), problem)
        np.testing.assert_allclose(found, errors / (9 * len(left)), rtol=1e-14)


def test_ten_classes_after_mir(ten):
    table, store = ten
    X, truth = TEN[:2]
    rows = drawn(0.1, n=len(X))
    left = others(rows, len(X))
    for preset in PRESETS:
        row = one(table, kind="error", preset=preset, attack="mir")
        codes = store.load(row["key"]).codes
        order = ranking(rows, "position" if preset == "replication" else "total", X)[
            : len(rows) // 10
        ]
        changed = np.flatnonzero(codes[rows] != truth[rows])
        assert set(changed) == set(order)
        assert row["flips"] == len(order)
        if preset == "replication":
            # A random class, never the own one.
            new = np.random.default_rng(SEED).integers(1, 10, len(order))
            np.testing.assert_array_equal(codes[rows][order], (truth[rows][order] + new) % 10)
            scored, inferred = refitted("propagation", X, rows, codes[rows])
        else:
            M = solved("propagation", tuple(rows), ten=True)
            scored = inferred = (M @ np.eye(10)[codes[rows]]).argmax(axis=1)
        assert row["error"] == pytest.approx((scored != truth[left]).mean(), abs=1e-12)
        np.testing.assert_array_equal(codes[left], inferred)


def test_ten_classes_have_no_published_greedy(ten):
    table = ten[0]
    assert set(rows_of(table, preset="replication")["attack"]) == {"", "none", "mir", "random"}
    greedy = one(table, kind="error", attack="greedy")
    assert greedy["error"] > one(table, kind="error", attack="none", preset="corrected")["error"]


# --- what is asked for in the wrong order


def test_models_need_their_labels(tmp_path):
    cell = Cell(
        "error", "digits-1-7", "corrected", 0.1, SEED, "propagation", "none", 0.0, "none", "forest"
    )
    with pytest.raises(InputError, match=r"the inferred labels of .* are gone from"):
        measuring.measure_models(measuring.Task((cell,), tmp_path))
    # Saved without labels, by hand or by a fault, they are no better.
    measuring.save(measuring.Task((), tmp_path), replace(cell, model="transductive"), {}, 0.0)
    with pytest.raises(InputError, match="run the command again"):
        measuring.measure_models(measuring.Task((cell,), tmp_path))


def test_the_error_after_a_flip_needs_the_truth():
    rows = drawn(0.1)
    problem = gp.Problem(gp.RBFGraph(X, GAMMA), rows, TRUTH[rows])
    with pytest.raises(InputError, match="needs the truth"):
        measuring.errors_after_flips(gp.Harmonic().fit(problem.graph, rows), problem)
