"""Harmonic solutions of sparse graphs with their iterations on a GPU, run here, against the CPU."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from cuda_on_cpu import ShimCard
from sklearn.datasets import load_digits

import gssl_poison as gp
from gssl_poison import Direct, Harmonic, Propagation, SparseGraph, Spreading
from gssl_poison.exceptions import ConvergenceWarning, DeviceError
from gssl_poison.kernels import cuda, cuda_cg
from gssl_poison.kernels.cg import conjugate_gradients
from gssl_poison.kernels.chain import Chain, Team
from gssl_poison.propagation import Predicted

N = 300


@pytest.fixture(scope="module")
def card(kernel_folder):
    return ShimCard(kernel_folder)


@pytest.fixture(autouse=True)
def with_a_card(card, monkeypatch):
    monkeypatch.setattr(cuda, "card", lambda: card)


def graph(n=N, **settings):
    return gp.knn_graph(load_digits().data[:n] / 16.0, 7, **settings)


def labels(rng, n=N, size=40):
    return rng.permutation(n)[:size]


def test_scores_are_those_of_the_cpu_within_their_bounds(rng):
    here, labeled = graph(), labels(rng)
    found, expected = (Harmonic(tol=1e-11).fit(g, labeled) for g in (here.on("cuda"), here))
    assert found.method == "cg"
    Y = rng.random((40, 3))
    there, exact = found.solve(Y), expected.solve(Y)
    assert there.converged
    assert np.abs(there.value - exact.value).max() <= there.bound + exact.bound
    assert there.bound <= 1e-10
    # The same loop, whose products are rounded in another order.
    assert abs(there.n_iter - exact.n_iter) <= 0.1 * exact.n_iter + 2
    R = rng.normal(size=(N, 2))
    np.testing.assert_allclose(found.adjoint(R), expected.adjoint(R), atol=1e-8)
    np.testing.assert_allclose(found.leave_one_out(), expected.leave_one_out(), atol=1e-8)
    np.testing.assert_allclose(found.matrix([3, 5]), expected.matrix([3, 5]), atol=1e-8)


def test_the_iterations_are_run_on_the_card(rng, monkeypatch):
    seen = []
    run = cuda_cg.conjugate_gradients_on_card
    monkeypatch.setattr(
        cuda_cg, "conjugate_gradients_on_card", lambda *given: seen.append(1) or run(*given)
    )
    fitted = Harmonic().fit(graph().on("cuda"), labels(rng))
    fitted.apply(np.ones((40, 1)))
    assert seen
    seen.clear()
    Harmonic().fit(graph(), labels(rng)).apply(np.ones((40, 1)))
    assert not seen


def test_a_wrong_product_is_not_believed(rng, monkeypatch):
    """What comes from a card is an approximation: the host says what it is worth."""
    fitted = Harmonic().fit(graph().on("cuda"), labels(rng))
    multiply = cuda_cg.CardChain.multiply
    monkeypatch.setattr(cuda_cg.CardChain, "multiply", lambda self, X: multiply(self, X) * 1.01)
    Y = rng.random((40, 2))
    there = fitted.solve(Y)
    exact = Harmonic(tol=1e-12).fit(graph(), fitted.labeled).solve(Y)
    assert np.abs(there.value - exact.value).max() <= there.bound + exact.bound
    monkeypatch.setattr(cuda_cg.CardChain, "multiply", lambda self, X: multiply(self, X) * -1.0)
    with pytest.raises((gp.exceptions.NumericalError, ConvergenceWarning)):
        fitted.solve(Y)


def test_columns_stop_by_themselves(card, rng):
    system = Harmonic().fit(graph(), labels(rng)).operator.system
    chain, weight, _ = system._prepared
    B = rng.random((chain.n_states, 4)) * [1.0, 1e-3, 0.0, 1.0]
    stops = []

    class Stop(cuda_cg.Stop):
        def reached(self, columns, total, largest_r, largest_x):
            stops.append(super().reached(columns, total, largest_r, largest_x))
            return stops[-1]

    stop = Stop(np.array([1e-9, 1e-2, 1e-9, 1e-12]), 0.0, np.zeros(4))
    X, n_iter = cuda_cg.conjugate_gradients_on_card(
        cuda_cg.CardChain.of(card, chain, weight), B, stop, 500
    )
    with Team(chain, 1) as team:
        expected, as_many = conjugate_gradients(chain, weight, B, stop, 500, team)
    assert abs(n_iter - as_many) <= 2
    np.testing.assert_allclose(X, expected, rtol=1e-6, atol=1e-10)
    assert not X[:, 2].any()
    assert isinstance(chain, Chain)


def test_points_that_no_label_reaches(rng):
    apart = np.concatenate([load_digits().data[:100], load_digits().data[100:140] + 1e3]) / 16.0
    here = gp.knn_graph(apart, 5)
    labeled = labels(rng, 100, 20)
    found, expected = (Harmonic(unreached="leave").fit(g, labeled) for g in (here.on("cuda"), here))
    np.testing.assert_array_equal(found.unreached, expected.unreached)
    np.testing.assert_allclose(found.matrix(), expected.matrix(), atol=1e-8)


def test_elimination_where_it_is_asked_for(rng):
    here, labeled = graph(90), labels(rng, 90, 12)
    found, expected = (Harmonic(method="gth").fit(g, labeled) for g in (here.on("cuda"), here))
    assert found.method == expected.method == "gth"
    np.testing.assert_allclose(found.matrix(), expected.matrix(), rtol=1e-9)


def test_what_has_no_kernel(rng):
    there, labeled = graph(90).on("cuda"), labels(rng, 90, 12)
    for propagator in (Direct(), Propagation(3), Spreading(0.2), Predicted(Harmonic())):
        with pytest.raises(DeviceError, match="and for Harmonic on a symmetric SparseGraph"):
            propagator.fit(there, labeled)
    directed = graph(90, symmetrize=False).on("cuda")
    with pytest.raises(DeviceError, match="Harmonic on a symmetric SparseGraph"):
        Harmonic(unreached="leave").fit(directed, labeled)


def test_rank_by_the_harmonic_influence_on_neighbours(rng):
    X, y = load_digits().data[:N] / 16.0, np.full(N, np.nan)
    y[labels(rng)] = 1.0
    settings = {"influence": "harmonic", "graph": "knn:n_neighbors=7"}
    found, expected = (gp.rank(X, y, device=d, **settings) for d in ("cuda", "cpu"))
    assert found.attrs["device"] == "cuda"
    np.testing.assert_array_equal(found["mir"], expected["mir"])
    np.testing.assert_allclose(found["total"], expected["total"], rtol=1e-6)
    with pytest.raises(DeviceError, match="the graph that was given is computed on the CPU"):
        gp.rank(X, y, influence="harmonic", graph=graph(), device="cuda")


def test_a_graph_goes_to_other_processes():
    graph_there = graph(60).on("cuda")
    assert pickle.loads(pickle.dumps(graph_there)).device == "cuda"  # noqa: S301
    assert isinstance(graph_there, SparseGraph)
    assert graph_there.on("cpu").device == "cpu"
