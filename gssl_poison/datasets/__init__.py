"""Named data sets, wholly labelled or with most labels hidden, from disk or by download."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gssl_poison.datasets.files import cache_folder, data_folders, find_file, not_found
from gssl_poison.datasets.hiding import count_labeled, drawn_rows, hide_labels
from gssl_poison.datasets.registry import SPECS
from gssl_poison.datasets.spec import Content, InFile, InParts, Spec, check_content
from gssl_poison.exceptions import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from scipy.sparse import csr_array

__all__ = [
    "Dataset",
    "DatasetInfo",
    "Origin",
    "cache_folder",
    "data_folders",
    "dataset_names",
    "drawn_rows",
    "hide_labels",
    "list_datasets",
    "load_dataset",
    "load_test_set",
    "train_and_test",
]

# Of a data set without points kept for testing, one row in so many is.
EVERY = 5


class Origin(NamedTuple):
    """A person's own file, as it was read.

    Attributes
    ----------
    path : pathlib.Path
    label : str or None
        The column, or array, that holds the labels; None where a file has no names for it.
    provenance : str or None
        The one that says where labels come from, if it was asked for.
    columns : tuple of str
        All columns of a table, in order; none of an archive or of svmlight lines.
    """

    path: Path
    label: str | None
    provenance: str | None
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Dataset:
    """Features and labels of the same points, in the same order.

    Attributes
    ----------
    name : str
        Name of the data set, or of the file.
    X : (n, d) ndarray or scipy.sparse.csr_array
        Numeric features, not checked for NaN or infinity. Pixels are float32 in 0..1
        (scikit-learn's digits: float64 in 0..16).
    y : (n,) ndarray
        Labels as the file or the data set has them; missing ones are None, NaN or ``""``.
    truth : (n,) ndarray or None
        The true class of every row where all are known; its real value, float64, where the data
        set has no classes.
    feature_names : tuple of str or None
        A name for every feature.
    image_shape : tuple of int or None
        ``(rows, columns)`` or ``(channels, rows, columns)`` where every row of X is an image.
    source : str
        Where the bytes came from, in words.
    provenance : (n,) ndarray of object or None
        Where each label comes from, a text or None; None where the file was not asked for it.
    origin : Origin or None
        The file that was read; None for a named data set.
    """

    name: str
    X: npt.NDArray[Any] | csr_array
    y: npt.NDArray[Any]
    truth: npt.NDArray[Any] | None
    feature_names: tuple[str, ...] | None
    image_shape: tuple[int, ...] | None
    source: str
    provenance: npt.NDArray[np.object_] | None = None
    origin: Origin | None = None


@dataclass(frozen=True)
class DatasetInfo:
    """One row of `list_datasets`.

    Attributes
    ----------
    name : str
        What `load_dataset` takes.
    n, d : int
        Number of points and of features.
    classes : tuple of str or int
        The classes, sorted; none where the labels are real numbers.
    kind : str
        ``"images"``, ``"sparse"`` or ``"table"``.
    description : str
        One line.
    found : str or None
        Path of the file, or the library that bundles the set; None where the file is missing.
    how_to_get : str
        What to do where it is missing.
    """

    name: str
    n: int
    d: int
    classes: tuple[str | int, ...]
    kind: str
    description: str
    found: str | None
    how_to_get: str


def dataset_names() -> tuple[str, ...]:
    """Return the names `load_dataset` takes, without looking for any file.

    Examples
    --------
    >>> "mnist-1-7" in dataset_names()
    True
    """
    return tuple(SPECS)


def list_datasets() -> list[DatasetInfo]:
    """List the named data sets and say where each was found.

    Returns
    -------
    list of DatasetInfo
        Those that come with scikit-learn among them. Nothing is opened or downloaded.

    Raises
    ------
    InputError
        ``GSSL_POISON_DATA`` names something that is not a folder.

    Examples
    --------
    >>> [row.found for row in list_datasets() if row.name == "digits"]
    ['scikit-learn']
    """
    rows = []
    for spec in SPECS.values():
        found: str | None = "scikit-learn"
        if isinstance(spec.source, InFile):
            path = find_file(spec.source.file)
            found = str(path) if path else None
        elif isinstance(spec.source, InParts):
            found = spec.source.find()
        rows.append(
            DatasetInfo(
                spec.name,
                spec.n,
                spec.d,
                spec.classes,
                spec.kind,
                spec.description,
                found,
                spec.how_to_get,
            )
        )
    return rows


def load_dataset(name: str, *, labeled: float | None = None, seed: int = 2020) -> Dataset:
    """Load a named data set, with all its labels or with a random part of them.

    Parameters
    ----------
    name : str
        One of the names in `list_datasets`.
    labeled : float or int, optional
        Part of the points (a float between 0 and 1) or number of points (an int) that keep their
        label, see `hide_labels`. Left out: all do.
    seed : int
        Seed of the choice.

    Returns
    -------
    Dataset
        ``truth`` holds every label; ``y`` the same, or None (in an object array) where hidden.

    Raises
    ------
    InputError
        The name is not known, `labeled` or `seed` is out of range, or the file is not what its
        name says.
    InputTypeError
        `labeled` or `seed` is not a number.
    DatasetNotFoundError
        The file is not in the data folders and cannot be downloaded.

    Notes
    -----
    Files are looked for in the folder named by the environment variable ``GSSL_POISON_DATA``, then
    in the user's cache folder. MNIST is downloaded to the latter from OpenML (``mnist_784``: the
    first 60,000 of its 70,000 rows are the training images in canonical order), once. LIBSVM's
    ``rcv1`` is read from its svmlight files there, else from scikit-learn's ``fetch_rcv1``, which
    keeps it in scikit-learn's own data home; its vectors have length 1 already. Sets of two image
    classes hold all rows of the first class, then all of the second, each in file order.

    Examples
    --------
    >>> data = load_dataset("digits-1-7", labeled=0.1)
    >>> data.X.shape, sum(label is not None for label in data.y)
    ((361, 64), 36)
    """
    spec = _spec(name)
    if labeled is not None:
        count_labeled(labeled, spec.n, seed)  # before the file is read: it may be large
    content, source = _read(spec)
    check_content(spec, content, source, spec.n)
    truth = content.truth
    y = truth.copy() if labeled is None else hide_labels(truth, labeled, seed)
    return Dataset(name, content.X, y, truth, content.feature_names, content.image_shape, source)


def load_test_set(name: str) -> Dataset:
    """Load the points of a named data set that are kept for testing, with all their labels.

    Parameters
    ----------
    name : str
        One of the names in `list_datasets`, of a set that comes in two parts.

    Returns
    -------
    Dataset
        None of its points is in `load_dataset` of the same name.

    Raises
    ------
    InputError
        The name is not known, the set has no such part, or the file is not what its name says.
    DatasetNotFoundError
        The file is not in the data folders and cannot be downloaded.

    Examples
    --------
    >>> load_test_set("iris")
    Traceback (most recent call last):
    gssl_poison.exceptions.InputError: data set 'iris' has no points kept for testing; ...
    """
    spec = _spec(name)
    if not spec.n_test:
        raise InputError(
            f"data set {name!r} has no points kept for testing; hold some of its points back."
        )
    content, source = _read(spec, part="test")
    check_content(spec, content, source, spec.n_test)
    truth = content.truth
    names, shape = content.feature_names, content.image_shape
    return Dataset(name, content.X, truth.copy(), truth, names, shape, source)


def train_and_test(name: str) -> tuple[Dataset, Dataset]:
    """Load the points of a named data set for training and for testing, with all their labels.

    Parameters
    ----------
    name : str
        One of the names in `list_datasets`.

    Returns
    -------
    train, test : Dataset
        The two parts the set comes in. Where it has one only, rows 4, 9, 14, ... are for testing
        and the others for training, in their order; ``source`` says so.

    Raises
    ------
    InputError
        The name is not known, or a file is not what its name says.
    DatasetNotFoundError
        A file is not in the data folders and cannot be downloaded.

    Notes
    -----
    Sets that list one class after the other keep their balance: every fifth row of each is taken.

    Examples
    --------
    >>> train, test = train_and_test("digits-1-7")
    >>> train.X.shape, test.X.shape
    ((289, 64), (72, 64))
    """
    whole = load_dataset(name)
    if _spec(name).n_test:
        return whole, load_test_set(name)
    tested = np.zeros(whole.X.shape[0], dtype=np.bool_)
    tested[EVERY - 1 :: EVERY] = True
    rows = f"every fifth row ({EVERY - 1}, {2 * EVERY - 1}, ...)"
    return (
        _some_rows(whole, ~tested, f"without {rows}, which is for testing"),
        _some_rows(whole, tested, f"{rows} only, not for training"),
    )


def _some_rows(data: Dataset, kept: npt.NDArray[np.bool_], which: str) -> Dataset:
    """Return some points of a wholly labelled data set."""
    rows = np.flatnonzero(kept)
    truth = None if data.truth is None else data.truth[rows]
    source = f"{data.source}; {which}"
    return replace(data, X=data.X[rows], y=data.y[rows], truth=truth, source=source)


def _spec(name: str) -> Spec:
    """Return the entry of a named data set."""
    if name not in SPECS:
        close = difflib.get_close_matches(str(name), SPECS, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise InputError(
            f"there is no data set {name!r}{hint}; the data sets are {', '.join(SPECS)}."
        )
    return SPECS[name]


def _read(spec: Spec, **part: str) -> tuple[Content, str]:
    """Read a data set from where it lies, downloading it first where that is possible."""
    source = spec.source
    if isinstance(source, InParts):
        return source.read(spec, **part)
    if not isinstance(source, InFile):
        import sklearn

        return source(), f"scikit-learn {sklearn.__version__}"
    path = find_file(source.file)
    if path is None:
        if source.download is None:
            raise not_found(spec.name, source.file, spec.how_to_get)
        path = source.download(spec.name, source.file, spec.how_to_get)
    return source.load(path, **part), str(path)
