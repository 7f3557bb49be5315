"""LIBSVM's rcv1.binary: its rule on topics, its svmlight files, and RCV1 from scikit-learn."""

from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gssl_poison.datasets.files import VARIABLE, data_folders
from gssl_poison.datasets.spec import Content, Spec
from gssl_poison.exceptions import DatasetNotFoundError, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scipy.sparse import csr_array

POSITIVE_TOPICS = ("CCAT", "ECAT")
NEGATIVE_TOPICS = ("GCAT", "MCAT")
POSITIVE = "corporate-economic"
NEGATIVE = "government-markets"
PACKED = ("", ".bz2")
# What fetch_rcv1 keeps in scikit-learn's data home; looked for only to say where the set is.
SKLEARN_FILES = ("samples", "sample_id", "sample_topics", "topics_names")

logger = logging.getLogger(__name__)


class Ruled(NamedTuple):
    """What `binary_rule` makes of a corpus.

    Attributes
    ----------
    rows : (r,) int64
        The documents that are kept, rising.
    positive : (r,) bool
        Which of them are positive.
    n_both, n_neither : int
        Documents dropped because they have topics of both sides, or of none.
    """

    rows: npt.NDArray[np.int64]
    positive: npt.NDArray[np.bool_]
    n_both: int
    n_neither: int


def binary_rule(topics: Any, names: Sequence[str]) -> Ruled:
    """Divide documents into LIBSVM's two classes by their topics.

    Parameters
    ----------
    topics : (n, t) array-like or sparse matrix
        Above 0 where a document has a topic.
    names : sequence of str
        The t topics.

    Returns
    -------
    Ruled
        Positive is a document with topic CCAT or ECAT, negative one with GCAT or MCAT. Documents
        of both sides are dropped, and so are those of neither.

    Raises
    ------
    InputError
        One of the four topics is not among the names, or there twice, or the names are not as many
        as the columns.

    References
    ----------
    LIBSVM Data, rcv1.binary, https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/binary.html

    Examples
    --------
    >>> topics = [[1, 0, 0, 0], [0, 0, 1, 1], [1, 0, 0, 1], [0, 0, 0, 0]]
    >>> ruled = binary_rule(topics, ["CCAT", "ECAT", "GCAT", "MCAT"])
    >>> ruled.rows.tolist(), ruled.positive.tolist(), ruled.n_both, ruled.n_neither
    ([0, 1], [True, False], 1, 1)
    """
    from scipy.sparse import csr_array

    matrix, listed = csr_array(topics), [str(name) for name in names]
    if matrix.shape[1] != len(listed):
        raise InputError(
            f"the topics have {matrix.shape[1]} columns and {len(listed)} names; give every column "
            "its name."
        )
    for name in (*POSITIVE_TOPICS, *NEGATIVE_TOPICS):
        if listed.count(name) != 1:
            raise InputError(
                f"topic {name} is there {listed.count(name)} times among {len(listed)} names; "
                "LIBSVM's rule needs CCAT, ECAT, GCAT and MCAT, each once."
            )

    def has(side: tuple[str, ...]) -> npt.NDArray[np.bool_]:
        columns = matrix[:, [listed.index(name) for name in side]]
        return np.asarray(columns.sum(axis=1)).ravel() > 0

    positive, negative = has(POSITIVE_TOPICS), has(NEGATIVE_TOPICS)
    rows = np.flatnonzero(positive != negative)
    return Ruled(
        rows,
        positive[rows],
        int(np.count_nonzero(positive & negative)),
        int(np.count_nonzero(~(positive | negative))),
    )


def find_rcv1() -> str | None:
    """Return what `read_rcv1` reads: LIBSVM's training file, or scikit-learn's folder.

    None where there is neither. Nothing is opened, and no folder is made.
    """
    files = _files()
    if any(files.values()):
        return str(files["train"]) if files["train"] else None
    # get_data_home() would make the folder.
    home = os.environ.get("SCIKIT_LEARN_DATA", os.path.join("~", "scikit_learn_data"))
    folder = Path(os.path.expanduser(home)) / "RCV1"
    there = all((folder / f"{name}_py3.pkl").is_file() for name in SKLEARN_FILES)
    return str(folder) if there else None


def _files() -> dict[str, Path | None]:
    """Return LIBSVM's file of each part: first folder first, and a plain file before a packed."""
    places = [(folder, packed) for folder in data_folders() for packed in PACKED]

    def first(part: str) -> Path | None:
        files = (folder / f"rcv1_{part}.binary{packed}" for folder, packed in places)
        return next((file for file in files if file.is_file()), None)

    return {part: first(part) for part in ("train", "test")}


def read_rcv1(spec: Spec, part: str = "train") -> tuple[Content, str]:
    """Read a part of rcv1.binary, and say where it came from.

    Parameters
    ----------
    spec : Spec
        Its numbers of points and features, and what to do where there is nothing to read.
    part : {"train", "test"}

    Returns
    -------
    Content
        X is float32 CSR; the classes are ``"corporate-economic"`` (LIBSVM's +1, topics CCAT and
        ECAT) and ``"government-markets"`` (-1, GCAT and MCAT).
    str
        The file, or scikit-learn's version.

    Raises
    ------
    InputError
        A file is damaged or is not LIBSVM's, or scikit-learn's RCV1 gives other numbers of points.
    DatasetNotFoundError
        There is no file, and scikit-learn neither has RCV1 nor can download it.

    Notes
    -----
    LIBSVM's files are taken where one of the two is in the data folders; the other part must then
    be there too, so that both come from one place. Else ``sklearn.datasets.fetch_rcv1`` is asked
    and `binary_rule` applied. It downloads the vectors of Lewis et al. (about 656 MB) and keeps
    them, as files of joblib that it opens itself, in scikit-learn's own data home; nothing of it is
    kept elsewhere, and nothing is unpickled here.

    The vectors are the published ones: log TF-IDF, scaled to length 1 (cosine-normalised), and not
    touched. fetch_rcv1 lists documents by their number. LIBSVM's file need not be in the same
    order, so the same seed may draw other labelled points from it.

    References
    ----------
    D. D. Lewis, Y. Yang, T. G. Rose, F. Li (2004). RCV1: a new benchmark collection for text
    categorization research. JMLR 5, 361-397.
    """
    files = _files()
    file = files[part]
    if file is not None:
        X, positive = read_lines(file, spec.d)
        return _content(X, positive), str(file)
    other = next((found for found in files.values() if found is not None), None)
    if other is not None:
        raise _not_found(spec, part, f"and {other} alone is not enough")
    return _fetched(spec, part)


