"""Label propagation and spreading against scikit-learn's: time of a fit, peak memory, labels.

    GSSL_POISON_DATA=... python benchmarks/bench_propagation.py [--repeats 5] [--only mnist]

Every fit has a process of its own: what it has compiled and loaded, on a few hundred of the points,
is not counted, and its peak memory is all that the process holds, the points in float64 included.
Candidates take turns. All are given the same points, labels, gamma, max_iter and tol; "matrix-free"
runs as many iterations as scikit-learn did, computing all weights anew in each.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from bench_knn import manifold
from common import gemm_rate, quantiles, reset_peak_memory, status_mib, write_rows

# data, part that is labelled, kernel, gamma, max_iter
CASES = {
    "mnist-1-7 5%": ("mnist-1-7", 0.05, "rbf", 5.0, 30),
    "mnist-1-7 25%": ("mnist-1-7", 0.25, "rbf", 5.0, 30),
    "cifar10-cat-ship 5%": ("cifar10-cat-ship", 0.05, "rbf", 0.1, 30),
    "manifold 1%": ("manifold", 0.01, "knn", None, 30),
}
METHODS = ("propagation", "spreading")
PEER = "scikit-learn"
CANDIDATES = (PEER, "double", "single", "matrix-free")
POINTS, NEIGHBOURS, ALPHA = 200_000, 10, 0.2
WARM = 700


def read(data, part):
    """Return points (n, d) float64, and class codes (n,), -1 where unlabelled."""
    if data == "manifold":
        X, truth = manifold(POINTS)
        known = np.random.default_rng(1).permutation(POINTS)[: int(part * POINTS)]
        y = np.full(POINTS, -1)
        y[known] = truth[known]
        return X.astype(np.float64), y
    import gssl_poison as gp

    dataset = gp.load_dataset(data, labeled=part)
    classes = sorted({label for label in dataset.y if label is not None})
    y = np.array([-1 if label is None else classes.index(label) for label in dataset.y])
    return dataset.X.astype(np.float64), y


def estimator(candidate, method, kernel, gamma, max_iter):
    """Return scikit-learn's estimator, or ours of a precision."""
    settings = {"kernel": kernel, "max_iter": max_iter}
    settings |= {"n_neighbors": NEIGHBOURS} if kernel == "knn" else {"gamma": gamma}
    settings |= {"alpha": ALPHA} if method == "spreading" else {}
    if candidate == PEER:
        from sklearn import semi_supervised as source
    else:
        import gssl_poison as source

        settings["precision"] = candidate
    kind = source.LabelPropagation if method == "propagation" else source.LabelSpreading
    return kind(**settings)


def fit(settings, X, y):
    """Fit once; return codes of all points and what there is to tell."""
    candidate, method, kernel, gamma, max_iter = settings
    if candidate == "matrix-free":
        import gssl_poison as gp

        free = {"n_iter": max_iter, "storage": "free"}
        rule = gp.Propagation(**free) if method == "propagation" else gp.Spreading(ALPHA, **free)
        labeled = np.flatnonzero(y >= 0)
        fitted = rule.fit(gp.RBFGraph(X, gamma), labeled)
        scores = fitted.apply(np.eye(y.max() + 1)[y[labeled]], normalized=True)
        return scores.argmax(axis=1), {"iterations": max_iter}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # max_iter is meant to end it
        model = estimator(candidate, method, kernel, gamma, max_iter).fit(X, y)
    told = {"iterations": int(model.n_iter_)}
    if candidate != PEER:
        told["done again in double"] = bool(model.reran_in_double_)
    return np.asarray(model.transduction_), told


def child(task):
    """Fit in this process, write the labels and print figures."""
    X, y = read(task["data"], task["part"])
    few = np.sort(np.random.default_rng(0).permutation(len(X))[:WARM])
    few = np.union1d(few, np.flatnonzero(y >= 0)[:50])
    settings = (task["candidate"], task["method"], task["kernel"], task["gamma"], task["max_iter"])
    fit(settings, X[few], y[few])
    before = reset_peak_memory()
    started = time.perf_counter()
    labels, told = fit(settings, X, y)
    seconds = time.perf_counter() - started
    peak = status_mib("VmHWM")
    np.save(task["labels"], labels)
    print(json.dumps({"seconds": seconds, "peak": peak, "before": before, **told}))


def in_a_process(task):
    """Run `child` in a fresh interpreter; return its figures."""
    code = f"import json, bench_propagation as b; b.child(json.loads({json.dumps(task)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent,
    )
    return json.loads(done.stdout.splitlines()[-1])


def measure(name, method, repeats, folder):
    """Run one case and return its rows."""
    data, part, kernel, gamma, max_iter = CASES[name]
    candidates = [c for c in CANDIDATES if kernel == "rbf" or c != "matrix-free"]
    rate = gemm_rate("float64")  # next to every case: a shared machine drifts
    runs = {candidate: [] for candidate in candidates}
    iterations = max_iter
    for turn in range(repeats):
        for candidate in candidates:
            if candidate == "matrix-free" and turn >= max(1, repeats // 3):
                continue  # it is slow, and its time is that of its operations
            free = candidate == "matrix-free"
            task = {
                "candidate": candidate,
                "data": data,
                "part": part,
                "method": method,
                "kernel": kernel,
                "gamma": gamma,
                "max_iter": iterations if free else max_iter,
                "labels": str(Path(folder) / f"{candidate}.npy"),
            }
            runs[candidate].append(in_a_process(task))
            if candidate == PEER:
                iterations = max(1, runs[PEER][-1]["iterations"])
    expected = np.load(Path(folder) / f"{PEER}.npy")
    rows = []
    for candidate in candidates:
        found = runs[candidate]
        median, low, high = quantiles([run["seconds"] for run in found])
        row = {
            "data": name,
            "n": expected.size,
            "method": method,
            "kernel": kernel,
            "gamma": gamma,
            "what": candidate if candidate == PEER else f"gssl-poison, {candidate}",
            "median s": median,
            "q1 s": low,
            "q3 s": high,
            "runs": len(found),
            "peak MiB": quantiles([run["peak"] for run in found])[0],
            "MiB before the fit": quantiles([run["before"] for run in found])[0],
            "float64 GEMM GFLOP/s": rate,
        }
        row |= {
            key: found[-1][key] for key in found[-1] if key not in {"seconds", "peak", "before"}
        }
        if candidate != PEER:
            labels = np.load(Path(folder) / f"{candidate}.npy")
            row |= {
                "times faster": rows[0]["median s"] / median,
                "part of the memory": row["peak MiB"] / rows[0]["peak MiB"],
                "part of what a fit adds": _added(row) / _added(rows[0]),
                "labels that differ": int((labels != expected).sum()),
            }
        rows.append(row)
        print(
            "  ".join(
                f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in row.items()
            ),
            flush=True,
        )
    return rows


def _added(row):
    """Return the memory that a fit takes beside the points and the libraries."""
    return row["peak MiB"] - row["MiB before the fit"]


def main():
    """Run the cases and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", default="", help="part of a case's name")
    options = parser.parse_args()
    rows = []
    suffix = "-" + options.only.replace(" ", "-").replace("%", "") if options.only else ""
    for name in CASES:
        for method in METHODS:
            if options.only in f"{name} {method}":
                with tempfile.TemporaryDirectory() as folder:
                    rows += measure(name, method, options.repeats, folder)
                # After every case: a run that is stopped keeps what it has finished.
                write_rows("propagation" + suffix, rows)


if __name__ == "__main__":
    main()
