"""The command line as a person and as a pipeline use it: real processes, files, exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import gssl_poison as gp
from gssl_poison._console import progress_bar
from gssl_poison.cli import app
from gssl_poison.diagnosis import diagnose

runner = CliRunner()


@pytest.fixture
def points(tmp_path):
    """A CSV of 40 points, a quarter of them labelled."""
    rng = np.random.default_rng(5)
    frame = pd.DataFrame(rng.normal(size=(40, 3)).round(3), columns=["height", "weight", "age"])
    frame["species"] = np.where(frame["height"] > 0, "ant", "bee")
    frame.loc[10:, "species"] = None
    path = tmp_path / "points.csv"
    frame.to_csv(path, index=False)
    return path


def run(*arguments):
    return runner.invoke(app, [str(a) for a in arguments])


def test_rank_prints_a_table_and_what_it_means(points):
    result = run("rank", points, "--label", "species", "--gamma", "0.5", "--top", "3")
    assert result.exit_code == 0, result.output
    assert "10 labelled and 30 unlabelled points, 3 features, 2 classes" in result.output
    assert "gamma 0.5: as given" in result.output
    assert "These 3 of 10 labels are the major influence on" in result.output


def test_json_is_one_document_that_equals_the_python_call(points):
    result = run("rank", points, "--label", "species", "--json")
    assert result.stderr == ""
    document = json.loads(result.stdout)
    frame = pd.read_csv(points)
    table = gp.rank(frame[["height", "weight", "age"]], frame["species"])
    assert [row["point"] for row in document["ranking"]] == table["point"].tolist()
    assert [row["mir"] for row in document["ranking"]] == table["mir"].tolist()
    assert document["settings"]["gamma"] == table.attrs["gamma"]
    assert (
        len(
            json.loads(run("rank", points, "--label", "species", "--json", "--top", 2).stdout)[
                "ranking"
            ]
        )
        == 2
    )


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".json"])
def test_out_writes_the_whole_ranking(points, tmp_path, suffix):
    out = tmp_path / f"ranking{suffix}"
    result = run("rank", points, "--label", "species", "--top", 1, "--out", out)
    assert result.exit_code == 0, result.output
    assert f"written: {out}" in result.output.replace("\n", "")
    if suffix == ".json":
        rows = json.loads(out.read_text())["ranking"]
        written = pd.DataFrame(rows)
    else:
        written = pd.read_csv(out) if suffix == ".csv" else pd.read_parquet(out)
    frame = pd.read_csv(points)
    table = gp.rank(frame[["height", "weight", "age"]], frame["species"])
    pd.testing.assert_frame_equal(written, table, check_dtype=False)


def test_report_is_written(points, tmp_path):
    page = tmp_path / "page.html"
    assert run("rank", points, "--label", "species", "--report", page).exit_code == 0
    assert page.read_text().rstrip().endswith("</html>")


def test_a_named_data_set_hides_labels_as_the_paper_does():
    document = json.loads(run("rank", "digits-1-7", "--labeled", "0.1", "--json").stdout)
    kept = np.random.RandomState(2020).permutation(361)[:36]
    assert sorted(row["point"] for row in document["ranking"]) == sorted(kept.tolist())
    other = json.loads(run("rank", "digits-1-7", "--labeled", "36", "--seed", 1, "--json").stdout)
    assert len(other["ranking"]) == 36
    assert other["ranking"] != document["ranking"]


def test_labels_of_a_whole_file_can_be_hidden(points, tmp_path):
    frame = pd.read_csv(points)
    frame["species"] = np.where(frame["height"] > 0, 1, -1)
    path = tmp_path / "whole.tsv"
    frame.to_csv(path, index=False, sep="\t")
    ambiguous = run("rank", path, "--label", "species", "--labeled", "0.5")
    assert ambiguous.exit_code == 2
    assert "-1 may be a class" in ambiguous.stderr
    document = json.loads(
        run(
            "rank", path, "--label", "species", "--labeled", "0.5", "--unlabeled", "nan", "--json"
        ).stdout
    )
    assert len(document["ranking"]) == 20
    assert {row["label"] for row in document["ranking"]} == {-1, 1}


def test_the_unlabelled_value_can_be_named(points, tmp_path):
    frame = pd.read_csv(points)
    frame["species"] = frame["species"].fillna("?")
    path = tmp_path / "marked.csv"
    frame.to_csv(path, index=False)
    assert "no unlabelled point" in run("rank", path, "--label", "species").stderr
    result = run("rank", path, "--label", "species", "--unlabeled", "?", "--json")
    assert len(json.loads(result.stdout)["ranking"]) == 10


def bad(points):
    """Arguments that cannot work, and the words the one sentence must hold."""
    ranked = ("rank", points, "--label", "species")
    return [
        (("rank", points), "species"),
        (("rank", points, "--label", "colour"), "colour"),
        (("rank", points.with_name("gone.csv"), "--label", "species"), "gone.csv"),
        (("rank", "no-such-data"), "gssl-poison data"),
        (("rank", "digits-1-7"), "--labeled"),
        (("rank", "digits-1-7", "--labeled", "2.5"), "2.5"),
        (("rank", "digits-1-7", "--labeled", "half"), "half"),
        (("rank", "digits-1-7", "--labeled", "0.1", "--label", "y"), "column of a file"),
        ((*ranked, "--gamma", "0"), "gamma=0"),
        ((*ranked, "--gamma", "wide"), "gamma='wide'"),
        ((*ranked, "--by", "share"), "by='share'"),
        ((*ranked, "--normalization", "x"), "normalization='x'"),
        ((*ranked, "--influence", "harmonics"), "use one of direct, propagation, harmonic"),
        ((*ranked, "--influence", "propagation"), "propagation:n_iter=10"),
        ((*ranked, "--influence", "propagation:n_iter=ten"), "n_iter='ten'"),
        ((*ranked, "--influence", "spreading:alpha=2"), "alpha=2"),
        ((*ranked, "--influence", "harmonic:alpha=1"), "no setting of harmonic"),
        ((*ranked, "--influence", "harmonic", "--normalization", "column-row"), "leave one"),
        ((*ranked, "--graph", "nn"), "graph='nn'"),
        ((*ranked, "--graph", "knn:n_neighbors=x"), "n_neighbors='x'"),
        ((*ranked, "--graph", "knn:n_neighbors=0"), "n_neighbors=0"),
        (("doctor", points), "species"),
        (("doctor", "digits-1-7"), "--labeled"),
        (("doctor", "no-such-data"), "gssl-poison data"),
        (("doctor", points, "--label", "species", "--gamma", "-1"), "gamma=-1"),
        (("doctor", points, "--label", "species", "--graph", "nn"), "graph='nn'"),
        ((*ranked, "--unlabeled", "dog"), "dog"),
        ((*ranked, "--device", "cuda"), "device='cuda'"),
        ((*ranked, "--out", points.with_name("x.xlsx")), ".xlsx"),
        ((*ranked, "--out", points), "never changed"),
        ((*ranked, "--out", points.parent / "nowhere" / "x.csv"), "folder"),
        ((*ranked, "--report", points.with_name("x.pdf")), ".html"),
    ]


@pytest.mark.parametrize("number", range(32))
def test_bad_input_is_one_sentence_and_exit_code_2(points, number):
    before = points.read_bytes()
    arguments, words = bad(points)[number]
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert words in result.stderr
    assert result.stderr.startswith("gssl-poison: ")
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr
    assert points.read_bytes() == before


@pytest.mark.parametrize("option", ["--top=0", "--top=x", "--nonsense", "--seed=a"])
def test_bad_options_are_exit_code_2(points, option):
    assert run("rank", points, option).exit_code == 2


def test_a_failure_is_exit_code_1_and_debug_shows_where(points, tmp_path, monkeypatch):
    def fail(*_arguments, **_options):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("gssl_poison.ranking.rank", fail)
    arguments = ("rank", points, "--label", "species")
    result = run(*arguments)
    assert result.exit_code == 1
    assert "ZeroDivisionError" in result.stderr
    assert "--debug" in result.stderr
    assert isinstance(run(*arguments, "--debug").exception, ZeroDivisionError)


def test_a_data_set_that_is_not_here_is_exit_code_1(tmp_path, monkeypatch):
    monkeypatch.setenv("GSSL_POISON_DATA", str(tmp_path))
    result = run("rank", "reuters-corporate", "--labeled", "0.05")
    assert result.exit_code == 1
    assert "GSSL_POISON_DATA" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_killed_report_leaves_the_old_file(points, tmp_path, monkeypatch):
    page = tmp_path / "page.html"
    page.write_text("old")
    out = tmp_path / "ranking.csv"
    out.write_text("old")

    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(pd.DataFrame, "to_csv", interrupt)
    assert run("rank", points, "--label", "species", "--out", out).exit_code != 0
    assert out.read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["page.html", "points.csv", "ranking.csv"]


def test_labels_cannot_drive_the_terminal(points):
    frame = pd.read_csv(points)
    frame.loc[0, "species"] = "\x1b[31m[bold]red"
    frame.to_csv(points, index=False)
    result = run("rank", points, "--label", "species")
    assert result.exit_code == 0, result.output
    assert "\x1b[31m" not in result.stdout
    assert "\\x1b[31m[bold]red" in result.stdout


def test_data_lists_every_set(tmp_path, monkeypatch):
    monkeypatch.setenv("GSSL_POISON_DATA", str(tmp_path))
    rows = json.loads(run("data", "--json").stdout)
    by_name = {row["name"]: row for row in rows}
    assert by_name["digits-1-7"]["found"]
    assert by_name["mnist-1-7"]["found"] is None
    assert by_name["mnist-1-7"]["n"] == 13007
    listing = run("data").stdout
    assert all(name in listing for name in by_name)


def test_demo_writes_its_report_into_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("demo")
    assert result.exit_code == 0, result.output
    assert "36 labelled and 325 unlabelled points" in result.output
    assert (tmp_path / "gssl-poison-demo.html").stat().st_size > 10_000


@pytest.mark.parametrize("command", [(), ("rank",), ("doctor",), ("data",), ("demo",)])
def test_help_explains_every_option(command):
    result = run(*command, "--help")
    assert result.exit_code == 0
    if command == ("rank",):
        options = (
            "label unlabeled gamma influence graph by normalization top out report device json "
            "labeled seed debug"
        )
        for option in (f"--{name}" for name in options.split()):
            assert option in result.output


@pytest.mark.parametrize(
    "influence",
    ["direct", "propagation:n_iter=3", "harmonic", "spreading:alpha=0.2,n_iter=4", "spreading"],
)
@pytest.mark.parametrize("graph", ["rbf", "knn:n_neighbors=5"])
def test_any_influence_on_any_graph_is_that_of_the_python_call(points, influence, graph):
    arguments = ("rank", points, "--label", "species", "--influence", influence, "--graph", graph)
    document = json.loads(run(*arguments, "--json").stdout)
    frame = pd.read_csv(points)
    X, y = frame[["height", "weight", "age"]], frame["species"]
    table = gp.rank(X, y, influence=influence, graph=graph)
    assert [row["point"] for row in document["ranking"]] == table["point"].tolist()
    assert [row["mir"] for row in document["ranking"]] == table["mir"].tolist()
    settings = document["settings"]
    assert (settings["influence"], settings["graph"]) == (influence, graph)
    assert settings["method"] == table.attrs["method"]
    assert settings["unreached"] == table.attrs["unreached"]
    printed = run(*arguments).output
    assert f"influence {influence}, graph {graph}" in printed
    assert ("Prepared in" in printed) == (influence != "direct")


@pytest.fixture
def islands(tmp_path):
    """A CSV of two groups far apart, one of which has no label."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(30, 2)), columns=["x", "y2"])
    frame.loc[20:, ["x", "y2"]] += 100.0
    frame["label"] = None
    frame.loc[[0, 7], "label"] = ["a", "b"]
    path = tmp_path / "islands.csv"
    frame.to_csv(path, index=False)
    return path


