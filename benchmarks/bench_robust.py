"""Predicting from labels that stay poisoned: what a vote, or another alpha, costs and saves.

    GSSL_POISON_DATA=... python benchmarks/bench_robust.py

Error in per cent with clean labels and with 10 % of them flipped by `mir` (one step) and `greedy`
(the plain victim's M), for one step and its votes, and for spreading at several alphas on the graph
of ten neighbours, where `chosen` is what `choose_alpha` takes without the truth. A vote's certified
accuracy is the part of the points that are right and stay so under any k changed labels.
"""

from __future__ import annotations

import time

from common import write_rows

import gssl_poison as gp
from gssl_poison.attacks import MIR, Greedy
from gssl_poison.defenses import Vote, choose_alpha

CASES = [("mnist-1-7", 5.0), ("cifar10-cat-ship", 0.1)]
PARTS = (5, 15, 31)
ALPHAS = (0.1, 0.3, 0.5, 0.7, 0.9)
CERTIFIED = (1, 3, 5, 10)


def labelled(problem, victim):
    """Return the problem as it is, and after two attacks."""
    direct = gp.Direct().fit(problem.graph, problem.labeled)
    return {
        "clean": problem,
        "mir": problem.poisoned(MIR().attack(problem, direct, 0.1)),
        "greedy": problem.poisoned(Greedy().attack(problem, victim, 0.1)),
    }


def votes(name, problem):
    """Yield the rows of one step and of its votes."""
    victim = gp.Direct().fit(problem.graph, problem.labeled).stored()
    versions = labelled(problem, victim)
    errors = {who: gp.error_rate(victim, p) for who, p in versions.items()}
    yield row(name, "direct", errors) | {"seconds": ""}
    for n_parts in PARTS:
        for rule in ("median", "majority"):
            started = time.perf_counter()
            voted = {
                who: Vote(n_parts=n_parts, rule=rule).predict(p) for who, p in versions.items()
            }
            errors = {who: found.error(versions[who]) for who, found in voted.items()}
            sure = {
                f"certified_{k}": round(100.0 * voted["clean"].certified_accuracy(problem, k), 2)
                for k in CERTIFIED
            }
            seconds = (time.perf_counter() - started) / len(versions)
            yield row(name, f"vote {rule} of {n_parts}", errors) | sure | {"seconds": seconds}


def spreading(name, data, problem):
    """Yield the rows of spreading on the graph of ten neighbours."""
    graph = gp.knn_graph(data.X, 10)
    problem = gp.Problem(graph, problem.labeled, problem.y, problem.truth)
    plain = gp.Spreading(0.2).fit(graph, problem.labeled).stored()
    versions = labelled(problem, plain)
    chosen = {}
    for who, version in versions.items():
        started = time.perf_counter()
        chosen[who] = choose_alpha(version, ALPHAS).alpha, time.perf_counter() - started
    print(name, "chosen:", chosen)
    errors = {}
    for alpha in ALPHAS:
        fitted = gp.Spreading(alpha).fit(graph, problem.labeled)
        errors[alpha] = {who: gp.error_rate(fitted, p) for who, p in versions.items()}
        yield row(name, f"spreading alpha={alpha}", errors[alpha])
    best = {who: errors[alpha][who] for who, (alpha, _) in chosen.items()}
    named = "/".join(str(alpha) for alpha, _ in chosen.values())
    yield row(name, f"spreading alpha chosen ({named})", best) | {"seconds": chosen["mir"][1]}


def row(name, method, errors):
    """Return a row of the table and print it."""
    shown = {f"error_{who}": round(100.0 * error, 2) for who, error in errors.items()}
    print(name, method, shown, flush=True)
    return {"data": name, "method": method, **shown}


def main():
    rows = []
    for name, gamma in CASES:
        data = gp.load_dataset(name, labeled=0.05)
        problem = gp.Problem.of(gp.RBFGraph(data.X, gamma), data.y, data.truth)
        rows += votes(name, problem)
        rows += spreading(name, data, problem)
        write_rows("robust", rows)


if __name__ == "__main__":
    main()
