"""Kernels of rows, of products and of distances: fresh inputs, and what numpy makes of them."""

from __future__ import annotations

import numpy as np
from _gpu_checks import blocks, integers, launched, poisoned

from gssl_poison.kernels.bounds import LATTICES
from gssl_poison.kernels.cuda import Card, type_name
from gssl_poison.kernels.distances import CANCELLED, DIRECT_BEYOND


def features_of(rng, rows, columns, dtype):
    """Return features of a type, a row of which is there twice."""
    codes = rng.integers(0, 256, (rows, columns), dtype=np.uint8)
    codes[-1] = codes[0]
    return codes if dtype == "uint8" else (codes / 255.0).astype(dtype)


def center_rows(card: Card, rng, rows, features, dtype="float32"):
    source, center, scale = features_of(rng, rows, features, dtype), rng.random(features), 2.0**-3
    outputs = {
        "points": poisoned(card, (rows, features), "float32"),
        "squares": poisoned(card, (rows,), "float64"),
    }

    def expected():
        centered = (source.astype(np.float64) - center) * scale
        return {"points": centered, "squares": (centered**2).sum(axis=1)}

    return launched(
        card,
        "center_rows",
        grid=(rows,),
        threads=128,
        arguments=(
            card.put(source),
            card.put(center),
            np.float64(scale),
            np.int32(features),
            *outputs.values(),
        ),
        outputs=outputs,
        macros={"VALUE": type_name(dtype)},
        expected=expected,
        within={"points": (1e-7, 0.0), "squares": (1e-13, 0.0)},
        n_bytes=rows * features * (source.itemsize + 4) + 8 * (rows + features),
        n_flops=4 * rows * features,
    )


def encode_rows(card: Card, rng, rows, features, dtype="float32"):
    step, off = LATTICES[0 if dtype == "uint8" else 1]
    source, width = features_of(rng, rows, features, dtype), blocks(features, 16) * 16
    if dtype != "uint8":
        # Between two codes, beyond the last, and no number.
        for k, value in enumerate((0.4 * step, 300.0 * step, np.nan, -step)):
            source[3 + k :: 11, rng.integers(features)] = value
    outputs = {
        "codes": poisoned(card, (rows, width), "int8"),
        "squares": poisoned(card, (rows,), "int32"),
        "sums": poisoned(card, (rows,), "int32"),
    }

    def expected():
        value = source.astype(np.float64)
        whole = np.floor(value * (1.0 / step) + 0.5)
        inside = (whole >= 0.0) & (whole <= 255.0)
        code = np.where(inside, whole, 0.0)
        near = inside & (np.abs(value - whole * step) <= off * np.abs(value))
        codes = np.zeros((rows, width))
        codes[:, :features] = code - 128
        squares = np.where(near.all(axis=1), (code**2).sum(axis=1), -1.0)
        return {"codes": codes, "squares": squares, "sums": codes.sum(axis=1)}

    return launched(
        card,
        "encode_rows",
        grid=(rows,),
        threads=128,
        arguments=(
            card.put(source),
            np.float64(step),
            np.float64(off),
            *integers(features, width),
            *outputs.values(),
        ),
        outputs=outputs,
        macros={"VALUE": type_name(dtype)},
        expected=expected,
        n_bytes=rows * (features * source.itemsize + width + 8),
        n_flops=6 * rows * features,
    )


