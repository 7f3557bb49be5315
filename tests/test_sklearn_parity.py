"""LabelPropagation and LabelSpreading against scikit-learn's: numbers, its tests, its checks."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import sklearn.semi_supervised as peer
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.sparse import csc_array, csr_array, csr_matrix
from sklearn.datasets import load_digits, make_blobs, make_moons
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics.pairwise import rbf_kernel

from gssl_poison.estimators import LabelPropagation, LabelSpreading

PEERS = {
    "propagation": (LabelPropagation, peer.LabelPropagation),
    "spreading": (LabelSpreading, peer.LabelSpreading),
}
# Where scikit-learn's rows sum to 1, ours are this close.
CLOSE = 1e-10


def some_labels(y: np.ndarray, part: float = 0.15, seed: int = 0) -> np.ndarray:
    """Keep a part of the labels, and at least one of every class."""
    rng = np.random.default_rng(seed)
    kept = rng.random(y.size) < part
    kept[[np.flatnonzero(y == c)[0] for c in np.unique(y)]] = True
    return np.where(kept, y, -1)


def digits() -> tuple[np.ndarray, np.ndarray]:
    X, y = load_digits(return_X_y=True)
    return X[:400] / 16.0, some_labels(y[:400])


def moons() -> tuple[np.ndarray, np.ndarray]:
    X, y = make_moons(250, noise=0.08, random_state=0)
    return X, some_labels(y, 0.05)


def blobs(n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    X, y = make_blobs(240, n_features=3, centers=n_classes, cluster_std=2.0, random_state=1)
    return X, some_labels(y)


DATA = {
    "digits": digits,
    "moons": moons,
    "blobs-2": lambda: blobs(2),
    "blobs-3": lambda: blobs(3),
    "blobs-10": lambda: blobs(10),
}


def fit_quietly(model: Any, X: Any, y: Any) -> tuple[Any, list[type[Warning]]]:
    """Fit, and return the model and what it warned of; numpy's own warnings do not count."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, y)
    return model, [w.category for w in caught if w.category is not RuntimeWarning]


def assert_parity(kind: str, X: Any, y: Any, **settings: Any) -> tuple[Any, np.ndarray]:
    """Fit both, compare what scikit-learn has right, and return ours and which rows those are."""
    ours, theirs = (K(**settings) for K in PEERS[kind])
    theirs, their_warnings = fit_quietly(theirs, X, y)
    ours, our_warnings = fit_quietly(ours, X, y)
    right = np.abs(theirs.label_distributions_.sum(axis=1) - 1.0) < 1e-8
    difference = np.abs(ours.label_distributions_ - theirs.label_distributions_)[right]
    assert difference.max(initial=0.0) <= CLOSE
    assert ours.n_iter_ == theirs.n_iter_
    assert ours.classes_.dtype == theirs.classes_.dtype
    np.testing.assert_array_equal(ours.classes_, theirs.classes_)
    # Where two classes are equal up to rounding either may come first.
    top = np.sort(theirs.label_distributions_, axis=1)
    clear = right & (top[:, -1] - (top[:, -2] if top.shape[1] > 1 else 0.0) > 1e-9)
    np.testing.assert_array_equal(ours.transduction_[clear], theirs.transduction_[clear])
    assert (ConvergenceWarning in our_warnings) == (ConvergenceWarning in their_warnings)
    return ours, right


@pytest.mark.parametrize("gamma", [0.1, 1.0, 20.0])
@pytest.mark.parametrize("data", DATA.values(), ids=DATA)
def test_label_propagation_on_gaussian_weights(data: Any, gamma: float) -> None:
    X, y = data()
    model, right = assert_parity("propagation", X, y, gamma=gamma)
    assert right.mean() > 0.5
    np.testing.assert_allclose(model.label_distributions_.sum(axis=1), 1.0, atol=1e-12)


@pytest.mark.parametrize("alpha", [0.2, 0.8])
@pytest.mark.parametrize("gamma", [0.1, 1.0, 20.0])
@pytest.mark.parametrize("data", DATA.values(), ids=DATA)
def test_label_spreading_on_gaussian_weights(data: Any, gamma: float, alpha: float) -> None:
    X, y = data()
    model, right = assert_parity("spreading", X, y, gamma=gamma, alpha=alpha, max_iter=200)
    assert right.mean() > 0.5
    np.testing.assert_allclose(model.label_distributions_.sum(axis=1), 1.0, atol=1e-12)


@pytest.mark.parametrize("kind", PEERS)
@pytest.mark.parametrize("n_neighbors", [2, 7, 30])
@pytest.mark.parametrize("data", [digits, moons, DATA["blobs-10"]])
def test_neighbours(kind: str, n_neighbors: int, data: Any) -> None:
    X, y = data()
    theirs = PEERS[kind][1](kernel="knn", n_neighbors=n_neighbors)
    model, right = assert_parity(kind, X, y, kernel="knn", n_neighbors=n_neighbors)
    # What they leave at zero has no path to a label, or one that is longer than the loop was.
    assert np.isin(model.unreached_, np.flatnonzero(~right)).all()
    theirs, _ = fit_quietly(theirs, X, y)
    if right.all():
        np.testing.assert_allclose(
            model.predict_proba(X + 0.01), theirs.predict_proba(X + 0.01), atol=CLOSE
        )


