"""Neighbours are those of a plain float64 ranking, and their weights those of the definition."""

from __future__ import annotations

import importlib.machinery
import sys
import types

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from scipy.special import softmax
from sklearn.neighbors import NearestNeighbors

from gssl_poison import knn, neighbours
from gssl_poison.bandwidth import Bandwidth
from gssl_poison.exceptions import InputError
from gssl_poison.knn import knn_graph


def plain(X, k, metric="euclidean"):
    """Indices of the k nearest others by (distance, index), and all distances."""
    distances = cdist(X, X, metric)
    ranked = distances.copy()
    np.fill_diagonal(ranked, np.inf)
    return np.argsort(ranked, axis=1, kind="stable")[:, :k], distances


def edges_of(graph):
    """Dense mask of the edges."""
    mask = np.zeros((graph.n_points, graph.n_points), dtype=bool)
    mask[np.repeat(np.arange(graph.n_points), np.diff(graph.indptr)), graph.indices] = True
    return mask


def mask_of(near):
    mask = np.zeros((len(near), len(near)), dtype=bool)
    np.put_along_axis(mask, near, True, axis=1)
    return mask


def same(a, b):
    """Whether two graphs are the same bit by bit."""
    names = ("indptr", "indices", "log_data")
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in names)


@pytest.mark.parametrize("d", [3, 20])  # a tree, and everybody against everybody
@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "cosine", "chebyshev"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "uint8"])
def test_neighbours_and_weights_are_those_of_the_definition(metric, dtype, d, rng):
    X = (40.0 * rng.random((150, d))).astype(dtype)
    if dtype == "uint8":  # many ties in few dimensions: the last neighbour is not the same
        X = (255 * rng.random((150, max(d, 12)))).astype(dtype)
    name = "cityblock" if metric == "manhattan" else metric
    near, distances = plain(X.astype(np.float64), 6, name)
    graph = knn_graph(X, 6, 0.01, metric=metric, symmetrize=False)
    reach = np.take_along_axis(distances, near[:, -1:], 1)
    chosen = edges_of(graph)
    assert (chosen.sum(axis=1) == 6).all()
    # Equally far points may stand in for one another.
    assert (distances[chosen].reshape(150, 6) <= reach * (1 + 1e-12)).all()
    # The reference for the cosine, one minus it, is good to 1e-15 and no better.
    atol = 1e-15 if metric == "cosine" else 0.0
    found = np.sqrt(graph.log_data / -0.01)
    np.testing.assert_allclose(found, distances[chosen], rtol=1e-12, atol=atol)
    if dtype != "uint8":
        np.testing.assert_array_equal(chosen, mask_of(near))


@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "cosine"])
def test_sparse_points_give_the_graph_of_dense_ones(metric, rng):
    X = rng.normal(size=(80, 30)) * (rng.random((80, 30)) < 0.3)
    X[5] = X[6]
    for dtype in (np.float64, np.float32):
        dense = knn_graph(X.astype(dtype), 5, metric=metric)
        sparse = knn_graph(sp.csr_array(X.astype(dtype)), 5, metric=metric)
        np.testing.assert_array_equal(sparse.indptr, dense.indptr)
        np.testing.assert_array_equal(sparse.indices, dense.indices)
        np.testing.assert_allclose(sparse.log_data, dense.log_data, rtol=1e-12, atol=1e-14)
        assert sparse.symmetric
        assert sparse.log_weights([5], [6]) == 0.0


def test_float32_points_give_the_graph_of_the_same_float64_points(rng):
    X = rng.normal(size=(300, 16)).astype(np.float32)
    single, double = knn_graph(X, 7), knn_graph(X.astype(np.float64), 7)
    assert same(single, double)
    assert single.bandwidth == double.bandwidth


@pytest.mark.parametrize("d", [2, 12])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_points_far_from_zero_keep_their_neighbours(dtype, d, rng):
    # Multiples of 1/4 are exact in either type as far from 0 as here: the graphs must be the same.
    X = rng.integers(-(2**9), 2**9, size=(120, d)) / 4.0
    away = 2.0**40 if dtype == "float64" else 2.0**20
    near, far = X.astype(dtype), (X + away).astype(dtype)
    assert same(knn_graph(near, 4), knn_graph(far, 4))


