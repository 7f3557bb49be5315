"""Influence on a card, through the library's own functions, with the counts of the CPU.

Expected counts are of data that a generator of integers makes the same everywhere; ``python
benchmarks/bench_gpu.py --expect`` computes the table anew, on the CPU. Rows that the card leaves
open are settled here, in plain numpy, so that nothing needs numba.
"""

from __future__ import annotations

import sys
import time
import types
import zlib
from contextlib import contextmanager
from functools import lru_cache
from unittest import mock

import numpy as np
from _gpu_checks import called

from gssl_poison.kernels.bounds import LOOSEST, NEGLIGIBLE, direct_error
from gssl_poison.kernels.columns import Columns
from gssl_poison.kernels.cuda import Card
from gssl_poison.kernels.cuda_shares import reduce_on_card, rows_of_block
from gssl_poison.kernels.results import MAJOR, MINOR, UNDECIDED

_CLUSTERS, _CHUNK = 50, 2**16
# Labelled and unlabelled points, features, gamma, and whether the features are whole numbers.
MIR = {
    "tiny uint8": (30, 120, 33, 2e-4, True),
    "tiny float32": (30, 120, 33, 2e-4, False),
    "tied uint8": (30, 120, 33, 1e-3, True),
    "tied float32": (30, 120, 33, 1e-3, False),
    "5% uint8": (650, 12_357, 784, 3e-5, True),
    "5% float32": (650, 12_357, 784, 3e-5, False),
    "25% uint8": (3251, 12_357, 784, 3e-5, True),
    "25% float32": (3251, 12_357, 784, 3e-5, False),
    "million uint8": (10_000, 1_000_000, 784, 3e-5, True),
    "million float32": (10_000, 1_000_000, 784, 3e-5, False),
}
SMALL = tuple(MIR)[:4]
# Sum of counts, undecided rows, check sum of the counts as int64.
EXPECTED = {
    "tiny uint8": (85, 0, 717150063),
    "tiny float32": (85, 0, 717150063),
    "tied uint8": (97, 12, 869794624),
    "tied float32": (97, 12, 869794624),
    "5% uint8": (6176, 129, 2765735383),
    "5% float32": (6176, 129, 2765735383),
    "25% uint8": (2386, 129, 3472544129),
    "25% float32": (2386, 129, 3472544129),
    "million uint8": (87415, 129, 1660106957),
    "million float32": (87413, 129, 1840844906),
}


