"""Measuring cells: from a group's matrices to rows that are saved one by one."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gssl_poison.attacks import make_attack
from gssl_poison.attacks.published import Published
from gssl_poison.exceptions import GsslPoisonError, InputError
from gssl_poison.experiments.cells import Cell, key_of
from gssl_poison.experiments.correlation import correlations, sampled_correlations
from gssl_poison.experiments.inductive import model_error, settings_of
from gssl_poison.experiments.machine import machine_name, versions_of
from gssl_poison.experiments.store import Finished, Store
from gssl_poison.experiments.studies import roles_of, study_of
from gssl_poison.experiments.workplace import Workplace, fingerprint_of, prepare
from gssl_poison.influence import measure_influence
from gssl_poison.metrics import flip_errors, predictions_after
from gssl_poison.problem import Problem
from gssl_poison.propagation import Fitted
from gssl_poison.propagation.walks import shared_weights

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# How often an attack is timed: all of it where that is short, else only what follows its matrix.
_TIMINGS_WHOLE, _TIMINGS = 5, 3
_MORE = "label-more"


@dataclass(frozen=True)
class Task:
    """Cells of one group that are still to be measured, and where to.

    A worker needs nothing else: it reads the data by name, and saves every row itself.
    """

    cells: tuple[Cell, ...]
    folder: Path
    device: str = "cpu"
    owner: int = 0  # the process that runs the plan, and where
    host: str = ""


def settings_for(cell: Cell, device: str) -> dict[str, Any]:
    """Return all that changes a cell's figures besides itself, for its key.

    The number of jobs and of threads is no part of it: it must not change a figure.
    """
    return {
        "gamma": study_of(cell.dataset).gamma,
        "victim": roles_of(cell.victim, cell.preset).text,
        "model": settings_of(cell.model),
        "data": fingerprint_of(cell.dataset),
        "versions": versions_of(
            cupy=device == "cuda", torch=device == "cuda" and cell.model == "mlp"
        ),
        # Of a forest, the device that inferred its labels.
        "device": device,
        # A time is one of the machine it was taken on, and of how it was taken.
        **(
            {"machine": machine_name(), "timed": "warm, K on all threads"}
            if cell.kind == "seconds"
            else {}
        ),
    }


def key_for(cell: Cell, device: str) -> str:
    """Return the key that a cell has with this software and these data."""
    return key_of(cell, settings_for(cell, device))


def measure_group(task: Task) -> None:
    """Measure correlations and transductive errors of one group, saving each as it is finished."""
    name, preset, seed = task.cells[0].group
    parts = tuple(sorted({cell.labeled for cell in task.cells}))
    place = Workplace(prepare(name), preset, seed, parts, task.device)
    clock = time.perf_counter()
    refused: GsslPoisonError | None = None
    with shared_weights():
        for labeled in parts:
            for some in _together([cell for cell in task.cells if cell.labeled == labeled]):
                try:
                    for cell, figures, codes in _figures(place, some):
                        now = time.perf_counter()
                        save(task, cell, figures, now - clock, codes)
                        clock = now
                except GsslPoisonError as error:
                    # A K that memory does not hold, or that is singular, is no reason to go
                    # without the other cells.
                    refused = refused or error
            place.forget(labeled)
    if refused is not None:
        raise refused


def measure_models(task: Task) -> None:
    """Train one model on the labels of some cells that are equal; save the error of all."""
    clock = time.perf_counter()
    first, *others = task.cells
    store = Store(task.folder)
    parent = store.load(key_for(first.inferred_by, task.device))
    if parent is None or parent.codes is None:
        raise InputError(
            f"the inferred labels of {first.inferred_by} are gone from {task.folder}; "
            "run the command again, and they are inferred anew."
        )
    data = prepare(first.dataset)
    error = model_error(
        first.model,
        (data.X, parent.codes),
        (data.X_test, data.codes_test),
        seed=first.seed,
        device=task.device,
    )
    seconds = time.perf_counter() - clock
    for cell in (first, *others):
        parent = store.load(key_for(cell.inferred_by, task.device))
        figures = {k: v for k, v in (parent.row if parent else {}).items() if k in _OF_LABELS} | {
            "error": error
        }
        save(task, cell, figures, seconds if cell is first else 0.0)


# What a model's row says of its labels, as the transductive one.
_OF_LABELS = ("labels", "unlabeled", "flips", "checks")


def measure_seconds(task: Task) -> None:
    """Time the attacks of one data set on their own, each from the features to its flips."""
    matrices: dict[float, tuple[Problem, Fitted | Published, float]] = {}
    refused: GsslPoisonError | None = None
    for cell in task.cells:
        clock = time.perf_counter()
        try:
            figures = _seconds(cell, task.device, matrices)
        except GsslPoisonError as error:
            refused = refused or error
            continue
        save(task, cell, figures, time.perf_counter() - clock)
    if refused is not None:
        raise refused


def _seconds(
    cell: Cell, device: str, matrices: dict[float, tuple[Problem, Fitted | Published, float]]
) -> dict[str, Any]:
    """Return the times of one attack; what it reads is made once for a part labelled."""
    where = (prepare(cell.dataset), cell.preset, cell.seed, (cell.labeled,), device)
    place = Workplace(*where)
    attack = make_attack(cell.attack, preset=cell.preset, random_state=cell.seed)
    problem = place.problem(cell.labeled)
    # Data as small as the digits have fewer labels than the paper flips.
    budget = min(int(cell.budget), problem.y.size)
    seconds, before, note = [], 0.0, ""
    if cell.attack == "mir":
        # Once before it counts: a first call reads compiled code from the disk.
        attack.attack(problem, place.direct(cell.labeled), budget)
        for _ in range(_TIMINGS_WHOLE):
            fresh = Workplace(*where)
            started = time.perf_counter()
            poison = attack.attack(problem, fresh.direct(cell.labeled), budget)
            seconds.append(time.perf_counter() - started)
    else:
        if cell.labeled not in matrices:
            started = time.perf_counter()
            surrogate: Fitted | Published
            if cell.preset == "replication":
                # Its time alone is asked for: on all threads, as that of everything beside it.
                surrogate = Published.of(problem, repeatable=False)
            else:
                surrogate = place.surrogate(cell.attack, cell.labeled)
            # The problem goes with its matrix: both are of one graph.
            matrices[cell.labeled] = problem, surrogate, time.perf_counter() - started
        problem, surrogate, before = matrices[cell.labeled]
        for _ in range(_TIMINGS):
            started = time.perf_counter()
            poison = attack.attack(problem, surrogate, budget)
            seconds.append(time.perf_counter() - started)
        note = f"its matrix is made once, the search that follows is timed {_TIMINGS} times"
    return {
        **_sizes(problem),
        "flips": len(poison),
        "seconds_median": before + float(np.median(seconds)),
        "seconds_deviation": float(np.std(seconds, ddof=1)),
        "seconds_matrix": before or None,
        "timings": len(seconds),
        "note": note,
    }


def save(
    task: Task,
    cell: Cell,
    figures: Mapping[str, Any],
    seconds: float,
    codes: Integers | None = None,
) -> None:
    """Save the row of a cell."""
    settings = settings_for(cell, task.device)
    row = {
        **asdict(cell),
        **figures,
        "gamma": settings["gamma"],
        "victim_is": settings["victim"],
        "device": settings["device"],
        "data": settings["data"],
        "versions": settings["versions"],
        "machine": machine_name(),
        "seconds": round(seconds, 6),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    key = key_of(cell, settings)
    kept = {name: value for name, value in row.items() if value not in ("", None)}
    Store(task.folder).save(Finished(key, kept | {"key": key}, codes))


def _figures(
    place: Workplace, cells: Sequence[Cell]
) -> Iterator[tuple[Cell, dict[str, Any], Integers | None]]:
    """Yield the figures of cells that `_together` has put together."""
    if cells[0].kind == "correlation":
        for cell in cells:
            yield cell, _correlation(place, cell), None
    else:
        yield from _errors(place, cells)


def _together(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Return cells of one part labelled in the order of their cost, those of one product together.

    Correlations come first: they hold the M that what follows is read from.
    """

    def place_of(cell: Cell) -> tuple[int, str, bool]:
        correlation = cell.kind == "correlation"
        cost = -1 if correlation else _BY_COST.index(cell.attack)
        return cost, cell.victim, cell.repair == _MORE

    return [list(some) for _, some in groupby(sorted(cells, key=place_of), key=place_of)]


