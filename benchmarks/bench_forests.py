"""How far a forest's error moves with its seed, on the labels of cells off the printed error.

    GSSL_POISON_DATA=... python benchmarks/bench_forests.py DIR [--cells 3] [--seeds 5]

DIR holds the finished cells of `gssl-poison reproduce all --preset replication`. Of each data set
it takes the cells, clean or after MIR, whose forest is furthest from the printed error, trains
forests of other seeds on the same labels, and writes what they span, to results/forest-seeds.csv.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from common import write_rows
from joblib import Parallel, delayed

from gssl_poison.experiments.cells import Cell
from gssl_poison.experiments.inductive import model_error
from gssl_poison.experiments.measuring import key_for
from gssl_poison.experiments.paper import printed, printed_cells
from gssl_poison.experiments.store import Store
from gssl_poison.experiments.workplace import prepare

DATASETS = ("mnist-1-7", "cifar10-cat-ship")


def furthest(store, dataset, count):
    """Return the cells furthest from the printed error, with our error and theirs."""
    found = []
    for cell in printed_cells():
        if (cell.dataset, cell.model, cell.repair) != (dataset, "forest", "none"):
            continue
        if cell.attack in ("none", "mir") and "error" in printed(cell):
            ours = store.load(key_for(cell, "cpu"))
            if ours is not None:
                found.append((cell, ours.row["error"], printed(cell)["error"]))
    return sorted(found, key=lambda one: -abs(one[1] - one[2]))[:count]


def error_of(folder: Path, cell: Cell, seed: int) -> float:
    """Train one forest on the labels of a cell."""
    data = prepare(cell.dataset)
    codes = Store(folder).load(key_for(cell.inferred_by, "cpu")).codes
    return model_error(
        "forest", (data.X, codes), (data.X_test, data.codes_test), seed=seed, device="cpu"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cells", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    store, rows = Store(options.folder), []
    for dataset in DATASETS:
        for cell, ours, theirs in furthest(store, dataset, options.cells):
            errors = Parallel(n_jobs=-1)(
                delayed(error_of)(options.folder, cell, seed) for seed in range(options.seeds)
            )
            rows.append(
                {
                    "data": dataset,
                    "labeled": cell.labeled,
                    "attack": cell.attack,
                    "budget": cell.budget,
                    "printed": 100 * theirs,
                    "seed_2020": 100 * ours,
                    "lowest": 100 * min(errors),
                    "mean": 100 * float(np.mean(errors)),
                    "highest": 100 * max(errors),
                    "seeds": options.seeds,
                }
            )
            print(rows[-1], flush=True)
    if not rows:
        raise SystemExit(f"{options.folder} holds no replicated forests that are printed.")
    print(pd.DataFrame(rows).to_string(index=False))
    write_rows("forest-seeds", rows)


if __name__ == "__main__":
    main()
