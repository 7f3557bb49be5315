"""`Predicted` against scikit-learn's predict and exact arithmetic, and weights that are shared."""

from __future__ import annotations

import gc
import json
import pickle
import warnings
import weakref

import mpmath
import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.semi_supervised import LabelPropagation, LabelSpreading
from test_propagation import GRAPHS, LABELED, N, exact
from typer.testing import CliRunner

import gssl_poison as gp
from gssl_poison._attacking import name_of
from gssl_poison.cli import app
from gssl_poison.datasets import load_dataset
from gssl_poison.exceptions import InputError, InputTypeError, NumericalError
from gssl_poison.experiments import preset_of
from gssl_poison.metrics import predict
from gssl_poison.propagation import (
    Direct,
    Harmonic,
    Predicted,
    Propagation,
    Spreading,
    parse_propagator,
    shared_weights,
    walks,
)

EVERYONE = np.arange(N)
INNER = [
    "direct",
    "propagation:n_iter=1",
    "propagation:n_iter=7",
    "harmonic:unreached=leave",
    "spreading:alpha=0.2,n_iter=6",
    "spreading:alpha=0.8",
    "spreading:alpha=0.95",
]
EACH = pytest.mark.parametrize(
    ("name", "text"), [(name, text) for name in GRAPHS for text in INNER]
)


# --- scikit-learn's own predict


def three_classes():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 80)
    return rng.normal(size=(80, 3)) + 1.3 * np.eye(3)[truth], truth, rng.permutation(80)[:15]


def digits():
    data = load_dataset("digits-1-7", labeled=0.1)
    truth = (np.asarray(data.truth) == 7).astype(int)
    labeled = np.random.default_rng(1).permutation(len(truth))[:36]
    return np.asarray(data.X, dtype=np.float64) / 16.0, truth, labeled


PEERS = [
    (LabelPropagation, {}, Propagation, {}),
    (LabelSpreading, {"alpha": 0.2}, Spreading, {"alpha": 0.2}),
    (LabelSpreading, {"alpha": 0.9}, Spreading, {"alpha": 0.9}),
]


@pytest.mark.parametrize("n_iter", [1, 2, 10])
@pytest.mark.parametrize(("peer", "theirs", "kind", "ours"), PEERS)
@pytest.mark.parametrize(("make", "gamma"), [(digits, 0.05), (digits, 0.5), (three_classes, 1.0)])
def test_it_is_what_scikit_learn_predicts(make, gamma, peer, theirs, kind, ours, n_iter):
    X, truth, labeled = make()
    given = np.full(len(X), -1)
    given[labeled] = truth[labeled]
    model = peer(kernel="rbf", gamma=gamma, max_iter=n_iter, tol=0.0, **theirs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, given)
    assert model.n_iter_ == n_iter
    fitted = Predicted(kind(n_iter=n_iter, **ours)).fit(gp.RBFGraph(X, gamma), labeled)
    scores = fitted.apply(np.eye(truth.max() + 1)[truth[labeled]], normalized=True)
    np.testing.assert_allclose(scores, model.predict_proba(X), rtol=0.0, atol=1e-10)
    np.testing.assert_array_equal(predict(scores), model.predict(X))
    # Not what scikit-learn infers: predict is a step of its own, and the sums are already 1.
    assert abs(scores - model.label_distributions_).max() > 1e-3
    np.testing.assert_allclose(fitted.matrix().sum(axis=1), 1.0, atol=1e-12)


# --- one matrix


def exactly(W, inner):
    """P times the shares of M, over what of P goes to points that a label reaches."""
    with mpmath.workdps(80):
        states = [i for i in range(N) if i not in LABELED]
        if isinstance(inner, Harmonic):
            M = exact(inner, W, LABELED, states)
        else:
            M = exact(inner, W, LABELED, None)
        F = [[v / (sum(row) or 1) for v in row] for row in M]
        told = [[sum(w * f[c] for w, f in zip(row, F, strict=True)) for c in range(4)] for row in W]
        return np.array([[float(v / (sum(row) or 1)) for v in row] for row in told])


