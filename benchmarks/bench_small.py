"""Certificates and the integer program against trying all flips, on small problems.

    python benchmarks/bench_small.py [--problems 300] [--out small]

Two to four clusters that overlap, two to four classes, 8 to 14 labels, 20 to 40 points, 2 to 4
flips. `exact` tries all sets of flips, by code that shares nothing with the brute force of the
tests; the integer program is solved as well, for a second at most, which more classes and labels
exceed: `milp_proven` is the part in which it ended. Each line of the result is one kind of problem;
the run stops where a bound is violated or a radius is not what trying all flips says.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from common import write_rows

import gssl_poison as gp
from gssl_poison.attacks.exact import Exact
from gssl_poison.attacks.greedy import Greedy
from gssl_poison.attacks.smoothed import Smoothed
from gssl_poison.attacks.swaps import Swaps

sys.path.append(str(Path(__file__).parent.parent / "tests"))
from small_problems import brute_force, small_problem


def measure(seed):
    """Return the figures of one problem."""
    problem, victim, k = small_problem(seed)
    target = problem.truth[problem.unlabeled]
    u = target.size
    started = time.perf_counter()
    most, radius = brute_force(victim.shares(), problem.y, target, problem.n_classes, k)
    tried = time.perf_counter() - started
    exact = Exact().attack(problem, victim, k)
    milp = Exact(time_limit=1.0, method="milp").attack(problem, victim, k)
    found = gp.certify(problem, victim, (k,), method="lagrangian")
    best = most[-1]
    bound, pointwise = (round(float(v[0]) * u) for v in (found.collective, found.pointwise))
    assert best <= bound <= pointwise, f"seed {seed}: {best} {bound} {pointwise}"
    assert (np.minimum(found.radius, k + 1) == radius).all(), f"seed {seed}: radius"
    assert exact.bound * u >= best - 1e-9, f"seed {seed}: bound of exact"
    assert milp.bound * u >= best - 1e-9, f"seed {seed}: bound of the program"

    def wrong(attack):
        return round(gp.error_rate(victim, problem, attack.attack(problem, victim, k)) * u)

    return {
        "victim": type(victim.propagator).__name__,
        "n_classes": problem.n_classes,
        "exact": int(round(gp.error_rate(victim, problem, exact) * u) == best),
        "exact_proven": int(round(exact.bound * u) == best),
        "milp": int(round(gp.error_rate(victim, problem, milp) * u) == best),
        "milp_proven": int(round(milp.bound * u) == best),
        "greedy": int(wrong(Greedy()) == best),
        "greedy_swaps": int(wrong(Swaps(start=Greedy())) == best),
        "smoothed": int(wrong(Smoothed()) == best),
        "lagrangian_tight": int(bound == best),
        "lagrangian_over_best": bound / best if best else 1.0,
        "pointwise_over_best": pointwise / best if best else 1.0,
        "seconds_trying": tried,
        "seconds_exact": exact.seconds,
        "seconds_milp": milp.seconds,
        "seconds_lagrangian": found.seconds,
    }


def summarise(kind, figures):
    """Return one row of means."""
    victim, n_classes = kind
    own = [
        f
        for f in figures
        if victim in ("all", f["victim"]) and n_classes in ("all", f["n_classes"])
    ]
    row = {"victim": victim, "n_classes": n_classes, "problems": len(own)}
    for name in figures[0]:
        if name not in row:
            row[name] = float(np.mean([f[name] for f in own]))
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", type=int, default=300)
    parser.add_argument("--out", default="small")
    options = parser.parse_args()
    figures = []
    for seed in range(options.problems):
        figures.append(measure(seed))
        if seed % 25 == 24:
            print(seed + 1, "problems")
    kinds = sorted({(f["victim"], f["n_classes"]) for f in figures})
    rows = [summarise(kind, figures) for kind in (*kinds, ("all", "all"))]
    print(rows[-1])
    write_rows(options.out, rows)


if __name__ == "__main__":
    main()
