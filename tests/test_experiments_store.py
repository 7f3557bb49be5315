"""The folder of finished cells: what is whole counts, and nothing else does."""

from __future__ import annotations

import base64
import json
import logging
import os
import threading
import time
import zlib

import numpy as np
import pytest

from gssl_poison.exceptions import InputError
from gssl_poison.experiments.store import ASIDE, CELLS, Finished, Store, _hash
from gssl_poison.experiments.tables import COLUMNS, TIMES, table_of, write_tables

KEY = "0123456789abcdef0123456789abcdef"
ROW = {
    "kind": "error",
    "dataset": "digits-1-7",
    "labeled": 0.1,
    "seed": 2020,
    "error": 0.1 + 0.2,
    "note": 'a "quoted" note, ünïcode \u2028',
    "key": KEY,
}
CODES = np.array([0, 1, 9, 2**31 - 1, 0], dtype=np.int64)


@pytest.fixture
def store(tmp_path):
    """A store with one finished cell."""
    store = Store(tmp_path / "out" / "deeper")
    store.save(Finished(KEY, ROW, CODES))
    return store


def assert_set_aside(store, caplog, name=f"{KEY}-1.json"):
    """Load the damaged cell; it counts no more, is kept for a look, and that is said."""
    path = store.path(KEY)
    damaged = path.read_bytes()
    with caplog.at_level(logging.WARNING):
        assert store.load(KEY) is None
    assert not path.exists()
    assert (store.folder / ASIDE / name).read_bytes() == damaged
    assert f"{KEY}.json is damaged" in caplog.text
    assert f"{ASIDE}{os.sep}{name}" in caplog.text
    assert "measured again" in caplog.text
    caplog.clear()
    # Gone is gone: the next look finds nothing, and says nothing.
    assert store.load(KEY) is None
    assert store.keys() == frozenset()
    assert caplog.text == ""


# --- round trip


@pytest.mark.parametrize("codes", [None, CODES, np.zeros(0, dtype=np.int64)], ids=str)
def test_round_trip(tmp_path, codes):
    store = Store(tmp_path)
    store.save(Finished(KEY, ROW, codes))
    found = store.load(KEY)
    assert found.key == KEY
    assert found.row == ROW
    assert list(store.load_all()) == [KEY]
    if codes is None:
        assert found.codes is None
    else:
        assert found.codes.dtype == np.int64
        np.testing.assert_array_equal(found.codes, codes)
    assert [p.name for p in (tmp_path / CELLS).iterdir()] == [f"{KEY}.json"]


def test_numbers_come_back_to_the_last_bit(tmp_path):
    store, rng = Store(tmp_path), np.random.default_rng(0)
    numbers = {f"n{k}": float(v) for k, v in enumerate(rng.normal(size=200) ** 9)}
    numbers |= {"tiny": 5e-324, "large": 1.7976931348623157e308, "minus zero": -0.0}
    store.save(Finished(KEY, numbers))
    assert store.load(KEY).row == numbers


def test_what_is_saved_again_is_replaced(store):
    store.save(Finished(KEY, ROW | {"error": 0.5}))
    assert store.load(KEY).row["error"] == 0.5
    assert store.load(KEY).codes is None


@pytest.mark.parametrize("codes", [[2**31], [-(2**31) - 1]], ids=str)
def test_codes_beyond_32_bits_are_refused(tmp_path, codes):
    with pytest.raises(InputError, match="more than 32 bits hold"):
        Store(tmp_path).save(Finished(KEY, ROW, np.array(codes)))
    assert Store(tmp_path).keys() == frozenset()


def test_nan_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        Store(tmp_path).save(Finished(KEY, {"error": np.nan}))
    assert list((tmp_path / CELLS).iterdir()) == []


def test_an_empty_folder_has_no_cells(tmp_path):
    store = Store(tmp_path / "missing")
    assert store.keys() == frozenset()
    assert store.load(KEY) is None
    assert store.load_all() == {}
    store.remove_unfinished()
    assert not (tmp_path / "missing").exists()


