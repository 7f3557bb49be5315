"""The queue of labels to check: its order, its fingerprints, and what others make of its files."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from gssl_poison.datasets import Dataset, load_dataset
from gssl_poison.exceptions import InputError
from gssl_poison.readers import read_input
from gssl_poison.readers.cells import DECIMAL
from gssl_poison.review.answers import read_answers
from gssl_poison.review.auditing import audit
from gssl_poison.review.fingerprints import fingerprint_data, fingerprint_row, label_text
from gssl_poison.review.formulas import guarded, unguarded
from gssl_poison.review.labelstudio import labeling_config
from gssl_poison.review.queue import make_queue, write_queue

COLUMNS = [
    *("order", "point", "label", "answer", "says", "share_against", "probability"),
    *("decides", "changes", "neighbours", "row", "data"),
]


def points(names=("cat", "ship"), n=60, labeled=24, wrong=(3, 8), **more):
    """Two clouds of points, the first of them labelled, some wrongly."""
    rng = np.random.default_rng(7)
    truth = np.arange(n) % 2
    X = rng.normal(size=(n, 3)) + 6.0 * truth[:, None]
    codes = truth.copy()
    codes[list(wrong)] ^= 1
    y = np.empty(n, dtype=object)
    for row in range(labeled):
        y[row] = names[codes[row]]
    given = {"feature_names": None, "image_shape": None, "truth": None, **more}
    return Dataset(name="clouds", X=X, y=y, source="memory", **given)


def interface(folder):
    """Read the labelling interface that was written beside the tasks."""
    return ET.parse(folder / "q.config.xml").getroot()  # noqa: S314 - written a moment ago


@pytest.fixture(scope="module")
def clouds():
    return points()


@pytest.fixture(scope="module")
def looked(clouds):
    return audit(clouds.X, clouds.y, certificate=False)


# -- the table ---------------------------------------------------------------------------------


def test_the_queue_has_the_order_of_the_audit(clouds, looked):
    queue = make_queue(looked, clouds, 10)
    assert list(queue.columns) == COLUMNS
    table = looked.table().head(10)
    assert queue["point"].tolist() == table["point"].tolist()
    for mine, theirs in (
        ("label", "label"),
        ("says", "says"),
        ("share_against", "contradiction"),
        ("probability", "probability"),
        ("decides", "mir"),
        ("changes", "changes"),
    ):
        assert queue[mine].tolist() == table[theirs].tolist()
    assert (queue["answer"] == "").all()
    assert queue.attrs["classes"] == ["cat", "ship"]
    assert (
        np.diff(looked.priority[np.searchsorted(looked.problem.labeled, queue["point"])]) <= 0
    ).all()


def test_suspects_alone_can_be_asked_about(clouds, looked):
    queue = make_queue(looked, clouds, 24, suspects=True)
    suspects = looked.problem.labeled[looked.order[looked.suspect[looked.order]]]
    assert queue["point"].tolist() == suspects.tolist()
    assert 0 < len(queue) < 24
    assert (queue["probability"] > 0.25).all()
    calm = dataclasses.replace(looked, suspect=np.zeros_like(looked.suspect))
    with pytest.raises(InputError, match="is a suspect"):
        make_queue(calm, clouds, 5, suspects=True)


def test_neighbours_are_the_loudest_voices(clouds, looked):
    queue = make_queue(looked, clouds, 24)
    for point, text in zip(queue["point"], queue["neighbours"], strict=True):
        position = int(np.searchsorted(looked.problem.labeled, point))
        parts = re.findall(r"(\d+) \((cat|ship)\) (\d\.\d\d)", text)
        voices = looked.problem.labeled[looked.voices[position]].tolist()
        assert [int(voice) for voice, *_ in parts] == voices[: len(parts)]
        assert [label for _, label, _ in parts] == [clouds.y[int(voice)] for voice, *_ in parts]
        shares = looked.voice_shares[position]
        assert [float(share) for *_, share in parts] == [
            round(float(s), 2) for s in shares if s > 0
        ]


@pytest.mark.parametrize(("budget", "rows"), [(1, 1), (0.25, 6), (24, 24)])
def test_budgets(clouds, looked, budget, rows):
    assert len(make_queue(looked, clouds, budget)) == rows


@pytest.mark.parametrize("budget", [0, 25, -1, 1.5, float("nan")])
def test_budgets_out_of_range(clouds, looked, budget):
    with pytest.raises(InputError, match="out of range"):
        make_queue(looked, clouds, budget)


def test_checked_labels_and_those_nobody_could_tell_are_not_asked_again(clouds, looked, tmp_path):
    queue = make_queue(looked, clouds, 4)
    first = queue["point"].tolist()
    queue["answer"] = ["cat", "?", "", "ship"]
    write_queue(queue, tmp_path / "q.csv")
    answers = read_answers(tmp_path / "q.csv", clouds)
    again = audit(clouds.X, clouds.y, answers=answers.known(), certificate=False)
    second = make_queue(again, clouds, 24, answers=answers)["point"].tolist()
    assert set(first) & set(second) == {first[2]}
    assert len(second) == 21
    everything = dict(zip(range(24), clouds.y[:24], strict=True))
    done = audit(clouds.X, clouds.y, answers=everything, certificate=False)
    with pytest.raises(InputError, match="all 24 labels of clouds are checked"):
        make_queue(done, clouds, 1)


def test_neighbours_have_the_labels_that_answers_gave(clouds):
    known = {3: "ship"} if clouds.y[3] == "cat" else {3: "cat"}
    again = audit(clouds.X, clouds.y, answers=known, certificate=False)
    texts = " ".join(make_queue(again, clouds, 23)["neighbours"])
    assert f"3 ({known[3]})" in texts
    assert f" 3 ({clouds.y[3]})" not in texts


def test_an_audit_of_other_data_is_refused(clouds, looked):
    fewer = dataclasses.replace(clouds, X=clouds.X[:50], y=clouds.y[:50])
    moved = dataclasses.replace(clouds, y=np.roll(clouds.y, 1))
    for other in (fewer, moved):
        with pytest.raises(InputError, match="audit these data"):
            make_queue(looked, other, 3)


def test_labels_before_answers_are_those_that_were_asked_about(clouds, looked, tmp_path):
    queue = make_queue(looked, clouds, 3)
    queue["answer"] = queue["says"]
    write_queue(queue, tmp_path / "q.csv")
    right = clouds.y.copy()
    right[queue["point"]] = queue["says"]
    clean = dataclasses.replace(clouds, y=right)
    answers = read_answers(tmp_path / "q.csv", clean)
    assert (right != clouds.y).any()
    assert answers.before(clean).tolist() == clouds.y.tolist()


# -- fingerprints ------------------------------------------------------------------------------


def test_fingerprints_depend_on_values_alone():
    X = np.array([[0.0, 1.5, -2.0], [4.0, 0.0, 0.25]])
    known = fingerprint_data(X)
    assert re.fullmatch("x[0-9a-f]{16}", known)
    for same in (X.astype(np.float32), X[::1].copy(order="F"), X + 0.0, np.repeat(X, 2, 0)[::2]):
        assert fingerprint_data(same) == known
    negative = X.copy()
    negative[0, 0] = -0.0
    assert fingerprint_data(negative) == known
    others = [X[::-1], X[:, ::-1], X.T, X.reshape(1, 6), X[:1], np.nextafter(X, 9)]
    assert known not in {fingerprint_data(other) for other in others}


def test_fingerprints_of_blocks_are_of_every_row(monkeypatch):
    X = np.arange(12.0).reshape(6, 2)
    known = fingerprint_data(X)
    monkeypatch.setattr("gssl_poison.review.fingerprints._BLOCK", 32)
    for row in range(6):
        other = X.copy()
        other[row, 1] += 1e-9
        assert fingerprint_data(other) != known
        assert fingerprint_row(other, row, "a") != fingerprint_row(X, row, "a")


def test_sparse_rows_have_one_form():
    X = sp.csr_array(np.array([[0.0, 1.0, 2.0], [0.0, 0.0, 3.0]]))
    shuffled = sp.csr_array(
        (np.array([2.0, 0.0, 1.0, 3.0]), np.array([2, 0, 1, 2]), np.array([0, 3, 4])), shape=(2, 3)
    )
    kept = shuffled.indices.copy()
    assert fingerprint_data(shuffled) == fingerprint_data(X)
    assert fingerprint_row(shuffled, 0, 1) == fingerprint_row(X, 0, 1)
    assert (shuffled.indices == kept).all()
    assert fingerprint_data(X[::-1].tocsr()) != fingerprint_data(X)


def test_row_fingerprints_hold_features_and_label():
    X = np.eye(3)
    assert fingerprint_row(X, 0, 1) == fingerprint_row(X, 0, "1") == fingerprint_row(X, 0, 1.0)
    assert len({fingerprint_row(X, row, label) for row in range(3) for label in "ab"}) == 6


@pytest.mark.parametrize(
    ("value", "text"),
    [(1, "1"), (1.0, "1"), (np.float64(2), "2"), ("1.0", "1.0"), (True, "True"), (None, "")],
)
def test_labels_as_text(value, text):
    assert label_text(value) == text


# -- spreadsheets ------------------------------------------------------------------------------


@given(st.text(alphabet="=+-@'\uff1d a1;,\t\r\n.", max_size=12))
def test_formulas_are_disarmed_and_come_back(text):
    safe = guarded(text)
    assert unguarded(safe) == text
    if not DECIMAL.fullmatch(text):
        # However a spreadsheet splits it, no cell begins like a formula.
        assert not any(re.match(" *[=+@\uff1d-]", cell) for cell in re.split("[;,\t\r\n]", safe))


@pytest.mark.parametrize("number", ["-1", "+1", "-0.5", "1e5", "-1E-3"])
def test_numbers_stay_numbers(number):
    assert guarded(number) == number


def test_class_names_of_any_kind_survive_the_file(tmp_path):
    names = ('=HYPERLINK("http://x",1)', "'a\";=b\n@c")
    data = points(names)
    queue = make_queue(audit(data.X, data.y, certificate=False), data, 24)
    queue["answer"] = [guarded(label) for label in queue["label"]]
    write_queue(queue, tmp_path / "q.csv")
    raw = (tmp_path / "q.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbforder,point,label,answer,")
    rows = list(csv.reader(io.StringIO(raw.decode("utf-8-sig"), newline="")))
    cells = [cell for row in rows for cell in row]
    assert any("HYPERLINK" in cell for cell in cells)
    assert not any(re.match("[ ']*[=+@-]", cell) and not cell.startswith("'") for cell in cells)
    found = read_answers(tmp_path / "q.csv", data).known()
    assert found == {row: data.y[row] for row in range(24)}


def test_pandas_reads_the_csv(clouds, looked, tmp_path):
    queue = make_queue(looked, clouds, 5)
    write_queue(queue, tmp_path / "q.csv")
    back = pd.read_csv(tmp_path / "q.csv")
    assert list(back.columns) == COLUMNS
    assert back["point"].tolist() == queue["point"].tolist()
    assert back["answer"].isna().all()
    assert np.allclose(back["probability"], queue["probability"], atol=1e-4)


def test_a_filled_frame_is_written_with_its_answers(clouds, looked, tmp_path):
    queue = make_queue(looked, clouds, 3)
    queue["answer"] = ["cat", "ship", ""]
    write_queue(queue, tmp_path / "q.csv")
    assert len(read_answers(tmp_path / "q.csv", clouds)) == 2


def test_other_suffixes_are_refused(clouds, looked, tmp_path):
    queue = make_queue(looked, clouds, 3)
    for name in ("q.xlsx", "q", "q.parquet"):
        with pytest.raises(InputError, match=r"name the queue \.csv"):
            write_queue(queue, tmp_path / name)
    with pytest.raises(InputError, match="pass dataset="):
        write_queue(queue, tmp_path / "q.json")
    lost = queue.copy()
    lost.attrs.clear()
    with pytest.raises(InputError, match=r"attrs\['classes'\]"):
        write_queue(lost, tmp_path / "q.json", clouds)
    assert not list(tmp_path.iterdir())


# -- Label Studio ------------------------------------------------------------------------------


def test_tasks_have_what_the_interface_asks_for(clouds, looked, tmp_path):
    queue = make_queue(looked, clouds, 4)
    write_queue(queue, tmp_path / "q.json", clouds)
    tasks = json.loads((tmp_path / "q.json").read_text())
    config = interface(tmp_path)
    (choices,) = config.iter("Choices")
    offered = [choice.get("alias") or choice.get("value") for choice in choices]
    assert offered == ["cat", "ship", "?"]
    assert {shown.get("name") for shown in config.iter("HyperText")} == {choices.get("toName")}
    wanted = {tag.get("value")[1:] for tag in config.iter() if (tag.get("value") or "")[:1] == "$"}
    assert wanted == {"question", "html"}
    assert [task["data"]["point"] for task in tasks] == queue["point"].tolist()
    for task, says in zip(tasks, queue["says"], strict=True):
        assert wanted <= set(task["data"])
        assert {"row", "data"} <= set(task["data"])
        (prediction,) = task["predictions"]
        (result,) = prediction["result"]
        assert result["value"]["choices"] == [says]
        assert (result["from_name"], result["to_name"], result["type"]) == (
            choices.get("name"),
            choices.get("toName"),
            "choices",
        )
        assert 0.0 <= prediction["score"] <= 1.0


def test_the_round_trip_through_label_studio(clouds, looked, tmp_path):
    queue = make_queue(looked, clouds, 4)
    write_queue(queue, tmp_path / "q.json", clouds)
    tasks = json.loads((tmp_path / "q.json").read_text())
    for task in tasks[:3]:  # as annotators would accept what is predicted
        task["annotations"] = [{"result": task["predictions"][0]["result"], "was_cancelled": False}]
    tasks[3]["annotations"] = []
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    answers = read_answers(tmp_path / "export.json", clouds)
    assert answers.known() == dict(zip(queue["point"][:3], queue["says"][:3], strict=True))
    with pytest.raises(InputError, match="not the file that was imported"):
        read_answers(tmp_path / "q.json", clouds)


def test_pictures_are_data_uris(tmp_path):
    data = load_dataset("digits-1-7", labeled=0.1)
    queue = make_queue(audit(data.X, data.y, certificate=False), data, 3)
    write_queue(queue, tmp_path / "q.json", data)
    tasks = json.loads((tmp_path / "q.json").read_text())
    assert all(task["data"]["image"].startswith("data:image/png;base64,") for task in tasks)
    assert '<Image name="points" value="$image"' in (tmp_path / "q.config.xml").read_text()


def test_names_of_features_and_classes_are_escaped(tmp_path):
    names = ('<b> & "x"', "$image ${y}\n'z'")
    data = points(names, feature_names=("<script>", "a&b", '"c"'))
    queue = make_queue(audit(data.X, data.y, certificate=False), data, 3)
    write_queue(queue, tmp_path / "q.json", data)
    tasks = json.loads((tmp_path / "q.json").read_text())
    assert "<th>&lt;script&gt;</th>" in tasks[0]["data"]["html"]
    assert "<script" not in tasks[0]["data"]["html"]
    choices = list(interface(tmp_path).iter("Choice"))
    assert sorted(c.get("alias") or c.get("value") for c in choices) == sorted([*names, "?"])
    assert not any("$" in (choice.get("value") or "") for choice in choices)


def test_sparse_rows_show_what_is_not_zero(tmp_path):
    data = points()
    X = sp.csr_array(np.pad(data.X, ((0, 0), (0, 997))))
    data = dataclasses.replace(data, X=X)
    queue = make_queue(audit(data.X, data.y, certificate=False), data, 1)
    write_queue(queue, tmp_path / "q.json", data)
    (task,) = json.loads((tmp_path / "q.json").read_text())
    assert task["data"]["html"].count("<tr>") == 3
    wide = dataclasses.replace(data, X=np.tile(points().X, 50))
    write_queue(queue, tmp_path / "q.json", wide)
    (task,) = json.loads((tmp_path / "q.json").read_text())
    assert task["data"]["html"].count("<tr>") == 100
    assert "and 50 more features" in task["data"]["html"]


def test_words_for_cannot_tell_give_way_to_classes():
    assert 'value="skip" hint' in labeling_config(["?", "a"], images=False)
    assert "hint" not in labeling_config(["?", "skip"], images=False)


def test_what_xml_cannot_hold_is_refused(tmp_path):
    data = points(("a\x00b", "c"))
    queue = make_queue(audit(data.X, data.y, certificate=False), data, 1)
    with pytest.raises(InputError, match="XML cannot hold"):
        write_queue(queue, tmp_path / "q.json", data)
    assert not list(tmp_path.iterdir())


def test_a_file_is_the_same_data_in_every_format(tmp_path):
    text = "a,b,label\n0.1,2,cat\n3,4,ship\n5,6,\n"
    (tmp_path / "p.csv").write_text(text)
    data = read_input(tmp_path / "p.csv")
    np.savez(tmp_path / "p.npz", X=data.X, y=np.array(["cat", "ship", ""]))
    frame = pd.DataFrame(data.X, columns=["a", "b"]).assign(label=["cat", "ship", None])
    frame.to_parquet(tmp_path / "p.parquet")
    known = {fingerprint_data(read_input(tmp_path / f"p.{s}").X) for s in ("csv", "npz", "parquet")}
    assert len(known) == 1
