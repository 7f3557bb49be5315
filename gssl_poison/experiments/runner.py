"""Running a plan: what is missing is measured, on as many jobs as joblib is told, and tabulated."""

from __future__ import annotations

import hashlib
import os
import platform
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gssl_poison._arrays import available_memory, is_sparse
from gssl_poison.exceptions import (
    DatasetNotFoundError,
    DeviceError,
    GsslPoisonError,
    InputError,
)
from gssl_poison.experiments.cells import Cell
from gssl_poison.experiments.jobs import run_tasks
from gssl_poison.experiments.measuring import (
    Task,
    key_for,
    measure_group,
    measure_models,
    measure_seconds,
)
from gssl_poison.experiments.perceptron import check_torch_device
from gssl_poison.experiments.questions import Plan
from gssl_poison.experiments.store import Finished, Store
from gssl_poison.experiments.tables import CELL_COLUMNS, table_of, write_tables
from gssl_poison.experiments.watching import Progress, Watch
from gssl_poison.experiments.workplace import prepare, size_of
from gssl_poison.kernels.cuda import resolve_device

if TYPE_CHECKING:
    import pandas as pd

# A group holds about this many square matrices of all its points at once.
_SQUARES = 5


@dataclass(frozen=True, eq=False)
class Reproduction:
    """What a run found.

    Attributes
    ----------
    table : pandas.DataFrame
        One row a cell of the plan, sorted by the fields of `Cell`.
    everything : pandas.DataFrame
        The same of all cells in the folder, of other plans too, but for those that would now be
        measured in another way: with other versions, other data.
    measured : int
        Cells that this run measured; the others were there.
    stages : mapping of str to float
        Wall-clock seconds by stage, of those that had something to do.
    """

    table: pd.DataFrame = field(repr=False)
    everything: pd.DataFrame = field(repr=False)
    measured: int
    stages: Mapping[str, float]


def reproduce(
    plan: Plan | Sequence[Plan],
    folder: Path,
    *,
    n_jobs: int | None = None,
    device: str = "cpu",
    progress: Callable[[Progress], None] | None = None,
    refused: Callable[[GsslPoisonError], None] | None = None,
) -> Reproduction:
    """Measure what is missing of a plan and return the tables.

    Parameters
    ----------
    plan : Plan or sequence of Plan
        What is asked.
    folder : pathlib.Path
        Where finished cells are kept. A run that was killed goes on where it stopped; cells of
        earlier runs are taken where nothing that changes their figures has changed.
    n_jobs : int, optional
        Jobs at a time, not 0; -1 for as many as there are processors. By default, and with whatever
        backend, what an enclosing ``joblib.parallel_config`` says: loky, dask or ray. Workers save
        to ``folder`` themselves, which those on other machines must see under the same path.
    device : {"cpu", "auto", "cuda"}, default "cpu"
        "cuda" computes what is read from a graph by cupy, one group at a time, and trains
        perceptrons with torch; K of the published code, forests and corrected attacks that read M
        by the whole run on the CPU.
    progress : callable, optional
        Called about twice a second with a `Progress`, from another thread.
    refused : callable, optional
        Called once, with the error that says which cells cannot be measured and why, in place of
        raising it: what was measured is returned.

    Returns
    -------
    Reproduction
        All rows of the folder that are measured with the same versions, data and rules are in
        ``results.csv`` and ``results.parquet`` there, too.

    Raises
    ------
    InputError
        The device or the number of jobs is none, a cell has less than one label or flip, or the
        folder cannot be written to.
    GsslPoisonError
        A cell cannot be measured, say because memory does not hold its K; of that one's type, and
        only when all others are measured and the tables written.
    DatasetNotFoundError
        The file of a data set is missing.
    DeviceError
        cupy or torch is missing or finds no GPU, or a data set has sparse features.

    Notes
    -----
    Groups first: all cells of one data set, preset and seed share features, weights, fitted
    victims, M and K. Then models, each one trained once for all cells whose labels came out equal.
    Times of attacks last, with nothing beside them.

    Examples
    --------
    >>> import tempfile
    >>> plan = Plan(("rq1",), "corrected", ("digits-1-7",), (0.2,))
    >>> found = reproduce(plan, Path(tempfile.mkdtemp()))
    >>> found.table[["victim", "labels"]].to_numpy().tolist()
    [['propagation', 57], ['spreading', 57]]
    """
    plans = (plan,) if isinstance(plan, Plan) else tuple(plan)
    used, _ = resolve_device(device)
    if n_jobs == 0:
        raise InputError(
            "n_jobs=0 is no number of jobs; give at least 1, or -1 for as many as fit."
        )
    for one in plans:
        _check_sizes(one)
        if used == "cuda":
            _check_kernels(one)
    store = Store(Path(folder))
    store.check_writable()
    store.remove_unfinished()
    keys = {cell: key_for(cell, used) for one in plans for cell in one.cells()}
    done = store.load_all(store.keys() & set(keys.values()))
    missing = [cell for cell in sorted(keys) if keys[cell] not in done]
    watch = Watch(store, keys, missing, progress)
    stages, errors = {}, []
    for stage in _stages(missing, store, keys, used):
        started = time.perf_counter()
        with watch.during(stage.name, stage.cells):
            jobs = n_jobs if stage.parallel else 1
            errors += run_tasks(stage.work, stage.tasks(), jobs, stage.most_jobs)
        stages[stage.name] = time.perf_counter() - started
    found = store.load_all()
    current = [one for one in found.values() if _is_current(one)]
    everything = table_of(current, frozenset(keys.values()))
    write_tables(everything, store.folder)
    lost = set(keys.values()) - set(found)
    if errors:
        error = type(errors[0])(
            f"{len(lost):,} of {len(keys):,} cells could not be measured; the others are kept, and "
            f"{store.folder / 'results.csv'} has them. Why: {errors[0]}"
        )
        if refused is None:
            raise error from errors[0]
        refused(error)
    table = table_of(found[key] for key in keys.values() if key in found)
    measured = sum(keys[cell] in found for cell in missing)
    return Reproduction(table, everything, measured, stages)


