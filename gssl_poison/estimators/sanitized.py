"""A scikit-learn step that mends or drops suspect labels before another estimator learns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin, _fit_context, clone
from sklearn.utils import get_tags
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from gssl_poison._arrays import as_features, is_sparse
from gssl_poison.bandwidth import RULES
from gssl_poison.defenses import (
    Contradiction,
    KNNSanitization,
    KNNShapley,
    Learned,
    Suspicion,
    against,
    told,
)
from gssl_poison.estimators.label_propagation import LabelPropagation
from gssl_poison.estimators.source import classes_of
from gssl_poison.exceptions import InputError
from gssl_poison.graph import RBFGraph
from gssl_poison.problem import Problem
from gssl_poison.propagation import Fitted, parse_propagator

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]

_DETECTORS: dict[str, Any] = {
    "contradiction": Contradiction(),
    "suspicion": Suspicion(),
    "knn": KNNSanitization(),
    "knn-shapley": KNNShapley(),
    "learned": Learned(),
}
_FORMATS = ["csr", "csc"]


def _delegated(method: str) -> Callable[[Any], bool]:
    """Return a check that the inner estimator has a method."""

    def has(sanitizer: Any) -> bool:
        inner = getattr(sanitizer, "estimator_", sanitizer.estimator)
        return hasattr(LabelPropagation if inner is None else inner, method)

    return has


class LabelSanitizer(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Mend or drop the labels that the others contradict, then fit another estimator.

    Parameters
    ----------
    estimator : classifier, optional
        What is fitted with the labels that are left; a clone of it. By default
        `LabelPropagation` with the gamma found here and its exact solver: where some points are
        unlabelled it infers them, and where all are labelled it is the vote of the training points
        weighted by the kernel, so that one default does for both.
    gamma : float or {"auto", "scale", "median", "loo"}, default "auto"
        Kernel coefficient of the graph of the points; see `gssl_poison.choose_gamma`. It matters
        to detectors that read the propagator, and to the default estimator.
    detector : str or Detector, default "contradiction"
        What scores the labels: "contradiction", "suspicion", "knn", "knn-shapley" or "learned", in
        `gssl_poison.defenses` `Contradiction`, `Suspicion`, `KNNSanitization`, `KNNShapley` and
        `Learned`, or an object like these. "contradiction" misses least, and on hard data takes
        right labels for wrong ones; "learned" errs on the other side.
    action : {"relabel", "drop"}, default "relabel"
        "relabel": suspect labels become what the others say, and stay where those agree with them.
        "drop": suspect labels are taken away. Where y has unlabelled points these become such
        points too; where y has none their rows are left out.
    threshold : float, optional
        Labels that score higher are suspect; by default the detector's own threshold.
    propagator : str, default "direct"
        The victim that detectors read influence and predictions from, such as "harmonic" or
        "spreading:alpha=0.2". "suspicion" and "learned" read one.

    Attributes
    ----------
    estimator_ : classifier
        The estimator fitted.
    classes_ : (c,) ndarray
        The classes of y, ascending.
    suspicion_ : (n,) float64
        Score of every label, NaN where a point is unlabelled.
    suspect_ : (n,) bool
        Which labels score above the threshold.
    y_ : (n,) ndarray
        The labels that the estimator was fitted with; -1 where a point is unlabelled or its label
        was dropped, then in an object array where the type of y has no -1.
    gamma_ : float
        Kernel coefficient used.
    n_features_in_ : int
        Columns of X.
    feature_names_in_ : (d,) ndarray of str
        Names of the columns of X, where all are text.

    Raises
    ------
    ValueError
        A parameter, X or y is not usable (`gssl_poison.InputError` where scikit-learn has no error
        of its own): no label; -1 beside a single class, which could be one of two classes as well;
        an estimator that takes -1 for a class.

    Notes
    -----
    -1 in y always means unlabelled. Without such points there is none that a label could decide:
    then every point is in the graph once more as a copy without a label. A label's influence is
    what it decides among the copies, its own included. Detectors that read labelled points only
    are not touched by that.

    What the others say is `gssl_poison.defenses.against` of the detector's witness, or what the
    detector's own ``relabel`` says where it has one. Labels are changed all at once, by the labels
    as they were; of every class the least suspect label stays, so that none dies out. Inside
    cross-validation the labels that a score is computed with stay as they are, wrong ones included.
    ``l^2 d`` operations and ``8 l^2`` bytes for "contradiction".

    References
    ----------
    Paudice, Munoz-Gonzalez and Lupu 2018, Label sanitization against label flipping poisoning
    attacks, for "knn".

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> X = np.concatenate([np.linspace(0, 1, 8), np.linspace(3, 4, 8)])[:, None]
    >>> y = np.repeat(["left", "right"], 8)
    >>> y[[2, 11]] = ["right", "left"]
    >>> model = LabelSanitizer(KNeighborsClassifier(1)).fit(X, y)
    >>> np.flatnonzero(model.suspect_)
    array([ 2, 11])
    >>> model.predict(X[[2, 11]])
    array(['left', 'right'], dtype='<U5')
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "estimator": [HasMethods(["fit", "predict"]), None],
        "gamma": [Interval(Real, 0, None, closed="neither"), StrOptions(set(RULES))],
        "detector": [StrOptions(set(_DETECTORS)), HasMethods(["score", "is_poisoned"])],
        "action": [StrOptions({"relabel", "drop"})],
        "threshold": [None, Interval(Real, None, None, closed="neither")],
        "propagator": [str],
    }

    def __init__(
        self,
        estimator: Any = None,
        *,
        gamma: float | str = "auto",
        detector: Any = "contradiction",
        action: str = "relabel",
        threshold: float | None = None,
        propagator: str = "direct",
    ) -> None:
        self.estimator = estimator
        self.gamma = gamma
        self.detector = detector
        self.action = action
        self.threshold = threshold
        self.propagator = propagator

    @_fit_context(prefer_skip_nested_validation=False)  # type: ignore[untyped-decorator]
    def fit(self, X: Any, y: Any) -> LabelSanitizer:
        """Find the suspect labels, mend or drop them, and fit the estimator with the rest.

        Parameters
        ----------
        X : (n, d) array-like or scipy sparse
            Labelled and unlabelled points.
        y : (n,) array-like
            Classes, and -1 where a point is unlabelled; text and the number -1 go together in an
            object array.

        Returns
        -------
        LabelSanitizer
            The estimator itself.
        """
        _refuse_weights(self.estimator)
        X, y = validate_data(self, X, y, accept_sparse=_FORMATS, reset=True)
        y = np.asarray(y)
        classes, codes = classes_of(y)
        labeled = np.flatnonzero(codes >= 0)
        _refuse_two_meanings(classes, labeled.size < y.size)
        graph, problem = _problem(X, labeled, codes[labeled], self.gamma)
        found = _judge(self, problem)
        dropped = np.zeros(y.size, dtype=np.bool_)
        if self.action == "drop":
            dropped[labeled] = found.suspect & ~found.kept
            mended = _without(y, dropped)
        else:
            mended = y.copy()
            mended[labeled] = classes[found.said]
        inner = self.estimator
        if inner is None:
            inner = LabelPropagation(gamma=graph.gamma, solver="exact")
        # Where all points were labelled, an estimator need not know what unlabelled means.
        if labeled.size == y.size and dropped.any():
            self.estimator_ = clone(inner).fit(X[~dropped], y[~dropped])
        else:
            self.estimator_ = clone(inner).fit(X, mended)
        _check_learned(self.estimator_, classes)
        self.classes_ = classes
        self.suspicion_ = np.full(y.size, np.nan)
        self.suspicion_[labeled] = found.score
        self.suspect_ = np.zeros(y.size, dtype=np.bool_)
        self.suspect_[labeled] = found.suspect
        self.y_ = mended
        self.gamma_ = graph.gamma
        return self

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Return the class of new points, as the fitted estimator has it.

        Parameters
        ----------
        X : (q, d) array-like or scipy sparse

        Returns
        -------
        (q,) ndarray
        """
        points = self._new_points(X)
        predicted: npt.NDArray[Any] = self.estimator_.predict(points)
        return predicted

    @available_if(_delegated("predict_proba"))  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> Floats:
        """Return the probabilities of the classes at new points, as the fitted estimator has them.

        Parameters
        ----------
        X : (q, d) array-like or scipy sparse

        Returns
        -------
        (q, c) float64
            Columns as in ``classes_``.
        """
        points = self._new_points(X)
        probabilities: Floats = self.estimator_.predict_proba(points)
        return probabilities

    @available_if(_delegated("decision_function"))  # type: ignore[untyped-decorator]
    def decision_function(self, X: Any) -> Floats:
        """Return the scores of the fitted estimator at new points.

        Parameters
        ----------
        X : (q, d) array-like or scipy sparse

        Returns
        -------
        (q,) or (q, c) float64
        """
        points = self._new_points(X)
        scores: Floats = self.estimator_.decision_function(points)
        return scores

    def _new_points(self, X: Any) -> Any:
        """Return new points as the estimator was fitted with them."""
        check_is_fitted(self)
        return validate_data(self, X, accept_sparse=_FORMATS, reset=False)

    def __sklearn_tags__(self) -> Any:
        """Return what scikit-learn asks about an estimator."""
        tags = super().__sklearn_tags__()
        inner = get_tags(LabelPropagation() if self.estimator is None else self.estimator)
        tags.input_tags.sparse = inner.input_tags.sparse
        if inner.classifier_tags is not None:
            tags.classifier_tags.multi_class = inner.classifier_tags.multi_class
        return tags


