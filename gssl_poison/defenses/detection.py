"""How well scores tell wrong labels from right ones: figures that need to know which are wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gssl_poison.defenses._common import Booleans, Floats, above
from gssl_poison.exceptions import InputError
from gssl_poison.problem import count_flips


@dataclass(frozen=True)
class Threshold:
    """A cut through scores, and what the labels above it are.

    Attributes
    ----------
    value : float
        Labels with a higher score are taken for wrong.
    f1, precision, recall : float
        Of those; in 0..1.
    """

    value: float
    f1: float
    precision: float
    recall: float


@dataclass(frozen=True)
class DetectionFigures:
    """How well a score finds wrong labels.

    Attributes
    ----------
    auc : float
        Probability that a wrong label scores higher than a right one, ties counting one half; NaN
        where all labels are wrong.
    precision, recall, f1 : float
        Of the labels that score above ``threshold``; precision is 0 where there are none.
    precision_at_budget, recall_at_budget : float
        Of the ``n_checked`` labels with the highest scores, ties by position.
    threshold : float
    n_flagged, n_checked, n_wrong, n_labeled : int
        Labels above the threshold, labels within the budget, wrong labels, labels.
    """

    auc: float
    precision: float
    recall: float
    f1: float
    precision_at_budget: float
    recall_at_budget: float
    threshold: float
    n_flagged: int
    n_checked: int
    n_wrong: int
    n_labeled: int


def best_threshold(score: npt.ArrayLike, wrong: npt.ArrayLike) -> Threshold:
    """Return the threshold of the best F1, which only one who knows the wrong labels can choose.

    Parameters
    ----------
    score : (l,) float
        Higher is more suspect.
    wrong : (l,) bool
        Which labels are wrong.

    Returns
    -------
    Threshold
        Of cuts that are equally good, the highest. Its value is the largest score that is not
        flagged; where all are flagged, the float below the smallest.

    Raises
    ------
    InputError
        Lengths differ, a score is not finite, or no label is wrong.

    Notes
    -----
    ``F1 = 2 TP / (2 TP + FP + FN)``; all cuts from one sort, ``O(l log l)``.

    Examples
    --------
    >>> best_threshold([0.9, 0.8, 0.2, 0.1], [True, False, True, False])
    Threshold(value=0.1, f1=0.8, precision=0.6666666666666666, recall=1.0)
    """
    scores, is_wrong = _checked(score, wrong)
    order = np.argsort(-scores, kind="stable")
    ranked, found = scores[order], np.cumsum(is_wrong[order])
    # A cut falls behind the last of equal scores.
    last = np.flatnonzero(np.append(ranked[1:] < ranked[:-1], True))
    n_wrong = int(is_wrong.sum())
    # The denominator is whole numbers, so that equal cuts are equal: the first is the highest.
    f1 = 2.0 * found[last] / (last + 1 + n_wrong)
    best = int(last[np.argmax(f1)])
    end = best + 1 == scores.size
    value = np.nextafter(ranked[-1], -np.inf) if end else ranked[best + 1]
    hits = int(found[best])
    return Threshold(float(value), float(f1.max()), hits / (best + 1), hits / n_wrong)


def detection_figures(
    score: npt.ArrayLike, wrong: npt.ArrayLike, budget: float, threshold: float | None
) -> DetectionFigures:
    """Return how well a score tells wrong labels from right ones.

    Parameters
    ----------
    score : (l,) float
        Higher is more suspect.
    wrong : (l,) bool
        Which labels are wrong.
    budget : int or float
        Labels that a person would look at, or a part of all labels between 0 and 1.
    threshold : float
        Labels that score higher are taken for wrong.

    Returns
    -------
    DetectionFigures

    Raises
    ------
    InputError
        Lengths differ, a score is not finite, no label is wrong, or the budget or threshold is not
        usable.

    Examples
    --------
    >>> figures = detection_figures(
    ...     [0.9, 0.8, 0.2, 0.1], [True, False, True, False], budget=1, threshold=0.5
    ... )
    >>> figures.auc, figures.precision, figures.recall, figures.precision_at_budget
    (0.75, 0.5, 0.5, 1.0)
    """
    scores, is_wrong = _checked(score, wrong)
    if threshold is None:
        raise InputError("threshold=None names no cut; give a number, such as the detector's own.")
    flagged = above(scores, threshold, threshold)
    n_checked = count_flips(budget, scores.size)
    checked = np.argsort(-scores, kind="stable")[:n_checked]
    n_wrong, n_flagged = int(is_wrong.sum()), int(flagged.sum())
    hits, found = int(is_wrong[flagged].sum()), int(is_wrong[checked].sum())
    return DetectionFigures(
        auc=_auc(scores, is_wrong),
        precision=hits / n_flagged if n_flagged else 0.0,
        recall=hits / n_wrong,
        f1=2 * hits / (n_flagged + n_wrong),
        precision_at_budget=found / n_checked,
        recall_at_budget=found / n_wrong,
        threshold=float(threshold),
        n_flagged=n_flagged,
        n_checked=n_checked,
        n_wrong=n_wrong,
        n_labeled=int(scores.size),
    )


def _auc(scores: Floats, wrong: Booleans) -> float:
    """Return the area under the ROC curve; NaN where there is no right label to compare with."""
    from sklearn.metrics import roc_auc_score

    return float("nan") if wrong.all() else float(roc_auc_score(wrong, scores))


def _checked(score: npt.ArrayLike, wrong: npt.ArrayLike) -> tuple[Floats, Booleans]:
    """Return scores and marks as arrays, refusing what is none."""
    scores, is_wrong = np.asarray(score), np.asarray(wrong)
    if scores.ndim != 1 or scores.dtype.kind not in "iuf" or not np.isfinite(scores).all():
        raise InputError(
            f"score has shape {scores.shape} and type {scores.dtype}, or an entry that is not "
            "finite; give one finite number a label."
        )
    if is_wrong.shape != scores.shape or is_wrong.dtype != np.bool_:
        raise InputError(
            f"wrong has shape {is_wrong.shape} and type {is_wrong.dtype}; give True or False for "
            f"each of the {scores.size} labels, as y != truth does."
        )
    if not is_wrong.any():
        raise InputError(
            f"none of the {scores.size} labels is wrong, so there is nothing to find; poison some."
        )
    return scores.astype(np.float64), is_wrong