@lru_cache(maxsize=1)
def mir_data(name):
    """Return X, how many of its first rows are labelled, and gamma; the same on every machine."""
    n_labeled, n_unlabeled, d, gamma, whole = MIR[name]
    rng = np.random.default_rng(20_260_101)
    n = n_labeled + n_unlabeled
    centers = rng.integers(0, 128, (_CLUSTERS, d), dtype=np.uint8)
    X = np.empty((n, d), dtype=np.uint8)
    for start in range(0, n, _CHUNK):
        part = X[start : start + _CHUNK]
        part[:] = centers[rng.integers(0, _CLUSTERS, len(part))]
        part += rng.integers(0, 128, part.shape, dtype=np.uint8)
    # Labelled points that are there twice, and unlabelled ones at the same place: they tie.
    X[1:n_labeled:8] = X[0 : n_labeled - 1 : 8]
    X[n_labeled + 5 :: max(11, n_unlabeled // 128)] = X[0]
    if whole:
        return X, n_labeled, gamma
    return X * np.float32(0.7), n_labeled, gamma / 0.7**2


def summary(mir, undecided):
    """Return what is kept of counts."""
    return int(mir.sum()), int(undecided), zlib.crc32(mir.astype("<i8").tobytes())


def influence(card: Card, _rng, name, product="float32", scores=None):
    """Count what every labelled point decides, from the memory of the host."""
    X, n_labeled, gamma = mir_data(name)
    labeled, n, told = np.arange(n_labeled), len(X), {}
    route = "int8" if X.dtype == np.uint8 else product

    def count():
        columns = Columns(X, labeled, gamma)
        most = rows_of_block(columns) if scores is None else scores // n_labeled
        parts = [np.arange(k, min(k + most, n)) for k in range(n_labeled, n, most)]
        with settled_by_numpy() as seconds:
            found = list(reduce_on_card(card, columns, parts, product))
        told["rechecked"] = sum(result.rechecked for result in found)
        told["us of rechecks"] = 1e6 * covered(seconds)
        counts = sum(result.major for result in found)
        routes = {result.route for result in found}
        undecided = sum(result.undecided for result in found)
        return {
            "counts": np.array(summary(counts, undecided)),
            "route is right": np.array(routes == {route}),
            "total": sum(result.total for result in found).sum(),
        }

    operations = 2 * (n - n_labeled) * n_labeled * X.shape[1]
    return called(
        count,
        expected=lambda: {
            "counts": np.array(EXPECTED[name]),
            "route is right": np.array(True),
            "total": np.array(float(n - n_labeled)),
        },
        within={"total": (1e-4, 0.0)},
        n_bytes=X.nbytes,
        n_flops=operations,
        rate="int8" if X.dtype == np.uint8 else "float32",
        told=told,
    )


@contextmanager
def settled_by_numpy():
    """Have rows that are in doubt settled by `recheck_dense` below, which needs no numba.

    Yields a list that receives when each call began and ended: they come from several threads.
    """
    stand_in, calls = types.ModuleType("gssl_poison.kernels.recheck"), []

    def timed(*given):
        started = time.perf_counter()
        recheck_dense(*given)
        calls.append((started, time.perf_counter()))

    stand_in.recheck_dense = timed
    with mock.patch.dict(sys.modules, {stand_in.__name__: stand_in}):
        yield calls


def covered(intervals):
    """Return how long at least one of some intervals lasted."""
    total, until = 0.0, -np.inf
    for start, stop in sorted(intervals):
        total, until = total + max(0.0, stop - max(start, until)), max(until, stop)
    return total


def recheck_dense(  # noqa: PLR0917 - in the order of the library's own
    scores, unit, bound, doubtful, a, a_rows, b, b_rows, gamma, offset, offset_error, relative,
    total, unresolved, first, verdict,
):  # fmt: skip
    """Judge rows by direct differences in float64: the rules of `gssl_poison.kernels.recheck`."""
    u = 2.0**-53
    for i in doubtful:
        reach = (NEGLIGIBLE + 6.0 * bound[i] + 1e-3) / unit
        known = scores[i, : offset.size]
        near = np.flatnonzero(~(known < known.max() - reach))
        apart = b[b_rows[near]].astype(np.float64) - a[a_rows[i]].astype(np.float64)
        scaled = gamma * np.einsum("ij,ij->i", apart, apart)
        log_weight = offset[near] - scaled
        slack = scaled * relative + np.abs(offset[near]) * u + offset_error
        best = int(log_weight.argmax())
        below, off = log_weight - log_weight[best], slack + slack[best]
        kept = ~(below + off < -NEGLIGIBLE)
        kept[best] = False
        e = np.exp(below[kept])
        rest = float(e.sum())
        error = offset.size * np.exp(-NEGLIGIBLE) + rest * (near.size + 1) * u
        error += float((np.exp((below + off)[kept]) - e + e * (8.0 - below[kept]) * u).sum())
        first[i] = near[best]
        verdict[i] = MAJOR if rest < 1.0 else MINOR
        if not abs(rest - 1.0) > error:
            verdict[i] = UNDECIDED
        if not bound[i] <= LOOSEST:
            if error <= LOOSEST * (1.0 + rest):
                total[near] += np.exp(below) / (1.0 + rest)
            else:
                unresolved[0] += 1


def count_by_numpy(name):
    """Return the summary of a small case, every row settled by direct differences."""
    X, n_labeled, gamma = mir_data(name)
    u = len(X) - n_labeled
    first, verdict = np.empty((2, u), dtype=np.int64)
    nothing = np.zeros(n_labeled)
    recheck_dense(
        np.zeros((u, n_labeled)), 1.0, np.zeros(u), np.arange(u), X, np.arange(n_labeled, len(X)),
        X, np.arange(n_labeled), gamma, nothing, 0.0, direct_error(X.shape[1]), nothing, [0], first,
        verdict,
    )  # fmt: skip
    mir = np.bincount(first[verdict == MAJOR], minlength=n_labeled)
    return summary(mir, (verdict == UNDECIDED).sum())


# Cases as in `_gpu_rows`; those beyond the small ones are for a card alone.
WHOLE = {
    influence: (
        [*((name,) for name in SMALL), ("tied float32", "slices")],
        [
            *((name,) for name in MIR if name not in SMALL),
            ("million float32", "slices"),
            # Blocks that stay in the second-level cache.
            ("million float32", "float32", 2**23),
            ("25% float32", "slices"),
        ],
    ),
}
