"""The harmonic solution on graphs of ten nearest neighbours, from 10,000 to a million points.

    python benchmarks/bench_knn.py [--sizes 10000 100000 1000000] [--repeats 3] [--search METHOD]

Points lie on a curved manifold of six dimensions in 32, with noise; five bumps of density make a
class, and one point in a hundred is labelled. Every size has a process of its own, and
memory is all that process holds at its peak. "fit" prepares the system and the proof that bounds
errors, "solve" is one product with M. scipy's conjugate gradients solve the same symmetric system,
a class at a time, to a residual of 1e-12: no bound comes with them. "growth" is the exponent of
time since the size before.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
from common import in_turns, quantiles, reset_peak_memory, status_mib, write_rows
from scipy.sparse import csr_array, diags_array, eye_array
from scipy.sparse.linalg import cg

import gssl_poison as gp

FEATURES, INTRINSIC, CLASSES, NEIGHBOURS = 32, 6, 4, 10
LABELED = 0.01
# scipy takes a minute for a million points, and tells nothing more there.
LARGEST_FOR_SCIPY = 100_000


def manifold(n, seed=0):
    """Return points (n, 32) float32 and their classes (n,)."""
    rng = np.random.default_rng(seed)
    centers = 1.2 * rng.normal(size=(5 * CLASSES, INTRINSIC))
    bump = rng.integers(0, len(centers), n)
    inside = centers[bump] + 0.5 * rng.normal(size=(n, INTRINSIC))
    slopes = rng.normal(size=(INTRINSIC, FEATURES)) / np.sqrt(INTRINSIC)
    phases = rng.uniform(0.0, 2.0 * np.pi, FEATURES)
    X = np.sin(inside @ slopes + phases) + 0.05 * rng.normal(size=(n, FEATURES))
    return X.astype(np.float32), bump % CLASSES


def scipy_solve(graph, labeled, Y):
    """Return the scores of the unlabelled points by scipy's conjugate gradients."""
    P, log_degree = graph.transition(self_loops=False)
    others = np.setdiff1d(np.arange(graph.n_points), labeled)
    among = P[others]
    root = np.exp((log_degree[others] - log_degree.max()) / 2.0)
    S = diags_array(root) @ among[:, others] @ diags_array(1.0 / root)
    A = csr_array(eye_array(others.size) - S)
    B = root[:, None] * (among[:, labeled] @ Y)
    columns = [cg(A, b, rtol=1e-12, maxiter=10_000)[0] for b in B.T]
    return np.column_stack(columns) / root[:, None]


def measure(n, repeats, search):
    """Build the graph, solve and compare; return a row of figures."""
    how = {"method": search} if search else {}
    X, truth = manifold(n)
    labeled = np.sort(np.random.default_rng(1).permutation(n)[: int(LABELED * n)])
    Y = np.eye(CLASSES)[truth[labeled]]
    small = gp.knn_graph(X[:2000], NEIGHBOURS)  # compiles, loads libraries
    gp.Harmonic(unreached="leave").fit(small, np.arange(20)).solve(Y[:20])

    data_mib = reset_peak_memory()
    started = time.perf_counter()
    graph = gp.knn_graph(X, NEIGHBOURS, **how)
    graph_seconds = time.perf_counter() - started
    graph_mib = status_mib("VmHWM")

    reset_peak_memory()
    fitted = gp.Harmonic(unreached="leave").fit(graph, labeled)
    fitted.solve(Y)
    solve_mib = status_mib("VmHWM")

    candidates = {
        "fit": (lambda: gp.Harmonic(unreached="leave").fit(graph, labeled), repeats),
        "solve": (lambda: fitted.solve(Y), repeats),
    }
    if n <= LARGEST_FOR_SCIPY and fitted.unreached.size == 0:
        candidates["scipy cg"] = (lambda: scipy_solve(graph, labeled, Y), repeats)
    seconds, returned = in_turns(candidates, repeats)
    found = returned["solve"]
    scores = found.value[fitted.unlabeled]
    row = {
        "n": n,
        "labeled": labeled.size,
        "features": FEATURES,
        "classes": CLASSES,
        "edges": graph.n_edges,
        "neighbours found by": graph.source,
        "gamma": graph.bandwidth.gamma,
        "graph s": graph_seconds,
        **{f"{what} s": quantiles(values)[0] for what, values in seconds.items()},
        "runs": repeats,
        "MiB before": data_mib,
        "peak MiB, graph": graph_mib,
        "peak MiB, fit and solve": solve_mib,
        "method": fitted.method,
        "iterations": found.n_iter,
        "converged": bool(found.converged),
        "residual": found.residual,
        "certified error": found.bound,
        "row sums off by": float(np.abs(scores.sum(axis=1) - 1.0).max()),
        "unreached": fitted.unreached.size,
        "error rate": float((scores.argmax(axis=1) != truth[fitted.unlabeled]).mean()),
    }
    if "scipy cg" in returned:
        row["differs from scipy cg by"] = float(np.abs(scores - returned["scipy cg"]).max())
        assert row["differs from scipy cg by"] <= 1e-8
    return row


def in_a_process(n, repeats, search):
    """Measure one size in a process of its own."""
    code = f"import json, bench_knn as b; print(json.dumps(b.measure({n}, {repeats}, {search!r})))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent,
    )
    return json.loads(done.stdout.splitlines()[-1])


def growth(rows, what):
    """Write the exponent of n by which ``what`` grew since the size before."""
    for smaller, larger in pairwise(rows):
        times = np.log(larger[what] / smaller[what])
        larger[f"growth of {what}"] = float(times / np.log(larger["n"] / smaller["n"]))


def main():
    """Run the sizes and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--search", default="", help="method of knn_graph; its own choice if empty")
    options = parser.parse_args()
    rows = []
    for n in sorted(options.sizes):
        rows.append(in_a_process(n, options.repeats, options.search))
        print(
            "  ".join(
                f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in rows[-1].items()
            )
        )
    for what in ("graph s", "fit s", "solve s"):
        growth(rows, what)
    write_rows("knn", rows)


if __name__ == "__main__":
    main()