def log_weights(card: Card, rng, rows, columns, features):
    gamma = 0.5
    x, y = rng.normal(size=(rows, features)), rng.normal(size=(columns, features))
    y[0] = x[0]  # a duplicate
    x[rows // 2] += 2e3  # so far away that norms cancel
    a, b, block = (x**2).sum(axis=1), (y**2).sum(axis=1), x @ y.T
    reach = DIRECT_BEYOND / gamma
    kept, there = card.put(block), card.put(block)

    def reset():
        there[...] = kept

    def expected():
        norms = a[:, None] + b
        distance = norms - 2.0 * block
        distance[~(distance > CANCELLED * norms)] = 0.0
        for i, j in np.argwhere(norms > reach):
            distance[i, j] = ((x[i] - y[j]) ** 2).sum()
        return {"block": -gamma * distance}

    return launched(
        card,
        "log_weights",
        grid=(blocks(columns, 128), rows),
        threads=128,
        arguments=(
            *map(card.put, (x, y, a, b)),
            *map(np.float64, (gamma, reach, CANCELLED)),
            *integers(features, columns),
            there,
        ),
        outputs={"block": there},
        expected=expected,
        within={"block": (1e-12, 0.0)},
        n_bytes=16 * rows * columns + 8 * (rows + columns),
        n_flops=5 * rows * columns,
        reset=reset,
    )


def slice_rows(card: Card, rng, rows, features, *dtype_and_order):
    dtype, backwards = (*dtype_and_order, 0)[:2]
    source, center, unit = features_of(rng, rows, features, dtype), rng.random(features), 2.0**-3
    source[1 % rows] = 0
    width = blocks(features, 16) * 16
    outputs = {
        "slices": poisoned(card, (rows, 3 * width), "int8"),
        "scale": poisoned(card, (rows,), "float64"),
        "squares": poisoned(card, (rows,), "float64"),
    }

    def expected():
        value = (source.astype(np.float64) - center) * unit
        scale = np.abs(value).max(axis=1) / 127.0
        left, slices = np.zeros((rows, width)), []
        left[:, :features] = value / scale[:, None]
        for _ in range(3):
            slices.append(np.rint(left))
            left = (left - slices[-1]) * 254.0
        order = slices[::-1] if backwards else slices
        squares = (value**2).sum(axis=1)
        return {"slices": np.concatenate(order, axis=1), "scale": scale, "squares": squares}

    return launched(
        card,
        "slice_rows",
        grid=(rows,),
        threads=128,
        arguments=(
            card.put(source),
            card.put(center),
            np.float64(unit),
            *integers(features, width, backwards),
            *outputs.values(),
        ),
        outputs=outputs,
        macros={"VALUE": type_name(dtype)},
        expected=expected,
        within={"squares": (1e-13, 0.0)},
        n_bytes=rows * (features * source.itemsize + 3 * width + 16) + 8 * features,
        n_flops=14 * rows * features,
    )


def combine_slices(card: Card, rng, rows, columns):
    stride = blocks(columns, 16) * 16
    high, middle, low = (
        rng.integers(-(10**7), 10**7, (rows, stride)).astype(np.int32) for _ in range(3)
    )
    scale, scales = rng.random(rows), rng.random(columns)
    dots = poisoned(card, (rows, stride), "float32")

    def expected():
        sums = (high + (middle + low / 254.0) / 254.0)[:, :columns]
        return {"dots": scale[:, None] * scales * sums}

    return launched(
        card,
        "combine_slices",
        grid=(blocks(columns, 128), rows),
        threads=128,
        arguments=(
            *map(card.put, (high, middle, low, scale, scales)),
            *integers(columns, stride),
            dots,
        ),
        outputs={"dots": dots[:, :columns]},
        expected=expected,
        within={"dots": (1e-7, 0.0)},
        n_bytes=16 * rows * columns + 8 * (rows + columns),
        n_flops=6 * rows * columns,
    )


def nearest(card: Card, rng, rows, columns, wanted):
    """Lists that have seen some columns see more."""
    # In 64ths: lower bounds are exact, contracted or not, and many are alike.
    dots = rng.integers(-640, 640, (rows, columns)).astype(np.float32) / np.float32(64)
    squares, norms = (rng.integers(0, 9, columns).astype(np.float32) for _ in range(2))
    slack = rng.integers(0, 4, rows).astype(np.float32) / np.float32(64)
    first = wanted // 2
    lowest, found = np.full((rows, wanted), np.nan), np.full((rows, wanted), -77)
    lowest[:, :first] = np.sort(rng.integers(-20, 20, (rows, first)), axis=1)
    found[:, :first] = np.arange(first)  # ties to the lower, as they come
    there = {
        "lowest": card.put(lowest.astype(np.float32)),
        "found": card.put(found.astype(np.int32)),
    }
    kept = [card.put(card.get(array)) for array in there.values()]

    def reset():
        for array, old in zip(there.values(), kept, strict=True):
            array[...] = old

    def expected():
        bounds = (squares - 2.0 * dots - slack[:, None] * norms).astype(np.float64)
        bounds = np.concatenate([lowest[:, :first], bounds], axis=1)
        # Columns are numbered as they stand: a stable order is that of the kernel.
        order = np.argsort(bounds, axis=1, kind="stable")[:, :wanted]
        return {"lowest": np.take_along_axis(bounds, order, axis=1), "found": order}

    return launched(
        card,
        "nearest",
        grid=(rows,),
        threads=128,
        arguments=(
            *map(card.put, (dots, squares, norms, slack)),
            *integers(columns, first, wanted, first),
            *there.values(),
        ),
        outputs=there,
        expected=expected,
        n_bytes=4 * rows * columns + 8 * columns + 16 * rows * wanted,
        n_flops=5 * rows * columns,
        rate="float32",
        reset=reset,
    )


# Cases to be checked, of odd sizes, and those to be timed, of which the first is checked too.
KERNELS = {
    center_rows: (
        [(1, 1, "uint8"), (33, 131, "uint8"), (5, 784, "float32")],
        [(12357, 784, "uint8"), (12357, 784, "float32"), (100_000, 784, "uint8")],
    ),
    encode_rows: (
        [(1, 1, "uint8"), (33, 131, "uint8"), (40, 784, "float32")],
        [(12357, 784, "uint8"), (12357, 784, "float32"), (100_000, 784, "uint8")],
    ),
    slice_rows: (
        [(1, 1, "float32"), (33, 131, "float32", 1), (9, 784, "float32")],
        [(12357, 784, "float32"), (100_000, 784, "float32")],
    ),
    combine_slices: ([(1, 1), (5, 257)], [(12357, 650), (6700, 10_000)]),
    log_weights: (
        [(1, 1, 1), (7, 131, 33), (40, 257, 5)],
        [(12357, 650, 784), (2048, 13_007, 100)],
    ),
    nearest: (
        [(1, 9, 1), (5, 700, 16), (3, 1500, 256)],
        [(4096, 16_384, 16), (4096, 16_384, 256)],
    ),
}
