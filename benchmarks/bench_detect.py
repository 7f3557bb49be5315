"""Detection: which scores of labels find those that an attacker, or tired people, got wrong.

    pip install -e ".[bench]"
    GSSL_POISON_DATA=... python benchmarks/bench_detect.py [mnist-1-7 ...] [--seeds 1,2,3,4,5]

10 % of the labels are flipped by the attacks of bench_repair on the one-step victim; on CIFAR-10
also the labels that people gave (CIFAR-10N), of which only cat and ship are kept: points with
another label become unlabelled. Every detector of the table (`learned` before the first answer) and
cleanlab with out-of-fold probabilities of two models that see the labelled points only. AUC,
precision among as many labels as are wrong and among those a person checks (a third of that), the
natural threshold's figures, and those of the threshold with the best F1, which only one who knows
the truth can choose. Finished cells are kept: run again to go on.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from bench_repair import GAMMAS, poison_of
from common import RESULTS, write_rows

import gssl_poison as gp
from gssl_poison.defenses import DETECTORS, Learned
from gssl_poison.defenses.detection import best_threshold, detection_figures

ATTACKS = ("mir", "random", "total", "greedy", "adaptive")
# What CIFAR-10N calls them: one person's, the vote of three, and the worst of three.
PEOPLE = {
    "people-random": "random_label1",
    "people-aggregated": "aggre_label",
    "people-worst": "worse_label",
}
ON_PEOPLE = "cifar10-cat-ship"
CIFAR_CODES = (3, 8)  # cat, ship
FIGURES = ("auc", "at_wrong", "at_checks", "precision", "recall", "f1", "best_f1")


class Split:
    """The problem of one data set and seed, the one-step victim, and the right codes."""

    def __init__(self, name, labeled, seed):
        self.name, self.seed = name, seed
        self.data = gp.load_dataset(name, labeled=labeled, seed=seed)
        graph = gp.RBFGraph(self.data.X, GAMMAS[name])
        self.problem = gp.Problem.of(graph, self.data.y, self.data.truth)
        self.victim = gp.Direct().fit(graph, self.problem.labeled).stored()

    def attacked(self, attack):
        """Return the problem as it is after an attack, and a fitted victim."""
        poison = poison_of(attack, self.problem, self.victim, self.victim, self.seed)
        return self.problem.poisoned(poison), self.victim

    def labelled_by_people(self, who):
        """Return the problem with the labels that people gave, and a fitted victim."""
        folder = Path(os.environ["GSSL_POISON_DATA"])
        with np.load(folder / "cifar10_cat_ship.npz") as file:
            codes, index = file["y_train"], file["train_index"]
        # The data set holds all cats, then all ships, each in the order of the file.
        index = index[np.concatenate([np.flatnonzero(codes == c) for c in CIFAR_CODES])]
        with np.load(folder / "cifar10n.npz") as file:
            clean, given = file["clean_label"][index], file[PEOPLE[who]][index]
        assert (clean == np.array(CIFAR_CODES)[self.problem.truth]).all()
        labeled = self.problem.labeled
        kept = labeled[np.isin(given[labeled], CIFAR_CODES)]
        y = np.searchsorted(CIFAR_CODES, given[kept])
        problem = replace(self.problem, labeled=kept, y=y)
        return problem, gp.Direct().fit(problem.graph, kept).stored()


def judged(problem, victim, seed):
    """Yield the name of every method, its scores, which labels it takes for wrong, and seconds."""
    for name, detector in DETECTORS.items():
        started = time.perf_counter()
        score = detector.score(problem, victim)
        yield name, score, score > detector.threshold, time.perf_counter() - started
    started = time.perf_counter()
    # An order to look at labels in, without a threshold.
    score = Learned().priority(problem, victim)
    yield "learned-priority", score, None, time.perf_counter() - started
    for model in ("knn", "logistic"):
        started = time.perf_counter()
        score, issues = cleanlab_says(model, problem, seed)
        yield f"cleanlab-{model}", score, issues, time.perf_counter() - started


def cleanlab_says(model, problem, seed):
    """Return one less cleanlab's quality of every label, and what it calls label issues."""
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.neighbors import KNeighborsClassifier

    models = {"knn": KNeighborsClassifier(10), "logistic": LogisticRegression(max_iter=1000)}
    X, y = problem.graph.X[problem.labeled], np.array(problem.y)
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    chances = cross_val_predict(models[model], X, y, cv=folds, method="predict_proba")
    ranked = find_label_issues(y, chances, return_indices_ranked_by="self_confidence", n_jobs=1)
    return 1.0 - get_label_quality_scores(y, chances), np.isin(np.arange(y.size), ranked)


