"""Influence as the GPU path computes it, on a card whose kernels run on the CPU."""

from __future__ import annotations

import sys
import types

import numpy as np
import pandas as pd
import pytest
from cuda_on_cpu import KERNELS, ORDERS, ShimCard, build
from sklearn.datasets import load_digits

import gssl_poison as gp
from gssl_poison import Direct, RBFGraph
from gssl_poison.exceptions import DeviceError, InputError
from gssl_poison.influence import measure_influence
from gssl_poison.kernels import cuda
from gssl_poison.kernels.bounds import MOST_CODES, slice_bound
from gssl_poison.kernels.columns import Columns
from gssl_poison.kernels.cuda_products import SliceProducts


@pytest.fixture(scope="module")
def card(kernel_folder):
    return ShimCard(kernel_folder)


def on_both(card, X, labeled, gamma, size=100, product="float32"):
    expected = measure_influence(Direct().fit(RBFGraph(X, gamma), labeled))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cuda, "card", lambda: card)
        fitted = Direct().fit(RBFGraph(X, gamma, device="cuda"), labeled)
        seen = []
        found = measure_influence(
            fitted,
            block_size=size,
            progress=lambda *done: seen.append(done),
            product=product,
        )
    assert seen[-1] == (fitted.unlabeled.size, fitted.unlabeled.size)
    assert sum(found.routes.values()) == fitted.unlabeled.size
    return found, expected


def same_counts(found, expected):
    np.testing.assert_array_equal(found.mir, expected.mir)
    assert found.undecided == expected.undecided
    assert found.unresolved == expected.unresolved
    np.testing.assert_allclose(found.total, expected.total, rtol=1e-4, atol=1e-6)


def digits(dtype, n=430, d=33):
    X = load_digits().data[:n, :d]
    return X.astype(dtype) if dtype == "uint8" else (X / 16.0).astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("gamma", [5.0, 20.0, 60.0])
def test_counts_are_those_of_the_cpu(card, dtype, gamma, rng):
    scale = 256.0 if dtype == "uint8" else 1.0
    labeled = rng.permutation(430)[:70]
    found, expected = on_both(card, digits(dtype), labeled, gamma / scale)
    same_counts(found, expected)
    assert found.mir.any()
    assert set(found.routes) == {"int8" if dtype == "uint8" else "float32"}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_pixels_divided_by_255_are_codes(card, dtype, rng):
    X = (load_digits().data[:430, :33].astype(np.uint8) * 15 / 255).astype(dtype)
    found, expected = on_both(card, X, rng.permutation(430)[:70], 5.0)
    same_counts(found, expected)
    assert set(found.routes) == {"int8"}


def test_a_block_with_a_row_that_is_no_codes_goes_the_other_way(card, rng):
    X, labeled = digits("uint8").astype(np.float32), rng.permutation(430)[:70]
    row = np.setdiff1d(np.arange(430), labeled)[150]
    X[row, 4] = 0.25
    found, expected = on_both(card, X, labeled, 0.01)
    same_counts(found, expected)
    assert found.routes == {"int8": 270, "float32": 90}


def test_codes_at_the_end_of_their_range(card):
    """The largest features and the most of them that 32 bits hold, far apart and alike."""
    X = np.zeros((40, MOST_CODES), dtype=np.uint8)
    X[::2] = 255
    X[5], X[7, :9] = 128, 3
    X[9, ::2] = 255
    found, expected = on_both(card, X, np.arange(12), 1e-7)
    same_counts(found, expected)
    assert set(found.routes) == {"int8"}


@pytest.mark.usefixtures("data_dir")
@pytest.mark.parametrize(("name", "gamma"), [("mnist-1-7", 5.0), ("cifar10-cat-ship", 0.1)])
def test_counts_on_real_pixels(card, name, gamma, rng):
    X = np.asarray(gp.load_dataset(name).X)
    X = X[rng.permutation(len(X))[:1000]].astype(np.float32)
    X = X / np.float32(255) if X.max() > 1.0 else X
    for points, route in ((X, "int8"), (X + rng.normal(0, 0.01, X.shape).astype("f4"), "float32")):
        found, expected = on_both(card, points, np.arange(300), gamma, size=350)
        same_counts(found, expected)
        assert set(found.routes) == {route}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("gamma", [5.0, 60.0, 2000.0])
