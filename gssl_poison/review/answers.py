"""Answers that people gave to a queue: read, and refused where they cannot be trusted."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gssl_poison.exceptions import InputError
from gssl_poison.labels import is_missing, split_labels
from gssl_poison.readers.cells import DECIMAL, WHOLE, parse_label_value
from gssl_poison.readers.columns import shown
from gssl_poison.review.annotations import read_export
from gssl_poison.review.filled import Given, read_table
from gssl_poison.review.fingerprints import fingerprint_data, fingerprint_row, label_text
from gssl_poison.review.labelstudio import CANNOT_TELL

if TYPE_CHECKING:
    import os

    from gssl_poison.datasets import Dataset

_POINT = re.compile("[0-9]{1,18}")


@dataclass(frozen=True, eq=False)
class Answers:
    """What people answered about labels of a data set, in the order of the file.

    Attributes
    ----------
    points : (a,) int64
        Rows of X that were looked at, each once; those left empty are not among them.
    labels : tuple
        The right label of each; None where nobody could tell.
    asked : tuple
        The label each had when it was asked about.
    now : tuple
        The label each has in the data set; another one than ``asked`` where the answer was applied.
    places : tuple of str
        Where each stands: "line 3" of a CSV file, "task 3" of Label Studio.
    unanswered : int
        Rows of the file that were left empty.
    data : str
        Fingerprint of the data set.
    path : str
    """

    points: npt.NDArray[np.int64]
    labels: tuple[Any, ...]
    asked: tuple[Any, ...]
    now: tuple[Any, ...]
    places: tuple[str, ...]
    unanswered: int
    data: str
    path: str

    def __len__(self) -> int:
        """Return how many labels were looked at."""
        return len(self.labels)

    def known(self) -> dict[int, Any]:
        """Return the right label by row of X, without what nobody could tell.

        Examples
        --------
        >>> empty = Answers(np.zeros(0, np.int64), (), (), (), (), 0, "", "queue.csv")
        >>> empty.known()
        {}
        """
        pairs = zip(self.points.tolist(), self.labels, strict=True)
        return {point: label for point, label in pairs if label is not None}

    def before(self, dataset: Dataset) -> npt.NDArray[Any]:
        """Return the labels of a data set as they were when these answers were asked for.

        An audit of them with `known` learns from every answer. In data that the answers were
        applied to it would take what was corrected for labels that were right from the start.

        Parameters
        ----------
        dataset : Dataset
            The one these answers were read for.

        Returns
        -------
        (n,) ndarray of object
        """
        y = np.empty(len(dataset.y), dtype=object)
        y[:] = dataset.y.tolist()
        for point, label in zip(self.points.tolist(), self.asked, strict=True):
            y[point] = label
        classes = {label_text(value) for value in y}
        for point, label in zip(self.points.tolist(), self.labels, strict=True):
            if label is not None and label_text(label) not in classes:
                y[point] = label  # a class that only answers brought: there was no other of it
        return y


def read_answers(
    path: str | os.PathLike[str],
    dataset: Dataset,
    *,
    unlabeled: Any = None,
    new_classes: bool = False,
) -> Answers:
    r"""Read a filled queue: a CSV file, or the JSON that Label Studio exports.

    Parameters
    ----------
    path : str or path-like
        ``.csv`` or ``.tsv``, or ``.json`` (in Label Studio: Export, JSON).
    dataset : Dataset
        The data the queue was made of, before or after the answers were applied.
    unlabeled : scalar, optional
        The value of ``dataset.y`` that means unlabelled.
    new_classes : bool, default False
        Whether an answer may be a class that no label has yet.

    Returns
    -------
    Answers

    Raises
    ------
    InputError
        With the number of the line or task: the file is damaged or lacks a column; a row is not
        there, was answered twice, is of another data set or has changed since it was asked about;
        an answer is no class.

    Notes
    -----
    An empty answer was not looked at; ``?`` or ``skip`` is "cannot tell", unless a class has that
    name. A row is known by the fingerprint of its features and of the label it had, so order,
    further columns and missing lines do not matter. A label that differs from the one asked about
    is taken where it is the answer itself, applied already, and refused otherwise. CSV may be split
    by semicolons or tabs, begin with a byte order mark and end in empty lines, as spreadsheets save
    it. Of several annotations of a task those that tell a class must agree; skipped ones do not
    count beside them, and alone are "cannot tell".

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import gssl_poison as gp
    >>> from gssl_poison.review.fingerprints import fingerprint_data, fingerprint_row
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (folder / "points.csv").write_text("height,label\n1.5,cat\n2,ship\n9,\n")
    >>> data = gp.read_input(folder / "points.csv")
    >>> row, known = fingerprint_row(data.X, 0, "cat"), fingerprint_data(data.X)
    >>> queue = folder / "queue.csv"
    >>> _ = queue.write_text(f"point,answer,row,data\n0,ship,{row},{known}\n")
    >>> read_answers(queue, data).known()
    {0: 'ship'}
    """
    file = Path(path)
    _check_file(file)
    if file.suffix.lower() not in (".csv", ".tsv", ".json"):
        raise InputError(
            f"{file} ends in {file.suffix or 'nothing'!r}; give the filled .csv, or the .json that "
            "Label Studio exports."
        )
    reading = _Reading(file, dataset, unlabeled, new_classes)
    if file.suffix.lower() == ".json":
        return reading.answers(read_export(file, reading.cannot_tell))
    return reading.answers(read_table(file))


def _check_file(file: Path) -> None:
    """Refuse what is not a file with something in it."""
    if not file.is_file():
        raise InputError(f"there is no file {file} (looked from {Path.cwd()}); correct the path.")
    if file.stat().st_size == 0:
        raise InputError(f"{file} is empty (0 bytes); it must hold the queue with its answers.")


class _Reading:
    """Answers of a file held against a data set, one after the other."""

    def __init__(self, file: Path, dataset: Dataset, unlabeled: Any, new_classes: bool) -> None:
        self.file, self.dataset = file, dataset
        self.unlabeled, self.new_classes = unlabeled, new_classes
        labels = split_labels(dataset.y, int(dataset.X.shape[0]), unlabeled)
        self.classes = labels.classes
        named = {label_text(value): value for value in labels.classes}
        # A name that stands between spaces may be answered without them.
        self.named = {name.strip(): value for name, value in named.items()} | named
        self.cannot_tell = tuple(word for word in CANNOT_TELL if word not in named)
        self.label = {
            int(row): labels.classes[code]
            for row, code in zip(labels.labeled, labels.codes, strict=True)
        }
        self.data = fingerprint_data(dataset.X)
        self.seen: dict[int, str] = {}

    def answers(self, given: Iterable[Given]) -> Answers:
        """Return the answers that hold; raise the error of the first that does not."""
        rows = list(given)
        if not rows:
            raise InputError(f"{self.file} has no row of a queue; it must hold those answered.")
        for row in rows:
            self._check_data(row)
        kept = list(self._kept(rows))
        points, labels, asked, places = zip(*kept, strict=True) if kept else ((), (), (), ())
        return Answers(
            points=np.array(points, dtype=np.int64),
            labels=labels,
            asked=asked,
            now=tuple(self.label[point] for point in points),
            places=places,
            unanswered=len(rows) - len(kept),
            data=self.data,
            path=str(self.file),
        )

    def _kept(self, rows: Iterable[Given]) -> Iterator[tuple[int, Any, Any, str]]:
        """Yield point, right label, label asked about and place of every answer there is."""
        for row in rows:
            point = self._point(row)
            if row.answer == "":
                continue
            if point in self.seen:
                raise self._error(
                    row, f"answers point {point} again, after {self.seen[point]}; keep one of them"
                )
            self.seen[point] = row.place
            label = self._label(row)
            yield point, label, self._asked(row, point, label), row.place

    def _error(self, row: Given, what: str) -> InputError:
        return InputError(f"{row.place} of {self.file} {what}.")

    def _check_data(self, row: Given) -> None:
        """Refuse an answer about another data set."""
        if row.data != self.data:
            raise self._error(
                row,
                f"is about other data (fingerprint {row.data or 'missing'!r}) than "
                f"{self.dataset.name} ({self.data!r}); give the data that the queue was made of, "
                "and leave the column as it was",
            )

    def _point(self, row: Given) -> int:
        """Return the row of X that is meant."""
        n = int(self.dataset.X.shape[0])
        if not _POINT.fullmatch(row.point) or int(row.point) >= n:
            raise self._error(
                row, f"names point {row.point!r}; {self.dataset.name} has the points 0 to {n - 1}"
            )
        point = int(row.point)
        if point not in self.label:
            raise self._error(
                row,
                f"names point {point}, which has no label in {self.dataset.name}; only labels "
                "that are there are checked",
            )
        return point

    def _label(self, row: Given) -> Any:
        """Return the class that an answer means; None for "cannot tell"."""
        if row.answer is None:
            return None
        if row.answer in self.named:
            return self.named[row.answer]
        text = row.answer.strip()
        if text in self.named:
            return self.named[text]
        if text.lower() in self.cannot_tell:
            return None
        if not any(isinstance(value, str) for value in self.classes) and text.lower() != "nan":
            try:
                return parse_label_value(text, np.array(self.classes, dtype=object))
            except InputError:
                pass  # a number or truth value that no label has
        if not self.new_classes:
            close = difflib.get_close_matches(text, self.named, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            names = shown([label_text(value) for value in self.classes], most=8)
            raise self._error(
                row,
                f"answers {text!r}, which is no class of {self.dataset.name} "
                f"({names}{hint}); correct it, or apply with new_classes=True (--new-classes) "
                "if it is one",
            )
        return self._new_class(row, text)

    def _new_class(self, row: Given, text: str) -> Any:
        """Return a class that no label has yet, of the type of the others."""
        value, kinds = self._typed(text), {type(value) for value in self.classes}
        if {type(value)} != kinds:
            raise self._error(
                row,
                f"answers {text!r}, and the labels are {shown(sorted(map(str, self.classes)))}"
                "; a new class must be of their type",
            )
        if any(unicodedata.category(sign) in ("Cc", "Cs") for sign in text):
            raise self._error(
                row, f"answers {text!r}, which has signs that no name of a new class may have"
            )
        mark = self.unlabeled
        if is_missing(value) or text in ("-1", "-1.0") or (mark is not None and value == mark):
            raise self._error(
                row, f"answers {text!r}, which means unlabelled; answer '?' where you cannot tell"
            )
        return value

    def _typed(self, text: str) -> Any:
        """Return a text as a label of the type that the others have; as text where it is none."""
        kinds = {type(value) for value in self.classes}
        if kinds == {int} and WHOLE.fullmatch(text):
            return int(text)
        if kinds == {float} and DECIMAL.fullmatch(text) and float(text).is_integer():
            return float(text)
        return text

    def _asked(self, row: Given, point: int, label: Any) -> Any:
        """Return the label that was asked about; refuse where the row is another one by now."""
        X, now = self.dataset.X, self.label[point]
        if row.row == fingerprint_row(X, point, now):
            return now
        # The label cell: a class that the answers left without a label is in the data no more.
        for other in (*self.classes, row.label):
            if row.row == fingerprint_row(X, point, other):
                asked = other if other in self.classes else self._typed(str(other))
                break
        else:
            raise self._error(
                row,
                f"was asked about point {point} as it was, and the features or the label of that "
                "row have changed since (or the cell 'row' has); ask again: make a new queue",
            )
        if label is not None and label == now:
            return asked
        raise self._error(
            row,
            f"was asked about point {point} when its label was {label_text(asked)!r}, and now it "
            f"is {label_text(now)!r}; ask again: make a new queue",
        )
