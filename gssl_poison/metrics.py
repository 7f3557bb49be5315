"""Figures of merit that come from one M: the error, and what every single flip would make of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gssl_poison.exceptions import InputError
from gssl_poison.kernels.cuda import card_of
from gssl_poison.kernels.cuda_flips import CardFlips
from gssl_poison.problem import Poison, Problem, check_fits
from gssl_poison.propagation import Fitted

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# Rows of M looked at together: 64 MiB.
_BLOCK = 2**23
# Scores that are computed together: 256 MiB.
_SCORES = 2**25


def flip_errors(prop: Fitted, codes: npt.ArrayLike, truth: npt.ArrayLike, n_classes: int) -> Floats:
    """Return the transductive error after giving each labelled point each class, all from one M.

    Parameters
    ----------
    prop : Fitted
        The victim.
    codes : (l,) int
        Classes of the labelled points, 0 to ``n_classes - 1``, in the order of ``prop.labeled``.
    truth : (n,) int
        True classes of all points; those of the labelled ones are not looked at.
    n_classes : int
        At least 2.

    Returns
    -------
    (l, n_classes) float64
        Part of the unlabelled points that are predicted wrongly if point j has class c. Where c is
        the class it has, that is the error as things are.

    Raises
    ------
    InputError
        Lengths or classes do not fit.

    Notes
    -----
    A flip from a to b changes row i by ``F_ib += M_ij``, ``F_ia -= M_ij``, so that ``l`` trainings
    of the victim are one M and ``u l`` comparisons, with ``c^2`` operations where a flip can turn a
    row. Ties, up to 1e-12 of a row's influence, go to the class of lower index. A point that no
    label reaches counts as class 0, as in scikit-learn.

    Examples
    --------
    >>> import numpy as np
    >>> from gssl_poison import Direct, RBFGraph
    >>> graph = RBFGraph(np.array([[0.0], [0.4], [1.0], [3.0]]), gamma=1.0)
    >>> prop = Direct().fit(graph, np.array([0, 3]))
    >>> flip_errors(prop, [0, 1], truth=[0, 0, 0, 1], n_classes=2)
    array([[0., 1.],
           [0., 0.]])
    """
    labels = _as_codes(codes, "codes", prop.labeled.size, n_classes)
    answers = _as_codes(truth, "truth", prop.graph.n_points, n_classes)[prop.unlabeled]
    l = labels.size  # noqa: E741 - the number of labelled points, everywhere
    card = card_of(prop.graph)
    one_hot = np.eye(n_classes)[labels]
    change = np.zeros((l, n_classes), dtype=np.int64)
    free = np.ones(l, dtype=np.bool_)
    clean = 0
    for part, block in prop.share_blocks(max(1, _BLOCK // l)):
        scores = block @ one_hot
        clean += int((predict(scores) != answers[part]).sum())
        if card is not None:
            change += CardFlips(card, block, scores, labels, answers[part]).count()
            continue
        from gssl_poison.kernels.flips import count_flips

        count_flips(block, scores, labels, answers[part], free, change, np.empty(len(block)))
    return (clean + change) / prop.unlabeled.size


def predict(scores: npt.ArrayLike) -> Integers:
    """Return the class of the highest score of every row.

    Parameters
    ----------
    scores : (r, c) array-like
        Rows that sum to 1, or to 0: `Fitted.apply` with ``normalized=True``.

    Returns
    -------
    (r,) int64
        Scores less than 1e-12 apart tie, and a tie is the lower index's: duplicated points make
        exact ties, which rounding would hide. A point that no label reaches is of class 0, as in
        scikit-learn.

    Examples
    --------
    >>> predict([[0.2, 0.8], [0.5, 0.5]])
    array([1, 0])
    """
    from gssl_poison.kernels.flips import predict as first_of

    given = np.ascontiguousarray(scores, dtype=np.float64)
    if given.ndim != 2 or given.shape[1] == 0 or np.isnan(given).any():
        raise InputError(
            f"scores has shape {given.shape} and {int(np.isnan(given).sum())} entries that are "
            "NaN; give one row a point and one number a class."
        )
    codes = np.empty(len(given), dtype=np.int64)
    first_of(given, codes)
    return codes


def predictions(prop: Fitted, problem: Problem, poison: Poison | None = None) -> Integers:
    """Return the predicted class codes of the unlabelled points, (u,), poisoned or not.

    Parameters
    ----------
    prop : Fitted
        The victim.
    problem : Problem
    poison : Poison, optional
    """
    codes = problem.y if poison is None else poison.apply(problem.y)
    scores = prop.apply(np.eye(problem.n_classes)[codes], normalized=True)
    return predict(scores[prop.unlabeled])


def predictions_after(
    prop: Fitted, n_classes: int, labelings: Sequence[Integers]
) -> list[Integers]:
    """Return the predicted class codes (u,) after each of some labellings, from few products.

    Parameters
    ----------
    prop : Fitted
    n_classes : int
    labelings : sequence of (l,) int64
        Class codes of the labelled points, in the order of ``prop.labeled``.

    Returns
    -------
    list of (u,) int64

    Notes
    -----
    Many labellings are one product with M, ``n_classes`` columns each.

    Examples
    --------
    >>> import numpy as np
    >>> from gssl_poison import Direct, RBFGraph
    >>> graph = RBFGraph(np.array([[0.0], [0.4], [1.0], [3.0]]), gamma=1.0)
    >>> prop = Direct().fit(graph, np.array([0, 3]))
    >>> predictions_after(prop, 2, [np.array([0, 1]), np.array([1, 0])])
    [array([0, 0]), array([1, 1])]
    """
    one_hot, c = np.eye(n_classes), n_classes
    together = max(1, _SCORES // (prop.graph.n_points * c))
    predicted: list[Integers] = []
    for start in range(0, len(labelings), together):
        some = labelings[start : start + together]
        scores = prop.apply(np.hstack([one_hot[codes] for codes in some]), normalized=True)
        # Normalised as one row, every labelling has its equal part of the sum.
        scores = scores[prop.unlabeled] * len(some)
        predicted += [predict(scores[:, k * c : (k + 1) * c]) for k in range(len(some))]
    return predicted


def error_rate(prop: Fitted, problem: Problem, poison: Poison | None = None) -> float:
    """Return the transductive error: the part of the unlabelled points predicted wrongly.

    Parameters
    ----------
    prop : Fitted
        The victim; any propagator fitted to the graph and the labelled points of the problem.
    problem : Problem
        With truth.
    poison : Poison, optional
        Flips to make first.

    Returns
    -------
    float
        Between 0 and 1.

    Raises
    ------
    InputError
        The problem has no truth, or the victim is not of this problem.

    Examples
    --------
    >>> import numpy as np
    >>> from gssl_poison import Direct, Problem, RBFGraph
    >>> graph = RBFGraph(np.array([[0.0], [0.4], [1.0], [3.0]]), gamma=1.0)
    >>> problem = Problem(graph, labeled=[0, 3], y=[0, 1], truth=[0, 0, 1, 1])
    >>> error_rate(Direct().fit(graph, [0, 3]), problem)
    0.5
    """
    check_fits(problem, prop, "victim")
    if problem.truth is None:
        raise InputError(
            "the error cannot be told without the truth; give Problem(truth=...), the true class "
            "codes of all points."
        )
    wrong = predictions(prop, problem, poison) != problem.truth[prop.unlabeled]
    return float(wrong.mean())


def _as_codes(values: npt.ArrayLike, name: str, size: int, n_classes: int) -> npt.NDArray[np.int64]:
    """Return class codes as int64, refusing what is none."""
    given = np.asarray(values)
    if given.shape != (size,) or given.dtype.kind not in "iu":
        raise InputError(
            f"{name} has shape {given.shape} and type {given.dtype}; give {size:,} class codes, "
            "whole numbers from 0."
        )
    if n_classes < 2 or (size and not 0 <= given.min() <= given.max() < n_classes):
        raise InputError(
            f"{name} runs from {given.min()} to {given.max()} and n_classes is {n_classes}; codes "
            "lie in 0 to n_classes - 1, and there must be two classes at least."
        )
    return given.astype(np.int64)
