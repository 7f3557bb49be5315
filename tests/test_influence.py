"""MIR and total influence against a transcription of the paper, whatever the data look like."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import example, given, settings
from hypothesis import strategies as st
from reference import transcribe

import gssl_poison as gp
from gssl_poison.exceptions import InputError

KINDS = ("normal", "clustered", "duplicated", "scaled", "pixels", "shifted", "integers")


def make_points(kind, n, d, seed):
    """Points of one kind; all kinds have caused trouble somewhere."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    if kind == "clustered":
        X = X * 0.05 + rng.normal(size=(4, d))[rng.integers(0, 4, size=n)]
    elif kind == "duplicated":
        X = X[rng.integers(0, max(2, n // 3), size=n)]
    elif kind == "scaled":
        X = X * 10.0 ** rng.integers(-6, 7, size=d)
    elif kind == "pixels":
        X = np.round(255 * rng.random((n, d))).astype(np.float32) / 255
    elif kind == "shifted":
        X = X + 1e4
    elif kind == "integers":
        X = rng.integers(0, 3, size=(n, d)).astype(np.float64)
    return X


def measure(X, labeled, gamma, normalization="row", **options):
    prop = gp.Direct(normalization).fit(gp.RBFGraph(X, gamma), labeled)
    return gp.measure_influence(prop, **options)


def agrees(measured, reference):
    """Counts equal but for the rows that the transcription itself cannot decide."""
    assert (measured.mir >= reference.mir).all()
    assert (measured.mir <= reference.could_be).all()
    assert measured.undecided <= reference.doubtful
    assert measured.mir.sum() + measured.undecided <= measured.n_unlabeled


@settings(max_examples=120)
@given(
    kind=st.sampled_from(KINDS),
    n=st.integers(2, 60),
    d=st.integers(1, 40),
    part=st.floats(0.02, 0.95),
    exponent=st.integers(-6, 6),
    normalization=st.sampled_from(["row", "column-row"]),
    seed=st.integers(0, 2**32 - 1),
)
@example("normal", 2, 1, 0.5, 0, "row", 0)
@example("duplicated", 60, 3, 0.5, 6, "row", 1)
@example("scaled", 50, 20, 0.3, 6, "column-row", 2)
@example("integers", 60, 2, 0.4, -6, "row", 3)
def test_counts_equal_the_transcription(kind, n, d, part, exponent, normalization, seed):
    X = make_points(kind, n, d, seed)
    labeled = np.random.default_rng(seed).permutation(n)[: min(n - 1, max(1, int(part * n)))]
    gamma = 10.0**exponent
    measured = measure(X, labeled, gamma, normalization)
    reference = transcribe(X, labeled, gamma, normalization)
    agrees(measured, reference)
    assert measured.bound <= 1 / 8
    assert measured.total.sum() == pytest.approx(n - len(labeled), rel=1e-9)
    # What the transcription's own log-weights are off by moves its shares as much.
    loose = 2 * measured.bound + 1e-5 + reference.error
    if loose < 0.5:
        np.testing.assert_allclose(
            measured.total, reference.total, rtol=np.expm1(loose), atol=1e-12
        )


@settings(max_examples=25)
@given(
    kind=st.sampled_from(KINDS),
    exponent=st.sampled_from([-3, -1, 0, 1, 3]),
    seed=st.integers(0, 2**32 - 1),
)
def test_counts_do_not_depend_on_how_they_are_computed(kind, exponent, seed):
    n, d = 90, 17
    X, gamma = make_points(kind, n, d, seed), 10.0**exponent
    rng = np.random.default_rng(seed)
    labeled = rng.permutation(n)[:30]
    plain = measure(X, labeled, gamma, threads=1)
    for block_size in (1, 7, 1000):
        again = measure(X, labeled, gamma, block_size=block_size)
        np.testing.assert_array_equal(again.mir, plain.mir)
        assert again.undecided == plain.undecided
    features = rng.permutation(d)
    np.testing.assert_array_equal(measure(X[:, features], labeled, gamma).mir, plain.mir)
    rows = rng.permutation(n)
    where = np.argsort(rows)
    np.testing.assert_array_equal(measure(X[rows], where[labeled], gamma).mir, plain.mir)
    order = rng.permutation(30)
    np.testing.assert_array_equal(measure(X, labeled[order], gamma).mir, plain.mir[order])
    np.testing.assert_array_equal(measure(np.asfortranarray(X), labeled, gamma).mir, plain.mir)
    np.testing.assert_array_equal(measure(sp.csr_array(X), labeled, gamma).mir, plain.mir)


def test_totals_are_the_same_bits_for_any_number_of_threads():
    X = make_points("normal", 400, 20, 0)
    labeled = np.arange(0, 400, 7)
    one, three = (measure(X, labeled, 0.3, threads=t, block_size=16) for t in (1, 3))
    np.testing.assert_array_equal(one.total, three.total)
    np.testing.assert_array_equal(one.mir, three.mir)


@pytest.mark.parametrize(
    "dtype", ["uint8", "float32", "float64", "int16", "int64", "float16", "bool"]
)
def test_counts_do_not_depend_on_the_type_of_equal_values(dtype):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 2, size=(80, 30)).astype(dtype)
    labeled = np.arange(25)
    expected = measure(X.astype(np.float64), labeled, 0.7)
    measured = measure(X, labeled, 0.7)
    np.testing.assert_array_equal(measured.mir, expected.mir)
    assert measured.undecided == expected.undecided


@pytest.mark.parametrize("delta", [1e-3, 1e-6, 1e-9, 1e-12])
@pytest.mark.parametrize("gamma", [1e-3, 1.0, 50.0])
def test_the_threshold_is_one_half(delta, gamma):
    # Share of the point at 0 is 1 / (1 + exp(-gamma (1 - 2 x))): above one half for x < 1/2 alone.
    X = np.array([[0.0], [1.0], [0.5 - delta], [0.5 + delta], [0.5 + 2 * delta]])
    measured = measure(X, [0, 1], gamma)
    assert measured.mir.tolist() == [1, 2]
    assert measured.undecided == 0


def test_a_share_of_exactly_one_half_is_nobodys_and_is_reported():
    X = np.array([[0.0], [1.0], [0.5], [0.1]])
    measured = measure(X, [0, 1], 1.0)
    assert measured.mir.tolist() == [1, 0]
    assert measured.undecided == 1


@pytest.mark.parametrize("gamma", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("sparse", [False, True])
def test_duplicated_labelled_points_tie(gamma, sparse):
    rng = np.random.default_rng(3)
    X = rng.normal(size=(40, 9))
    X[1] = X[0]
    measured = measure(sp.csr_array(X) if sparse else X, [0, 1], gamma)
    assert measured.mir.tolist() == [0, 0]
    assert measured.undecided == 38
    assert measured.total == pytest.approx([19.0, 19.0])


def test_two_thirds_and_a_third():
    # Weights 2 : 1 and 1 : 2 by hand, so that neither the axis nor the order can be mixed up.
    log2 = np.log(2.0)
    X = np.array([[0.0], [1.0], [0.5 * (1 - log2)], [0.5 * (1 + log2)], [0.5 * (1 + log2)]])
    measured = measure(X, [0, 1], 1.0)
    assert measured.mir.tolist() == [1, 2]
    assert measured.total == pytest.approx([2 / 3 + 2 / 3, 1 / 3 + 4 / 3])


def test_three_equal_neighbours_are_no_major_influence():
    X = np.array([[1.0, 0.0], [-0.5, 0.75**0.5], [-0.5, -(0.75**0.5)], [0.0, 0.0]])
    measured = measure(X, [0, 1, 2], 1.0)
    assert measured.mir.tolist() == [0, 0, 0]
    assert measured.undecided == 0
    assert measured.total == pytest.approx([1 / 3] * 3)


def test_column_normalisation_holds_back_a_point_in_a_crowd():
    # The point at 0 sits in a crowd, so its column sum is large; the point at 1 is alone.
    X = np.array([[0.0], [1.0], [0.49], [0.0], [0.01], [-0.01], [0.02]])
    assert measure(X, [0, 1], 5.0).mir.tolist() == [5, 0]
    assert measure(X, [0, 1], 5.0, "column-row").mir.tolist() == [4, 1]


def test_gamma_at_which_float32_decides_nothing_runs_in_float64():
    X = make_points("normal", 200, 50, 0)
    labeled = np.arange(40)
    assert set(measure(X, labeled, 1.0).routes) == {"float32"}
    huge = measure(X, labeled, 1e5)
    assert set(huge.routes) == {"float64"}
    agrees(huge, transcribe(X, labeled, 1e5))


@pytest.mark.parametrize("scale", [1e-150, 1e-30, 1e30, 1e150])
def test_any_unit_of_measurement_gives_the_same_counts(scale):
    X = make_points("normal", 80, 6, 1)
    labeled = np.arange(20)
    expected = measure(X, labeled, 2.0)
    measured = measure(X * scale, labeled, 2.0 / scale / scale)
    np.testing.assert_array_equal(measured.mir, expected.mir)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("row", [0, 3])
@pytest.mark.parametrize("sparse", [False, True])
def test_a_value_that_is_not_finite_is_named(value, row, sparse):
    X = np.ones((5, 4)) * np.arange(5)[:, None]
    X[row, 2] = value
    with pytest.raises(InputError, match=rf"X\[{row}, 2\] is {value}.*finite"):
        measure(sp.csr_array(X) if sparse else X, [0, 1], 1.0)


def test_distances_that_overflow_are_refused():
    X = np.array([[0.0], [1.0], [1e200]])
    with pytest.raises(InputError, match=r"row 2 of X .*overflow.*rescale"):
        measure(X, [0, 1], 1.0)
    with pytest.raises(InputError, match=r"rescale"):
        measure(X, [0, 2], 1.0)


@pytest.mark.parametrize(("normalization", "everything"), [("row", 90), ("column-row", 190)])
def test_progress_counts_rows_up_to_all(normalization, everything):
    X = make_points("normal", 100, 3, 0)
    seen = []
    measure(X, np.arange(10), 1.0, normalization, block_size=8, progress=lambda *a: seen.append(a))
    assert seen == sorted(seen)
    assert seen[-1] == (everything, everything)
    assert len(seen) > 10


@pytest.mark.parametrize("block_size", [0, -3, 1.5, True, "8"])
def test_a_bad_block_size_is_refused(block_size):
    with pytest.raises(InputError, match="block_size"):
        measure(np.eye(3), [0], 1.0, block_size=block_size)


def test_the_input_is_left_alone(rng):
    X = rng.normal(size=(30, 4))
    X.flags.writeable = False
    before = X.copy()
    measure(X, [0, 1, 2], 1.0, "column-row")
    np.testing.assert_array_equal(X, before)


def test_a_memory_map_is_read_in_blocks(tmp_path, rng):
    X = rng.normal(size=(300, 12)).astype(np.float32)
    path = tmp_path / "X.npy"
    np.save(path, X)
    labeled = np.arange(0, 300, 10)
    measured = measure(np.load(path, mmap_mode="r"), labeled, 0.5)
    np.testing.assert_array_equal(measured.mir, measure(X, labeled, 0.5).mir)


@pytest.mark.data
@pytest.mark.parametrize(("part", "clean_major"), [(0.05, 12184), (0.25, 9340)])
def test_mnist_1_7_at_gamma_5_has_the_measured_counts(data_dir, part, clean_major):
    data = gp.load_dataset("mnist-1-7", labeled=part)
    table = gp.rank(data.X, data.y, gamma=5.0)
    assert table["mir"].sum() == clean_major
    assert table.attrs["undecided"] == 0


@pytest.mark.data
def test_cifar_and_reuters_equal_the_transcription_on_a_part(data_dir):
    cifar = gp.load_dataset("cifar10-cat-ship", labeled=0.05)
    part = np.arange(0, 10000, 10)
    agrees(
        measure(cifar.X[part], np.arange(60), 0.1), transcribe(cifar.X[part], np.arange(60), 0.1)
    )
    reuters = gp.load_dataset("reuters-corporate", labeled=0.05).X[::10]
    labeled = np.arange(0, reuters.shape[0], 9)
    for normalization in ("row", "column-row"):
        agrees(
            measure(reuters, labeled, 20.0, normalization),
            transcribe(reuters.toarray(), labeled, 20.0, normalization),
        )
