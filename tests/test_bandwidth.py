"""Every rule finds the gamma it promises, and refuses what it cannot judge."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.spatial.distance import cdist

import gssl_poison as gp
from gssl_poison._arrays import as_features
from gssl_poison.bandwidth import choose_gamma, loo_log_likelihood, squared_distances
from gssl_poison.exceptions import InputError


def effective(X, labeled, gamma):
    """Median exponential of the entropy of the shares, straight from the definition."""
    others = np.setdiff1d(np.arange(len(X)), labeled)
    shares = np.exp(-gamma * cdist(X[others], X[labeled], "sqeuclidean"))
    shares /= shares.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = -np.nansum(shares * np.log(shares), axis=1)
    return np.median(np.exp(entropy))


@pytest.mark.parametrize(
    ("n_labeled", "target"), [(2, 1.4), (3, 1.8), (5, 2.6), (6, 3.0), (40, 3.0)]
)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_auto_gives_the_effective_number_it_promises(n_labeled, target, scale, rng):
    X = scale * rng.normal(size=(200, 8))
    labeled = np.arange(n_labeled)
    found = choose_gamma(X, "auto", labeled=labeled, unlabeled=np.arange(n_labeled, 200))
    assert effective(X, labeled, found.gamma) == pytest.approx(target, rel=1e-3)
    assert found.rule == "auto"
    assert f"effective {target:g} labelled" in found.note
    assert not found.reads_labels


def test_auto_is_the_same_on_sparse_input(rng):
    X = rng.normal(size=(100, 20)) * (rng.random((100, 20)) < 0.2)
    where = {"labeled": np.arange(20), "unlabeled": np.arange(20, 100)}
    dense, sparse = choose_gamma(X, **where), choose_gamma(sp.csr_array(X), **where)
    assert sparse.gamma == pytest.approx(dense.gamma, rel=1e-6)


def test_auto_counts_duplicated_labelled_points_as_one(rng):
    X = rng.normal(size=(120, 4))
    doubled = np.vstack([X[:20], X])
    once = choose_gamma(X, labeled=np.arange(20), unlabeled=np.arange(20, 120))
    twice = choose_gamma(doubled, labeled=np.arange(40), unlabeled=np.arange(40, 140))
    assert twice.gamma == pytest.approx(once.gamma, rel=1e-4)
    assert "duplicates" in twice.note


def test_auto_with_one_labelled_point_or_nothing_to_tell_apart():
    X = np.arange(5.0)[:, None]
    assert (
        "single labelled point"
        in choose_gamma(X, labeled=np.array([0]), unlabeled=np.arange(1, 5)).note
    )
    same = choose_gamma(np.ones((9, 3)), labeled=np.arange(4), unlabeled=np.arange(4, 9))
    assert same.gamma == 1.0
    assert "equally far" in same.note


def test_scale_is_scikit_learns(rng):
    X = rng.normal(size=(50, 7)) * 3 + 1
    assert choose_gamma(X, "scale").gamma == pytest.approx(1 / (7 * X.var()))
    S = sp.csr_array(X * (rng.random(X.shape) < 0.3))
    assert choose_gamma(S, "scale").gamma == pytest.approx(1 / (7 * S.toarray().var()))
    assert choose_gamma(np.ones((4, 2)), "scale").gamma == 1.0


def test_median_is_one_over_the_median_squared_distance(rng):
    X = rng.normal(size=(60, 3))
    distances = cdist(X, X, "sqeuclidean")[np.triu_indices(60, 1)]
    assert choose_gamma(X, "median").gamma == pytest.approx(1 / np.median(distances))
    duplicates = np.repeat([[0.0], [2.0]], [9, 1], axis=0)
    found = choose_gamma(duplicates, "median")
    assert found.gamma == pytest.approx(1 / 4)
    assert "duplicates" in found.note
    assert choose_gamma(np.ones((4, 2)), "median").gamma == 1.0


def test_loo_maximises_the_likelihood_and_says_that_it_reads_labels(rng):
    X = np.vstack([rng.normal(size=(60, 3)), rng.normal(size=(60, 3)) + 1.5])
    codes = np.repeat([0, 1], 60)
    found = choose_gamma(X, "loo", labeled=np.arange(120), codes=codes)
    assert found.reads_labels
    assert "reads" in found.note

    def likelihood(gamma):
        weights = np.exp(-gamma * cdist(X, X, "sqeuclidean"))
        np.fill_diagonal(weights, 0.0)
        same = np.where(codes[:, None] == codes, weights, 0.0).sum(axis=1)
        return np.log(same / weights.sum(axis=1)).sum()

    assert loo_log_likelihood(cdist(X, X, "sqeuclidean"), codes, 0.7) == pytest.approx(
        likelihood(0.7)
    )
    best = max(likelihood(g) for g in np.geomspace(found.gamma / 30, found.gamma * 30, 301))
    assert likelihood(found.gamma) >= best - 1e-3


def test_loo_leaves_out_classes_of_one_point_and_says_so(rng):
    X = rng.normal(size=(21, 2))
    codes = np.array([0] * 10 + [1] * 10 + [2])
    assert (
        "single labelled point are left out (1 of 3)"
        in choose_gamma(X, "loo", labeled=np.arange(21), codes=codes).note
    )


@pytest.mark.parametrize(
    ("codes", "words"), [([0, 0, 0], "one class only"), ([0, 1, 2], "no class with two")]
)
def test_loo_refuses_what_it_cannot_judge(codes, words, rng):
    with pytest.raises(InputError, match=words):
        choose_gamma(rng.normal(size=(3, 2)), "loo", labeled=np.arange(3), codes=np.array(codes))


@pytest.mark.parametrize("gamma", [0, -1.0, float("nan"), float("inf"), True, None, "best", [1.0]])
def test_a_gamma_that_cannot_be_used(gamma):
    with pytest.raises(InputError, match="gamma="):
        choose_gamma(np.eye(3), gamma)


@pytest.mark.parametrize("rule", ["auto", "loo"])
def test_rules_say_what_they_lack(rule):
    with pytest.raises(InputError, match=f"gamma='{rule}'.*labeled="):
        gp.RBFGraph(np.eye(3), rule)


@pytest.mark.parametrize("rule", ["auto", "scale", "median", "loo"])
@pytest.mark.parametrize("sparse", [False, True])
def test_a_value_that_is_not_finite_is_named_by_every_rule(rule, sparse):
    X = np.arange(24.0).reshape(8, 3)
    X[1, 2] = np.nan
    X[6, 0] = np.nan
    with pytest.raises(InputError, match=r"X\[[16], [02]\] is nan"):
        choose_gamma(
            as_features(sp.csr_array(X) if sparse else X), rule, labeled=np.arange(4),
            unlabeled=np.arange(4, 8), codes=np.array([0, 0, 1, 1]),
        )  # fmt: skip


def test_squared_distances_of_duplicates_are_zero(rng):
    X = rng.normal(size=(30, 50)) + 100
    X[7] = X[3]
    distances = squared_distances(X, np.array([7]), np.arange(30))
    assert distances[0, 3] == 0.0
    np.testing.assert_allclose(distances, cdist(X[[7]], X, "sqeuclidean"), rtol=1e-9)


def test_the_graph_and_the_matrix_of_direct_influence(rng):
    X = rng.normal(size=(30, 3))
    graph = gp.RBFGraph(X, gamma=0.5)
    W = np.exp(-0.5 * cdist(X, X, "sqeuclidean"))
    np.testing.assert_allclose(graph.weights(np.arange(30), np.arange(30)), W, rtol=1e-10)
    labeled = np.array([5, 2, 9])
    prop = gp.Direct().fit(graph, labeled)
    rows = np.setdiff1d(np.arange(30), labeled)
    M = W[rows][:, labeled]
    np.testing.assert_allclose(prop.matrix(), M / M.sum(axis=1, keepdims=True), rtol=1e-9)
    T = M / W[:, labeled].sum(axis=0)
    both = gp.Direct("column-row").fit(graph, labeled)
    np.testing.assert_allclose(both.matrix(), T / T.sum(axis=1, keepdims=True), rtol=1e-9)
    np.testing.assert_allclose(gp.total_influence(prop), prop.matrix().sum(axis=0), rtol=1e-4)
    assert gp.major_influence_range(prop).sum() == (prop.matrix() > 0.5).sum()
    assert (graph.n_points, graph.n_features, graph.is_sparse) == (30, 3, False)


@pytest.mark.parametrize(
    "labeled", [[], [0.5], [3, 3], [-1], [30], [[0]], list(range(30))], ids=str
)
def test_labelled_rows_that_cannot_be_used(labeled, rng):
    graph = gp.RBFGraph(rng.normal(size=(30, 2)), 1.0)
    with pytest.raises(InputError, match="label"):
        gp.Direct().fit(graph, labeled)


def test_direct_clamps_labelled_rows_and_refuses_unknown_normalisations(rng):
    with pytest.raises(InputError, match="normalization='l2'"):
        gp.Direct("l2")
    prop = gp.Direct().fit(gp.RBFGraph(rng.normal(size=(5, 2)), 1.0), [0, 1])
    np.testing.assert_array_equal(prop.matrix([1]), [[0.0, 1.0]])
