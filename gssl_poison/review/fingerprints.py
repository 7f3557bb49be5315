"""Fingerprints of data and of rows: what an answer was given for, told from what is there now."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gssl_poison.labels import is_missing

if TYPE_CHECKING:
    from scipy.sparse import csr_array

# Bytes of features hashed at a time.
_BLOCK = 1 << 24
_HEX = 16


def label_text(value: Any) -> str:
    """Return a label as a file has it: 1 and 1.0 are the same class, a missing one is empty.

    Examples
    --------
    >>> label_text(7.0), label_text("cat"), label_text(None)
    ('7', 'cat', '')
    """
    if is_missing(value):
        return ""
    whole = isinstance(value, float | np.floating) and float(value).is_integer()
    return str(int(value) if whole else value)


def fingerprint_data(X: npt.NDArray[Any] | csr_array) -> str:
    """Return a short text that other features, or the same ones in another order, do not share.

    Parameters
    ----------
    X : (n, d) ndarray or scipy.sparse.csr_array

    Returns
    -------
    str
        "x" and 16 hexadecimal digits of SHA-256. The letter keeps a spreadsheet from reading
        digits as a number.

    Notes
    -----
    Hashed are the shape and the values as float64, so the type they are stored in does not matter.
    Labels and names of classes are no part of it: correcting labels leaves it as it is. Sparse
    features have one form, whatever the order of their entries, which is not that of dense ones.

    Examples
    --------
    >>> import numpy as np
    >>> fingerprint_data(np.array([[0, 1], [2, 3]])) == fingerprint_data(
    ...     np.array([[0.0, 1.0], [2.0, 3.0]])
    ... )
    True
    """
    found = hashlib.sha256(repr(tuple(int(side) for side in X.shape)).encode())
    rows = max(1, _BLOCK // (8 * max(1, int(X.shape[1]))))
    for start in range(0, int(X.shape[0]), rows):
        for part in _bytes_of(X[start : start + rows]):
            found.update(part)
    return _short(found.digest())


def fingerprint_row(X: npt.NDArray[Any] | csr_array, row: int, label: Any) -> str:
    """Return a short text that stands for the features of a row and the label it has.

    Parameters
    ----------
    X : (n, d) ndarray or scipy.sparse.csr_array
    row : int
    label : object
        The label as a value or as text, see `label_text`.

    Examples
    --------
    >>> import numpy as np
    >>> fingerprint_row(np.eye(2), 0, 1) == fingerprint_row(np.eye(2), 0, "1")
    True
    """
    found = hashlib.sha256(b"".join(_bytes_of(X[row : row + 1])))
    found.update(label_text(label).encode("utf-8", "surrogatepass"))
    return _short(found.digest())


def _bytes_of(block: npt.NDArray[Any] | csr_array) -> Iterator[bytes]:
    """Yield some rows in one form: float64, little-endian, without negative zeros."""
    if not isinstance(block, np.ndarray) and hasattr(block, "indptr"):
        block = block.copy()  # a slice may share its arrays with the whole
        block.sum_duplicates()
        block.eliminate_zeros()
        for array in (block.indptr, block.indices):
            yield np.ascontiguousarray(array, dtype="<i8").tobytes()
        yield np.ascontiguousarray(block.data, dtype="<f8").tobytes()
        return
    dense = np.ascontiguousarray(block, dtype="<f8")
    yield (dense + 0.0).tobytes()


def _short(digest: bytes) -> str:
    return "x" + digest.hex()[:_HEX]