def read_lines(file: Path, d: int) -> tuple[csr_array, npt.NDArray[np.bool_]]:
    """Read svmlight lines with labels +1 and -1 and indices 1..d, as LIBSVM writes them.

    Returns
    -------
    (n, d) scipy.sparse.csr_array of float32
    (n,) bool
        Which labels are +1.

    Raises
    ------
    InputError
        The file is damaged, an index is 0, above d or out of order, or a label is another.
    """
    from sklearn.datasets import load_svmlight_file

    from gssl_poison.readers.unpack import open_packed

    packed = file.suffix if file.suffix in PACKED else ""
    try:
        with open_packed(file, packed) as stream:
            X, y = load_svmlight_file(stream, n_features=d, dtype=np.float32, zero_based=False)
    except (EOFError, OSError) as error:
        raise InputError(
            f"{file} cannot be read ({error}); it is damaged: fetch it again."
        ) from error
    except (IndexError, OverflowError, ValueError) as error:
        raise InputError(
            f"{file} is not LIBSVM's rcv1.binary ({str(error).rstrip('.')}); every line must be "
            f"'+1 index:value ...' or '-1 index:value ...' with rising indices from 1 to {d:,}: "
            "fetch it again."
        ) from error
    wrong = np.flatnonzero(np.abs(y) != 1)  # NaN too
    if wrong.size:
        raise InputError(
            f"{file} has the label {y[wrong[0]]:g} at point {wrong[0] + 1:,} ({wrong.size:,} "
            "labels are neither +1 nor -1); those of LIBSVM's rcv1.binary are +1 and -1: fetch it "
            "again."
        )
    return _narrow(X), y > 0


def _fetched(spec: Spec, part: str) -> tuple[Content, str]:
    """Ask scikit-learn for a part of RCV1, and keep what LIBSVM's rule keeps."""
    import sklearn.datasets

    logger.info(
        "asking scikit-learn for RCV1; where it is not in its data home, about 656 MB are "
        "downloaded to it"
    )
    try:
        with warnings.catch_warnings():
            # It warns at every retry; the error at the end says it once.
            warnings.filterwarnings("ignore", message="Retry downloading", category=UserWarning)
            found = sklearn.datasets.fetch_rcv1(subset=part)
    except Exception as error:  # from the network, or anything that a damaged pickle raises
        raise _not_found(
            spec, part, f"and scikit-learn's fetch_rcv1 failed ({str(error) or repr(error)})"
        ) from error
    ruled = binary_rule(found.target, found.target_names)
    n = spec.n_test if part == "test" else spec.n
    shape = found.data.shape
    if ruled.rows.size != n or shape != (found.target.shape[0], spec.d):
        raise InputError(
            f"scikit-learn's fetch_rcv1(subset={part!r}) gives {shape[0]:,} x {shape[1]:,} values, "
            f"of which LIBSVM's rule keeps {ruled.rows.size:,} documents "
            f"({np.count_nonzero(ruled.positive):,} positive; {ruled.n_both:,} of both classes "
            f"and {ruled.n_neither:,} of neither are dropped), where it must keep {n:,} with "
            f"{spec.d:,} features; delete the folder RCV1 in scikit-learn's data home, and "
            f"{spec.how_to_get}."
        )
    # Narrowed before rows are taken: at no time are there two matrices of float64.
    whole = _narrow(found.data)
    del found
    source = f"scikit-learn {sklearn.__version__}, fetch_rcv1(subset={part!r}), LIBSVM's rule"
    return _content(whole[ruled.rows], ruled.positive), source


def _narrow(X: Any) -> csr_array:
    """Return a sparse matrix as CSR of float32 with int32 indices: 8 bytes an entry."""
    from scipy.sparse import csr_array

    whole = csr_array(X)
    small = np.int32 if whole.nnz <= np.iinfo(np.int32).max else np.int64
    return csr_array(
        (
            whole.data.astype(np.float32, copy=False),
            whole.indices.astype(small, copy=False),
            whole.indptr.astype(small, copy=False),
        ),
        shape=whole.shape,
    )


def _content(X: csr_array, positive: npt.NDArray[np.bool_]) -> Content:
    """Name the classes."""
    return Content(X, np.array([NEGATIVE, POSITIVE], dtype=object)[positive.astype(np.intp)])


def _not_found(spec: Spec, part: str, why: str) -> DatasetNotFoundError:
    """Make the error that says which file is missing, where it was looked for and what to do."""
    file = f"rcv1_{part}.binary"
    folders = " and ".join(str(folder) for folder in data_folders())
    return DatasetNotFoundError(
        f"data set {spec.name!r} needs LIBSVM's {file} or {file}.bz2, which is not in {folders}, "
        f"{why}: {spec.how_to_get}; {VARIABLE} names another folder."
    )
