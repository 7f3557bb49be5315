"""What the benchmarks share: timing in turns, the machine's own rates, and result files."""

from __future__ import annotations

import csv
import datetime
import shlex
import sys
import time
from pathlib import Path

import numpy as np

from gssl_poison import __version__
from gssl_poison.experiments.machine import machine_name

# The threads of a BLAS spin for some milliseconds after a product, on processors that the next
# candidate needs.
_PAUSE = 0.15

RESULTS = Path(__file__).parent / "results"


def in_turns(candidates, repeats):
    """Time callables A B C A B C ...; return the seconds of each and what each returned last."""
    seconds = {name: [] for name in candidates}
    returned = {}
    for call, most in candidates.values():
        if most > 1:
            call()  # once, not counted: compiles and warms
    for turn in range(repeats):
        for name, (call, most) in candidates.items():
            if turn < most:
                time.sleep(_PAUSE)
                started = time.perf_counter()
                returned[name] = call()
                seconds[name].append(time.perf_counter() - started)
    return seconds, returned


def quantiles(values):
    """Return median, first and third quartile."""
    return tuple(float(q) for q in np.quantile(values, [0.5, 0.25, 0.75]))


def gemm_rate(precision="float32", size=3072, repeats=7):
    """Return the machine's matrix-product rate in GFLOP/s, all threads, median."""
    rng = np.random.default_rng(0)
    a, b = (rng.random((size, size), dtype=np.float32).astype(precision) for _ in range(2))
    out = np.empty_like(a)
    np.matmul(a, b.T, out=out)
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        np.matmul(a, b.T, out=out)
        seconds.append(time.perf_counter() - started)
    return 2 * size**3 / float(np.median(seconds)) / 1e9


def write_rows(name, rows):
    """Write one CSV of results: every row carries command, machine, date and version.

    Rows of an earlier run that carry theirs keep them.
    """
    stamp = {
        "command": shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
        "machine": machine_name(),
        "date": datetime.date.today().isoformat(),
        "version": __version__,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.csv"
    columns = [k for k in dict.fromkeys(key for row in rows for key in row) if k not in stamp]
    columns += list(stamp)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        for row in rows:
            writer.writerow({**stamp, **{k: _short(v) for k, v in row.items()}})
    print(f"written: {path.relative_to(RESULTS.parent.parent)}")


def read_rows(name):
    """Return the rows of an earlier run as texts, stamps and all; none where there is no file."""
    path = RESULTS / f"{name}.csv"
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _short(value):
    """Four significant digits are what a timing is good for."""
    return f"{value:.4g}" if isinstance(value, float) else value


def reset_peak_memory():
    """Start the count of this process's peak memory anew (Linux); return the present use in MiB."""
    Path("/proc/self/clear_refs").write_text("5")
    return status_mib("VmRSS")


def status_mib(field):
    """Return a field of /proc/self/status in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/self/status has no {field}: this figure needs Linux")
