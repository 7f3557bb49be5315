"""The best attack below, the proven bounds above: what a budget of flips can do to real data.

    GSSL_POISON_DATA=... python benchmarks/bench_sandwich.py [--data mnist-1-7] [--victims direct]

5 % labels. The attacks' surrogate is the victim. No attack can be above the collective bound, which
is asserted; the ratio of the two says how much is left to be known.
"""

from __future__ import annotations

import argparse
import time

from common import write_rows

import gssl_poison as gp
from gssl_poison.attacks import make_attack

DATA = {"mnist-1-7": 5.0, "cifar10-cat-ship": 0.1}
VICTIMS = ("direct", "harmonic", "spreading:alpha=0.2")
ATTACKS = ("total", "mir", "coverage", "greedy", "greedy+swaps", "smoothed")
BUDGETS = (1, 2, 5, 10, 32, 0.05)


def measure(name, gamma, victim, time_limit):
    """Return the rows of one victim on one data set."""
    data = gp.load_dataset(name, labeled=0.05)
    problem = gp.Problem.of(gp.RBFGraph(data.X, gamma), data.y, data.truth)
    started = time.perf_counter()
    fitted = gp.parse_propagator(victim).fit(problem.graph, problem.labeled).stored()
    fit = time.perf_counter() - started
    found = gp.certify(problem, fitted, BUDGETS, time_limit=time_limit)
    rows = []
    for k, pointwise, collective, method in zip(
        found.budgets, found.pointwise, found.collective, found.methods, strict=True
    ):
        errors, seconds = {}, {}
        for attack in ATTACKS:
            poison = make_attack(attack).attack(problem, fitted, k)
            errors[attack] = gp.error_rate(fitted, problem, poison)
            seconds[attack] = poison.seconds
        best = max(errors, key=errors.get)
        assert errors[best] <= collective <= pointwise, (name, victim, k)
        rows.append(
            {
                "data": name,
                "gamma": gamma,
                "victim": victim,
                "n_labeled": problem.y.size,
                "n_unlabeled": fitted.unlabeled.size,
                "flips": k,
                "clean_percent": 100 * found.clean,
                **{f"{attack}_percent": 100 * error for attack, error in errors.items()},
                "best_attack": best,
                "best_percent": 100 * errors[best],
                "collective_percent": 100 * float(collective),
                "pointwise_percent": 100 * float(pointwise),
                "collective_over_best": float(collective) / errors[best],
                "pointwise_over_collective": float(pointwise) / float(collective),
                "method": method,
                "seconds_attacks": sum(seconds.values()),
                "seconds_certify_all_budgets": found.seconds,
                "seconds_fit": fit,
            }
        )
        print(rows[-1], flush=True)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", default=list(DATA))
    parser.add_argument("--victims", nargs="+", default=list(VICTIMS))
    parser.add_argument("--time-limit", type=float, default=120.0)
    parser.add_argument("--out", default="sandwich")
    options = parser.parse_args()
    rows = []
    for name in options.data:
        for victim in options.victims:
            rows += measure(name, DATA[name], victim, options.time_limit)
            write_rows(options.out, rows)


if __name__ == "__main__":
    main()
