"""Graphs answer the same questions in the same way, at any scale of their weights."""

from __future__ import annotations

from collections import deque

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp, softmax
from torch_geometric.data import Data
from torch_geometric.nn.models import LabelPropagation

from gssl_poison.exceptions import InputError, InputTypeError, NumericalError
from gssl_poison.graph import DenseGraph, RBFGraph, check_rows, other_rows
from gssl_poison.sparse_graph import SparseGraph

pytestmark = pytest.mark.filterwarnings("ignore:Sparse .* tensor support is in beta:UserWarning")


def random_weights(rng, n=12, density=0.25):
    return rng.random((n, n)) * (rng.random((n, n)) < density)


def plain_hops(W, labeled):
    """Breadth-first search, one point at a time."""
    hops = np.full(len(W), -1)
    hops[labeled] = 0
    queue = deque(labeled)
    while queue:
        j = queue.popleft()
        for i in np.flatnonzero(W[:, j] > 0):
            if hops[i] < 0:
                hops[i] = hops[j] + 1
                queue.append(i)
    return hops


def from_dense_logs(log_W):
    """Sparse graph of a dense block of log-weights."""
    rows, columns = np.nonzero(log_W > -np.inf)
    indptr = np.searchsorted(rows, np.arange(len(log_W) + 1))
    return SparseGraph.from_log_weights(indptr, columns, log_W[rows, columns], len(log_W))


@pytest.mark.parametrize("make", [DenseGraph, lambda W: SparseGraph(sp.csr_array(W))])
def test_log_weights_are_the_logarithms_of_the_block(make, rng):
    W = random_weights(rng)
    graph = make(W)
    rows, columns = np.array([3, 0, 7, 3]), np.array([11, 2, 2, 0, 5])
    with np.errstate(divide="ignore"):
        expected = np.log(W[np.ix_(rows, columns)])
    block = graph.log_weights(rows, columns)
    assert block.dtype == np.float64
    np.testing.assert_array_equal(block, expected)
    block[:] = 0.0  # a new array: the graph does not notice
    np.testing.assert_array_equal(graph.log_weights(rows, columns), expected)
    assert graph.n_points == 12


def test_log_weights_of_nobody_are_an_empty_block(rng):
    graph = SparseGraph(sp.csr_array(random_weights(rng)))
    nobody = np.empty(0, dtype=np.int64)
    assert graph.log_weights(nobody, np.arange(3)).shape == (0, 3)
    assert graph.log_weights(np.arange(3), nobody).shape == (3, 0)


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "bool"])
def test_dense_weights_of_any_kind_are_read_as_numbers(dtype):
    W = np.array([[0, 3, 0], [1, 0, 2], [0, 1, 1]]).astype(dtype)
    expected = W.astype(np.float64)
    everyone = np.arange(3)
    for given_W in (W, W.tolist(), pd.DataFrame(W), torch.from_numpy(W)):
        np.testing.assert_allclose(
            np.exp(DenseGraph(given_W).log_weights(everyone, everyone)), expected, rtol=1e-15
        )
        np.testing.assert_array_equal(DenseGraph(given_W).weights(everyone, everyone), expected)


def test_dense_weights_are_used_where_they_lie(rng):
    W = random_weights(rng)
    assert np.shares_memory(DenseGraph(W).values, W)


