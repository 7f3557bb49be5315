"""The whole process: cold (kernels compiled), warm, and what it spends outside reading and ranking.

python benchmarks/bench_process.py [--runs 7]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import quantiles, write_rows

import gssl_poison as gp

COMMANDS = (
    ["--help"],
    ["rank", "mnist-1-7", "--labeled", "0.05", "--gamma", "5", "--json"],
    ["rank", "mnist-1-7", "--labeled", "0.05", "--json"],
    ["rank", "digits-1-7", "--labeled", "0.1", "--json"],
    ["demo"],
)


def run(arguments, cache, folder):
    """Run once; return the seconds and what was printed."""
    program = Path(sys.executable).with_name("gssl-poison")
    started = time.perf_counter()
    done = subprocess.run(
        [program, *arguments],
        check=True,
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "NUMBA_CACHE_DIR": cache},
    )
    return time.perf_counter() - started, done.stdout


def reading_and_ranking(arguments, printed):
    """Return the seconds that reading the data and ranking took, measured apart and as printed."""
    if "--json" not in arguments:
        return None
    settings = json.loads(printed)["settings"]
    started = time.perf_counter()
    gp.load_dataset(arguments[1], labeled=float(arguments[3]))
    return time.perf_counter() - started + settings["seconds"] + settings["seconds_gamma"]


def main():
    """Run every command cold and warm."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args()
    rows = []
    for arguments in COMMANDS:
        with tempfile.TemporaryDirectory() as cache, tempfile.TemporaryDirectory() as folder:
            cold, _ = run(arguments, cache, folder)
            warm, inside = [], []
            for _ in range(options.runs):
                seconds, printed = run(arguments, cache, folder)
                warm.append(seconds)
                inside.append(reading_and_ranking(arguments, printed))
        median, low, high = quantiles(warm)
        row = {
            "process": " ".join(["gssl-poison", *arguments]),
            "cold s": cold,
            "warm median s": median,
            "warm q1 s": low,
            "warm q3 s": high,
            "runs": len(warm),
        }
        if inside[0] is not None:
            row["warm, outside reading and ranking, s"] = median - quantiles(inside)[0]
        print(row)
        rows.append(row)
    write_rows("process", rows)


if __name__ == "__main__":
    main()
