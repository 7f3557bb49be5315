"""Kernels of shares, the loop and the elimination: fresh inputs, and what numpy makes of them."""

from __future__ import annotations

import numpy as np
from _gpu_checks import blocks, integers, launched, poisoned

from gssl_poison.kernels.cuda import Card

# Below this in log units a weight is nothing, in the kernels.
_FLOOR = -87.0
# Operations of a score: its own two, two of what is below the largest, and those of exp32.
_SCORE_OPERATIONS = 20

# --- shares


def _scores(rng, rows, columns, kind):
    """Return products with ties, what makes scores of them, and the scores; padding is huge."""
    stride = blocks(columns, 16) * 16
    if kind == "int":
        dots = rng.integers(-4000, 4000, (rows, stride)).astype(np.int32)
        bias, slope, unit = rng.integers(-4000, 4000, columns), np.int32(2), np.float32(1e-3)
        bias = bias.astype(np.int32)
    else:
        # In 64ths, of which sums are exact, so that ties are ties.
        dots = rng.integers(-2560, 2560, (rows, stride)).astype(np.float32) / np.float32(64)
        bias = rng.integers(-64, 64, columns).astype(np.float32) / np.float32(64)
        slope, unit = np.float32(2.0), np.float32(1.0)
    bias[columns // 2 :] = bias[0]
    dots[: rows // 2] //= 7  # many alike
    dots[:, columns:] = 2**29
    return dots, slope, bias, unit


def _weights(dots, slope, bias, unit):
    """Return the largest score of each row, where it first is, and the weights of all."""
    scores = (dots[:, : bias.size] * slope + bias).astype(np.float64)
    first, top = scores.argmax(axis=1), scores.max(axis=1)
    below = (scores - top[:, None]) * float(unit)
    return top, first, np.where(below < _FLOOR, 0.0, np.exp(below))


def row_shares(card: Card, rng, rows, columns, kind="float"):
    given = _scores(rng, rows, columns, kind)
    dots, slope, bias, unit = given
    outputs = {
        "largest": poisoned(card, (rows,), dots.dtype.name),
        "first": poisoned(card, (rows,), "int32"),
        "rest": poisoned(card, (rows,), "float64"),
    }

    def expected():
        top, first, weights = _weights(*given)
        weights[np.arange(rows), first] = 0.0
        return {"largest": top, "first": first, "rest": weights.sum(axis=1)}

    return launched(
        card,
        "row_shares",
        grid=(rows,),
        threads=256,
        arguments=(
            card.put(dots),
            slope,
            card.put(bias),
            unit,
            *integers(columns, dots.shape[1]),
            *outputs.values(),
        ),
        outputs=outputs,
        macros={"SCORE": kind},
        expected=expected,
        within={"rest": (4e-6, 1e-15)},
        n_bytes=4 * rows * columns + 4 * columns + 16 * rows,
        n_flops=(_SCORE_OPERATIONS + 2) * rows * columns,
        rate="float32",
    )


def column_totals(card: Card, rng, rows, columns, kind="float"):
    given = _scores(rng, rows, columns, kind)
    dots, slope, bias, unit = given
    top, _, weights = _weights(*given)
    rest = weights.sum(axis=1) - 1.0
    rest[3::9] = -1.0  # left out
    starts = np.arange(0, rows, 64)
    outputs = {"parts": poisoned(card, (starts.size, columns), "float64")}
    factor = np.where(rest < 0.0, 0.0, 1.0 / (1.0 + np.maximum(rest, 0.0)))

    def expected():
        return {"parts": np.add.reduceat(_weights(*given)[2] * factor[:, None], starts, axis=0)}

    return launched(
        card,
        "column_totals",
        grid=(blocks(columns, 128), starts.size),
        threads=128,
        arguments=(
            card.put(dots),
            slope,
            card.put(bias),
            unit,
            *integers(rows, columns, dots.shape[1]),
            card.put(top.astype(dots.dtype)),
            card.put(rest),
            outputs["parts"],
        ),
        outputs=outputs,
        macros={"SCORE": kind},
        expected=expected,
        within={"parts": (4e-6, 1e-15)},
        n_bytes=4 * rows * columns + 8 * starts.size * columns + 12 * rows + 4 * columns,
        n_flops=_SCORE_OPERATIONS * rows * columns,
        rate="float32",
    )


def add_parts(card: Card, rng, n_parts, columns):
    parts = rng.random((n_parts, columns))
    outputs = {"total": poisoned(card, (columns,), "float64")}
    return launched(
        card,
        "add_parts",
        grid=(blocks(columns, 256),),
        threads=256,
        arguments=(card.put(parts), *integers(n_parts, columns), outputs["total"]),
        outputs=outputs,
        # In the order of the parts, to the last bit.
        expected=lambda: {"total": np.cumsum(parts, axis=0)[-1]},
        n_bytes=8 * (n_parts + 1) * columns,
        n_flops=n_parts * columns,
    )


# --- the loop


def propagation_step(card: Card, rng, rows, columns, clamped):
    product, scores = rng.random((rows, columns)), rng.random((rows, columns))
    factor, values = rng.random(rows), rng.random((5, columns))
    place = np.where(rng.random(rows) < 0.2, rng.integers(0, 5, rows), -1).astype(np.int32)
    n_blocks = blocks(rows * columns, 256)
    kept, there = card.put(scores), card.put(scores)
    change = poisoned(card, (n_blocks,), "float64")

    def reset():
        there[...] = kept

    def expected():
        after = factor[:, None] * product
        own = place >= 0
        after[own] = values[place[own]] + (0.0 if clamped else after[own])
        moved = np.zeros(n_blocks * 256)
        moved[: after.size] = (np.abs(after - scores) / np.abs(after)).ravel()
        return {"scores": after, "change": moved.reshape(-1, 256).max(axis=1)}

    return launched(
        card,
        "propagation_step",
        grid=(n_blocks,),
        threads=256,
        arguments=(
            *map(card.put, (product, factor, values, place)),
            *integers(clamped, rows, columns),
            there,
            change,
        ),
        outputs={"scores": there, "change": change},
        expected=expected,
        within={"scores": (1e-15, 0.0), "change": (1e-12, 0.0)},
        n_bytes=24 * rows * columns + 12 * rows + 8 * n_blocks,
        n_flops=5 * rows * columns,
        reset=reset,
    )


# --- elimination


def eliminated(S, leaving):
    """Return what `reduce_corner` writes: both inverses, and the pivots."""
    S, leaving, size = S.copy(), leaving.copy(), leaving.size
    lower, paths, sums = np.eye(size), np.eye(size), np.empty(size)
    for p in range(size):
        sums[p] = S[p, p + 1 :].sum() + leaving[p]
        S[p + 1 :, p] /= sums[p]
        S[p + 1 :, p + 1 :] += np.outer(S[p + 1 :, p], S[p, p + 1 :])
        leaving[p + 1 :] += S[p + 1 :, p] * leaving[p]
    for p in range(1, size):
        lower[p, :p] = S[p, :p] @ lower[:p, :p]
    for p in range(size - 2, -1, -1):
        paths[p, p + 1 :] = (S[p, p + 1 :] / sums[p]) @ paths[p + 1 :, p + 1 :]
    return lower, paths, sums


def reduce_corner(card: Card, rng, size):
    # Over hundreds of orders of magnitude: every entry has to keep its own digits.
    S = np.ldexp(rng.random((size, size)), rng.integers(-600, 0, (size, size)))
    np.fill_diagonal(S, 0.0)
    leaving = np.ldexp(rng.random(size), rng.integers(-600, 0, size))
    kept, there = [card.put(S), card.put(leaving)], [card.put(S), card.put(leaving)]
    shapes = {"lower": (size, size), "paths": (size, size), "sums": (size,)}
    outputs = {name: poisoned(card, shape, "float64") for name, shape in shapes.items()}
    outputs["bad"] = poisoned(card, (1,), "int32")

    def reset():
        for array, old in zip(there, kept, strict=True):
            array[...] = old

    def expected():
        found = dict(zip(shapes, eliminated(S, leaving), strict=True))
        return found | {"bad": np.array([size])}

    return launched(
        card,
        "reduce_corner",
        grid=(1,),
        threads=1024,
        arguments=(*there, np.int32(size), *outputs.values()),
        outputs=outputs,
        expected=expected,
        within=dict.fromkeys(shapes, (1e-12, 1e-300)),
        # The elimination, and two inverses of triangles.
        n_bytes=8 * 3 * size**2,
        n_flops=4 * size**3 // 3,
        reset=reset,
    )


# As in `_gpu_rows`.
KERNELS = {
    row_shares: (
        [(1, 1, "float"), (3, 31, "int"), (65, 257, "float"), (33, 700, "int")],
        [
            (12357, 650, "float"),
            (6710, 10_000, "float"),
            (838, 10_000, "float"),
            (12357, 650, "int"),
            (838, 10_000, "int"),
        ],
    ),
    column_totals: (
        [(1, 1, "float"), (63, 31, "int"), (130, 257, "float"), (65, 700, "int")],
        [
            (12357, 650, "float"),
            (6710, 10_000, "float"),
            (838, 10_000, "float"),
            (12357, 650, "int"),
            (838, 10_000, "int"),
        ],
    ),
    add_parts: ([(1, 1), (3, 257), (14, 1000)], [(194, 650), (105, 10_000), (512, 650)]),
    propagation_step: (
        [(1, 2, 1), (255, 2, 0), (301, 7, 1)],
        [(13_007, 2, 1), (13_007, 10, 0), (1_000_000, 10, 1)],
    ),
    reduce_corner: ([(1,), (2,), (33,), (97,)], [(192,), (96,)]),
}
