"""LIBSVM's rcv1.binary: its rule on a made-up corpus, made-up files, a made-up fetch_rcv1."""

from __future__ import annotations

import bz2
import dataclasses
import logging
import warnings
from collections.abc import Callable
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import sklearn.datasets
from scipy import sparse
from typer.testing import CliRunner

from gssl_poison.cli import app
from gssl_poison.datasets import list_datasets, load_dataset, load_test_set, train_and_test
from gssl_poison.datasets.rcv1 import SKLEARN_FILES, binary_rule
from gssl_poison.datasets.registry import SPECS
from gssl_poison.exceptions import DatasetNotFoundError, InputError

CORPORATE, GOVERNMENT = "corporate-economic", "government-markets"
# Out of order and among others, as the 103 topics are.
NAMES = ["C15", "MCAT", "CCAT", "GCAT", "E11", "ECAT", "M14"]
D = 5
TRAIN = "+1 1:0.6 5:0.8\n-1 2:1\n-1 1:0.6 3:0.8\n+1 4:1\n-1 2:1\n"  # two rows alike, as RCV1 has
TEST = "-1 5:1\n+1 2:0.28 3:0.96\n+1 1:1\n"
TRAIN_X = [
    [0.6, 0, 0, 0, 0.8],
    [0, 1, 0, 0, 0],
    [0.6, 0, 0.8, 0, 0],
    [0, 0, 0, 1, 0],
    [0, 1, 0, 0, 0],
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the one data folder, empty; nothing is fetched, and the set is a small one."""
    monkeypatch.delenv("GSSL_POISON_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path / "scikit-learn"))

    def fetch(**_: Any) -> Any:
        raise AssertionError("asked scikit-learn where a file is at hand")

    monkeypatch.setattr(sklearn.datasets, "fetch_rcv1", fetch)
    small = dataclasses.replace(SPECS["rcv1"], n=5, n_test=3, d=D)
    monkeypatch.setitem(SPECS, "rcv1", small)
    found = tmp_path / "cache" / "gssl-poison"
    found.mkdir(parents=True)
    return found


def write(folder: Path, train: str | bytes | None = TRAIN, test: str | bytes | None = TEST) -> None:
    for part, lines in (("train", train), ("test", test)):
        if lines is not None:
            content = lines.encode() if isinstance(lines, str) else lines
            (folder / f"rcv1_{part}.binary").write_bytes(content)


# --- what it is


def test_the_counts_are_libsvm_s() -> None:
    spec = SPECS["rcv1"]
    assert (spec.n, spec.n_test, spec.d) == (20_242, 677_399, 47_236)
    assert spec.classes == (CORPORATE, GOVERNMENT)
    assert spec.kind == "sparse"
    others = {name: other.source for name, other in SPECS.items() if name != "rcv1"}
    assert spec.source not in others.values()


def test_the_list_says_how_to_get_it(folder: Path) -> None:
    row = next(row for row in list_datasets() if row.name == "rcv1")
    assert row.found is None
    words = ("rcv1_train.binary.bz2", "rcv1_test.binary.bz2", "fetch_rcv1", "656 MB")
    assert all(word in row.how_to_get for word in words)
    shown = CliRunner().invoke(app, ["data"], env={"COLUMNS": "400"}).output
    line = next(line for line in shown.splitlines() if "│ rcv1 " in line)
    assert f"not here: {row.how_to_get}" in line


# --- the rule


def corpus() -> tuple[sparse.csr_array, list[str]]:
    """Make a document of every combination of topics; say what becomes of each."""
    rows, fates = [], []
    for has in product([0, 1], repeat=len(NAMES)):
        topics = {name for name, there in zip(NAMES, has, strict=True) if there}
        positive, negative = bool(topics & {"CCAT", "ECAT"}), bool(topics & {"GCAT", "MCAT"})
        fate = {(1, 0): "+", (0, 1): "-", (1, 1): "both", (0, 0): "neither"}[positive, negative]
        rows.append(has)
        fates.append(fate)
    return sparse.csr_array(np.array(rows, dtype=np.uint8)), fates


@pytest.mark.parametrize("kind", [sparse.csr_array, sparse.csr_matrix, sparse.coo_array, np.array])
def test_every_combination_of_topics(kind: Any) -> None:
    topics, fates = corpus()
    ruled = binary_rule(kind(topics.toarray()), NAMES)
    assert ruled.rows.tolist() == [i for i, fate in enumerate(fates) if fate in "+-"]
    assert ruled.rows.dtype == np.int64
    assert ruled.positive.tolist() == [fate == "+" for fate in fates if fate in "+-"]
    # Of 16 combinations of the four topics 3 * 3 have both sides, 1 none, 3 + 3 one; times 2**3.
    assert (ruled.n_both, ruled.n_neither, ruled.rows.size) == (72, 8, 48)
    assert fates.count("both") == 72


def test_a_stored_zero_is_no_topic() -> None:
    topics = sparse.csr_array(np.ones((1, 4), dtype=np.uint8))
    topics.data[:] = [1, 0, 0, 0]
    assert binary_rule(topics, ["CCAT", "ECAT", "GCAT", "MCAT"]).positive.tolist() == [True]


def test_names_may_be_an_array_of_objects() -> None:
    topics, _ = corpus()
    assert binary_rule(topics, np.array(NAMES, dtype=object)).rows.size == 48


def test_a_corpus_without_documents() -> None:
    ruled = binary_rule(sparse.csr_array((0, 7), dtype=np.uint8), NAMES)
    assert (ruled.rows.size, ruled.positive.size, ruled.n_both, ruled.n_neither) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([*NAMES[:5], "E12", "M14"], "topic ECAT is there 0 times among 7 names"),
        ([*NAMES[:6], "CCAT"], "topic CCAT is there 2 times"),
        (NAMES[:6], "7 columns and 6 names"),
        ([name.lower() for name in NAMES], "topic CCAT is there 0 times"),
    ],
)
def test_topics_that_the_rule_cannot_use(names: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        binary_rule(corpus()[0], names)


# --- LIBSVM's files


def pack(path: Path) -> None:
    path.with_name(path.name + ".bz2").write_bytes(bz2.compress(path.read_bytes()))
    path.unlink()


@pytest.mark.parametrize("packed", ["", ".bz2"])
def test_files_are_read(packed: str, folder: Path) -> None:
    write(folder)
    if packed:
        for path in list(folder.iterdir()):
            pack(path)
    data, test = train_and_test("rcv1")
    assert isinstance(data.X, sparse.csr_array)
    assert (data.X.dtype, data.X.indices.dtype) == (np.float32, np.int32)
    np.testing.assert_array_equal(data.X.toarray(), np.array(TRAIN_X, dtype=np.float32))
    names = {"+": CORPORATE, "-": GOVERNMENT}
    assert data.y.tolist() == [names[sign] for sign in "+--+-"]
    assert test.y.tolist() == [names[sign] for sign in "-++"]
    assert test.X.shape == (3, D)
    np.testing.assert_array_equal(test.X[[0]].indices, [4])
    assert data.source == str(folder / f"rcv1_train.binary{packed}")
    assert test.source == load_test_set("rcv1").source == str(folder / f"rcv1_test.binary{packed}")
    row = next(row for row in list_datasets() if row.name == "rcv1")
    assert row.found == data.source


def test_labels_can_be_hidden(folder: Path) -> None:
    write(folder)
    data = load_dataset("rcv1", labeled=0.4)
    assert data.truth is not None
    known = [i for i, label in enumerate(data.y) if label is not None]
    assert known == sorted(np.random.RandomState(2020).permutation(5)[:2].tolist())
    assert data.y[known].tolist() == data.truth[known].tolist()


def test_a_plain_file_and_a_first_folder_come_first(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder)
    pack(folder / "rcv1_train.binary")
    packed = load_dataset("rcv1").source
    write(folder)
    assert load_dataset("rcv1").source == packed.removesuffix(".bz2")
    named = tmp_path / "named"
    named.mkdir()
    monkeypatch.setenv("GSSL_POISON_DATA", str(named))
    write(named)
    pack(named / "rcv1_train.binary")
    assert load_dataset("rcv1").source == str(named / "rcv1_train.binary.bz2")


def test_columns_that_no_document_has_are_there(folder: Path) -> None:
    write(folder, train=TRAIN.replace(" 5:0.8", ""))
    assert load_dataset("rcv1").X.shape == (5, D)


BAD_LINES = {
    "0-based": (TRAIN.replace("1:0.6 5:0.8", "0:0.6 4:0.8"), "Invalid index 0 "),
    "column beyond the last": (TRAIN.replace("5:0.8", "6:0.8"), "contains 6 features"),
    "column twice": (TRAIN.replace("1:0.6 5:", "5:0.6 5:"), "sorted and unique"),
    "columns falling": (TRAIN.replace("1:0.6 5:", "5:0.6 1:"), "sorted and unique"),
    "no index": (TRAIN.replace("4:1", "4"), "rising indices from 1 to 5"),
    "no number": (TRAIN.replace("4:1", "4:one"), "is not LIBSVM's"),
    "text": ("<html><body>Not found</body></html>\n", "is not LIBSVM's"),
}


@pytest.mark.parametrize(("lines", "message"), BAD_LINES.values(), ids=BAD_LINES)
def test_bad_lines_are_refused(lines: str, message: str, folder: Path) -> None:
    assert lines != TRAIN
    write(folder, train=lines)
    with pytest.raises(InputError, match=message) as caught:
        load_dataset("rcv1")
    assert str(folder / "rcv1_train.binary") in str(caught.value)
    assert "fetch it again" in str(caught.value)


@pytest.mark.parametrize(
    ("label", "shown"), [("0", "0"), ("2", "2"), ("-1.5", "-1.5"), ("nan", "nan"), ("inf", "inf")]
)
def test_labels_are_plus_and_minus_one(label: str, shown: str, folder: Path) -> None:
    write(folder, train=TRAIN.replace("-1 ", f"{label} "))
    with pytest.raises(InputError, match=rf"label {shown} at point 2 \(3 labels are neither"):
        load_dataset("rcv1")


WRONG_COUNTS = {
    "a point less": (TRAIN.partition("\n")[2], r"4 x 5 values and 2 classes .* has 5 x 5"),
    "a point more": (TRAIN + "-1 1:1\n", "6 x 5 values"),
    "the parts swapped": (TEST, "3 x 5 values"),
    "one class": (TRAIN.replace("-1", "+1"), "5 x 5 values and 1 classes"),
    "empty": ("", "0 x 5 values and 0 classes"),
}


@pytest.mark.parametrize(("lines", "message"), WRONG_COUNTS.values(), ids=WRONG_COUNTS)
def test_wrong_counts_are_refused(lines: str, message: str, folder: Path) -> None:
    write(folder, train=lines)
    with pytest.raises(InputError, match=message):
        load_dataset("rcv1")


def test_a_wrong_test_part_is_refused(folder: Path) -> None:
    write(folder, test=TRAIN)
    assert load_dataset("rcv1").X.shape == (5, D)
    with pytest.raises(InputError, match=r"5 x 5 values .* has 3 x 5"):
        load_test_set("rcv1")


@pytest.mark.parametrize(
    "damage", [lambda b: b[: len(b) // 2], lambda b: b"BZh9" + b[9:]], ids=["cut", "changed"]
)
def test_a_damaged_archive_is_refused(damage: Callable[[bytes], bytes], folder: Path) -> None:
    write(folder)
    path = folder / "rcv1_train.binary"
    pack(path)
    packed = path.with_name(path.name + ".bz2")
    packed.write_bytes(damage(packed.read_bytes()))
    with pytest.raises(InputError, match="it is damaged: fetch it again"):
        load_dataset("rcv1")


def test_one_part_alone_is_not_mixed_with_another_source(folder: Path) -> None:
    write(folder, test=None)
    assert load_dataset("rcv1").X.shape == (5, D)
    with pytest.raises(DatasetNotFoundError, match=r"rcv1_test\.binary or .* alone is not enough"):
        load_test_set("rcv1")
    (folder / "rcv1_train.binary").unlink()
    write(folder, train=None)
    with pytest.raises(DatasetNotFoundError, match=r"rcv1_train\.binary or .* alone is not enough"):
        load_dataset("rcv1")
    assert next(row for row in list_datasets() if row.name == "rcv1").found is None


# --- scikit-learn


def made_up(topics: list[str], d: int = D) -> Any:
    """Make what fetch_rcv1 gives: document i has i + 1 in column i % d, and topics by initials."""
    n = len(topics)
    target = np.array([[name[0] in have and "CAT" in name for name in NAMES] for have in topics])
    data = sparse.csr_matrix(
        (np.arange(1.0, n + 1), np.arange(n) % d, np.arange(n + 1)), shape=(n, d)
    )
    return SimpleNamespace(
        data=data,
        target=sparse.csr_matrix(target.astype(np.uint8)),
        target_names=np.array(NAMES, dtype=object),
    )


# Kept are documents 0, 2, 3, 5 and 7 of the first, 1, 2 and 3 of the second.
FETCHED = {
    "train": ["C", "CG", "M", "EC", "", "G", "EM", "GM"],
    "test": ["CEGM", "E", "MG", "C"],
}


@pytest.fixture
def fetched(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Let scikit-learn have RCV1; give the list of what it is asked for."""
    asked: list[Any] = []

    def fetch(**keywords: Any) -> Any:
        asked.append(keywords)
        return made_up(FETCHED[keywords["subset"]])

    monkeypatch.setattr(sklearn.datasets, "fetch_rcv1", fetch)
    return asked


def test_scikit_learn_s_rcv1_is_divided_by_the_rule(
    fetched: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    train, test = train_and_test("rcv1")
    assert fetched == [{"subset": "train"}, {"subset": "test"}]
    assert isinstance(train.X, sparse.csr_array)
    assert (train.X.dtype, train.X.shape) == (np.float32, (5, D))
    assert train.X.sum(axis=1).tolist() == [1, 3, 4, 6, 8]
    assert train.X.indices.tolist() == [0, 2, 3, 0, 2]
    assert train.y.tolist() == [CORPORATE, GOVERNMENT, CORPORATE, GOVERNMENT, GOVERNMENT]
    assert test.X.sum(axis=1).tolist() == [2, 3, 4]
    assert test.y.tolist() == [CORPORATE, GOVERNMENT, CORPORATE]
    assert train.source.startswith("scikit-learn ")
    assert "fetch_rcv1(subset='train')" in train.source
    assert "fetch_rcv1(subset='test')" in test.source
    assert "about 656 MB" in caplog.text
    hidden = load_dataset("rcv1", labeled=2)
    assert sum(label is not None for label in hidden.y) == 2


def test_nothing_is_kept_by_the_package(fetched: list[Any], folder: Path) -> None:
    load_dataset("rcv1")
    assert list(folder.iterdir()) == []


WRONG_CORPORA = {
    "a document less": (
        made_up(FETCHED["train"][1:]),
        r"keeps 4 documents \(1 positive; 2 of both classes and 1 of neither .* must keep 5 with 5",
    ),
    "a document more": (made_up([*FETCHED["train"], "C"]), r"9 x 5 .*keeps 6 documents"),
    "other features": (made_up(FETCHED["train"], d=D + 1), "8 x 6 values, .* with 5 features"),
}


@pytest.mark.parametrize(("found", "message"), WRONG_CORPORA.values(), ids=WRONG_CORPORA)
def test_other_numbers_are_told(
    found: Any, message: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sklearn.datasets, "fetch_rcv1", lambda **_: found)
    with pytest.raises(InputError, match=message):
        load_dataset("rcv1")


def test_the_counts_of_the_test_part_are_its_own(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = made_up(FETCHED["train"])
    monkeypatch.setattr(sklearn.datasets, "fetch_rcv1", lambda **_: found)
    with pytest.raises(InputError, match=r"keeps 5 documents .* must keep 3 "):
        load_test_set("rcv1")


def test_without_the_topics_there_is_no_rule(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = made_up(FETCHED["train"])
    found.target_names[1] = "M"
    monkeypatch.setattr(sklearn.datasets, "fetch_rcv1", lambda **_: found)
    with pytest.raises(InputError, match="topic MCAT is there 0 times"):
        load_dataset("rcv1")


@pytest.mark.parametrize(
    "error", [URLError("no route"), EOFError(), KeyError(65), ValueError("checksum")]
)
def test_offline_is_one_clear_error(
    error: Exception, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(**_: Any) -> Any:
        warnings.warn("Retry downloading from url: https://x", stacklevel=1)
        raise error

    monkeypatch.setattr(sklearn.datasets, "fetch_rcv1", fetch)
    with pytest.raises(DatasetNotFoundError, match="fetch_rcv1 failed") as caught:
        load_test_set("rcv1")
    message = str(caught.value)
    assert (str(error) or repr(error)) in message
    for words in ("rcv1_test.binary.bz2", str(folder), "csie.ntu.edu.tw", "GSSL_POISON_DATA"):
        assert words in message


def test_other_warnings_of_the_download_are_shown(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(**_: Any) -> Any:
        warnings.warn("SHA256 checksum of existing local file differs", stacklevel=1)
        return made_up(FETCHED["train"])

    monkeypatch.setattr(sklearn.datasets, "fetch_rcv1", fetch)
    with pytest.warns(UserWarning, match="SHA256"):
        load_dataset("rcv1")


def test_scikit_learn_s_folder_is_listed_and_not_made(folder: Path, tmp_path: Path) -> None:
    def found() -> str | None:
        return next(row for row in list_datasets() if row.name == "rcv1").found

    home = tmp_path / "scikit-learn" / "RCV1"
    assert found() is None
    assert not home.parent.exists()
    home.mkdir(parents=True)
    for name in SKLEARN_FILES:
        assert found() is None
        (home / f"{name}_py3.pkl").touch()
    assert found() == str(home)
    write(folder)
    assert found() == str(folder / "rcv1_train.binary")


@pytest.mark.parametrize("file", SKLEARN_FILES)
def test_the_names_of_scikit_learn_s_files_are_those(file: str) -> None:
    # Looked for in its source, because asking it for them needs the data.
    source = Path(sklearn.datasets.__file__).with_name("_rcv1.py").read_text(encoding="utf-8")
    assert f'"{file}.pkl"' in source


def test_a_damaged_file_of_scikit_learn_s_is_told(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.delenv("GSSL_POISON_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path / "scikit-learn"))
    home = tmp_path / "scikit-learn" / "RCV1"
    home.mkdir(parents=True)
    for name in SKLEARN_FILES:
        (home / f"{name}_py3.pkl").write_bytes(b"A\n")  # no pickle, so nothing is fetched either
    with pytest.raises(DatasetNotFoundError, match="fetch_rcv1 failed"):
        load_dataset("rcv1")


# --- beside it


def test_what_resembles_it_keeps_its_name(folder: Path) -> None:
    write(folder)
    for name in ("rcv1-vw-sample", "reuters-corporate"):
        with pytest.raises(DatasetNotFoundError, match=f"data set '{name}'"):
            load_dataset(name)


def test_logging_says_nothing_of_a_download_where_a_file_is_read(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(folder)
    with caplog.at_level(logging.INFO):
        load_dataset("rcv1")
    assert "downloaded" not in caplog.text
