"""LabelSanitizer: what it finds, what it does about it, and how it goes with scikit-learn."""

from __future__ import annotations

import functools
import pickle
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import gssl_poison as gp
from gssl_poison.defenses import (
    Contradiction,
    KNNSanitization,
    KNNShapley,
    Learned,
    Suspicion,
    against,
    told,
)
from gssl_poison.estimators import LabelPropagation, LabelSanitizer
from gssl_poison.exceptions import InputError

ACTIONS = pytest.mark.parametrize("action", ["relabel", "drop"])
NAMED = {
    "contradiction": Contradiction(),
    "suspicion": Suspicion(),
    "knn": KNNSanitization(),
    "knn-shapley": KNNShapley(),
    "learned": Learned(),
}


class Digits(NamedTuple):
    X: npt.NDArray[np.float64]
    y: npt.NDArray[np.int64]
    flipped: npt.NDArray[np.int64]
    X_test: npt.NDArray[np.float64]
    y_test: npt.NDArray[np.int64]


@functools.cache
def digits() -> Digits:
    """Return 500 digits, a fifth of their labels flipped, and 500 more with the right ones."""
    X, truth = load_digits(return_X_y=True)
    rng = np.random.default_rng(3)
    order = rng.permutation(len(X))
    train, test = order[:500], order[500:1000]
    y = truth[train].astype(np.int64)
    flipped = rng.choice(500, 100, replace=False)
    y[flipped] = (y[flipped] + rng.integers(1, 10, 100)) % 10
    return Digits(X[train] / 16.0, y, flipped, X[test] / 16.0, truth[test].astype(np.int64))