def test_points_no_label_reaches_stop_it_or_are_left_out(islands):
    arguments = ("rank", islands, "--graph", "knn:n_neighbors=4", "--influence")
    stopped = run(*arguments, "harmonic")
    assert stopped.exit_code == 2
    assert "no label reaches points 20, 21" in stopped.stderr
    assert "--influence harmonic:unreached=leave" in stopped.stderr
    left = run(*arguments, "harmonic:unreached=leave")
    assert left.exit_code == 0, left.output
    assert "no label reaches 35.7%" in " ".join(left.output.split())


def test_the_bar_is_drawn_while_nobody_reports_and_leaves_no_timer(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress_bar("ranking") as advance:
        advance(1, 10)
    assert capsys.readouterr().err == ""  # over before it was worth drawing
    monkeypatch.setattr("gssl_poison._console._PATIENCE", 0.0)
    with progress_bar("ranking") as advance:
        time.sleep(0.3)
        advance(1, 10)
    assert "ranking" in capsys.readouterr().err
    assert not any(isinstance(thread, threading.Timer) for thread in threading.enumerate())


def test_the_doctor_says_what_to_run(points):
    result = run("doctor", points, "--label", "species", "--gamma", "0.5")
    assert result.exit_code == 0, result.output
    for title in ("Graph", "Underflow", "loop", "harmonic", "Memory", "What to know"):
        assert title in result.output
    assert "Recommended: harmonic" in result.output
    command = result.output.strip().splitlines()[-1].strip()
    assert command == (
        f"gssl-poison rank {points} --label species --gamma 0.5 --influence harmonic"
    )
    assert run(*command.split()[1:]).exit_code == 0
    assert max(map(len, result.output.splitlines()[:-1])) <= 80


def test_the_doctor_says_when_it_looked_at_a_sample():
    result = run("doctor", "digits", "--labeled", "0.1", "--gamma", "0.01", "--seed", "1")
    words = " ".join(result.output.split())
    assert "Looked at 512 unlabelled points drawn at random" in words
    assert "of 1,618 points" in words
    assert "--seed 1" in result.output


def test_the_doctor_names_points_without_a_label(islands):
    result = run("doctor", islands, "--graph", "knn:n_neighbors=4")
    assert result.exit_code == 0
    assert "No label reaches 10 points (rows 20, 21," in " ".join(result.output.split())
    command = result.output.strip().splitlines()[-1].split()
    assert run(*command[1:]).exit_code == 0


def test_the_doctor_prints_the_dictionary(points):
    result = run("doctor", points, "--label", "species", "--json")
    document = json.loads(result.stdout)
    frame = pd.read_csv(points)
    labeled = np.flatnonzero(frame["species"].notna())
    graph = gp.RBFGraph(frame[["height", "weight", "age"]], document["gamma"])
    expected = diagnose(graph, labeled).as_dict()
    assert document["gamma_rule"] == "auto"
    assert document["loop"] == expected["loop"]
    assert document["neighbours"] == expected["neighbours"]
    assert expected.keys() < document.keys()


def test_version():
    assert run("--version").stdout.strip() == f"gssl-poison {gp.__version__}"


def test_the_installed_program_runs_in_a_process_of_its_own(points, tmp_path):
    program = Path(sys.executable).with_name("gssl-poison")
    done = subprocess.run(
        [program, "rank", points, "--label", "species", "--json"],
        capture_output=True, text=True, check=True, cwd=tmp_path,
        env={**os.environ, "COLUMNS": "80"},
    )  # fmt: skip
    assert json.loads(done.stdout)["data"]
    assert done.stderr == ""


def test_a_folder_named_like_a_data_set_does_not_hide_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits-1-7").mkdir()
    assert run("rank", "digits-1-7", "--labeled", "0.1").exit_code == 0


def test_an_input_that_is_no_path_is_bad_input():
    result = run("rank", "x" * 5000)
    assert result.exit_code == 2
    assert "no path" in result.stderr