def nearest_similarities(a: Any, b: Any) -> csr_matrix:
    W = rbf_kernel(a, b, gamma=1.0)
    W[W < 0.05] = 0.0
    return csr_matrix(W)


KERNELS = {
    "dense": lambda a, b: rbf_kernel(a, b, gamma=2.0),
    "sparse": nearest_similarities,
    "directed": lambda a, b: rbf_kernel(a, b, gamma=1.0) * np.linspace(0.5, 2.0, len(b)),
    "no self-loops": lambda a, b: rbf_kernel(a, b, gamma=0.5) * (rbf_kernel(a, b) < 1.0),
    "subnormal": lambda a, b: 1e-316 * rbf_kernel(a, b, gamma=0.5),
    "large": lambda a, b: 1e30 * rbf_kernel(a, b, gamma=0.5),
}


@pytest.mark.parametrize("kind", PEERS)
@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
def test_callables(kind: str, kernel: Any) -> None:
    X, y = moons()
    model, right = assert_parity(kind, X, y, kernel=kernel, max_iter=500)
    assert right.mean() > 0.5
    theirs, _ = fit_quietly(PEERS[kind][1](kernel=kernel, max_iter=500), X, y)
    if right.all():
        np.testing.assert_allclose(
            model.predict_proba(X[::3] + 0.01), theirs.predict_proba(X[::3] + 0.01), atol=CLOSE
        )


@pytest.mark.parametrize("kind", PEERS)
def test_a_callable_s_matrix_is_not_changed(kind: str) -> None:
    X, y = moons()
    W = rbf_kernel(X, X, gamma=2.0)
    before = W.copy()
    PEERS[kind][0](kernel=lambda *_: W, max_iter=500).fit(X, y)
    np.testing.assert_array_equal(W, before)


@pytest.mark.parametrize("kind", PEERS)
@pytest.mark.parametrize("form", [csr_array, csc_array, csr_matrix])
@pytest.mark.parametrize("kernel", ["rbf", "knn"])
def test_sparse_points(kind: str, form: Any, kernel: str) -> None:
    X, y = (values[:150] for values in digits())
    model, right = assert_parity(kind, form(X), y, gamma=0.5, kernel=kernel)
    assert right.all()
    theirs = PEERS[kind][1](gamma=0.5, kernel=kernel).fit(form(X), y)
    for queries in (X[:50] + 0.01, csr_array(X[:50] + 0.01)):
        np.testing.assert_allclose(
            model.predict_proba(queries), theirs.predict_proba(queries), atol=CLOSE
        )


@pytest.mark.parametrize("kind", PEERS)
@pytest.mark.parametrize("max_iter", [1, 2, 3])
@pytest.mark.parametrize("kernel", ["rbf", "knn"])
def test_a_loop_that_does_not_come_to_rest(kind: str, max_iter: int, kernel: str) -> None:
    X, y = moons()
    ours = PEERS[kind][0](kernel=kernel, gamma=5.0, max_iter=max_iter)
    _, caught = fit_quietly(ours, X, y)
    assert caught.count(ConvergenceWarning) == 1
    assert ours.n_iter_ == max_iter
    assert_parity(kind, X, y, kernel=kernel, gamma=5.0, max_iter=max_iter)


@pytest.mark.parametrize("kind", PEERS)
@pytest.mark.parametrize("tol", [0.0, 1e-8, 0.5, 1e6])
def test_tolerances(kind: str, tol: float) -> None:
    X, y = moons()
    assert_parity(kind, X, y, gamma=5.0, tol=tol, max_iter=60)


@pytest.mark.parametrize("kind", PEERS)
@pytest.mark.parametrize("gamma", [0.1, 1.0, 20.0])
def test_unscaled_digits(kind: str, gamma: float) -> None:
    X, truth = (values[:900] for values in load_digits(return_X_y=True))
    y = some_labels(truth, 0.1)
    model, right = assert_parity(kind, X, y, gamma=gamma)
    np.testing.assert_allclose(model.label_distributions_.sum(axis=1), 1.0, atol=1e-9)
    assert model.unreached_.size == 0
    if gamma == 20.0:  # what this test is about: most rows of scikit-learn's are 0
        assert right.mean() < 0.5
        assert (model.transduction_ == truth)[~right].mean() > 0.85


@pytest.mark.parametrize("kind", PEERS)
def test_queries_near_and_far(kind: str) -> None:
    X, y = moons()
    ours, theirs = (K(gamma=5.0, max_iter=500).fit(X, y) for K in PEERS[kind])
    grid = np.stack(np.meshgrid(np.linspace(-3, 4, 40), np.linspace(-3, 4, 40)), -1).reshape(-1, 2)
    expected = theirs.predict_proba(grid)
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(ours.predict_proba(grid), expected, atol=CLOSE)
    far = np.array([[1e3, 0.0], [-1e3, 50.0], [1e7, 1e7]])
    with np.errstate(invalid="ignore"):
        assert np.isnan(theirs.predict_proba(far)).all()
    nearest = np.argmax(far @ (X - X.mean(axis=0)).T, axis=1)  # |x| hardly counts that far away
    np.testing.assert_allclose(
        ours.predict_proba(far), ours.label_distributions_[nearest], atol=1e-6
    )


