"""Runs that go on: what is finished stays, what is killed loses nothing, jobs change no figure."""

from __future__ import annotations

import functools
import io
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from cuda_on_cpu import ShimCard

from gssl_poison.attacks import published
from gssl_poison.exceptions import DeviceError, InputError
from gssl_poison.experiments import correlation, jobs, machine, measuring, watching
from gssl_poison.experiments import runner as runner_module
from gssl_poison.experiments.cells import Cell
from gssl_poison.experiments.measuring import key_for
from gssl_poison.experiments.questions import Plan
from gssl_poison.experiments.runner import reproduce
from gssl_poison.experiments.store import ASIDE, CELLS, Finished, Store
from gssl_poison.experiments.tables import COLUMNS, TIMES
from gssl_poison.experiments.watching import Progress
from gssl_poison.kernels import cuda

# RQ1 takes most of the time, for its samples: it is here where few are enough.
PLAN = Plan(
    ("rq2", "rq3", "rq4"),
    "replication",
    ("digits-1-7",),
    (0.1,),
    (0.2,),
    models=("transductive", "forest"),
)
N_CELLS = 8 + 4 + 1 + 3 + 6
SMALL = replace(PLAN, questions=("rq4",), models=("transductive",))


def same(one, other):
    """Compare two tables, or what two folders hold, byte by byte but for the columns of times."""
    return one is not None and _bytes(one) == _bytes(other)


def _bytes(given):
    if isinstance(given, pd.DataFrame):
        return _csv(given)
    # As text, so that nothing is read into it and written otherwise.
    csv = pd.read_csv(given / "results.csv", dtype=str, keep_default_na=False)
    parquet = io.BytesIO()
    kept = pd.read_parquet(given / "results.parquet").drop(columns=list(TIMES))
    kept.to_parquet(parquet, index=False)
    return _csv(csv), parquet.getvalue()


def _csv(table):
    return table.drop(columns=list(TIMES)).to_csv(index=False)


