"""Which points of a wholly labelled data set keep their label."""

from __future__ import annotations

import numbers

import numpy as np
import numpy.typing as npt

from gssl_poison.exceptions import InputError, InputTypeError


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
    count = count_labeled(labeled, n, seed)
    # The legacy generator on purpose: its stream is the one behind the paper's tables.
    return np.random.RandomState(int(seed)).permutation(n)[:count].astype(np.int64)


def count_labeled(labeled: object, n: int, seed: object) -> int:
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
