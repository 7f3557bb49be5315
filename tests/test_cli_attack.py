"""`gssl-poison attack` and `gssl-poison certify` as a person and as a pipeline use them."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import gssl_poison as gp
from gssl_poison._commands import solvers_muted
from gssl_poison.attacks import ATTACKS, make_attack
from gssl_poison.cli import app
from gssl_poison.datasets import drawn_rows, hide_labels, load_dataset

runner = CliRunner()
DIGITS = ("digits-1-7", "--labeled", "0.1")


def run(*arguments):
    return runner.invoke(app, [str(a) for a in arguments])


def document(*arguments):
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    return json.loads(result.stdout)


def words(result):
    return " ".join(result.output.split())


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


@pytest.fixture
def whole(points):
    """The same with every label."""
    frame = pd.read_csv(points)
    frame["species"] = np.where(frame["height"] > 0, "ant", "bee")
    path = points.with_name("whole.csv")
    frame.to_csv(path, index=False)
    return path


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


def problem_of(labeled=0.1):
    """The problem the command line makes of the digits, with points in the order of the draw."""
    data = load_dataset("digits-1-7", labeled=labeled)
    rows = drawn_rows(len(data.X), labeled)
    truth = (np.asarray(data.truth) == 7).astype(int)
    return data, rows, truth


# --- attack


def test_the_table_says_what_was_attacked_and_how():
    result = run("attack", *DIGITS, "--method", "mir", "--budget", "0.05,5")
    assert result.exit_code == 0, result.output
    said = words(result)
    assert "36 labelled and 325 unlabelled points, 64 features, 2 classes" in said
    assert "victim harmonic; preset corrected" in said
    assert f"method mir ({ATTACKS['mir'].source})" in said
    assert "the attacker reads the M of direct, and no true class" in said
    assert "error before" in said
    assert "scored with predict" not in said


def test_json_is_one_document_that_equals_the_python_calls():
    found = document("attack", *DIGITS, "--method", "greedy", "--budget", "0.2,2", "--gamma", 0.01)
    data, rows, truth = problem_of()
    graph = gp.RBFGraph(data.X, 0.01)
    problem = gp.Problem(graph, rows, truth[rows], truth)
    victim = gp.Harmonic().fit(graph, rows)
    poison = make_attack("greedy").attack(problem, victim, 7)
    assert found["clean_error"] == gp.error_rate(victim, problem)
    assert [(b["budget"], b["flips"]) for b in found["budgets"]] == [(0.2, 7), (2, 2)]
    errors = [gp.error_rate(victim, problem, poison.first(k)) for k in (7, 2)]
    assert [b["error"] for b in found["budgets"]] == errors
    assert [flip["point"] for flip in found["order"]] == rows[poison.order].tolist()
    assert [flip["flip"] for flip in found["order"]] == list(range(1, 8))
    assert {(flip["old"], flip["new"]) for flip in found["order"]} <= {(1, 7), (7, 1)}
    assert (found["surrogate"], found["victim"], found["gamma"]) == ("harmonic", "harmonic", 0.01)
    assert found["used_truth"] is True
    assert found["notes"] == []
    changed = gp.metrics.predictions(victim, problem, poison) != gp.metrics.predictions(
        victim, problem
    )
    assert found["budgets"][0]["changed"] == changed.mean()


@pytest.mark.parametrize("method", ["mir", "greedy", "total"])
def test_nested_budgets_equal_separate_runs(method):
    together = document("attack", *DIGITS, "--method", method, "--budget", "6,1,0.1,6")["budgets"]
    for row in together:
        alone = document("attack", *DIGITS, "--method", method, "--budget", row["budget"])
        (only,) = alone["budgets"]
        assert {**only, "seconds": 0} == {**row, "seconds": 0}


def test_budgets_that_are_not_nested_are_runs_of_their_own():
    arguments = ("attack", *DIGITS, "--method", "greedy+swaps", "--budget")
    small, large = document(*arguments, "1,4")["budgets"]
    assert (small["flips"], large["flips"]) == (1, 4)
    assert document(*arguments, "1")["budgets"][0]["error"] == small["error"]
    greedy = document("attack", *DIGITS, "--method", "greedy", "--budget", "4")["budgets"][0]
    assert large["error"] >= greedy["error"]


@pytest.mark.parametrize(
    ("part", "percents"),
    [
        ("0.05", ["1.246", "16.22", "27.05", "35.85", "43.98"]),
        ("0.25", ["0.574", "17.47", "29.92", "40.24", "48.87"]),
    ],
)
def test_the_row_of_the_paper_comes_out(data_dir, part, percents):
    """The paper's 1.25, 16.22, 27.05, 35.85, 43.98 %: scikit-learn's own `score` has the same."""
    arguments = ("attack", "mnist-1-7", "--labeled", part, "--method", "mir")
    result = run(*arguments, "--preset", "replication")
    assert result.exit_code == 0, result.output
    for percent in percents:
        assert f"{percent} %" in result.output
    said = words(result)
    assert "gamma 5 (preset)" in said
    assert "victim propagation:n_iter=10, scored with predict: one step more" in said


def test_labelled_points_are_listed_as_they_were_drawn():
    found = document(
        "attack", *DIGITS, "--method", "mir", "--preset", "replication", "--gamma", "1e-9"
    )
    # At this gamma nobody decides alone, and ties go to the first drawn.
    rows = drawn_rows(361, 0.1)
    assert [flip["point"] for flip in found["order"]] == rows[:7].tolist()
    assert rows.tolist() != sorted(rows.tolist())
    kept = [row for row, label in enumerate(hide_labels(np.zeros(361, int), 0.1)) if label == 0]
    assert sorted(rows.tolist()) == kept


def test_the_replication_scores_one_step_later():
    arguments = ("attack", *DIGITS, "--method", "mir", "--victim", "propagation:n_iter=3")
    later = document(*arguments, "--preset", "replication")
    assert (later["victim"], later["scored"]) == ("propagation:n_iter=3", "propagation:n_iter=4")
    now = document("attack", *DIGITS, "--method", "mir", "--victim", "propagation:n_iter=4")
    assert now["scored"] == now["victim"] == "propagation:n_iter=4"
    assert later["clean_error"] == now["clean_error"]
    assert document("attack", *DIGITS, "--method", "mir", "--victim", "propagation")[
        "victim"
    ].endswith("n_iter=10")


def test_the_surrogate_can_be_chosen():
    own = document("attack", *DIGITS, "--method", "total")
    assert own["surrogate"] == "harmonic"
    other = document("attack", *DIGITS, "--method", "total", "--surrogate", "spreading")
    assert other["surrogate"] == "spreading"
    same = document("attack", *DIGITS, "--method", "mir", "--surrogate", "victim")
    assert same["surrogate"] == "harmonic"
    assert "the victim's own M" in words(run("attack", *DIGITS, "--method", "total"))


def test_without_truth_the_table_shows_what_changed(points):
    arguments = ("attack", points, "--label", "species", "--method", "greedy", "--budget", "3")
    found = document(*arguments)
    assert found["clean_error"] is None
    assert found["used_truth"] is False
    (row,) = found["budgets"]
    assert row["error"] is None
    assert 0 < row["changed"] <= 1
    said = words(run(*arguments))
    assert "predictions changed" in said
    assert "The true classes are not known here, so the error cannot be told" in said


def test_the_attacker_need_not_know_the_truth(whole):
    arguments = ("attack", whole, "--label", "species", "--labeled", "0.3", "--method", "greedy")
    assert document(*arguments)["used_truth"] is True
    blind = document(*arguments, "--no-truth")
    assert blind["used_truth"] is False
    assert blind["clean_error"] is not None


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".json"])
def test_out_holds_every_point_and_exactly_the_flips(points, tmp_path, suffix):
    before = points.read_bytes()
    out = tmp_path / f"poisoned{suffix}"
    result = run(
        "attack", points, "--label", "species", "--method", "total", "--budget", "1,3",
        "--out", out,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert f"written: {out}" in result.output.replace("\n", "")
    if suffix == ".json":
        table = pd.DataFrame(json.loads(out.read_text())["labels"])
    else:
        table = pd.read_csv(out) if suffix == ".csv" else pd.read_parquet(out)
    assert list(table.columns) == ["point", "label", "original", "flip"]
    assert table["point"].tolist() == list(range(40))
    frame = pd.read_csv(points)
    known = frame["species"].notna()
    assert table["original"][known].tolist() == frame["species"][known].tolist()
    assert table["original"][~known].isna().all()
    assert table["label"].notna().equals(known)
    differs = known & (table["label"] != table["original"])
    assert differs.sum() == 3
    assert sorted(table["flip"][differs].tolist()) == [1, 2, 3]
    assert table["flip"][~differs].isna().all()
    assert points.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["points.csv", out.name])


def test_whole_numbers_stay_whole_in_a_csv(tmp_path):
    out = tmp_path / "poisoned.csv"
    assert run("attack", *DIGITS, "--method", "mir", "--budget", 2, "--out", out).exit_code == 0
    table = pd.read_csv(out, dtype=str, keep_default_na=False)
    assert set(table["label"]) == {"", "1", "7"}
    assert set(table["flip"]) == {"", "1", "2"}
    found = document("attack", *DIGITS, "--method", "mir", "--budget", 2)
    for flip in found["order"]:
        row = table.iloc[flip["point"]]
        assert (row["flip"], row["label"]) == (str(flip["flip"]), str(flip["new"]))


def test_a_killed_run_leaves_the_old_file(points, tmp_path, monkeypatch):
    out = tmp_path / "poisoned.csv"
    out.write_text("old")

    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(pd.DataFrame, "to_csv", interrupt)
    result = run("attack", points, "--label", "species", "--method", "mir", "--out", out)
    assert result.exit_code != 0
    assert out.read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["points.csv", "poisoned.csv"]


def test_list_names_every_method_and_its_source():
    rows = {row["method"]: row for row in document("attack", "--list")}
    assert rows.keys() == ATTACKS.keys()
    assert all(row["source"] and row["does"].endswith(".") for row in rows.values())
    listing = run("attack", "--list")
    assert listing.exit_code == 0
    assert all(name in listing.output for name in ATTACKS)


def test_labels_cannot_drive_the_terminal(points):
    frame = pd.read_csv(points)
    frame.loc[0, "species"] = "\x1b[31m[bold]red"
    frame.to_csv(points, index=False)
    for command in (("attack", "--method", "total"), ("certify", "--budgets", "1")):
        result = run(command[0], points, "--label", "species", *command[1:])
        assert result.exit_code == 0, result.output
        assert "\x1b[31m" not in result.stdout


def test_the_usual_budgets_are_those_there_are_labels_for(points):
    arguments = (points, "--label", "species")
    rows = document("attack", *arguments, "--method", "total")["budgets"]
    assert [(row["budget"], row["flips"]) for row in rows] == [(0.1, 1), (0.15, 1), (0.2, 2)]
    frame = pd.read_csv(points)
    frame.loc[4:, "species"] = None
    frame.to_csv(points, index=False)
    assert [row["flips"] for row in document("certify", *arguments)["budgets"]] == [1, 2]
    rows = document("attack", *arguments, "--method", "total")["budgets"]
    assert [(row["budget"], row["flips"]) for row in rows] == [(1, 1)]


# --- certify


def test_certify_says_what_no_attacker_can_do():
    result = run("certify", *DIGITS, "--budgets", "1,3")
    assert result.exit_code == 0, result.output
    said = words(result)
    assert "No attacker who changes at most 3 labels, whichever they are, can make wrong" in said
    assert "victim harmonic; preset corrected" in said


@pytest.mark.parametrize("truth", ["--truth", "--no-truth"])
def test_bounds_hold_the_attack_between_them(truth):
    found = document("certify", *DIGITS, "--budgets", "1,2,0.1,4", truth)
    assert found["used_truth"] is (truth == "--truth")
    rows = found["budgets"]
    assert [row["flips"] for row in rows] == [1, 2, 3, 4]
    for row in rows:
        assert found["clean"] <= row["attack"] <= row["collective"] <= row["pointwise"] <= 1
        assert row["pointwise"] == pytest.approx(found["pointwise_curve"][row["flips"]])
    assert len(found["attack_curve"]) == len(found["pointwise_curve"]) == 5
    assert sum(found["radius_counts"].values()) == 325
    assert found["holds_for"]
    radii = [point["radius"] for point in found["weakest"]]
    assert radii == sorted(radii)
    assert radii[0] == min(map(int, found["radius_counts"]))


def test_no_single_flip_exceeds_the_bound_of_one():
    """All of them tried. HiGHS once proved a bound at this gamma that is too low."""
    found = document("certify", *DIGITS, "--gamma", "0.01", "--budgets", "1", "--no-truth")
    data, rows, truth = problem_of()
    graph = gp.RBFGraph(data.X, 0.01)
    problem = gp.Problem(graph, rows, truth[rows], truth)
    errors = gp.flip_errors(gp.Harmonic().fit(graph, rows), truth[rows], truth, 2)
    worst = errors[np.arange(36), 1 - truth[rows]].max()
    assert gp.error_rate(gp.Harmonic().fit(graph, rows), problem) == 0.0
    assert worst == found["budgets"][0]["attack"] <= found["budgets"][0]["collective"]


def test_a_bound_that_an_attack_exceeds_is_a_failure(monkeypatch):
    def too_low(*arguments, **options):
        true = gp.certify(*arguments, **options)
        return dataclasses.replace(true, collective=0.5 * true.collective)

    monkeypatch.setattr("gssl_poison._certifying.certify", too_low)
    result = run("certify", *DIGITS, "--budgets", "1")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "the certificate is wrong" in result.stderr


def test_certify_takes_a_time_limit(monkeypatch):
    given = []
    true = gp.certify

    def seen(*arguments, **options):
        given.append(options["time_limit"])
        return true(*arguments, **options)

    monkeypatch.setattr("gssl_poison._certifying.certify", seen)
    assert run("certify", *DIGITS, "--budgets", "1", "--time-limit", "7.5").exit_code == 0
    assert given == [7.5]
    result = run("certify", *DIGITS, "--budgets", "1", "--time-limit", "0")
    assert result.exit_code == 2
    assert "time_limit=0.0" in result.output


def test_certify_works_without_truth(points):
    found = document("certify", points, "--label", "species", "--budgets", "1,2")
    assert found["used_truth"] is False
    assert found["clean"] == 0.0


def test_what_a_solver_prints_stays_out_of_the_document(tmp_path):
    """HiGHS writes to the standard output of the process, which no runner in Python catches."""
    program = Path(sys.executable).with_name("gssl-poison")
    command = [program, "certify", *DIGITS, "--budgets", "1,3", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert json.loads(done.stdout)["budgets"]
    assert done.stderr == ""


def test_solvers_are_muted_and_nothing_else(capfd):
    os.write(1, b"before\n")
    with solvers_muted():
        os.write(1, b"noise")
    os.write(1, b"after\n")
    assert capfd.readouterr().out == "before\nafter\n"


def test_the_report_shows_what_the_table_says(tmp_path):
    page = tmp_path / "page.html"
    result = run("certify", *DIGITS, "--budgets", "1", "--report", page)
    assert result.exit_code == 0, result.output
    assert f"written: {page}" in result.output.replace("\n", "")
    html = page.read_text(encoding="utf-8")
    assert html.rstrip().endswith("</html>")
    assert "whoever changes 1 of the 36 labels" in html


# --- bad input


def bad(points):
    """Arguments that cannot work, and the words the one sentence must hold."""
    attack = ("attack", points, "--label", "species", "--method", "total")
    certify = ("certify", points, "--label", "species")
    one = points.with_name("one.csv")
    pd.DataFrame({"x": [0.0, 1.0, 2.0], "label": ["a", None, "a"]}).to_csv(one, index=False)
    return {
        "no data": (("attack",), "there is no DATA"),
        "no method": (("attack", points), "--method is not given; use one of mir"),
        "method": ((*attack[:-1], "mirr"), "use one of mir"),
        "swaps": ((*attack[:-1], "mir+wiggles"), "NAME+swaps"),
        "budget 0": ((*attack, "--budget", "0"), "budget=0"),
        "budget -3": ((*attack, "--budget", "-3"), "budget=-3"),
        "budget 1.0": ((*attack, "--budget", "1.0"), "budget=1.0"),
        "budget word": ((*attack, "--budget", "5,abc"), "'abc' in '5,abc' is not a number"),
        "budget empty": ((*attack, "--budget", ""), "is not a number"),
        "budget nan": ((*attack, "--budget", "nan"), "budget=nan"),
        "budget above l": ((*attack, "--budget", "11"), "1..10"),
        "budget below one": ((*attack, "--budget", "0.01"), "less than one"),
        "truth": ((*attack, "--truth"), "--truth needs the true classes"),
        "one class": (("attack", one, "--method", "total"), "no other to change one to"),
        "victim": ((*attack, "--victim", "harmonics"), "names no propagator"),
        "victim setting": ((*attack, "--victim", "propagation:n_iter=x"), "n_iter='x'"),
        "surrogate": ((*attack, "--surrogate", "nobody"), "names no propagator"),
        "preset": ((*attack, "--preset", "paper"), "use one of corrected, replication"),
        "gamma": ((*attack, "--gamma", "0"), "gamma=0"),
        "gamma word": ((*attack, "--gamma", "wide"), "gamma='wide'"),
        "graph": ((*attack, "--graph", "nn"), "graph='nn'"),
        "device": ((*attack, "--device", "cuda"), "device='cuda'"),
        "seed": ((*attack, "--seed", "-1"), "--seed -1"),
        "out is the input": ((*attack, "--out", points), "never changed"),
        "out": ((*attack, "--out", points.with_name("x.xlsx")), ".xlsx"),
        "data": (("attack", "no-such-data", "--method", "mir"), "gssl-poison data"),
        "nothing hidden": (("attack", "digits-1-7", "--method", "mir"), "--labeled"),
        "certify budget": ((*certify, "--budgets", "0"), "budget=0"),
        "certify above l": ((*certify, "--budgets", "1,99"), "1..10"),
        "certify truth": ((*certify, "--truth"), "--truth needs the true classes"),
        "certify one class": (("certify", one), "no other to change one to"),
        "certify victim": ((*certify, "--victim", "x"), "names no propagator"),
        "certify report": ((*certify, "--report", points.with_name("x.pdf")), ".html"),
        "certify device": ((*certify, "--device", "cuda"), "device='cuda'"),
    }


def check_sentence(result, text):
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert text in result.stderr
    assert result.stderr.startswith("gssl-poison: ")
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("number", range(34))
def test_bad_input_is_one_sentence_and_exit_code_2(points, number):
    before = points.read_bytes()
    cases = list(bad(points).values())
    assert len(cases) == 34
    arguments, text = cases[number]
    check_sentence(run(*arguments), text)
    assert points.read_bytes() == before


def test_points_no_label_reaches_are_named_with_the_right_option(islands):
    graph = ("--graph", "knn:n_neighbors=4")
    attack = ("attack", islands, "--method", "mir", "--budget", "1", *graph)
    check_sentence(run(*attack), "Here that is --victim harmonic:unreached=leave.")
    check_sentence(run("certify", islands, "--budgets", "1", *graph), "--victim harmonic:unreac")
    victim = (*attack, "--victim", "direct", "--surrogate", "harmonic")
    check_sentence(run(*victim), "Here that is --surrogate harmonic:unreached=leave.")
    left = run(*attack, "--victim", "harmonic:unreached=leave")
    assert left.exit_code == 0, left.output


def test_where_float64_ends_it_says_so(points):
    arguments = ("attack", points, "--label", "species", "--method", "total", "--gamma", "1e6")
    check_sentence(run(*arguments), "gamma")


def test_a_failure_is_exit_code_1_and_debug_shows_where(points, monkeypatch):
    def fail(*_arguments, **_options):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("gssl_poison._attacking.run_attack", fail)
    arguments = ("attack", points, "--label", "species", "--method", "mir")
    result = run(*arguments)
    assert result.exit_code == 1
    assert "ZeroDivisionError" in result.stderr
    assert isinstance(run(*arguments, "--debug").exception, ZeroDivisionError)


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (
            "attack",
            "method budget label unlabeled labeled seed preset victim surrogate truth no-truth "
            "gamma graph out list device json debug",
        ),
        (
            "certify",
            "victim budgets label unlabeled labeled seed preset truth no-truth gamma graph report "
            "device json debug",
        ),
    ],
)
def test_help_explains_every_option(command, options):
    result = run(command, "--help")
    assert result.exit_code == 0
    for option in (f"--{name}" for name in options.split()):
        assert option in result.output


def test_a_replication_says_that_it_reads_the_published_k():
    options = ("digits-1-7", "--labeled", "0.1", "--budget", "2", "--preset", "replication")
    assert "reads the published K" in run("attack", *options, "--method", "greedy").output
    assert "reads the M of direct" in run("attack", *options, "--method", "mir").output