@pytest.mark.parametrize("kind", PEERS)
@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32])
def test_other_types_of_points_are_computed_on_in_float64(kind: str, dtype: Any) -> None:
    X = load_digits().data[:300].astype(dtype)
    y = some_labels(load_digits().target[:300])
    gamma = 2e-3
    ours = PEERS[kind][0](gamma=gamma, max_iter=500).fit(X, y)
    theirs = PEERS[kind][1](gamma=gamma, max_iter=500).fit(X.astype(np.float64), y)
    assert ours.n_iter_ == theirs.n_iter_
    np.testing.assert_allclose(
        ours.label_distributions_, theirs.label_distributions_, rtol=0, atol=CLOSE
    )
    np.testing.assert_allclose(
        ours.predict_proba(X[:40]), theirs.predict_proba(X[:40].astype(float)), atol=CLOSE
    )


@pytest.mark.parametrize("kind", PEERS)
@pytest.mark.parametrize(
    "y",
    [
        [0, 1, -1, -1, 1, -1],
        [0.0, 1.0, -1.0, -1.0, 1.0, -1.0],
        [5, 2, -1, -1, 7, -1],
        ["b", "a", "c", "a", "b", "c"],
        [True, False, False, True, True, False],
        [3, 3, -1, -1, 3, -1],
        [0, 1, 1, 0, 1, 0],
    ],
    ids=["ints", "floats", "gaps", "text", "bools", "one class", "all labelled"],
)
def test_kinds_of_labels(kind: str, y: Any) -> None:
    X = np.arange(12.0).reshape(6, 2)
    X[3:] += 5.0
    for kernel in ("rbf", "knn"):
        assert_parity(kind, X, np.array(y), gamma=0.05, kernel=kernel, n_neighbors=3)


@pytest.mark.parametrize("kind", PEERS)
def test_all_weights_are_equal_at_gamma_0(kind: str) -> None:
    X, y = moons()
    assert_parity(kind, X, y, gamma=0)
    ours, theirs = (K(gamma=0).fit(X, y) for K in PEERS[kind])
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=CLOSE)


def masses(kind: str, W: np.ndarray, Y: np.ndarray, alpha: float, n_iter: int) -> np.ndarray:
    """Return the smallest row sums a point has had since a label came to it, by the plain loop."""
    labeled = Y.any(axis=1)
    least, F = np.full(len(W), np.inf), Y
    bare = W - np.diag(np.diag(W))
    degree = bare.sum(axis=0)
    root = np.sqrt(np.where(degree > 0.0, degree, 1.0))
    for _ in range(n_iter):
        if kind == "propagation":
            F = W @ F
            mass = F.sum(axis=1)
            F = F / np.where(mass > 0.0, mass, 1.0)[:, None]
            F[labeled] = Y[labeled]
            mass = np.where(labeled, 1.0, mass)
        else:
            F = alpha * (bare / root / root[:, None]) @ F + (1 - alpha) * Y
            mass = F.sum(axis=1)
        least = np.where(mass > 0.0, np.minimum(least, mass), least)
    return least


@settings(max_examples=60)
@given(st.data())
def test_small_random_problems(data: Any) -> None:
    kind = data.draw(st.sampled_from(list(PEERS)))
    n, d = data.draw(st.integers(2, 12)), data.draw(st.integers(1, 3))
    coordinate = st.integers(-8, 8).map(lambda k: k / 4.0)
    X = np.array(data.draw(st.lists(coordinate, min_size=n * d, max_size=n * d))).reshape(n, d)
    y = np.array(data.draw(st.lists(st.integers(-1, 3), min_size=n, max_size=n)))
    assume((y >= 0).any())
    gamma = data.draw(st.sampled_from([0.1, 0.7, 3.0, 20.0]))
    alpha = data.draw(st.sampled_from([0.2, 0.8]))
    more = {"alpha": alpha} if kind == "spreading" else {}
    W = rbf_kernel(X, X, gamma=gamma)
    # Subnormal numbers have few digits: what comes of them is not the same on any two machines.
    assume(not ((W > 0.0) & (W < 1e-290)).any())
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        theirs = PEERS[kind][1](gamma=gamma, max_iter=40, **more).fit(X, y)
        ours = PEERS[kind][0](gamma=gamma, max_iter=40, **more).fit(X, y)
    Y = (y[:, None] == ours.classes_).astype(float)
    right = theirs.label_distributions_.sum(axis=1) > 0.5
    right &= masses(kind, W, Y, alpha, theirs.n_iter_) > 1e-290
    assert ours.n_iter_ == theirs.n_iter_
    np.testing.assert_allclose(
        ours.label_distributions_[right], theirs.label_distributions_[right], rtol=0, atol=CLOSE
    )
    np.testing.assert_allclose(ours.label_distributions_.sum(axis=1), 1.0, atol=1e-9)