def two_lines() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return two groups of eight points, one label in each wrong: 2 and 11."""
    X = np.concatenate([np.linspace(0, 1, 8), np.linspace(3, 4, 8)])[:, None]
    y = np.repeat([0, 1], 8)
    y[[2, 11]] = [1, 0]
    return X, y


@ACTIONS
@pytest.mark.parametrize("detector", NAMED)
@pytest.mark.parametrize(
    "inner", [None, KNeighborsClassifier(1), LogisticRegression(max_iter=300)], ids=repr
)
def test_it_beats_the_estimator_alone_on_flipped_digits(
    inner: Any, detector: str, action: str
) -> None:
    data = digits()
    given = data.y.copy()
    model = LabelSanitizer(inner, detector=detector, action=action).fit(data.X, data.y)
    alone = clone(inner) if inner else LabelPropagation(gamma=model.gamma_, solver="exact")
    alone.fit(data.X, data.y)
    assert model.score(data.X_test, data.y_test) > alone.score(data.X_test, data.y_test) + 0.005
    # `learned` asks for a probability, and misses rather than accuses.
    assert model.suspect_[data.flipped].mean() > (0.6 if detector == "learned" else 0.8)
    np.testing.assert_array_equal(data.y, given)


@ACTIONS
@pytest.mark.parametrize("detector", NAMED)
def test_it_beats_label_propagation_where_few_points_are_labelled(
    detector: str, action: str
) -> None:
    data = digits()
    X = np.concatenate([data.X[:200], data.X_test])
    y = np.concatenate([data.y[:200], np.full(500, -1)])
    model = LabelSanitizer(detector=detector, action=action).fit(X, y)
    alone = LabelPropagation(gamma=model.gamma_, solver="exact").fit(X, y)
    found = (model.estimator_.transduction_[200:] == data.y_test).mean()
    assert found > (alone.transduction_[200:] == data.y_test).mean()


@pytest.mark.parametrize("detector", [*NAMED, KNNShapley(5), Contradiction("propagator")], ids=repr)
@pytest.mark.parametrize("propagator", ["direct", "harmonic"])
def test_suspects_are_those_of_the_detector(detector: Any, propagator: str) -> None:
    data = digits()
    X = data.X[:300]
    y = data.y[:300].copy()
    y[np.arange(300) % 3 > 0] = -1
    model = LabelSanitizer(detector=detector, propagator=propagator, gamma=2.0).fit(X, y)
    labeled = np.flatnonzero(y != -1)
    problem = gp.Problem(gp.RBFGraph(X, 2.0), labeled, y[labeled])
    victim = gp.parse_propagator(propagator).fit(problem.graph, labeled)
    itself = NAMED.get(detector, detector) if isinstance(detector, str) else detector
    np.testing.assert_array_equal(model.suspicion_[labeled], itself.score(problem, victim))
    np.testing.assert_array_equal(model.suspect_[labeled], itself.is_poisoned(problem, victim))
    assert np.isnan(model.suspicion_[y == -1]).all()
    assert not model.suspect_[y == -1].any()
    assert model.suspect_.any()


def test_scores_of_fully_labelled_points_are_those_of_the_labelled_points_alone() -> None:
    # With one more point that has no label, which neither of the two detectors looks at.
    data = digits()
    X, y = data.X[:120], data.y[:120]
    for name in ("contradiction", "knn"):
        alone = LabelSanitizer(detector=name, gamma=1.0).fit(X, y)
        more = LabelSanitizer(detector=name, gamma=1.0).fit(
            np.concatenate([X, X[:1] + 0.5]), np.append(y, -1)
        )
        np.testing.assert_allclose(alone.suspicion_, more.suspicion_[:-1], rtol=1e-9, atol=1e-12)


def test_influence_among_fully_labelled_points_is_what_each_decides_of_all() -> None:
    X, y = two_lines()
    model = LabelSanitizer(detector="suspicion", gamma=1.5).fit(X, y)
    W = np.exp(-1.5 * (X - X.T) ** 2)
    total = (W / W.sum(axis=1, keepdims=True)).sum(axis=0)
    contradiction = LabelSanitizer(gamma=1.5).fit(X, y).suspicion_
    np.testing.assert_allclose(model.suspicion_, contradiction * total / total.mean(), rtol=1e-5)


def test_relabelling_says_what_the_others_say() -> None:
    X, y = two_lines()
    # The others want more neighbours than there are.
    for detector in ("contradiction", "suspicion", "knn"):
        model = LabelSanitizer(KNeighborsClassifier(1), detector=detector).fit(X, y)
        np.testing.assert_array_equal(np.flatnonzero(model.suspect_), [2, 11])
        np.testing.assert_array_equal(model.y_, np.repeat([0, 1], 8))
        np.testing.assert_array_equal(model.predict(X), np.repeat([0, 1], 8))
        assert model.y_.dtype == y.dtype


def test_the_detector_s_own_witness_says_what_a_label_becomes() -> None:
    data = digits()
    X, y = data.X[:201], np.append(data.y[:200], -1)
    graph, labeled = gp.RBFGraph(X, 20.0), np.arange(200)
    problem = gp.Problem(graph, labeled, y[:200])
    victim = gp.Direct().fit(graph, labeled)
    narrow = against(told(problem, victim, "propagator"), problem.y, 10)[1]
    wide = against(told(problem, victim), problem.y, 10)[1]
    detector = Contradiction("propagator")
    model = LabelSanitizer(detector=detector, gamma=20.0).fit(X, y)
    changed = np.flatnonzero(detector.is_poisoned(problem, victim) & (narrow != problem.y))
    np.testing.assert_array_equal(model.y_[changed], narrow[changed])
    assert (narrow != wide)[changed].any()
    votes = KNNSanitization(1)
    model = LabelSanitizer(detector=votes, gamma=20.0).fit(X, y)
    np.testing.assert_array_equal(model.y_[:200], votes.relabel(problem, victim).y)
    assert (model.y_[:200] != wide)[model.suspect_[:200]].any()


def test_a_label_at_the_threshold_is_not_suspect() -> None:
    X, y = two_lines()
    most = float(LabelSanitizer().fit(X, y).suspicion_.max())
    assert not LabelSanitizer(threshold=most).fit(X, y).suspect_.any()


def test_a_suspect_label_that_the_others_agree_with_stays() -> None:
    X, y = two_lines()
    model = LabelSanitizer(threshold=-1.0).fit(X, y)
    assert model.suspect_.all()
    np.testing.assert_array_equal(model.y_, np.repeat([0, 1], 8))


def test_dropped_labels_are_unlabelled_points_where_there_are_such() -> None:
    X, y = two_lines()
    y[[0, 15]] = -1
    model = LabelSanitizer(action="drop", gamma=2.0).fit(X, y)
    expected = y.copy()
    expected[[2, 11]] = -1
    np.testing.assert_array_equal(model.y_, expected)
    assert len(model.estimator_.transduction_) == 16
    np.testing.assert_array_equal(model.estimator_.transduction_, np.repeat([0, 1], 8))


def test_dropped_labels_leave_no_row_where_all_are_labelled() -> None:
    X, y = two_lines()
    names = np.array(["left", "right"])[y]
    model = LabelSanitizer(KNeighborsClassifier(1), action="drop").fit(X, names)
    assert model.estimator_.n_samples_fit_ == 14
    assert model.y_.dtype == object
    assert [model.y_[2], model.y_[11], model.y_[0]] == [-1, -1, "left"]
    np.testing.assert_array_equal(model.classes_, ["left", "right"])
    np.testing.assert_array_equal(model.predict(X[[2, 11]]), ["left", "right"])


def test_a_higher_threshold_finds_fewer() -> None:
    data = digits()
    found = [
        int(LabelSanitizer(threshold=t).fit(data.X, data.y).suspect_.sum())
        for t in (0.0, 0.5, 0.9, 1.0)
    ]
    assert found == sorted(found, reverse=True)
    assert found[0] > found[1] > found[2] > found[3] == 0
    default = LabelSanitizer().fit(data.X, data.y).suspect_.sum()
    assert default == found[1]


@ACTIONS
@pytest.mark.parametrize("detector", NAMED)
def test_no_class_dies_out(detector: str, action: str) -> None:
    X = np.append(np.linspace(0, 1, 9), 0.5)[:, None]
    y = np.array(["many"] * 9 + ["one"])
    model = LabelSanitizer(
        LogisticRegression(), detector=detector, action=action, threshold=-1.0
    ).fit(X, y)
    assert model.suspect_.all()
    assert model.y_[9] == "one"
    assert model.predict_proba(X).shape == (10, 2)


def test_the_inner_estimator_is_left_alone_and_its_methods_are_there() -> None:
    X, y = two_lines()
    inner = LogisticRegression()
    model = LabelSanitizer(inner).fit(X, y)
    assert not hasattr(inner, "classes_")
    np.testing.assert_array_equal(model.decision_function(X), model.estimator_.decision_function(X))
    np.testing.assert_array_equal(model.predict_proba(X), model.estimator_.predict_proba(X))
    assert not hasattr(LabelSanitizer(KNeighborsClassifier()), "decision_function")
    assert not hasattr(LabelSanitizer(), "decision_function")
    assert hasattr(LabelSanitizer(), "predict_proba")


def test_default_is_label_propagation_at_the_gamma_found() -> None:
    X, y = two_lines()
    model = LabelSanitizer(gamma="scale").fit(X, y)
    assert model.gamma_ == pytest.approx(1.0 / X.var())
    assert isinstance(model.estimator_, LabelPropagation)
    assert model.estimator_.gamma == model.gamma_


def test_sparse_points_and_tables_give_the_same() -> None:
    data = digits()
    dense = LabelSanitizer(gamma=2.0).fit(data.X, data.y)
    sparse = LabelSanitizer(gamma=2.0).fit(csr_array(data.X), data.y)
    table = LabelSanitizer(gamma=2.0).fit(pd.DataFrame(data.X).add_prefix("p"), data.y)
    for other in (sparse, table):
        np.testing.assert_allclose(other.suspicion_, dense.suspicion_, rtol=1e-9, atol=1e-12)
        np.testing.assert_array_equal(other.y_, dense.y_)
    assert table.feature_names_in_[0] == "p0"
    np.testing.assert_array_equal(
        sparse.predict(csr_array(data.X_test)), dense.predict(data.X_test)
    )


def test_text_classes_go_with_unlabelled_points() -> None:
    X, y = two_lines()
    names = np.array(["left", "right"], dtype=object)[y]
    names[[0, 15]] = -1
    for action in ("relabel", "drop"):
        model = LabelSanitizer(gamma=2.0, action=action).fit(X, names)
        assert list(model.predict(X[[2, 11]])) == ["left", "right"]
        assert [model.y_[0], model.y_[15]] == [-1, -1]


def test_it_ends_a_pipeline_and_is_searched() -> None:
    data = digits()
    pipeline = make_pipeline(StandardScaler(), LabelSanitizer(KNeighborsClassifier(1)))
    pipeline.fit(data.X, data.y)
    alone = make_pipeline(StandardScaler(), KNeighborsClassifier(1)).fit(data.X, data.y)
    assert pipeline.score(data.X_test, data.y_test) > alone.score(data.X_test, data.y_test)
    assert cross_val_score(pipeline, data.X, data.y, cv=3).shape == (3,)
    grid = {
        "labelsanitizer__threshold": [0.5, 1.0],
        "labelsanitizer__action": ["relabel", "drop"],
        "labelsanitizer__estimator__n_neighbors": [1, 5],
    }
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(data.X, data.y)
    assert set(search.best_params_) == set(grid)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_parameters_copies_and_pickles() -> None:
    detector = KNNSanitization(3)
    model = LabelSanitizer(KNeighborsClassifier(3), detector=detector, gamma=0.5)
    again = clone(model)
    assert again.detector == detector
    assert again.get_params()["estimator__n_neighbors"] == 3
    assert model.set_params(estimator__n_neighbors=1, threshold=0.7).estimator.n_neighbors == 1
    X, y = two_lines()
    fitted = model.fit(X, y)
    loaded = pickle.loads(pickle.dumps(fitted))  # noqa: S301 - written a moment ago
    np.testing.assert_array_equal(loaded.predict(X), fitted.predict(X))
    assert gp.LabelSanitizer is LabelSanitizer


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"gamma": 0.0}, "'gamma' parameter"),
        ({"gamma": "wide"}, "'gamma' parameter"),
        ({"detector": "oracle"}, "'detector' parameter"),
        ({"detector": 3}, "'detector' parameter"),
        ({"action": "delete"}, "'action' parameter"),
        ({"threshold": "high"}, "'threshold' parameter"),
        ({"threshold": np.nan}, "'threshold' parameter"),
        ({"estimator": 5}, "'estimator' parameter"),
        ({"propagator": None}, "'propagator' parameter"),
        ({"propagator": "telepathy"}, "telepathy"),
        ({"estimator": LabelPropagation(kernel="precomputed")}, "matrix of weights"),
    ],
    ids=str,
)
def test_wrong_settings_are_refused(settings: dict[str, Any], said: str) -> None:
    X, y = two_lines()
    with pytest.raises(ValueError, match=said):
        LabelSanitizer(**settings).fit(X, y)


def test_wrong_labels_are_refused() -> None:
    X, y = two_lines()
    with pytest.raises(InputError, match="no label"):
        LabelSanitizer().fit(X, np.full(16, -1))
    with pytest.raises(InputError, match="the class 1 alone"):
        LabelSanitizer().fit(X, np.where(y == 0, -1, 1))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        LabelSanitizer().fit(X, y[:-1])
    with pytest.raises(ValueError, match="NaN"):
        LabelSanitizer().fit(np.where(X == 0.0, np.nan, X), y)
    some = y.copy()
    some[0] = -1
    with pytest.raises(InputError, match="KNeighborsClassifier learned -1"):
        LabelSanitizer(KNeighborsClassifier(1)).fit(X, some)


def test_before_fitting_nothing_is_predicted() -> None:
    with pytest.raises(NotFittedError):
        LabelSanitizer().predict([[0.0]])
    with pytest.raises(NotFittedError):
        LabelSanitizer(LogisticRegression()).decision_function([[0.0]])


def test_what_predicts_without_classes_is_taken_as_it_is() -> None:
    X, y = two_lines()
    model = LabelSanitizer(LinearRegression()).fit(X, y)
    assert model.predict(X)[0] < 0.5 < model.predict(X)[-1]
