"""RQ3: attacks against plain transcriptions of the published ones, on the same sound K.

    GSSL_POISON_DATA=... python benchmarks/bench_attacks.py [--repeats 5] [--only mnist-1-7]

MIR runs from X to flips on both sides. Greedy and probabilistic read M of `Harmonic`: the time to
fit it is a column of its own, and the transcriptions are handed its shares, as float64 arrays. Ours
includes reading the shares. Of the greedy transcription a few rounds are timed, and the time of all
is theirs by the number of flips tried. Both sides must choose flips of the same worth. The loop of
probabilistic is timed twice: its gradient written out in numpy, and by torch's autograd.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from typing import NamedTuple

import numpy as np
import transcriptions
from common import in_turns, quantiles, write_rows
from sklearn.metrics.pairwise import rbf_kernel

import gssl_poison as gp
from gssl_poison.attacks import MIR, Greedy
from gssl_poison.attacks.liu import Probabilistic
from gssl_poison.problem import count_flips

CASES = (("mnist-1-7", 5.0), ("cifar10-cat-ship", 0.1))
PART = 0.05
# 20 flips, as in Table 3 of the paper, and the largest budget of its Table 4.
BUDGETS = (20, 0.2)


class Case(NamedTuple):
    """What all methods are timed on: sides are labels (l,) and targets (u,) as -1 and 1."""

    problem: gp.Problem
    surrogate: gp.Fitted
    K: np.ndarray
    sides: tuple
    budget: float
    repeats: int
    rounds: int


def load(name, gamma):
    """Return the problem of a case."""
    data = gp.load_dataset(name, labeled=PART)
    return gp.Problem.of(gp.RBFGraph(data.X, gamma), data.y, data.truth)


def time_mir(case):
    """From X to the flips; the published code forms the kernel of all points."""
    problem = case.problem
    X, gamma = problem.graph.X, problem.graph.gamma

    def ours():
        graph = gp.RBFGraph(X, gamma)
        again = gp.Problem(graph, problem.labeled, problem.y)
        surrogate = gp.Direct().fit(graph, again.labeled)
        return MIR(ties="position").attack(again, surrogate, case.budget)

    def published():
        S = rbf_kernel(np.asarray(X, dtype=np.float64), gamma=gamma)
        n_flips = count_flips(case.budget, problem.y.size)
        return transcriptions.mir(S, problem.labeled, problem.unlabeled, n_flips)

    candidates = {"ours": (ours, case.repeats), "published": (published, 2)}
    seconds, returned = in_turns(candidates, case.repeats)
    order, count = returned["published"]
    chosen = returned["ours"].order
    # The same flips, or others that hold as many points.
    assert np.array_equal(np.sort(count[chosen]), np.sort(count[order]))
    return seconds, {"transcription": "whole", "same order": np.array_equal(chosen, order)}


def time_greedy(case):
    """Greedy until no flip gains, as published; some rounds of the transcription."""
    problem, l = case.problem, case.problem.y.size  # noqa: E741

    def ours():
        return Greedy(fill=False).attack(problem, case.surrogate, case.budget)

    seconds, returned = in_turns({"ours": (ours, case.repeats)}, case.repeats)
    poison = returned["ours"]
    n_rounds = min(case.rounds, len(poison))
    order, wrong, of_rounds = transcriptions.greedy(case.K, *case.sides, len(poison), n_rounds)
    np.testing.assert_allclose(poison.objective[:n_rounds], wrong, rtol=0, atol=1e-12)
    tried = l - np.arange(len(poison))
    # A round that finds nothing ends the published loop when the budget is not used up.
    if len(poison) < count_flips(case.budget, l):
        tried = np.append(tried, l - len(poison))
    a_flip = float(np.median(of_rounds / tried[: len(of_rounds)]))
    seconds["published"] = [a_flip * float(tried.sum())]
    return seconds, {
        "transcription": f"{len(of_rounds)} of {len(tried)} rounds, extrapolated",
        "same order": poison.order[:n_rounds].tolist() == order.tolist(),
        "flips": len(poison),
    }


def time_probabilistic(case):
    """Noise for each label on both sides: 100 steps of the same loss, the same draws."""
    n_flips = count_flips(case.budget, case.problem.y.size)

    def ours():
        return Probabilistic().attack(case.problem, case.surrogate, case.budget)

    def published():
        return transcriptions.probabilistic(case.K, *case.sides, n_flips)

    candidates = {"ours": (ours, case.repeats), "published": (published, case.repeats)}
    if importlib.util.find_spec("torch"):
        import torch

        tensors = [torch.from_numpy(array) for array in (case.K, *case.sides)]

        def autograd():
            return transcriptions.probabilistic_autograd(*tensors, n_flips)

        candidates["autograd"] = (autograd, case.repeats)
    seconds, returned = in_turns(candidates, case.repeats)
    same = np.array_equal(returned["ours"].order, returned["published"])
    assert same, "the flips differ from the transcription's"
    return seconds, {"transcription": "whole", "same order": same}


METHODS = {"mir": time_mir, "greedy": time_greedy, "probabilistic": time_probabilistic}


def measure(name, gamma, repeats, rounds):
    """Return the rows of one case."""
    problem = load(name, gamma)
    started = time.perf_counter()
    surrogate = gp.Harmonic().fit(problem.graph, problem.labeled).stored()
    fit_seconds = time.perf_counter() - started
    K = surrogate.shares()
    sides = (2.0 * problem.y - 1.0, 2.0 * problem.truth[problem.unlabeled] - 1.0)
    rows = []
    for budget in BUDGETS:
        case = Case(problem, surrogate, K, sides, budget, repeats, rounds)
        for method, call in METHODS.items():
            seconds, facts = call(case)
            median, low, high = quantiles(seconds["ours"])
            published = quantiles(seconds["published"])[0]
            n_flips = count_flips(budget, problem.y.size)
            row = {
                "data": name,
                "gamma": gamma,
                "l": problem.y.size,
                "u": problem.unlabeled.size,
                "method": method,
                "budget": n_flips,
                "flips": n_flips,
                "seconds": median,
                "q1 s": low,
                "q3 s": high,
                "fit M s": 0.0 if method == "mir" else fit_seconds,
                "transcription s": published,
                "times faster": published / median,
            }
            if "autograd" in seconds:
                row["by autograd s"] = quantiles(seconds["autograd"])[0]
                row["times faster than autograd"] = row["by autograd s"] / median
            row |= facts
            shown = {k: f"{v:.4g}" if isinstance(v, float) else v for k, v in row.items()}
            print("  ".join(f"{k}={v}" for k, v in shown.items()), flush=True)
            rows.append(row)
    return rows


def main():
    """Run the cases and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=2, help="of the greedy transcription")
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    rows = []
    for name, gamma in CASES:
        if options.only in name:
            rows += measure(name, gamma, options.repeats, options.rounds)
    write_rows("attacks" + (f"-{options.only}" if options.only else ""), rows)


if __name__ == "__main__":
    main()