def cell_files(folder):
    return {path.name: path.read_bytes() for path in (folder / CELLS).iterdir()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Return the folder and the result of a run from beginning to end."""
    folder = tmp_path_factory.mktemp("undisturbed")
    return folder, reproduce(PLAN, folder, n_jobs=1)


@pytest.fixture
def copy(undisturbed, tmp_path):
    """Give a folder in which all is measured."""
    return Path(shutil.copytree(undisturbed[0], tmp_path / "copy"))


@pytest.fixture
def measured(monkeypatch):
    """Record the cells that are saved, by this process."""
    saved = []
    save = measuring.save
    monkeypatch.setattr(
        measuring, "save", lambda task, cell, *rest: saved.append(cell) or save(task, cell, *rest)
    )
    return saved


# --- a run, and another


def test_a_run_measures_every_cell_once(undisturbed):
    folder, found = undisturbed
    assert found.measured == len(found.table) == len(PLAN.cells()) == N_CELLS
    assert found.table.equals(found.everything)
    assert list(found.table.columns) == list(COLUMNS)
    keys = {key_for(cell, "cpu") for cell in PLAN.cells()}
    assert {name.removesuffix(".json") for name in cell_files(folder)} == keys
    assert set(found.table["key"]) == keys
    assert not (folder / ASIDE).exists()
    assert set(found.stages) == {"label inference", "random forests", "times of attacks"}
    assert min(found.stages.values()) > 0.0
    fields = list(PLAN.cells()[0].__dataclass_fields__)
    rows = found.table[fields].sort_values(fields)
    assert rows.equals(found.table[fields])


def test_a_second_run_measures_nothing(undisturbed, copy, measured):
    before = cell_files(copy), (copy / "results.csv").read_bytes()
    again = reproduce(PLAN, copy, n_jobs=1)
    assert (again.measured, dict(again.stages), measured) == (0, {}, [])
    assert again.table.equals(undisturbed[1].table)
    assert (cell_files(copy), (copy / "results.csv").read_bytes()) == before


def test_what_is_the_same(undisturbed):
    # It sees a figure, and a text, and no time.
    table = undisturbed[1].table
    assert same(table.assign(finished="-", seconds=0.0), table)
    assert not same(table.assign(error=table["error"].where(table.index != 5, 0.123)), table)
    assert not same(table.assign(note="-"), table)
    assert not same(table.iloc[:-1], table)


def test_csv_and_parquet_agree(undisturbed):
    folder, found = undisturbed
    parquet = pd.read_parquet(folder / "results.parquet")
    pd.testing.assert_frame_equal(parquet, found.everything, check_dtype=False)
    csv = pd.read_csv(folder / "results.csv", dtype=dict.fromkeys(parquet.columns, str)).fillna("")
    for name in COLUMNS:
        told = ["" if value is pd.NA or value != value else str(value) for value in parquet[name]]  # noqa: PLR0124
        assert csv[name].tolist() == told, name


def test_processes_change_no_figure(undisturbed, tmp_path):
    with joblib.parallel_config("loky", n_jobs=2):
        found = reproduce(PLAN, tmp_path)
    assert found.measured == N_CELLS
    assert same(found.table, undisturbed[1].table)
    assert same(tmp_path, undisturbed[0])


def test_threads_change_no_figure(undisturbed, tmp_path):
    plans = [PLAN, replace(SMALL, preset="corrected", repeats=2)]
    with joblib.parallel_config("threading", n_jobs=2):
        found = reproduce(plans, tmp_path / "threads")
    both = found.table["preset"]
    assert same(found.table[both == "replication"], undisturbed[1].table)
    alone = reproduce(plans[1], tmp_path / "alone", n_jobs=1)
    assert same(found.table[both == "corrected"], alone.table)


def test_a_backend_that_gives_all_at_once(undisturbed, tmp_path):
    """As ray's does, too."""
    with joblib.parallel_config("multiprocessing", n_jobs=2):
        found = reproduce(PLAN, tmp_path)
    assert same(found.table, undisturbed[1].table)


def test_dask_changes_no_figure(undisturbed, tmp_path):
    distributed = pytest.importorskip("dask.distributed")
    with (
        distributed.Client(n_workers=2, threads_per_worker=1, dashboard_address=None),
        joblib.parallel_config("dask"),
    ):
        found = reproduce(PLAN, tmp_path)
    assert same(found.table, undisturbed[1].table)


@pytest.mark.parametrize("n_jobs", [2, -1])
def test_jobs_by_number(undisturbed, tmp_path, n_jobs, monkeypatch):
    asked = []
    parallel = joblib.Parallel
    monkeypatch.setattr(
        joblib, "Parallel", lambda n_jobs, **rest: asked.append(n_jobs) or parallel(1, **rest)
    )
    monkeypatch.setattr(joblib, "effective_n_jobs", lambda n: {2: 2, -1: 16}[n])
    plan = replace(SMALL, repeats=3)
    reproduce(plan, tmp_path, n_jobs=n_jobs)
    # Never more jobs than tasks.
    assert asked == [min({2: 2, -1: 16}[n_jobs], 3)]


def test_memory_bounds_the_jobs(tmp_path, monkeypatch):
    asked = []
    parallel = joblib.Parallel
    monkeypatch.setattr(
        joblib, "Parallel", lambda n_jobs, **rest: asked.append(n_jobs) or parallel(1, **rest)
    )
    monkeypatch.setattr(joblib, "effective_n_jobs", lambda _: 16)
    # Two groups of 289 points, at five matrices of as many rows and columns.
    monkeypatch.setattr(runner_module, "available_memory", lambda: int(2.5 * 8 * 5 * 289**2))
    reproduce(replace(SMALL, repeats=3), tmp_path, n_jobs=-1)
    assert asked == [2]


# --- reuse


def test_another_question_reuses_cells(tmp_path, measured):
    both = replace(SMALL, questions=("rq3", "rq4"))
    assert reproduce(SMALL, tmp_path, n_jobs=1).measured == len(SMALL.cells()) == 4
    measured.clear()
    found = reproduce(both, tmp_path, n_jobs=1)
    # Three attacks, their seconds, random flips; the clean error is there.
    assert found.measured == len(measured) == 7
    assert sorted(measured) == sorted(set(both.cells()) - set(SMALL.cells()))


def test_it_does_not_matter_what_was_asked_first(undisturbed, tmp_path):
    # Matrices are shared by other cells then, and models trained for other ones.
    for change in ({"questions": ("rq4",), "models": ("forest",)}, {"budgets": (0.3,)}, {}):
        found = reproduce(replace(PLAN, **change), tmp_path, n_jobs=1)
    assert same(found.table, undisturbed[1].table)
    assert len(found.everything) > len(found.table)
    assert len(pd.read_parquet(tmp_path / "results.parquet")) == len(found.everything)


@pytest.mark.parametrize("preset", ["replication", "corrected"])
def test_it_does_not_matter_which_parts_are_labelled_beside(tmp_path, monkeypatch, preset):
    few = functools.partial(correlation.sampled_correlations, samples=5)
    monkeypatch.setattr(measuring, "sampled_correlations", few)
    plan = replace(PLAN, questions=("rq1",), preset=preset)
    alone = reproduce(plan, tmp_path / "alone", n_jobs=1).table
    beside = reproduce(replace(plan, labeled=(0.25, 0.1)), tmp_path / "beside", n_jobs=1).table
    assert same(beside[beside["labeled"] == 0.1], alone)


def test_plans_are_measured_together(tmp_path):
    both = [SMALL, replace(SMALL, preset="corrected")]
    found = reproduce(both, tmp_path, n_jobs=1)
    assert found.measured == 2 * len(SMALL.cells()) == len(found.table)
    assert found.table["preset"].tolist() == ["corrected"] * 4 + ["replication"] * 4


def test_rows_of_other_versions_are_no_answer(tmp_path, monkeypatch, measured):
    first = reproduce(SMALL, tmp_path, n_jobs=1)
    now = measuring.versions_of()
    monkeypatch.setattr(measuring, "versions_of", lambda **_: "gssl-poison 99")
    measured.clear()
    second = reproduce(SMALL, tmp_path, n_jobs=1)
    assert len(measured) == second.measured == 4
    # Both are kept, one row a cell is shown: that of the software which ran.
    assert len(cell_files(tmp_path)) == 8
    for name in ("table", "everything"):
        assert set(getattr(second, name)["versions"]) == {"gssl-poison 99"}
    monkeypatch.undo()
    third = reproduce(SMALL, tmp_path, n_jobs=1)
    assert third.measured == 0
    assert third.table.equals(first.table)
    assert set(pd.read_csv(tmp_path / "results.csv")["versions"]) == {now}


# --- damage


def test_damaged_cells_are_measured_again(undisturbed, copy, caplog):
    names = sorted(cell_files(copy))
    damage = dict(zip(names[::5], ("", "{", "flip", "null", "folder"), strict=True))
    for name, what in damage.items():
        path = copy / CELLS / name
        raw = bytearray(path.read_bytes())
        if what == "folder":
            path.unlink()
            path.mkdir()
        elif what == "flip":
            raw[len(raw) // 2] ^= 1
            path.write_bytes(raw)
        else:
            path.write_text(what)
    with caplog.at_level(logging.WARNING):
        again = reproduce(PLAN, copy, n_jobs=1)
    # What was half gone: the damaged ones alone, whatever they were made of.
    assert again.measured == len(damage)
    assert same(again.table, undisturbed[1].table)
    assert same(copy, undisturbed[0])
    assert len(list((copy / ASIDE).iterdir())) == len(damage)
    assert sum("is damaged" in record.message for record in caplog.records) == len(damage)
    assert reproduce(PLAN, copy, n_jobs=1).measured == 0


def test_models_without_their_labels_get_them_again(undisturbed, copy):
    # The transductive cells are gone, the models too: labels first, then models.
    gone = [cell for cell in PLAN.cells() if cell.kind == "error"]
    for cell in gone:
        (copy / CELLS / f"{key_for(cell, 'cpu')}.json").unlink()
    again = reproduce(PLAN, copy, n_jobs=1)
    assert again.measured == len(gone)
    assert same(again.table, undisturbed[1].table)


def test_a_model_alone_that_is_gone(undisturbed, copy):
    # Of cells whose labels are equal one was measured for all; any may be missing.
    for cell in [cell for cell in PLAN.cells() if cell.model == "forest"]:
        (copy / CELLS / f"{key_for(cell, 'cpu')}.json").unlink()
        again = reproduce(PLAN, copy, n_jobs=1)
        assert again.measured == 1
        assert same(again.table, undisturbed[1].table)


def test_old_half_written_files_are_cleared_away(copy):
    half = copy / CELLS / ".abc-0a1b2c3d4e5f.json"
    for age, left in ((60.0, True), (7200.0, False)):
        half.write_text("{")
        os.utime(half, (time.time() - age,) * 2)
        assert reproduce(PLAN, copy, n_jobs=1).measured == 0
        assert half.exists() is left


# --- killed

COMMAND = (
    *(Path(sys.executable).with_name("gssl-poison"), "reproduce", "rq3,rq4"),
    *("--datasets", "digits-1-7", "--labeled", "0.1", "--budgets", "0.2", "--n-jobs", "1"),
    *("--models", "transductive,forest"),
)


def start(folder):
    return subprocess.Popen(
        [*COMMAND, "--out", folder],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        cwd=folder.parent,
    )


def finish(folder):
    process = start(folder)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out


def test_killed_at_random_moments(undisturbed, tmp_path):
    plan = replace(PLAN, questions=("rq3", "rq4"))
    folder, rng, lost = tmp_path / "killed", np.random.default_rng(0), 0
    for _ in range(4):
        before = cell_files(folder) if folder.exists() else {}
        process = start(folder)
        # Until it measures: before that there is nothing to lose.
        while process.poll() is None and len(Store(folder).keys()) <= len(before):
            time.sleep(0.01)
        try:
            process.wait(timeout=float(rng.uniform(0.0, 0.8)))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        after = cell_files(folder)
        lost += sum(after.get(name) != content for name, content in before.items())
    assert lost == 0
    finish(folder)
    alone = tmp_path / "alone"
    shutil.copytree(undisturbed[0], alone)
    assert same(reproduce(plan, alone, n_jobs=1).table, reproduce(plan, folder, n_jobs=1).table)
    assert same_rows(folder, alone, plan)
    assert not (folder / ASIDE).exists()


def same_rows(folder, other, plan):
    """Compare files of two folders, of which the other has more rows."""
    keys = {key_for(cell, "cpu") for cell in plan.cells()}
    csv, parquet = (
        [read(path) for path in (folder, other)]
        for read in (
            lambda path: pd.read_csv(path / "results.csv", dtype=str, keep_default_na=False),
            lambda path: pd.read_parquet(path / "results.parquet"),
        )
    )
    return all(
        same(one, two[two["key"].isin(keys)].reset_index(drop=True)) for one, two in (csv, parquet)
    )


# --- faults


def test_an_error_in_a_worker_ends_the_run(tmp_path, monkeypatch):
    def fault(*_):
        raise ZeroDivisionError("of a worker")

    monkeypatch.setattr(measuring, "predictions_after", fault)
    plan = replace(SMALL, repeats=2)
    with joblib.parallel_config("threading", n_jobs=2), pytest.raises(ZeroDivisionError):
        reproduce(plan, tmp_path)
    with pytest.raises(ZeroDivisionError, match="of a worker"):
        reproduce(plan, tmp_path, n_jobs=1)
    assert not (tmp_path / "results.csv").exists()
    assert Store(tmp_path).keys() == frozenset()
    monkeypatch.undo()
    assert reproduce(plan, tmp_path, n_jobs=1).measured == 2 * 4


def test_an_error_in_a_process_ends_the_run(tmp_path):
    # Workers of another process find their folder turned into a file.
    tasks = [measuring.Task(SMALL.cells(), tmp_path / "file") for _ in range(2)]
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        jobs.run_tasks(measuring.measure_group, tasks, 2)


def test_what_is_finished_before_an_error_stays(tmp_path, monkeypatch):
    def fault(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr(measuring, "model_error", fault)
    with pytest.raises(ZeroDivisionError):
        reproduce(PLAN, tmp_path, n_jobs=1)
    monkeypatch.undo()
    kept = len(Store(tmp_path).keys())
    trained = sum(cell.model == "forest" for cell in PLAN.cells())
    assert kept == len(PLAN.cells()) - trained - 3
    assert reproduce(PLAN, tmp_path, n_jobs=1).measured == trained + 3


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"labeled": (0.003,)}, r"labeled=0.003 of the 289 points of digits-1-7 is less than one"),
        (
            {"questions": ("rq3",), "labeled": (0.05,), "budgets": (0.05,)},
            "are 14 labels, and budget=0.05 of them is less than one; give larger parts",
        ),
        # RQ4 flips a tenth, whatever budgets are given.
        ({"labeled": (0.02,), "budgets": (0.5,)}, "are 5 labels, and budget=0.1 of them"),
    ],
    ids=str,
)
def test_less_than_a_label_is_refused_at_once(tmp_path, changes, said):
    with pytest.raises(InputError, match=said):
        reproduce(replace(SMALL, **changes), tmp_path / "out", n_jobs=1)
    assert not (tmp_path / "out").exists()


