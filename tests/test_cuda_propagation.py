"""Propagators on a GPU, whose kernels run here on the CPU, against those of the CPU."""

from __future__ import annotations

import shutil
import sys
import types

import numpy as np
import pytest
from cuda_on_cpu import KERNELS, ORDERS, DeviceArray, ShimCard, build
from sklearn.datasets import load_digits

import gssl_poison as gp
from gssl_poison import Direct, Harmonic, Propagation, RBFGraph, Spreading
from gssl_poison.exceptions import DeviceError, InputError, NumericalError
from gssl_poison.kernels import cuda
from gssl_poison.kernels.corner import reduce_corner
from gssl_poison.kernels.cuda_rows import CardRows
from gssl_poison.kernels.log_rows import LogRows
from gssl_poison.propagation import Predicted, shared_weights

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ here")

N = 211


@pytest.fixture(scope="module")
def card(kernel_folder):
    return ShimCard(kernel_folder)


@pytest.fixture(autouse=True)
def with_a_card(card, monkeypatch):
    monkeypatch.setattr(cuda, "card", lambda: card)
    card.launched.clear()


def digits(n=N):
    return load_digits().data[:n] / 16.0


def labels(rng, n=N, size=31):
    return rng.permutation(n)[:size]


def both(propagator, X, gamma, labeled):
    return [propagator.fit(RBFGraph(X, gamma, device=d), labeled) for d in ("cuda", "cpu")]


# --- log-weights


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_log_weights(card, rng, dtype):
    X = digits() if dtype != "uint8" else load_digits().data[:N].astype(dtype)
    X = X.astype(dtype)
    X[7] = X[3]
    columns = labels(rng, size=130)
    columns[0], columns[1] = 3, 7
    rows = np.arange(N)
    block = CardRows(card, X, 0.5, np.unique(columns))(rows)
    assert isinstance(block, DeviceArray)
    expected = LogRows(X, 0.5, np.unique(columns))(rows)
    np.testing.assert_allclose(card.get(block), expected, rtol=1e-12, atol=1e-10)
    assert card.get(block)[3, 1] == 0.0 == expected[7, 0] or expected[3].max() == 0.0


def test_log_weights_of_points_far_apart_are_taken_directly(card, rng):
    X = digits()
    X[5] += 1e8
    X[6] = X[5] + np.eye(1, 64)[0] * 0.5
    found = card.get(CardRows(card, X, 2.0, np.array([6, 20]))(np.array([5, 6, 21])))
    exact = -2.0 * ((X[[5, 6, 21]][:, None] - X[[6, 20]][None]) ** 2).sum(axis=2)
    np.testing.assert_allclose(found, exact, rtol=1e-13)
    assert found[0, 0] == -0.5


def test_a_value_that_is_not_finite_is_named(card):
    X = digits()
    X[20, 5] = np.inf
    with pytest.raises(InputError, match=r"X\[20, 5\] is inf"):
        CardRows(card, X, 1.0, np.arange(4))(np.arange(15, 30))


# --- propagators


@pytest.mark.parametrize("gamma", [0.1, 5.0])
@pytest.mark.parametrize(
    "propagator",
    [
        Direct(),
        Propagation(1),
        Propagation(7),
        Spreading(0.2),
        Spreading(0.9),
        Spreading(0.5, n_iter=6),
        Spreading(0.5, method="gth"),
        Harmonic(),
        Predicted(Propagation(3)),
        Predicted(Spreading(0.2, n_iter=4)),
    ],
    ids=repr,
)
def test_propagators(propagator, gamma, rng):
    labeled = labels(rng)
    found, expected = both(propagator, digits(), gamma, labeled)
    np.testing.assert_allclose(found.matrix(), expected.matrix(), rtol=2e-9, atol=1e-300)
    np.testing.assert_allclose(found.shares(), expected.shares(), rtol=2e-9, atol=1e-12)
    Y = rng.random((labeled.size, 3))
    np.testing.assert_allclose(found.apply(Y), expected.apply(Y), rtol=2e-9, atol=1e-300)
    R = rng.normal(size=(N, 2))
    np.testing.assert_allclose(found.adjoint(R), expected.adjoint(R), rtol=1e-7, atol=1e-9)
    rows = np.concatenate([labeled[:2], found.unlabeled[5:9]])
    np.testing.assert_allclose(found.matrix(rows), expected.matrix(rows), rtol=2e-9, atol=1e-300)
    if not isinstance(propagator, Propagation | Predicted):
        told, others = found.leave_one_out(), expected.leave_one_out()
        np.testing.assert_allclose(told, others, rtol=1e-7, atol=1e-12)


