"""Every CUDA kernel, run on the CPU from its own source, against the CPU's version of it."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from cuda_on_cpu import KERNELS, ORDERS, build

from gssl_poison.kernels import cpu, flips, lattice
from gssl_poison.kernels.bounds import LATTICES
from gssl_poison.labels import TIE

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ here")


@pytest.fixture(scope="module")
def folder(kernel_folder):
    return kernel_folder


def blocks(n, size):
    return -(-n // size)


# --- shares


def shares_on_cpu(dots, slope, bias, unit, columns):
    scores = dots.copy()
    total, rest = np.zeros(columns), np.empty(len(dots))
    first = np.empty(len(dots), dtype=np.int64)
    buffer = np.empty(columns, dtype=np.float32)
    cpu.shares_of_block(
        scores, slope, bias, np.float32(unit), np.zeros(len(dots)), buffer, total, rest, first
    )
    return total, rest, first


def shares_on_gpu(folder, dots, slope, bias, unit, columns, order=0, **sources):
    kind = {"float32": "float", "int32": "int"}[dots.dtype.name]
    rows, stride = dots.shape
    largest, first = np.empty(rows, dtype=dots.dtype), np.empty(rows, dtype=np.int32)
    rest = np.full(rows, np.nan)
    launch = build("row_shares", folder, sources.get("row_shares"), SCORE=kind)
    arguments = (dots, slope, bias, unit, columns, stride, largest, first, rest)
    launch((rows,), (256,), arguments, order=order)
    parts = np.full((blocks(rows, 64), columns), np.nan)
    launch = build("column_totals", folder, sources.get("column_totals"), SCORE=kind)
    arguments = (dots, slope, bias, unit, rows, columns, stride, largest, rest, parts)
    launch((blocks(columns, 128), blocks(rows, 64)), (128,), arguments, order=order)
    return parts.sum(axis=0), rest, first


def products(rng, kind, rows, columns):
    """Return products with ties in them, and padding that must not be read."""
    stride = columns + 5
    if kind == "int32":
        dots = rng.integers(-4000, 4000, (rows, stride)).astype(np.int32)
        bias = rng.integers(-4000, 4000, columns).astype(np.int32)
        slope, unit, high = np.int32(2), 1e-3, np.int32(2**29)
    else:
        # In 64ths: scores are exact, contracted or not, and ties are ties.
        dots = (rng.normal(size=(rows, stride)) * 1280).round().astype(np.float32) / 64
        bias = rng.integers(-64, 64, columns).astype(np.float32) / 64
        slope, unit, high = np.float32(2.0), 1.0, np.float32(1e30)
    dots[:, columns:] = high
    dots[: rows // 2] //= 5  # many scores alike
    bias[columns // 2 :] = bias[0]
    return dots, slope, bias, unit


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", ["float32", "int32"])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 31), (65, 257), (130, 700)])
def test_shares(folder, rng, kind, rows, columns, order):
    given = products(rng, kind, rows, columns)
    total, rest, first = shares_on_gpu(folder, *given, columns, order)
    expected, expected_rest, expected_first = shares_on_cpu(*given, columns)
    np.testing.assert_array_equal(first, expected_first)
    # Each weight is within 2**-20, here and there.
    np.testing.assert_allclose(rest, expected_rest, rtol=4e-6, atol=1e-15)
    np.testing.assert_allclose(total, expected, rtol=4e-6)


def test_a_small_rest_keeps_its_digits(folder):
    dots = np.array([[0.0, -60.0, -61.0, -86.0]], dtype=np.float32)
    bias = np.zeros(4, dtype=np.float32)
    rest = shares_on_gpu(folder, dots, np.float32(1.0), bias, 1.0, 4)[1]
    np.testing.assert_allclose(rest, np.exp(dots[0, 1:].astype(float)).sum(), rtol=4e-6)


def test_rows_that_are_left_out_add_nothing(folder, rng):
    dots, slope, bias, unit = products(rng, "float32", 70, 40)
    largest = (slope * dots[:, :40] + bias).max(axis=1)
    rest, parts = np.full(70, -1.0), np.full((2, 40), np.nan)
    arguments = (dots, slope, bias, unit, 70, 40, dots.shape[1], largest, rest, parts)
    build("column_totals", folder, SCORE="float")((1, 2), (128,), arguments)
    assert not parts.any()


# --- flips


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("rows", "labels", "classes"), [(1, 1, 2), (129, 33, 2), (300, 70, 5)])
def test_flip_errors(folder, rng, rows, labels, classes, order):
    codes = rng.integers(0, classes, labels).astype(np.int32)
    # Eighths add up exactly: ties are ties on every device.
    M = rng.integers(0, 8, (rows, labels)) / 8.0
    scores = np.stack([M[:, codes == c].sum(axis=1) for c in range(classes)], axis=1)
    target = rng.integers(0, classes, rows).astype(np.int32)
    change = np.zeros((labels, classes), dtype=np.int32)
    launch = build("flip_errors", folder)
    grid = (blocks(labels, 64), blocks(rows, 128), classes - 1)
    shared = 128 * (8 * classes + 8)
    arguments = (M, scores, codes, target, rows, labels, classes, TIE, change)
    launch(grid, (64,), arguments, order=order, shared=shared)
    expected = np.zeros((labels, classes), dtype=np.int64)
    free, room = np.ones(labels, dtype=np.bool_), np.empty(rows)
    flips.count_flips(
        M, scores, codes.astype(np.int64), target.astype(np.int64), free, expected, room
    )
    np.testing.assert_array_equal(change, expected)
    assert rows == 1 or expected.any()


# --- the loop


def step_on_cpu(product, factor, values, place, clamped, scores):
    after = factor[:, None] * product
    own = place >= 0
    after[own] = values[place[own]] + (0.0 if clamped else after[own])
    moved = np.abs(after - scores)
    ratio = np.divide(moved, np.abs(after), out=np.zeros_like(moved), where=moved > 0.0).ravel()
    return after, [ratio[start : start + 256].max() for start in range(0, ratio.size, 256)]


@pytest.mark.parametrize("clamped", [True, False])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("rows", "columns"), [(1, 2), (255, 2), (300, 7)])
def test_propagation_step(folder, rng, rows, columns, order, clamped):
    product, scores = rng.random((rows, columns)), rng.random((rows, columns))
    factor, values = rng.random(rows), rng.random((5, columns))
    place = np.where(rng.random(rows) < 0.2, rng.integers(0, 5, rows), -1).astype(np.int32)
    expected, moved = step_on_cpu(product, factor, values, place, clamped, scores)
    change = np.full(blocks(rows * columns, 256), np.nan)
    arguments = (product, factor, values, place, int(clamped), rows, columns, scores, change)
    build("propagation_step", folder)((change.size,), (256,), arguments, order=order)
    np.testing.assert_allclose(scores, expected, rtol=1e-15)
    np.testing.assert_allclose(change, moved, rtol=1e-12)


# --- codes


def encode(folder, X, step, off, order, source=None):
    rows, features = X.shape
    width = blocks(features, 16) * 16
    codes = np.full((rows, width), 77, dtype=np.int8)
    squares, sums = np.full((2, rows), -9, dtype=np.int32)
    kind = {"u1": "unsigned char", "f4": "float", "f8": "double"}[X.dtype.str[1:]]
    launch = build("encode_rows", folder, source, VALUE=kind)
    arguments = (X, step, off, features, width, codes, squares, sums)
    launch((rows,), (128,), arguments, order=order)
    return codes, squares, sums


def encodable(rng, dtype, features):
    """Return rows of codes, of which the second last is none and the last one nearly none."""
    X = rng.integers(0, 256, (9, features)).astype(dtype)
    if dtype != "uint8":
        X /= np.dtype(dtype).type(255)
        X[-2, features // 2] = np.nan if dtype == "float32" else -1 / 255
        X[-1, -1] = np.float64(X[-1, -1]) * (1.0 + 2.0**-25)
    return X


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("features", [1, 130, 784])
def test_encode_rows(folder, rng, dtype, features, order):
    X = encodable(rng, dtype, features)
    step, off = LATTICES[0 if dtype == "uint8" else 1]
    codes, squares, sums = encode(folder, X, step, off, order)
    for i, row in enumerate(X):
        expected, square = np.empty((1, features), dtype=np.uint8), np.empty(1, dtype=np.int64)
        given = (np.ascontiguousarray(row[None]), np.zeros(1, dtype=np.int64))
        fits = lattice.encode_rows(*given, step, off, expected, square)
        assert squares[i] == (square[0] if fits else -1)
        assert fits or i == 7
        if fits:
            np.testing.assert_array_equal(codes[i, :features], expected[0] - 128.0)
            assert sums[i] == (expected[0] - 128.0).sum()
        assert not codes[i, features:].any()


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ("per_step + 0.5", "per_step"),
        ("whole <= 255.0", "whole <= 256.0"),
        ("<= off * fabs(value)", "<= 2.0 * off"),
        ("sum += code - 128;", "sum += code;"),
        ("int code = 128;", "int code = 0;"),
        ("astray ? -1 : square", "square"),
        ("astray_of[warp] = astray;\n    __syncthreads();", "astray_of[warp] = astray;"),
        ("* width;", "* features;"),
    ],
)
def test_a_changed_encoding_fails(folder, rng, was, becomes):
    text = (KERNELS / "encode_rows.cu").read_text()
    assert text.count(was) == 1
    X = encodable(rng, "float32", 390)
    X[2, 3], X[3, 3] = 256 / 255, 1e-9
    X[4, 3] = np.nextafter(np.float32(200 / 255), np.float32(0))  # as near as the one above
    expected = encode(folder, X, *LATTICES[1], 0)
    for order in ORDERS:
        found = encode(folder, X, *LATTICES[1], order, text.replace(was, becomes))
        if not all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True)):
            return
    pytest.fail("no test has noticed")


# --- the tests themselves can fail


@pytest.mark.parametrize(
    ("name", "was", "becomes"),
    [
        (
            "row_shares",
            "if (score > top) top = score, column = j;",
            "if (score > top) top = score;",
        ),
        ("row_shares", "stride;\n", "stride + 1;\n"),
        ("row_shares", "if (j != column) ", ""),
        ("row_shares", "top_of_warp[warp] = top, ", ""),
        ("row_shares", "        sum = 0.0;\n", ""),
        (
            "row_shares",
            "first_of_warp[warp] = column;\n    __syncthreads();",
            "first_of_warp[warp] = column;",
        ),
        (
            "row_shares",
            "rest_of_warp[warp] = sum;\n    __syncthreads();",
            "rest_of_warp[warp] = sum;",
        ),
        ("column_totals", "    __syncthreads();\n", ""),
        ("column_totals", "min(ROWS, rows - start)", "ROWS"),
        ("column_totals", "blockIdx.y * ROWS", "blockIdx.y * (ROWS - 1)"),
    ],
)
def test_a_changed_kernel_fails(folder, rng, name, was, becomes):
    text = (KERNELS / f"{name}.cu").read_text()
    assert text.count(was) == 1
    given = products(rng, "float32", 65, 700)
    total, rest, first = shares_on_cpu(*given, 700)
    for order in ORDERS:
        found = shares_on_gpu(folder, *given, 700, order, **{name: text.replace(was, becomes)})
        same = np.allclose(found[0], total, rtol=4e-6) and np.allclose(found[1], rest, rtol=4e-6)
        if not (same and np.array_equal(found[2], first)):
            return
    pytest.fail("no test has noticed")
