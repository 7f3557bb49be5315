"""RQ1: the transductive error after flipping each labelled point, from one M or by retraining.

    GSSL_POISON_DATA=... python benchmarks/bench_flips.py [--refits 10] [--repeats 3]

scikit-learn's LabelPropagation and LabelSpreading are refitted for some of the labelled points, at
the same fixed number of iterations (tol = 0, so that none stops early); their time for all of them
is the median of those refits times their number. Every refitted error must equal ours.
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np
from common import quantiles, write_rows
from sklearn.semi_supervised import LabelPropagation, LabelSpreading

import gssl_poison as gp
from gssl_poison.labels import split_labels

N_ITER = 10
CASES = [
    ("mnist-1-7", 0.05, 5.0, "propagation"),
    ("cifar10-cat-ship", 0.05, 0.1, "propagation"),
]


def victims(kind, gamma):
    """Return our propagator and scikit-learn's estimator, of the same fixed length."""
    settings = {"gamma": gamma, "max_iter": N_ITER, "tol": 0.0}
    if kind == "propagation":
        return gp.Propagation(N_ITER), LabelPropagation(**settings)
    return gp.Spreading(0.2, N_ITER), LabelSpreading(alpha=0.2, **settings)


def measure(case, refits, repeats):
    """Return the row of one case."""
    name, part, gamma, kind = case
    data = gp.load_dataset(name, labeled=part)
    X = np.asarray(data.X, dtype=np.float64)
    labels = split_labels(data.y, len(X))
    truth = np.searchsorted(np.array(labels.classes), np.asarray(data.truth))
    propagator, victim = victims(kind, gamma)

    def from_one_matrix():
        fitted = propagator.fit(gp.RBFGraph(data.X, gamma), labels.labeled)
        return gp.flip_errors(fitted, labels.codes, truth, 2)

    from_one_matrix()  # compiles
    ours = []
    for _ in range(repeats):
        started = time.perf_counter()
        errors = from_one_matrix()
        ours.append(time.perf_counter() - started)

    y = np.full(len(X), -1)
    y[labels.labeled] = labels.codes
    theirs, equal = [], 0
    for k in np.random.default_rng(0).permutation(labels.labeled.size)[:refits]:
        flipped = y.copy()
        flipped[labels.labeled[k]] = 1 - labels.codes[k]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the loop has not converged is what is asked
            started = time.perf_counter()
            victim.fit(X, flipped)
            theirs.append(time.perf_counter() - started)
        wrong = victim.transduction_[labels.unlabeled] != truth[labels.unlabeled]
        equal += int(wrong.mean() == errors[k, 1 - labels.codes[k]])
    one, all_of_them = quantiles(ours), np.median(theirs) * labels.labeled.size
    clean = errors[np.arange(labels.codes.size), labels.codes]
    row = {
        "data": name,
        "victim": kind,
        "n_iter": N_ITER,
        "gamma": gamma,
        "n_labeled": labels.labeled.size,
        "n_unlabeled": labels.unlabeled.size,
        "seconds": one[0],
        "seconds_q1": one[1],
        "seconds_q3": one[2],
        "sklearn_seconds_a_refit": float(np.median(theirs)),
        "sklearn_seconds_extrapolated": float(all_of_them),
        "times_faster": float(all_of_them / one[0]),
        "refitted": refits,
        "equal": equal,
        "error_percent_clean": 100 * float(clean[0]),
        "error_percent_worst_flip": 100 * float(errors.max()),
    }
    print(row)
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--refits", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    rows = []
    for case in CASES:
        rows.append(measure(case, options.refits, options.repeats))
        write_rows("flips", rows)


if __name__ == "__main__":
    main()
