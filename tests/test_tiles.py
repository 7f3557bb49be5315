"""The operator of all pairs: every route and storage against weights by direct differences."""

from __future__ import annotations

import functools
from unittest import mock

import numpy as np
import pytest
import scipy.sparse as sp

import gssl_poison as gp
from gssl_poison.exceptions import InputError, NumericalError
from gssl_poison.kernels import int8, pairs, sweeps, tile_products, triangle
from gssl_poison.kernels.codes import no_rest
from gssl_poison.kernels.columns import Columns
from gssl_poison.kernels.routes import choose_pairs
from gssl_poison.kernels.tiles import rbf_operator
from gssl_poison.kernels.workspace import Workspace

needs_vnni = pytest.mark.skipif(
    not int8.is_available(), reason="this processor has no AVX-512 VNNI: 8-bit data run in float32"
)
SIZES = (1, 2, 7, 513, 700)
MODES = (
    ("propagation", "triangle"),
    ("propagation", "pruned"),
    ("propagation", "free"),
    ("spreading", "triangle"),
    ("spreading", "free"),
)


def points(kind, n):
    """Points and a gamma at which log-weights run from 0 to about -30."""
    rng = np.random.default_rng(n)
    bytes_ = (255 * rng.random((n, 30)) ** 3).astype(np.uint8)
    X, gamma = {
        "float64": (rng.normal(size=(n, 20)), 0.2),
        "float32": (rng.normal(size=(n, 20)).astype(np.float32), 0.2),
        "uint8": (bytes_, 6.0 / 65025),
        "pixels32": (bytes_.astype(np.float32) / 255, 6.0),
        "pixels64": (bytes_ / 255.0, 6.0),
        "csr": (sp.random(n, 60, density=0.2, format="csr", rng=rng), 2.0),
    }[kind]
    if n > 2:
        X = X[[0, 0, *range(2, n)]]  # duplicates
    return X, gamma


def log_weights(X, gamma):
    """-gamma |x_i - x_j|^2 by direct differences in extended precision, -inf on the diagonal."""
    X = np.asarray(X.toarray() if sp.issparse(X) else X).astype(np.longdouble)
    logs = np.empty((len(X), len(X)))
    for i, x in enumerate(X):
        logs[i] = -np.longdouble(gamma) * np.square(X - x).sum(axis=1)
    np.fill_diagonal(logs, -np.inf)
    return logs


def log_sums(logs):
    """Logarithm of the sum of every row's exponentials."""
    top = logs.max(axis=1, keepdims=True)
    return np.log(np.exp(logs - top).sum(axis=1)) + top[:, 0]


def largest_error(values, logs):
    """How far the logarithms of values are from those expected, off the diagonal."""
    off = ~np.eye(len(values), dtype=bool)
    return float(np.abs(np.log(values[off]) - logs[off]).max())


@functools.cache
def case(kind, n):
    """Points, gamma, log-weights and their sums."""
    X, gamma = points(kind, n)
    logs = log_weights(X, gamma)
    return X, gamma, logs, log_sums(logs) if n > 1 else np.full(1, -np.inf)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("kind", ["float64", "float32", "uint8", "pixels32", "pixels64", "csr"])
@pytest.mark.parametrize("precision", ["double", "single"])
def test_weights_are_within_the_bound(kind, precision, n, record_property):
    X, gamma, logs, degrees = case(kind, n)
    everyone = np.eye(n)
    for purpose, storage in MODES:
        operator = rbf_operator(X, gamma, purpose=purpose, precision=precision, storage=storage)
        assert (operator.n, operator.storage) == (n, storage)
        W = operator.matmul(everyone)
        assert (np.diag(W) == 0.0).all()
        if n == 1:
            assert operator.log_degree.tolist() == [-np.inf]
            assert operator.dropped == 0.0
            continue
        wanted = logs >= -44 if storage == "pruned" else np.isfinite(logs)
        np.testing.assert_array_equal(W > 0, wanted)
        error = largest_error(np.where(wanted, W, 1.0), np.where(wanted, logs, 0.0))
        assert error <= operator.error
        record_property(f"{purpose} {storage}", error / operator.error)
        # A bound that allows anything would prove nothing.
        assert operator.error < (1e-10 if operator.precision == "double" else 1e-4)
        assert operator.error < 1e4 * error or n < 500
        missing = np.where(wanted, 0.0, np.exp(logs)).sum(axis=1)
        assert missing.max() <= operator.dropped < 1e-15
        assert np.abs(operator.log_degree - degrees).max() <= operator.error + 1e-14
        if purpose == "spreading":
            expected = logs - 0.5 * (degrees[:, None] + degrees)
            assert largest_error(operator.spread(everyone), expected) <= 2 * operator.error


