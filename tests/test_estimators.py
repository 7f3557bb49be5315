"""The estimators: how they look, points without a path, the exact solver, what is refused."""

from __future__ import annotations

import inspect
import pickle
from typing import Any

import half_labeled
import numpy as np
import pandas as pd
import pytest
from half_labeled import BOTH, fit_with_warnings, line, moons, one_hot, peer_of
from scipy.sparse import coo_array, csr_array, diags_array
from sklearn.base import clone
from sklearn.datasets import make_moons
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.model_selection import GridSearchCV

from gssl_poison.estimators import LabelPropagation, LabelSpreading
from gssl_poison.exceptions import DeviceError, InputError


@BOTH
def test_scikit_learn_s_parameters_come_first_and_are_the_same(make: Any) -> None:
    ours = inspect.signature(make).parameters
    theirs = inspect.signature(peer_of(make)).parameters
    assert list(ours)[: len(theirs)] == list(theirs)
    for name, parameter in theirs.items():
        assert (ours[name].default, ours[name].kind) == (parameter.default, parameter.kind)
    assert list(ours)[len(theirs) :] == ["solver", "precision", "device"]


@BOTH
def test_fitted_attributes(make: Any) -> None:
    X, y = moons()
    table = pd.DataFrame(X, columns=["left", "right"])
    model = make(gamma=5.0, max_iter=500).fit(table, y)
    fitted = {name for name in vars(model) if name.endswith("_")}
    theirs = peer_of(make)(gamma=5.0, max_iter=500).fit(table, y)
    assert {name for name in vars(theirs) if name.endswith("_")} <= fitted
    assert fitted >= {"unreached_", "reran_in_double_"}
    np.testing.assert_array_equal(model.X_, X)
    np.testing.assert_array_equal(model.feature_names_in_, ["left", "right"])
    assert model.unreached_.shape == (0,)
    assert model.unreached_.dtype == np.int64
    assert not hasattr(make().fit(X, y), "feature_names_in_")
    assert model.score(table, make_moons(150, noise=0.1, random_state=0)[1]) > 0.8


@BOTH
def test_a_model_can_be_copied_and_stored(make: Any) -> None:
    X, y = moons()
    for kernel in ("rbf", "knn"):
        model = make(kernel=kernel, gamma=5.0).fit(X, y)
        again = pickle.loads(pickle.dumps(model))  # noqa: S301 - written a moment ago
        np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
        assert not hasattr(clone(model), "classes_")


@BOTH
def test_a_search_cuts_precomputed_weights_both_ways(make: Any) -> None:
    X, y = make_moons(90, noise=0.1, random_state=0)
    search = GridSearchCV(make(kernel="precomputed"), {"tol": [1e-3, 1e-4]}, cv=3)
    search.fit(rbf_kernel(X, X, gamma=5.0), y)
    plain = GridSearchCV(make(gamma=5.0), {"tol": [1e-3, 1e-4]}, cv=3).fit(X, y)
    np.testing.assert_array_equal(
        search.cv_results_["mean_test_score"], plain.cv_results_["mean_test_score"]
    )


@BOTH
def test_precomputed_weights_are_what_a_kernel_gives(make: Any) -> None:
    X, y = moons()
    W = rbf_kernel(X, X, gamma=5.0)
    by_kernel = make(kernel=lambda a, b: rbf_kernel(a, b, gamma=5.0), max_iter=500).fit(X, y)
    queries = X[:20] + 0.03
    for weights in (W, csr_array(W), coo_array(W).tocsc()):
        model = make(kernel="precomputed", max_iter=500).fit(weights, y)
        assert model.n_iter_ == by_kernel.n_iter_
        np.testing.assert_allclose(
            model.label_distributions_, by_kernel.label_distributions_, atol=1e-13
        )
        np.testing.assert_allclose(
            model.predict_proba(rbf_kernel(queries, X, gamma=5.0)),
            by_kernel.predict_proba(queries),
            atol=1e-13,
        )


@BOTH
def test_text_and_the_number_minus_one_go_together(make: Any) -> None:
    X, codes = line()
    names = np.array(["b", "c", "d"], dtype=object)
    y = np.where(codes == -1, -1, names[codes])
    model = make(gamma=0.01, max_iter=500).fit(X, y)
    plain = make(gamma=0.01, max_iter=500).fit(X, codes)
    np.testing.assert_array_equal(model.classes_, ["b", "c", "d"])
    np.testing.assert_array_equal(model.transduction_, names[plain.transduction_])
    np.testing.assert_array_equal(model.predict(X), names[plain.predict(X)])


# --- points that no label reaches


