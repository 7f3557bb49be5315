"""What counts as unlabelled, and what is refused because it could mean two things."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from gssl_poison.exceptions import InputError, InputTypeError
from gssl_poison.labels import split_labels


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA, pd.NaT, "", "  "])
def test_missing_values_are_unlabelled(missing):
    labels = split_labels(["ship", missing, "cat", missing], 4)
    assert labels.labeled.tolist() == [0, 2]
    assert labels.unlabeled.tolist() == [1, 3]
    assert labels.classes == ("cat", "ship")
    assert labels.codes.tolist() == [1, 0]


@pytest.mark.parametrize(
    "y",
    [
        [0, 1, -1, 2],
        np.array([0, 1, -1, 2], dtype=np.int8),
        np.array([0.0, 1.0, -1.0, 2.0]),
        np.array([0.0, 1.0, np.nan, 2.0]),
        np.array([[0], [1], [-1], [2]]),
        pd.Series([0, 1, None, 2], dtype="Int64"),
        pd.Series([0, 1, -1, 2], index=[7, 3, 1, 9]),
        pd.Series(pd.Categorical([0, 1, None, 2])),
        torch.tensor([0, 1, -1, 2]),
        [0, 1, -1, 10**6],
    ],
    ids=[f"case{i}" for i in range(10)],
)
def test_minus_one_and_missing_values_in_codes(y):
    labels = split_labels(y, 4)
    assert labels.labeled.tolist() == [0, 1, 3]
    assert labels.codes.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "y",
    [
        [-1, 1, 1, -1],
        [-1.0, 1.0],
        [-1, 1, None],
        ["-1", "1", "+1"],
        [-2, -1, 3],
        ["-1", "a"],
        [-1, -1],
    ],
)
def test_minus_one_that_may_be_a_class_is_refused_until_told(y):
    with pytest.raises(InputError, match=r"-1 may be a class.*unlabeled=-1.*unlabeled=nan"):
        split_labels(y, len(y))


def test_being_told_settles_it():
    assert split_labels([-1, 1, 1, -1], 4, unlabeled=-1).labeled.tolist() == [1, 2]
    told = split_labels([-1, 1, None, -1], 4, unlabeled=float("nan"))
    assert told.labeled.tolist() == [0, 1, 3]
    assert told.classes == (-1, 1)
    assert split_labels(["a", "?", "b"], 3, unlabeled="?").unlabeled.tolist() == [1]
    assert split_labels(["a", "?", None], 3, unlabeled="?").unlabeled.tolist() == [1, 2]
    assert split_labels([1.0, 0.0, 2.0], 3, unlabeled=0).unlabeled.tolist() == [1]
    assert split_labels([True, False, None], 3).classes == (False, True)


def test_a_mark_that_does_not_occur_is_refused():
    with pytest.raises(
        InputError, match=r"unlabeled='x' does not occur in y; its values are 'a', 'b'"
    ):
        split_labels(["a", "b", None], 3, unlabeled="x")
    with pytest.raises(InputError, match="does not occur"):
        split_labels([True, False, None], 3, unlabeled=1)


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (["a", "b"], "2 entries and X has 3 rows"),
        ([None, None, None], "no labelled point"),
        (["a", "b", "a"], "no unlabelled point"),
        ([0.5, 1.5, None], r"0.5 is not a class"),
        ([np.inf, 1.0, None], r"inf is not a class"),
        (np.zeros((3, 2)), r"shape \(3, 2\)"),
        (np.array(3), "shape"),
    ],
)
def test_labels_that_cannot_be_used(y, words):
    with pytest.raises(InputError, match=words):
        split_labels(y, 3)


def test_classes_without_an_order_are_refused():
    with pytest.raises(InputTypeError, match="mix int and str"):
        split_labels(["a", 1, None], 3)


def test_whole_floats_are_classes():
    assert split_labels([1.0, 7.0, np.nan], 3).classes == (1.0, 7.0)
