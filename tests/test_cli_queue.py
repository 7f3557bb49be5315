"""`gssl-poison queue` and `gssl-poison apply` as a person and as a pipeline use them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from gssl_poison.cli import app
from gssl_poison.datasets import load_dataset
from gssl_poison.readers import read_input

runner = CliRunner()


def run(*arguments, status=0):
    result = runner.invoke(app, [str(a) for a in arguments])
    assert result.exit_code == status, result.output
    return result


def words(result):
    return " ".join(result.output.split())


def fill(path, truth, *, leave=(), separator=","):
    """Answer every row of a queue with the truth, as somebody with a spreadsheet would."""
    frame = pd.read_csv(path, dtype={"answer": object})
    frame["answer"] = [None if p in leave else truth[p] for p in frame["point"]]
    frame.to_csv(path, index=False, sep=separator)
    return frame


@pytest.fixture(scope="module")
def truth():
    return load_dataset("digits").truth


@pytest.fixture
def digits(tmp_path, truth):
    """Scikit-learn's digits as a CSV of 300 labels, every tenth of them wrong."""
    data = load_dataset("digits")
    rng = np.random.default_rng(0)
    labeled = rng.permutation(len(truth))[:300]
    y = np.full(len(truth), None, dtype=object)
    y[labeled] = truth[labeled]
    y[labeled[:30]] = (truth[labeled[:30]] + rng.integers(1, 10, 30)) % 10
    frame = pd.DataFrame(data.X.astype(int), columns=[f"pixel_{k}" for k in range(64)])
    frame.insert(3, "digit", pd.Series(y, dtype="Int64"))
    path = tmp_path / "digits.csv"
    frame.to_csv(path, index=False)
    return path


def test_the_whole_loop_repairs_the_labels(digits, truth, tmp_path):
    before = digits.read_bytes()
    shared = (digits, "--label", "digit")
    out = tmp_path / "queue.csv"
    result = run("queue", *shared, "--budget", "60", "--out", out)
    assert "60 of 300 labels to check" in words(result)
    assert f"written: {out}" in result.output.replace("\n", "")
    first = fill(out, truth, separator=";")
    clean = tmp_path / "clean.parquet"
    result = run("apply", *shared, out, "--out", clean)
    given = read_input(digits, label="digit").y
    wrong = [p for p in first["point"] if given[p] != truth[p]]
    assert len(wrong) >= 20
    assert f"{len(wrong)} labels corrected, {60 - len(wrong)} confirmed" in words(result)
    after = read_input(clean, label="digit")
    assert [p for p in range(len(truth)) if after.y[p] != given[p] and given[p] is not None] == (
        sorted(wrong)
    )
    assert (after.X == read_input(digits, label="digit").X).all()
    assert digits.read_bytes() == before
    # Asked again, of the clean data or of the old ones with the answers: the same, and nothing
    # that was checked.
    again = [tmp_path / "second.csv", tmp_path / "third.csv"]
    for source, path in zip((clean, digits), again, strict=True):
        run("queue", source, *shared[1:], "--budget", 40, "--out", path, "--answers", out)
    second, third = (pd.read_csv(path)["point"].tolist() for path in again)
    assert second == third
    assert not set(second) & set(first["point"])
    document = json.loads(
        run(
            "audit",
            clean,
            *shared[1:],
            "--answers",
            out,
            "--json",
            "--no-certificate",
            "--allow",
            "300",
        ).stdout
    )
    assert document["n_suspects"] < 60


def test_documents(digits, truth, tmp_path):
    out = tmp_path / "queue.csv"
    shared = (digits, "--label", "digit")
    result = run("queue", *shared, "--budget", "0.02", "--out", out, "--json")
    found = json.loads(result.stdout)
    assert (found["n_labeled"], found["n_checked"], len(found["queue"])) == (300, 0, 6)
    assert found["written"] == [str(out)]
    frame = fill(out, truth, leave=[found["queue"][0]["point"]])
    assert frame["point"].tolist() == [row["point"] for row in found["queue"]]
    result = run("apply", *shared, out, "--out", tmp_path / "clean.csv", "--json")
    done = json.loads(result.stdout)
    assert done["unanswered"] == 1
    assert len(done["corrected"]) + done["confirmed"] == 5
    given = read_input(digits, label="digit").y
    for row in done["corrected"]:
        assert (row["old"], row["new"]) == (given[row["point"]], truth[row["point"]])


def test_label_studio_files_are_named(tmp_path):
    out = tmp_path / "queue.json"
    result = run("queue", "digits-1-7", "--labeled", "0.1", "--budget", 4, "--out", out)
    assert "paste queue.config.xml" in words(result)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["queue.config.xml", "queue.json"]
    assert len(json.loads(out.read_text())) == 4


