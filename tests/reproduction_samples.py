"""A made-up but complete table of experiments, for the tests of their comparison and report."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from gssl_poison.experiments.cells import Cell
from gssl_poison.experiments.paper import printed
from gssl_poison.experiments.questions import QUESTIONS, Plan

DATASETS = ("mnist-1-7", "cifar10-cat-ship", "reuters-corporate")
POINTS = {"mnist-1-7": 13007, "cifar10-cat-ship": 10000, "reuters-corporate": 6000}
VOID = (
    "K as published: its row sums, which must be 1, span -4.1e+106 to 3.2e+110: it is numerically "
    "void (D - S with self-loops cancels in float64), and what is chosen by it says nothing about "
    "the method"
)
ROUGH = (
    "K as published: its row sums, which must be 1, span 0.9912 to 1.003: it is numerically void"
)
# What each attack adds at a fifth of the labels flipped, and how much of it forests keep.
_ADDS = {"none": 0.0, "mir": 0.42, "greedy": 0.12, "probabilistic": 0.18, "random": 0.1}
_KEEPS = {"transductive": 1.0, "forest": 0.8, "mlp": 0.7}
_REMOVES = {"none": 0.0, "relabel": 0.55, "label-more": 0.08}
_PUBLISHED = ("greedy", "probabilistic")


def wave(*parts: object) -> float:
    """Give a number from -1 to 1 that is always the same for the same parts."""
    text = "/".join(map(str, parts))
    return math.sin(sum((k + 1) * ord(letter) for k, letter in enumerate(text)))


def error_of(cell: Cell) -> float:
    """Make an error up: near the printed one for a replication, else by a rule."""
    paper = printed(cell).get("error")
    size = 0.0004 if cell.model == "transductive" and cell.attack in ("none", "mir") else 0.02
    if cell.preset == "replication" and paper is not None:
        return round(max(0.0, paper + size * wave(cell)), 6)
    clean = {"mnist-1-7": 0.01, "cifar10-cat-ship": 0.19}.get(cell.dataset, 0.08)
    steep = 0.6 if cell.victim == "spreading" else 1.0
    adds = _ADDS[cell.attack] * cell.budget / 0.2 * steep * _KEEPS[cell.model]
    left = adds * (1 - _REMOVES[cell.repair])
    return round(max(0.0, clean + left + 0.004 * wave(cell)), 6)


def figures_of(cell: Cell) -> dict[str, Any]:
    """Make up what is measured of a cell."""
    points = POINTS.get(cell.dataset, 300)
    labels = int(cell.labeled * points)
    row: dict[str, Any] = {"labels": labels, "unlabeled": points - labels}
    if cell.kind == "correlation":
        at = 0.9 if cell.victim == "propagation" else 0.55
        for name, shift in (("kendall", 0.0), ("pearson", 0.03)):
            for ending, less in (("", 0.0), ("_argmax", 0.08)):
                value = at + shift - less + 0.02 * wave(cell, name, ending)
                row[f"{name}{ending}"] = value
                row[f"{name}{ending}_p"] = 1e-30
                row[f"{name}{ending}_low"] = value - 0.09
                row[f"{name}{ending}_high"] = value + 0.09
    elif cell.kind == "seconds":
        base = {"mir": 0.05, "greedy": 3.0, "probabilistic": 0.9}[cell.attack]
        row |= {"seconds_matrix": math.nan if cell.attack == "mir" else 0.6}
        row |= {"seconds_median": base, "seconds_deviation": base / 20, "timings": 3, "flips": 20}
    else:
        row["error"] = error_of(cell)
        row["flips"] = int(cell.budget * labels)
        if cell.attack == "greedy" and cell.preset == "replication":
            row["flips"] = min(row["flips"], labels // 12)
        if cell.attack in _PUBLISHED and cell.preset == "replication":
            row["note"] = VOID if cell.dataset == "mnist-1-7" else ROUGH
    return row


def row_of(cell: Cell, **more: object) -> dict[str, Any]:
    """Make up a row."""
    corrected = cell.preset == "corrected"
    return {
        **asdict(cell),
        "note": "",
        "gamma": 5.0,
        "victim_is": "Harmonic()" if corrected else "Propagation(n_iter=10)",
        "device": "cpu",
        "data": f"sha256 {cell.dataset}",
        "versions": "gssl-poison 0.1.0, numpy 2.3",
        "machine": "a processor, 2 threads",
        "seconds": {"forest": 9.0, "mlp": 4.0}.get(cell.model, 0.3),
        "finished": "2026-11-21T12:00:00+00:00",
        "key": "0" * 32,
        **figures_of(cell),
        **more,
    }


def cells_of(
    questions: Sequence[str] = QUESTIONS,
    presets: Iterable[str] = ("replication", "corrected"),
    datasets: tuple[str, ...] = DATASETS,
    repeats: int = 3,
    **plan: Any,
) -> list[Cell]:
    """List the cells of a run; a replication has one seed."""
    return [
        cell
        for preset in presets
        for cell in Plan(
            tuple(questions),
            preset,
            datasets,
            repeats=1 if preset == "replication" else repeats,
            **plan,
        ).cells()
    ]


def sample_table(*args: Any, more: dict[str, object] | None = None, **kwargs: Any) -> pd.DataFrame:
    """Make up the table of a run; `more` replaces columns of every row."""
    return pd.DataFrame([row_of(cell, **(more or {})) for cell in cells_of(*args, **kwargs)])
