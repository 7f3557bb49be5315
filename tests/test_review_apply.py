"""Filled queues read, refused where they cannot be trusted, and applied to data of every format."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import os
import zipfile
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from gssl_poison.datasets import hide_labels, load_dataset
from gssl_poison.exceptions import InputError
from gssl_poison.labels import is_missing
from gssl_poison.readers import read_input
from gssl_poison.review import applying
from gssl_poison.review.answers import read_answers
from gssl_poison.review.applying import apply_answers
from gssl_poison.review.cells import relabel_delimited
from gssl_poison.review.fingerprints import fingerprint_data, fingerprint_row, label_text
from gssl_poison.review.writing import label_array

TABLE = "height,species,width\n1.50,cat,2\n2,ship,0.5\n3.0,cat,1\n9,,4\n"


def table(folder, text=TABLE, name="points.csv"):
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def queue(path, dataset, answers, *, label=None, mark=None, separator=","):
    """Write a filled queue: `answers` is point -> text, in the order of the file."""
    known = fingerprint_data(dataset.X)
    lines = [["order", "point", "label", "answer", "row", "data"]]
    for order, (point, answer) in enumerate(answers.items(), 1):
        own = dataset.y[point] if label is None else label
        row = fingerprint_row(dataset.X, point, own)
        lines.append([order, point, label_text(own), answer, row, known])
    text = io.StringIO()
    csv.writer(text, delimiter=separator, lineterminator="\n").writerows(lines)
    path.write_text(text.getvalue(), encoding="utf-8")
    return path


def applied(path, answers, out, *, label=None, unlabeled=None, new_classes=False, force=False):
    """Read, fill a queue, apply; return what was done."""
    dataset = read_input(path, label=label)
    filled = queue(path.with_name("queue.csv"), dataset, answers)
    given = read_answers(filled, dataset, unlabeled=unlabeled, new_classes=new_classes)
    return apply_answers(dataset, given, out, force=force)


def refused(text, call, *arguments, **options):
    with pytest.raises(InputError) as caught:
        call(*arguments, **options)
    assert text in str(caught.value), str(caught.value)
    return str(caught.value)


# -- reading answers ---------------------------------------------------------------------------


@pytest.fixture
def data(tmp_path):
    return read_input(table(tmp_path), label="species")


def test_answers_are_read_in_order(data, tmp_path):
    filled = queue(tmp_path / "q.csv", data, {2: "ship", 0: "cat", 1: ""})
    found = read_answers(filled, data)
    assert found.points.tolist() == [2, 0]
    assert (found.labels, found.asked, found.now) == (("ship", "cat"), ("cat",) * 2, ("cat",) * 2)
    assert found.places == ("line 2", "line 3")
    assert (found.unanswered, len(found)) == (1, 2)
    assert found.known() == {2: "ship", 0: "cat"}


@pytest.mark.parametrize("word", ["?", "skip", " Skip "])
def test_cannot_tell_is_looked_at_and_not_known(data, tmp_path, word):
    found = read_answers(queue(tmp_path / "q.csv", data, {0: word}), data)
    assert found.labels == (None,)
    assert (found.known(), found.unanswered) == ({}, 0)


def test_a_class_named_like_the_word_is_the_class(tmp_path):
    path = table(tmp_path, TABLE.replace("ship", "skip"))
    skip = read_input(path, label="species")
    found = read_answers(queue(tmp_path / "q.csv", skip, {0: "skip", 2: "?"}), skip)
    assert found.labels == ("skip", None)


def test_what_spreadsheets_leave_is_read(data, tmp_path):
    filled = queue(tmp_path / "q.csv", data, {0: "ship"}, separator=";")
    text = filled.read_text().replace("\n", "\r\n") + ";;;;;\r\n\r\n;;;;;\r\n"
    filled.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert read_answers(filled, data).known() == {0: "ship"}
    # Columns moved, added, emptied at the end and renamed in capitals; informative ones deleted.
    frame = pd.read_csv(filled, sep=";").dropna(how="all").astype({"point": int})
    frame = frame[["data", "answer", "row", "point"]].rename(columns=str.upper).assign(mine="note")
    text = frame.to_csv(index=False, sep="\t").replace("mine\n", "mine\t\t\n")
    filled.with_suffix(".tsv").write_text(text.replace("note\n", "note\t\t\n"))
    assert read_answers(filled.with_suffix(".tsv"), data).known() == {0: "ship"}


def test_line_numbers_count_the_lines_of_the_file(data, tmp_path):
    filled = queue(tmp_path / "q.csv", data, {0: "cat", 1: "catt"})
    text = filled.read_text().splitlines()
    text[1] = text[1].replace("cat,cat", '"cat",cat')
    # A blank line, and a cell over two lines: the second row begins on the fifth line.
    lines = ["note," + text[0], "", '"two\nlines",' + text[1], '"three\n\nlines",' + text[2]]
    filled.write_text("\n".join(lines) + "\n")
    found = refused("line 5 of", read_answers, filled, data)
    assert "answers 'catt', which is no class of points.csv ('cat', 'ship'; did you mean" in found


def edited(tmp_path, data, old, new, answers=None):
    filled = queue(tmp_path / "q.csv", data, answers or {0: "ship", 1: "cat"})
    text = filled.read_text()
    assert old in text
    filled.write_text(text.replace(old, new))
    return filled


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "2,1,ship",
            "2,4,ship",
            "line 3 of {file} names point '4'; points.csv has the points 0",
        ),
        ("2,1,ship", "2,-1,ship", "line 3 of {file} names point '-1'"),
        ("2,1,ship", "2,1.0,ship", "line 3 of {file} names point '1.0'"),
        ("2,1,ship", "2,nan,ship", "line 3 of {file} names point 'nan'"),
        ("2,1,ship", "2,,ship", "line 3 of {file} names point ''"),
        ("2,1,ship", f"2,{'9' * 5000},ship", "line 3 of {file} names point '999"),
        ("2,1,ship", "2,\uff11,ship", "line 3 of {file} names point '\uff11'"),
        ("2,1,ship", "2,3,ship", "line 3 of {file} names point 3, which has no label"),
        ("2,1,ship", "2,0,ship", "line 3 of {file} answers point 0 again, after line 2"),
        ("2,1,ship,cat,x", "2,1,ship,cat,y", "line 3 of {file} was asked about point 1 as it was"),
        ("2,1,ship,cat,", "2,1,ship,ca,", "line 3 of {file} answers 'ca', which is no class"),
        ("2,1,ship,cat,", "2,1,ship,nan,", "line 3 of {file} answers 'nan', which is no class"),
        ("2,1,ship,cat,", "2,1,ship,cat,ship,", "line 3 of {file} has 7 cells and the header 6"),
        ("2,1,ship,cat,", "2,1,ship,", "line 3 of {file} has 5 cells and the header 6"),
        ("2,1,ship,cat", '2,1,ship,"cat', "line 3 of {file} cannot be read as cells"),
        (
            "answer",
            "anser",
            "no column 'answer'; its columns are 'order', 'point', 'label', 'a",
        ),
        ("order", "row", "several columns named 'row'"),
        ("order,", "", "line 2 of {file} has 6 cells and the header 5"),
    ],
)
def test_what_cannot_be_trusted_is_refused_with_its_line(data, tmp_path, old, new, message):
    filled = edited(tmp_path, data, old, new)
    refused(message.format(file=filled), read_answers, filled, data)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty (0 bytes)"),
        (b"\n\n", "holds blank lines only"),
        (b"point,answer,row,data\n", "has no row of a queue"),
        ("point,answer,row,data\n0,ä,x,x\n".encode("latin-1"), 'save it as "CSV UTF-8"'),
        ("point,answer,row,data\n".encode("utf-16"), 'save it as "CSV UTF-8"'),
    ],
)
def test_files_that_are_no_queue(data, tmp_path, content, message):
    path = tmp_path / "q.csv"
    path.write_bytes(content)
    refused(message, read_answers, path, data)


def test_files_that_are_not_there(data, tmp_path):
    refused("there is no file", read_answers, tmp_path / "none.csv", data)
    path = table(tmp_path, "x", "q.xlsx")
    refused("ends in '.xlsx'; give the filled .csv", read_answers, path, data)


def test_another_data_set_is_refused_even_unanswered(data, tmp_path):
    filled = queue(tmp_path / "q.csv", data, {0: ""})
    other = read_input(table(tmp_path, TABLE.replace("9,", "9.5,"), "other.csv"), label="species")
    refused("line 2 of", read_answers, filled, other)
    refused("is about other data", read_answers, filled, other)


def test_a_label_changed_since_is_refused_and_an_applied_answer_is_not(data, tmp_path):
    filled = queue(tmp_path / "q.csv", data, {0: "ship", 2: "cat"})
    now = read_input(table(tmp_path, TABLE.replace("1.50,cat", "1.50,ship")), label="species")
    found = read_answers(filled, now)
    assert (found.asked, found.now) == (("cat", "cat"), ("ship", "cat"))
    now = read_input(table(tmp_path, TABLE.replace("3.0,cat", "3.0,ship")), label="species")
    text = refused("line 3 of", read_answers, filled, now)
    assert "when its label was 'cat', and now it is 'ship'" in text


def test_an_answer_that_left_a_class_without_labels_is_still_known(data, tmp_path):
    filled = queue(tmp_path / "q.csv", data, {1: "cat"})
    now = read_input(table(tmp_path, TABLE.replace("ship", "cat")), label="species")
    assert read_answers(filled, now).asked == ("ship",)


def test_numbers_are_classes_however_they_are_typed(tmp_path):
    path = table(tmp_path, "a,label\n1,1\n2,-1\n3,7\n4,\n")
    data = read_input(path)
    filled = queue(tmp_path / "q.csv", data, {0: "7.0", 1: "+1", 2: "-1"})
    assert read_answers(filled, data, unlabeled=np.nan).known() == {0: 7, 1: 1, 2: -1}


@pytest.mark.parametrize(
    ("labels", "answer", "new"),
    [
        (("a", "b"), "bird", "bird"),
        ((1, 2), "3", 3),
        ((1, 2), "bird", "must be of their type"),
        ((1, 2), "2.5", "must be of their type"),
        ((0, 2), "-1", "means unlabelled"),
        ((0, 2), "9" * 400, "must be of their type"),
        ((True, False), "2", "must be of their type"),
    ],
)
def test_new_classes_are_refused_until_allowed(tmp_path, labels, answer, new):
    path = tmp_path / "p.parquet"
    pq.write_table(pa.table({"a": [1.0, 2.0, 3.0], "label": [*labels, None]}), path)
    data = read_input(path)
    filled = queue(tmp_path / "q.csv", data, {0: answer})
    refused("which is no class", read_answers, filled, data)
    if isinstance(new, str) and " " in new:
        refused(new, read_answers, filled, data, new_classes=True)
    else:
        assert read_answers(filled, data, new_classes=True).labels == (new,)


def test_the_mark_of_unlabelled_points_is_no_answer(tmp_path):
    path = table(tmp_path, "a,label\n1,cat\n2,ship\n3,unknown\n")
    data = read_input(path)
    filled = queue(tmp_path / "q.csv", data, {0: "unknown"})
    text = refused("line 2", read_answers, filled, data, unlabeled="unknown", new_classes=True)
    assert "means unlabelled; answer '?'" in text
    queue(tmp_path / "q.csv", data, {2: "cat"})
    refused("which has no label", read_answers, filled, data, unlabeled="unknown")


def test_formulas_in_class_names_come_back(tmp_path):
    path = table(tmp_path, "a,label\n1,=1+1\n2,'=1+1\n3,\n")
    data = read_input(path)
    filled = queue(tmp_path / "q.csv", data, {0: "''=1+1", 1: "'=1+1"})
    assert read_answers(filled, data).known() == {0: "'=1+1", 1: "=1+1"}


# -- tables of text ----------------------------------------------------------------------------


def test_only_label_cells_of_a_csv_change(tmp_path):
    text = (
        '\ufeff"id,\r\nno",label,"note"\r\n'
        ' 1.50 ,"cat",2\r\n'
        "\r\n"
        '"2","sh""ip",0.5\r\n'
        '3e0,"two\r\nlines",1\n'
        "4,cat,+1.000\r"
        "9,,4"
    )
    path = table(tmp_path, text)
    done = applied(path, {0: 'sh"ip', 2: "cat", 1: "two\r\nlines", 3: 'sh"ip'}, tmp_path / "c.csv")
    wanted = (
        '\ufeff"id,\r\nno",label,"note"\r\n'
        ' 1.50 ,"sh""ip",2\r\n'
        "\r\n"
        '"2","two\r\nlines",0.5\r\n'
        '3e0,"cat",1\n'
        '4,"sh""ip",+1.000\r'
        "9,,4"
    )
    assert (tmp_path / "c.csv").read_bytes() == wanted.encode()
    assert path.read_bytes() == text.encode()
    assert done.points.tolist() == [0, 2, 1, 3]
    assert done.old == ("cat", "two\r\nlines", 'sh"ip', "cat")


def cell(text, quoted):
    if quoted or any(c in text for c in ',"\r\n'):
        return '"' + text.replace('"', '""') + '"'
    return text


NAMES = st.sampled_from(["cat", "ship", 'a"b', "x,y", "two\nlines", "é", "=1"])
ENDS = ["\n", "\r\n", "\r", "\n\n"]


@given(
    rows=st.lists(
        st.tuples(NAMES, st.booleans(), st.booleans(), st.sampled_from(ENDS)),
        min_size=1,
        max_size=8,
    ),
    place=st.integers(0, 2),
    new=st.data(),
    bom=st.booleans(),
    last=st.booleans(),
)
def test_any_csv_keeps_every_other_character(rows, place, new, bom, last):
    """Built cell by cell, so that what must come out is known character by character."""
    names = [name for name, *_ in rows]
    changed = new.draw(
        st.dictionaries(st.integers(0, len(rows) - 1), st.none() | st.sampled_from(names))
    )

    def built(labels):
        lines = []
        for (_, _, other, end), label in zip(rows, labels, strict=True):
            # An unquoted cell stays so unless the new name needs quotes; a quoted one stays quoted.
            cells = [cell("1,5" if other else "1", False), cell(' "q" ', other)]
            cells.insert(place, label)
            lines.append(",".join(cells) + end)
        text = ("\ufeff" if bom else "") + "a,b,c\n" + "".join(lines)
        return text if last else text.rstrip("\r\n")

    raw = [cell(name, quoted) for name, quoted, *_ in rows]
    written = {}
    for name, text in zip(names, raw, strict=True):
        written.setdefault(name, text)
    wanted = list(raw)
    for row, label in changed.items():
        kept = raw[row].startswith('"')
        wanted[row] = cell("" if label is None else label, kept)
    assert relabel_delimited(built(raw), ",", place, names, changed) == built(wanted)


def test_a_class_is_written_as_the_file_writes_it(tmp_path):
    path = table(tmp_path, "a,label\n1,1.00\n2,2.0\n3,1.0\n4,\n")
    applied(path, {1: "1"}, tmp_path / "c.csv")
    assert (tmp_path / "c.csv").read_text() == "a,label\n1,1.00\n2,1.00\n3,1.0\n4,\n"


def test_a_confirmed_label_keeps_its_bytes(tmp_path):
    path = table(tmp_path, "a,label\n1, 7\n2,+1\n3,1\n4,nan\n5, \n")
    done = applied(path, {0: "7", 1: "1", 2: "?"}, tmp_path / "c.csv")
    assert (tmp_path / "c.csv").read_bytes() == path.read_bytes()
    assert (done.confirmed, done.cannot_tell, len(done.points)) == (2, 1, 0)


@pytest.mark.parametrize(("suffix", "opened"), [(".gz", gzip.open), (".bz2", bz2.open)])
def test_packed_tables(tmp_path, suffix, opened):
    path = tmp_path / f"points.tsv{suffix}"
    with opened(path, "wb") as stream:
        stream.write(TABLE.replace(",", "\t").encode())
    applied(path, {0: "ship"}, tmp_path / f"c.tsv{suffix}", label="species")
    with opened(tmp_path / f"c.tsv{suffix}") as stream:
        assert stream.read().decode() == TABLE.replace(",", "\t").replace("cat", "ship", 1)
    applied(path, {0: "ship"}, tmp_path / "c.tsv", label="species")
    assert (tmp_path / "c.tsv").read_text() == TABLE.replace(",", "\t").replace("cat", "ship", 1)


def test_marks_and_empty_cells_stay_unlabelled(tmp_path):
    path = table(tmp_path, "a,label\n1,cat\n2,ship\n3,unknown\n4,\n5,unknown\n")
    for name in ("c.csv", "c.tsv", "c.parquet", "c.npz"):
        applied(path, {0: "ship"}, tmp_path / name, unlabeled="unknown")
        y = read_input(tmp_path / name).y.tolist()
        assert [v or None for v in y] == ["ship", "ship", "unknown", None, "unknown"]


def test_labels_hidden_on_the_command_line_are_written_empty(tmp_path):
    path = table(tmp_path, "a,label\n1,cat\n2,ship\n3,cat\n4,ship\n")
    whole = read_input(path)
    half = replace(whole, y=hide_labels(whole.y, 2, 0), truth=whole.y)
    keep = [row for row, value in enumerate(half.y) if value is not None]
    filled = queue(tmp_path / "q.csv", half, {keep[0]: "ship", keep[1]: "ship"})
    for name in ("c.csv", "c.tsv", "c.parquet", "c.npz"):
        apply_answers(half, read_answers(filled, half), tmp_path / name)
        y = read_input(tmp_path / name).y.tolist()
        assert [v or None for v in y] == ["ship" if row in keep else None for row in range(4)]


# -- other formats -----------------------------------------------------------------------------


@pytest.fixture
def typed(tmp_path):
    """A Parquet table of many types, with metadata of its own."""
    frame = pa.table(
        {
            "small": pa.array([1, 2, 3, 4], pa.int8()),
            "half": pa.array([0.1, 0.2, 0.3, 0.4], pa.float32()),
            "flag": pa.array([True, False, True, False]),
            "species": pa.array(["cat", "ship", None, "cat"]).dictionary_encode(),
            "by": pa.array(["ann", None, "bob", "bob"], pa.large_string()),
        }
    ).replace_schema_metadata({"made": "by hand"})
    path = tmp_path / "typed.parquet"
    pq.write_table(frame, path)
    return path


def test_parquet_keeps_types_and_everything_else(typed, tmp_path):
    data = read_input(typed, label="species", provenance="by")
    filled = queue(tmp_path / "q.csv", data, {0: "ship", 1: "bird"})
    given = read_answers(filled, data, new_classes=True)
    apply_answers(data, given, tmp_path / "c.parquet")
    before, after = pq.read_table(typed), pq.read_table(tmp_path / "c.parquet")
    assert after.schema.equals(before.schema, check_metadata=True)
    assert after.column("species").to_pylist() == ["ship", "bird", None, "cat"]
    assert after.drop(["species"]).equals(before.drop(["species"]))


def test_parquet_refuses_what_its_type_cannot_hold(tmp_path):
    path = tmp_path / "p.parquet"
    labels = pa.array([1, 2, None], pa.int8())
    pq.write_table(pa.table({"a": [1.0, 2.0, 3.0], "label": labels}), path)
    applied(path, {0: "2"}, tmp_path / "c.parquet")
    assert pq.read_table(tmp_path / "c.parquet").column("label").type == pa.int8()
    refused(
        "holds int8 values, and a new label is none",
        applied,
        path,
        {0: "300"},
        tmp_path / "d.parquet",
        new_classes=True,
    )
    assert not (tmp_path / "d.parquet").exists()


def test_parquet_without_empty_cells_takes_hidden_labels(tmp_path):
    fields = [pa.field("a", pa.float64()), pa.field("label", pa.int8(), nullable=False)]
    table = pa.table({"a": [1.0, 2.0, 3.0], "label": [1, 2, 1]}, schema=pa.schema(fields))
    pq.write_table(table, tmp_path / "p.parquet")
    whole = read_input(tmp_path / "p.parquet")
    half = replace(whole, y=np.array([1, 2, None], dtype=object), truth=whole.y)
    filled = queue(tmp_path / "q.csv", half, {0: "2"})
    apply_answers(half, read_answers(filled, half), tmp_path / "c.parquet")
    column = pq.read_table(tmp_path / "c.parquet").column("label")
    assert (column.to_pylist(), column.type) == ([2, 2, None], pa.int8())


def test_provenance_survives_a_change_of_format(typed, tmp_path):
    data = read_input(typed, label="species", provenance="by")
    filled = queue(tmp_path / "q.csv", data, {0: "ship"})
    for name in ("c.csv", "c.tsv.gz", "c.npz"):
        apply_answers(data, read_answers(filled, data), tmp_path / name)
        label = None if name.endswith("npz") else "species"
        back = read_input(tmp_path / name, label=label, provenance="by")
        assert back.provenance.tolist() == ["ann", None, "bob", "bob"]
        assert [v or None for v in back.y.tolist()] == ["ship", "ship", None, "cat"]
        assert (back.X.astype(np.float64) == data.X.astype(np.float64)).all()


def test_csv_becomes_parquet_with_all_columns_in_order(tmp_path):
    path = table(tmp_path)
    applied(path, {0: "ship"}, tmp_path / "clean.parquet", label="species")
    after = pq.read_table(tmp_path / "clean.parquet")
    assert after.column_names == ["height", "species", "width"]
    assert after.column("species").to_pylist() == ["ship", "ship", "cat", None]
    assert after.column("height").to_pylist() == [1.5, 2.0, 3.0, 9.0]


def archive(path, **arrays):
    np.savez_compressed(path, **arrays)
    return path


def test_npz_keeps_every_other_array_unread(tmp_path):
    secret = np.array([{"never": "opened"}], dtype=object)
    X = np.arange(8, dtype=np.float32).reshape(4, 2)
    y = np.array([[1], [2], [-1], [1]], dtype=np.int16)
    path = archive(tmp_path / "p.npz", X=X, y=y, other=secret, image_shape=np.array([1, 2]))
    applied(path, {0: "2"}, tmp_path / "c.npz", unlabeled=-1)
    with zipfile.ZipFile(path) as before, zipfile.ZipFile(tmp_path / "c.npz") as after:
        assert before.namelist() == after.namelist()
        for name in before.namelist():
            assert (before.read(name) == after.read(name)) is (name != "y.npy")
            assert before.getinfo(name).compress_type == after.getinfo(name).compress_type
    with np.load(tmp_path / "c.npz") as after:
        assert after["y"].dtype == np.int16
        assert after["y"].tolist() == [[2], [2], [-1], [1]]


def test_npz_labels_grow_where_they_must(tmp_path):
    X = np.arange(3.0).reshape(3, 1)
    path = archive(tmp_path / "t.npz", X=X, y=np.array(["a", "bb", ""]))
    applied(path, {0: "longer"}, tmp_path / "c.npz", new_classes=True)
    assert read_input(tmp_path / "c.npz").y.tolist() == ["longer", "bb", ""]
    path = archive(tmp_path / "u.npz", X=X, y=np.array([1.0, 2.0, np.nan]))
    applied(path, {0: "300"}, tmp_path / "d.npz", new_classes=True)
    assert read_input(tmp_path / "d.npz").y.tolist()[:2] == [300.0, 2.0]
    path = archive(tmp_path / "v.npz", X=X, y=np.array([1, 2, 255], dtype=np.uint8))
    applied(path, {0: "300"}, tmp_path / "e.npz", unlabeled=255, new_classes=True)
    assert read_input(tmp_path / "e.npz").y.tolist() == [300, 2, 255]


@pytest.mark.parametrize("values", [[1, 0], [True, False], ["a", ""], [1.0, np.nan], [1, None]])
def test_label_arrays_hold_no_objects(values):
    array = label_array(values)
    assert array.dtype.kind != "O"
    assert list(map(label_text, array.tolist())) == list(map(label_text, values))


def test_large_whole_numbers_beside_missing_ones_stay_exact():
    values = [2**53 + 1, None]
    assert label_array(values).tolist() == [str(2**53 + 1), ""]


def test_sparse_archives_and_svmlight(tmp_path):
    X = sp.csr_array(np.array([[0.0, 1.5], [2.0, 0.0], [0.0, 3.0]]))
    path = tmp_path / "p.svm"
    lines = b"# points\n+1 2:1.5 # first\n\n  -1 1:2\nnan 2:3\n"
    path.write_bytes(lines)
    applied(path, {0: "-1"}, tmp_path / "c.svmlight", unlabeled=float("nan"))
    after = (tmp_path / "c.svmlight").read_bytes()
    assert after == b"# points\n-1 2:1.5 # first\n\n  -1 1:2\nnan 2:3\n"
    for name in ("c.csv", "c.parquet"):
        refused("are sparse", applied, path, {0: "-1"}, tmp_path / name, unlabeled=float("nan"))
    applied(path, {0: "-1"}, tmp_path / "c.npz", unlabeled=float("nan"))
    back = read_input(tmp_path / "c.npz")
    assert (back.X != X).nnz == 0
    assert back.y.tolist()[:2] == [-1.0, -1.0]
    applied(tmp_path / "c.npz", {1: "1"}, tmp_path / "d.npz", new_classes=True, unlabeled=np.nan)
    assert read_input(tmp_path / "d.npz").y.tolist()[:2] == [-1.0, 1.0]
    dense = table(tmp_path)
    refused("is svmlight, and", applied, dense, {0: "ship"}, tmp_path / "e.svm", label="species")


def test_named_data_sets(tmp_path):
    data = load_dataset("digits-1-7", labeled=0.1)
    points = [row for row, value in enumerate(data.y) if value is not None][:2]
    other = {1: "7", 7: "1"}
    answers = {row: other[data.y[row]] for row in points}
    filled = queue(tmp_path / "q.csv", data, answers)
    for name in ("c.npz", "c.parquet", "c.csv"):
        done = apply_answers(data, read_answers(filled, data), tmp_path / name)
        assert bool(done.notes) is (name != "c.npz")
        back = read_input(tmp_path / name)
        assert (back.X == data.X).all()
        known = {row: value for row, value in enumerate(back.y.tolist()) if not is_missing(value)}
        assert len(known) == 36
        assert {row: label_text(known[row]) for row in points} == answers
    assert read_input(tmp_path / "c.npz").image_shape == (8, 8)


def test_applying_twice_changes_nothing_more(tmp_path):
    path = table(tmp_path)
    data = read_input(path, label="species")
    filled = queue(tmp_path / "q.csv", data, {0: "ship", 1: "ship"})
    apply_answers(data, read_answers(filled, data), tmp_path / "once.csv")
    clean = read_input(tmp_path / "once.csv", label="species")
    done = apply_answers(clean, read_answers(filled, clean), tmp_path / "twice.csv")
    assert (done.already, done.confirmed, len(done.points)) == (1, 1, 0)
    assert (tmp_path / "twice.csv").read_bytes() == (tmp_path / "once.csv").read_bytes()


# -- what must not happen ----------------------------------------------------------------------


def test_never_in_place_and_never_over_a_file(tmp_path):
    path = table(tmp_path)
    link = tmp_path / "link.csv"
    link.symlink_to(path)
    hard = tmp_path / "hard.csv"
    os.link(path, hard)
    for name in (path, link, hard):
        for force in (False, True):
            refused(
                "is the input, which is never changed",
                applied,
                path,
                {0: "ship"},
                name,
                label="species",
                force=force,
            )
    queue_file = tmp_path / "queue.csv"
    refused("is the answers", applied, path, {0: "ship"}, queue_file, label="species", force=True)
    out = table(tmp_path, "precious", "out.csv")
    refused("exists; give another name", applied, path, {0: "ship"}, out, label="species")
    assert out.read_text() == "precious"
    applied(path, {0: "ship"}, out, label="species", force=True)
    assert out.read_text() == TABLE.replace("cat", "ship", 1)
    assert path.read_text() == TABLE


def test_outputs_that_cannot_be(tmp_path):
    path = table(tmp_path)
    for name, message in (
        ("c.xlsx", "ends in '.xlsx'"),
        ("c", "ends in 'nothing'"),
        ("c.parquet.gz", "ends in '.parquet.gz'"),
        ("none/c.csv", "folder that exists"),
    ):
        refused(message, applied, path, {0: "ship"}, tmp_path / name, label="species")
    (tmp_path / "folder.csv").mkdir()
    refused("folder", applied, path, {0: "ship"}, tmp_path / "folder.csv", label="species")


def test_nothing_answered_is_refused(tmp_path):
    path = table(tmp_path)
    refused("answers nothing", applied, path, {0: ""}, tmp_path / "c.csv", label="species")
    assert not (tmp_path / "c.csv").exists()


@pytest.mark.parametrize("out", ["c.csv", "c.tsv", "c.parquet", "c.npz"])
@pytest.mark.parametrize("end", [KeyboardInterrupt, InputError])
def test_an_interrupt_leaves_nothing_behind(tmp_path, monkeypatch, out, end):
    path = table(tmp_path)
    real = applying.write_relabelled

    def stop(data, target, temporary):
        real(data, target, temporary)
        assert temporary.stat().st_size
        raise end("now")

    monkeypatch.setattr(applying, "write_relabelled", stop)
    with pytest.raises(end):
        applied(path, {0: "ship"}, tmp_path / out, label="species")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["points.csv", "queue.csv"]


def written(path, *, rows=4, shift=0.0, last="1"):
    """Write a small data set of one feature in the format of a suffix."""
    x = np.arange(1.0, rows + 1) + shift
    y = ["1", "2", "nan", last][:rows]
    match path.suffix:
        case ".csv":
            lines = [f"{a},{b}\n" for a, b in zip(x, y, strict=True)]
            path.write_text("a,label\n" + "".join(lines))
        case ".parquet":
            pq.write_table(pa.table({"a": x, "label": list(map(float, y))}), path)
        case ".npz":
            np.savez(path, X=x[:, None], y=np.array(y, dtype=float))
        case _:
            path.write_text("".join(f"{b} 1:{a}\n" for a, b in zip(x, y, strict=True)))
    return path


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npz", ".svm"])
@pytest.mark.parametrize(
    "change", [{"rows": 3}, {"shift": 0.5}, {"last": "2"}, {"last": "nan"}], ids=str
)
def test_a_source_that_changed_since_it_was_read_is_refused(tmp_path, suffix, change):
    path = written(tmp_path / f"p{suffix}")
    data = read_input(path)
    given = read_answers(queue(tmp_path / "q.csv", data, {0: "2"}), data)
    out = tmp_path / f"c{suffix}"
    written(path, **change)
    assert "read it again" in refused("changed since", apply_answers, data, given, out)
    assert not out.exists()
    written(path)
    apply_answers(data, given, out)


def test_a_source_that_is_gone_or_no_text_any_more_is_refused(tmp_path):
    path = table(tmp_path)
    data = read_input(path, label="species")
    given = read_answers(queue(tmp_path / "q.csv", data, {0: "ship"}), data)
    out = tmp_path / "c.csv"
    path.write_bytes(b"\xff\xfe")
    refused("points.csv has changed since", apply_answers, data, given, out)
    path.unlink()
    refused("points.csv has changed since", apply_answers, data, given, out)
    assert not out.exists()


def test_provenance_that_changed_since_is_refused(tmp_path):
    text = "height,who,label\n1,ann,cat\n2,bob,ship\n3,,\n"
    path = table(tmp_path, text)
    data = read_input(path, label="label", provenance="who")
    given = read_answers(queue(tmp_path / "q.csv", data, {0: "ship"}), data)
    path.write_text(text.replace("ann", "eve"))
    for name in ("c.csv", "c.tsv"):
        if name == "c.csv":
            refused("has changed since", apply_answers, data, given, tmp_path / name)
        else:  # written from what was read
            apply_answers(data, given, tmp_path / name)
            assert "ann" in (tmp_path / name).read_text()
    path.write_text(text)
    apply_answers(data, given, tmp_path / "c.csv")


@pytest.mark.parametrize("answer", ["\x1b[31mred", "a\nb", "\ud800"])
def test_names_of_new_classes_hold_no_control_signs(data, tmp_path, answer):
    path = queue(tmp_path / "q.json", data, {})
    task = {
        "data": {
            "point": 0,
            "row": fingerprint_row(data.X, 0, "cat"),
            "data": fingerprint_data(data.X),
        },
        "annotations": [{"result": [{"from_name": "answer", "value": {"choices": [answer]}}]}],
    }
    path.write_text(json.dumps([task]))
    refused("signs that no name", read_answers, path, data, new_classes=True)


def test_answers_of_other_labels_are_refused(data, tmp_path):
    given = read_answers(queue(tmp_path / "q.csv", data, {0: "ship"}), data)
    other = replace(data, y=data.y[[1, 0, 2, 3]])
    refused("read for other labels", apply_answers, other, given, tmp_path / "c.csv")


# -- what Label Studio exports -----------------------------------------------------------------


def task(data, point, *annotations, number=7, **more):
    return {
        "id": number,
        "data": {
            "point": point,
            "row": fingerprint_row(data.X, point, data.y[point]),
            "data": fingerprint_data(data.X),
            "label": label_text(data.y[point]),
        },
        "annotations": list(annotations),
        "predictions": [1, 2],
        **more,
    }


def chosen(*choices, cancelled=False, name="answer"):
    return {
        "id": 1,
        "completed_by": 1,
        "was_cancelled": cancelled,
        "result": [
            {
                "id": "abc",
                "from_name": name,
                "to_name": "points",
                "type": "choices",
                "value": {"choices": list(choices)},
            }
        ],
    }


def export(tmp_path, *tasks):
    path = tmp_path / "export.json"
    path.write_text(json.dumps(list(tasks)), encoding="utf-8")
    return path


def test_annotations_are_answers(data, tmp_path):
    path = export(
        tmp_path,
        task(data, 2, chosen("ship"), number=11),
        task(data, 0, chosen("cat"), chosen("cat"), number=12),
        task(data, 1, number=13),
    )
    found = read_answers(path, data)
    assert found.known() == {2: "ship", 0: "cat"}
    assert found.places == ("task 11", "task 12")
    assert found.unanswered == 1


@pytest.mark.parametrize(
    ("annotations", "wanted"),
    [
        ([chosen("?")], (None,)),
        ([chosen(cancelled=True)], (None,)),
        ([chosen("cat", cancelled=True), chosen("ship")], ("ship",)),
        ([chosen("?"), chosen("ship")], ("ship",)),
        ([chosen()], ()),
        ([chosen("ship", name="other")], ()),
        ([chosen("ship"), chosen("cat", name="other")], ("ship",)),
    ],
)
def test_what_annotations_say_together(data, tmp_path, annotations, wanted):
    assert read_answers(export(tmp_path, task(data, 0, *annotations)), data).labels == wanted


def test_a_class_named_skip_counts_in_label_studio(tmp_path):
    skip = read_input(table(tmp_path, TABLE.replace("ship", "skip")), label="species")
    path = export(tmp_path, task(skip, 0, chosen("skip"), chosen("cat")))
    refused("task 7 of", read_answers, path, skip)
    path = export(tmp_path, task(skip, 0, chosen("skip"), chosen("?")))
    assert read_answers(path, skip).labels == ("skip",)


def spoiled(document, *keys):
    """Set, or take away, what lies below some keys."""
    *path, last, value = keys
    place = document
    for key in path:
        place = place[key]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return document


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (("annotations", None), "task 7 of {file} has no 'data' and 'annotations'"),
        (("data", []), "task 7 of {file} has no 'data' and 'annotations'"),
        (("data", "row", None), "task 7 of {file} has no 'row' in its data"),
        (("data", "row", "x"), "task 7 of {file} was asked about point 0 as it was"),
        (("data", "data", "x"), "task 7 of {file} is about other data"),
        (("data", "point", 1e9), "task 7 of {file} names point '1000000000.0'"),
        (("data", "point", float("nan")), "task 7 of {file} names point 'NaN'"),
        (("data", "point", True), "task 7 of {file} names point 'true'"),
        (("data", "point", 3), "task 7 of {file} names point 3, which has no label"),
        (("annotations", 0, 5), "an annotation without a result"),
        (("annotations", 0, "result", 0, "value", 5), "'answer' that is no choice"),
        (("annotations", 0, "result", 0, "value", "choices", [5]), "'answer' that is no choice"),
        (("annotations", 0, "result", 0, "value", "choices", ["cat", "ship"]), "has 2 choices"),
        (("annotations", 0, "result", 0, "value", "choices", ["dog"]), "answers 'dog'"),
    ],
)
def test_damaged_exports_are_refused_with_their_task(data, tmp_path, keys, message):
    path = export(tmp_path, spoiled(task(data, 0, chosen("ship")), *keys))
    refused(message.format(file=path), read_answers, path, data)


def test_annotators_who_disagree_are_refused(data, tmp_path):
    path = export(tmp_path, task(data, 0, chosen("cat"), chosen("ship")))
    refused(f"task 7 of {path} is answered 'cat' and 'ship'", read_answers, path, data)
    path = export(tmp_path, task(data, 0, chosen("cat")), task(data, 0, chosen("cat"), number=8))
    refused("task 8 of", read_answers, path, data)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ('{"id": 1}', "holds no list of tasks"),
        ("[1]", "task 1 of"),
        ('[{"point": 1, "answer": "cat"}]', "not JSON-MIN"),
        ("[]", "has no row of a queue"),
    ],
)
def test_json_that_is_no_export(data, tmp_path, text, message):
    path = tmp_path / "export.json"
    path.write_text(text)
    refused(message, read_answers, path, data)