def test_the_union_joins_where_either_end_chose(rng):
    X = rng.normal(size=(60, 10))
    directed = knn_graph(X, 4, 0.3, symmetrize=False)
    union = knn_graph(X, 4, 0.3)
    chosen = edges_of(directed)
    assert not directed.symmetric
    assert union.symmetric
    np.testing.assert_array_equal(edges_of(union), chosen | chosen.T)
    rows, columns = np.nonzero(chosen)
    everyone = np.arange(60)
    np.testing.assert_array_equal(
        union.log_weights(everyone, everyone)[rows, columns],
        directed.log_weights(everyone, everyone)[rows, columns],
    )


@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "cosine", "chebyshev"])
@pytest.mark.parametrize("d", [3, 37])
def test_mutual_neighbours_weigh_the_same_both_ways(metric, d, rng):
    graph = knn_graph(rng.normal(size=(400, d)), 12, metric=metric, symmetrize=False)
    everyone = np.arange(400)
    log_W = graph.log_weights(everyone, everyone)
    mutual = np.isfinite(log_W) & np.isfinite(log_W.T)
    assert mutual.sum() > 400
    np.testing.assert_array_equal(log_W[mutual], log_W.T[mutual])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("d", [2, 30])
@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "cosine", "chebyshev"])
def test_duplicates_are_neighbours_at_distance_zero_and_no_self_loops(metric, dtype, d, rng):
    # More duplicates than neighbours: the search alone may miss the point itself, or keep it.
    X = np.repeat(rng.normal(size=(4, d)) + 2.0, 12, axis=0)[rng.permutation(48)].astype(dtype)
    graph = knn_graph(X, 5, metric=metric, symmetrize=False)
    rows = np.repeat(np.arange(48), 5)
    np.testing.assert_array_equal(graph.indptr, np.arange(0, 241, 5))
    assert (graph.indices != rows).all()
    np.testing.assert_array_equal(X[graph.indices], X[rows])
    if metric != "chebyshev":
        np.testing.assert_array_equal(graph.log_data, np.zeros(240))
        assert not np.signbit(graph.log_data).any()


def test_duplicates_are_edges_of_the_union_too():
    X = np.array([[0.0], [0.0], [1.0], [1.0], [5.0]])
    graph = knn_graph(X, 1, 2.0)
    assert graph.symmetric
    expected = np.full((5, 5), -np.inf)
    expected[[0, 1, 2, 3], [1, 0, 3, 2]] = 0.0
    expected[4, 2] = expected[2, 4] = -32.0
    everyone = np.arange(5)
    np.testing.assert_array_equal(graph.log_weights(everyone, everyone), expected)


@pytest.mark.parametrize("symmetrize", [True, False])
def test_two_points_have_each_other(symmetrize):
    graph = knn_graph(np.array([[0.0], [2.0]]), 1, symmetrize=symmetrize)
    np.testing.assert_array_equal(graph.indices, [1, 0])
    np.testing.assert_array_equal(graph.log_data, [-1.0, -1.0])
    assert graph.bandwidth.gamma == 0.25


@pytest.mark.parametrize(
    ("k", "n", "remedy"),
    [(10, 10, "use 1 to 9"), (3, 3, "use 1 to 2"), (0, 5, "use 1 to 4"), (1, 1, "more points")],
)
def test_more_neighbours_than_there_are_is_refused(k, n, remedy):
    with pytest.raises(InputError, match=rf"n_neighbors={k} is not possible among {n} .*{remedy}"):
        knn_graph(np.arange(float(n))[:, None], k)


def test_weights_from_one_down_to_far_below_float64_are_right():
    # Gaps that grow: weights of a row differ by thousands in the logarithm.
    X = np.cumsum(np.concatenate([[0.0, 0.0], np.geomspace(0.1, 75.0, 30)]))[:, None]
    graph = knn_graph(X, 3, 1.0)
    assert graph.log_data.max() == 0.0
    assert graph.log_data.min() < -5000.0
    P, log_degree = graph.transition(self_loops=False)
    everyone = np.arange(32)
    log_W = graph.log_weights(everyone, everyone)
    chosen = np.isfinite(log_W)
    np.testing.assert_allclose(log_W[chosen], -(cdist(X, X) ** 2)[chosen], rtol=1e-12)
    np.testing.assert_allclose(P.toarray(), softmax(log_W, axis=1), rtol=1e-11, atol=1e-300)
    assert np.isfinite(log_degree).all()


@given(seed=st.integers(0, 2**32 - 1), k=st.integers(1, 9), symmetrize=st.booleans())
def test_rows_of_the_transition_sum_to_one(seed, k, symmetrize):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(20, 2)) * rng.choice([1e-3, 1.0, 100.0], size=(20, 1))
    graph = knn_graph(X, k, 1.0, symmetrize=symmetrize, n_jobs=1)
    P, log_degree = graph.transition(self_loops=True)
    np.testing.assert_allclose(P.sum(axis=1), 1.0, rtol=1e-14)
    assert np.isfinite(log_degree).all()
    assert graph.symmetric or not symmetrize


