"""8-bit data: recognised, multiplied exactly, and counted as the other routes count."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest

import gssl_poison as gp
from gssl_poison.kernels import int8, recheck
from gssl_poison.kernels.block import _multiply, reduce_block
from gssl_poison.kernels.bounds import MOST_CODES
from gssl_poison.kernels.columns import Columns
from gssl_poison.kernels.lattice import LatticeColumns, encode_rows
from gssl_poison.kernels.workspace import Workspace

needs_vnni = pytest.mark.skipif(
    not int8.is_available(), reason="this processor has no AVX-512 VNNI: 8-bit data run in float32"
)


def pixels(n, d, seed=0):
    rng = np.random.default_rng(seed)
    return (255 * rng.random((n, d)) ** 3).astype(np.uint8)


@needs_vnni
@pytest.mark.parametrize(("n", "l", "d"), [(8, 1, 4), (16, 33, 128), (24, 260, 832)])
def test_products_are_exact_at_the_extremes(n, l, d):  # noqa: E741
    rng = np.random.default_rng(0)
    rows = rng.choice(np.array([0, 1, 254, 255], dtype=np.uint8), size=(n, d))
    columns = rng.choice(np.array([-128, -127, 0, 127], dtype=np.int8), size=(l, d))
    out = np.empty((n, int8.padded(l, 32)), dtype=np.int32)
    int8.multiply(rows, int8.pack(columns), out)
    np.testing.assert_array_equal(out[:, :l], rows.astype(np.int64) @ columns.astype(np.int64).T)


@needs_vnni
@pytest.mark.parametrize("value", [0, 255])
def test_the_widest_rows_do_not_overflow(value):
    X = np.full((3, MOST_CODES), 255 - value, dtype=np.uint8)
    X[1:] = value
    X[2, 0] ^= 1
    measured = gp.measure_influence(gp.Direct().fit(gp.RBFGraph(X, 1e-4), [0, 1]))
    assert measured.routes == {"int8": 1}
    assert measured.mir.tolist() == [0, 1]
    assert gp.rank(X, ["a", None, "b"], gamma=1e-4)["mir"].tolist() == [1, 0]


@needs_vnni
@pytest.mark.parametrize(
    ("X", "step"),
    [
        (pixels(9, 5), 1.0),
        (pixels(9, 5).astype(np.float32), 1.0),
        (pixels(9, 5).astype(np.float32) / 255, 1 / 255),
        (pixels(9, 5) / 255.0, 1 / 255),
        (pixels(9, 5) / 255.0 + 1e-7, None),
        (pixels(9, 5) - 1.0, None),
        (pixels(9, 5) * 2.0, None),
        (pixels(9, 5) / 16.0, None),
    ],
)  # fmt: skip
def test_a_lattice_is_recognised(X, step):
    found = LatticeColumns.find(X, np.arange(9))
    assert (found and found.step) == step
    if found:
        panel = found.panels[0].reshape(2, 16, 4).transpose(1, 0, 2).reshape(16, 8)[:9, :5]
        codes = (panel.view(np.uint8) ^ np.uint8(128)).astype(np.float64)
        np.testing.assert_allclose(codes * step, X, rtol=1e-7)
        np.testing.assert_array_equal(found.minus_squares, -np.square(codes).sum(axis=1))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0, 0.5, 256.0])
def test_one_value_off_the_lattice_is_seen(bad):
    X = pixels(6, 7).astype(np.float64)
    out, squares = np.empty((6, 64), np.uint8), np.empty(6, np.int64)
    assert encode_rows(X, np.arange(6), 1.0, 0.0, out, squares)
    X[4, 3] = bad
    assert not encode_rows(X, np.arange(6), 1.0, 0.0, out, squares)


@needs_vnni
@pytest.mark.parametrize("kind", ["uint8", "float32", "pixels32", "pixels64"])
@pytest.mark.parametrize("sharpness", [20.0, 2e4])
@pytest.mark.parametrize(("n", "d"), [(7, 1), (50, 63), (131, 65), (60, 784)])
def test_scores_are_within_their_bound_and_counts_are_the_float_routes(
    kind, n, d, sharpness, record_property
):
    X = pixels(n, d, seed=d)
    X[0] = X[1]
    X = {"uint8": X, "float32": X.astype(np.float32), "pixels32": X.astype(np.float32) / 255,
         "pixels64": X / 255.0}[kind]  # fmt: skip
    labeled, rows = np.arange(n // 3), np.arange(n // 3, n)
    gamma = sharpness / max(np.square(X.astype(float) - X.mean(axis=0)).sum(axis=1).mean(), 1e-9)
    columns = Columns(X, labeled, gamma)
    products = _multiply(columns, rows, X, rows, Workspace())
    assert products.route == "int8"
    exact = np.empty((rows.size, labeled.size))
    for c, j in enumerate(labeled):
        exact[:, c] = [-gamma * recheck.squared_distance(X, i, X, j, np.empty(32)) for i in rows]
    dots = products.dots[: rows.size, : labeled.size].astype(np.int64)
    scores = (2 * dots + products.bias) * products.unit
    error = np.abs((scores - scores[:, :1]) - (exact - exact[:, :1]))
    ratio = (error / (2 * products.bound[:, None])).max()
    record_property("largest error over bound", ratio)
    assert ratio < 1.0
    whole = reduce_block(columns, rows, Workspace())
    with mock.patch.object(int8, "is_available", return_value=False):
        plain = reduce_block(Columns(X, labeled, gamma), rows, Workspace())
    assert plain.route != "int8"
    np.testing.assert_array_equal(whole.major, plain.major)
    assert whole.undecided == plain.undecided
    np.testing.assert_allclose(whole.total, plain.total, rtol=1e-3, atol=1e-9)


@needs_vnni
def test_a_block_off_the_lattice_runs_in_float():
    X = pixels(40, 9).astype(np.float64)
    X[35, 4] += 0.25
    measured = gp.measure_influence(
        gp.Direct().fit(gp.RBFGraph(X, 1e-4), np.arange(10)), block_size=15
    )
    assert measured.routes == {"int8": 15, "float32": 15}


def test_without_the_instruction_counts_are_the_same(monkeypatch):
    X, y = pixels(80, 30), np.where(np.arange(80) < 25, "a", "")
    expected = gp.rank(X, y, gamma=1e-4)
    monkeypatch.setattr(int8, "is_available", lambda: False)
    table = gp.rank(X, y, gamma=1e-4)
    assert table.attrs["route"] == "float32"
    np.testing.assert_array_equal(
        table.sort_values("point")["mir"], expected.sort_values("point")["mir"]
    )


def test_another_target_processor_turns_the_route_off(monkeypatch):
    monkeypatch.setattr("numba.core.config.CPU_NAME", "generic")
    assert not int8.is_available()