@dataclass(frozen=True)
class _Found:
    """Scores of the labels, who is suspect, who stays none the less, and what they become: (l,)."""

    score: Floats
    suspect: Booleans
    kept: Booleans
    said: Integers


def _problem(
    X: Any, labeled: Integers, y: Integers, gamma: float | str
) -> tuple[RBFGraph, Problem]:
    """Return the graph of the points and what is known of them."""
    points = as_features(X)
    if labeled.size == points.shape[0]:
        if is_sparse(points):
            from scipy.sparse import vstack

            points = vstack([points, points], format="csr")
        else:
            points = np.concatenate([points, points])
    graph = RBFGraph(points, gamma, labeled=labeled, y=y)
    return graph, Problem(graph, labeled, y)


def _judge(sanitizer: LabelSanitizer, problem: Problem) -> _Found:
    """Score the labels, and say what they would become."""
    named = isinstance(sanitizer.detector, str)
    detector = _DETECTORS[sanitizer.detector] if named else sanitizer.detector
    victim = parse_propagator(sanitizer.propagator).fit(problem.graph, problem.labeled)
    threshold = detector.threshold if sanitizer.threshold is None else sanitizer.threshold
    score = detector.score(problem, victim)
    suspect = score > threshold
    kept = np.zeros(suspect.size, dtype=np.bool_)
    for code in np.unique(problem.y):
        members = np.flatnonzero(problem.y == code)
        kept[members[np.argmin(score[members])]] = True
    said = problem.y
    if sanitizer.action == "relabel" and suspect.any():
        said = np.where(suspect & ~kept, _others_say(detector, problem, victim), problem.y)
    return _Found(score, suspect, kept, said)


