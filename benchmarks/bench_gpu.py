"""Every kernel of cuda_kernels/ on a GPU: checked, timed, and set beside its roofline and peers.

    PYTHONPATH=. python3 benchmarks/bench_gpu.py [--quick] [--only NAME,...] [--sanitize] [--out F]

One run on a machine with a card does it all in some minutes: the ceilings of the card (copy
bandwidth, rates of cuBLAS, PCIe); checks of every kernel and of what the library does with them on
fresh random data, against plain numpy in float64; medians of device events, on inputs that take
turns so that none is in the second-level cache; torch, KeOps, cuML and cuVS where they are
installed; our own CPU path, in a process of its own, where numba is. Counts of influence must be
those of the CPU, which are in `_gpu_influence` and come from

    python benchmarks/bench_gpu.py --expect

which needs no card. `--sanitize` also runs the checks under compute-sanitizer. A check that fails
is reported, the rest still runs, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import _gpu_flips
import _gpu_influence
import _gpu_kernels
import _gpu_rows
import _gpu_whole
import numpy as np
from _gpu_checks import Case, GpuClock, ceilings_of, check, copies_of, measure, row_of
from common import RESULTS, write_rows

from gssl_poison.exceptions import DeviceError
from gssl_poison.experiments.machine import machine_name
from gssl_poison.kernels import cuda

KERNELS = _gpu_rows.KERNELS | _gpu_kernels.KERNELS | _gpu_flips.KERNELS
WHOLE = _gpu_influence.WHOLE | _gpu_flips.WHOLE | _gpu_whole.WHOLE
# What each goal names: operation and size, column of the table, at least so much.
GOALS = (
    ("influence", "million float32", "of its rate, rechecks aside", 0.75),
    ("influence", "million uint8", "of its rate, rechecks aside", 0.75),
    ("flip_errors", "12357x3251x2", "of copy bandwidth", 0.8),
    ("flip_errors", "16000x10000x2", "of copy bandwidth", 0.8),
    ("step", "13007x2x100", "of copy bandwidth", 0.8),
    ("step", "30000x2x100", "of copy bandwidth", 0.8),
)


class Report:
    """Rows of the table so far, and what went wrong."""

    def __init__(self, stamp=None):
        self.rows, self.failures, self.stamp = [], [], stamp or {}
        self.started = time.perf_counter()

    def head(self, what):
        """Print what comes next, and when."""
        print(f"--- {what}, after {time.perf_counter() - self.started:.0f} s", flush=True)

    def attempt(self, what, call):
        """Call something; keep its error and go on, so that one fault hides no other."""
        try:
            return call()
        except Exception as error:  # noqa: BLE001 - reported, and the exit status says so
            self.failures.append(f"{what}: {type(error).__name__}: {error}")
            print(f"FAILED {self.failures[-1]}", flush=True)
            return None

    def add(self, row):
        """Keep a row and print it."""
        self.rows.append(row | self.stamp)
        print(line_of(row), flush=True)


def line_of(row):
    """Return a row as a line of a few columns."""
    parts = [f"{row['operation']:>17} {row['size']:<22} {row['kind']:<14}"]
    if "median us" in row:
        parts.append(f"{row['median us']:>11.1f} us")
    shares = ("of roofline", "of copy bandwidth", "of its rate", "of its rate, rechecks aside")
    parts += [f"{100 * row[label]:.0f}% {label}" for label in shares if row.get(label, 0) > 5e-3]
    kept = ("rate", "error", "rechecked", "us of rechecks", "rows counted otherwise")
    parts += [f"{label} {row[label]:.3g}" for label in kept if label in row]
    return "  ".join(parts)


def check_small(card, report, tables, seed):
    """Check every operation at its small, odd sizes."""
    for build, (sizes, _) in tables.items():
        largest, done = 0.0, 0
        for size in sizes:
            what = f"{build.__name__} {size} (seed {seed})"
            rng = np.random.default_rng(seed)
            error = report.attempt(what, lambda b=build, s=size, r=rng: check(b(card, r, *s)))
            if error is not None:
                largest, done = max(largest, error), done + 1
        if done:
            row = {"operation": build.__name__, "size": f"{done} small", "kind": "check"}
            report.add(row | {"error": largest})


def time_all(card, clock, report, *, ceilings, cache, table, kind, seed):
    """Check and time every operation at sizes that are met; of a kernel the first is checked."""
    for build, (_, sizes) in table.items():
        for k, size in enumerate(sizes):

            def one(build=build, size=size, judged=kind == "call" or k == 0):
                rng = np.random.default_rng(seed)
                case, times, more = time_one(lambda: build(card, rng, *size), clock, judged, cache)
                names = {"operation": build.__name__, "kind": kind, "size": size}
                report.add(row_of(case, times, ceilings, **names, **more))

            report.attempt(f"{build.__name__} {size} (seed {seed})", one)
            release(card)  # nothing of the case is left by now


def time_one(build, clock, judged, cache):
    """Check a case where it is to be, and time it; return it, its times, and more on them."""
    more, first = {}, build()
    if judged and first.expected is not dict:  # else nothing is known of it
        started = time.perf_counter()
        more["error"] = check(first)
        more["us to check by numpy"] = 1e6 * (time.perf_counter() - started)
    n_cases = copies_of(first, cache)
    cases = [first, *(build() for _ in range(n_cases - 1))]
    return first, measure(clock, cases), {"copies": n_cases, **more}


def release(card):
    """Give memory that cupy holds back to the card."""
    if hasattr(card.xp, "get_default_memory_pool"):
        card.xp.get_default_memory_pool().free_all_blocks()


def time_peers(clock, report, ceilings, peers):
    """Time what is installed of others."""
    for operation, size, who, build in peers:
        if build is None:
            print(f"skipped: {who} is not installed")
            continue

        def one(build=build, names=(operation, size, who)):
            case = build()
            times = measure(clock, [case])
            named = dict(zip(("operation", "size", "kind"), names, strict=True))
            report.add(row_of(case, times, ceilings, **named))

        report.attempt(f"{who}, {operation} {size}", one)


def time_host(report, command, most_seconds=150.0):
    """Have a process of its own time our CPU path, which loads numba; keep what it has in time."""
    if find_spec("numba") is None:
        print("skipped: numba is not installed, so the CPU path is not timed")
        return
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        stop = threading.Timer(most_seconds, child.kill)
        stop.start()
        for line in child.stdout:
            operation, size, seconds = json.loads(line)
            names = {"operation": operation, "kind": "our CPU path", "size": size}
            times = [1e6 * s for s in seconds]
            report.add(row_of(Case(lambda: None), times, {}, **names))
        in_time = stop.is_alive()
        stop.cancel()
    if not in_time:
        print(f"the CPU path was stopped after {most_seconds:.0f} s")
    elif child.returncode:
        raise RuntimeError(f"status {child.returncode}")


def sanitize(report):
    """Run the checks of small sizes under compute-sanitizer, each of its tools in a process."""
    tool = shutil.which("compute-sanitizer")
    if tool is None:
        print("skipped: compute-sanitizer is not on PATH")
        return
    for name in ("memcheck", "racecheck", "synccheck"):
        # What cuBLAS does in shared memory is not ours to judge: only memcheck runs it.
        which = "--small" if name == "memcheck" else "--small-kernels"
        command = [tool, "--tool", name, "--error-exitcode", "9", "--report-api-errors", "no"]
        command += [sys.executable, __file__, which]

        def run(command=command, name=name):
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
            said = [line for line in done.stdout.splitlines() if "SUMMARY" in line]
            print(f"{name}: {' '.join(said) or 'no summary'} (status {done.returncode})")
            if done.returncode or not said:
                raise RuntimeError((done.stdout + done.stderr).strip()[-2000:])

        report.attempt(name, run)


def stamp_of(cupy):
    """Return what every row says of the card."""
    runtime = cupy.cuda.runtime
    name = runtime.getDeviceProperties(runtime.getDevice())["name"].decode()
    driver, query = str(runtime.driverGetVersion()), shutil.which("nvidia-smi")
    if query is not None:
        command = [query, "--query-gpu=driver_version", "--format=csv,noheader"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        driver = done.stdout.split("\n")[0].strip() or driver
    return {
        "machine": f"{name}, {machine_name()}",
        "driver": driver,
        "CUDA runtime": runtime.runtimeGetVersion(),
        "cupy": cupy.__version__,
    }


def judge_goals(report):
    """Print each goal beside what was measured."""
    for operation, size, column, least in GOALS:
        for row in report.rows:
            if (row["operation"], row["size"]) == (operation, size) and column in row:
                met = "met" if row[column] >= least else "missed"
                print(f"goal {met}: {operation} {size} {row[column]:.2f} {column}, {least} asked")


def print_expected():
    """Print the table of expected counts, by the CPU path."""
    import gssl_poison as gp

    for name in _gpu_influence.MIR:
        X, n_labeled, gamma = _gpu_influence.mir_data(name)
        fitted = gp.Direct().fit(gp.RBFGraph(X, gamma), np.arange(n_labeled))
        found = gp.measure_influence(fitted)
        sums = _gpu_influence.summary(found.mir, found.undecided)
        print(f'    "{name}": {sums},', flush=True)


def save(name, report, out):
    """Write what there is so far: a run that is cut short has that."""
    write_rows(name, report.rows)
    if out is not None:
        shutil.copy(RESULTS / f"{name}.csv", out)


def chosen(table, only):
    """Return the operations of a table that are asked for."""
    return {b: sizes for b, sizes in table.items() if not only or b.__name__ in only}


def parse(arguments):
    """Return what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="no million rows, peers or CPU path")
    parser.add_argument("--only", default="", help="names of operations, by commas")
    parser.add_argument("--sanitize", action="store_true", help="also under compute-sanitizer")
    parser.add_argument("--out", type=Path, help="where a copy of the results goes")
    parser.add_argument("--seed", type=int, help="of the data; by default another every time")
    parser.add_argument("--expect", action="store_true", help="print the expected counts")
    for hidden in ("--small", "--small-kernels", "--host"):
        parser.add_argument(hidden, action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments=None):
    """Do what is asked for; return the exit status."""
    options = parse(arguments)
    if options.expect:
        print_expected()
        return 0
    if options.host:
        from _gpu_peers import on_host

        for measured in on_host():
            print(json.dumps(measured), flush=True)
        return 0
    try:
        card = cuda.card()
    except DeviceError as error:
        print(error, file=sys.stderr)
        return 1
    seed = int(np.random.SeedSequence().entropy % 2**32) if options.seed is None else options.seed
    only = set(filter(None, options.only.split(",")))
    unknown = only - {build.__name__ for build in KERNELS | WHOLE}
    if unknown:
        print(f"--only {', '.join(sorted(unknown))} names no operation", file=sys.stderr)
        return 1
    kernels, whole = chosen(KERNELS, only), chosen(WHOLE, only)
    if options.small or options.small_kernels:
        # Each array by itself: in a pool, one that is overrun would hit a neighbour unnoticed.
        card.xp.cuda.set_allocator(None)
        report = Report()
        check_small(card, report, kernels | (whole if options.small else {}), seed)
        return 1 if report.failures else 0
    report = Report(stamp_of(card.xp))
    name = "gpu-part" if only or options.quick else "gpu"
    clock = GpuClock(card.xp)
    cache = card.xp.cuda.runtime.getDeviceProperties(0)["l2CacheSize"]
    report.head(f"checks of small sizes, seed {seed}")
    check_small(card, report, kernels | whole, seed)
    report.head("ceilings")
    ceilings = ceilings_of(card, clock, report)
    for table, kind in ((kernels, "kernel"), (whole, "call")):
        report.head(f"each {kind}")
        few = {b: (a, sizes[:1]) for b, (a, sizes) in table.items()} if options.quick else table
        time_all(
            card, clock, report, ceilings=ceilings, cache=cache, table=few, kind=kind, seed=seed
        )
        save(name, report, options.out)
    if not (options.quick or only):
        from _gpu_peers import peers_of

        report.head("peers")
        time_peers(clock, report, ceilings, peers_of())
        save(name, report, options.out)
        report.head("our CPU path")
        command = [sys.executable, __file__, "--host"]
        report.attempt("our CPU path", lambda: time_host(report, command))
        save(name, report, options.out)
    if options.sanitize:
        report.head("compute-sanitizer")
        sanitize(report)
    judge_goals(report)
    for failure in report.failures:
        print(f"FAILED {failure}")
    print(f"{len(report.rows)} rows, {len(report.failures)} failures")
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