# What reads the features comes before what inverts a matrix.
_BY_COST = ("none", "mir", "random", "greedy", "probabilistic")


def _correlation(place: Workplace, cell: Cell) -> dict[str, Any]:
    """Return RQ1's figures of one victim and part labelled."""
    problem, direct = place.problem(cell.labeled), place.direct(cell.labeled)
    measured = measure_influence(direct)
    victim = place.stored(place.roles(cell.victim).scored, cell.labeled)
    errors = errors_after_flips(victim, problem)
    figures: dict[str, Any] = _sizes(problem)
    for ending, measure in (("", measured.mir), ("_argmax", _argmax_counts(direct))):
        of_all = correlations(measure, errors)
        spread = sampled_correlations(measure, errors, seed=cell.seed) if of_all else {}
        for name, value in (of_all | spread).items():
            measure_name, _, rest = name.partition("_")
            figures[f"{measure_name}{ending}{'_' if rest else ''}{rest}"] = value
    if measured.undecided:
        figures["note"] = f"{measured.undecided} points undecided in float64, in no MIR"
    return figures


def errors_after_flips(victim: Fitted, problem: Problem) -> Floats:
    """Return the error after each label alone is flipped, (l,): the mean over the other classes."""
    if problem.truth is None:
        raise InputError("the error after a flip needs the truth; give Problem(truth=...).")
    errors = flip_errors(victim, problem.y, problem.truth, problem.n_classes)
    # As numbers of points: what is equal must stay equal, or ranks are made of rounding.
    wrong = np.rint(errors * victim.unlabeled.size)
    own = wrong[np.arange(problem.y.size), problem.y]
    result: Floats = (wrong.sum(axis=1) - own) / (victim.unlabeled.size * (problem.n_classes - 1))
    return result