def test_dense_log_weights_far_below_float64_keep_their_ratios():
    graph = DenseGraph.from_log_weights(np.array([[-np.inf, -5000.0], [-4999.0, 0.0]]))
    everyone = np.arange(2)
    np.testing.assert_array_equal(
        graph.log_weights(everyone, everyone), [[-np.inf, -5000], [-4999, 0]]
    )
    np.testing.assert_array_equal(graph.weights(everyone, everyone), [[0, 0], [0, 1]])
    np.testing.assert_array_equal(graph.hops([0]), [0, 1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (np.nan, r"W\[4, 2\] is nan; .* finite and not negative"),
        (np.inf, r"W\[4, 2\] is inf"),
        (-0.5, r"W\[4, 2\] is -0\.5"),
    ],
)
def test_the_first_wrong_weight_is_named(change, message, rng):
    W = np.ones((6, 6))
    W[4, 2] = W[5, 0] = change
    for make in (DenseGraph, lambda W: SparseGraph(sp.csr_array(W))):
        with pytest.raises(InputError, match=message):
            make(W)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_the_first_wrong_logarithm_is_named(wrong):
    log_W = np.full((3, 3), -np.inf)
    log_W[1, 2] = wrong
    with pytest.raises(InputError, match=rf"log_W\[1, 2\] is {wrong}; .*finite number or -inf"):
        DenseGraph.from_log_weights(log_W)
    with pytest.raises(InputError, match=rf"log_data\[1\] is {wrong}"):
        SparseGraph.from_log_weights([0, 1, 2], [1, 0], [0.0, wrong], 2)


def test_matrices_of_a_wrong_shape_or_kind_are_refused():
    for make in (DenseGraph, DenseGraph.from_log_weights):
        for W in (np.ones((2, 3)), np.ones(4), np.ones((0, 0)), [[1.0], [1.0, 2.0]]):
            with pytest.raises(InputError, match=r"square|ragged"):
                make(W)
        with pytest.raises(InputTypeError, match="use SparseGraph"):
            make(sp.csr_array(np.eye(2)))
        with pytest.raises(InputTypeError, match="mask would be lost"):
            make(np.ma.masked_invalid(np.eye(2)))
        with pytest.raises(InputTypeError, match="complex"):
            make(np.eye(2) * 1j)
    for W in (sp.csr_array((2, 3)), sp.csr_array((0, 0))):
        with pytest.raises(InputError, match="square"):
            SparseGraph(W)
    with pytest.raises(InputTypeError, match="not sparse"):
        SparseGraph(np.eye(2))
    with pytest.raises(InputError, match="square"):
        SparseGraph.from_log_weights([0], [], [], 0)


def test_symmetry_is_exact(rng):
    W = rng.random((1100, 1100))  # more than one tile
    W += W.T
    tilted = W.copy()
    tilted[1000, 3] = np.nextafter(tilted[1000, 3], 1.0)
    assert DenseGraph(W).symmetric
    assert not DenseGraph(tilted).symmetric
    assert DenseGraph.from_log_weights(np.log(W)).symmetric
    small = sp.csr_array(W[:50, :50] * (W[:50, :50] > 1.2))
    assert SparseGraph(small).symmetric
    one_way = small.tolil()
    one_way[3, 4], one_way[4, 3] = 1.0, 0.0
    assert not SparseGraph(one_way).symmetric
    other_weight = small.tolil()
    other_weight[3, 4], other_weight[4, 3] = 1.0, 2.0
    assert not SparseGraph(other_weight).symmetric
    assert RBFGraph(np.eye(3), 1.0).symmetric


def test_sparse_graphs_of_every_library_are_the_same(rng):
    W = random_weights(rng)
    expected = SparseGraph(sp.csr_array(W))
    tensor = torch.from_numpy(W)
    for A in (sp.lil_matrix(W), sp.dia_array(W), tensor.to_sparse_coo(), tensor.to_sparse_csr()):
        graph = SparseGraph(A)
        for name in ("indptr", "indices", "log_data"):
            np.testing.assert_array_equal(getattr(graph, name), getattr(expected, name))
    np.testing.assert_allclose(expected.weights_csr.toarray(), W, rtol=1e-15)
    assert expected.n_edges == np.count_nonzero(W)
    assert expected.source == "given"
    assert expected.bandwidth is None


