"""`gssl-poison reproduce` as a person and as a pipeline use it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from gssl_poison import _reproduce_console
from gssl_poison._reproduce_console import time_left
from gssl_poison.attacks import published
from gssl_poison.cli import app
from gssl_poison.experiments import measuring, runner, watching
from gssl_poison.experiments.store import CELLS, Store
from gssl_poison.kernels import cuda

runner_of = CliRunner()
PROGRAM = Path(sys.executable).with_name("gssl-poison")
DIGITS = ("--datasets", "digits-1-7", "--labeled", "0.1", "--budgets", "0.2", "--n-jobs", "1")
FILES = {"results.csv", "results.parquet", "report.html", "report.md"}


def run(*arguments):
    return runner_of.invoke(app, ["reproduce", *map(str, arguments)])


def words(text):
    return " ".join(text.split())


@pytest.fixture
def quick(monkeypatch):
    """Take few samples of correlations: what is measured is tested elsewhere."""
    monkeypatch.setattr(measuring, "sampled_correlations", lambda *_, **__: {})


@pytest.fixture
def refused(tmp_path, monkeypatch):
    """Give a function that runs a command which must be refused before anything is measured."""

    def never(*_):
        raise AssertionError("something is measured")

    monkeypatch.setattr(runner, "run_tasks", never)

    def refuse(*arguments, status=2):
        result = run(*arguments)
        assert result.exit_code == status, result.output
        assert result.stdout == ""
        assert result.stderr.startswith("gssl-poison: ")
        assert len(result.stderr.splitlines()) == 1
        assert "Traceback" not in result.stderr
        assert not (tmp_path / "out").exists()
        return result.stderr

    return refuse


# --- what it makes


def test_the_installed_command(tmp_path):
    done = subprocess.run(
        [PROGRAM, "reproduce", "rq1", *DIGITS, "--out", "here"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert {path.name for path in (tmp_path / "here").iterdir()} == {CELLS, *FILES}
    said = words(done.stdout)
    assert "2 cells measured (label inference" in said
    assert "0 taken from earlier runs; 2 in here in all" in said
    assert f"Tables and figures: {Path('here') / 'report.html'}" in said
    assert f"Every figure with its settings: {Path('here') / 'results.csv'}" in said
    assert "the paper concludes" in said
    # Of the question that was asked, and of no other.
    assert "The correlation is stronger under label propagation" in said
    assert "Relabelling" not in said
    assert "\\x" not in said
    assert "Traceback" not in done.stderr
    assert "digits" in (tmp_path / "here" / "report.html").read_text(encoding="utf-8")


@pytest.mark.usefixtures("quick")
def test_it_goes_on_and_adds(tmp_path):
    out = ("--out", tmp_path / "out")
    assert "2 cells measured" in words(run("rq1", *DIGITS, *out).stdout)
    again = words(run("rq1", *DIGITS, *out).stdout)
    assert "0 cells measured, 2 taken from earlier runs; 2 in" in again
    more = ("--models", "transductive", "--preset", "corrected", "--repeats", "1")
    both = run("rq1,rq4", *DIGITS, *out, *more)
    assert "6 cells measured" in words(both.stdout)
    assert "0 taken from earlier runs; 8 in" in words(both.stdout)
    assert len(pd.read_csv(tmp_path / "out" / "results.csv")) == 8


@pytest.mark.usefixtures("quick")
def test_conclusions_are_those_of_the_question(tmp_path):
    """Whatever else the folder holds."""
    out = ("--models", "transductive", "--out", tmp_path)
    assert "correlates" in words(run("rq1", *DIGITS, *out).stdout)
    said = words(run("rq4", *DIGITS, *out).stdout)
    assert "Relabelling" in said
    assert "correlates" not in said


def test_a_cell_that_is_refused_leaves_a_report(tmp_path, monkeypatch):
    monkeypatch.setattr(published, "available_memory", lambda: 1000)
    done = run("rq3", *DIGITS, "--models", "transductive", "--out", tmp_path)
    assert done.exit_code == 2
    assert "of 8 cells could not be measured" in words(done.stderr)
    assert "MIR" in (tmp_path / "report.md").read_text(encoding="utf-8")


@pytest.mark.usefixtures("quick")
def test_json(tmp_path):
    result = run("rq1", *DIGITS, "--out", tmp_path, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["folder"] == str(tmp_path)
    assert found["measured"] == len(found["cells"]) == 2
    assert list(found["seconds"]) == ["label inference"]
    for cell, victim in zip(found["cells"], ("propagation", "spreading"), strict=True):
        assert (cell["kind"], cell["victim"], cell["preset"]) == (
            "correlation",
            victim,
            "replication",
        )
        assert -1.0 <= cell["kendall"] <= 1.0
        assert cell["labels"] == 28
        # What a cell has not is not there.
        assert not {"error", "flips", "attack", "model"} & set(cell)
    assert json.loads(run("rq1", *DIGITS, "--out", tmp_path, "--json").stdout)["measured"] == 0
    table = pd.read_parquet(tmp_path / "results.parquet")
    assert table["kendall"].tolist() == pytest.approx([c["kendall"] for c in found["cells"]])


@pytest.mark.parametrize(
    ("arguments", "seeds", "presets"),
    [
        ((), {2020}, {"replication"}),
        (("--preset", "corrected"), {2020, 2021, 2022, 2023, 2024}, {"corrected"}),
        (("--preset", "corrected", "--repeats", "2"), {2020, 2021}, {"corrected"}),
        (("--preset", "corrected,replication", "--repeats", "1"), {2020}, None),
    ],
    ids=str,
)
def test_repeats_and_presets(tmp_path, monkeypatch, arguments, seeds, presets):
    asked = []

    def stop(plans, *_, **__):
        asked.extend(plans)
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "reproduce", stop)
    assert run("all", *DIGITS, *arguments, "--out", tmp_path).exit_code == 130
    cells = [cell for plan in asked for cell in plan.cells()]
    assert {cell.seed for cell in cells} == seeds
    assert {cell.preset for cell in cells} == (presets or {"corrected", "replication"})
    assert {cell.kind for cell in cells} == {"correlation", "error", "seconds"}
    assert {cell.budget for cell in cells} == {0.0, 0.1, 0.2, 20.0}


def test_defaults(monkeypatch, tmp_path):
    asked = []

    def stop(plans, folder, **settings):
        asked.append((plans, folder, settings))
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "reproduce", stop)
    monkeypatch.chdir(tmp_path)
    run("all")
    [([plan], folder, settings)] = asked
    assert plan.datasets == ("mnist-1-7", "cifar10-cat-ship", "reuters-corporate")
    assert (plan.labeled, plan.budgets) == ((0.05, 0.15, 0.25), (0.05, 0.1, 0.15, 0.2))
    assert plan.models == ("transductive", "forest", "mlp")
    assert (plan.preset, plan.repeats, folder) == ("replication", 1, Path("reproduction"))
    assert (settings["n_jobs"], settings["device"]) == (-1, "auto")
    assert list(tmp_path.iterdir()) == []


# --- what is refused

WRONG = {
    "question": (("rq5",), "question='rq5' is not known; use one of rq1, rq2, rq3, rq4"),
    "no question": ((" , ",), "the question is empty; give one name"),
    "preset": (("rq1", "--preset", "sound"), "preset='sound' is not known"),
    "no preset": (("rq1", "--preset", ""), "--preset is empty"),
    "data set": (("rq1", "--datasets", "mnist-3-8"), "no data set 'mnist-3-8'; they have"),
    "no data set": (("rq1", "--datasets", ","), "--datasets is empty"),
    "model": (("rq2", "--models", "forest,svm"), "model='svm' is not known"),
    "no number": (("rq1", "--labeled", "0.1;0.2"), "--labeled '0.1;0.2' is not a list of numbers"),
    "budget in percent": (("rq3", "--budgets", "5,10"), "budgets=(5.0, 10.0) must hold parts"),
    "no part": (("rq1", "--labeled", "0"), "labeled=(0.0,) must hold parts between 0 and 1"),
    "not a number": (("rq1", "--labeled", "nan"), "labeled=(nan,) must hold parts"),
    "no parts": (("rq1", "--labeled", ""), "labeled=() must hold parts"),
    "twice": (("rq1", "--labeled", "0.1,0.1"), "each once"),
    "less than a point": (
        ("rq1", *DIGITS[:2], "--labeled", "0.001"),
        "labeled=0.001 of the 289 points of digits-1-7 is less than one; give at least 0.0035",
    ),
    "less than a flip": (
        ("rq3", *DIGITS[:2], "--labeled", "0.05", "--budgets", "0.01"),
        "are 14 labels, and budget=0.01 of them is less than one",
    ),
    "repeats": (("rq1", "--repeats", "0"), "repeats=0 is not a whole number; give at least 1"),
    "jobs": (("rq1", *DIGITS[:4], "--n-jobs", "0"), "n_jobs=0 is no number of jobs"),
    "device": (
        ("rq1", *DIGITS, "--device", "gpu"),
        "device='gpu' is not known; use one of auto, cpu, cuda",
    ),
}


@pytest.mark.parametrize(("arguments", "said"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_said_in_a_sentence(refused, tmp_path, arguments, said):
    assert said in refused(*arguments, "--out", tmp_path / "out")


def test_a_file_in_place_of_the_folder(refused, tmp_path):
    (tmp_path / "file").write_text("mine")
    said = refused("rq1", *DIGITS, "--out", tmp_path / "file")
    assert "results cannot be written to" in said
    assert "give another --out" in said
    assert (tmp_path / "file").read_text() == "mine"


def test_no_gpu(refused, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    cuda.card.cache_clear()
    said = refused("rq2", *DIGITS, "--device", "cuda", "--out", tmp_path / "out")
    assert "device='cuda' needs cupy, which is not installed" in said
    assert "use device='cpu' or 'auto'" in said


def test_no_torch(refused, tmp_path, monkeypatch):
    monkeypatch.setattr(cuda, "card", lambda: None)
    monkeypatch.setitem(sys.modules, "torch", None)
    out = ("--device", "cuda", "--models", "mlp", "--out", tmp_path / "out")
    assert "install gssl-poison[torch]" in refused("rq3", *DIGITS, *out)
    torch = types.SimpleNamespace(
        __version__="2.13.0", cuda=types.SimpleNamespace(is_available=lambda: False)
    )
    monkeypatch.setitem(sys.modules, "torch", torch)
    assert "torch 2.13.0 finds no GPU" in refused("rq3", *DIGITS, *out)


def test_data_that_are_not_here(tmp_path, monkeypatch, refused):
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("GSSL_POISON_DATA", str(tmp_path / "empty"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    said = refused("rq1", "--datasets", "reuters-corporate", "--out", tmp_path / "out", status=1)
    assert "reuters" in said


def test_debug_shows_where():
    result = run("rq5", "--debug")
    assert result.exit_code == 1
    assert "rq5" in str(result.exception)


# --- stopped


def test_stopped_by_a_person(tmp_path):
    # A shell's background job, which this test may be part of, has Ctrl-C ignored.
    heed = "import signal, runpy, sys; signal.signal(signal.SIGINT, signal.default_int_handler)"
    run = f"{heed}; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    asked = ["reproduce", "rq1,rq4", *DIGITS, "--models", "transductive"]
    command = [sys.executable, "-c", run, PROGRAM, *asked]
    process = subprocess.Popen(
        [*command, "--out", "out"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    store, until = Store(tmp_path / "out"), time.monotonic() + 60.0
    while not store.keys() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    kept = store.keys()
    assert process.returncode == 130, err
    assert "gssl-poison: stopped. What is finished is kept in out; the same command goes on" in err
    assert "Traceback" not in err
    assert 0 < len(kept) < 6
    assert not (tmp_path / "out" / "results.csv").exists()
    # What was finished is whole.
    assert len(store.load_all()) == len(kept)


# --- while it runs


def test_a_bar_where_somebody_looks_on(monkeypatch, capsys):
    with _reproduce_console.experiment_bar() as progress:
        assert progress is None
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with _reproduce_console.experiment_bar() as progress:
        progress(watching.Progress(3, 12, "random forests", None))
        progress(watching.Progress(4, 12, "random forests", 600.0))
    said = capsys.readouterr()
    assert said.out == ""
    assert "random forests" in said.err
    assert "4/12" in said.err
    assert "about 10 min left" in said.err


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, ""),
        (0.0, "less than a minute left"),
        (59.9, "less than a minute left"),
        (60.0, "about 1 min left"),
        (5399.0, "about 90 min left"),
        (5400.0, "about 1.5 h left"),
    ],
    ids=str,
)
def test_time_left(seconds, said):
    assert time_left(seconds) == said