def test_named_data_sets_are_applied_to(tmp_path):
    out = tmp_path / "queue.csv"
    shared = ("digits-1-7", "--labeled", "0.1")
    run("queue", *shared, "--budget", 4, "--out", out)
    data = load_dataset("digits-1-7", labeled=0.1)
    fill(out, data.truth)
    run("apply", *shared, out, "--out", tmp_path / "clean.npz")
    back = read_input(tmp_path / "clean.npz")
    assert back.image_shape == (8, 8)
    assert (back.X == data.X).all()
    result = run("apply", *shared, "--seed", 1, out, "--out", tmp_path / "other.npz", status=2)
    assert "line 2 of" in words(result)


def test_queues_are_not_overwritten(digits, tmp_path):
    shared = ("queue", digits, "--label", "digit", "--budget", "3")
    out = tmp_path / "queue.csv"
    out.write_text("hours of work")
    assert "may hold answers" in words(run(*shared, "--out", out, status=2))
    (tmp_path / "other.config.xml").write_text("mine")
    assert "may hold answers" in words(run(*shared, "--out", tmp_path / "other.json", status=2))
    assert not (tmp_path / "other.json").exists()
    assert out.read_text() == "hours of work"
    text = words(run(*shared, "--out", out, "--answers", out, "--force", status=2))
    assert "is an input, which is never changed" in text
    text = words(run(*shared, "--out", digits, "--force", status=2))
    assert "is an input, which is never changed" in text
    run(*shared, "--out", out, "--force")
    assert len(pd.read_csv(out)) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--budget", "none"), "--budget 'none' is not a number"),
        (("--budget", "0"), "budget=0 is out of range"),
        (("--budget", "301"), "must lie in 1..300"),
        (("--budget", "3", "--out", "q.xlsx"), "name the queue .csv"),
        (("--budget", "3", "--out", "none/q.csv"), "folder that exists"),
        (("--budget", "3", "--answers", "none.csv"), "there is no file none.csv"),
    ],
)
def test_bad_queues_in_a_sentence(digits, tmp_path, arguments, message):
    out = () if "--out" in arguments else ("--out", tmp_path / "q.csv")
    result = run("queue", digits, "--label", "digit", *arguments, *out, status=2)
    assert message in words(result)
    assert "Traceback" not in result.output


def test_bad_answers_in_a_sentence(digits, truth, tmp_path):
    out = tmp_path / "queue.csv"
    run("queue", digits, "--label", "digit", "--budget", "3", "--out", out)
    fill(out, ["eleven"] * len(truth))
    target = tmp_path / "clean.csv"
    result = run("apply", digits, "--label", "digit", out, "--out", target, status=2)
    assert "line 2 of" in words(result)
    assert "answers 'eleven', which is no class of digits.csv" in words(result)
    fill(out, [11] * len(truth))
    run("apply", digits, "--label", "digit", out, "--out", target, status=2)
    run("apply", digits, "--label", "digit", out, "--out", target, "--new-classes")
    assert (read_input(target, label="digit").y == 11).sum() == 3
    target.write_text("precious")
    result = run("apply", digits, "--label", "digit", out, "--out", target, status=2)
    assert "exists; give another name" in words(result)
    run("apply", digits, "--label", "digit", out, "--out", target, "--new-classes", "--force")


SLOW = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
from gssl_poison.review import applying
real = applying.write_relabelled
def slow(data, target, temporary):
    real(data, target, temporary)
    print("half", flush=True)
    time.sleep(60)
applying.write_relabelled = slow
sys.argv = ["gssl-poison", *sys.argv[1:]]
from gssl_poison.cli import main
main()
"""


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_kill_leaves_no_file_of_that_name(digits, truth, tmp_path):
    out, target = tmp_path / "queue.csv", tmp_path / "clean.csv"
    run("queue", digits, "--label", "digit", "--budget", "3", "--out", out)
    fill(out, truth)
    command = ["apply", digits, "--label", "digit", out, "--out", target]
    for end, left in ((signal.SIGINT, 0), (signal.SIGKILL, 1)):
        with subprocess.Popen(
            [sys.executable, "-c", SLOW, *map(str, command)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout.readline() == "half\n"
            time.sleep(0.2)
            process.send_signal(end)
            process.wait(timeout=30)
        assert not target.exists()
        # A kill cannot be cleaned up after; what it leaves has another, hidden name.
        assert len([p for p in tmp_path.iterdir() if p.name.startswith(".clean")]) == left
    assert digits.is_file()
    run(*command)
    assert target.is_file()