def _is_current(one: Finished) -> bool:
    """Tell whether a cell would be measured the same way now: same data, versions and rules."""
    row = one.row
    try:
        cell = Cell(**{name: row[name] for name in CELL_COLUMNS if name in row})
        return key_for(cell, str(row["device"])) == one.key
    except DatasetNotFoundError:
        return True  # its data are not here to be compared
    except (GsslPoisonError, KeyError, TypeError):
        return False  # of a version that had other cells


@dataclass(frozen=True)
class _Stage:
    """Some of the work: its tasks are made when it begins, from what is saved by then."""

    name: str
    cells: list[Cell]
    work: Callable[[Task], None]
    tasks: Callable[[], list[Task]]
    parallel: bool = True
    most_jobs: int | None = None


def _stages(
    missing: list[Cell], store: Store, keys: dict[Cell, str], device: str
) -> Iterator[_Stage]:
    """Yield the stages that have something to do, in order."""
    timed = [cell for cell in missing if cell.kind == "seconds"]
    trained = [cell for cell in missing if cell.model not in ("", "transductive")]
    inferred = [cell for cell in missing if cell not in set(timed) | set(trained)]

    def tasks_of(cells: list[Cell]) -> Callable[[], list[Task]]:
        return lambda: [
            Task(some, store.folder, device, os.getpid(), platform.node())
            for some in _groups(cells)
        ]

    if inferred:
        squares = max(size_of(cell.dataset) for cell in inferred) ** 2
        most = max(1, available_memory() // (8 * _SQUARES * squares))
        # Processes would share the one GPU and its memory.
        several = device != "cuda"
        tasks = tasks_of(inferred)
        yield _Stage("label inference", inferred, measure_group, tasks, several, most)
    if trained:
        for name in dict.fromkeys(cell.model for cell in trained):
            some = [cell for cell in trained if cell.model == name]
            yield _Stage(
                {"forest": "random forests", "mlp": "perceptrons"}[name],
                some,
                measure_models,
                lambda some=some: _trainings(some, store, keys, device),  # type: ignore[misc]
            )
    if timed:
        yield _Stage("times of attacks", timed, measure_seconds, tasks_of(timed), parallel=False)


def _groups(cells: Iterable[Cell]) -> list[tuple[Cell, ...]]:
    """Return cells by group, the groups with most points first: they take longest."""
    found: dict[tuple[str, str, int], list[Cell]] = defaultdict(list)
    for cell in cells:
        found[cell.group].append(cell)
    size = {group: size_of(group[0]) for group in found}
    return [tuple(found[g]) for g in sorted(found, key=lambda g: (-size[g], g))]


def _trainings(cells: list[Cell], store: Store, keys: dict[Cell, str], device: str) -> list[Task]:
    """Return a task for every distinct training set, with all cells it stands for."""
    found: dict[tuple[str, int, str], list[Cell]] = defaultdict(list)
    for cell in cells:
        parent = store.load(keys[cell.inferred_by])
        if parent is None or parent.codes is None:
            continue  # what refused it is said at the end
        labels = hashlib.sha256(parent.codes.tobytes()).hexdigest()
        found[cell.dataset, cell.seed, labels].append(cell)
    return [
        Task(tuple(some), store.folder, device, os.getpid(), platform.node())
        for some in found.values()
    ]


def _check_kernels(plan: Plan) -> None:
    """Refuse what a GPU has no kernels for, before anything is measured."""
    cells = list(plan.cells())
    if any(cell.model == "mlp" for cell in cells):
        check_torch_device("cuda")
    for name in sorted({cell.dataset for cell in cells}):
        if is_sparse(prepare(name).X):
            raise DeviceError(
                f"{name} has sparse features, and device='cuda' has kernels for dense ones only; "
                "leave the data set out, or use device='cpu'."
            )


def _check_sizes(plan: Plan) -> None:
    """Refuse parts of points and of labels that are less than one, before anything is measured."""
    for cell in plan.cells():
        n = size_of(cell.dataset)
        n_labels = int(cell.labeled * n)
        if n_labels < 1:
            raise InputError(
                f"labeled={cell.labeled} of the {n:,} points of {cell.dataset} is less than one; "
                f"give at least {1 / n:.2g}."
            )
        if cell.kind == "error" and cell.budget and int(cell.budget * n_labels + 1e-9) < 1:
            raise InputError(
                f"labeled={cell.labeled} of the {n:,} points of {cell.dataset} are {n_labels} "
                f"labels, and budget={cell.budget} of them is less than one; give larger parts."
            )
