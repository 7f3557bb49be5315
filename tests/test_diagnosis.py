"""The diagnosis: against plain formulas, against the loops it speaks of, and its words."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.semi_supervised import LabelPropagation

from gssl_poison import DenseGraph, Direct, InputError, Propagation, RBFGraph, SparseGraph
from gssl_poison.diagnosis import Count, diagnose
from gssl_poison.diagnosis.rows import look_at_rows
from gssl_poison.diagnosis.words import in_bytes, in_power, sections


def points(n=60, d=4, seed=3):
    return np.random.default_rng(seed).normal(size=(n, d))


def full_weights(X, gamma):
    return np.exp(-gamma * ((X[:, None, :] - X[None, :, :]) ** 2).sum(axis=2))


LABELED = np.array([3, 17, 40, 58])


def as_kinds(X, gamma):
    """The same complete graph as the three kinds of graph."""
    W = full_weights(X, gamma)
    return {"rbf": RBFGraph(X, gamma), "dense": DenseGraph(W), "sparse": SparseGraph(csr_array(W))}


@pytest.mark.parametrize("kind", ["rbf", "dense", "sparse"])
def test_the_figures_are_those_of_the_plain_formulas(kind):
    X, gamma = points(), 0.7
    W = full_weights(X, gamma)
    rows = np.setdiff1d(np.arange(60), LABELED)
    P = W / W.sum(axis=1, keepdims=True)
    between = W - np.diag(W.diagonal())
    shares = between[rows] / between[rows].sum(axis=1, keepdims=True)
    to_labels = W[np.ix_(rows, LABELED)] / W[np.ix_(rows, LABELED)].sum(axis=1, keepdims=True)
    found = diagnose(as_kinds(X, gamma)[kind], LABELED)

    def check(spread, values):
        expected = (values.min(), np.median(values), values.max())
        assert (spread.least, spread.median, spread.largest) == pytest.approx(expected, rel=1e-9)

    check(found.self_loops.share, P.diagonal()[rows])
    check(found.self_loops.log10_rest, np.log10(1.0 - P.diagonal()[rows]))
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = -np.where(shares > 0.0, shares * np.log(shares), 0.0).sum(axis=1)
    check(found.neighbours.everyone, np.exp(entropy))
    check(found.neighbours.labels, np.exp(-(to_labels * np.log(to_labels)).sum(axis=1)))
    check(found.conditioning.log10_leave, np.log10(shares[:, LABELED].sum(axis=1)))
    assert found.loop.decided.found == (to_labels.max(axis=1) > 0.5).sum()
    assert found.loop.decided_wholly.found == (to_labels.max(axis=1) > 0.999).sum()
    assert found.loop.second_change == pytest.approx(2.0 * (1.0 - P.diagonal()[rows]).sum())
    assert found.exact
    assert found.n_looked_at == 56
    assert (found.graph, found.symmetric, found.reach.unreached) == (kind, True, 0)
    assert found.gamma == (gamma if kind == "rbf" else None)


def test_blocks_change_no_figure(monkeypatch):
    graph = RBFGraph(points(), 0.7)
    whole = diagnose(graph, LABELED).as_dict()
    monkeypatch.setattr("gssl_poison.diagnosis.rows._BLOCK", 40)
    monkeypatch.setattr("gssl_poison.diagnosis.rows._VALUES", 28)
    pieces = diagnose(graph, LABELED).as_dict()

    def same(a, b):
        if isinstance(a, dict):
            return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a if k != "free_memory")
        return a == pytest.approx(b, rel=1e-12) if isinstance(a, float) else a == b

    assert same(whole, pieces)


def test_sums_hold_where_every_weight_is_below_float64():
    X = 100.0 * np.arange(5.0)[:, None]
    facts = look_at_rows(RBFGraph(X, 1.0), np.array([1, 2, 3]), np.array([0, 4]), -44.0)
    # Each point hears the next ones at -10,000, and a label at -10,000 or two at -40,000.
    np.testing.assert_allclose(facts.everyone.log_sum, -1e4 + math.log(2.0), rtol=1e-15)
    np.testing.assert_allclose(facts.everyone.effective, 2.0)
    np.testing.assert_allclose(facts.labeled.top, [-1e4, -4e4, -1e4])
    np.testing.assert_allclose(facts.labeled.effective, [1.0, 2.0, 1.0])
    np.testing.assert_array_equal(facts.kept, 0)


def test_underflow_is_counted_where_each_type_loses_weights():
    # Squared distances to the only label, at gamma 1, around both types' smallest numbers.
    squared = np.array([0.0, 80.0, 90.0, 103.0, 105.0, 700.0, 720.0, 744.0, 747.0])
    log_W = np.full((9, 9), -2e3)
    log_W[0, :] = log_W[:, 0] = -squared
    graph = DenseGraph.from_log_weights(log_W)
    found = diagnose(graph, np.array([0]))
    single = np.exp(-squared[1:].astype(np.float32), dtype=np.float32)
    double = np.exp(-squared[1:])
    tiny = {d: np.finfo(d).tiny for d in (np.float32, np.float64)}
    assert found.float32.no_label.found == (single == 0).sum() == 5
    assert found.float32.few_digits_label.found == (single < tiny[np.float32]).sum() == 7
    assert found.float64.no_label.found == (double == 0).sum() == 1
    assert found.float64.few_digits_label.found == (double < tiny[np.float64]).sum() == 3
    # Nothing but the label is near: what is lost to it is lost to everyone.
    assert found.float64.no_neighbour == found.float64.no_label


def test_missing_edges_are_not_underflow():
    W = csr_array(np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]))
    found = diagnose(SparseGraph(W), np.array([0]))
    assert found.float32.no_label.found == found.float32.no_neighbour.found == 0
    assert found.reach.no_labeled_neighbour == 1
    assert found.reach.steps == 2


def test_scikit_learn_stops_where_the_diagnosis_says_so():
    # On a grid, where no two points are near: all distances to labels stay within float64.
    X = np.stack(np.divmod(np.arange(60), 10), axis=1) + 0.1 * points(60, 2)
    labeled = np.arange(0, 60, 4)
    y = np.full(60, -1)
    y[labeled] = labeled % 3
    stops = {}
    for gamma in (1.0, 4.0, 16.0, 40.0):
        found = diagnose(RBFGraph(X, gamma), labeled)
        assert found.float64.no_label.found == 0  # else scikit-learn does something else
        stops[gamma] = found.loop.one_step
        if found.loop.one_step:
            assert LabelPropagation(gamma=gamma).fit(X, y).n_iter_ == 2
    assert stops[40.0]
    assert not stops[1.0]


def test_settled_points_keep_the_class_of_their_nearest_label():
    X, gamma = points(n=120), 6.0
    labeled = np.arange(0, 120, 6)
    graph = DenseGraph(full_weights(X, gamma))
    found = diagnose(graph, labeled)
    assert 0 < found.loop.settled.found < found.loop.decided.found
    first, later = Direct().fit(graph, labeled), Propagation(30).fit(graph, labeled)
    nearest = first.matrix().argmax(axis=1)
    rng = np.random.default_rng(0)
    kept = np.ones(nearest.size, dtype=bool)
    for _ in range(40):
        codes = rng.integers(0, 2, labeled.size)
        scores = later.apply(np.eye(2)[codes])[later.unlabeled]
        kept &= scores.argmax(axis=1) == codes[nearest]
    assert found.loop.settled.found <= kept.sum()


def test_a_nearest_neighbour_rule_is_called_that():
    graph = RBFGraph(points(), 200.0)
    found = diagnose(graph, LABELED)
    assert found.loop.nearest_neighbour
    assert found.recommended == "direct"
    assert any("nearest-neighbour rule" in text for text in found.warnings)
    local = diagnose(RBFGraph(points(), 0.5), LABELED)
    assert not local.loop.nearest_neighbour
    assert local.recommended == "harmonic"
    assert not any("nearest-neighbour" in text for text in local.warnings)


def test_the_zeros_of_published_scripts_are_foreseen():
    X = points()
    for gamma in (0.5, 10.0, 60.0):
        W = full_weights(X, gamma)
        rows = np.setdiff1d(np.arange(60), LABELED)
        zeros = (W.sum(axis=1) - W.diagonal() == 0.0)[rows]
        found = diagnose(RBFGraph(X, gamma), LABELED).conditioning.zero_diagonal
        # The order of a sum may turn the last bit of a row or two.
        assert abs(found.found - zeros.sum()) <= 2
    assert zeros.sum() > 20


def test_unreached_points_are_counted_in_parts():
    edges = [(0, 1), (1, 2), (3, 4), (5, 6), (6, 7)]
    W = np.zeros((9, 9))
    for i, j in edges:
        W[i, j] = W[j, i] = 1.0
    for graph in (SparseGraph(csr_array(W)), DenseGraph(W)):
        found = diagnose(graph, np.array([0, 3]))
        assert found.reach.unreached == 4
        assert found.reach.first_unreached == (5, 6, 7, 8)
        assert found.reach.components == 2
        assert found.reach.no_labeled_neighbour == 5
        assert found.reach.steps == 2
        assert found.recommended == "harmonic:unreached=leave"
        assert any("(rows 5, 6, 7, 8) in 2 parts" in text for text in found.warnings)


def test_a_directed_graph_is_named():
    W = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    found = diagnose(SparseGraph(csr_array(W)), np.array([0]))
    assert not found.symmetric
    assert any("directed" in text for text in found.warnings)


def test_points_alone_do_not_stop_it():
    found = diagnose(DenseGraph(np.eye(3)), np.array([0]))
    assert found.reach.unreached == 2
    assert found.neighbours.everyone.median is None
    assert found.loop.log10_steps is None
    json.dumps(found.as_dict(), allow_nan=False)
    assert "for ever" in str(found)


def test_labels_that_are_heard_alike_are_told():
    found = diagnose(RBFGraph(points(), 1e-4), LABELED)
    assert found.neighbours.labels.median == pytest.approx(4.0, abs=0.01)
    assert any("heard almost alike" in text for text in found.warnings)


def test_a_sample_says_that_it_is_one():
    graph = RBFGraph(points(n=400), 3.0)
    labeled = np.arange(0, 400, 10)
    everyone, some = diagnose(graph, labeled), diagnose(graph, labeled, sample=100)
    assert everyone.exact
    assert not some.exact
    assert some.n_looked_at == 100
    decided = some.loop.decided
    assert (decided.looked_at, decided.everyone) == (100, 360)
    assert decided.points == round(decided.found * 3.6)
    assert abs(decided.points - everyone.loop.decided.points) < 60
    assert str(decided).startswith("about ")
    assert str(everyone.loop.decided) == f"{everyone.loop.decided.found} of 360 points"
    assert diagnose(graph, labeled, sample=100).as_dict()["loop"] == some.as_dict()["loop"]
    assert diagnose(graph, labeled, sample=100, seed=1).loop != some.loop


def test_counts_claim_no_more_than_was_counted():
    assert str(Count(0, 100, 0, 5000)) == "none of 100 points looked at"
    assert str(Count(100, 100, 5000, 5000)) == "all 100 points looked at"
    assert str(Count(29, 100, 1450, 5000)) == "about 1,400 of 5,000 points"
    assert str(Count(1, 7, 1, 7)) == "1 of 7 points"
    assert str(Count(1, 1, 1, 1)) == "all 1 point"


def test_memory_is_compared_with_what_is_free(monkeypatch):
    graph = RBFGraph(points(), 0.5)
    needs = {need.solver: need for need in diagnose(graph, LABELED).memory}
    assert needs["scikit-learn LabelPropagation"].n_bytes == 8 * 60**2
    assert needs["scikit-learn LabelSpreading"].n_bytes == 24 * 60**2
    assert all(need.fits for need in needs.values())
    monkeypatch.setattr("gssl_poison.diagnosis.available_memory", lambda: 30_000)
    small = diagnose(graph, LABELED)
    assert [need.fits for need in small.memory][:2] == [True, False]
    assert any("LabelSpreading would need" in text for text in small.warnings)
    assert small.recommended == "propagation:n_iter=10"
    assert "does not fit into memory" in small.reason


def test_too_many_points_are_sent_to_a_graph_of_neighbours(monkeypatch):
    monkeypatch.setattr("gssl_poison.diagnosis.advice._PATIENCE", 10.0)
    found = diagnose(RBFGraph(points(), 0.5), LABELED)
    assert (found.recommended, found.recommended_graph) == ("harmonic", "knn:n_neighbors=10")
    assert "on graph knn:n_neighbors=10" in str(found)


def test_a_ranking_that_takes_hours_is_told(monkeypatch):
    sparse = as_kinds(points(), 0.5)["sparse"]
    assert not any("once for each" in text for text in diagnose(sparse, LABELED).warnings)
    monkeypatch.setattr("gssl_poison.diagnosis.advice._PATIENCE", 10.0)
    for graph in (sparse, RBFGraph(points(), 0.5)):
        warnings = diagnose(graph, LABELED).warnings
        assert any("solves once for each of 4 labels" in text for text in warnings)


def test_labels_that_mix_over_long_walks_are_told():
    X = points(n=400, d=2)
    few, many = np.arange(0, 400, 80), np.arange(0, 400, 4)
    said = "labels mix over long walks"
    assert any(said in text for text in diagnose(RBFGraph(X, 1.0), few).warnings)
    assert not any(said in text for text in diagnose(RBFGraph(X, 1.0), many).warnings)
    assert not any(said in text for text in diagnose(RBFGraph(X, 50.0), few).warnings)


def test_sparse_features_are_looked_at_as_dense_ones_are():
    X = np.where(np.random.default_rng(0).random((50, 30)) < 0.2, 1.5, 0.0)
    dense, sparse = (diagnose(RBFGraph(data, 0.3), LABELED[:3]) for data in (X, csr_array(X)))
    assert dense.loop.decided == sparse.loop.decided
    assert dense.neighbours.everyone.median == pytest.approx(sparse.neighbours.everyone.median)


@pytest.mark.parametrize("kind", ["rbf", "dense", "sparse"])
@pytest.mark.parametrize("gamma", [0.5, 5.0, 500.0])
def test_the_dictionary_is_plain_json(kind, gamma):
    found = diagnose(as_kinds(points(), gamma)[kind], LABELED)
    document = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert document == found.as_dict()
    assert document["loop"]["decided"]["everyone"] == 56


def test_the_words_fit_a_terminal():
    for gamma in (0.01, 5.0, 500.0):
        found = diagnose(RBFGraph(points(n=300), gamma), np.arange(30), sample=50)
        for _, lines in sections(found):
            for name, value in lines:
                assert len(name) <= 35
                assert len(value) <= 41
        text = str(found)
        assert "nan" not in text
        assert found.reason in text


def test_numbers_beyond_float64_have_words():
    assert in_power(-400.3) == "5e-401"
    assert in_power(-0.02218) == "0.95"
    assert in_power(15.9999) == "1e16"
    assert in_power(3.1, whole=True) == "1,259"
    assert in_power(None) == "0"
    assert in_bytes(1353456392) == "1.3 GiB"
    assert in_bytes(10) == "1 MiB"


@pytest.mark.parametrize("sample", [0, -1, 2.5, True, "many"])
def test_a_sample_that_is_no_number_of_points_is_refused(sample):
    with pytest.raises(InputError, match="sample="):
        diagnose(RBFGraph(points(), 1.0), LABELED, sample=sample)


@pytest.mark.parametrize("labeled", [[], [0, 0], [99], np.arange(60)])
def test_labelled_points_that_are_none_are_refused(labeled):
    with pytest.raises(InputError):
        diagnose(RBFGraph(points(), 1.0), labeled)


def test_mnist_at_the_gammas_of_the_papers(data_dir):
    from gssl_poison import load_dataset
    from gssl_poison.labels import split_labels

    data = load_dataset("mnist-1-7", labeled=0.05)
    labeled = split_labels(data.y, data.X.shape[0]).labeled
    five, twenty = (diagnose(RBFGraph(data.X, gamma), labeled) for gamma in (5.0, 20.0))
    assert not five.exact
    assert five.loop.nearest_neighbour
    # Half of the diagonal of D - W, says design section 2.
    assert five.conditioning.zero_diagonal.part == pytest.approx(0.5, abs=0.07)
    assert five.float32.no_label.found > 100
    assert five.float64.no_label.found == 0
    assert twenty.float64.no_label.found > 0
    assert twenty.loop.one_step