@BOTH
@pytest.mark.parametrize("solver", ["iterative", "exact"])
@pytest.mark.parametrize("form", [np.asarray, csr_array])
def test_points_without_a_path_are_named_once(make: Any, solver: str, form: Any) -> None:
    # 0 - 1 - 2 and 3 - 4, a lone 5, and 6, which listens to nobody though 0 listens to it.
    W = np.zeros((7, 7))
    W[[0, 1, 1, 2, 3, 4, 5, 0], [1, 0, 2, 1, 4, 3, 5, 6]] = 1.0
    y = [0, -1, 1, -1, -1, -1, -1]
    model = make(kernel="precomputed", solver=solver, max_iter=500)
    caught = [w for w in fit_with_warnings(model, form(W), y) if w.category is UserWarning]
    assert len(caught) == 1
    assert "no label reaches 4 points" in str(caught[0].message)
    assert caught[0].filename == half_labeled.__file__  # where fit was called, not inside
    np.testing.assert_array_equal(model.unreached_, [3, 4, 5, 6])
    np.testing.assert_array_equal(model.label_distributions_[3:], 0.0)
    np.testing.assert_array_equal(model.transduction_[3:], 0)
    np.testing.assert_allclose(model.label_distributions_[:3].sum(axis=1), 1.0)


@BOTH
def test_new_points_that_listen_to_nobody_are_told_once(make: Any) -> None:
    W = np.array([[1.0, 0.5, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 1.0]])
    model = make(kernel="precomputed")
    with pytest.warns(UserWarning, match="no label reaches 1 point, "):
        model.fit(W, [4, -1, -1])
    queries = np.array([[0.0, 0.2, 0.7], [0.0, 0.0, 0.0], [0.0, 0.0, 0.9]])
    with pytest.warns(UserWarning, match="2 of 3 new points") as caught:
        told = model.predict_proba(queries)
    assert len(caught) == 1
    np.testing.assert_array_equal(told, [[1.0], [0.0], [0.0]])


@BOTH
def test_neighbours_in_another_component(make: Any) -> None:
    X = np.array([0.0, 0.1, 0.2, 50.0, 50.1, 50.2])[:, None]
    model = make(kernel="knn", n_neighbors=3)
    with pytest.warns(UserWarning, match="no label reaches 3 points"):
        model.fit(X, [0, 1, -1, -1, -1, -1])
    np.testing.assert_array_equal(model.unreached_, [3, 4, 5])
    with pytest.warns(UserWarning, match="1 of 2 new points"):
        told = model.predict_proba([[0.05], [60.0]])
    np.testing.assert_allclose(told.sum(axis=1), [1.0, 0.0])


