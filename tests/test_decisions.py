"""Rows next to the threshold: the fast path says what the recheck routine says, or asks it."""

from __future__ import annotations

from decimal import Decimal, localcontext
from fractions import Fraction
from unittest import mock

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

import gssl_poison as gp
from gssl_poison.exceptions import InputError
from gssl_poison.kernels import int8


def measure(X, labeled, gamma, normalization="row", **options):
    prop = gp.Direct(normalization).fit(gp.RBFGraph(X, gamma), labeled)
    return gp.measure_influence(prop, **options)


def defined(X, labeled, gamma, normalization="row"):
    """What the recheck routine says of every row: the definition of the counts."""
    everything = lambda bound: (np.zeros_like(bound), np.full_like(bound, np.inf))  # noqa: E731
    with mock.patch("gssl_poison.kernels.results.decision_band", everything):
        measured = measure(X, labeled, gamma, normalization)
    assert measured.rechecked == measured.n_unlabeled
    return measured.mir.tolist(), measured.undecided


def every_route(X, labeled, gamma, normalization="row"):
    """Counts and undecided rows of every route, block size and storage."""
    found = []
    for points in (X, np.asfortranarray(X), sp.csr_array(X)):
        for block_size in (None, 1, 3):
            measured = measure(points, labeled, gamma, normalization, block_size=block_size)
            found.append((measured.mir.tolist(), measured.undecided))
    with mock.patch.object(int8, "is_available", return_value=False):
        measured = measure(X, labeled, gamma, normalization)
        found.append((measured.mir.tolist(), measured.undecided))
    return found


def rest_of(X, row, labeled, gamma, first):
    """The exact rest of a row relative to a column, to 60 digits."""
    with localcontext() as context:
        context.prec = 60
        exact = lambda j: sum(  # noqa: E731
            (Fraction(float(a)) - Fraction(float(b))) ** 2
            for a, b in zip(X[row], X[j], strict=True)
        )
        scaled = [Fraction(float(gamma)) * exact(j) for j in labeled]
        below = [scaled[first] - s for s in scaled]
        powers = [(Decimal(b.numerator) / Decimal(b.denominator)).exp() for b in below]
        return sum(powers) - 1


@settings(max_examples=60)
@given(
    d=st.integers(1, 70),
    exponent=st.floats(-16, -3),
    log_gamma=st.floats(-3, 5),
    far=st.sampled_from([1.0, 30.0, 1e5]),
    seed=st.integers(0, 2**32 - 1),
)
def test_rows_at_the_threshold_are_judged_alike_and_rightly(d, exponent, log_gamma, far, seed):
    rng = np.random.default_rng(seed)
    left, right = rng.normal(size=(2, d))
    aside = rng.normal(size=(6, d)) * far
    axis = (right - left) / np.linalg.norm(right - left)
    aside -= np.outer(aside @ axis, axis)
    shift = 10.0**exponent * rng.choice([-1, 1], size=6)
    middle = (left + right) / 2 + aside + np.outer(shift, right - left)
    X, labeled, gamma = np.vstack([left, right, middle]), [0, 1], 10.0**log_gamma
    expected = defined(X, labeled, gamma)
    assert all(found == expected for found in every_route(X, labeled, gamma))
    for i in range(2, 8):
        mir, undecided = defined(X[[0, 1, i]], labeled, gamma)
        if not undecided:
            assert rest_of(X, i, labeled, gamma, int(np.argmax(mir))) < 1