def test_only_some_keys(store):
    other = KEY[::-1]
    store.save(Finished(other, ROW | {"key": other}))
    assert store.keys() == {KEY, other}
    assert list(store.load_all([other])) == [other]
    assert list(store.load_all(["f" * 32])) == []


# --- damage


def test_truncated_anywhere(store, caplog):
    raw = store.path(KEY).read_bytes()
    places = sorted({0, 1, 2, 15, len(raw) // 2, len(raw) - 40, *range(len(raw) - 6, len(raw) - 1)})
    for count, place in enumerate(places, 1):
        store.path(KEY).write_bytes(raw[:place])
        assert_set_aside(store, caplog, f"{KEY}-{count}.json")
    # The newline at its end is no content.
    store.path(KEY).write_bytes(raw[:-1])
    assert store.load(KEY).row == ROW


def test_every_single_flipped_byte(store, caplog):
    raw = store.path(KEY).read_bytes()
    rng = np.random.default_rng(0)
    for place in range(len(raw) - 1):
        changed = bytearray(raw)
        changed[place] ^= 1 << int(rng.integers(8))
        store.path(KEY).write_bytes(changed)
        found = store.load(KEY)
        assert found is None, f"byte {place} {raw[place : place + 1]!r} -> {changed[place]:#x}"
    assert len(list((store.folder / ASIDE).iterdir())) == len(raw) - 1
    store.path(KEY).write_bytes(raw)
    assert store.load(KEY).row == ROW


def whole(content):
    """Give a file with a hash that fits its content, whatever that is."""
    text = json.dumps(content)
    return json.dumps({"content": text, "sha256": _hash(text)})


RAW = base64.b64encode(zlib.compress(CODES.astype("<i4").tobytes())).decode()
NO_CELLS = {
    "empty": "",
    "no JSON": "half a ce",
    "no UTF-8": b"\xff\xfe{}",
    "null": "null",
    "a number": "12",
    "a text": '"content"',
    "a list": '["content", "sha256"]',
    "an empty object": "{}",
    "content of another type": '{"content": 5, "sha256": ""}',
    "content that is an object": '{"content": {}, "sha256": ""}',
    "content that UTF-8 has not": '{"content": "\\ud800", "sha256": ""}',
    "no hash": '{"content": "{}"}',
    "another hash": json.dumps({"content": "{}", "sha256": _hash("[]")}),
    "more than there should be": json.dumps({"content": "{}", "sha256": _hash("{}"), "more": 1}),
    "deep nesting": "[" * 100_000,
    "deep nesting, closed": "[" * 100_000 + "]" * 100_000,
    "deep nesting, hashed": json.dumps({"content": "[" * 100_000, "sha256": _hash("[" * 100_000)}),
    "a long number": "9" * 5000,
    "two objects": whole({"key": KEY, "row": {}}) * 2,
    "hashed: a list": whole([]),
    "hashed: no key": whole({"row": {}}),
    "hashed: no row": whole({"key": KEY}),
    "hashed: another key": whole({"key": KEY[::-1], "row": ROW}),
    "hashed: a row that is a list": whole({"key": KEY, "row": [1, 2]}),
    "hashed: a row that is null": whole({"key": KEY, "row": None}),
    "hashed: codes that are none": whole({"key": KEY, "row": ROW, "codes": 5}),
    "hashed: codes without a number": whole({"key": KEY, "row": ROW, "codes": {"zlib": RAW}}),
    "hashed: codes no base64": whole({"key": KEY, "row": ROW, "codes": {"n": 5, "zlib": "é"}}),
    "hashed: codes no zlib": whole({"key": KEY, "row": ROW, "codes": {"n": 5, "zlib": "QUJD"}}),
    "hashed: fewer codes": whole({"key": KEY, "row": ROW, "codes": {"n": 6, "zlib": RAW}}),
    "hashed: part of a code": whole(
        {
            "key": KEY,
            "row": ROW,
            "codes": {"n": 1, "zlib": base64.b64encode(zlib.compress(b"abc")).decode()},
        }
    ),
}


@pytest.mark.parametrize("text", NO_CELLS.values(), ids=NO_CELLS)
def test_what_is_no_cell(store, caplog, text):
    store.path(KEY).write_bytes(text if isinstance(text, bytes) else text.encode())
    assert_set_aside(store, caplog)


def test_the_same_content_hashed_right_is_a_cell(store):
    # Guards the table above: its files fail for what they are named after.
    codes = {"n": 5, "zlib": RAW}
    store.path(KEY).write_text(whole({"key": KEY, "row": ROW, "codes": codes}))
    assert store.load(KEY).row == ROW
    np.testing.assert_array_equal(store.load(KEY).codes, CODES)


def test_a_copy_under_another_name_is_no_other_cell(store, caplog):
    other = KEY[::-1]
    store.path(other).write_bytes(store.path(KEY).read_bytes())
    with caplog.at_level(logging.WARNING):
        assert list(store.load_all()) == [KEY]
    assert f"it holds the cell {KEY}" in caplog.text


def test_a_folder_in_its_place(store, caplog):
    store.path(KEY).unlink()
    store.path(KEY).mkdir()
    with caplog.at_level(logging.WARNING):
        assert store.load(KEY) is None
    assert (store.folder / ASIDE / f"{KEY}-1.json").is_dir()
    assert "damaged" in caplog.text
    store.save(Finished(KEY, ROW))
    assert store.load(KEY).row == ROW


def test_what_was_set_aside_is_never_overwritten(store, caplog):
    for count in (1, 2, 3):
        store.path(KEY).write_text(f"damage {count}")
        assert_set_aside(store, caplog, f"{KEY}-{count}.json")
    kept = sorted((store.folder / ASIDE).iterdir())
    assert [p.read_text() for p in kept] == ["damage 1", "damage 2", "damage 3"]


def test_another_run_may_set_it_aside_first(store, monkeypatch):
    store.path(KEY).write_text("damage")
    read = type(store.path(KEY)).read_bytes

    def taken_away(path):
        raw = read(path)
        path.unlink()
        return raw

    monkeypatch.setattr(type(store.path(KEY)), "read_bytes", taken_away)
    assert store.load(KEY) is None


# --- what is not finished


def test_unfinished_files_never_count(store):
    raw = store.path(KEY).read_bytes()
    half = store.folder / CELLS / f".{KEY[::-1]}-0a1b2c3d4e5f.json"
    half.write_bytes(raw)
    assert store.keys() == {KEY}
    assert list(store.load_all()) == [KEY]


def test_unfinished_files_are_removed_after_an_hour(store):
    cells = store.folder / CELLS
    names = {
        cells / f".{KEY}-0a1b2c3d4e5f.json": True,
        cells / ".probe-0a1b2c3d4e5f": True,
        store.folder / ".results-0a1b2c3d4e5f.csv": True,
        store.folder / ".results-0a1b2c3d4e5f.parquet": True,
        # Not ours.
        store.folder / ".gitignore": False,
        cells / "notes.txt": False,
        store.path(KEY): False,
    }
    for path in names:
        if path != store.path(KEY):
            path.write_text("")
        os.utime(path, (time.time() - 3500.0,) * 2)
    store.remove_unfinished()
    assert all(path.exists() for path in names)
    for path in names:
        os.utime(path, (time.time() - 3700.0,) * 2)
    store.remove_unfinished()
    assert {path: not path.exists() for path in names} == names


def test_a_write_that_fails_leaves_what_was_there(store, monkeypatch):
    before = store.path(KEY).read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        store.save(Finished(KEY, ROW | {"error": 0.9}))
    assert [p.name for p in (store.folder / CELLS).iterdir()] == [f"{KEY}.json"]
    assert store.path(KEY).read_bytes() == before


def test_two_writers_and_a_reader_of_one_key(store):
    rows = [ROW | {"error": float(k), "note": "x" * 5000 * k} for k in (1, 2)]
    over, wrong = threading.Event(), []

    def write(row):
        for _ in range(40):
            store.save(Finished(KEY, row, CODES))

    def read():
        while not over.is_set():
            found = store.load(KEY)
            if found is None or (found.row not in rows and found.row != ROW):
                wrong.append(found)

    reader = threading.Thread(target=read)
    reader.start()
    writers = [threading.Thread(target=write, args=(row,)) for row in rows]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    over.set()
    reader.join()
    assert wrong == []
    assert store.load(KEY).row in rows
    assert [p.name for p in (store.folder / CELLS).iterdir()] == [f"{KEY}.json"]
    assert not (store.folder / ASIDE).exists()


# --- the folder


def test_a_folder_that_can_be_written_to_is_as_it_was(tmp_path):
    store = Store(tmp_path / "new")
    store.check_writable()
    assert list((tmp_path / "new").rglob("*")) == [tmp_path / "new" / CELLS]


@pytest.mark.parametrize("name", ["out", f"out/{CELLS}", "above"])
def test_a_file_in_its_place_is_refused(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine")
    folder = path / "out" if name == "above" else tmp_path / "out"
    with pytest.raises(InputError, match=r"results cannot be written to .*out.*give another --out"):
        Store(folder).check_writable()
    assert path.read_text() == "mine"


def test_a_folder_that_is_read_only_is_refused(tmp_path):
    (tmp_path / CELLS).mkdir()
    (tmp_path / CELLS).chmod(0o500)
    try:
        if os.access(tmp_path / CELLS, os.W_OK):
            pytest.skip("this user may write to folders that are read-only")
        with pytest.raises(InputError, match="cannot be written"):
            Store(tmp_path).check_writable()
    finally:
        (tmp_path / CELLS).chmod(0o700)


def test_a_full_disk_is_refused(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="No space left on device"):
        Store(tmp_path).check_writable()


def test_two_runs_may_begin_together(tmp_path):
    failed = []

    def begin():
        try:
            for _ in range(50):
                Store(tmp_path).check_writable()
        except InputError as error:
            failed.append(error)

    threads = [threading.Thread(target=begin) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


# --- the table

CELL = {
    "kind": "error",
    "dataset": "digits-1-7",
    "preset": "corrected",
    "labeled": 0.1,
    "seed": 2020,
    "victim": "propagation",
    "attack": "none",
    "repair": "none",
    "model": "forest",
}


def finished(key, when, error=0.5, **changes):
    row = CELL | {"error": error, "finished": when, "key": key} | changes
    return Finished(key, row)


def test_the_row_that_was_finished_last_is_taken():
    old, new = finished("b", "2026-01-01", 0.1), finished("a", "2026-01-02", 0.2)
    for both in ([old, new], [new, old]):
        table = table_of(both)
        assert table["error"].tolist() == [0.2]
        assert table["key"].tolist() == ["a"]
        # Of this software and these data, whenever it was finished.
        assert table_of(both, {"b"})["key"].tolist() == ["b"]


def test_cells_that_differ_are_rows_of_their_own():
    rows = [
        finished("a", "2", seed=2021),
        finished("b", "1", attack="mir", budget=0.1),
        finished("c", "1"),
        Finished(
            "d",
            {"kind": "correlation", "key": "d", "dataset": "digits-1-7", "preset": "corrected"}
            | {"labeled": 0.1, "seed": 2020, "victim": "propagation", "kendall": 0.3},
        ),
    ]
    table = table_of(rows)
    assert len(table) == 4
    assert list(table.columns) == list(COLUMNS)
    assert table["kind"].tolist() == ["correlation", "error", "error", "error"]
    # Sorted by the fields of a cell: the seed before the attack.
    assert table["key"].tolist()[1:] == ["b", "c", "a"]
    assert table["budget"].tolist() == [0.0, 0.1, 0.0, 0.0]
    assert table["attack"].tolist() == ["", "mir", "none", "none"]
    assert table["error"].isna().tolist() == [True, False, False, False]
    assert str(table["flips"].dtype) == "Int64"


def test_an_empty_table_has_its_columns(tmp_path):
    table = table_of([])
    assert list(table.columns) == list(COLUMNS)
    write_tables(table, tmp_path)
    assert (tmp_path / "results.csv").read_text() == ",".join(COLUMNS) + "\n"
    assert set(TIMES) <= set(COLUMNS)
