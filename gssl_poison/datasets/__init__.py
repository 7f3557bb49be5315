"""Named data sets, wholly labelled or with most labels hidden, from disk or by download."""

from __future__ import annotations

import difflib
import numbers
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gssl_poison.datasets.files import cache_folder, data_folders, find_file, not_found
from gssl_poison.datasets.registry import SPECS, Content, InFile, Spec, check_content
from gssl_poison.exceptions import InputError, InputTypeError

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
]


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
    first 60,000 of its 70,000 rows are the training images in canonical order), once. Sets of two
    image classes hold all rows of the first class, then all of the second, each in file order.

    Examples
    --------
    >>> data = load_dataset("digits-1-7", labeled=0.1)
    >>> data.X.shape, sum(label is not None for label in data.y)
    ((361, 64), 36)
    """
    spec = _spec(name)
    if labeled is not None:
        _count_labeled(labeled, spec.n, seed)  # before the file is read: it may be large
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


def hide_labels(y: npt.ArrayLike, labeled: float, seed: int = 2020) -> npt.NDArray[np.object_]:
    """Hide the labels of all but a random part of the points.

    Parameters
    ----------
    y : (n,) array-like
        The labels; not changed.
    labeled : float or int
        A float p between 0 and 1 keeps ``int(p * n)`` labels, an int that many.
    seed : int, 0 <= seed < 2**32
        Seed of the choice.

    Returns
    -------
    (n,) ndarray of object
        The labels kept, as Python values, and None elsewhere.

    Raises
    ------
    InputError
        Not at least one label is kept and one hidden, or `seed` is out of range.
    InputTypeError
        `labeled` or `seed` is not a number.

    Notes
    -----
    The first entries of ``numpy.random.RandomState(seed).permutation(n)`` keep their label, the
    choice of the paper's published code: a larger part contains every smaller one.

    Examples
    --------
    >>> hide_labels([1, 1, 7, 7, 7], 2).tolist()
    [None, 1, None, 7, None]
    """
    values = y if isinstance(y, np.ndarray) else np.asarray(y, dtype=object)
    if values.ndim != 1:
        raise InputError(f"y has shape {values.shape}; pass one label per row (n,).")
    keep = drawn_rows(values.size, labeled, seed)
    hidden = np.full(values.size, None, dtype=object)
    for row, value in zip(keep.tolist(), values[keep].tolist(), strict=True):
        hidden[row] = value
    return hidden


def drawn_rows(n: int, labeled: float, seed: int = 2020) -> npt.NDArray[np.int64]:
    """Return the rows whose labels `hide_labels` keeps, in the order in which they were drawn.

    Parameters
    ----------
    n : int
        Number of points.
    labeled : float or int
        Part of the points, or number of points.
    seed : int, 0 <= seed < 2**32

    Returns
    -------
    (count,) int64
        ``numpy.random.RandomState(seed).permutation(n)[:count]``. The published code lists labelled
        points in this order, and breaks ties by it.

    Raises
    ------
    InputError, InputTypeError
        As `hide_labels`.

    Examples
    --------
    >>> drawn_rows(5, 2).tolist()
    [3, 1]
    """
    count = _count_labeled(labeled, n, seed)
    # The legacy generator on purpose: its stream is the one behind the paper's tables.
    return np.random.RandomState(int(seed)).permutation(n)[:count].astype(np.int64)


def _count_labeled(labeled: object, n: int, seed: object) -> int:
    """Return how many of n points keep their label."""
    if isinstance(seed, bool) or not isinstance(seed, numbers.Integral):
        raise InputTypeError(f"seed={seed!r} is not a whole number; pass an int such as 2020.")
    if not 0 <= int(seed) < 2**32:
        raise InputError(f"seed={seed} is out of range; it must lie in 0..{2**32 - 1}.")
    if isinstance(labeled, bool) or not isinstance(labeled, numbers.Real):
        raise InputTypeError(
            f"labeled={labeled!r} is not a number; pass a part such as 0.05, or a count such as 50."
        )
    if isinstance(labeled, numbers.Integral):
        if not 1 <= int(labeled) < n:
            raise InputError(
                f"labeled={labeled} is out of range; as a count of {n:,} points it must lie in "
                f"1..{n - 1}, so that some are labelled and some are not."
            )
        return int(labeled)
    part = float(labeled)
    if not 0 < part < 1:
        raise InputError(
            f"labeled={labeled} is out of range; as a part it must lie between 0 and 1, such as "
            "0.05; a count is a whole number without a point."
        )
    count = int(part * n)
    if count == 0:
        raise InputError(
            f"labeled={labeled} of {n:,} points is less than one point; "
            f"pass at least {1 / n:.2g}, or a count."
        )
    return count


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
    if not isinstance(source, InFile):
        import sklearn

        return source(), f"scikit-learn {sklearn.__version__}"
    path = find_file(source.file)
    if path is None:
        if source.download is None:
            raise not_found(spec.name, source.file, spec.how_to_get)
        path = source.download(spec.name, source.file, spec.how_to_get)
    return source.load(path, **part), str(path)