def test_groups_far_apart_are_not_reached(rng):
    X = np.concatenate([rng.normal(size=(30, 2)), rng.normal(size=(20, 2)) + 1e3])
    hops = knn_graph(X, 5).hops([0])
    assert (hops[:30] >= 0).all()
    assert (hops[30:] == -1).all()


def test_gamma_is_one_over_the_median_squared_distance_to_the_last_neighbour(rng):
    X = rng.normal(size=(101, 6))
    near, distances = plain(X, 8)
    last = np.take_along_axis(distances, near[:, -1:], 1)
    for rule in (None, "auto"):
        found = knn_graph(X, 8, rule).bandwidth
        assert found.gamma == pytest.approx(1.0 / np.median(last**2), rel=1e-12)
        assert found.rule == "auto"
    assert knn_graph(X, 8, 0.75).bandwidth == Bandwidth(0.75, "given", "as given")
    taken = Bandwidth(2.0, "scale", "by a rule")
    assert knn_graph(X, 8, taken).bandwidth is taken


def test_gamma_is_found_among_duplicates():
    X = np.array([[0.0]] * 6 + [[3.0], [7.0]])
    found = knn_graph(X, 2).bandwidth
    assert found.gamma == pytest.approx(1.0 / np.median([9.0, 49.0]))
    assert "duplicates" in found.note
    nothing = knn_graph(np.ones((5, 3)), 2)
    assert nothing.bandwidth.gamma == 1.0
    np.testing.assert_array_equal(nothing.log_data, 0.0)


@pytest.mark.parametrize("threads", [1, 2, -1])
def test_the_number_of_threads_changes_nothing(threads, rng):
    X = rng.normal(size=(500, 20))
    assert same(knn_graph(X, 10, n_jobs=threads), knn_graph(X, 10))


@pytest.mark.parametrize("make", [np.array, sp.csr_array])
def test_points_are_not_changed(make, rng):
    X = make(rng.random((40, 12)))
    values = X.data if sp.issparse(X) else X
    before = values.copy()
    values.flags.writeable = False
    for metric in ("euclidean", "cosine", "manhattan", "chebyshev"):
        if not (metric == "chebyshev" and sp.issparse(X)):
            knn_graph(X, 3, metric=metric)
    np.testing.assert_array_equal(values, before)


def test_any_function_is_a_metric(rng):
    X = rng.normal(size=(30, 3))
    graph = knn_graph(X, 4, 1.0, metric=lambda a, b: float(np.abs(a - b).max()))
    assert same(graph, knn_graph(X, 4, 1.0, metric="chebyshev"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_neighbors": 2.0}, "whole number"),
        ({"n_neighbors": True}, "whole number"),
        ({"gamma": 0.0}, "gamma=0.0 is not usable"),
        ({"gamma": np.nan}, "gamma=nan is not usable"),
        ({"gamma": "scale"}, "gamma='scale' is not usable"),
        ({"gamma": True}, "gamma=True is not usable"),
        ({"gamma": 1e308}, "overflows float64"),
        ({"metric": "precomputed"}, "DenseGraph.from_log_weights"),
        ({"metric": "sqeuclidean"}, "metric='euclidean'"),
        ({"metric": "mahalanobis"}, "whiten"),
        ({"metric": "pyfunc"}, "the function itself"),
        ({"metric": "nonsense"}, "VALID_METRICS"),
        ({"method": "nonsense"}, "auto, exact, pynndescent, faiss"),
        ({"method": "faiss", "metric": "manhattan"}, "does not search with manhattan"),
        ({"method": "pynndescent", "metric": "chebyshev"}, "does not search with chebyshev"),
        ({"n_jobs": 0}, "n_jobs=0"),
    ],
)
def test_what_cannot_be_done_is_refused(arguments, message, rng):
    with pytest.raises(InputError, match=message):
        knn_graph(100.0 * rng.normal(size=(20, 3)), **{"n_neighbors": 3, **arguments})


