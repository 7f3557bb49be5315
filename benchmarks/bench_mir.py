"""MIR against the published procedure and plain numpy, in one run; and the search for gamma.

python benchmarks/bench_mir.py [--repeats 15] [--only mnist-1-7]

(a) is the published procedure: the full float64 kernel matrix, then a loop over its rows. (b) is
the best plain numpy we know: the kernel of unlabelled against labelled rows, and vectorised
reductions, in the faster of float32 and float64. Rates count 2 u l d operations.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
from common import gemm_rate, in_turns, quantiles, reset_peak_memory, status_mib, write_rows
from sklearn.metrics.pairwise import rbf_kernel

import gssl_poison as gp
from gssl_poison._arrays import is_sparse
from gssl_poison.kernels import int8

CASES = (
    ("mnist-1-7", 0.05, 5.0),
    ("mnist-1-7", 0.25, 5.0),
    ("cifar10-cat-ship", 0.05, 0.1),
    ("cifar10-cat-ship", 0.25, 0.1),
    ("reuters-corporate", 0.05, 20.0),
    ("reuters-corporate", 0.25, 20.0),
)


def split(name, part):
    """Return X and the ascending rows of labelled and unlabelled points."""
    data = gp.load_dataset(name, labeled=part)
    known = np.array([label is not None for label in data.y])
    return data.X, np.flatnonzero(known), np.flatnonzero(~known)


def published(X, labeled, unlabeled, gamma):
    """(a): all of K in float64, then row by row."""
    K = rbf_kernel(X if is_sparse(X) else X.astype(np.float64), gamma=gamma)
    mir = np.zeros(labeled.size, dtype=np.int64)
    for i in unlabeled:
        row = K[i][labeled]
        share = row / row.sum()
        j = np.argmax(share)
        if share[j] > 0.5:
            mir[j] += 1
    return mir


def vectorised(X, labeled, unlabeled, gamma, precision):
    """(b): K of unlabelled against labelled rows, and reductions over whole arrays."""
    A, B = X[unlabeled], X[labeled]
    if not is_sparse(X):
        A, B = A.astype(precision, copy=False), B.astype(precision, copy=False)
    K = rbf_kernel(A, B, gamma=gamma)
    with np.errstate(invalid="ignore"):
        K /= K.sum(axis=1, keepdims=True)
    first = K.argmax(axis=1)
    major = K[np.arange(first.size), first] > 0.5
    return np.bincount(first[major], minlength=labeled.size)


def ours(X, labeled, gamma):
    """One measurement; the graph does not copy X."""
    return gp.measure_influence(gp.Direct().fit(gp.RBFGraph(X, gamma), labeled))


def ours_in_float32(X, labeled, gamma):
    """The same without the exact integer route."""
    with mock.patch.object(int8, "is_available", return_value=False):
        return ours(X, labeled, gamma)


def extra_memory(how, name, part, gamma):
    """Peak memory beyond the input, MiB, in a process that has compiled but not yet measured."""
    code = f"import bench_mir as b; b.print_memory(b.{how.__name__}, {name!r}, {part}, {gamma})"
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
    )
    return float(done.stdout)


def print_memory(how, name, part, gamma):
    """Measure the child's own peak."""
    X, labeled, _ = split(name, part)
    small = np.concatenate([labeled[:8], np.setdiff1d(np.arange(64), labeled[:8])])
    how(X[np.sort(small)], np.arange(8), gamma)  # compiles, loads libraries
    before = reset_peak_memory()
    how(X, labeled, gamma)
    print(status_mib("VmHWM") - before)


def measure(name, part, gamma, repeats, rate):
    """Run one case and return its rows."""
    X, labeled, unlabeled = split(name, part)
    operations = 2 * unlabeled.size * labeled.size * X.shape[1]
    sparse = is_sparse(X)
    candidates = {
        "gssl-poison": (lambda: ours(X, labeled, gamma), repeats),
        "(a) published": (lambda: published(X, labeled, unlabeled, gamma), 3),
        "(b) numpy float64": (
            lambda: vectorised(X, labeled, unlabeled, gamma, "float64"),
            min(repeats, 7),
        ),
        "gssl-poison, gamma search": (
            lambda: gp.choose_gamma(X, labeled=labeled, unlabeled=unlabeled),
            min(repeats, 7),
        ),
    }
    if not sparse:
        candidates["gssl-poison, float32 route"] = (
            lambda: ours_in_float32(X, labeled, gamma),
            repeats,
        )
        candidates["(b) numpy float32"] = (
            lambda: vectorised(X, labeled, unlabeled, gamma, "float32"),
            min(repeats, 7),
        )
    seconds, returned = in_turns(candidates, repeats)
    influence = returned["gssl-poison"]
    medians = {who: quantiles(values)[0] for who, values in seconds.items()}
    best_numpy = min(value for who, value in medians.items() if who.startswith("(b)"))
    rows = []
    for who, values in seconds.items():
        median, low, high = quantiles(values)
        row = {
            "data": name,
            "l": labeled.size,
            "u": unlabeled.size,
            "d": X.shape[1],
            "gamma": gamma,
            "what": who,
            "median s": median,
            "q1 s": low,
            "q3 s": high,
            "runs": len(values),
        }
        if not (sparse or who.endswith("search")):
            achieved = operations / median / 1e9
            row |= {"GFLOP/s": achieved, "of float32 GEMM": achieved / rate}
        if who.startswith("gssl-poison") and not who.endswith("search"):
            row |= {
                "times faster than (a)": medians["(a) published"] / median,
                "times faster than (b)": best_numpy / median,
                "rows counted otherwise than (a)": int(
                    np.abs(returned[who].mir - returned["(a) published"]).sum()
                ),
                "rechecked": returned[who].rechecked,
                "undecided": returned[who].undecided,
                "route": "+".join(returned[who].routes),
            }
            how = ours_in_float32 if who.endswith("float32 route") else ours
            row["MiB beyond the input"] = extra_memory(how, name, part, gamma)
        rows.append(row)
        print(
            "  ".join(
                f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in row.items()
            )
        )
    assert influence.mir.sum() <= unlabeled.size
    return rows


def main():
    """Run the cases and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    rows = []
    for name, part, gamma in CASES:
        if options.only in name:
            rate = gemm_rate()  # next to every case: a shared machine drifts
            print(f"\n{name} {part}: float32 GEMM {rate:.0f} GFLOP/s", flush=True)
            new = measure(name, part, gamma, options.repeats, rate)
            rows += [{**row, "float32 GEMM GFLOP/s": rate} for row in new]
    write_rows("mir" + (f"-{options.only}" if options.only else ""), rows)


if __name__ == "__main__":
    main()