@EACH
def test_it_is_exact_arithmetic_on_every_graph(name, text):
    graph, inner = GRAPHS[name](), parse_propagator(text)
    with mpmath.workdps(80):
        W = [
            [mpmath.exp(mpmath.mpf(v)) if v > -np.inf else mpmath.mpf(0) for v in row]
            for row in graph.log_weights(EVERYONE, EVERYONE).tolist()
        ]
    told = exactly(W, inner)
    fitted = Predicted(inner).fit(graph, LABELED)
    np.testing.assert_allclose(fitted.matrix(EVERYONE), told, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(fitted.shares(EVERYONE), told, rtol=1e-8, atol=1e-9)
    np.testing.assert_array_equal(fitted.unreached, np.flatnonzero(told.sum(axis=1) == 0.0))


@EACH
def test_apply_adjoint_and_rows_are_one_matrix(name, text, rng):
    inner = parse_propagator(text)
    fitted = Predicted(inner).fit(GRAPHS[name](), LABELED)
    M = fitted.matrix(EVERYONE)
    Y, R = rng.normal(size=(4, 3)), rng.normal(size=(N, 3))
    close = {"rtol": 1e-9, "atol": 1e-9}
    np.testing.assert_allclose(fitted.apply(Y), M @ Y, **close)
    np.testing.assert_allclose(fitted.apply(1e-250 * Y), 1e-250 * (M @ Y), rtol=1e-9, atol=1e-259)
    np.testing.assert_allclose(fitted.adjoint(R), M.T @ R, **close)
    np.testing.assert_allclose(fitted.adjoint(1e250 * R), 1e250 * (M.T @ R), atol=1e241)
    assert not fitted.adjoint(0.0 * R).any()
    # Fewer rows than labels come from the adjoint.
    np.testing.assert_allclose(fitted.matrix([3, 9, 0]), M[[3, 9, 0]], **close)
    held = fitted.stored()
    np.testing.assert_allclose(held.matrix(EVERYONE), M, **close)
    np.testing.assert_allclose(held.apply(Y), M @ Y, **close)
    blocks = [block for _, block in fitted.share_blocks(5)]
    np.testing.assert_allclose(np.vstack(blocks), fitted.shares(), **close)


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("n_iter", [1, 2, 6])
def test_after_the_clamped_loop_it_is_one_iteration_more(name, n_iter):
    graph = GRAPHS[name]()
    told = Predicted(Propagation(n_iter)).fit(graph, LABELED)
    later = Propagation(n_iter + 1).fit(graph, LABELED)
    np.testing.assert_allclose(told.matrix(), later.matrix(), rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(np.setdiff1d(told.unreached, LABELED), later.unreached)
    # Labelled points are not clamped again: there the two differ.
    if name == "dense":
        assert abs(told.matrix(LABELED) - later.matrix(LABELED)).max() > 1e-3


def test_the_harmonic_solution_predicts_itself():
    graph = GRAPHS["rbf"]()
    told, inner = (kind.fit(graph, LABELED) for kind in (Predicted(Harmonic()), Harmonic()))
    np.testing.assert_allclose(told.matrix(), inner.matrix(), rtol=0.0, atol=1e-12)


def chain(step):
    """Points in a row whose weights fall by exp(-step) for every one nearer to its end."""
    log_weights = np.full((9, 9), -np.inf)
    for i in range(8):
        log_weights[i, i + 1] = log_weights[i + 1, i] = -step * i
    np.fill_diagonal(log_weights, 0.0)
    return gp.DenseGraph.from_log_weights(log_weights)


@pytest.mark.parametrize("n_iter", [8, 12])
def test_scores_that_are_far_below_1_are_divided_first(n_iter):
    graph, labeled = chain(90.0), [0, 1]
    inner = Spreading(0.2, n_iter=n_iter).fit(graph, labeled)
    sums = inner.matrix(np.arange(9)).sum(axis=1)
    assert 0.0 < sums.min() < 1e-130
    shares = inner.shares(np.arange(9))
    W = np.exp(graph.log_weights(np.arange(9), np.arange(9)))
    fitted = Predicted(Spreading(0.2, n_iter=n_iter)).fit(graph, labeled)
    expected = (W @ shares) / W.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(fitted.matrix(np.arange(9)), expected, rtol=1e-12)
    np.testing.assert_allclose(fitted.adjoint(np.eye(9)).T, expected, rtol=1e-12)
    np.testing.assert_allclose(fitted.matrix([8]), expected[[8]], rtol=1e-12)


def test_a_far_point_is_waited_for_where_labels_cancel():
    """Signed labels of a triangle die out fast, and what leaks to the other one does not."""
    W = np.zeros((6, 6))
    W[:3, :3] = W[3:, 3:] = 1.0
    W[0, 3] = W[3, 0] = np.exp(-80.0)
    fitted = Predicted(Spreading(0.8)).fit(gp.DenseGraph(W), [0, 1])
    assert fitted.method == "series"
    M, Y = fitted.matrix(np.arange(6)), np.array([[1.0], [-1.0]])
    assert abs(M[3:] @ Y).min() > 0.1
    np.testing.assert_allclose(fitted.apply(Y), M @ Y, rtol=1e-11, atol=1e-11)


def test_scores_beyond_float64_are_refused():
    with pytest.raises(NumericalError, match="too small for float64"):
        Predicted(Spreading(0.2, n_iter=30)).fit(chain(600.0), [0])


def test_pruned_weights_predict_the_same():
    graph = GRAPHS["rbf, gamma 20"]()
    kept, free = (
        Predicted(Propagation(4, storage=storage)).fit(graph, LABELED)
        for storage in ("pruned", "free")
    )
    assert isinstance(kept.operator.walk, walks.Stored)
    assert not isinstance(free.operator.walk, walks.Stored)
    np.testing.assert_allclose(kept.matrix(), free.matrix(), rtol=0.0, atol=1e-12)
    R = np.random.default_rng(0).normal(size=(N, 2))
    np.testing.assert_allclose(kept.adjoint(R), free.adjoint(R), rtol=0.0, atol=1e-12)


# --- what it is not


def test_a_label_cannot_be_left_out():
    fitted = Predicted(Spreading(n_iter=3)).fit(GRAPHS["rbf"](), LABELED)
    with pytest.raises(InputError, match=r"Predicted\(.*no formula.*predicts from the scores"):
        fitted.leave_one_out()


@pytest.mark.parametrize("inner", ["direct", None, Direct, Predicted(Direct())], ids=repr)
def test_what_is_no_propagator_is_refused(inner):
    with pytest.raises(InputTypeError, match=r"no propagator to predict from; give Direct\(\)"):
        Predicted(inner)


def test_settings_of_the_inner_propagator_are_kept():
    one = Predicted(Spreading(0.3, n_iter=4, storage="free"))
    assert one == Predicted(Spreading(0.3, n_iter=4, storage="free")) != Predicted(Spreading(0.3))
    fitted = one.fit(GRAPHS["rbf"](), LABELED)
    assert fitted.operator.walk.operator.storage == "free"
    assert (fitted.method, fitted.n_iter, fitted.clamped) == ("loop", 4, False)
    again = pickle.loads(pickle.dumps(fitted))  # noqa: S301 - its own bytes
    np.testing.assert_array_equal(again.matrix(), fitted.matrix())


# --- the preset that scores with it


def test_the_replication_scores_spreading_by_predict():
    replication, corrected = preset_of("replication"), preset_of("corrected")
    loop = Spreading(0.2, n_iter=10)
    assert replication.scored(loop) == Predicted(loop)
    assert replication.scored(Propagation(10)) == Propagation(11)
    for victim in (Spreading(0.2), Harmonic(), Direct()):
        assert replication.scored(victim) is victim
    for victim in (loop, Propagation(10)):
        assert corrected.scored(victim) is victim


def document(*arguments):
    result = CliRunner().invoke(app, ["attack", "digits-1-7", "--labeled", "0.1", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_command_line_scores_spreading_by_predict():
    victim = ("--victim", "spreading:alpha=0.2,n_iter=10", "--method", "mir", "--gamma", "0.005")
    found = json.loads(document(*victim, "--preset", "replication", "--json"))
    assert found["victim"] == "spreading:n_iter=10"
    assert found["scored"] == "predicted:spreading:n_iter=10"
    data = load_dataset("digits-1-7", labeled=0.1)
    given = np.array([-1 if label is None else int(label) for label in data.y.tolist()])
    X, truth = np.asarray(data.X, dtype=np.float64), np.asarray(data.truth).astype(int)
    errors = []
    hidden = given == -1
    for flipped in ([], [flip["point"] for flip in found["order"]]):
        labels = given.copy()
        labels[flipped] = 8 - labels[flipped]
        model = LabelSpreading(kernel="rbf", gamma=0.005, alpha=0.2, max_iter=10, tol=0.0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            errors.append(1.0 - model.fit(X, labels).score(X[hidden], truth[hidden]))
    assert found["clean_error"] == pytest.approx(errors[0], abs=1e-12)
    assert found["budgets"][-1]["error"] == pytest.approx(errors[1], abs=1e-12)
    said = " ".join(document(*victim, "--preset", "replication").split())
    assert "victim spreading:n_iter=10, scored with predict: one step more" in said


def test_names():
    assert name_of(Predicted(Direct())) == "predicted:direct"
    assert name_of(Predicted(Propagation(3))) == "predicted:propagation:n_iter=3"


# --- weights that are shared


@pytest.fixture
def built(monkeypatch):
    """Count what is built: the graph and the purpose of every new walk."""
    calls = []

    def count(name):
        new = getattr(walks, name)

        def counted(graph, storage):
            calls.append((id(graph), name, storage))
            return new(graph, storage)

        monkeypatch.setattr(walks, name, counted)

    count("_new_walk")
    count("_new_similarity")
    return calls


FITS = (Propagation(10), Propagation(11), Spreading(0.2, n_iter=5), Predicted(Spreading(n_iter=9)))


@pytest.mark.parametrize("name", ["rbf", "dense", "rbf, gamma 120"])
def test_weights_are_built_once_in_a_block(name, built):
    graph, labeled = GRAPHS[name](), [1, 2]
    outside = [kind.fit(graph, LABELED).matrix() for kind in FITS]
    assert len(built) == 5
    built.clear()
    with shared_weights():
        inside = [kind.fit(graph, LABELED).matrix() for kind in FITS]
        Propagation(4).fit(graph, labeled)
        assert sorted(call[1] for call in built) == ["_new_similarity", "_new_walk"]
    for one, other in zip(outside, inside, strict=True):
        np.testing.assert_array_equal(one, other)
    Propagation(10).fit(graph, LABELED)
    assert len(built) == 3


def test_a_sparse_graph_shares_its_similarity(built):
    graph = GRAPHS["sparse ring"]()
    with shared_weights():
        first, second = (Spreading(0.2, n_iter=k).fit(graph, LABELED) for k in (3, 4))
    assert first.operator.walk is second.operator.walk
    assert len(built) == 1


def test_graphs_and_storages_are_kept_apart(built):
    with shared_weights():
        fitted = [Propagation(3).fit(GRAPHS["rbf"](), LABELED) for _ in range(3)]
        assert len({id(one.operator.walk) for one in fitted}) == 3
        # The block holds its graphs: no new one can have the id of one that is gone.
        assert len({call[0] for call in built}) == 3
        graph = fitted[0].graph
        Propagation(3, storage="free").fit(graph, LABELED)
        Propagation(3, storage="triangle").fit(graph, LABELED)
    assert len(built) == 5


def test_a_graph_cannot_die_and_leave_its_weights_to_another(built):
    with shared_weights():
        for gamma in (1.0, 2.0, 3.0, 4.0):
            graph = gp.RBFGraph(GRAPHS["rbf"]().X, gamma)
            told = Propagation(3).fit(graph, LABELED).matrix()
            del graph
            gc.collect()
            alone = Propagation(3, storage="free").fit(
                gp.RBFGraph(GRAPHS["rbf"]().X, gamma), LABELED
            )
            np.testing.assert_allclose(told, alone.matrix(), rtol=1e-9)


def test_nothing_is_held_after_the_block():
    graph = GRAPHS["rbf"]()
    gone = weakref.ref(graph)
    block = shared_weights()
    block.__enter__()
    Propagation(3).fit(graph, LABELED)
    del graph
    gc.collect()
    assert gone() is not None
    failure = ZeroDivisionError()
    assert not block.__exit__(ZeroDivisionError, failure, None)
    gc.collect()
    assert gone() is None


def test_an_inner_block_knows_the_outer_one_and_drops_its_own(built):
    first, second = GRAPHS["rbf"](), GRAPHS["dense"]()
    with shared_weights():
        Propagation(3).fit(first, LABELED)
        with shared_weights():
            Propagation(3).fit(first, LABELED)
            Propagation(3).fit(second, LABELED)
        assert len(built) == 2
        Propagation(3).fit(first, LABELED)
        assert len(built) == 2
        Propagation(3).fit(second, LABELED)
        assert len(built) == 3
