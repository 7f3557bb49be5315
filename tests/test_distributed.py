"""Influence over the chunks of a Dask array against the same points in memory."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import scipy.sparse as sp
from threadpoolctl import threadpool_info, threadpool_limits

import gssl_poison as gp
from gssl_poison import distributed
from gssl_poison.exceptions import DeviceError, InputError, InputTypeError
from gssl_poison.kernels import cuda

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
cluster_tools = pytest.importorskip("dask.distributed")

DTYPES = ("uint8", "float32", "float64")
N, D = 120, 11
# Rows 40 to 59 are all labelled, so that a chunk of some of these has nothing to measure.
LABELED = np.concatenate([[118, 3, 77], np.arange(40, 60), [2, 64]])
GAMMA = 5e-3  # of these points: rows that someone decides, nobody decides and nobody can tell
CHUNKS = {
    "one chunk": ((120,), (11,)),
    "sevens": ((7,) * 17 + (1,), (11,)),
    "single rows": ((1,) * 120, (11,)),
    "a labelled chunk": ((40, 20, 60), (11,)),
    "an empty chunk": ((50, 0, 70), (11,)),
    "columns cut": ((31, 89), (4, 7)),
}


def tied_points(dtype):
    """Few distinct values, so that shares of exactly one half are common; every row twice."""
    X = np.random.default_rng(1).integers(0, 3, size=(N, D))
    X[1::2] = X[::2]
    return (X * 50).astype(dtype)


def in_memory(X, labeled, gamma):
    return gp.measure_influence(gp.Direct().fit(gp.RBFGraph(X, gamma), labeled))


def same_counts(found, expected):
    np.testing.assert_array_equal(found.mir, expected.mir)
    assert found.mir.dtype == expected.mir.dtype
    for name in ("n_unlabeled", "undecided", "unresolved", "unreached"):
        assert getattr(found, name) == getattr(expected, name)
    assert sum(found.routes.values()) == expected.n_unlabeled
    np.testing.assert_allclose(found.total, expected.total, rtol=1e-5, atol=1e-9)


@pytest.fixture
def synchronous():
    with dask.config.set(scheduler="synchronous"):
        yield


@pytest.fixture(scope="module")
def client():
    with cluster_tools.Client(
        n_workers=2, threads_per_worker=2, dashboard_address=None, set_as_default=False
    ) as client:
        yield client


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("chunks", CHUNKS.values(), ids=CHUNKS)
def test_counts_are_those_in_memory(dtype, chunks):
    X = tied_points(dtype)
    expected = in_memory(X, LABELED, GAMMA)
    assert 0 < expected.undecided < expected.undecided + expected.mir.sum() < N - LABELED.size
    same_counts(gp.measure_influence_dask(da.from_array(X, chunks), LABELED, GAMMA), expected)


@pytest.mark.parametrize("gamma", [1e-3, 0.3, 30.0])
def test_counts_of_points_without_ties(gamma, rng):
    X = rng.normal(size=(300, 20)).astype(np.float32)
    labeled = rng.permutation(300)[:70]
    found = gp.measure_influence_dask(da.from_array(X, (64, 20)), labeled, gamma)
    same_counts(found, in_memory(X, labeled, gamma))


@pytest.mark.parametrize("options", [{"block_size": 3}, {"threads": 3}])
def test_options_change_no_count(options):
    X = tied_points("float64")
    found = gp.measure_influence_dask(da.from_array(X, (50, D)), LABELED, GAMMA, **options)
    same_counts(found, in_memory(X, LABELED, GAMMA))


def test_one_chunk_is_what_memory_gives_to_the_bit(rng):
    X = rng.integers(0, 256, size=(200, 30), dtype=np.uint8)
    labeled = np.arange(30)
    found = gp.measure_influence_dask(da.from_array(X, (200, 30)), labeled, 1e-4)
    expected = in_memory(X, labeled, 1e-4)
    np.testing.assert_array_equal(found.total, expected.total)
    assert found.routes == expected.routes
    assert found.bound == expected.bound
    assert found.rechecked == expected.rechecked


@pytest.mark.parametrize("dtype", DTYPES)
def test_chunks_keep_their_type_and_tasks_their_thread(synchronous, monkeypatch, dtype):
    measure, seen = distributed.measure_influence, []

    def measured(prop, **options):
        seen.append((prop.graph.X.dtype, options))
        return measure(prop, **options)

    monkeypatch.setattr(distributed, "measure_influence", measured)
    X = da.from_array(tied_points(dtype), (60, D))
    gp.measure_influence_dask(X, LABELED, 1.0)
    gp.measure_influence_dask(X, LABELED, 1.0, threads=3, block_size=7)
    assert seen[:2] == [(dtype, {"threads": 1, "block_size": None})] * 2
    assert seen[2:] == [(dtype, {"threads": 3, "block_size": 7})] * 2


@pytest.mark.parametrize("chunks", [(40, D), (31, 4)])
def test_sparse_chunks_stay_sparse(chunks):
    points = tied_points("float64")
    expected = in_memory(sp.csr_array(points), LABELED, GAMMA)
    X = da.from_array(points, chunks).map_blocks(sp.csr_matrix)
    found = gp.measure_influence_dask(X, LABELED, GAMMA)
    same_counts(found, expected)
    assert set(found.routes) == {"sparse"}


@pytest.mark.parametrize("dtype", DTYPES)
def test_totals_are_the_same_bits_for_every_scheduler(client, dtype, rng):
    X = tied_points(dtype) if dtype == "uint8" else rng.normal(size=(N, D)).astype(dtype)
    # 60 results: added up in more than one step.
    chunked = da.from_array(X, (2, D))
    found = {}
    for scheduler in ("synchronous", "threads", client):
        with dask.config.set(scheduler=scheduler):
            found[scheduler] = gp.measure_influence_dask(chunked, LABELED, GAMMA)
    with client.as_current():
        found["current"] = gp.measure_influence_dask(chunked, LABELED, GAMMA)
    first = found.pop("synchronous")
    same_counts(first, in_memory(X, LABELED, GAMMA))
    for other in found.values():
        same_counts(other, first)
        np.testing.assert_array_equal(other.total, first.total)
        assert (other.routes, other.bound) == (first.routes, first.bound)
        assert other.rechecked == first.rechecked


def test_results_are_added_in_the_order_of_the_chunks(synchronous, monkeypatch):
    """Whoever is done first: sums of these in another order would be other bits."""
    parts = 10.0 ** np.random.default_rng(0).permutation(40)

    def measured(prop, **rest):
        row = prop.graph.X[-1, 0]
        return gp.Influence(
            mir=np.array([row]),
            total=np.array([parts[int(row)]]),
            n_unlabeled=1,
            undecided=2,
            unresolved=3,
            unreached=4,
            rechecked=5,
            routes={"even" if row % 2 == 0 else "odd": 1, "all": 1},
            bound=row,
            seconds=1.0,
        )

    monkeypatch.setattr(distributed, "measure_influence", measured)
    X = da.from_array(np.arange(41.0)[:, None] - 1.0, (1, 1))
    found = gp.measure_influence_dask(X, [0], 1.0)
    expected = 0.0
    for start in range(0, 40, 16):
        several = 0.0
        for part in parts[start : start + 16]:
            several += part
        expected += several
    assert found.total.tolist() == [expected]
    assert found.mir.tolist() == [40 * 39 // 2]
    counts = (found.undecided, found.unresolved, found.unreached, found.rechecked)
    assert counts == (80, 120, 160, 200)
    assert found.n_unlabeled == 40
    assert found.routes == {"even": 20, "odd": 20, "all": 40}
    assert found.bound == 39.0


def test_a_chunk_is_read_twice_at_most(synchronous):
    X, reads = tied_points("float64"), []

    def read(block, block_info=None):
        reads.append(block_info[None]["chunk-location"][0])
        return block

    lazy = da.from_array(X, (30, D)).map_blocks(read, dtype=X.dtype, meta=X[:0])
    labeled = [5, 1, 37]
    found = gp.measure_influence_dask(lazy, labeled, GAMMA)
    same_counts(found, in_memory(X, labeled, GAMMA))
    assert sorted(reads) == [0, 0, 1, 1, 2, 3]


def test_labelled_rows_stay_out_of_the_graph(synchronous):
    """They are handed on by name: what is sent does not grow with labels times chunks."""
    from pickle import dumps

    sizes = []

    class Weigh(dask.callbacks.Callback):
        def _start(self, graph):
            sizes.append([len(dumps(task)) for task in graph.values() if callable(task)])

    rows = da.ones((64, 5000), chunks=(4, 5000), dtype=np.float64)
    with Weigh():
        gp.measure_influence_dask(rows, np.arange(30), 1.0)
    assert len(sizes) == 3  # gather, wait, measure
    # One labelled row alone is 40,000 bytes; all of them are in the graph once.
    assert sum(size > 5000 for size in sizes[-1]) == 1


@pytest.mark.parametrize("chunk", [120, 17])
@pytest.mark.parametrize(
    ("row", "value", "gamma", "message"),
    [
        (101, np.nan, 1.0, r"^X\[101, 4\] is nan;"),
        (77, -np.inf, 1.0, r"^X\[77, 4\] is -inf;"),
        (101, 1e200, 1.0, "^row 101 of X is so large"),
        (101, 1e152, 1e5, "^row 101 of X is so far"),
        (77, 1e152, 1e5, "^labelled points lie"),
    ],
)
def test_an_error_names_the_row_of_the_whole_array(row, value, gamma, message, chunk, rng):
    X = rng.normal(size=(N, D))
    X[row, 4] = value
    with pytest.raises(InputError, match=message) as found:
        gp.measure_influence_dask(da.from_array(X, (chunk, D)), LABELED, gamma)
    with pytest.raises(InputError) as expected:
        in_memory(X, LABELED, gamma)
    assert str(found.value) == str(expected.value)


def test_an_error_comes_back_from_a_cluster(client, rng):
    X = rng.normal(size=(N, D))
    X[101, 4] = np.nan
    with client.as_current(), pytest.raises(InputError, match=r"^X\[101, 4\] is nan"):
        gp.measure_influence_dask(da.from_array(X, (17, D)), LABELED, 1.0)


WRONG = {
    "a numpy array": (lambda X: X.compute(), {}, InputTypeError, "type ndarray; .*from_array"),
    "one dimension": (lambda X: X[:, 0], {}, InputError, "X has 1 dimensions"),
    "unknown rows": (lambda X: X[X[:, 0] > 1.0], {}, InputError, r"compute_chunk_sizes\(\)"),
    "no rows": (lambda X: X[:0], {}, InputError, r"X is empty, of shape \(0, 11\)"),
    "no features": (lambda X: X[:, :0], {}, InputError, r"X is empty, of shape \(120, 0\)"),
    "text": (lambda X: X.astype(str), {}, InputTypeError, "X holds <U"),
    "a row beyond": (None, {"labeled": [0, 120]}, InputError, r"row numbers lie in 0\.\.119"),
    "a row twice": (None, {"labeled": [0, 5, 0]}, InputError, "labeled names a row twice"),
    "a mask": (None, {"labeled": np.ones(120, bool)}, InputError, "pass row numbers"),
    "all": (None, {"labeled": np.arange(120)}, InputError, "all points are labelled"),
    "a rule": (None, {"gamma": "auto"}, InputError, "gamma='auto' is a rule"),
    "zero gamma": (None, {"gamma": 0.0}, InputError, "gamma=0.0 is not usable"),
    "no gamma": (None, {"gamma": None}, InputError, "gamma=None is neither a number"),
    "a device": (None, {"device": "tpu"}, InputError, "device='tpu' is not known"),
    "block size": (None, {"block_size": 0}, InputError, "block_size=0 is not a whole number"),
    "threads": (None, {"threads": 1.5}, InputError, "threads=1.5 is not a whole number"),
}


@pytest.mark.parametrize(("change", "given", "error", "message"), WRONG.values(), ids=WRONG)
def test_what_is_refused(change, given, error, message):
    X = da.from_array(tied_points("float64"), (50, D))
    arguments = {"labeled": LABELED, "gamma": 1.0} | given
    with pytest.raises(error, match=message):
        gp.measure_influence_dask(change(X) if change else X, **arguments)


def test_a_chunk_that_is_not_what_the_array_says():
    """Rows would have other numbers, and be counted for other points, without a word."""
    X = da.from_array(tied_points("float64"), (40, D))
    filtered = X.map_blocks(lambda block: block[:-1], dtype=X.dtype, chunks=X.chunks)
    with pytest.raises(InputError, match=r"the chunk of X at row \d+ has shape \(39, 11\)"):
        gp.measure_influence_dask(filtered, [0, 1], 1.0)


def test_known_sizes_are_enough():
    points = tied_points("float64")
    X = da.from_array(points, (50, D))
    kept = X[X[:, 0] > 0.0].compute_chunk_sizes()
    expected = in_memory(points[points[:, 0] > 0.0], np.arange(9), GAMMA)
    same_counts(gp.measure_influence_dask(kept, np.arange(9), GAMMA), expected)


def test_without_dask(monkeypatch):
    monkeypatch.setitem(sys.modules, "dask", None)
    with pytest.raises(InputError, match=r"pip install 'gssl-poison\[dask\]'"):
        gp.measure_influence_dask(np.eye(3), [0], 1.0)


def test_importing_it_does_not_import_dask(tmp_path):
    script = (
        "import sys; from gssl_poison import measure_influence_dask; print('dask' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_a_device_that_is_not_there(monkeypatch):
    def no_card():
        raise DeviceError("device='cuda' finds no GPU here")

    monkeypatch.setattr(cuda, "card", no_card)
    X = da.from_array(tied_points("float64"), (40, D))
    with pytest.raises(DeviceError, match="no GPU"):
        gp.measure_influence_dask(X, LABELED, 1.0, device="cuda")


def _blas_threads():
    return {lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"}


def test_blas_keeps_to_one_thread_until_the_last_task_ends(monkeypatch):
    measure, several, seen = distributed.measure_influence, threading.Barrier(2), []

    def measured(prop, **rest):
        several.wait(20.0)  # both are under way
        found = measure(prop, **rest)
        several.wait(20.0)  # both have set and reset a limit of their own
        seen.append(_blas_threads())
        return found

    monkeypatch.setattr(distributed, "measure_influence", measured)
    X = da.from_array(tied_points("float64"), (60, D))
    with (
        threadpool_limits(limits=2, user_api="blas"),
        dask.config.set(scheduler="threads", num_workers=2),
    ):
        gp.measure_influence_dask(X, LABELED, 1.0)
        assert seen == [{1}, {1}]
        assert _blas_threads() == {2}


def test_seconds_are_those_of_the_clock():
    started = time.perf_counter()
    X = da.from_array(tied_points("float64"), (10, D))
    found = gp.measure_influence_dask(X, LABELED, 1.0)
    assert 0.0 < found.seconds <= time.perf_counter() - started