@settings(max_examples=40)
@given(
    d=st.integers(2, 60),
    log_gamma=st.floats(-2, 20),
    normalization=st.sampled_from(["row", "column-row"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_true_tie_is_never_decided(d, log_gamma, normalization, seed):
    # Turning every point's coordinates around maps this graph to itself and swaps the labelled
    # points: whatever rounding says, no row that stays where it is can prefer one of them.
    rng = np.random.default_rng(seed)
    left, crowd = rng.random(d), rng.normal(size=(4, d))
    centre = np.full((2, d), [[0.25], [3.0]])
    X = np.vstack([left, left[::-1], crowd, crowd[:, ::-1], centre])
    if np.array_equal(left, left[::-1]):
        return
    gamma = 10.0**log_gamma
    for points in (X, sp.csr_array(X)):
        for block_size in (None, 1):
            alone = measure(points[[0, 1, 10, 11]], [0, 1], gamma, block_size=block_size)
            assert alone.mir.tolist() == [0, 0]
            assert alone.undecided == 2
            whole = measure(points, [0, 1], gamma, normalization, block_size=block_size)
            assert whole.undecided >= 2
            assert whole.total.sum() == pytest.approx(whole.n_unlabeled - whole.unresolved)


@pytest.mark.parametrize("seed", range(6))
def test_rounding_of_long_column_sums_decides_nothing(seed):
    rng = np.random.default_rng(seed)
    left, crowd = rng.random(3), rng.normal(size=(3000, 3))
    X = np.vstack([left, left[::-1], np.full((1, 3), 0.25), crowd, crowd[::-1, ::-1]])
    measured = measure(X, [0, 1], 1e-6, "column-row")
    assert measured.undecided >= 1


def test_a_far_row_that_float64_cannot_place_depends_on_no_block():
    X = np.array([[1.0], [1 - 2.0**-17], [1 - 2.0**-17], [-1.0], [1e7], [1e9], [1e9 + 5]])
    x = X[4, 0]
    gamma = (np.log(2) + 4e-4) / ((x - X[1, 0]) ** 2 - (x - X[0, 0]) ** 2)
    labeled = [0, 1, 2, 3]
    expected = defined(X, labeled, gamma)
    assert all(found == expected for found in every_route(X, labeled, gamma))


def test_sparse_and_dense_agree_to_the_last_bit_of_the_bound():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3, 1000))
    for delta in 10.0 ** -np.arange(9, 15, 0.25):
        row = (X[0] + X[1]) / 2 + (X[0] - X[1]) * delta
        points = np.vstack([X, row])
        assert len({str(found) for found in every_route(points, [0, 1, 2], 0.01)}) == 1


@pytest.mark.parametrize("step", [1.0, 1 / 255])
def test_pixels_next_to_the_threshold(step):
    rng = np.random.default_rng(1)
    left, right = rng.integers(0, 256, size=(2, 300))
    rows = [left, right]
    for _ in range(60):
        mixed = np.where(rng.random(300) < 0.5, left, right)
        rows.append(np.clip(mixed + rng.integers(-2, 3, size=300), 0, 255))
    X = (np.array(rows) * step).astype(np.float32)
    distances = np.square(X[2:, None] - X[:2].astype(np.float64)).sum(axis=2)
    for sharpness in (1e-3, 1.0, 1e3, 1e6):
        gamma = sharpness / np.abs(distances[:, 0] - distances[:, 1]).max()
        expected = defined(X, [0, 1], gamma)
        assert all(found == expected for found in every_route(X, [0, 1], gamma))


def test_pixels_where_several_labels_share_a_row():
    rng = np.random.default_rng(2)
    X = rng.integers(0, 8, size=(30, 40)).astype(np.uint8)
    labeled = np.arange(12)
    for i in range(12, 30):
        gaps = np.square(X[i] - X[labeled].astype(float)).sum(axis=1)
        gaps = np.sort(gaps - gaps.min())[1:]
        if gaps[0] == 0.0:
            continue
        exact = brentq(lambda g, gaps=gaps: np.exp(-g * gaps).sum() - 1.0, 1e-4, 10.0, xtol=1e-15)
        for gamma in exact * (1.0 + np.array([-1e-6, -1e-10, 0.0, 1e-10, 1e-6])):
            assert len({str(found) for found in every_route(X, labeled, gamma)}) == 1


@pytest.mark.parametrize("seed", range(30))
def test_rounding_noise_beyond_the_cut_off_decides_nothing(seed):
    rng = np.random.default_rng(seed)
    left = rng.random(40)
    X = np.vstack([left, rng.permutation(left), np.zeros(40)])
    for points in (X, sp.csr_array(X)):
        measured = measure(points, [0, 1], 1e19)
        assert measured.mir.tolist() == [0, 0]
        assert measured.undecided == 1


def test_where_gamma_outgrows_float64_totals_leave_rows_out_and_say_so():
    rng = np.random.default_rng(0)
    left = rng.random(17)
    X = np.vstack([left, rng.permutation(left), np.zeros(17), left])
    measured = measure(X, [0, 1], 1e17)
    assert measured.mir.tolist() == [1, 0]
    assert (measured.undecided, measured.unresolved) == (1, 1)
    assert measured.total.tolist() == [1.0, 0.0]
    table = gp.rank(X, ["a", "b", None, None], gamma=1e17)
    assert any("cannot tell the shares of 1 unlabelled" in note for note in table.attrs["notes"])


def test_sharp_weights_still_have_totals():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 20))
    measured = measure(X, np.arange(15), 1e12)
    assert measured.unresolved == 0
    assert measured.mir.sum() == 45
    np.testing.assert_array_equal(measured.total, measured.mir)


@pytest.mark.parametrize(
    ("X", "gamma"),
    [
        ([[0.0], [1.0], [1e5]], 1e300),
        ([[1e150, 0], [-1e150, 0], [0, 1e155], [1, 1e155]], 1e-305),
        (np.array([[0], [10], [3], [7], [5]], dtype=np.uint8), 1e308),
        ([[0.0], [1.0], [100.0]], 1e305),
    ],
)
@pytest.mark.parametrize("kind", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("normalization", ["row", "column-row"])
def test_distances_that_leave_float64_are_refused(X, gamma, kind, normalization):
    with pytest.raises(InputError, match=r"overflow float64|leave float64"):
        measure(kind(X), [0, 1], gamma, normalization)


@pytest.mark.parametrize("gamma", [1e-320, 1e-300, 1e39, 1e300])
def test_any_gamma_that_float64_holds_ranks_small_integers(gamma):
    X = np.array([[0.0], [10.0], [3.0], [7.0], [5.0]])
    measured = measure(X, [0, 1], gamma)
    expected = ([1, 1], 1) if gamma > 1e-200 else ([0, 0], 3)
    if gamma == 1e-300:
        expected = ([0, 0], 3)
    assert (measured.mir.tolist(), measured.undecided) == expected


def test_a_row_beyond_float32_runs_in_float64():
    X = np.array([[1.0], [-1.0], [1e39]])
    measured = measure(X, [0, 1], 1e-45)
    assert set(measured.routes) == {"float64"}
    assert measured.undecided == 1  # float64 knows gamma x^2 = 1e33 to 1e17 only
    near = measure(X, [0, 1], 1e-78)
    assert np.isfinite(near.total).all()