def test_the_work_is_done_on_the_card(card, rng):
    labeled = labels(rng)
    for propagator, kernels in (
        (Direct(), {"log_weights"}),
        (Propagation(3), {"log_weights", "propagation_step"}),
        (Spreading(0.2), {"log_weights", "propagation_step"}),
        (Harmonic(), {"log_weights", "reduce_corner"}),
    ):
        card.launched.clear()
        propagator.fit(RBFGraph(digits(), 1.0, device="cuda"), labeled).matrix()
        assert set(card.launched) == kernels


def test_points_that_are_on_the_card_are_used_there(card, rng, monkeypatch):
    X, labeled = digits(), labels(rng)
    graph = RBFGraph(X, 1.0, device="cuda")
    there = card.put(X)
    monkeypatch.setattr("gssl_poison.graph.resident_of", lambda *_: there)
    resident = RBFGraph(X, 1.0, device="cuda")
    sent = []
    put = ShimCard.put
    monkeypatch.setattr(ShimCard, "put", lambda self, host: sent.append(host) or put(self, host))
    for propagator in (Direct(), Propagation(3), Harmonic()):
        sent.clear()
        found = propagator.fit(resident, labeled).matrix()
        assert not any(array.ndim == 2 and array.shape[1] == 64 for array in sent)
        np.testing.assert_array_equal(found, propagator.fit(graph, labeled).matrix())
    monkeypatch.setattr(ShimCard, "stream", None)
    with pytest.raises(TypeError):
        gp.measure_influence(Direct().fit(graph, labeled))
    measured = gp.measure_influence(Direct().fit(resident, labeled), block_size=50)
    expected = gp.measure_influence(Direct().fit(RBFGraph(X, 1.0), labeled))
    np.testing.assert_array_equal(measured.mir, expected.mir)


def lent(module, **attributes):
    """Return something that says it is of a library."""
    return type("Array", (), {"__module__": module, **attributes})()


def test_what_is_on_a_card_already(monkeypatch):
    rows = types.SimpleNamespace(c_contiguous=True)
    host = np.zeros((3, 2), dtype=np.float32)
    here = lent("cupy", dtype=host.dtype, flags=rows)
    assert cuda.resident_of(here, host) is here
    assert cuda.resident_of(host, host) is None
    assert cuda.resident_of(lent("cupy", dtype=np.dtype("f8"), flags=rows), host) is None
    columns = types.SimpleNamespace(c_contiguous=False)
    assert cuda.resident_of(lent("cupy", dtype=host.dtype, flags=columns), host) is None
    monkeypatch.setitem(sys.modules, "cupy", types.SimpleNamespace(from_dlpack=lambda _: here))
    tensor = lent("torch", is_cuda=True, detach=lambda self: self)
    assert cuda.resident_of(tensor, host) is here
    assert cuda.resident_of(lent("torch", is_cuda=False), host) is None


def test_weights_are_shared(rng):
    graph = RBFGraph(digits(), 1.0, device="cuda")
    with shared_weights():
        first, second = (Propagation(n).fit(graph, labels(rng)) for n in (2, 3))
    assert first.operator.walk is second.operator.walk


def test_a_chain_that_leaves_float64_is_refused_by_name(rng):
    X = np.concatenate([digits(40), digits(40)[::-1] + 30.0])
    for device in ("cuda", "cpu"):
        with pytest.raises(NumericalError, match="a random walk near point"):
            Harmonic(method="gth").fit(RBFGraph(X, 50.0, device=device), np.arange(5))