def test_what_weighs_nothing_is_no_edge():
    W = sp.csr_array(([0.0, 2.0, 0.0, 3.0], [0, 2, 1, 0], [0, 2, 3, 4]), shape=(3, 3))
    graph = SparseGraph(W)
    np.testing.assert_array_equal(graph.indptr, [0, 1, 1, 2])
    np.testing.assert_array_equal(graph.indices, [2, 0])
    assert W.nnz == 4  # the caller's keeps its zeros
    logs = SparseGraph.from_log_weights([0, 2, 3, 4], [0, 2, 1, 0], [-np.inf, 0, -np.inf, 1], 3)
    np.testing.assert_array_equal(logs.indptr, graph.indptr)
    np.testing.assert_array_equal(logs.log_data, [0.0, 1.0])


def test_a_graph_without_edges_is_a_graph():
    graph = SparseGraph(sp.csr_array((3, 3)))
    P, log_degree = graph.transition(self_loops=True)
    assert P.nnz == 0
    np.testing.assert_array_equal(log_degree, [-np.inf] * 3)
    np.testing.assert_array_equal(graph.hops([1]), [-1, 0, -1])
    assert graph.symmetric


def test_log_weights_in_any_order_and_given_twice_are_put_right():
    graph = SparseGraph.from_log_weights(
        [0, 3, 3, 4], [2, 1, 2, 0], [-3000.0, 0.5, -3000.0, 2.0], 3
    )
    np.testing.assert_array_equal(graph.indptr, [0, 2, 2, 3])
    np.testing.assert_array_equal(graph.indices, [1, 2, 0])
    np.testing.assert_allclose(graph.log_data, [0.5, -3000 + np.log(2), 2.0], rtol=1e-15)
    assert graph.indices.dtype == graph.indptr.dtype == np.int32


def test_weights_too_large_for_float64_are_refused_not_infinite():
    graph = SparseGraph.from_log_weights([0, 1, 2], [1, 0], [800.0, -1e300], 2)
    with pytest.raises(NumericalError, match=r"exp\(800\).*subtract"):
        _ = graph.weights_csr
    P, log_degree = graph.transition(self_loops=False)
    np.testing.assert_array_equal(P.toarray(), [[0.0, 1.0], [1.0, 0.0]])
    np.testing.assert_array_equal(log_degree, [800.0, -1e300])


def test_transition_is_right_where_every_weight_underflows(rng):
    log_W = np.where(rng.random((20, 20)) < 0.3, -2000.0, -np.inf)
    log_W[7] = -np.inf
    edges = np.isfinite(log_W)
    P, log_degree = from_dense_logs(log_W).transition(self_loops=True)
    counts = edges.sum(axis=1)
    np.testing.assert_allclose(P.toarray(), edges / np.maximum(counts, 1)[:, None], rtol=1e-15)
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(log_degree, np.log(counts) - 2000.0, rtol=1e-15)


@pytest.mark.parametrize("self_loops", [True, False])
def test_self_loops_do_not_drown_their_row(self_loops):
    # Beside a self-loop of weight 1 the edges are below float64; without it they are all there is.
    log_W = np.array([[0.0, -900.0, -901.0], [-900.0, 0.0, -np.inf], [-901.0, -np.inf, 0.0]])
    P, log_degree = from_dense_logs(log_W).transition(self_loops)
    if self_loops:
        np.testing.assert_array_equal(P.toarray(), np.eye(3))
        np.testing.assert_array_equal(log_degree, np.zeros(3))
    else:
        share = 1.0 / (1.0 + np.exp(-1.0))
        expected = [[0.0, share, 1.0 - share], [1, 0, 0], [1, 0, 0]]
        np.testing.assert_allclose(P.toarray(), expected, rtol=1e-14)
        np.testing.assert_allclose(
            log_degree, [-900 + np.log1p(np.exp(-1.0)), -900, -901], rtol=1e-15
        )