@pytest.mark.parametrize(
    ("kind", "precision", "route"),
    [
        ("float64", "double", "float64"),
        ("float64", "single", "float32"),
        ("uint8", "double", "int8"),
        ("uint8", "single", "int8"),
        ("pixels64", "double", "int8"),
        ("pixels32", "single", "int8+"),
        ("pixels32", "double", "float64"),
        ("csr", "single", "sparse"),
    ],
)
@needs_vnni
def test_the_cheapest_route_that_is_good_enough_is_taken(kind, precision, route):
    X, gamma = points(kind, 40)
    operator = rbf_operator(X, gamma, precision=precision, storage="triangle")
    assert operator.route == route


@needs_vnni
def test_what_pixels_are_off_their_codes_is_not_left_out():
    X, gamma = points("pixels32", 300)
    logs = log_weights(X, gamma)
    good = rbf_operator(X, gamma, precision="single", storage="free")
    assert good.route == "int8+"
    assert largest_error(good.matmul(np.eye(300)), logs) <= good.error < 1e-6
    rest = "gssl_poison.kernels.codes.CodePairs.rest"
    with mock.patch(rest, lambda _, start, stop, spans, *__: [no_rest(stop - start)] * len(spans)):
        assert largest_error(good.matmul(np.eye(300)), logs) > good.error


def test_without_the_instruction_weights_are_within_the_bound_too(monkeypatch):
    monkeypatch.setattr(int8, "is_available", lambda: False)
    for kind in ("uint8", "pixels32"):
        X, gamma = points(kind, 90)
        for precision in ("double", "single"):
            operator = rbf_operator(X, gamma, precision=precision, storage="triangle")
            assert operator.route.startswith("float")
            error = largest_error(operator.matmul(np.eye(90)), log_weights(X, gamma))
            assert error <= operator.error


@pytest.mark.parametrize("c", [1, 2, 3, 10, 40])
@pytest.mark.parametrize(
    ("precision", "storage", "atol"),
    [("double", "triangle", 1e-11), ("single", "triangle", 1e-6), ("double", "free", 1e-11)],
)
def test_many_columns_are_each_multiplied(c, precision, storage, atol):
    X, gamma, logs, _ = case("uint8", 700)
    W = np.exp(logs)
    F = np.random.default_rng(c).normal(size=(700, c))
    operator = rbf_operator(X, gamma, precision=precision, storage=storage)
    np.testing.assert_allclose(operator.matmul(F), W @ F, rtol=0, atol=atol)
    operator = rbf_operator(X, gamma, purpose="spreading", precision=precision, storage=storage)
    root = np.sqrt(W.sum(axis=1))[:, None]
    expected = W @ (F / root) / root
    np.testing.assert_allclose(operator.spread(F), expected, rtol=0, atol=atol)


@pytest.mark.parametrize("kind", ["float64", "pixels32", "csr"])
def test_results_do_not_depend_on_the_number_of_threads(kind):
    X, gamma = points(kind, 700)
    F = np.random.default_rng(0).random((700, 3))
    with mock.patch.multiple(pairs, PANEL=64, TILE=128):  # more panels than threads
        for purpose, storage in MODES:
            found = [
                rbf_operator(
                    X, gamma, purpose=purpose, storage=storage, precision="single", threads=threads
                )
                for threads in (1, 2, 5)
            ]
            for other in found[1:]:
                np.testing.assert_array_equal(found[0].matmul(F), other.matmul(F))
                np.testing.assert_array_equal(found[0].log_degree, other.log_degree)


