"""A memory-mapped file much larger than a block, against 5,000 labelled points.

python benchmarks/bench_stream.py [--rows 1000000] [--kind noise|pixels] [--folder DIR]

"noise" is uniform float32, which no exact route takes; "pixels" is k / 255 in float32. The file is
written first and removed at the end. The rate of every tenth of the rows shows whether the progress
is steady, and the rate is compared with a small case of the same shape held in memory.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
from common import gemm_rate, reset_peak_memory, status_mib, write_rows

import gssl_poison as gp

FEATURES, LABELED, SMALL = 784, 5000, 50_000


def fill(path, rows, kind):
    """Write the points in parts of 10,000 rows."""
    X = np.lib.format.open_memmap(path, "w+", np.float32, (rows, FEATURES))
    rng = np.random.default_rng(0)
    for start in range(0, rows, 10_000):
        part = rng.random((min(10_000, rows - start), FEATURES), dtype=np.float32)
        if kind == "pixels":
            part = np.round(part**4 * 255) / np.float32(255)
        X[start : start + len(part)] = part
    X.flush()


def measure(X, progress=None):
    """Measure the influence of the first 5,000 rows on the others."""
    prop = gp.Direct().fit(gp.RBFGraph(X, gamma=0.5), np.arange(LABELED))
    return gp.measure_influence(prop, progress=progress)


def main():
    """Write, measure, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--kind", choices=("noise", "pixels"), default="noise")
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "points.npy"
        fill(path, options.rows + LABELED, options.kind)
        X = np.load(path, mmap_mode="r")
        small = np.array(X[: LABELED + SMALL])
        measure(small[: LABELED + 2000])  # compiles
        per_row = 2 * LABELED * FEATURES / 1e9
        rate = gemm_rate()
        in_memory = [SMALL * per_row / measure(small).seconds for _ in range(3)]
        del small
        marks = [(0, time.perf_counter())]
        anonymous = []

        def progress(done, everything):
            if done >= (len(marks)) * everything / 10:
                marks.append((done, time.perf_counter()))
                anonymous.append(status_mib("RssAnon"))

        before = status_mib("RssAnon")
        reset_peak_memory()
        influence = measure(X, progress)
    tenths = [(b[0] - a[0]) * per_row / (b[1] - a[1]) for a, b in pairwise(marks)]
    whole = influence.n_unlabeled * per_row / influence.seconds
    row = {
        "kind": options.kind,
        "u": influence.n_unlabeled,
        "l": LABELED,
        "d": FEATURES,
        "seconds": influence.seconds,
        "GFLOP/s": whole,
        "small case GFLOP/s": float(np.median(in_memory)),
        "of the small case": whole / float(np.median(in_memory)),
        "slowest tenth GFLOP/s": min(tenths),
        "fastest tenth GFLOP/s": max(tenths),
        "float32 GEMM GFLOP/s": rate,
        "MiB beyond the file, largest": max(anonymous) - before,
        "MiB beyond the file, first tenth": anonymous[0] - before,
        "route": "+".join(influence.routes),
        "rechecked": influence.rechecked,
        "undecided": influence.undecided,
    }
    for key, value in row.items():
        print(f"{key}: {value:.4g}" if isinstance(value, float) else f"{key}: {value}")
    write_rows(f"stream-{options.kind}", [row])


if __name__ == "__main__":
    main()