def _others_say(detector: Any, problem: Problem, victim: Fitted) -> Integers:
    """Return what a detector's witness would have every label be."""
    if hasattr(detector, "relabel"):
        relabelled: Problem = detector.relabel(problem, victim)
        return relabelled.y
    opinions = told(problem, victim, getattr(detector, "witness", "auto"))
    return against(opinions, problem.y, problem.n_classes)[1]


def _without(y: npt.NDArray[Any], dropped: Booleans) -> npt.NDArray[Any]:
    """Return a copy of the labels with -1 where they were dropped."""
    # Text, truth values and unsigned numbers have no -1.
    left = y.copy() if y.dtype.kind in "if" or not dropped.any() else y.astype(object)
    left[dropped] = -1
    return left


def _refuse_two_meanings(classes: npt.NDArray[Any], some_unlabeled: bool) -> None:
    """Refuse -1 beside one class: unlabelled points and two classes look the same."""
    if some_unlabeled and classes.size == 1:
        raise InputError(
            f"y holds -1, which marks unlabelled points, and the class {classes.tolist()[0]!r} "
            "alone, so that no label could be wrong; if -1 is a class, write 0 for it."
        )


def _refuse_weights(estimator: Any) -> None:
    """Refuse an estimator to which X is weights between points, not features."""
    if estimator is not None and get_tags(estimator).input_tags.pairwise:
        raise InputError(
            f"{type(estimator).__name__} takes a matrix of weights or distances for X, and labels "
            "are judged by features; give an estimator of features."
        )


def _check_learned(estimator: Any, classes: npt.NDArray[Any]) -> None:
    """Refuse an estimator that took what marks unlabelled points for a class."""
    learned = getattr(estimator, "classes_", classes)
    # As sets: text and the number -1 cannot be sorted together.
    if set(np.asarray(learned).tolist()) <= set(classes.tolist()):
        return
    raise InputError(
        f"{type(estimator).__name__} learned -1, which marks unlabelled points, as a class; give a "
        "semi-supervised estimator such as LabelPropagation, or labelled points alone."
    )
