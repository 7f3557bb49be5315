"""The kernels one by one: the exponential, the bound, the recheck routine, the column sums."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from numba import njit

from gssl_poison.kernels import cpu, recheck
from gssl_poison.kernels.block import _multiply_dense, add_degrees, reduce_block
from gssl_poison.kernels.bounds import decision_band, direct_error, score_bound
from gssl_poison.kernels.columns import Columns
from gssl_poison.kernels.workspace import Workspace


@njit
def exponentials(x):
    out = np.empty_like(x)
    for i in range(x.size):
        out[i] = cpu.exp32(x[i])
    return out


def test_exp32_is_within_its_bound():
    rng = np.random.default_rng(0)
    x = np.concatenate(
        [
            -87 * rng.random(2_000_000),
            -np.exp(rng.uniform(-80, 4.4, 500_000)),
            np.arange(-125.5, 0.5, 0.5) * np.log(2.0),
        ]
    ).astype(np.float32)
    x = x[x >= -87]
    error = np.abs(exponentials(x) / np.exp(x.astype(np.float64)) - 1)
    assert error.max() < 2.0**-20
    edge = exponentials(np.float32([0.0, -0.0, -87.0]))
    assert edge[:2].tolist() == [1.0, 1.0]
    assert edge[2] > 0


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("d", [1, 7, 784, 3072])
@pytest.mark.parametrize("kind", ["normal", "pixels", "positive", "badly scaled", "absorbed"])
def test_scores_are_within_their_bound(precision, d, kind, record_property):
    """The largest observed error over the bound must stay below 1."""
    rng = np.random.default_rng(d)
    X = rng.normal(size=(120, d))
    if kind == "pixels":
        X = (np.round(255 * rng.random((120, d)) ** 4) / 255).astype(np.float32)
    elif kind == "positive":
        X = 100 + rng.random((120, d))
    elif kind == "absorbed":
        # Every product but the first is lost in a running sum: the error grows with d.
        X = np.full((120, d), 2.0 ** -(12.5 if precision == "float32" else 27))
        X[:, 0] = 1.0
        X[::2] *= -1
    elif kind == "badly scaled":
        X *= 10.0 ** rng.integers(-8, 8, size=d)
    labeled, rows = np.arange(40), np.arange(40, 120)
    gamma = 3.0 / np.square(X - X.mean(axis=0)).sum(axis=1).mean()
    columns = Columns(X, labeled, gamma)
    known = columns.centered
    if precision == "float32":
        products = _multiply_dense(columns, rows, X, rows, Workspace())
        assert products.route == "float32"
        scores, bound = products.dots, products.bound
    else:
        points, squares = np.empty((80, d)), np.empty(80)
        cpu.center_rows(X, rows, known.center, known.scale, points, squares)
        bound = columns.row_bound(np.sqrt(squares) * (1 + 1e-9), d, "float64")
        scores = points @ columns.points("float64").T
    shares, rest = np.empty(40, np.float32), np.empty(80)
    slope = scores.dtype.type(2 * columns.scaled_gamma)
    cpu.shares_of_block(
        scores, slope, columns.bias(precision), np.float32(1), bound, shares, np.zeros(40), rest,
        np.empty(80, dtype=np.int64),
    )  # fmt: skip
    exact = _exact_scores(X, labeled, rows, gamma)
    # Scores are known up to a constant of the row: compare differences, each within two bounds.
    error = (scores - scores[:, :1]).astype(np.longdouble) - (exact - exact[:, :1])
    ratio = float((np.abs(error) / (2 * bound[:, None])).max())
    record_property("largest error over bound", ratio)
    assert ratio < 1.0


def _exact_scores(X, labeled, rows, gamma):
    """Scores in extended precision, which has 11 more bits than float64."""
    X = X.astype(np.longdouble)
    scores = np.empty((len(rows), len(labeled)), dtype=np.longdouble)
    for c, j in enumerate(labeled):
        scores[:, c] = -np.longdouble(gamma) * np.square(X[rows] - X[j]).sum(axis=1)
    return scores


def test_the_bound_grows_with_features_gamma_and_norms():
    norm = np.array([1.0])
    at = lambda gamma, d, largest: score_bound(gamma, d, d, norm, largest, "float32")[0]  # noqa: E731
    assert at(2.0, 784, 1.0) == pytest.approx(2 * at(1.0, 784, 1.0), rel=1e-6)
    assert at(1.0, 7840, 1.0) > 8 * at(1.0, 784, 1.0)
    assert at(1.0, 784, 2.0) > 1.9 * at(1.0, 784, 1.0)
    assert at(1.0, 2**24, 1.0) == np.inf


def test_the_decision_band_surrounds_one():
    low, high = decision_band(np.array([0.0, 0.01, 1.0, 1e4]))
    assert (low < 1).all()
    assert (high > 1).all()
    assert (np.diff(low) < 0).all()
    assert (np.diff(high) >= 0).all()
    assert low[1] == pytest.approx(np.exp(-0.02), rel=1e-4)
    assert high[1] == pytest.approx(np.exp(0.06), rel=1e-4)


@pytest.mark.parametrize("d", [1, 7, 31, 32, 33, 64, 301])
def test_squared_distances_are_direct_and_exact_on_integers(d):
    rng = np.random.default_rng(d)
    a, b = rng.integers(-50, 50, size=(2, 5, d)).astype(np.float64)
    a[0] = b[0]
    dense = [recheck.squared_distance(a, i, b, i, np.empty(32)) for i in range(5)]
    assert dense == np.square(a - b).sum(axis=1).tolist()
    both = sp.csr_array(np.vstack([a, b]) * (rng.random((10, d)) < 0.5))
    for i in range(5):
        found = recheck.sparse_squared_distance(
            both.data, both.indices, both.indptr[i], both.indptr[i + 1], both.indptr[i + 5],
            both.indptr[i + 6],
            np.empty(32),
        )  # fmt: skip
        full = both.toarray()
        assert found == np.square(full[i] - full[i + 5]).sum()


@pytest.mark.parametrize("d", [5, 32, 33, 100, 1000])
def test_sparse_and_dense_distances_are_the_same_bits(d):
    rng = np.random.default_rng(d)
    X = rng.normal(size=(20, d)) * (rng.random((20, d)) < 0.4)
    S = sp.csr_array(X)
    for i in range(19):
        ends = S.indptr[[i, i + 1, i + 1, i + 2]]
        sparse = recheck.sparse_squared_distance(S.data, S.indices, *ends, np.empty(32))
        assert sparse == recheck.squared_distance(X, i, X, i + 1, np.empty(32))


def test_looking_at_fewer_columns_gives_the_same_verdict():
    """The recheck skips what the scores rule out, and would skip it anyway."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 12))
    rows, labeled = np.arange(100, 300), np.arange(100)
    exact = _exact_scores(X, labeled, rows, 4.0).astype(np.float64)
    verdicts = []
    for bound in (np.zeros(200), np.full(200, 1e9)):
        first, verdict = np.full(200, -1), np.full(200, -1)
        recheck.recheck_dense(
            exact, 1.0, bound, np.arange(200), X, rows, X, labeled, 4.0, np.zeros(100), 0.0,
            direct_error(12), np.zeros(100), np.zeros(1, dtype=np.int64), first, verdict,
        )  # fmt: skip
        verdicts.append((first.tolist(), verdict.tolist()))
    assert verdicts[0] == verdicts[1]
    assert set(verdicts[0][1]) == {recheck.MINOR, recheck.MAJOR}


@pytest.mark.parametrize("gamma", [1e-3, 1.0, 1e3, 1e9])
@pytest.mark.parametrize("sparse", [False, True])
def test_column_sums_are_within_their_error(gamma, sparse):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(90, 11)) + 20.0
    X[50] = X[3]
    labeled = np.arange(0, 90, 6)
    columns = Columns(sp.csr_array(X) if sparse else X, labeled, gamma)
    degree, error = add_degrees(columns, np.arange(90), Workspace())
    exact = np.exp(_exact_scores(X, labeled, np.arange(90), gamma)).sum(axis=0)
    assert (np.abs(degree - exact) <= error + 1e-13 * exact).all()
    assert (error < 1e-5 * exact).all()


def test_a_block_reports_what_it_did():
    rng = np.random.default_rng(2)
    X = rng.normal(size=(50, 5))
    result = reduce_block(Columns(X, np.arange(10), 0.5), np.arange(10, 50), Workspace())
    assert result.rows == 40
    assert result.route == "float32"
    assert result.total.sum() == pytest.approx(40)
    assert result.major.sum() <= 40
    assert 0 < result.bound < 1e-3
