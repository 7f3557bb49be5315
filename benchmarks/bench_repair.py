"""RQ4: what part of the error that flipped labels cause is removed by checking a few of them.

    GSSL_POISON_DATA=... python benchmarks/bench_repair.py mnist-1-7 [--seeds 1,2,3,4,5]

10 % of the labels are flipped, a third of that number is checked. `mir` flips as in the paper, by
one step; `total` and `greedy` read the victim's M; `adaptive` is greedy on the victim's M over the
flips that the first ranking of `learned`, asked again after every flip, leaves outside the labels
it checks. `removed` is (error poisoned - error repaired) / (error poisoned - error clean),
transductive and of a random forest on the test set. `learned` is the method named beforehand; its
settings were chosen on seed 2020. Finished cells are kept: run again to go on.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import numpy as np
from common import read_rows, write_rows

import gssl_poison as gp
from gssl_poison.attacks import Evasive, LabelNoise, make_attack
from gssl_poison.datasets import load_test_set
from gssl_poison.defenses import Learned, make_repair
from gssl_poison.defenses.learned import Belief, shares_of
from gssl_poison.metrics import predictions
from gssl_poison.problem import count_flips

GAMMAS = {"mnist-1-7": 5.0, "cifar10-cat-ship": 0.1, "reuters-corporate": 20.0}
VICTIMS = {
    "direct": "direct",
    "harmonic": "harmonic",
    "spreading": "spreading:alpha=0.2,method=gth",
}
# Equal to what is stored above; cheaper where only a few columns are wanted.
SOLVED = {**VICTIMS, "spreading": "spreading:alpha=0.2"}
ATTACKS = ("mir", "random", "total", "greedy", "adaptive", "none")
RELABEL = (
    "oracle-greedy",
    "relabel-mir",
    "relabel-total",
    "relabel-suspicion",
    "learned",
    "learned-automatic",
)
LABEL_MORE = ("label-random", "label-uncertainty", "label-influence")
# A forest is fitted for these: on CIFAR one takes 20 seconds.
WITH_FOREST = (
    "oracle-greedy",
    "relabel-mir",
    "learned",
    "learned-automatic",
    "label-random",
    "label-influence",
)
BUDGET = 0.1


class Watch:
    """The first ranking of `learned`, as an attacker would ask it: class codes in, scores out.

    Predictions that a correction would turn are counted anew after every flip that was made, not
    for every one that is only considered: they are behind by one flip at most.
    """

    def __init__(self, problem, victim):
        self.shares = list(shares_of(victim))
        self.belief = Belief.of(Learned(), problem, victim, {})
        self.made = problem.y.copy()
        self.turned = self.belief.turned(self.shares)

    def __call__(self, codes):
        self.belief.found = self.belief.codes = codes.copy()
        # Two: the flip that is considered now, and the one that was when they were counted.
        if (codes != self.made).sum() > 2:
            self.made = codes.copy()
            self.turned = self.belief.turned(self.shares)
        return self.belief.probability() * self.belief.change(self.turned)


def poison_of(attack, problem, direct, victim, seed):
    """Return the flips of an attack."""
    if attack == "random":
        return LabelNoise(random_state=seed).attack(problem, victim, BUDGET)
    if attack == "adaptive":
        watch = Evasive(Watch(problem, victim), n_watched=checks_of(problem))
        return watch.attack(problem, victim, BUDGET)
    return make_attack(attack).attack(problem, direct if attack == "mir" else victim, BUDGET)


def forest_error(problem, victim, X, test, seed):
    """Return the test error of a forest trained on the labels and on what is inferred from them."""
    from sklearn.ensemble import RandomForestClassifier

    codes = np.empty(problem.graph.n_points, dtype=np.int64)
    codes[problem.labeled] = problem.y
    codes[problem.unlabeled] = predictions(victim, problem)
    forest = RandomForestClassifier(n_estimators=100, max_features="sqrt", random_state=seed)
    forest.fit(X, codes)
    return float((forest.predict(test.X) != test.codes).mean())


class Test:
    """The points kept for testing, with class codes."""

    def __init__(self, name, classes):
        data = load_test_set(name)
        self.X = data.X
        place = {label: code for code, label in enumerate(classes)}
        self.codes = np.array([place[label] for label in data.truth.tolist()])


def checks_of(problem):
    """Return the effort: a third of the number of flips."""
    return max(1, count_flips(BUDGET, problem.y.size) // 3)


def checked(method, problem, reads, oracle, seed):
    """Return the checks of a repair, and their seconds."""
    started = time.perf_counter()
    checks = make_repair(method, random_state=seed).check(
        problem, reads, checks_of(problem), oracle
    )
    return checks, time.perf_counter() - started


def by_hand(problem, checks):
    """Return the checks of `learned-automatic` without what it changed by itself: `learned`."""
    answers = dict(zip(checks.points.tolist(), checks.answers.tolist(), strict=True))
    codes = [answers.get(p, c) for p, c in zip(problem.labeled.tolist(), problem.y, strict=True)]
    nothing = checks.automatic[:0]
    return replace(checks, problem=replace(problem, y=np.array(codes)), automatic=nothing)


def cell(split, victim_name, attacks, forests, label_more):
    """Return the rows of one split and one victim."""
    name, labeled, seed = split
    data = gp.load_dataset(name, labeled=labeled, seed=seed)
    graph = gp.RBFGraph(data.X, GAMMAS[name])
    problem = gp.Problem.of(graph, data.y, data.truth)
    direct = gp.Direct().fit(graph, problem.labeled).stored()
    victim = direct
    if victim_name != "direct":
        victim = gp.parse_propagator(VICTIMS[victim_name]).fit(graph, problem.labeled).stored()
    test = Test(name, problem.classes) if forests else None
    clean = gp.error_rate(victim, problem)
    forest_clean = forest_error(problem, victim, data.X, test, seed) if forests else None
    rows = []
    for attack in attacks:
        poisoned, made = problem, 0
        if attack != "none":
            poison = poison_of(attack, problem, direct, victim, seed)
            poisoned, made = problem.poisoned(poison), len(poison)
        before = gp.error_rate(victim, poisoned)
        with_forest = forests and attack == "mir"
        forest_before = forest_error(poisoned, victim, data.X, test, seed) if with_forest else None
        automatic = checked("learned-automatic", poisoned, victim, problem.truth, seed)
        for method in RELABEL + (LABEL_MORE if attack == "mir" and label_more else ()):
            if attack == "none" and method == "oracle-greedy":
                continue
            if method == "learned":
                checks = by_hand(poisoned, automatic[0])
                seconds = automatic[1]
            elif method == "learned-automatic":
                checks, seconds = automatic
            else:
                reads = direct if method == "relabel-mir" else victim
                checks, seconds = checked(method, poisoned, reads, problem.truth, seed)
            after, solver = checks.problem, victim
            if method in LABEL_MORE:
                solver = gp.parse_propagator(SOLVED[victim_name]).fit(graph, after.labeled)
            error = gp.error_rate(solver, after)
            row = {
                "data": name,
                "labeled": labeled,
                "victim": victim_name,
                "seed": seed,
                "attack": attack,
                "flips": made,
                "checks": checks.points.size,
                "method": method,
                "corrected": int((checks.answers != poisoned_codes(poisoned, checks)).sum()),
                "automatic": checks.automatic.size,
                "error_clean": round(clean, 5),
                "error_poisoned": round(before, 5),
                "error_repaired": round(error, 5),
                "removed": part(clean, before, error),
            }
            if with_forest and method in WITH_FOREST:
                forest = forest_error(after, solver, data.X, test, seed)
                row |= {
                    "forest_clean": round(forest_clean, 5),
                    "forest_poisoned": round(forest_before, 5),
                    "forest_repaired": round(forest, 5),
                    "forest_removed": part(forest_clean, forest_before, forest),
                }
            rows.append({**row, "seconds": seconds})
    return rows


def poisoned_codes(problem, checks):
    """Return the codes that the checked points had, -1 where they had none."""
    codes = np.full(problem.graph.n_points, -1)
    codes[problem.labeled] = problem.y
    return codes[checks.points]


def part(clean, before, after):
    """Return the part of the induced error that is gone, empty where there is none."""
    return round((before - after) / (before - clean), 4) if before > clean else ""


def by_case(rows, column):
    """Return the values of a column by (data, labelled part, victim, attack) and method."""
    found = {}
    for row in rows:
        if row.get(column) not in (None, ""):
            case = (row["data"], row["labeled"], row["victim"], row["attack"])
            found.setdefault(case, {}).setdefault(row["method"], []).append(float(row[column]))
    return found


def show(rows):
    """Print mean and deviation of the part removed, then regrets, then the cost on clean labels."""
    for column in ("removed", "forest_removed"):
        print(f"\n{column}: mean, deviation, seeds")
        for case, methods in by_case(rows, column).items():
            cells = [
                f"{method} {np.mean(v):.2f} {np.std(v, ddof=1) if len(v) > 1 else 0.0:.2f} {len(v)}"
                for method, v in methods.items()
            ]
            print("  ", *case, "|", "; ".join(cells))
    print("\nregret at the smallest part labelled: oracle less method, means over seeds")
    cases = {
        case: {method: float(np.mean(v)) for method, v in methods.items()}
        for case, methods in by_case(rows, "removed").items()
        if case[1] == "0.05" and case[3] != "none"
    }
    for group in [*dict.fromkeys((d, v) for d, _, v, _ in cases), None]:
        mine = [m for (d, _, v, _), m in cases.items() if group in (None, (d, v))]
        cells = [
            f"{method} {np.mean([m['oracle-greedy'] - m[method] for m in mine]):.3f}"
            for method in RELABEL[1:]
        ]
        print("  ", *(group or ("all",)), "|", "; ".join(cells))
    worst = {case: m["relabel-mir"] - m["learned"] for case, m in cases.items()}
    for case in sorted(worst, key=worst.get)[-3:]:
        print("   learned removes less than relabel-mir by", f"{worst[case]:.3f}", *case)
    print("\nclean labels: error repaired less error before, in points, and labels changed")
    for row in rows:
        if row["attack"] == "none" and row["method"] == "learned-automatic":
            cost = 100.0 * (float(row["error_repaired"]) - float(row["error_clean"]))
            named = (row["data"], row["labeled"], row["victim"], row["seed"])
            print("  ", *named, f"{cost:+.2f}", row["automatic"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", choices=GAMMAS)
    parser.add_argument("--labeled", default="0.05,0.15,0.25")
    parser.add_argument("--victims", default=",".join(VICTIMS))
    parser.add_argument("--seeds", default="1,2,3,4,5")
    parser.add_argument("--forests", default="direct", help="victims a forest learns from")
    parser.add_argument("--forest-seeds", default="1,2,3")
    parser.add_argument("--label-more-seeds", default="1,2", help="for victims but direct")
    parser.add_argument("--show", action="store_true", help="print what is measured already")
    options = parser.parse_args()
    name = options.dataset
    rows = read_rows(f"repair-{name}")
    if options.show:
        show(rows)
        return
    done = {(r["labeled"], r["victim"], r["seed"]) for r in rows}
    for labeled in options.labeled.split(","):
        for seed in options.seeds.split(","):
            for victim in options.victims.split(","):
                if (labeled, victim, seed) in done:
                    continue
                attacks = ATTACKS if float(labeled) <= 0.05 else ("mir",)
                started = time.perf_counter()
                forests = victim in options.forests.split(",")
                forests = forests and seed in options.forest_seeds.split(",")
                more = victim == "direct" or seed in options.label_more_seeds.split(",")
                rows += cell((name, float(labeled), int(seed)), victim, attacks, forests, more)
                write_rows(f"repair-{name}", rows)
                print(labeled, victim, seed, f"{time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