@pytest.mark.parametrize("make", [np.array, sp.csr_array])
def test_features_float64_cannot_square_are_refused(make, rng):
    X = rng.normal(size=(20, 3))
    for wrong in (np.nan, np.inf, -np.inf):
        bad = X.copy()
        bad[7, 1] = wrong
        with pytest.raises(InputError, match=rf"X\[7, 1\] is {wrong}"):
            knn_graph(make(bad), 3)
    with pytest.raises(InputError, match="row 0 of X is so large"):
        knn_graph(make(X * 1e160), 3)
    with pytest.raises(InputError, match="underflow float64; rescale"):
        knn_graph(make(X * 1e-160), 3)
    X[4] = 0.0
    with pytest.raises(InputError, match=r"row 4 of X is all zeros.*cosine"):
        knn_graph(make(X), 3, metric="cosine")


def install(monkeypatch, name, **contents):
    """Put a module of this name where imports find it, and say that it is installed."""
    module = types.ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    module.__dict__.update(contents, __version__="0.0")
    monkeypatch.setitem(sys.modules, name, module)


def forgetful_descent(calls):
    """Stand in for pynndescent: in no order, with gaps, and with too few for most points."""

    class NNDescent:
        def __init__(self, data, metric, n_neighbors, random_state, n_jobs):
            calls.append((data.dtype, metric, n_neighbors, random_state, n_jobs))
            found = NearestNeighbors(metric=metric).fit(data).kneighbors(data, n_neighbors)[1]
            found = found[:, ::-1].astype(np.int32)
            # Of the nearest, itself first: 2, exactly 5, or all but the last 4.
            found[0::3, :-2] = -1
            found[1::3, :-5] = -1
            found[2::3, :4] = -1
            self.neighbor_graph = found, None

    return NNDescent


@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "cosine"])
def test_candidates_of_a_library_are_measured_ranked_and_completed(metric, monkeypatch, rng):
    calls = []
    install(monkeypatch, "pynndescent", NNDescent=forgetful_descent(calls))
    X = rng.normal(size=(90, 12)).astype(np.float32)
    X[0] = 0.01  # near everybody: a gap read as point 0 would show
    found = knn_graph(X, 5, metric=metric, method="pynndescent", n_jobs=2)
    assert same(found, knn_graph(X, 5, metric=metric, method="exact"))
    assert found.source == "pynndescent 0.0"
    dtype = np.float64 if metric == "cosine" else np.float32
    assert calls == [(dtype, "manhattan" if metric == "manhattan" else "euclidean", 26, 0, 2)]


def test_auto_is_exact_until_that_takes_minutes(monkeypatch, rng):
    calls = []
    install(monkeypatch, "pynndescent", NNDescent=forgetful_descent(calls))
    X = rng.normal(size=(60, 12))
    assert knn_graph(X, 4).source == "exact brute"
    monkeypatch.setattr(neighbours, "_EXACT_STEPS", 60 * 60 * 32)
    assert knn_graph(X, 4).source == "exact brute"
    monkeypatch.setattr(neighbours, "_EXACT_STEPS", 60 * 60 * 32 - 1)
    assert knn_graph(X, 4).source == "pynndescent 0.0"
    assert knn_graph(X, 4, method="exact").source == "exact brute"
    assert knn_graph(X[:, :8], 4).source == "exact kd_tree"
    assert knn_graph(X, 4, metric="chebyshev").source == "exact"
    monkeypatch.setattr(neighbours, "find_spec", lambda _: None)
    assert knn_graph(X, 4).source == "exact brute"
    with pytest.raises(InputError, match="pip install pynndescent"):
        knn_graph(X, 4, method="pynndescent")
    with pytest.raises(InputError, match="pip install faiss-cpu"):
        knn_graph(X, 4, method="faiss")


@pytest.mark.parametrize("library", ["faiss", "pynndescent"])
def test_the_libraries_find_almost_all_neighbours(library, rng):
    pytest.importorskip(library, reason=f"{library} is not installed")
    X = rng.normal(size=(1500, 12)).astype(np.float32)
    X[:40] = X[40]
    found = knn_graph(X, 8, method=library, symmetrize=False)
    exact = knn_graph(X, 8, method="exact", symmetrize=False)
    assert found.source.startswith(f"{library} ")
    assert (np.diff(found.indptr) == 8).all()
    assert (found.indices != np.repeat(np.arange(1500), 8)).all()
    agree = (edges_of(found) & edges_of(exact))[41:].sum() / (8 * 1459)
    assert agree > 0.99
    assert same(found, knn_graph(X, 8, method=library, symmetrize=False))


def test_blocks_of_rows_do_not_show(monkeypatch, rng):
    X = rng.normal(size=(70, 10))
    whole = knn_graph(X, 6)
    monkeypatch.setattr(knn, "_VALUES", 1)
    monkeypatch.setattr(neighbours, "_VALUES", 1)
    assert same(whole, knn_graph(X, 6))