def _argmax_counts(direct: Fitted) -> Integers:
    """Return of how many points each label is the most influential, the published code's MIR."""
    l = direct.labeled.size  # noqa: E741 - the number of labelled points, everywhere
    counts = np.zeros(l, dtype=np.int64)
    for _, block in direct.share_blocks(max(1, 2**23 // l)):
        counts += np.bincount(block.argmax(axis=1), minlength=l)
    return counts


def _errors(
    place: Workplace, cells: Sequence[Cell]
) -> Iterator[tuple[Cell, dict[str, Any], Integers]]:
    """Yield errors of one victim after one attack, and the labels inferred for all points."""
    labeled, attack = cells[0].labeled, cells[0].attack
    roles, before = place.roles(cells[0].victim), place.problem(labeled)
    budgets = tuple(sorted({cell.budget for cell in cells}))
    poisons = {} if attack == "none" else place.poisons(attack, labeled, budgets)
    # What an attack says of its end is of the largest budget only; the flips are here in any case.
    reads = None if attack == "none" else place.surrogate(attack, labeled)
    note = reads.note if isinstance(reads, Published) else ""
    after: list[tuple[Problem, dict[str, Any]]] = []
    for cell in cells:
        if cell.attack == "none":
            after.append((before, {"flips": 0}))
            continue
        poison = poisons[cell.budget]
        facts: dict[str, Any] = {"flips": len(poison), "note": note}
        if cell.repair == "none":
            after.append((before.poisoned(poison), facts))
        else:
            checks = place.repaired(cell.repair, labeled, poison)
            after.append((checks.problem, facts | {"checks": int(checks.points.size)}))
    labelings = [problem.y for problem, _ in after]
    if cells[0].repair == _MORE:
        # Other points are labelled, so it is another M: only its product with the labels is wanted.
        rows = after[0][0].labeled
        scored = roles.scored.fit(place.graph, rows)
        inferred = (
            scored if roles.inferred == roles.scored else roles.inferred.fit(place.graph, rows)
        )
    else:
        scored, inferred = (place.fitted(p, labeled) for p in (roles.scored, roles.inferred))
    n_classes = before.n_classes
    predicted = predictions_after(scored, n_classes, labelings)
    learned = predicted if inferred is scored else predictions_after(inferred, n_classes, labelings)
    for cell, (problem, facts), guess, label in zip(cells, after, predicted, learned, strict=True):
        codes = np.empty(problem.graph.n_points, dtype=np.int64)
        codes[problem.labeled], codes[problem.unlabeled] = problem.y, label
        truth = place.data.codes[problem.unlabeled]
        errors = {
            "error": float((guess != truth).mean()),
            "error_inferred": float((label != truth).mean()),
        }
        yield cell, {**_sizes(problem), **facts, **errors}, codes


def _sizes(problem: Problem) -> dict[str, Any]:
    return {
        "labels": int(problem.y.size),
        "unlabeled": int(problem.graph.n_points - problem.y.size),
    }
