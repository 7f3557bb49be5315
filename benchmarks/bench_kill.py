"""Kill `gssl-poison reproduce` at random moments, damage what it saved, and compare its tables.

python benchmarks/bench_kill.py [--kills 20] [--seed 0] [--jobs -1]

One run from beginning to end. Then another into a new folder, killed with SIGKILL, its workers with
it, again and again, each time gone on with, and at last left to end by itself. A quarter of the
kills fall into the start of a run, before it measures anything; the others after its first new
cell, at random moments that together are spread over the length of the undisturbed run. Then three
files are truncated, changed in a byte and emptied, and it is run once more. All must have the same
results.csv and results.parquet, byte by byte but for the columns of times, and no file that was
finished before a kill may be gone or changed after it.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from common import write_rows

from gssl_poison.experiments.store import ASIDE, CELLS
from gssl_poison.experiments.tables import TIMES

# Part of the kills that fall before the first new cell of a run.
_EARLY = 0.25
ASKED = (
    *("all", "--datasets", "digits-1-7", "--labeled", "0.1,0.25", "--budgets", "0.1,0.2"),
    *("--preset", "replication,corrected", "--repeats", "1"),
)


def command(folder, jobs):
    """Return the command line of a run."""
    program = Path(sys.executable).with_name("gssl-poison")
    return [program, "reproduce", *ASKED, "--n-jobs", str(jobs), "--out", folder]


def start(folder, jobs):
    """Start a run in a process group of its own."""
    return subprocess.Popen(
        command(folder, jobs),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(folder, jobs):
    """Run to the end; return seconds until the first cell was saved, all seconds, and stderr."""
    started, first = time.perf_counter(), None
    process, before = start(folder, jobs), count_cells(folder)
    while first is None and process.poll() is None:
        if count_cells(folder) > before:
            first = time.perf_counter() - started
        time.sleep(0.02)
    _, said = process.communicate()
    if process.returncode:
        raise RuntimeError(f"a run that nobody killed ended with {process.returncode}: {said}")
    return first, time.perf_counter() - started, said


def kill(folder, jobs, seconds, working):
    """Kill a run some seconds after its start or its first new cell; say whether it was alive."""
    before = count_cells(folder)
    process = start(folder, jobs)
    while working and process.poll() is None and count_cells(folder) <= before:
        time.sleep(0.005)
    try:
        process.wait(timeout=seconds)
        alive = False
    except subprocess.TimeoutExpired:
        # The group: workers that live on would finish what was killed.
        os.killpg(process.pid, signal.SIGKILL)
        alive = True
    process.communicate()
    return alive


def count_cells(folder):
    """Return how many cells are finished; a run may move damaged ones away meanwhile."""
    return sum(1 for _ in (folder / CELLS).glob("[!.]*.json"))


def cell_files(folder):
    """Return the finished cells, bytes by name, of a folder that nobody writes to."""
    if not (folder / CELLS).is_dir():
        return {}
    return {path.name: path.read_bytes() for path in (folder / CELLS).glob("[!.]*.json")}


def half_written(folder):
    """Return the number of files that kills left behind."""
    return sum(1 for _ in (folder / CELLS).glob(".*"))


def tables(folder):
    """Return both tables as bytes, without the columns of times."""
    csv = pd.read_csv(folder / "results.csv", dtype=str, keep_default_na=False)
    parquet = io.BytesIO()
    frame = pd.read_parquet(folder / "results.parquet").drop(columns=list(TIMES))
    frame.to_parquet(parquet, index=False)
    return csv.drop(columns=list(TIMES)).to_csv(index=False).encode(), parquet.getvalue()


def damage(folder, rng):
    """Truncate one file, flip a byte of another, empty a third; return their names."""
    names = sorted(cell_files(folder))
    chosen = [names[i] for i in rng.choice(len(names), 3, replace=False)]
    for name, how in zip(chosen, ("truncated", "byte flipped", "emptied"), strict=True):
        path = folder / CELLS / name
        raw = bytearray(path.read_bytes())
        place = int(rng.integers(1, len(raw) - 1))
        if how == "truncated":
            raw = raw[:place]
        elif how == "emptied":
            raw = bytearray()
        else:
            raw[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(raw)
        print(f"{how}: {name}")
    return chosen


def kill_often(folder, options, first, alone, rng):
    """Kill runs one after another; return how many finished cells were lost, and how many changed.

    Runs that end before their kill are not counted. What is complete can be killed while it starts,
    reads what is there and writes its report.
    """
    facts = {"lost": 0, "changed": 0}
    # Every run gets on by a cell at least, often by several that come together.
    share, count, complete = 0.5 * (alone - first) / options.kills, 0, False
    while count < options.kills:
        working = not complete and rng.random() >= _EARLY
        seconds = rng.uniform(0.0, share if working else first / 4.0)
        before = cell_files(folder)
        alive = kill(folder, options.jobs, seconds, working)
        count, complete = count + alive, complete or not alive
        after = cell_files(folder)
        facts["lost"] += sum(name not in after for name in before)
        facts["changed"] += sum(after.get(name, raw) != raw for name, raw in before.items())
        what = f"kill {count}" if alive else "ended before a kill"
        moment = "its first new cell" if working else "its start"
        print(
            f"{what}, {seconds:.2f} s after {moment}: {len(before)} -> {len(after)} cells",
            flush=True,
        )
    return facts


def main():
    """Run, kill, damage, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=-1)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    work = Path(tempfile.mkdtemp(prefix="bench-kill-"))
    first, alone, _ = finish(work / "undisturbed", options.jobs)
    expected, n_cells = tables(work / "undisturbed"), len(cell_files(work / "undisturbed"))
    print(
        f"undisturbed: {n_cells} cells in {alone:.1f} s, the first after {first:.1f} s", flush=True
    )

    killed = work / "killed"
    started = time.perf_counter()
    facts = kill_often(killed, options, first, alone, rng)
    at_last_kill, left = cell_files(killed), half_written(killed)
    finish(killed, options.jobs)
    spent = time.perf_counter() - started
    after = cell_files(killed)
    facts["lost"] += sum(name not in after for name in at_last_kill)
    facts["changed"] += sum(after.get(name, raw) != raw for name, raw in at_last_kill.items())
    same = [one == two for one, two in zip(tables(killed), expected, strict=True)]
    rows = [
        {
            "what": "killed",
            "kills": options.kills,
            "cells": n_cells,
            "cells at the last kill": len(at_last_kill),
            "finished cells lost": facts["lost"],
            "finished cells measured again": facts["changed"],
            "half-written files left": left,
            "csv identical": same[0],
            "parquet identical": same[1],
            "undisturbed s": alone,
            "with kills s": spent,
        }
    ]

    names = damage(killed, rng)
    whole = {name: raw for name, raw in after.items() if name not in names}
    *_, said = finish(killed, options.jobs)
    again = cell_files(killed)
    aside = sorted(path.name for path in (killed / ASIDE).iterdir())
    same = [one == two for one, two in zip(tables(killed), expected, strict=True)]
    rows.append(
        {
            "what": "damaged",
            "cells": n_cells,
            "damaged files": len(names),
            "set aside": sum(f"{name.removesuffix('.json')}-1.json" in aside for name in names),
            "said": said.count("is damaged"),
            "recomputed": sum(name in again for name in names),
            "finished cells lost": sum(name not in again for name in whole),
            "finished cells measured again": sum(
                again.get(n, raw) != raw for n, raw in whole.items()
            ),
            "csv identical": same[0],
            "parquet identical": same[1],
        }
    )
    for row in rows:
        print(row)
    write_rows("kill", rows)
    shutil.rmtree(work)
    right = all(row["csv identical"] and row["parquet identical"] for row in rows)
    if not right or any(row["finished cells lost"] for row in rows):
        sys.exit("the tables differ, or cells were lost")


if __name__ == "__main__":
    main()