def test_what_a_card_cannot_hold_is_refused(card, rng, monkeypatch):
    monkeypatch.setattr(ShimCard, "free_memory", lambda _: 2**20)
    graph = RBFGraph(digits(), 1.0, device="cuda")
    with pytest.raises(InputError, match=r"the weights of 211 points take .* on the GPU"):
        Propagation(3).fit(graph, labels(rng))
    monkeypatch.setattr(ShimCard, "free_memory", lambda _: 2**10)
    with pytest.raises(InputError, match="Harmonic on a dense graph"):
        Harmonic().fit(graph, labels(rng))


def test_what_has_no_kernel(rng):
    graph = RBFGraph(digits(), 1.0, device="cuda")
    with pytest.raises(DeviceError, match="has kernels for"):
        Direct("column-row").fit(graph, labels(rng))
    with pytest.raises(DeviceError, match="storage='free' is how the CPU holds weights"):
        Propagation(3, storage="free").fit(graph, labels(rng))
    from scipy.sparse import csr_array

    with pytest.raises(DeviceError, match="has kernels for"):
        RBFGraph(csr_array(digits()), 1.0, device="cuda")
    with pytest.raises(DeviceError, match="has kernels for"):
        gp.LabelPropagation(device="cuda").fit(digits(20), [0, 1] + [-1] * 18)


# --- kernels, by themselves


def corner_by(launch, S, leaving, order):
    size = leaving.size
    S, leaving = S.copy(), leaving.copy()
    lower, paths = np.full((2, size, size), np.nan)
    sums, bad = np.full(size, np.nan), np.full(1, -7, dtype=np.int32)
    arguments = (S, leaving, size, lower, paths, sums, bad)
    launch((1,), (1024,), arguments, order=order)
    return lower, paths, sums, int(bad[0])


def corner_on_cpu(S, leaving):
    size = leaving.size
    lower, paths, sums = np.empty((size, size)), np.empty((size, size)), np.empty(size)
    bad = reduce_corner(S.copy(), leaving.copy(), lower, paths, sums)
    return lower, paths, sums, bad


def corners(rng, size):
    S = np.ldexp(rng.random((size, size)), rng.integers(-600, 0, (size, size)))
    np.fill_diagonal(S, 0.0)
    return S, np.ldexp(rng.random(size), rng.integers(-600, 0, size))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("size", [1, 2, 33, 97])
def test_reduce_corner(card, rng, size, order):
    given = corners(rng, size)
    found = corner_by(build("reduce_corner", card.folder), *given, order)
    expected = corner_on_cpu(*given)
    for one, other in zip(found[:3], expected[:3], strict=True):
        # Every entry to its own rounding, over hundreds of orders of magnitude.
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-300)
    assert found[3] == expected[3] == size


def test_reduce_corner_names_a_state_without_exit(card, rng):
    S, leaving = corners(rng, 40)
    S[11:, :11] = 0.0
    S[11, 12:] = leaving[11] = 0.0
    assert corner_by(build("reduce_corner", card.folder), S, leaving, 0)[3] == 11
    assert corner_on_cpu(S, leaving)[3] == 11


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        (
            "int j = p + 1 + t; j < size; j += THREADS) part",
            "int j = p + t; j < size; j += THREADS) part",
        ),
        (
            "leaving[i] += S[i * size + p] * leaving[p];",
            "leaving[i] += S[i * size + p] * leaving[i];",
        ),
        ("        const double total = pivot;", "        const double total = sums[0];"),
        ("S[p * size + j] /= sums[p]", "S[p * size + j] /= sums[j]"),
        ("for (int p = q; p < i; p++)", "for (int p = q + 1; p < i; p++)"),
        (
            "        __syncthreads();\n        for (int i = p + 1 + t / WARP",
            "        for (int i = p + 1 + t / WARP",
        ),
        ("            S[i * size + p] /= total;\n", ""),
    ],
)
def test_a_changed_corner_fails(card, rng, was, becomes):
    text = (KERNELS / "reduce_corner.cu").read_text()
    assert text.count(was) == 1
    given = corners(rng, 97)
    expected = corner_on_cpu(*given)
    for order in ORDERS:
        launch = build("reduce_corner", card.folder, text.replace(was, becomes))
        found = corner_by(launch, *given, order)
        if not all(
            np.allclose(one, other, rtol=1e-12, atol=0.0)
            for one, other in zip(found[:3], expected[:3], strict=True)
        ):
            return
    pytest.fail("no test has noticed")