def test_budgets_that_no_cell_has_are_no_matter(tmp_path, monkeypatch):
    monkeypatch.setattr(measuring, "sampled_correlations", lambda *_, **__: {})
    plan = replace(PLAN, questions=("rq1",), budgets=(0.001,))
    assert reproduce(plan, tmp_path, n_jobs=1).measured == 2


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"device": "gpu"}, InputError, "device='gpu' is not known; use one of auto, cpu, cuda"),
        ({"n_jobs": 0}, InputError, "n_jobs=0 is no number of jobs"),
    ],
    ids=str,
)
def test_wrong_settings_are_refused_at_once(tmp_path, settings, error, said):
    with pytest.raises(error, match=said):
        reproduce(SMALL, tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()


def test_a_gpu_that_is_not_there_is_refused_at_once(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    cuda.card.cache_clear()
    with pytest.raises(DeviceError, match="needs cupy, which is not installed"):
        reproduce(SMALL, tmp_path / "out", device="cuda")
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(cuda, "card", lambda: None)
    plan = Plan(("rq3",), "corrected", ("digits-1-7",), (0.1,), models=("mlp",))
    with pytest.raises(DeviceError, match=r"torch .* finds no GPU"):
        reproduce(plan, tmp_path / "out", device="cuda")
    assert not (tmp_path / "out").exists()


def test_sparse_features_have_no_kernel(tmp_path, monkeypatch):
    monkeypatch.setattr(cuda, "card", lambda: None)
    monkeypatch.setattr(runner_module, "is_sparse", lambda _: True)
    with pytest.raises(DeviceError, match="digits-1-7 has sparse features"):
        reproduce(SMALL, tmp_path / "out", device="cuda")
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ here")
def test_a_gpu_measures_the_same_errors(tmp_path, monkeypatch, kernel_folder):
    card = ShimCard(kernel_folder)
    monkeypatch.setattr(cuda, "card", lambda: card)
    plan = replace(PLAN, questions=("rq1", "rq3"), labeled=(0.1,), budgets=(0.1,))
    found, expected = (
        reproduce(plan, tmp_path / device, n_jobs=1, device=device).table
        for device in ("cuda", "cpu")
    )
    assert {"flip_errors", "propagation_step", "row_shares"} <= set(card.launched)
    assert set(found["device"]) == {"cuda"}
    same = [name for name in found.columns if name.startswith(("error", "kendall", "flips"))]
    pd.testing.assert_frame_equal(found[same], expected[same], check_dtype=False)


def test_auto_is_the_cpu(undisturbed, copy):
    assert reproduce(PLAN, copy, n_jobs=1, device="auto").measured == 0
    assert set(undisturbed[1].table["device"]) == {"cpu"}


# --- progress


def test_progress_reaches_all_cells(tmp_path, monkeypatch):
    monkeypatch.setattr(watching, "_LOOK", 0.01)
    told, n_cells = [], len(PLAN.cells())
    reproduce(SMALL, tmp_path, n_jobs=1)
    found = reproduce(PLAN, tmp_path, n_jobs=1, progress=told.append)
    assert {one.cells for one in told} == {n_cells}
    done = [one.done for one in told]
    assert done == sorted(done)
    # Cells of earlier runs count at once.
    assert (done[0], done[-1]) == (n_cells - found.measured, n_cells)
    assert len(set(done)) > 4
    assert told[0].seconds_left is None
    assert told[-1] == Progress(n_cells, n_cells, "times of attacks", 0.0)
    assert list(dict.fromkeys(one.stage for one in told)) == list(found.stages)
    left = [one.seconds_left for one in told if one.seconds_left is not None]
    assert min(left) == 0.0 < max(left)
    # All there, nothing to tell.
    told.clear()
    assert reproduce(PLAN, tmp_path, n_jobs=1, progress=told.append).measured == 0
    assert told == []


def test_progress_ends_with_an_error(tmp_path, monkeypatch):
    def fault(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr(measuring, "measure_influence", fault)
    told = []
    with pytest.raises(ZeroDivisionError):
        reproduce(replace(PLAN, questions=("rq1",)), tmp_path, n_jobs=1, progress=told.append)
    count = len(told)
    time.sleep(2.5 * watching._LOOK)
    assert len(told) == count
    assert told[-1].done == 0


def test_every_cell_has_a_weight():
    assert all(watching.weight_of(cell) > 0.0 for cell in PLAN.cells())


def test_a_finished_cell_of_another_folder_is_none_of_ours(copy):
    # Of a data set that is not known: kept, and neither shown nor asked for.
    row = {"kind": "correlation", "dataset": "elsewhere", "preset": "corrected", "labeled": 0.1}
    row |= {"seed": 1, "victim": "direct", "key": "f" * 32}
    Store(copy).save(Finished("f" * 32, row))
    found = reproduce(PLAN, copy, n_jobs=1)
    assert (found.measured, len(found.table), len(found.everything)) == (0, N_CELLS, N_CELLS)


def test_a_cell_that_is_refused_costs_no_other(tmp_path, monkeypatch):
    # No memory for K: greedy and probabilistic are not to be had, all else is.
    monkeypatch.setattr(published, "available_memory", lambda: 1000)
    plan = Plan(("rq3",), "replication", ("digits-1-7",), (0.1,), (0.2,))
    with pytest.raises(InputError, match=r"of 16 cells could not be measured.*inverts a dense"):
        reproduce(plan, tmp_path, n_jobs=1)
    table = pd.read_csv(tmp_path / "results.csv")
    errors = table[table["kind"] == "error"]
    assert set(errors["attack"]) == {"none", "mir", "random"}
    assert set(errors["model"]) == {"transductive", "forest", "mlp"}
    assert set(table[table["kind"] == "seconds"]["attack"]) == {"mir"}
    # Or it is told, and what there is is returned.
    told = []
    done = reproduce(plan, tmp_path, n_jobs=1, refused=told.append)
    assert "of 16 cells could not be measured" in str(told[0])
    assert (len(told), len(done.table), done.measured) == (1, len(table), 0)
    monkeypatch.undo()
    done = reproduce(plan, tmp_path, n_jobs=1)
    assert len(done.table) == 16
    assert done.measured == 16 - len(table)


def test_notes_are_those_of_a_cell_alone(tmp_path):
    """Whatever else is asked for: greedy ends somewhere, and says so of the largest budget only."""
    plan = Plan(
        ("rq3",), "corrected", ("digits-1-7",), (0.2,), (0.1, 0.8), models=("transductive",)
    )
    both = reproduce(plan, tmp_path / "both", n_jobs=1).table
    alone = reproduce(replace(plan, budgets=(0.1,)), tmp_path / "alone", n_jobs=1).table
    errors = both["kind"] == "error"
    assert same(both[errors & (both["budget"] < 0.5)], alone[alone["kind"] == "error"])


def test_what_a_gpu_measured_is_shown_without_torch(tmp_path, monkeypatch):
    plan = Plan(("rq1",), "corrected", ("digits-1-7",), (0.1,))
    place = ("digits-1-7", "corrected", 0.1, 2020, "propagation")
    cell = Cell("error", *place, attack="none", repair="none", model="mlp")
    monkeypatch.setattr(machine, "version", _without_torch)
    machine.versions_of.cache_clear()
    key = measuring.key_for(cell, "cuda")
    Store(tmp_path).save(Finished(key, asdict(cell) | {"key": key, "device": "cuda", "error": 0.5}))
    found = reproduce(plan, tmp_path, n_jobs=1).everything
    assert found["device"].tolist().count("cuda") == 1
    machine.versions_of.cache_clear()


def _without_torch(name):
    if name == "torch":
        raise PackageNotFoundError(name)
    return version(name)


def test_two_parts_labelled_are_timed_on_their_own(tmp_path):
    plans = [
        Plan(("rq3",), "replication", ("digits-1-7",), (part,), (0.2,), models=("transductive",))
        for part in (0.2, 0.1)
    ]
    table = reproduce(plans, tmp_path, n_jobs=1).table
    timed = table[table["kind"] == "seconds"]
    assert set(zip(timed["labeled"], timed["labels"], strict=True)) == {(0.1, 28), (0.2, 57)}


def test_rows_of_other_versions_are_not_shown(tmp_path, monkeypatch):
    plan = Plan(("rq1",), "corrected", ("digits-1-7",), (0.1,))
    with monkeypatch.context() as other:
        other.setattr(measuring, "versions_of", lambda **_: "gssl-poison 0.0.9")
        reproduce(plan, tmp_path, n_jobs=1)
    done = reproduce(replace(plan, labeled=(0.2,)), tmp_path, n_jobs=1)
    assert set(done.everything["labeled"]) == {0.2}
    assert len(Store(tmp_path).keys()) == 4


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="children are listed by Linux")
def test_workers_end_with_a_run_that_is_killed(tmp_path):
    script = (
        "from pathlib import Path\n"
        "from gssl_poison.experiments import Plan, reproduce\n"
        "plan = Plan(('rq2', 'rq3'), 'replication', ('digits-1-7', 'digits'), (0.1, 0.25),"
        " (0.1, 0.2), repeats=3)\n"
        f"reproduce(plan, Path({str(tmp_path)!r}), n_jobs=2)\n"
    )
    run = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
    store, until = Store(tmp_path), time.monotonic() + 60.0
    while not store.keys() and time.monotonic() < until:
        time.sleep(0.01)
    workers = _children(run.pid)
    run.kill()
    run.wait()
    assert len(workers) >= 2
    until = time.monotonic() + 30.0
    while any(_runs(pid) for pid in workers) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(_runs(pid) for pid in workers)


def test_a_task_of_a_run_that_is_gone_is_not_begun(tmp_path, monkeypatch):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    task = measuring.Task(SMALL.cells(), tmp_path, owner=ended.pid, host=os.uname().nodename)
    monkeypatch.setattr(os, "getppid", lambda: 1)
    monkeypatch.setattr(os, "_exit", _ExitedError.now)
    with pytest.raises(_ExitedError):
        jobs._as_long_as_wanted(measuring.measure_group, task)
    assert Store(tmp_path).keys() == frozenset()
    # That of another machine is nothing that can be told here.
    assert jobs._as_long_as_wanted(lambda _: None, replace(task, host="elsewhere")) is None


class _ExitedError(Exception):
    @classmethod
    def now(cls, _code):
        raise cls


def _children(pid):
    listed = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for file in listed for child in file.read_text().split()]


def _runs(pid):
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
