"""The harmonic M of real data: elimination without subtraction against the machine's GEMM rate.

    GSSL_POISON_DATA=... python benchmarks/bench_harmonic.py [--repeats 3]

The operations counted are 2/3 u^3 + 2 u^2 l. The elimination stands between two measurements of the
float64 matrix-product rate; reading the graph, in the same units of time, is apart. numpy's LU of
D - W is there for what it costs and for what it answers: its row sums should be 1.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from common import gemm_rate, quantiles, write_rows

import gssl_poison as gp
from gssl_poison.elimination import check_rows_of, fill_chain, solve_chain
from gssl_poison.labels import split_labels
from gssl_poison.propagation.graphs import log_rows_of

CASES = [
    ("mnist-1-7", 0.05, 5.0),
    ("mnist-1-7", 0.25, 5.0),
    ("mnist-1-7", 0.05, 20.0),
    ("cifar10-cat-ship", 0.05, 0.1),
]


def read(name, part, gamma):
    """Return the graph, the labels and who is who."""
    data = gp.load_dataset(name, labeled=part)
    labels = split_labels(data.y, len(data.X))
    truth = np.searchsorted(np.array(labels.classes), np.asarray(data.truth))
    return gp.RBFGraph(data.X, gamma), labels, truth


def eliminate(graph, labels):
    """Return M with the seconds of its three parts: the graph's rows, the solve, the check."""
    marks = [time.perf_counter()]
    source = log_rows_of(graph, np.concatenate([labels.unlabeled, labels.labeled]))
    chain = fill_chain(source, labels.unlabeled, labels.labeled.size)
    marks.append(time.perf_counter())
    solution = solve_chain(chain, symmetric=False, name=str)
    M = np.ldexp(solution.value, -solution.exponent)
    marks.append(time.perf_counter())
    residual, _ = check_rows_of(source, labels.unlabeled, M)
    marks.append(time.perf_counter())
    return M, np.diff(marks), residual


def lu(graph, labels):
    """Return what numpy answers for (D - W)^-1 W_UL, as published scripts ask it, and seconds."""
    n, U, L = graph.n_points, labels.unlabeled, labels.labeled
    W = np.concatenate([graph.weights(U[k : k + 512], np.arange(n)) for k in range(0, U.size, 512)])
    A, B = -W[:, U], W[:, L]
    A[np.arange(U.size), np.arange(U.size)] += W.sum(axis=1)
    del W
    started = time.perf_counter()
    try:
        M = np.linalg.solve(A, B)
    except np.linalg.LinAlgError as error:
        return str(error), time.perf_counter() - started
    return float(np.abs(M.sum(axis=1) - 1.0).max()), time.perf_counter() - started


def measure(name, part, gamma, repeats):
    """Return the row of one case."""
    graph, labels, truth = read(name, part, gamma)
    u, l = labels.unlabeled.size, labels.labeled.size  # noqa: E741
    operations = 2 / 3 * u**3 + 2 * u**2 * l
    rates, parts = [gemm_rate("float64")], []
    for _ in range(repeats):
        M, seconds, residual = eliminate(graph, labels)
        parts.append(seconds)
        rates.append(gemm_rate("float64"))
    rows, solve, check = (quantiles(column) for column in np.array(parts).T)
    rate = operations / solve[0] / 1e9
    gemm = float(np.median(rates))
    wrong = (M @ np.eye(2)[labels.codes]).argmax(axis=1) != truth[labels.unlabeled]
    row = {
        "data": name,
        "gamma": gamma,
        "n_labeled": l,
        "n_unlabeled": u,
        "seconds_rows": rows[0],
        "seconds_solve": solve[0],
        "seconds_solve_q1": solve[1],
        "seconds_solve_q3": solve[2],
        "seconds_check": check[0],
        "gflops": rate,
        "gemm_float64_gflops": gemm,
        "part_of_gemm": rate / gemm,
        "residual": residual,
        "smallest_entry": float(M[M > 0].min()),
        "error_percent": 100 * float(wrong.mean()),
    }
    if part < 0.1 and gamma < 10:
        off, seconds = lu(graph, labels)
        row |= {"seconds_lu": seconds, "lu_row_sums_off_by": off}
    print(row)
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    eliminate(*read("digits-1-7", 0.1, 1.0)[:2])  # compiles
    write_rows("harmonic", [measure(*case, repeats) for case in CASES])


if __name__ == "__main__":
    main()