def figures_of(score, flagged, wrong):
    """Return how well scores and marks find the wrong labels; empty where none is wrong."""
    n_wrong = int(wrong.sum())
    if n_wrong == 0:
        return {"flagged": "" if flagged is None else int(flagged.sum())}
    at_wrong = detection_figures(score, wrong, n_wrong, threshold=0.0)
    at_checks = detection_figures(score, wrong, max(1, n_wrong // 3), threshold=0.0)
    best = best_threshold(score, wrong)
    row = {
        "auc": round(at_wrong.auc, 4),
        "at_wrong": round(at_wrong.precision_at_budget, 4),
        "at_checks": round(at_checks.precision_at_budget, 4),
        "best_precision": round(best.precision, 4),
        "best_recall": round(best.recall, 4),
        "best_f1": round(best.f1, 4),
    }
    if flagged is None:
        return row
    natural = detection_figures(flagged.astype(float), wrong, n_wrong, threshold=0.5)
    return row | {
        "flagged": natural.n_flagged,
        "precision": round(natural.precision, 4),
        "recall": round(natural.recall, 4),
        "f1": round(natural.f1, 4),
    }


def cell(split, labeled, attack):
    """Return the rows of one split and one attack."""
    people = attack in PEOPLE
    problem, victim = split.labelled_by_people(attack) if people else split.attacked(attack)
    wrong = problem.y != problem.truth[problem.labeled]
    return [
        {
            "data": split.name,
            "labeled": labeled,
            "seed": split.seed,
            "attack": attack,
            "labels": problem.y.size,
            "dropped": split.problem.y.size - problem.y.size,
            "wrong": int(wrong.sum()),
            "method": method,
            **figures_of(score, flagged, wrong),
            "seconds": seconds,
        }
        for method, score, flagged, seconds in judged(problem, victim, split.seed)
    ]


def finished():
    """Return the rows of earlier runs."""
    path = RESULTS / "detect.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def show(rows):
    """Print one table a data set, part and attack: means over the seeds."""
    groups = {}
    for row in rows:
        key = (row["data"], str(row["labeled"]), row["attack"])
        groups.setdefault(key, {}).setdefault(row["method"], []).append(row)
    for (data, labeled, attack), methods in groups.items():
        one = next(iter(methods.values()))
        labels, wrong, dropped = (
            np.mean([float(r[k]) for r in one]) for k in ("labels", "wrong", "dropped")
        )
        print(
            f"\n{data}, {labeled} labelled, {attack}, {len(one)} seeds: {wrong:.1f} of "
            f"{labels:.1f} labels wrong, {dropped:.1f} dropped"
        )
        print(" " * 26 + "".join(f"{name:>10}" for name in FIGURES))
        for method, found in methods.items():
            cells = []
            for name in FIGURES:
                values = [float(r[name]) for r in found if r.get(name, "") != ""]
                cells.append(f"{np.mean(values):10.3f}" if values else f"{'-':>10}")
            print(f"  {method:24}" + "".join(cells))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("datasets", nargs="*", default=list(GAMMAS), help=", ".join(GAMMAS))
    parser.add_argument("--labeled", default="0.05")
    parser.add_argument("--seeds", default="1,2,3,4,5")
    parser.add_argument("--attacks", default=",".join((*ATTACKS, *PEOPLE)))
    options = parser.parse_args()
    rows = finished()
    done = {(r["data"], r["labeled"], r["seed"], r["attack"]) for r in rows}
    for name in options.datasets:
        for labeled in options.labeled.split(","):
            for seed in options.seeds.split(","):
                split = None
                for attack in options.attacks.split(","):
                    people_elsewhere = attack in PEOPLE and name != ON_PEOPLE
                    if people_elsewhere or (name, labeled, seed, attack) in done:
                        continue
                    started = time.perf_counter()
                    split = split or Split(name, float(labeled), int(seed))
                    rows += cell(split, labeled, attack)
                    write_rows("detect", rows)
                    spent = time.perf_counter() - started
                    print(name, labeled, seed, attack, f"{spent:.0f} s", flush=True)
    show(rows)


if __name__ == "__main__":
    main()
