"""What RQ1 to RQ4 cost the published way, estimated from timed samples, beside what they cost here.

    GSSL_POISON_DATA=... python benchmarks/bench_published.py [--samples 2]

The published way refits scikit-learn for every flip and every cell, forms the whole kernel for MIR
and K for each attack, and tries every label in every round of the greedy search. Each such step is
timed a few times, and multiplied by how often `all` on MNIST 1/7 and CIFAR-10 needs it: a round by
the flips our own replication made. Models are the same library here and there: they are counted
with the seconds of a model that ours took, once a cell; ours trains once where labels are equal.
"""

from __future__ import annotations

import argparse
import time
import warnings
from functools import partial

import numpy as np
import pandas as pd
import transcriptions
from common import RESULTS, write_rows
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.semi_supervised import LabelPropagation, LabelSpreading

from gssl_poison.attacks.published import Published
from gssl_poison.experiments.questions import BUDGETS, LABELED
from gssl_poison.experiments.studies import ALPHA
from gssl_poison.experiments.workplace import Workplace, prepare

DATASETS = ("mnist-1-7", "cifar10-cat-ship")
VICTIMS = {
    "propagation": lambda gamma: LabelPropagation(gamma=gamma, max_iter=10),
    "spreading": lambda gamma: LabelSpreading(gamma=gamma, alpha=ALPHA, max_iter=10),
}
# A transductive cell of ours holds the seconds of its attack.
STAGES = ("single flips", "attacks and transductive errors", "forest", "mlp")


def seconds_of(work, samples):
    """Return the median of some timings."""
    found = []
    for _ in range(samples):
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    return float(np.median(found))


def fit_and_score(victim, X, problem):
    """Do what the published code does for one labelling: fit, then score what is unlabelled."""
    y = np.full(len(X), -1)
    y[problem.labeled] = problem.y
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ten iterations are what is asked, converged or not
        victim.fit(X, y)
        return victim.score(X[problem.unlabeled], problem.truth[problem.unlabeled])


def published(name, ours, samples):
    """Return the seconds of every stage of one data set."""
    data = prepare(name)
    gamma = data.study.gamma
    X = np.asarray(data.X, dtype=np.float64)
    place = Workplace(data, "replication", 2020, LABELED)
    errors = ours[(ours["dataset"] == name) & (ours["kind"] == "error")]
    cells = errors[errors["model"] == "transductive"]
    found = dict.fromkeys(STAGES, 0.0)
    for labeled in LABELED:
        problem = place.problem(labeled)
        for kind, make in VICTIMS.items():
            one = seconds_of(lambda: fit_and_score(make(gamma), X, problem), samples)  # noqa: B023
            here = cells[(cells["labeled"] == labeled) & (cells["victim"] == kind)]
            found["single flips"] += one * problem.y.size
            found["attacks and transductive errors"] += one * len(here)
            print(name, labeled, kind, f"a fit and its score {one:.1f} s", flush=True)
        found["attacks and transductive errors"] += attacks(
            place, X, problem, cells[cells["labeled"] == labeled], samples
        )
        place.forget(labeled)
    for model in ("forest", "mlp"):
        some = errors[errors["model"] == model]
        trained = some[some["seconds"] > 0.0]["seconds"]
        found[model] = float(trained.mean()) * len(some)
    return found


def attacks(place, X, problem, cells, samples):
    """Return the seconds of MIR, greedy and probabilistic at all budgets and one part labelled."""
    y = 2.0 * problem.y - 1.0
    y_U = 2.0 * problem.truth[problem.unlabeled] - 1.0
    most = int(max(BUDGETS) * y.size)
    kernel = seconds_of(lambda: rbf_kernel(X, gamma=place.graph.gamma), 1)
    S = rbf_kernel(X, gamma=place.graph.gamma)
    mir = seconds_of(
        partial(transcriptions.mir, S, problem.labeled, problem.unlabeled, most), samples
    )
    del S
    started = time.perf_counter()
    K = Published.of(problem, repeatable=False).K  # LAPACK's inverse, there as well
    inverse = time.perf_counter() - started
    seconds = transcriptions.greedy(K, y, y_U, most, rounds=1)[2]
    # A round that finds no gain is the last one; a budget that stops before has none.
    greedy = cells[(cells["attack"] == "greedy") & (cells["victim"] == "propagation")]
    rounds = sum(row.flips + (row.flips < int(row.budget * y.size)) for row in greedy.itertuples())
    search = seconds_of(lambda: transcriptions.probabilistic(K, y, y_U, most), samples)
    found = kernel + mir + inverse * 2 + float(seconds[0]) * rounds + search * len(BUDGETS)
    print(
        f"  kernel {kernel:.1f} s, MIR {mir:.1f} s, K {inverse:.1f} s, a greedy round "
        f"{seconds[0]:.1f} s, {rounds} rounds, probabilistic {search:.1f} s",
        flush=True,
    )
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=2)
    options = parser.parse_args()
    rows = []
    for name in DATASETS:
        ours = pd.read_csv(RESULTS / f"reproduction-replication-{name}.csv")
        theirs = published(name, ours, options.samples)
        by_model = ours.groupby("model")["seconds"].sum()
        spent = {
            "single flips": ours[ours["kind"] == "correlation"]["seconds"].sum(),
            "attacks and transductive errors": by_model["transductive"],
            "forest": by_model["forest"],
            "mlp": by_model["mlp"],
        }
        rows += [
            {
                "data": name,
                "stage": stage,
                "seconds_published": theirs[stage],
                "seconds_here": float(spent[stage]),
                "samples": options.samples,
            }
            for stage in STAGES
        ]
    for row in rows:
        print(row)
    write_rows("published-way", rows)


if __name__ == "__main__":
    main()