def test_duplicates_weigh_one_and_are_told_apart_from_nothing():
    rng = np.random.default_rng(0)
    X = 1e3 + np.repeat(rng.normal(size=(30, 40)), 2, axis=0)
    for storage in ("triangle", "pruned", "free"):
        operator = rbf_operator(X, 5.0, storage=storage)
        W = operator.matmul(np.eye(60))
        pairs_of = W[np.arange(0, 60, 2), np.arange(1, 60, 2)]
        np.testing.assert_allclose(pairs_of, 1.0, rtol=operator.error)
        np.testing.assert_allclose(W[::2] + np.eye(60)[::2], W[1::2] + np.eye(60)[1::2], rtol=1e-9)


def sharp_points():
    """Clusters and outliers whose log-weights run from 0 to -4000 at gamma 20."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(160, 25)) * np.repeat([0.1, 0.5, 1.0, 1.3], 40)[:, None]
    X[3] = X[4]
    return X


@pytest.mark.parametrize("storage", ["triangle", "free"])
def test_spreading_is_right_where_all_weights_underflow(storage):
    X = sharp_points()
    logs = log_weights(X, 20.0)
    degrees = log_sums(logs)
    assert logs[np.isfinite(logs)].min() < -2000
    assert degrees.min() < -800  # exp(-800) is 0 in float64
    operator = rbf_operator(X, 20.0, purpose="spreading", storage=storage)
    assert operator.precision == "double"
    np.testing.assert_allclose(operator.log_degree, degrees, rtol=1e-14, atol=1e-13)
    S = logs - 0.5 * (degrees[:, None] + degrees)
    F = np.random.default_rng(2).random((160, 2))
    np.testing.assert_allclose(operator.spread(F), np.exp(S) @ F, rtol=1e-10)
    assert (operator.spread(F) > 0).all()
    # What is dropped is what the range of float64 leaves no room for.
    computed = operator.spread(np.eye(160))
    missing = np.where(computed == 0.0, np.exp(S), 0.0).sum(axis=1)
    assert missing.max() <= operator.dropped < 1e-290


def test_single_precision_that_cannot_hold_a_row_becomes_double():
    X = sharp_points()
    operator = rbf_operator(X, 20.0, purpose="spreading", precision="single")
    assert operator.precision == "double"
    wide = rbf_operator(X, 2.0, purpose="spreading", precision="single")
    assert wide.precision == "single"
    degrees = log_sums(log_weights(X, 2.0))
    S = np.exp(log_weights(X, 2.0) - 0.5 * (degrees[:, None] + degrees))
    np.testing.assert_allclose(wide.spread(np.ones((160, 1)))[:, 0], S.sum(axis=1), rtol=1e-3)


def test_a_row_that_even_double_precision_cannot_hold_is_refused():
    X = np.array([[0.0], [0.01], [40.0], [90.0]])
    with pytest.raises(NumericalError, match=r"point 2, exp\(-1599\), is out of float64's range"):
        rbf_operator(X, 1.0, purpose="spreading")
    # Raw weights are what they are: 0 where float64 has none.
    operator = rbf_operator(X, 1.0, storage="triangle")
    assert np.count_nonzero(operator.matmul(np.eye(4))) == 2
    degrees = log_sums(log_weights(X, 1.0))
    np.testing.assert_allclose(operator.log_degree, degrees, rtol=1e-12, atol=1e-12)


def test_every_weight_that_float64_can_represent_is_kept_by_the_triangle():
    X = np.sqrt(np.array([[0.0], [600.0], [710.0], [740.0], [800.0]]))
    weights = rbf_operator(X, 1.0, storage="triangle").matmul(np.eye(5))[0]
    np.testing.assert_allclose(weights[1:3], np.exp([-600.0, -710.0]), rtol=1e-11)
    assert 0.0 < weights[3] < 1e-300
    assert weights[4] == 0.0
    pruned = rbf_operator(X, 1.0, storage="pruned")
    assert pruned.matmul(np.eye(5))[0].max() == 0.0
    assert pruned.dropped >= np.exp(-44.0)


def test_far_clusters_are_measured_directly():
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(size=(20, 3)) + 1e7, rng.normal(size=(20, 3)) - 1e7])
    logs = log_weights(X, 1.0)
    near = np.isfinite(logs) & (logs > -700)
    for precision in ("double", "single"):
        operator = rbf_operator(X, 1.0, precision=precision, storage="triangle")
        assert operator.route == "direct"
        W = operator.matmul(np.eye(40))
        assert (
            np.abs(np.log(W[near & (W > 0)]) - logs[near & (W > 0)]).max() <= operator.error < 1e-6
        )
        assert (W[near & (logs > -170)] > 0).all()
    sparse = rbf_operator(sp.csr_array(X), 1.0, storage="triangle")
    assert sparse.route == "direct"
    dense = rbf_operator(X, 1.0, storage="triangle")
    np.testing.assert_array_equal(sparse.matmul(np.eye(40)), dense.matmul(np.eye(40)))


def test_auto_prunes_where_little_is_left_and_fits_memory_elsewhere():
    X = np.random.default_rng(0).normal(size=(300, 8))
    sharp = rbf_operator(X, 200.0)
    assert sharp.storage == "pruned"
    assert sharp.nbytes < 300 * 300
    assert rbf_operator(X, 200.0, purpose="spreading").storage == "triangle"
    wide = rbf_operator(X, 0.1)
    assert wide.storage == "triangle"
    assert wide.nbytes < 8 * 320 * 320
    assert rbf_operator(X, 0.1, precision="single").nbytes == wide.nbytes // 2
    small = rbf_operator(X, 0.1, memory=1000)
    assert (small.storage, small.nbytes) == ("free", 0)
    np.testing.assert_array_equal(small.matmul(X), wide.matmul(X))


@pytest.mark.parametrize("order", ["C", "F"])
def test_the_callers_points_are_left_alone(order):
    X, gamma = points("float32", 90)
    X = np.array(X, order=order)
    X.flags.writeable = False
    before = X.copy()
    operator = rbf_operator(X, gamma, purpose="spreading")
    np.testing.assert_array_equal(X, before)
    again = rbf_operator(X.tolist(), gamma, purpose="spreading")
    np.testing.assert_allclose(again.log_degree, operator.log_degree, rtol=1e-12)


def test_progress_counts_pairs():
    X, gamma = points("uint8", 700)
    for purpose, storage in MODES:
        passes = 2 if purpose == "spreading" else int(storage != "free")
        seen = []
        rbf_operator(
            X,
            gamma,
            purpose=purpose,
            storage=storage,
            progress=lambda *now, to=seen: to.append(now),
        )
        if passes:
            assert seen[-1] == (passes * 700 * 699 // 2,) * 2
        assert [done for done, _ in seen] == sorted(done for done, _ in seen)
        assert len(seen) == 2 * passes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"gamma": 0.0}, "gamma=0.0 is not usable"),
        ({"gamma": np.nan}, "gamma=nan is not usable"),
        ({"gamma": "auto"}, "gamma='auto' is not usable"),
        ({"purpose": "other"}, "purpose='other' is not known"),
        ({"precision": "half"}, "precision='half' is not known"),
        ({"storage": "disk"}, "storage='disk' is not known"),
        ({"storage": "pruned", "purpose": "spreading"}, "spreading has no self-loops"),
        ({"threads": 0}, "threads=0 is not a positive"),
        ({"X": [[0.0], [np.nan]]}, r"X\[1, 0\] is nan"),
        ({"X": [[0.0], [np.inf]]}, r"X\[1, 0\] is inf"),
        ({"X": [[0.0], [1e300]]}, "overflow"),
        ({"X": np.array([[0], [200]], dtype=np.uint8), "gamma": 1e305}, "overflow"),
    ],
)
def test_what_cannot_be_computed_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        rbf_operator(**{"X": [[0.0], [1.0]], "gamma": 1.0, **arguments})


def test_wrong_vectors_and_wrong_purposes_are_refused():
    operator = rbf_operator([[0.0], [1.0]], 1.0)
    with pytest.raises(InputError, match=r"F has shape \(3, 1\); pass one row per point, \(2, c\)"):
        operator.matmul(np.ones((3, 1)))
    with pytest.raises(InputError, match="purpose='propagation' holds raw weights"):
        operator.spread(np.ones((2, 1)))


def test_exp64_is_within_its_bound():
    rng = np.random.default_rng(0)
    x = np.concatenate(
        [
            -708 * rng.random(400_000),
            709 * rng.random(100_000),
            -np.exp(rng.uniform(-80, 6.5, 200_000)),
            np.arange(-1021.5, 0.5, 0.5) * np.log(2.0),
        ]
    )
    got = x.copy()
    triangle.exponentials(got, got.size)
    error = np.abs(got / np.exp(x.astype(np.longdouble)) - 1)
    assert error.max() < triangle.EXP64_BOUND
    edge = np.array([0.0, -0.0, -744.0, -750.0, -1e300])
    triangle.exponentials(edge, edge.size)
    np.testing.assert_array_equal(edge, [1.0, 1.0, np.exp(-744.0), 0.0, 0.0])


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("c", [1, 2, 3, 9])
def test_a_tile_is_multiplied_both_ways(kind, c):
    rng = np.random.default_rng(c)
    tile = rng.random((12, 1056)).astype(kind)
    F, out = rng.random((c, 1200)), np.ones((c, 1200))
    tile_products.multiply(tile, 1070, 3, F, out, Workspace())
    expected = np.ones((c, 1200))
    expected[:, 1070:1082] += F[:, 3:1059] @ tile.T.astype(float)
    expected[:, 3:1059] += F[:, 1070:1082] @ tile.astype(float)
    np.testing.assert_allclose(out, expected, rtol=1e-13)


@pytest.mark.parametrize("n", [1, 2, 511, 512, 513, 2049, 5000])
def test_panels_hold_every_pair_once(n):
    seen = np.zeros((n, n), dtype=np.int8) if n < 3000 else None
    assert sum(panel.size for panel in pairs.panels(n)) == n * (n - 1) // 2
    for panel in pairs.panels(n):
        for start, stop in panel.spans:
            assert start % int8.PANEL == 0
            if seen is not None:
                seen[panel.start : panel.stop, start:stop] += 1
    if seen is not None:
        np.testing.assert_array_equal(np.tril(seen, -1), np.tril(np.ones_like(seen), -1))


def test_real_digits_in_every_storage(data_dir):
    data = gp.load_dataset("mnist-1-7", labeled=0.05)
    X = np.asarray(data.X)[::6][:2000]
    logs = log_weights(X[:60], 5.0)
    rows = np.arange(60)
    everyone = np.zeros((2000, 60))
    everyone[rows, rows] = 1.0
    for precision in ("double", "single"):
        for purpose, storage in MODES:
            operator = rbf_operator(X, 5.0, purpose=purpose, precision=precision, storage=storage)
            assert operator.precision == ("double" if storage == "pruned" else precision)
            assert operator.error < (1e-5 if operator.precision == "single" else 1e-9)
            W = operator.matmul(everyone)[:60]
            large = logs > (-44 if storage == "pruned" else -80)
            np.testing.assert_allclose(np.log(W[large]), logs[large], rtol=0, atol=operator.error)
            if storage == "pruned":
                assert operator.nbytes < 2000 * 2000 // 2


def test_potentials_are_the_nearest_neighbours():
    X, gamma = points("pixels32", 513)
    logs = log_weights(X, gamma)
    columns = Columns(X, np.arange(513), gamma)
    for precision in ("double", "single"):
        found = choose_pairs(columns, precision)
        largest = sweeps.largest_log_weights(found, 2, sweeps.silent)
        np.testing.assert_allclose(largest, logs.max(axis=1), rtol=0, atol=1e-4)