def test_transition_keeps_the_structure_of_the_graph(rng):
    graph = SparseGraph(sp.csr_array(random_weights(rng)))
    P, _ = graph.transition(self_loops=True)
    np.testing.assert_array_equal(P.indptr, graph.indptr)
    np.testing.assert_array_equal(P.indices, graph.indices)
    P, _ = graph.transition(self_loops=False)
    assert not P.diagonal().any()
    assert P.nnz == graph.n_edges - np.count_nonzero(graph.weights_csr.diagonal())


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 30), self_loops=st.booleans())
def test_rows_of_the_transition_sum_to_one_at_any_scale(seed, n, self_loops):
    rng = np.random.default_rng(seed)
    scale = rng.choice([1.0, 100.0, 5000.0])
    log_W = np.where(rng.random((n, n)) < 0.4, scale * (rng.random((n, n)) - 0.9), -np.inf)
    graph = from_dense_logs(log_W)
    P, log_degree = graph.transition(self_loops)
    if not self_loops:
        np.fill_diagonal(log_W, -np.inf)
    filled = np.isfinite(log_W).any(axis=1)
    np.testing.assert_allclose(P.sum(axis=1), filled, rtol=1e-14)
    np.testing.assert_array_equal(np.diff(P.indptr) > 0, filled)
    np.testing.assert_array_equal(np.isneginf(log_degree), ~filled)
    np.testing.assert_allclose(
        P.toarray()[filled], softmax(log_W[filled], axis=1), rtol=1e-11, atol=1e-300
    )
    np.testing.assert_allclose(
        log_degree[filled], logsumexp(log_W[filled], axis=1), rtol=1e-14, atol=1e-13
    )


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(2, 25), directed=st.booleans())
def test_hops_are_those_of_a_plain_search(seed, n, directed):
    rng = np.random.default_rng(seed)
    W = random_weights(rng, n, rng.choice([0.02, 0.08, 0.3]))
    W = W if directed else W + W.T
    labeled = rng.permutation(n)[: rng.integers(1, n + 1)]
    expected = plain_hops(W, labeled)
    for graph in (DenseGraph(W), SparseGraph(sp.csr_array(W))):
        hops = graph.hops(labeled)
        assert hops.dtype == np.int64
        np.testing.assert_array_equal(hops, expected)


def test_hops_go_against_the_listening():
    # 1 listens to 0 and 2 listens to 1; nobody listens to 3, which listens to itself.
    W = sp.csr_array(([1.0, 1.0, 1.0], ([1, 2, 3], [0, 1, 3])), shape=(4, 4))
    np.testing.assert_array_equal(SparseGraph(W).hops([0]), [0, 1, 2, -1])
    np.testing.assert_array_equal(SparseGraph(W).hops([2]), [-1, -1, 0, -1])
    np.testing.assert_array_equal(DenseGraph(W.toarray()).hops([0]), [0, 1, 2, -1])
    np.testing.assert_array_equal(RBFGraph(np.eye(3), 1.0).hops([2]), [1, 1, 0])


def test_hops_along_a_chain_count_every_edge():
    n = 200_000
    chain = sp.diags_array([np.ones(n - 1)], offsets=[-1], shape=(n, n), format="csr")
    np.testing.assert_array_equal(SparseGraph(chain).hops([0]), np.arange(n))


def test_hops_reach_no_component_without_a_label():
    W = sp.block_diag([np.ones((3, 3)), np.ones((2, 2)), np.ones((1, 1))], format="csr")
    np.testing.assert_array_equal(SparseGraph(W).hops([4]), [-1, -1, -1, 1, 0, -1])


@pytest.mark.parametrize("labeled", [[], [9], [0, 0], [0.5]])
def test_hops_refuse_what_is_no_row_number(labeled):
    for graph in (DenseGraph(np.eye(3)), SparseGraph(sp.eye_array(3)), RBFGraph(np.eye(3), 1.0)):
        with pytest.raises(InputError, match="labeled"):
            graph.hops(labeled)