def test_slices_give_the_same_counts_and_recheck_less(card, dtype, gamma, rng):
    X, labeled = digits(dtype), rng.permutation(430)[:70]
    X[40:50] = X[50:60]  # ties
    found, expected = on_both(card, X, labeled, gamma, product="slices")
    same_counts(found, expected)
    assert set(found.routes) == {"slices"}
    by_floats, _ = on_both(card, X, labeled, gamma)
    assert found.bound < by_floats.bound or gamma == 2000.0
    assert found.rechecked <= by_floats.rechecked


def sliced(folder, X, center, unit, reverse, order, source=None):
    rows, features = X.shape
    width = -(-features // 16) * 16
    slices = np.full((rows, 3 * width), 77, dtype=np.int8)
    scale, squares = np.full((2, rows), np.nan)
    kind = {"u1": "unsigned char", "f4": "float", "f8": "double"}[X.dtype.str[1:]]
    launch = build("slice_rows", folder, source, VALUE=kind)
    arguments = (X, center, unit, features, width, int(reverse), slices, scale, squares)
    launch((rows,), (128,), arguments, order=order)
    return slices.reshape(rows, 3, width)[:, :: -1 if reverse else 1], scale, squares


def sliceable(rng, dtype, features):
    """Return rows of one size, of many sizes, of one large value, of zeros and of the centre."""
    X = rng.normal(size=(9, features))
    X[1] *= 10.0 ** rng.uniform(-9, 0, features)
    X[2] *= 1e-3
    X[2, features // 2] = 7.0
    X[3] = 0.0
    if dtype == "uint8":
        return (40 * np.abs(X)).astype(dtype), np.full(features, 17.5)
    return X.astype(dtype), X.astype(dtype)[4].astype(np.float64)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("features", [1, 33, 300])
def test_slices_are_the_rows(card, rng, dtype, features, order):
    X, center = sliceable(rng, dtype, features)
    for reverse in (False, True):
        slices, scale, squares = sliced(card.folder, X, center, 0.25, reverse, order)
        exact = (X.astype(np.float64) - center) * 0.25
        np.testing.assert_allclose(squares, (exact**2).sum(axis=1), rtol=1e-14)
        parts = slices[:, :, :features].astype(np.float64)
        known = parts[:, 0] + parts[:, 1] / 254.0 + parts[:, 2] / 254.0**2
        assert ((scale == 0.0) == (np.abs(exact).max(axis=1) == 0.0)).all()
        off = np.abs(known * scale[:, None] - exact) / np.where(scale > 0.0, scale, 1.0)[:, None]
        assert off.max() <= 1.001 / (2 * 254**2)
        assert not slices[:, :, features:].any()
        assert np.abs(parts).max() <= 127


@pytest.mark.parametrize("features", [3, 200])
def test_products_of_slices_are_within_their_bound(card, rng, features):
    """And the bound is not idle: it is within a hundred times what rows of large values do."""
    X = np.sign(rng.normal(size=(60, features))) * rng.uniform(0.5, 1.0, (60, features))
    X[30:] *= 10.0 ** rng.uniform(-6, 6, (30, 1))
    columns = Columns(X, np.arange(30), 1.0)
    products = SliceProducts(card, columns, 30)
    scores = products.multiply(card.put(X[30:]), np.arange(30, 60))
    centered = (X - columns.centered.center) * columns.centered.scale
    exact = centered[30:] @ centered[:30].T
    off = np.abs(card.get(scores.dots)[:30, :30] - exact).max(axis=1)
    norm = np.sqrt((centered[30:] ** 2).sum(axis=1))
    bound = slice_bound(
        features,
        norm,
        np.abs(centered[30:]).max(axis=1) / 127,
        columns.largest_norm,
        products.largest_scale,
    )
    assert (off <= bound + 2.0**-24 * norm * columns.largest_norm).all()
    assert (off.max(initial=0.0) > bound * 1e-3).any()


@pytest.mark.parametrize(
    ("name", "was", "becomes"),
    [
        ("slice_rows", "left = (left - a) * STEPS", "left = (left - a) * 127.0"),
        ("slice_rows", "reversed ? 2 * width : 0,", "0,"),
        ("slice_rows", "* 3 * width", "* 2 * width"),
        ("slice_rows", "most_of[warp] = most,", ""),
        ("slice_rows", "- center[k]) * unit / one", "- center[0]) * unit / one"),
        ("slice_rows", "sum_of[warp] = sum;\n    __syncthreads();", "sum_of[warp] = sum;"),
        ("combine_slices", "low[at] / 254.0) / 254.0", "low[at] / 254.0)"),
        ("combine_slices", "scales[j]", "scales[0]"),
        ("combine_slices", "* stride + j", "* columns + j"),
    ],
)
def test_a_changed_slice_fails(card, rng, name, was, becomes):
    text = (KERNELS / f"{name}.cu").read_text()
    assert text.count(was) == 1
    X, labeled = digits("float64"), np.arange(70)
    columns = Columns(X, labeled, 1.0)
    rows = np.arange(70, 103)

    class Changed(ShimCard):
        def launch(self, kernel, grid, threads, arguments, **macros):
            source = text.replace(was, becomes) if kernel == name else None
            build(kernel, self.folder, source, **macros)(
                grid, (threads,), arguments, order=self.order
            )

    exact = SliceProducts(card, columns, 33).multiply(card.put(X[rows]), rows)
    for order in ORDERS:
        there = Changed(card.folder, order)
        found = SliceProducts(there, columns, 33).multiply(there.put(X[rows]), rows)
        same = np.array_equal(card.get(found.dots)[:33, :70], card.get(exact.dots)[:33, :70])
        if not (same and np.array_equal(found.bound, exact.bound)):
            return
    pytest.fail("no test has noticed")


def test_slices_are_the_gpus(card, rng):
    fitted = Direct().fit(RBFGraph(digits("float32"), 1.0), np.arange(20))
    with pytest.raises(DeviceError, match="product='slices' is how a GPU multiplies"):
        measure_influence(fitted, product="slices")
    with pytest.raises(InputError, match="product='bf16'"):
        measure_influence(fitted, product="bf16")
    with pytest.raises(InputError, match="sums products of 32,769 features"):
        on_both(card, rng.random((9, 2**15 + 1)), np.arange(3), 1e-5, product="slices")


def test_rows_that_tie_are_undecided_here_too(card, rng):
    """Two labelled points at the same place hold exactly half of what is near to them."""
    X = digits("uint8")
    X[1::2] = X[::2]
    labeled = np.concatenate([np.arange(40), 60 + np.arange(9)])
    found, expected = on_both(card, X, labeled, 1.0)
    same_counts(found, expected)
    assert found.undecided > 0
    assert found.rechecked >= found.undecided


def test_gamma_beyond_float32_is_left_to_the_host(card, rng):
    X = rng.normal(size=(300, 20)).astype(np.float32) * 100.0
    found, expected = on_both(card, X, np.arange(40), 1e3)
    same_counts(found, expected)
    assert found.routes == {"float64": 260}


def test_some_rows_far_away_are_rechecked(card, rng):
    X = rng.normal(size=(300, 20)).astype(np.float32)
    X[50:290:7] *= 3000.0
    found, expected = on_both(card, X, np.arange(40), 0.5)
    same_counts(found, expected)
    assert found.rechecked >= 15
    assert found.routes == {"float32": 260}


def test_a_value_that_is_not_finite_is_named(card):
    X = digits("float32")
    X[300, 7] = np.nan
    with pytest.raises(InputError, match=r"X\[300, 7\] is nan"):
        on_both(card, X, np.arange(30), 0.5)


def test_the_order_of_threads_changes_nothing(card, tmp_path, rng):
    X, labeled = digits("float32"), rng.permutation(430)[:70]
    totals = [
        on_both(ShimCard(card.folder, order), X, labeled, 0.5)[0].total.tobytes()
        for order in (0, 1, 2)
    ]
    assert totals[0] == totals[1] == totals[2]


# --- the way there


@pytest.fixture
def with_a_card(card, monkeypatch):
    monkeypatch.setattr(cuda, "card", lambda: card)


@pytest.mark.usefixtures("with_a_card")
def test_rank_on_a_card():
    X, y = digits("float32"), np.full(430, np.nan)
    y[::9] = load_digits().target[:430:9]
    found, expected = (gp.rank(X, y, gamma=5.0, device=d) for d in ("cuda", "cpu"))
    assert (found.attrs["device"], expected.attrs["device"]) == ("cuda", "cpu")
    columns = ["rank", "point", "mir"]
    pd.testing.assert_frame_equal(found[columns], expected[columns])
    np.testing.assert_allclose(found["total"], expected["total"], rtol=1e-4)


@pytest.mark.usefixtures("with_a_card")
@pytest.mark.parametrize(
    "settings",
    [{"normalization": "column-row"}, {"graph": "knn"}],
)
def test_what_has_no_kernel(settings):
    X, y = digits("float32"), np.full(430, np.nan)
    y[::9] = load_digits().target[:430:9]
    with pytest.raises(DeviceError, match="device='cuda' has kernels for what is read from an RBF"):
        gp.rank(X, y, device="cuda", **settings)
    found = gp.rank(X, y, device="auto", **settings)
    assert found.attrs["device"] == "cpu"
    assert "'cuda' is asked for" in found.attrs["device_note"]


def test_no_card(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    cuda.card.cache_clear()
    X, y = [[0.0], [0.1], [5.0], [5.1]], [0, None, 1, None]
    with pytest.raises(DeviceError, match=r"needs cupy, which is not installed; pip install"):
        gp.rank(X, y, gamma=1.0, device="cuda")
    assert gp.rank(X, y, gamma=1.0).attrs["device"] == "cpu"


class Runtime:
    """What cupy says of cards."""

    class CUDARuntimeError(Exception):
        pass

    def __init__(self, cards):
        self.cards = cards

    def getDeviceCount(self):  # noqa: N802 - cupy's name
        if self.cards is None:
            raise self.CUDARuntimeError("cudaErrorNoDevice")
        return self.cards


@pytest.mark.parametrize(
    ("cards", "said"), [(None, r"\(cudaErrorNoDevice\)"), (0, "finds no GPU here;")]
)
def test_cupy_without_a_card(monkeypatch, cards, said):
    cupy = types.SimpleNamespace(cuda=types.SimpleNamespace(runtime=Runtime(cards)))
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    with pytest.raises(DeviceError, match=said):
        cuda.CupyCard()


@pytest.mark.parametrize("name", ["CUPY_TF32", "CUBLAS_EMULATE_DOUBLE_PRECISION"])
def test_coarse_products_are_refused(monkeypatch, name):
    cupy = types.SimpleNamespace(cuda=types.SimpleNamespace(runtime=Runtime(1)))
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setenv(name, "1")
    with pytest.raises(DeviceError, match=f"{name} is set"):
        cuda.CupyCard()


def test_a_cupy_that_cannot_be_imported_says_why(monkeypatch, tmp_path):
    (tmp_path / "cupy.py").write_text("import a_part_of_cuda_that_is_missing")
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(DeviceError, match=r"cannot be imported here \(No module named 'a_part_of"):
        cuda.CupyCard()


class FullError(Exception):
    """What cupy raises where a GPU has no room."""


def test_what_a_gpu_has_no_room_for_is_said(monkeypatch):
    def refuse(shape, dtype):
        raise FullError("Out of memory allocating 800 bytes")

    cupy = types.SimpleNamespace(
        cuda=types.SimpleNamespace(
            runtime=Runtime(1), memory=types.SimpleNamespace(OutOfMemoryError=FullError)
        ),
        empty=refuse,
    )
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    card = cuda.CupyCard()
    with pytest.raises(InputError, match=r"no room for an array of \(10, 10\) float64 numbers"):
        card.put(np.zeros((10, 10)))
    with pytest.raises(DeviceError, match="add_parts would need 70,000 blocks in one dimension"):
        card.launch("add_parts", (1, 70_000), 256, ())
