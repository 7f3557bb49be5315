"""RQ1 to RQ4 as `gssl-poison reproduce` runs them, kept as results of this repository.

    GSSL_POISON_DATA=... python benchmarks/reproduce.py all --preset replication --out DIR

Takes the arguments of `gssl-poison reproduce`, runs it, and writes the rows of each preset that the
folder holds to benchmarks/results/reproduction-PRESET-DATASET.csv, beside those of cells that it
does not hold, and the wall-clock seconds of what this run measured to reproduction-seconds.csv. A
run that was stopped goes on; its seconds are then those of the part.
"""

from __future__ import annotations

import datetime
import io
import json
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path

import pandas as pd
from common import read_rows, write_rows

from gssl_poison.cli import app

# What says nothing to a reader. The machine and the day are those of the measurement.
LEFT_OUT = ("key", "data", "finished")


def main():
    arguments = ["reproduce", *sys.argv[1:], "--json"]
    printed = io.StringIO()
    started, began = time.perf_counter(), datetime.datetime.now(datetime.UTC)
    with redirect_stdout(printed):
        status = app(arguments, standalone_mode=False)
    seconds = time.perf_counter() - started
    if status:
        sys.exit(status)
    done = json.loads(printed.getvalue())
    table = pd.read_parquet(Path(done["folder"]) / "results.parquet")
    for (preset, dataset), rows in table.groupby(["preset", "dataset"]):
        name = f"reproduction-{preset}-{dataset}"
        earlier = {_cell(row): row for row in read_rows(name)}
        kept = {}
        for record in rows.to_dict(orient="records"):
            row = {k: _text(v) for k, v in record.items() if k not in LEFT_OUT}
            row["date"] = record["finished"][:10]
            if datetime.datetime.fromisoformat(record["finished"]) < began.replace(microsecond=0):
                # Measured by an earlier run, whose command is there if it wrote the row.
                before = earlier.get(_cell(row), {})
                same = all(before.get(k) == v for k, v in row.items())
                row["command"] = before["command"] if same else "an earlier run of the same folder"
            kept[_cell(row)] = row
        beside = {cell: row for cell, row in earlier.items() if cell not in kept}
        others = {row["versions"] for row in beside.values()} - set(rows["versions"])
        if others:
            sys.exit(
                f"{name}.csv has rows of other versions ({', '.join(others)}) that this folder "
                "does not hold; measure them again, or remove the file."
            )
        write_rows(name, [row for _, row in sorted({**beside, **kept}.items())])
    if done["measured"]:
        stages = {**done["seconds"], "whole command": seconds}
        write_rows(
            "reproduction-seconds",
            [
                *read_rows("reproduction-seconds"),
                *(
                    {"stage": stage, "seconds": value, "cells": done["measured"]}
                    for stage, value in stages.items()
                ),
            ],
        )


def _cell(row):
    """Return what names a cell."""
    names = ("kind", "dataset", "labeled", "seed", "victim", "attack", "budget", "repair", "model")
    return tuple(row[name] for name in names)


def _text(value):
    """Return a value as it stands in a CSV: six significant digits, nothing where there is none."""
    if value is None or pd.isna(value):
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
