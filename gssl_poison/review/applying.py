"""Answers applied: the same data with corrected labels, in a file of its own."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from gssl_poison._atomic import atomic_write
from gssl_poison.exceptions import GsslPoisonError, InputError
from gssl_poison.labels import is_missing
from gssl_poison.readers import SVMLIGHT, read_input
from gssl_poison.readers.cells import DECIMAL
from gssl_poison.review.fingerprints import fingerprint_data, label_text
from gssl_poison.review.writing import (
    NPZ,
    Relabelled,
    has_changed,
    kind_of,
    label_column,
    write_relabelled,
)

if TYPE_CHECKING:
    from gssl_poison.datasets import Dataset
    from gssl_poison.review.answers import Answers


@dataclass(frozen=True, eq=False)
class Applied:
    """What applying answers did.

    Attributes
    ----------
    path : str
        The file that was written.
    points : (k,) int64
        Rows of X whose label was corrected.
    old, new : tuple
        Their labels before and after.
    confirmed : int
        Labels that the answers found right.
    already : int
        Corrections that the data had already.
    cannot_tell, unanswered : int
        Labels that were left as they are.
    notes : tuple of str
        What a reader must know about the file.
    """

    path: str
    points: npt.NDArray[np.int64]
    old: tuple[Any, ...]
    new: tuple[Any, ...]
    confirmed: int
    already: int
    cannot_tell: int
    unanswered: int
    notes: tuple[str, ...]


def apply_answers(
    dataset: Dataset, answers: Answers, path: str | os.PathLike[str], *, force: bool = False
) -> Applied:
    r"""Write the data with the labels that people gave.

    Parameters
    ----------
    dataset : Dataset
    answers : Answers
        Read for this data set.
    path : str or path-like
        The file to write, in the format of its suffix: ``.csv`` or ``.tsv`` (also packed),
        ``.parquet``, ``.npz``, or svmlight where the data came as that.
    force : bool, default False
        Whether a file that is there is replaced. The input and the answers never are.

    Returns
    -------
    Applied

    Raises
    ------
    InputError
        Nothing was answered, the answers are for other data, the file exists or cannot hold the
        data, or the source has changed since it was read.

    Notes
    -----
    Where the format stays, the source is copied and only label cells are written anew: of CSV, TSV
    and svmlight every other character stays, of Parquet every other column and all types, of an
    archive every other array. Where it changes, features keep their values exactly, columns their
    order, and labels are numbers where they were. Labels hidden by ``labeled=`` are written empty,
    marks of unlabelled points as they are. What was written is read again and compared, every value
    of it that was read, before it gets its name: an error or a kill leaves no file behind.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import gssl_poison as gp
    >>> from gssl_poison.review.answers import read_answers
    >>> from gssl_poison.review.fingerprints import fingerprint_data, fingerprint_row
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (folder / "points.csv").write_text("height,label\n1.50,cat\n2,ship\n9,\n")
    >>> data = gp.read_input(folder / "points.csv")
    >>> row, known = fingerprint_row(data.X, 0, "cat"), fingerprint_data(data.X)
    >>> queue = folder / "queue.csv"
    >>> _ = queue.write_text(f"point,answer,row,data\n0,ship,{row},{known}\n")
    >>> done = apply_answers(data, read_answers(queue, data), folder / "clean.csv")
    >>> done.points, (folder / "clean.csv").read_text()
    (array([0]), 'height,label\n1.50,ship\n2,ship\n9,\n')
    """
    target = Path(path)
    check_target(target, dataset, answers.path, force=force)
    if not len(answers):
        raise InputError(
            f"{answers.path} answers nothing: all {answers.unanswered:,} answers are empty; write "
            "the right label, or ? where you cannot tell."
        )
    data, done = _relabel(dataset, answers, target)
    with atomic_write(target) as temporary:
        try:
            write_relabelled(data, target, temporary)
        except (FileNotFoundError, UnicodeDecodeError, EOFError, BadZipFile) as error:
            origin = dataset.origin
            if origin is None or (isinstance(error, FileNotFoundError) and origin.path.exists()):
                raise
            raise has_changed(origin.path) from error
        _check_written(data, answers.data, target, temporary)
    return done


def check_target(target: Path, dataset: Dataset | None, answers: str, *, force: bool) -> None:
    """Refuse, before any work, a file that cannot or must not be written."""
    kind_of(target)
    if target.is_dir() or not target.absolute().parent.is_dir():
        raise InputError(f"{target} cannot be written: give a file in a folder that exists.")
    if not target.exists():
        return
    origin = None if dataset is None else dataset.origin
    for kept, what in ((origin.path if origin else None, "input"), (Path(answers), "answers")):
        if kept is not None and kept.exists() and target.samefile(kept):
            raise InputError(f"{target} is the {what}, which is never changed; give another name.")
    if not target.is_file():
        raise InputError(f"{target} is no regular file; give the name of one.")
    if not force:
        raise InputError(
            f"{target} exists; give another name, or replace it with force=True (--force)."
        )


def _relabel(dataset: Dataset, answers: Answers, target: Path) -> tuple[Relabelled, Applied]:
    """Put the answers into the labels, and say what that changes."""
    labels = dataset.y.tolist()
    changed: dict[int, Any] = {}
    confirmed = already = 0
    rows = zip(answers.points.tolist(), answers.labels, answers.asked, answers.now, strict=True)
    for point, label, asked, now in rows:
        if point >= len(labels) or label_text(labels[point]) != label_text(now):
            raise InputError(
                f"the answers of {answers.path} were read for other labels than those of "
                f"{dataset.name}; read them for these data."
            )
        if label is None:
            continue
        if label_text(label) != label_text(now):
            changed[point] = label
        elif label_text(label) == label_text(asked):
            confirmed += 1
        else:
            already += 1
    old = tuple(labels[point] for point in changed)
    done = Applied(
        path=str(target),
        points=np.array(list(changed), dtype=np.int64),
        old=old,
        new=tuple(changed.values()),
        confirmed=confirmed,
        already=already,
        cannot_tell=sum(label is None for label in answers.labels),
        unanswered=answers.unanswered,
        notes=_notes(dataset, target),
    )
    for point, label in changed.items():
        labels[point] = label
    if dataset.origin is not None and dataset.truth is not None:
        # Hidden by --labeled: the file has labels there, these data have not.
        changed |= {row: None for row, value in enumerate(labels) if is_missing(value)}
    return Relabelled(dataset, labels, changed), done


def _notes(dataset: Dataset, target: Path) -> tuple[str, ...]:
    """Say what the file does not hold."""
    if dataset.image_shape is None or kind_of(target)[0] == NPZ:
        return ()
    return (
        "A table does not say that its rows are images: reports show no pictures of them. "
        f"{target.stem}{NPZ} would.",
    )


def _check_written(data: Relabelled, known: str, target: Path, temporary: Path) -> None:
    """Read back what was written; refuse what is not the same points with the new labels."""
    dataset, origin = data.dataset, data.dataset.origin
    source = target if origin is None else origin.path
    name = None if kind_of(target)[0] in SVMLIGHT else label_column(data, target)
    where = None
    if dataset.provenance is not None:
        where = (origin.provenance if origin is not None else None) or "provenance"
    try:
        written = read_input(temporary, label=name, provenance=where)
    except GsslPoisonError as error:
        text = str(error).replace(str(temporary), str(target))
        raise InputError(f"{target} cannot hold these data: {text}") from error
    if fingerprint_data(written.X) != known or _texts(written) != _texts(dataset):
        raise has_changed(source)
    for got, meant in zip(written.y.tolist(), data.labels, strict=True):
        if not _same(label_text(got), label_text(meant)):
            raise has_changed(source)


def _texts(dataset: Dataset) -> list[str]:
    """Return where labels come from, as text."""
    given = () if dataset.provenance is None else dataset.provenance.tolist()
    return ["" if is_missing(value) else str(value) for value in given]


def _same(got: str, meant: str) -> bool:
    """Compare labels as text, or as numbers where text became one: nothing but digits is left."""
    if got == meant:
        return True
    numbers = DECIMAL.fullmatch(got.strip()) and DECIMAL.fullmatch(meant.strip())
    return bool(numbers) and float(got) == float(meant)
