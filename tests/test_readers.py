"""A person's own files: what every cell becomes, and the sentence that each bad file gets."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import math
import os
import pickle
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from gssl_poison.exceptions import InputError, InputTypeError
from gssl_poison.readers import parse_label_value, read_input

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}


def put(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def labels_of(folder: Path, *cells: str) -> list[Any]:
    path = put(folder, "labels.csv", "x,label\n" + "".join(f"1,{cell}\n" for cell in cells))
    return read_input(path).y.tolist()  # type: ignore[no-any-return]


# --- CSV and TSV: the good ones


def test_csv(tmp_path: Path) -> None:
    path = put(tmp_path, "points.csv", "a,label,b\n1,cat,2.5\n-3e-2,,nan\n.5,ship,inf\n")
    data = read_input(path)
    assert data.name == "points.csv"
    assert data.source == str(path)
    assert isinstance(data.X, np.ndarray)
    assert data.X.dtype == np.float64
    np.testing.assert_array_equal(data.X, [[1, 2.5], [-0.03, math.nan], [0.5, math.inf]])
    assert data.y.tolist() == ["cat", None, "ship"]
    assert data.feature_names == ("a", "b")
    assert data.truth is None
    assert data.image_shape is None


@pytest.mark.parametrize(
    "content",
    [
        "\ufeffa,label\n1,x\n2,y\n",
        "a,label\r\n1,x\r\n2,y\r\n",
        "a,label\r1,x\r2,y\r",
        "\n\na,label\n\n1,x\n2,y\n\n\n",
        "a,label\n1,x\n2,y",
        ' a , label\n 1 ,"x"\n"2",y\n',
        "a,label\n+1,x\n2,y\n",
    ],
    ids=["BOM", "CRLF", "CR", "blank lines", "no end", "spaces and quotes", "plus"],
)
def test_csv_dialects(tmp_path: Path, content: str) -> None:
    data = read_input(put(tmp_path, "points.csv", content))
    assert np.asarray(data.X).tolist() == [[1.0], [2.0]]
    assert data.y.tolist() == ["x", "y"]
    assert data.feature_names == ("a",)


@pytest.mark.parametrize("packed", PACKERS)
def test_packed_text(tmp_path: Path, packed: str) -> None:
    path = put(tmp_path, f"p.TSV{packed}", PACKERS[packed](b"a\tlabel\n1\tx, y\n"))
    assert read_input(path).y.tolist() == ["x, y"]
    path = put(tmp_path, f"p.svm{packed}", PACKERS[packed](b"1 1:2\n"))
    assert read_input(path).y.tolist() == [1]


def test_dots_in_a_name(tmp_path: Path) -> None:
    assert read_input(put(tmp_path, "2024.01.05.csv", "a,label\n1,x\n")).y.tolist() == ["x"]


def test_true_and_false_are_numbers(tmp_path: Path) -> None:
    path = put(tmp_path, "b.csv", "on,a,label\nTrue,1,x\nfalse,2,y\nTRUE, 3,z\n1,4,x\n")
    assert np.asarray(read_input(path).X).tolist() == [[1, 1], [0, 2], [1, 3], [1, 4]]


@given(st.lists(st.floats(allow_nan=False, width=64), min_size=1, max_size=30))
def test_decimal_text_is_read_exactly(
    tmp_path_factory: pytest.TempPathFactory, values: list[float]
) -> None:
    path = tmp_path_factory.getbasetemp() / "exact.csv"
    put(path.parent, path.name, "a,label\n" + "".join(f"{v!r},x\n" for v in values))
    assert np.asarray(read_input(path).X)[:, 0].tolist() == values


def test_types_are_not_guessed_from_the_first_rows(tmp_path: Path) -> None:
    # More than one block: whole numbers first, a decimal and a name at the very end.
    rows = ["1" + "0" * 60 + ",7\n"] * 300_000
    path = put(tmp_path, "long.csv", "a,label\n" + "".join(rows) + "0.5,7.5\n")
    data = read_input(path)
    assert data.X[-1, 0] == 0.5
    assert data.y.dtype == np.float64
    assert data.y[[0, -1]].tolist() == [7.0, 7.5]


# --- label cells


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1", "7", "1"], [1, 7, 1]),
        (["1", "", "7"], [1, None, 7]),
        (["-1", "+1"], [-1, 1]),
        (["1", "nan", "7"], [1, None, 7]),
        (["1.5", "2"], [1.5, 2.0]),
        (["1.0", "2.0"], [1.0, 2.0]),
        (["1", "cat"], ["1", "cat"]),
        (["cat", "", '"  "', "ship"], ["cat", None, None, "ship"]),
        (["NA", "null", "None"], ["NA", "null", "None"]),
        (["1", "NA"], ["1", "NA"]),
        (["cat", "nan"], ["cat", "nan"]),
        (["007", "7"], ["007", "7"]),
        (["1e999", "1"], ["1e999", "1"]),
        (["inf", "1"], ["inf", "1"]),
        (["9" * 18, "1"], [10**18 - 1, 1]),
        (["9" * 19, "1"], ["9" * 19, "1"]),
        (["1_000", "1"], ["1_000", "1"]),
        (["\u0661", "1"], ["\u0661", "1"]),
        (["True", "False"], ["True", "False"]),
        ([" 1", "2 "], [1, 2]),
        ([" cat", "cat"], [" cat", "cat"]),
        (["", ""], [None, None]),
        (["<script>alert(1)</script>", "x"], ["<script>alert(1)</script>", "x"]),
    ],
)
def test_label_cells(tmp_path: Path, cells: list[str], expected: list[Any]) -> None:
    found = labels_of(tmp_path, *cells)
    assert found == expected
    assert [type(v) for v in found] == [type(v) for v in expected]


def test_empty_label_among_decimals_is_nan(tmp_path: Path) -> None:
    first, second = labels_of(tmp_path, "1.5", "")
    assert first == 1.5
    assert math.isnan(second)


def test_label_types(tmp_path: Path) -> None:
    assert read_input(put(tmp_path, "i.csv", "x,label\n1,1\n1,2\n")).y.dtype == np.int64
    assert read_input(put(tmp_path, "o.csv", "x,label\n1,1\n1,\n")).y.dtype == object


# Names that are never numbers; a missing label is an empty cell.
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=8).map(lambda text: "k" + text)


@given(st.lists(st.none() | NAMES, min_size=1, max_size=20), st.sampled_from([".csv", ".tsv"]))
def test_names_survive_csv(
    tmp_path_factory: pytest.TempPathFactory, labels: list[str | None], suffix: str
) -> None:
    path = tmp_path_factory.getbasetemp() / f"names{suffix}"
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, delimiter="," if suffix == ".csv" else "\t")
        writer.writerows([["x", "label"], *([1, label] for label in labels)])
    assert read_input(path).y.tolist() == labels


@given(st.lists(st.none() | st.integers(-(10**18) + 1, 10**18 - 1), min_size=1, max_size=20))
def test_whole_numbers_survive_csv(
    tmp_path_factory: pytest.TempPathFactory, labels: list[int | None]
) -> None:
    path = tmp_path_factory.getbasetemp() / "whole.csv"
    pd.DataFrame({"x": 1.0, "label": pd.array(labels, dtype="Int64")}).to_csv(path, index=False)
    assert read_input(path).y.tolist() == labels


# --- which column


@pytest.mark.parametrize(
    ("header", "label"),
    [
        ("a,label", "label"),
        ("a,y", "y"),
        ("target,a", "target"),
        ("class,a", "class"),
        ("x,y,label", "label"),
    ],
)
def test_default_label_column(tmp_path: Path, header: str, label: str) -> None:
    cells = ["7" if name == label else "1" for name in header.split(",")]
    data = read_input(put(tmp_path, "d.csv", f"{header}\n{','.join(cells)}\n"))
    assert data.y.tolist() == [7]
    assert label not in (data.feature_names or ())


def test_label_by_name(tmp_path: Path) -> None:
    path = put(tmp_path, "d.csv", "a,label,kind\n1,2,x\n")
    data = read_input(path, label="kind")
    assert data.y.tolist() == ["x"]
    assert data.feature_names == ("a", "label")


@pytest.mark.parametrize(
    ("header", "label", "message"),
    [
        ("a,b", None, "no column named label, y, target or class; its columns are 'a', 'b'"),
        ("a,Label", None, "its columns are 'a', 'Label'"),
        ("a,label", "kind", "no column 'kind'; its columns are 'a', 'label'"),
        ("a,y,target", None, "2 columns that may hold the labels, 'y', 'target'"),
        ("label,class,a", None, "2 columns that may hold the labels, 'label', 'class'"),
        ("0.1,0.2", None, "must be a header, and here it looks like a point"),
        ("0.1,0.2,cat", None, "must be a header, and here it looks like a point"),
        ("label", None, "only the label column 'label'; add the features"),
        (",a,label", None, "column 1 .* has no name.*row numbers.*index=False"),
        ("Unnamed: 0,a,label", None, "'Unnamed: 0'.*row numbers"),
        ("a,b,a,label", None, "several columns named 'a'"),
        ("a;b;label", None, "seem to be split by ';'"),
        ("a\tlabel", None, r"split by ',', and they seem to be split by '\\t'"),
        (",".join(f"c{i}" for i in range(20)), None, "'c11' and 8 more"),
    ],
)
def test_columns_refused(tmp_path: Path, header: str, label: str | None, message: str) -> None:
    row = ",".join("1" for _ in header.split(","))
    path = put(tmp_path, "d.csv", f"{header}\n{row}\n")
    with pytest.raises(InputError, match=message) as caught:
        read_input(path, label=label)
    assert str(path) in str(caught.value)


# --- CSV: the bad ones


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("\n\n", "blank lines only"),
        ("a,label\n", "a header and no row below it"),
        ("a,label", "a header and no row below it"),
        ("a,label\n1,x\n2,y,z\n", "has 3 cells on line 3 and 2 in the header"),
        ("a,b,label\n1,2,x\n\n1,2\n", "has 2 cells on line 4 and 3 in the header"),
        ("a,b,label\n1,2,x\n   \n", "has 1 cells on line 3 and 3 in the header"),
        ('a,label\n1,"x\ny"\n2\n', "has 1 cells on line 4 and 2"),
        ("a,b,label\n1,red,x\n", r"not numbers: 'b' \(the first holds 'red' on line 2\)"),
        ("a,label\n1,x\n\nNA,x\n", r"not numbers: 'a' \(the first holds 'NA' on line 4\)"),
        ("a,label\n0x10,x\n", "holds '0x10'"),
        ("a,label\n1_000,x\n", "holds '1_000'"),
        ("a,label\n\u0661,x\n", "holds '\u0661'"),
        ('a,label\n"1,5",x\n', "holds '1,5'"),
        ("a,b,label\n1,2,x\n1,,x\n,2,x\n", "column 'b' .* is empty on line 3"),
        ('a,b,label\n"",1,x\n', "column 'a' .* is empty on line 2"),
        ("a,b,label\n1,  ,x\n", "column 'b' .* is empty on line 2"),
        ('a,b,label\n1,1,"x\n\n"\n1,1,"\n"\n,2,y\n', "column 'a' .* is empty on line 7"),
        ('a,label\n1,"x\n2,y\n3,z\n', "cannot be read as a table.*unexpected end of data"),
        (b"a,label\n1,caf\xe9\n", "is not UTF-8"),
        (b"a\xe9,label\n1,x\n", "is not UTF-8"),
        ("a,label\n1,x\n".encode("utf-16"), "is not UTF-8"),
    ],
)
def test_bad_csv(tmp_path: Path, content: str | bytes, message: str) -> None:
    path = put(tmp_path, "bad.csv", content)
    before = path.read_bytes()
    with pytest.raises(InputError, match=message) as caught:
        read_input(path)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == before


def test_at_most_five_columns_are_named(tmp_path: Path) -> None:
    names = [f"c{i}" for i in range(8)]
    path = put(tmp_path, "t.csv", f"{','.join(names)},label\n{'red,' * 8}x\n")
    with pytest.raises(InputError, match=r"'c0', 'c1', 'c2', 'c3', 'c4' and 3 more \("):
        read_input(path)


@pytest.mark.parametrize("packed", PACKERS)
def test_damaged_packing(tmp_path: Path, packed: str) -> None:
    rows = "".join(f"{v},x\n" for v in np.random.default_rng(0).random(5000))
    whole = PACKERS[packed](f"a,label\n{rows}".encode())
    for name, content in {"half": whole[: len(whole) // 2], "text": b"a,label\n1,x\n"}.items():
        with pytest.raises(InputError, match="damaged"):
            read_input(put(tmp_path, f"{name}.csv{packed}", content))


# --- the path


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("x.npy", r"one array and so no labels.*numpy\.savez"),
        ("x.xlsx", r"suffix '\.xlsx', which does not say how.*\.csv, \.tsv"),
        ("x.txt", "suffix"),
        ("x", "suffix ''"),
        ("x.gz", r"suffix '\.gz'"),
        ("x.npz.gz", r"suffix '\.npz\.gz'"),
        ("x.parquet.gz", "suffix"),
        ("x.pkl", "suffix"),
    ],
)
def test_unknown_suffix(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_input(put(tmp_path, name, "a,label\n1,x\n"))


def test_paths(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no file .*absent\.csv"):
        read_input(tmp_path / "absent.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        read_input(str(tmp_path / "folder.csv"))
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(InputError, match="not a regular file"):
        read_input(tmp_path / "pipe.csv")


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path, "secret.csv", "a,label\n1,x\n")
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may read everything
    with pytest.raises(InputError, match="may not be read"):
        read_input(path)


# --- Parquet


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "label=1" / "p.parquet"  # a folder that must not become a column
    path.parent.mkdir()
    frame = pd.DataFrame({"a": [1, 2, 3], "on": [True, False, True], "class": ["x", None, "y"]})
    frame.to_parquet(path)
    data = read_input(path)
    assert np.asarray(data.X).tolist() == [[1, 1], [2, 0], [3, 1]]
    assert data.X.dtype == np.float64
    assert data.y.tolist() == ["x", None, "y"]
    assert data.feature_names == ("a", "on")


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        (("float32", "float32"), "float32"),
        (("float16", "float32"), "float32"),
        (("uint8", "uint8"), "uint8"),
        (("uint8", "float32"), "float32"),
        (("float32", "float64"), "float64"),
        (("float32", "int64"), "float64"),
        (("bool", "bool"), "float64"),
    ],
)
def test_parquet_feature_types(tmp_path: Path, types: tuple[str, str], expected: str) -> None:
    frame = pd.DataFrame({name: np.ones(2, kind) for name, kind in zip("ab", types, strict=True)})
    frame.assign(label=["x", "y"]).to_parquet(tmp_path / "p.pq")
    X = np.asarray(read_input(tmp_path / "p.pq").X)
    assert X.dtype == expected
    assert X.tolist() == [[1, 1], [1, 1]]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pd.array([1, None, 7], dtype="Int64"), [1, None, 7]),
        (pd.array([2**64 - 1, 1, 7], dtype="UInt64"), [2**64 - 1, 1, 7]),
        (np.array([1, 2, 7], dtype=np.uint8), [1, 2, 7]),
        (pd.Categorical(["x", None, "y"]), ["x", None, "y"]),
        (pd.Categorical([1, 7, 1]), [1, 7, 1]),
        (np.array([True, False, True]), [True, False, True]),
        (np.array([None, None, None]), [None, None, None]),
        (np.array([1.0, 2.0, 1.5]), [1.0, 2.0, 1.5]),
    ],
)
def test_parquet_labels(tmp_path: Path, column: Any, expected: list[Any]) -> None:
    pd.DataFrame({"a": [1.0, 2.0, 3.0], "label": column}).to_parquet(tmp_path / "p.parquet")
    found = read_input(tmp_path / "p.parquet").y.tolist()
    assert found == expected
    assert [type(v) for v in found] == [type(v) for v in expected]


def test_parquet_empty_label_among_floats_is_nan(tmp_path: Path) -> None:
    pd.DataFrame({"a": [1, 2], "label": [1.0, np.nan]}).to_parquet(tmp_path / "p.parquet")
    assert np.isnan(read_input(tmp_path / "p.parquet").y).tolist() == [False, True]


@pytest.mark.parametrize(
    ("frame", "error", "message"),
    [
        (pd.DataFrame({"a": ["red"], "label": [1]}), InputError, r"not numbers: 'a' \(.*string"),
        (pd.DataFrame({"a": [1.0, None], "label": [1, 2]}), InputError, "'a' .* empty in row 1"),
        (pd.DataFrame({"a": [None, None], "label": [1, 2]}), InputError, "'a' .* empty in row 0"),
        (pd.DataFrame({"a": [1.0], "label": [1]}, index=["r"]), InputError, "row numbers"),
        (pd.DataFrame({"a": [], "label": []}), InputError, "no rows"),
        (pd.DataFrame({"a": [1], "b": [2]}), InputError, "its columns are 'a', 'b'"),
        (
            pd.DataFrame({"a": [1], "label": pd.to_datetime(["2024-01-01"])}),
            InputTypeError,
            "label column 'label' .* timestamp",
        ),
    ],
)
def test_bad_parquet(
    tmp_path: Path, frame: pd.DataFrame, error: type[Exception], message: str
) -> None:
    frame.to_parquet(tmp_path / "p.parquet")
    with pytest.raises(error, match=message):
        read_input(tmp_path / "p.parquet")


def test_damaged_parquet(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    pd.DataFrame({"a": np.arange(1000.0), "label": 1}).to_parquet(path)
    whole = path.read_bytes()
    zeroed = whole[:4] + bytes(len(whole) // 2) + whole[4 + len(whole) // 2 :]
    for content in (b"a,label\n1,2\n", whole[:-100], zeroed):
        with pytest.raises(InputError, match="not a readable Parquet file"):
            read_input(put(tmp_path, "p.parquet", content))


# --- .npz


@pytest.mark.parametrize("kind", ["uint8", "float32", "float64", "int64"])
def test_npz(tmp_path: Path, kind: str) -> None:
    X = np.arange(12).reshape(3, 4).astype(kind)
    np.savez(tmp_path / "p.npz", X=X, y=np.array(["x", "", "y"]))
    data = read_input(tmp_path / "p.npz")
    assert data.X.dtype == kind
    np.testing.assert_array_equal(np.asarray(data.X), X)
    assert data.y.tolist() == ["x", "", "y"]


def test_npz_extras(tmp_path: Path) -> None:
    np.savez_compressed(
        tmp_path / "p.npz",
        X=np.zeros((2, 4), np.float32),
        kind=np.array([[1.0], [np.nan]]),
        feature_names=np.array(list("abcd")),
        image_shape=np.array([2, 2]),
    )
    data = read_input(tmp_path / "p.npz", label="kind")
    assert data.y.shape == (2,)
    assert data.feature_names == ("a", "b", "c", "d")
    assert data.image_shape == (2, 2)


def save_csr(path: Path, X: Any, **arrays: Any) -> Path:
    """Add arrays to what scipy.sparse.save_npz writes."""
    sparse.save_npz(path, X)
    with np.load(path, allow_pickle=False) as saved:
        parts = dict(saved)
    np.savez(path, **{**parts, **arrays})
    return path


def test_sparse_npz(tmp_path: Path) -> None:
    X = sparse.csr_array(np.eye(5, 7, k=1, dtype=np.float32))
    data = read_input(save_csr(tmp_path / "s.npz", X, y=np.array([1, 2, 1, 2, -1])))
    assert isinstance(data.X, sparse.csr_array)
    assert data.X.dtype == np.float32
    np.testing.assert_array_equal(data.X.toarray(), X.toarray())
    assert data.y.tolist() == [1, 2, 1, 2, -1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "csc"}, "format 'csc'; save it as CSR"),
        ({"format": b"coo"}, "format 'coo'"),
        ({"indices": np.array([0, 9])}, "no CSR matrix"),
        ({"indices": np.array([0, -1])}, "no CSR matrix"),
        ({"indptr": np.array([0, 2, 1])}, "no CSR matrix"),
        ({"indptr": np.array([0, 9, 2])}, "no CSR matrix"),
        ({"indices": np.array([0.5, 1])}, "no CSR matrix"),
        ({"shape": np.array([2])}, "no CSR matrix"),
        ({"shape": np.array(3)}, "no CSR matrix"),
        ({"shape": np.array([-1, 3])}, "no CSR matrix"),
        ({"data": np.array([1j, 2])}, "complex128 values"),
        ({"y": np.zeros(3)}, "2 rows of features and 3 labels"),
    ],
)
def test_bad_sparse_npz(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    X = sparse.csr_array((np.ones(2), np.array([0, 1]), np.array([0, 1, 2])), shape=(2, 3))
    path = save_csr(tmp_path / "s.npz", X, **{"y": np.zeros(2), **changes})
    with pytest.raises((InputError, InputTypeError), match=message):
        read_input(path)


@pytest.mark.parametrize(
    ("arrays", "error", "message"),
    [
        ({"y": np.zeros(2)}, InputError, "no array 'X'; its arrays are 'y'"),
        ({"X": np.zeros((2, 1))}, InputError, "no array 'y'; its arrays are 'X'.*--label"),
        ({}, InputError, "its arrays are none"),
        ({"X": np.zeros((2, 1)), "y": np.zeros(3)}, InputError, "2 rows .* and 3 labels in 'y'"),
        ({"X": np.zeros((2, 3, 3)), "y": np.zeros(2)}, InputError, r"X\.reshape\(len\(X\), -1\)"),
        ({"X": np.zeros(2), "y": np.zeros(2)}, InputError, r"shape \(2,\)"),
        ({"X": np.zeros((0, 2)), "y": np.zeros(0)}, InputError, r"shape \(0, 2\)"),
        ({"X": np.zeros((2, 2)), "y": np.zeros((2, 2))}, InputError, "one label per row"),
        ({"X": np.array([["a"], ["b"]]), "y": np.zeros(2)}, InputTypeError, "holds <U1 values"),
        ({"X": np.zeros((2, 1), complex), "y": np.zeros(2)}, InputTypeError, "complex128"),
        ({"X": np.zeros((2, 1)), "y": np.zeros(2, "S3")}, InputTypeError, r"y\.astype\(str\)"),
        ({"X": np.zeros((2, 1)), "y": np.zeros(2, "M8[s]")}, InputTypeError, "datetime64"),
        (
            {"X": np.zeros((1, 2)), "y": np.zeros(1), "image_shape": np.array([2, 2])},
            InputError,
            r"'image_shape' .* is \[2, 2\].*product 2",
        ),
        (
            {"X": np.zeros((1, 2)), "y": np.zeros(1), "feature_names": np.array(["a"])},
            InputError,
            "'feature_names' .* each of the 2 features",
        ),
    ],
)
def test_bad_npz(
    tmp_path: Path, arrays: dict[str, Any], error: type[Exception], message: str
) -> None:
    np.savez(tmp_path / "p.npz", **arrays)
    with pytest.raises(error, match=message):
        read_input(tmp_path / "p.npz")


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def test_the_bomb_goes_off_when_unpickled(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Bomb(tmp_path / "flag")))  # noqa: S301
    assert (tmp_path / "flag").exists()


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    flag, path = tmp_path / "flag", tmp_path / "p.npz"
    bomb = np.array([Bomb(flag)], dtype=object)
    good = np.zeros((1, 1))
    cases: list[tuple[dict[str, Any], str]] = [
        ({"X": good, "y": bomb}, "y"),
        ({"X": bomb, "y": np.zeros(1)}, "X"),
        ({"X": good, "y": np.zeros(1), "feature_names": bomb}, "feature_names"),
    ]
    for arrays, name in cases:
        np.savez(path, **arrays)
        with pytest.raises(InputTypeError, match=f"array '{name}' .* holds Python objects.*never"):
            read_input(path)
    # A plain pickle under the name of an archive, and inside one, and behind a zip's first bytes.
    raw = pickle.dumps(Bomb(flag))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("X.npy", raw)
        archive.writestr("y", raw)
    for content in (raw, packed.getvalue(), b"PK\x03\x04" + raw, raw + packed.getvalue()):
        with pytest.raises(InputError):
            read_input(put(tmp_path, "p.npz", content))
    np.savez(path, X=good, y=np.zeros(1), unused=bomb)
    assert read_input(path).y.tolist() == [0.0]  # what is not asked for is not looked at
    assert not flag.exists()


def test_damaged_npz(tmp_path: Path) -> None:
    path = tmp_path / "p.npz"
    np.savez_compressed(path, X=np.random.default_rng(0).random((200, 10)), y=np.zeros(200))
    whole = path.read_bytes()
    for content in (b"hello", whole[:-30], whole[:2000] + b"\0" * 500 + whole[2500:]):
        with pytest.raises(InputError, match=r"not a readable|damaged"):
            read_input(put(tmp_path, "p.npz", content))


@given(place=st.integers(0, 700), byte=st.integers(0, 255))
def test_a_flipped_byte_gives_an_error_or_a_dataset(
    tmp_path_factory: pytest.TempPathFactory, place: int, byte: int
) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, X=np.ones((3, 2)), y=np.array([1, 2, 1]))
    content = bytearray(buffer.getvalue())
    content[place % len(content)] = byte
    path = put(tmp_path_factory.getbasetemp(), "flip.npz", bytes(content))
    with suppress(InputError, InputTypeError):
        data = read_input(path)
        assert data.X.ndim == 2
        assert data.y.shape == data.X.shape[:1]


# --- svmlight


@pytest.mark.parametrize("suffix", [".svm", ".svmlight", ".libsvm"])
def test_svmlight(tmp_path: Path, suffix: str) -> None:
    data = read_input(put(tmp_path, f"p{suffix}", "# made by hand\n+1 1:0.5 3:2\n-1 2:1 # two\n"))
    assert isinstance(data.X, sparse.csr_array)
    assert data.X.dtype == np.float64
    assert data.X.toarray().tolist() == [[0.5, 0, 2], [0, 1, 0]]
    assert data.y.tolist() == [1, -1]
    assert data.y.dtype == np.int64


def test_svmlight_labels(tmp_path: Path) -> None:
    assert read_input(put(tmp_path, "f.svm", "1.5 1:1\n2 1:1\n")).y.tolist() == [1.5, 2.0]
    assert read_input(put(tmp_path, "n.svm", "nan 1:1\n2 1:1\n")).y.tolist() == [None, 2]
    assert read_input(put(tmp_path, "b.svm", "1e300 1:1\n2 1:1\n")).y.tolist() == [1e300, 2.0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1 1:2\ncat 1:2\n", "line 2 is not svmlight"),
        ("1 1:2\n1 a:2\n", "line 2 is not svmlight"),
        ("1 1:2\n1 2:x\n", "line 2 is not svmlight"),
        ("1,2 1:2\n", "line 1 is not svmlight"),
        ("a,label\n1,2\n", "line 1 is not svmlight"),
        ("1 3:1 2:1\n", "is not svmlight .*rising indices"),
        ("1 99999999999999999999:1\n", "is not svmlight"),
        ("# nothing\n", "0 points and no feature"),
        ("1\n2\n", "2 points and no feature"),
        (b"\xff\xfe\x00", "line 1 is not svmlight"),
    ],
)
def test_bad_svmlight(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_input(put(tmp_path, "p.svm", content))


def test_svmlight_has_no_label_column(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="leave label out"):
        read_input(put(tmp_path, "p.svm", "1 1:2\n"), label="y")


@pytest.mark.parametrize("packed", PACKERS)
def test_damaged_svmlight(tmp_path: Path, packed: str) -> None:
    with pytest.raises(InputError, match="damaged"):
        read_input(put(tmp_path, f"p.svm{packed}", PACKERS[packed](b"1 1:2\n")[:-4]))


# --- the value that marks unlabelled points


@pytest.mark.parametrize(
    ("text", "y", "expected"),
    [
        ("-1", np.array([1, -1]), -1),
        ("-1.0", np.array([1, -1]), -1),
        ("-1", np.array([1.0, -1.0, np.nan]), -1.0),
        ("?", np.array(["a", "?"]), "?"),
        ("1", np.array(["1", "x"], dtype=object), "1"),
        ("7", np.array([7, None], dtype=object), 7),
        ("7", np.array([np.int64(7), None], dtype=object), 7),
        ("true", np.array([True, False]), True),
        ("nan", np.array(["nan", "x"]), "nan"),
        ("1", ["1", 1], "1"),
    ],
)
def test_parse_label_value(text: str, y: Any, expected: Any) -> None:
    found = parse_label_value(text, y)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize("text", ["", "nan", "NaN", " "])
def test_missing_as_text(text: str) -> None:
    assert math.isnan(parse_label_value(text, np.array([1, None], dtype=object)))


@pytest.mark.parametrize(
    ("text", "y", "message"),
    [
        ("0", np.array([1, -1]), "'0' does not occur; the labels there are -1, 1"),
        ("1", np.array([True, False]), "labels there are False, True"),
        ("x", np.array([None, None], dtype=object), "all missing"),
        ("X", np.array(["x", ""]), "labels there are 'x'"),
        ("x", np.arange(100), "0, 1, 10, 11, 12, 13, ..."),
    ],
)
def test_a_label_that_does_not_occur(text: str, y: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_label_value(text, y)


def test_read_input_checks_unlabeled(tmp_path: Path) -> None:
    path = put(tmp_path, "p.svm", "1 1:2\n-1 1:3\n")
    assert read_input(path, unlabeled="-1").y.tolist() == [1, -1]
    with pytest.raises(InputError, match="'0' does not occur"):
        read_input(path, unlabeled="0")


# --- where labels come from


def test_provenance_is_a_column_of_text_and_no_feature(tmp_path: Path) -> None:
    path = put(tmp_path, "s.csv", "a,by,label,b\n1, Ann ,x,2\n3,,y,4\n5,007,,6\n")
    data = read_input(path, provenance="by")
    assert data.provenance is not None
    assert data.provenance.tolist() == ["Ann", None, "007"]
    assert data.feature_names == ("a", "b")
    assert np.asarray(data.X).tolist() == [[1, 2], [3, 4], [5, 6]]
    assert data.y.tolist() == ["x", "y", None]
    assert read_input(put(tmp_path, "n.csv", "a,label\n1,x\n")).provenance is None


def test_provenance_is_never_taken_for_the_labels(tmp_path: Path) -> None:
    path = put(tmp_path, "s.csv", "a,class,target\n1,x,lab 2\n")
    data = read_input(path, provenance="target")
    assert (data.y.tolist(), list(data.provenance)) == (["x"], ["lab 2"])  # type: ignore[arg-type]


def test_a_text_column_is_told_to_be_one_that_says_where_labels_come_from(tmp_path: Path) -> None:
    path = put(tmp_path, "s.csv", "a,by,label\n1,Ann,x\n")
    with pytest.raises(InputError, match=r"'by' \(.*where labels come from .*--provenance"):
        read_input(path)


@pytest.mark.parametrize(
    "given",
    [
        pd.Series(["Ann", None, " 7 "]),
        pd.Series(["Ann", "", "7"], dtype="category"),
        pd.Series([1, None, 7.0]),
        pd.Series([1, 2, 7]),
    ],
    ids=["text", "dictionary", "float", "int"],
)
def test_provenance_in_parquet(tmp_path: Path, given: pd.Series[Any]) -> None:
    frame = pd.DataFrame({"a": [1, 2, 3], "label": ["x", None, "y"], "by": given})
    frame.to_parquet(tmp_path / "p.parquet")
    data = read_input(tmp_path / "p.parquet", provenance="by")
    first, second, third = data.provenance  # type: ignore[misc]
    assert first in ("Ann", "1")
    assert second in (None, "2")
    assert third == "7"
    assert data.feature_names == ("a",)


def test_provenance_in_an_archive(tmp_path: Path) -> None:
    arrays = {"X": np.eye(3), "y": np.array(["x", "", "y"])}
    for by, expected in (
        (np.array(["Ann", "", "Bob"]), ["Ann", None, "Bob"]),
        (np.array([[3], [4], [5]]), ["3", "4", "5"]),
        (np.array([3, math.nan, 5]), ["3", None, "5"]),
    ):
        np.savez(tmp_path / "p.npz", **arrays, by=by)  # type: ignore[arg-type]
        data = read_input(tmp_path / "p.npz", provenance="by")
        assert data.provenance.tolist() == expected  # type: ignore[union-attr]
    csr = save_csr(tmp_path / "s.npz", sparse.csr_array(np.eye(2)), y=[1, 2], by=["a", "b"])
    assert read_input(csr, provenance="by").provenance.tolist() == ["a", "b"]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("name", "content", "provenance", "message"),
    [
        ("s.csv", "a,label\n1,x\n", "by", "no column 'by'; its columns are 'a', 'label'"),
        ("s.csv", "a,label\n1,x\n", "label", "no column named label, y, target or class"),
        ("s.csv", "by,label\n1,x\n", "by", "only the label column 'label' and 'by'"),
        ("s.csv", 'a,by,label\n1,"Ann,x\n2,Bob,y\n', "by", "has 2 cells on line 2|end of data"),
        ("s.svm", "1 1:2\n", "by", "svmlight lines do not say where labels come from"),
    ],
)
def test_bad_provenance(
    tmp_path: Path, name: str, content: str, provenance: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read_input(put(tmp_path, name, content), provenance=provenance)


def test_one_column_is_not_two_things(tmp_path: Path) -> None:
    path = put(tmp_path, "s.csv", "a,label\n1,x\n")
    with pytest.raises(InputError, match=r"'label' .* is named as the labels and as where"):
        read_input(path, label="label", provenance="label")
    np.savez(tmp_path / "p.npz", X=np.eye(2), y=[1, 2])
    with pytest.raises(InputError, match=r"'y' .* is named as the labels and as where"):
        read_input(tmp_path / "p.npz", provenance="y")


def test_bad_provenance_in_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "p.npz", X=np.eye(2), y=[1, 2], by=["a"])
    for provenance, message in {
        "by": r"shape \(1,\); save one text or whole number for each of the 2 points",
        "X": "holds the features",
        "who": "no array 'who'; its arrays are 'X', 'y', 'by'",
    }.items():
        with pytest.raises(InputError, match=message):
            read_input(tmp_path / "p.npz", provenance=provenance)
    frame = pd.DataFrame({"a": [1], "label": ["x"], "by": pd.to_datetime(["2024-01-01"])})
    frame.to_parquet(tmp_path / "p.parquet")
    with pytest.raises(InputTypeError, match=r"'by' .* timestamp.*text or whole numbers"):
        read_input(tmp_path / "p.parquet", provenance="by")


# --- real data


@pytest.mark.data
def test_real_sparse_file(data_dir: Path) -> None:
    data = read_input(data_dir / "a9a.npz", unlabeled="-1")
    assert data.X.shape == (48_842, 123)
    assert (data.y == 1).sum() == 7841 + 3846


@pytest.mark.data
def test_real_table_with_names(data_dir: Path) -> None:
    data = read_input(data_dir / "cadata.npz")
    assert data.X.shape == (20_640, 8)
    assert data.feature_names is not None
    assert data.feature_names[0] == "medianIncome"


@pytest.mark.data
def test_real_csv(data_dir: Path) -> None:
    path = data_dir / "crowd" / "rte_answers.csv"
    data = read_input(path, label="answer")
    frame = pd.read_csv(path)
    np.testing.assert_array_equal(np.asarray(data.X), frame[["task", "worker"]].to_numpy())
    assert data.y.tolist() == frame["answer"].tolist()
