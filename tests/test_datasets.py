"""Named data sets: what is read, what is hidden, where files are looked for, what is refused."""

from __future__ import annotations

import dataclasses
import logging
import sys
from http.client import IncompleteRead
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import sklearn.datasets
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from typer.testing import CliRunner

from gssl_poison import Problem, RBFGraph, datasets
from gssl_poison.cli import app
from gssl_poison.datasets import (
    dataset_names,
    files,
    hide_labels,
    list_datasets,
    load_dataset,
    load_test_set,
    train_and_test,
)
from gssl_poison.exceptions import DatasetNotFoundError, InputError, InputTypeError

# name -> n, d, and how many points of each class the sources state
BUNDLED: dict[str, tuple[int, int, dict[Any, int]]] = {
    "digits": (1797, 64, dict(enumerate((178, 182, 177, 183, 181, 182, 181, 179, 174, 180)))),
    "digits-1-7": (361, 64, {1: 182, 7: 179}),
    "iris": (150, 4, {"setosa": 50, "versicolor": 50, "virginica": 50}),
    "wine": (178, 13, {"class_0": 59, "class_1": 71, "class_2": 48}),
    "breast-cancer": (569, 30, {"malignant": 212, "benign": 357}),
}
ON_DISK: dict[str, tuple[int, int, dict[Any, int]]] = {
    "mnist-1-7": (13_007, 784, {1: 6742, 7: 6265}),
    "mnist": (60_000, 784, dict(enumerate(files.MNIST_TRAIN_COUNTS))),
    "cifar10-cat-ship": (10_000, 3072, {"cat": 5000, "ship": 5000}),
    "cifar10-airplane-frog": (10_000, 3072, {"airplane": 5000, "frog": 5000}),
    "reuters-corporate": (7135, 9878, {"corporate": 4172, "other": 2963}),
    "reuters-moneyfx": (7770, 8315, {"money-fx": 538, "other": 7232}),
    "a9a": (32_561, 123, {">50K": 7841, "<=50K": 24_720}),
    "rcv1-vw-sample": (1747, 47_152, {"CCAT": 817, "other": 930}),
}
# name -> n, d, and the mean label: these have real numbers for labels, and no classes
REAL: dict[str, tuple[int, int, float]] = {"cadata": (20_640, 8, 2.06855816909)}
# Not among the data at hand: test_datasets_rcv1.py has its tests.
ELSEWHERE = {"rcv1"}


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let both data folders be empty; return the parent of the cache folder."""
    monkeypatch.delenv("GSSL_POISON_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path / "scikit-learn"))
    return tmp_path / "cache"


def check_set(name: str, n: int, d: int, counts: dict[Any, int]) -> datasets.Dataset:
    data = load_dataset(name)
    assert data.name == name
    assert data.X.shape == (n, d)
    assert data.truth is not None
    values, found = np.unique(data.truth, return_counts=True)
    assert dict(zip(values.tolist(), found.tolist(), strict=True)) == counts
    np.testing.assert_array_equal(data.y, data.truth)
    assert not np.shares_memory(data.y, data.truth)
    assert data.feature_names is None or len(data.feature_names) == d
    assert data.image_shape is None or np.prod(data.image_shape) == d
    values_of_x = data.X.data if sparse.issparse(data.X) else data.X
    assert np.isfinite(np.asarray(values_of_x)).all()
    info = next(row for row in list_datasets() if row.name == name)
    assert (info.n, info.d) == (n, d)
    assert list(info.classes) == sorted(counts)
    assert info.found is not None
    return data


# --- the sets themselves


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_sets(name: str, nowhere: Path) -> None:
    data = check_set(name, *BUNDLED[name])
    assert data.source.startswith("scikit-learn ")


def test_every_set_has_its_counts_checked() -> None:
    assert {row.name for row in list_datasets()} == {*BUNDLED, *ON_DISK, *REAL, *ELSEWHERE}
    assert dataset_names() == tuple(row.name for row in list_datasets())


def test_digits_1_7_holds_ones_first_in_file_order() -> None:
    whole, pair = load_dataset("digits"), load_dataset("digits-1-7")
    assert pair.truth is not None
    assert pair.truth.tolist() == [1] * 182 + [7] * 179
    np.testing.assert_array_equal(pair.X[:182], whole.X[whole.truth == 1])
    np.testing.assert_array_equal(pair.X[182:], whole.X[whole.truth == 7])
    assert pair.image_shape == (8, 8)
    assert (pair.X.min(), pair.X.max()) == (0, 16)


@pytest.mark.data
@pytest.mark.parametrize("name", ON_DISK)
def test_sets_on_disk(name: str, data_dir: Path) -> None:
    data = check_set(name, *ON_DISK[name])
    assert Path(data.source).parent == data_dir
    assert data.X.dtype == np.float32


@pytest.mark.data
@pytest.mark.parametrize("name", REAL)
def test_real_valued_sets_on_disk(name: str, data_dir: Path) -> None:
    n, d, mean = REAL[name]
    data = load_dataset(name)
    assert data.truth is not None
    assert (data.X.shape, data.X.dtype) == ((n, d), np.float64)
    assert (data.truth.shape, data.truth.dtype) == ((n,), np.float64)
    assert data.truth.mean() == pytest.approx(mean, abs=1e-10)
    np.testing.assert_array_equal(data.y, data.truth)
    assert not np.shares_memory(data.y, data.truth)
    assert data.feature_names is not None
    assert len(data.feature_names) == d
    info = next(row for row in list_datasets() if row.name == name)
    assert (info.n, info.d, info.classes) == (n, d, ())
    hidden = load_dataset(name, labeled=0.05).y
    assert sum(v is not None for v in hidden) == int(0.05 * n)
    with pytest.raises(InputError, match="labels must be names or whole numbers"):
        Problem.of(RBFGraph(data.X[:1000], 1.0), hidden[:1000])


@pytest.mark.data
def test_cadata_is_scikit_learn_s_table(data_dir: Path) -> None:
    data = load_dataset("cadata")
    assert data.X[0].tolist() == [8.3252, 41, 880, 129, 322, 126, 37.88, -122.23]
    assert data.y[0] == 4.526


@pytest.mark.data
def test_ranking_real_values_ends_in_one_sentence(data_dir: Path) -> None:
    result = CliRunner().invoke(app, ["rank", "cadata", "--labeled", "0.05"])
    assert result.exit_code == 2
    assert "is not a class: labels must be names or whole numbers" in result.output
    assert len(result.output.splitlines()) == 1


def test_a_file_without_real_values_is_refused(nowhere: Path) -> None:
    folder = nowhere / "gssl-poison"
    folder.mkdir(parents=True)
    X, names = np.zeros((20_640, 8)), np.array(list("abcdefgh"))
    for y in (np.zeros(20_639), np.full(20_640, np.nan)):
        np.savez(folder / "cadata.npz", X=X, y=y, feature_names=names)
        with pytest.raises(InputError, match="one finite number a point; replace the file"):
            load_dataset("cadata")


@pytest.mark.data
def test_mnist_1_7_is_the_paper_s(data_dir: Path) -> None:
    data = load_dataset("mnist-1-7", labeled=0.05, seed=2020)
    assert data.truth is not None
    assert data.truth.tolist() == [1] * 6742 + [7] * 6265
    assert data.image_shape == (28, 28)
    assert (data.X.min(), data.X.max()) == (0.0, 1.0)
    with np.load(data_dir / "mnist.npz", allow_pickle=False) as raw:
        rows = np.flatnonzero(raw["y_train"] == 7)
        np.testing.assert_array_equal(
            data.X[6742:], raw["x_train"][rows].astype(np.float32) / np.float32(255)
        )
    known = np.array([label is not None for label in data.y])
    assert known.sum() == 650
    expected = np.random.RandomState(2020).permutation(13_007)[: int(0.05 * 13_007)]
    np.testing.assert_array_equal(np.flatnonzero(known), np.sort(expected))
    assert data.y[known].tolist() == data.truth[known].tolist()
    assert {type(label) for label in data.y[known]} == {int}


@pytest.mark.data
def test_cats_come_first(data_dir: Path) -> None:
    data = load_dataset("cifar10-cat-ship", labeled=0.25)
    assert data.truth is not None
    assert data.truth.tolist() == ["cat"] * 5000 + ["ship"] * 5000
    assert data.image_shape == (3, 32, 32)
    assert sum(label is not None for label in data.y) == 2500


@pytest.mark.data
def test_sparse_sets_stay_sparse_and_keep_train_rows(data_dir: Path) -> None:
    data = load_dataset("a9a")
    assert isinstance(data.X, sparse.csr_array)
    assert data.truth is not None
    # LIBSVM's first line: -1 3:1 11:1 14:1 ...
    first = data.X[[0]]
    assert (first.indices + 1).tolist() == [3, 11, 14, 19, 39, 42, 55, 64, 67, 73, 75, 76, 80, 83]
    assert data.truth[0] == "<=50K"
    reuters = load_dataset("reuters-corporate")
    assert reuters.feature_names is not None
    assert len(set(reuters.feature_names)) == 9878


@pytest.mark.data
def test_list_names_the_file(data_dir: Path) -> None:
    found = {row.name: row.found for row in list_datasets()}
    assert found["mnist"] == str(data_dir / "mnist.npz")


# --- hiding labels


@given(
    y=st.lists(st.sampled_from(["a", "b", 3, 2.5]), min_size=2, max_size=60),
    data=st.data(),
    seed=st.integers(0, 2**32 - 1),
)
def test_hide_labels_keeps_that_many_and_is_nested(
    y: list[Any], data: st.DataObject, seed: int
) -> None:
    few = data.draw(st.integers(1, len(y) - 1))
    more = data.draw(st.integers(few, len(y) - 1))
    before = list(y)
    small, large = hide_labels(y, few, seed), hide_labels(y, more, seed)
    assert small.dtype == object
    assert sum(v is not None for v in small) == few
    assert all(s is None or s == v for s, v in zip(small, y, strict=True))
    assert all(s is None or s == v for s, v in zip(small, large, strict=True))
    assert y == before


@pytest.mark.parametrize(("labeled", "count"), [(0.05, 5), (0.999, 99), (1, 1), (99, 99)])
@pytest.mark.parametrize("kind", [lambda v: v, np.float64, np.int64])
def test_parts_and_counts(labeled: float, count: int, kind: Any) -> None:
    if isinstance(labeled, float) is (kind is np.int64):
        kind = type(labeled)
    if isinstance(labeled, int) and kind is np.float64:
        kind = np.int32
    hidden = hide_labels(np.arange(100), kind(labeled))
    assert sum(v is not None for v in hidden) == count


@pytest.mark.parametrize(
    ("labeled", "message"),
    [
        (1.0, "between 0 and 1"),
        (0.0, "between 0 and 1"),
        (-0.5, "between 0 and 1"),
        (2.5, "a count is a whole number"),
        (float("nan"), "between 0 and 1"),
        (0, "1..360"),
        (-3, "1..360"),
        (361, "1..360"),
        (0.001, "less than one point; pass at least 0.0028"),
    ],
)
def test_labeled_out_of_range(labeled: float, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load_dataset("digits-1-7", labeled=labeled)
    assert str(labeled) in str(caught.value)


@pytest.mark.parametrize("labeled", ["0.05", True, [0.5], 1j])
def test_labeled_of_another_kind(labeled: Any) -> None:
    with pytest.raises(InputTypeError, match="is not a number"):
        load_dataset("digits", labeled=labeled)


@pytest.mark.parametrize(
    ("seed", "error"),
    [(-1, InputError), (2**32, InputError), (1.5, InputTypeError), (True, InputTypeError)],
)
def test_bad_seed(seed: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="seed="):
        load_dataset("digits", labeled=0.5, seed=seed)


def test_labels_have_one_dimension() -> None:
    with pytest.raises(InputError, match="one label per row"):
        hide_labels(np.zeros((4, 2)), 1)


def test_range_is_checked_before_the_file_is_looked_for(nowhere: Path) -> None:
    with pytest.raises(InputError):
        load_dataset("a9a", labeled=1.0)


# --- looking for files


def test_unknown_name_suggests_a_close_one() -> None:
    with pytest.raises(InputError, match=r"did you mean 'mnist-1-7'.*digits, digits-1-7"):
        load_dataset("mnist17")


def write_a9a(folder: Path, rows: int = 48_842) -> Path:
    """Write a file with the layout of a9a and zeros for features."""
    folder.mkdir(parents=True, exist_ok=True)
    y = np.where(np.arange(rows) % 3 == 0, 1, -1).astype(np.int8)
    np.savez(
        folder / "a9a.npz",
        format="csr",
        shape=np.array([rows, 123]),
        data=np.empty(0, np.float32),
        indices=np.empty(0, np.int32),
        indptr=np.zeros(rows + 1, np.int32),
        y=y,
        is_test=np.arange(rows) >= 32_561,
    )
    return folder / "a9a.npz"


def test_missing_file_says_what_where_and_how(nowhere: Path) -> None:
    with pytest.raises(DatasetNotFoundError) as caught:
        load_dataset("a9a")
    message = str(caught.value)
    assert "a9a.npz" in message
    assert str(nowhere / "gssl-poison") in message
    assert "LIBSVM" in message
    assert "GSSL_POISON_DATA" in message
    assert {row.name for row in list_datasets() if row.found} == set(BUNDLED)


def test_named_folder_comes_before_the_cache(
    nowhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = write_a9a(nowhere / "gssl-poison")
    assert load_dataset("a9a").source == str(cached)
    (tmp_path / "named").mkdir()
    monkeypatch.setenv("GSSL_POISON_DATA", str(tmp_path / "named"))
    assert load_dataset("a9a").source == str(cached)
    named = write_a9a(tmp_path / "named")
    assert load_dataset("a9a").source == str(named)
    cached.unlink()
    named.unlink()
    with pytest.raises(DatasetNotFoundError) as caught:
        load_dataset("a9a")
    assert str(named.parent) in str(caught.value)
    assert str(cached.parent) in str(caught.value)


def test_named_folder_must_be_one(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GSSL_POISON_DATA", str(nowhere / "absent"))
    with pytest.raises(InputError, match="is not a folder; correct or unset it"):
        load_dataset("a9a")
    with pytest.raises(InputError, match="is not a folder"):
        list_datasets()


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {"XDG_CACHE_HOME": "/x"}, "/x/gssl-poison"),
        ("linux", {"HOME": "/home/a"}, "/home/a/.cache/gssl-poison"),
        ("darwin", {"HOME": "/Users/a"}, "/Users/a/Library/Caches/gssl-poison"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/gssl-poison"),
    ],
)
def test_cache_folder(
    platform: str, variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert datasets.cache_folder() == Path(expected)


def test_a_file_that_is_not_the_set_is_refused(nowhere: Path) -> None:
    write_a9a(nowhere / "gssl-poison", rows=40_000)
    assert load_dataset("a9a").X.shape == (32_561, 123)
    write_a9a(nowhere / "gssl-poison", rows=20_000)
    with pytest.raises(InputError, match=r"20,000 x 123 .* has 32,561 x 123"):
        load_dataset("a9a")


def test_a_damaged_file_is_refused(nowhere: Path) -> None:
    path = write_a9a(nowhere / "gssl-poison")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"not a readable \.npz archive"):
        load_dataset("a9a")
    np.savez(path, y=np.zeros(3))
    with pytest.raises(InputError, match=r"no array 'format', only 'y'"):
        load_dataset("a9a")


# --- training and testing


@pytest.mark.parametrize("name", BUNDLED)
def test_every_fifth_row_is_for_testing(name: str, nowhere: Path) -> None:
    whole = load_dataset(name)
    n = len(whole.y)
    train, test = train_and_test(name)
    fifth = np.arange(4, n, 5)
    assert whole.truth is not None
    assert train.truth is not None
    assert test.truth is not None
    np.testing.assert_array_equal(test.X, whole.X[fifth])
    np.testing.assert_array_equal(test.truth, whole.truth[fifth])
    np.testing.assert_array_equal(train.X, np.delete(whole.X, fifth, axis=0))
    np.testing.assert_array_equal(train.truth, np.delete(whole.truth, fifth))
    for part, words in ((train, "without every fifth row (4, 9, ...)"), (test, "only, not for")):
        assert part.source.startswith(whole.source)
        assert words in part.source
        assert (part.name, part.image_shape) == (name, whole.image_shape)
        assert part.feature_names == whole.feature_names
        np.testing.assert_array_equal(part.y, part.truth)
        assert not np.shares_memory(part.y, part.truth)
        assert not np.shares_memory(part.X, whole.X)


@pytest.mark.parametrize("name", ["digits", "digits-1-7"])
def test_no_point_is_in_both_parts_and_classes_keep_their_balance(name: str) -> None:
    train, test = train_and_test(name)
    rows = [{row.tobytes() for row in np.asarray(part.X)} for part in (train, test)]
    assert rows[0].isdisjoint(rows[1])
    assert sum(map(len, rows)) == len(load_dataset(name).y)  # no image is there twice
    for value, count in BUNDLED[name][2].items():
        assert abs(int((test.y == value).sum()) - count / 5) <= 0.02 * len(load_dataset(name).y)


@pytest.mark.data
@pytest.mark.parametrize("name", ["mnist-1-7", "reuters-corporate"])
def test_official_parts_are_kept(name: str, data_dir: Path) -> None:
    train, test = train_and_test(name)
    for part, alone in ((train, load_dataset(name)), (test, load_test_set(name))):
        assert part.source == alone.source == str(next(data_dir.glob(Path(part.source).name)))
        difference = part.X != alone.X
        assert (difference.nnz if sparse.issparse(difference) else difference.sum()) == 0
        np.testing.assert_array_equal(part.truth, alone.truth)
    assert test.X.shape[0] == {"mnist-1-7": 2163, "reuters-corporate": 3151}[name]


@pytest.mark.data
def test_sparse_points_and_real_values_are_divided_too(data_dir: Path) -> None:
    whole = load_dataset("rcv1-vw-sample")
    train, test = train_and_test("rcv1-vw-sample")
    assert isinstance(test.X, sparse.csr_array)
    assert (train.X.shape, test.X.shape) == ((1398, 47_152), (349, 47_152))
    assert (whole.X[4::5] != test.X).nnz == 0
    assert train_and_test("cadata")[1].truth.tolist() == load_dataset("cadata").truth[4::5].tolist()


def test_an_unknown_name_has_no_parts() -> None:
    with pytest.raises(InputError, match="there is no data set 'mnist-17'"):
        train_and_test("mnist-17")


def test_rows_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        list_datasets()[0].n = 3  # type: ignore[misc]


# --- the download


def openml_mnist(**changes: Any) -> Any:
    """Make what fetch_openml gives for mnist_784, with images that only say which row they are."""
    labels = np.repeat(np.arange(10), files.MNIST_TRAIN_COUNTS)
    labels = np.concatenate([labels, np.arange(10_000) % 10])
    data = np.zeros((70_000, 784), dtype=np.int64)
    data[:, 0] = np.arange(70_000) % 251
    found = {"data": data, "target": labels.astype(str).astype(object)}
    return SimpleNamespace(**{**found, **changes})


def test_mnist_is_downloaded_once(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls = []

    def fetch(*args: Any, **keywords: Any) -> Any:
        calls.append((args, keywords))
        return openml_mnist()

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch)
    with caplog.at_level(logging.INFO):
        data = load_dataset("mnist")
    path = nowhere / "gssl-poison" / "mnist.npz"
    assert f"downloading MNIST (about 15 MB) from openml.org to {path}" in caplog.text
    assert [p.name for p in path.parent.iterdir()] == ["mnist.npz"]
    assert data.source == str(path)
    expected = (np.arange(60_000) % 251).astype(np.float32) / np.float32(255)
    np.testing.assert_array_equal(data.X[:, 0], expected)
    assert load_dataset("mnist-1-7").X.shape == (13_007, 784)
    with np.load(path, allow_pickle=False) as saved:
        assert {name: saved[name].dtype for name in saved.files} == dict.fromkeys(
            ("x_train", "y_train", "x_test", "y_test"), np.uint8
        )
        assert saved["x_test"].shape == (10_000, 784)
    assert len(calls) == 1
    assert calls[0][0] == ("mnist_784",)
    assert calls[0][1]["version"] == 1


@pytest.mark.parametrize("error", [URLError("no route"), IncompleteRead(b""), ValueError("md5")])
def test_offline(error: Exception, nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(*args: Any, **keywords: Any) -> Any:
        raise error

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch)
    with pytest.raises(DatasetNotFoundError, match=r"needs mnist\.npz.*the download failed") as got:
        load_dataset("mnist-1-7")
    assert str(nowhere / "gssl-poison") in str(got.value)
    assert list((nowhere / "gssl-poison").iterdir()) == []


def test_an_unwritable_cache_is_told(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere.write_text("a file where the folder should be")
    with pytest.raises(DatasetNotFoundError, match="the download failed"):
        load_dataset("mnist")


def test_another_order_of_rows_is_refused(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shuffled = openml_mnist(target=np.sort(openml_mnist().target))
    monkeypatch.setattr(sklearn.datasets, "fetch_openml", lambda *_, **__: shuffled)
    with pytest.raises(DatasetNotFoundError, match="nothing was kept"):
        load_dataset("mnist")
    assert list((nowhere / "gssl-poison").iterdir()) == []