@BOTH
@pytest.mark.parametrize("max_iter", [2, 30])
def test_a_label_that_has_not_arrived_yet_is_waited_for(make: Any, max_iter: int) -> None:
    n = 60
    chain = diags_array([np.ones(n - 1), np.ones(n - 1)], offsets=[-1, 1]).tocsr()
    y = np.full(n, -1)
    y[[0, -1]] = [3, 8]
    model = make(kernel="precomputed", max_iter=max_iter)
    caught = fit_with_warnings(model, chain, y)
    assert all(w.category is ConvergenceWarning for w in caught)
    assert model.unreached_.size == 0
    np.testing.assert_allclose(model.label_distributions_.sum(axis=1), 1.0)
    nearer = np.where(np.arange(n) < n // 2, 3, 8)
    told = abs(np.arange(n) - (n - 1) / 2) > 1  # the two in the middle are next to a tie
    np.testing.assert_array_equal(model.transduction_[told], nearer[told])


# --- the exact solver


def harmonic(W: np.ndarray, y: np.ndarray) -> np.ndarray:
    Y, free = one_hot(y), y == -1
    D = np.diag(W.sum(axis=1))
    L = (D - W)[np.ix_(free, free)]
    Y[free] = np.linalg.solve(L, W[np.ix_(free, ~free)] @ Y[~free])
    return Y


def closed_form(W: np.ndarray, y: np.ndarray, alpha: float) -> np.ndarray:
    bare = W - np.diag(np.diag(W))
    root = np.sqrt(bare.sum(axis=0))
    F = np.linalg.solve(np.eye(len(W)) - alpha * bare / root / root[:, None], one_hot(y))
    return F / F.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("kernel", ["rbf", "knn", "callable", "precomputed", "sparse"])
def test_exact_is_what_the_loop_tends_to(kernel: str) -> None:
    X, y = moons()
    W = rbf_kernel(X, X, gamma=5.0)
    settings: dict[str, Any] = {"kernel": kernel, "gamma": 5.0, "n_neighbors": 20}
    if kernel == "callable":
        settings["kernel"] = lambda a, b: rbf_kernel(a, b, gamma=5.0)
    if kernel in {"precomputed", "sparse"}:
        settings["kernel"] = "precomputed"
        X = csr_array(W) if kernel == "sparse" else W
    propagation = LabelPropagation(solver="exact", **settings).fit(X, y)
    spreading = LabelSpreading(solver="exact", alpha=0.7, **settings).fit(X, y)
    if kernel == "knn":
        W = spreading._neighbors.kneighbors_graph(X, mode="connectivity").toarray()
        assert not np.array_equal(W, W.T)
    np.testing.assert_allclose(propagation.label_distributions_, harmonic(W, y), atol=1e-8)
    np.testing.assert_allclose(spreading.label_distributions_, closed_form(W, y, 0.7), atol=1e-8)
    patient = {"tol": 1e-13, "max_iter": 100_000, **settings}
    for exact, looped in (
        (propagation, LabelPropagation(**patient)),
        (spreading, LabelSpreading(alpha=0.7, **patient)),
    ):
        np.testing.assert_allclose(
            looped.fit(X, y).label_distributions_, exact.label_distributions_, atol=1e-8
        )
        assert exact.n_iter_ >= 1


@BOTH
@pytest.mark.parametrize("kernel", ["rbf", "knn"])
def test_exact_with_every_point_labelled(make: Any, kernel: str) -> None:
    X, y = make_moons(60, noise=0.3, random_state=0)
    y[5] = 1 - y[5]
    settings = {"kernel": kernel, "gamma": 5.0}
    exact = make(solver="exact", **settings).fit(X, y)
    looped = make(tol=1e-14, max_iter=1000, **settings).fit(X, y)
    np.testing.assert_allclose(exact.label_distributions_, looped.label_distributions_, atol=1e-12)


# --- what is refused


REFUSED = {
    "no label": ({}, None, [-1, -1, -1], "no label"),
    "text that looks like the mark": ({}, None, ["a", "-1", "b"], "would be a class of its own"),
    "text and numbers": ({}, None, np.array(["a", 3, -1], dtype=object), "cannot be ordered"),
    "numbers of a regression": ({}, None, [0.5, 1.0, -1.0], "Unknown label type"),
    "exact in single": ({"solver": "exact", "precision": "single"}, None, None, "solver='exact'"),
    "an unknown solver": ({"solver": "fast"}, None, None, "'solver' parameter"),
    "an unknown precision": ({"precision": "half"}, None, None, "'precision' parameter"),
    "an unknown device": ({"device": "tpu"}, None, None, "'device' parameter"),
    "an unknown kernel": ({"kernel": "poly"}, None, None, "'kernel' parameter"),
    "a negative gamma": ({"gamma": -1.0}, None, None, "'gamma' parameter"),
    "weights that are not square": (
        {"kernel": "precomputed"}, np.ones((3, 2)), None, "3 by 3 weights are needed",
    ),
    "a negative weight": (
        {"kernel": "precomputed"}, np.eye(3) - 0.1, None, "holds the weight -0.1",
    ),
    "a negative weight of few": (
        {"kernel": "precomputed"}, csr_array(np.diag([1.0, -2.0, 0.0])), None, "the weight -2.0",
    ),
    "a kernel's NaN": (
        {"kernel": lambda *_: np.full((3, 3), np.nan)}, None, None, "holds the weight nan",
    ),
    "a kernel's shape": ({"kernel": lambda *_: np.ones(3)}, None, None, "has shape"),
    "weights without end": (
        {"kernel": "precomputed"}, np.full((3, 3), 1e308), None, "divide all weights",
    ),
}  # fmt: skip


@BOTH
@pytest.mark.parametrize(("settings", "X", "y", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_used_is_refused(
    make: Any, settings: Any, X: Any, y: Any, message: str
) -> None:
    X = np.array([[0.0], [1.0], [2.0]]) if X is None else X
    y = [0, 1, -1] if y is None else y
    with pytest.raises(ValueError, match=message):
        make(**settings).fit(X, y)


@BOTH
def test_a_device_that_is_not_there_is_refused(make: Any) -> None:
    with pytest.raises(DeviceError, match="device='cuda'"):
        make(device="cuda").fit([[0.0], [1.0]], [0, -1])


@BOTH
def test_a_refused_fit_leaves_nothing_half_done(make: Any) -> None:
    model = make()
    with pytest.raises(InputError):
        model.fit([[0.0], [1.0]], [-1, -1])
    assert not hasattr(model, "label_distributions_")