def test_the_arrays_of_the_caller_are_not_changed(rng):
    W = random_weights(rng)
    csr = sp.csr_array(W)
    log_data = np.log(csr.data)
    arrays = [W, csr.data, csr.indices, csr.indptr, log_data]
    before = [array.copy() for array in arrays]
    for array in arrays:
        array.flags.writeable = False
    made = SparseGraph.from_log_weights(csr.indptr, csr.indices, log_data, 12)
    for graph in (DenseGraph(W), SparseGraph(csr), made):
        graph.log_weights(np.arange(12), np.arange(12))
        graph.hops([0])
        assert not graph.symmetric
    made.transition(self_loops=False)
    made.transition(self_loops=True)
    _ = made.weights_csr
    for array, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_pyg_round_trip_is_the_same_graph(rng):
    W = random_weights(rng)
    W[3] = W[:, 3] = 0.0  # nobody names the point: its number is in num_nodes alone
    graph = SparseGraph(sp.csr_array(W))
    data = graph.to_pyg()
    assert data.validate()
    assert data.num_nodes == 12
    assert data.edge_index.dtype == torch.int64
    assert data.edge_weight.dtype == torch.float64
    source, target = data.edge_index.numpy()
    np.testing.assert_allclose(data.edge_weight.numpy(), W[target, source], rtol=1e-15)
    again = SparseGraph.from_pyg(data)
    np.testing.assert_array_equal(again.indptr, graph.indptr)
    np.testing.assert_array_equal(again.indices, graph.indices)
    np.testing.assert_allclose(again.log_data, graph.log_data, rtol=1e-15, atol=1e-15)


def test_pyg_edges_given_twice_are_summed():
    data = Data(
        edge_index=torch.tensor([[0, 0, 1], [1, 1, 0]]),
        edge_weight=torch.tensor([1.0, 2.0, 5.0]),
        num_nodes=3,
    )
    np.testing.assert_allclose(
        SparseGraph.from_pyg(data).weights_csr.toarray(), [[0, 5, 0], [3, 0, 0], [0, 0, 0]]
    )


@pytest.mark.parametrize("n_layers", [1, 3, 20])
def test_label_propagation_of_pyg_is_spreading_on_our_transition(n_layers, rng):
    # D^-1/2 A D^-1/2 from ours: sqrt(d_i) P_ij / sqrt(d_j). PyG takes a graph without weights so.
    A = (rng.random((15, 15)) < 0.3).astype(np.float64)
    A = np.triu(A, 1)
    A[7] = A[:, 7] = 0.0
    graph = SparseGraph(sp.csr_array(A + A.T))
    P, log_degree = graph.transition(self_loops=False)
    rows = np.repeat(np.arange(15), np.diff(P.indptr))
    S = P.toarray()
    S[rows, P.indices] *= np.exp(0.5 * (log_degree[rows] - log_degree[P.indices]))

    alpha, labeled, classes = 0.7, np.array([0, 4, 9]), np.array([0, 1, 1])
    Y = np.zeros((15, 2))
    Y[labeled, classes] = 1.0
    F = Y
    for _ in range(n_layers):
        F = np.clip(alpha * (S @ F) + (1.0 - alpha) * Y, 0.0, 1.0)

    mask = torch.zeros(15, dtype=torch.bool)
    mask[labeled] = True
    y = torch.zeros((15, 2), dtype=torch.float64)
    y[labeled, classes] = 1.0
    data = graph.to_pyg()
    theirs = LabelPropagation(n_layers, alpha)(y, data.edge_index, mask)
    # Their degrees are in float32.
    np.testing.assert_allclose(F, theirs.numpy(), atol=1e-6)
    # With weights PyG normalises nothing: S itself goes in, and float64 comes out.
    s = torch.from_numpy(S[rows, P.indices])
    theirs = LabelPropagation(n_layers, alpha)(y, data.edge_index, mask, edge_weight=s)
    np.testing.assert_allclose(F, theirs.numpy(), rtol=1e-12, atol=1e-15)


def test_row_numbers_are_checked_and_completed():
    np.testing.assert_array_equal(check_rows([2, 0], 3, "labeled"), [2, 0])
    np.testing.assert_array_equal(other_rows(np.array([2, 0]), 4), [1, 3])
