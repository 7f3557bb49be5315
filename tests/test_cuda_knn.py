"""Neighbours as the GPU finds them, by the kernel's own source on the CPU, against the CPU's."""

from __future__ import annotations

import importlib.machinery
import re
import shutil
import subprocess
import sys
import types
from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp
from cuda_on_cpu import KERNELS, ORDERS, DeviceArray, ShimCard, build

from gssl_poison import knn, knn_graph, neighbours
from gssl_poison.exceptions import DeviceError, InputError
from gssl_poison.kernels import cuda, cuda_neighbours
from gssl_poison.kernels.cuda_neighbours import MOST, nearest_on_card

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ here")


@pytest.fixture(scope="module")
def folder(kernel_folder):
    return kernel_folder


@pytest.fixture
def card(folder, monkeypatch):
    """Give the card that `knn_graph` finds."""
    there = ShimCard(folder)
    monkeypatch.setattr(cuda, "card", lambda: there)
    return there


def small_blocks(monkeypatch, rows=37, columns=50):
    monkeypatch.setattr(cuda_neighbours, "_ROWS", rows)
    monkeypatch.setattr(cuda_neighbours, "_COLUMNS", columns)


def distances_of(X, metric="euclidean"):
    """All squared distances as the definition has them, those of a point to itself infinite."""
    X = X.astype(np.float64)
    if metric == "cosine":
        X = X / np.linalg.norm(X, axis=1, keepdims=True)
    squares = np.stack([np.square(X - x).sum(axis=1) for x in X])
    np.fill_diagonal(squares, np.inf)
    return squares


def assert_same(found, expected):
    for name in ("indptr", "indices", "log_data"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert found.bandwidth == expected.bandwidth


# --- the kernel

BARRIER = "__syncthreads();\n        "


def blocks_of(rng, rows, columns):
    """Return what the kernel reads of a block, in 64ths: exact, contracted or not, many alike."""
    dots = rng.integers(-400, 400, (rows, columns)).astype(np.float32) / 64
    squares = rng.integers(0, 99, columns).astype(np.float32) / 64
    norms = rng.integers(0, 8, columns).astype(np.float32) / 8
    dots[:, columns // 2 :: 3] = dots[:, :1]
    squares[columns // 2 :: 3], norms[columns // 2 :: 3] = squares[0], norms[0]
    slack = rng.integers(0, 8, rows).astype(np.float32) / 8
    return dots, squares, norms, slack


def lists_on_cpu(blocks, slack, wanted):
    dots, squares, norms = (np.concatenate(parts, axis=-1) for parts in zip(*blocks, strict=True))
    lows = squares - 2 * dots - slack[:, None] * norms
    order = np.argsort(lows, axis=1, kind="stable")[:, :wanted]
    return np.take_along_axis(lows, order, axis=1), order


def lists_on_gpu(folder, blocks, slack, wanted, order, source=None):
    rows = len(slack)
    lowest = np.full((rows, wanted), np.nan, dtype=np.float32)
    found = np.full((rows, wanted), -1, dtype=np.int32)
    launch, first = build("nearest", folder, source), 0
    for dots, squares, norms in blocks:
        here = squares.size
        sizes = (here, first, wanted, min(first, wanted))
        arguments = (np.ascontiguousarray(dots), squares, norms, slack, *sizes, lowest, found)
        launch((rows,), (128,), arguments, order=order)
        first += here
    return lowest, found


def cut(dots, squares, norms, at):
    """Cut a block into several."""
    ends = [0, *at, squares.size]
    return [(dots[:, a:b], squares[a:b], norms[a:b]) for a, b in pairwise(ends)]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("rows", "columns", "at", "wanted"),
    [
        (1, 1, (), 1),
        (3, 31, (), 31),
        (5, 129, (1, 8), 20),  # lists that are filled by and by
        (2, 1300, (513,), 19),  # several segments
        (2, 700, (300,), MOST),
    ],
)
def test_lists_are_those_of_a_sort(folder, rng, rows, columns, at, wanted, order):
    *block, slack = blocks_of(rng, rows, columns)
    blocks = cut(*block, at)
    lowest, found = lists_on_gpu(folder, blocks, slack, wanted, order)
    expected = lists_on_cpu(blocks, slack, wanted)
    np.testing.assert_array_equal(lowest, expected[0])
    np.testing.assert_array_equal(found, expected[1])
    assert columns < 31 or len(np.unique(lowest[0])) < wanted  # ties are among them


def test_the_kernel_has_the_sizes_that_python_has(folder):
    text = (KERNELS / "nearest.cu").read_text()
    sizes = dict(re.findall(r"#define (\w+) (\d+)", text))
    assert (int(sizes["MOST"]), int(sizes["THREADS"])) == (MOST, cuda_neighbours._THREADS)


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ("a == b && i < j", "a == b && i > j"),
        ("- loose * norms[j]", "- loose"),
        ("fresh_column[at] = first + j;", "fresh_column[at] = j;"),
        ("bool full = have == wanted", "bool full = have > 0"),
        (BARRIER + "const bool full", "const bool full"),
        (BARRIER + "const int fresh", "const int fresh"),
        (BARRIER + "if (t == 0)", "if (t == 0)"),
    ],
)
def test_a_changed_kernel_fails(folder, was, becomes):
    text = (KERNELS / "nearest.cu").read_text()
    assert text.count(was) == 1
    *block, slack = blocks_of(np.random.default_rng(1), 2, 1300)
    for at in (3, 4), (600,):
        blocks = cut(*block, at)
        expected = lists_on_cpu(blocks, slack, 19)
        for order in ORDERS:
            try:
                found = lists_on_gpu(folder, blocks, slack, 19, order, text.replace(was, becomes))
            except RuntimeError:  # threads that part company
                return
            if not all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True)):
                return
    pytest.fail("no test has noticed")


# --- what the card proves


def tight(rng, dtype, n=64, d=12, width=1e-4):
    """Return clusters so tight that products in float32 do not tell their points apart."""
    centers = rng.choice([-1.0, 1.0], (3, d))
    return (centers[rng.integers(0, 3, n)] + width * rng.normal(size=(n, d))).astype(dtype)


def data(kind, rng):
    X = rng.normal(size=(64, 11))
    if kind == "outlier":
        X[40] *= 1e5
    elif kind == "tight":
        X = tight(rng, "float64")
    elif kind == "one feature":
        X = X[:, :1]
    elif kind == "scales":
        X *= np.geomspace(1e-9, 1e9, 11)
    elif kind == "small":
        X *= 1e-130
    elif kind == "large":
        X = 1e136 * X + 1e138
    elif kind == "far":
        X = (X + 300.0).astype(np.float32)
    elif kind == "bytes":
        X = rng.integers(0, 256, (64, 30)).astype(np.uint8)
    elif kind == "sphere":  # all as far from its centre, and nothing there to round
        X = rng.choice([-1.0, 1.0], (27, 11))
        X = np.concatenate([X, -X, np.zeros((10, 11))])
    elif kind == "constant":
        X = np.full((64, 3), 7.0)
    return X


class UnkindCard(ShimCard):
    """A card whose products are off by as much as those of a sum in the worst order may be."""

    def multiply(self, A, B, out):
        A, B = (array.view(np.ndarray).astype(np.float64) for array in (A, B))
        most = (
            A.shape[1] * 2.0**-24 * np.linalg.norm(A, axis=1)[:, None] * np.linalg.norm(B, axis=1)
        )
        signs = np.random.default_rng(2).choice([-1.0, 1.0], most.shape)
        out.view(np.ndarray)[:] = A @ B.T + signs * most


KINDS = (
    *("plain", "outlier", "tight", "one feature", "scales", "small", "large", "far", "bytes"),
    *("sphere", "constant"),
)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_left_out_is_no_nearer_than_is_said(folder, rng, monkeypatch, kind):
    small_blocks(monkeypatch)
    X, k = data(kind, rng), 5
    found = nearest_on_card(UnkindCard(folder, ORDERS[KINDS.index(kind) % 3]), X, 19)
    squares = distances_of(X)
    near = np.sort(squares, axis=1)[:, k - 1]
    rows = np.arange(64)[:, None]
    assert found.candidates.dtype == np.int64
    assert (np.diff(np.sort(found.candidates, axis=1)) > 0).all()  # none of them twice
    squares[rows, found.candidates] = np.inf
    assert (squares.min(axis=1) >= found.beyond).all()
    settled = (near < found.beyond).mean()
    assert settled == 1.0 if kind not in ("tight", "constant") else settled < 1.0


def test_without_the_bound_it_would_be(folder, rng, monkeypatch):
    """Else the data of the test above would prove nothing."""
    begin = cuda_neighbours._Search.__init__

    def careless(self, *given):
        begin(self, *given)
        self.per_product = 0.0

    monkeypatch.setattr(cuda_neighbours._Search, "__init__", careless)
    X = tight(rng, "float64", width=1e-3)
    found = nearest_on_card(UnkindCard(folder), X, 19)
    squares = distances_of(X)
    squares[np.arange(64)[:, None], found.candidates] = np.inf
    assert (squares.min(axis=1) < found.beyond).any()


def test_columns_that_do_not_fit_come_later(folder, rng, monkeypatch):
    X = rng.normal(size=(90, 11)).astype(np.float32)
    whole = nearest_on_card(ShimCard(folder), X, 19)
    small_blocks(monkeypatch, rows=64, columns=23)
    card = ShimCard(folder)
    monkeypatch.setattr(card, "free_memory", lambda: 2 * 41 * (4 * 11 + 8))
    found = nearest_on_card(card, X, 19)
    # Parts of 41, 41 and 8 columns: a block each to place, and two of rows that ask.
    assert card.launched.count("nearest") == 2 * (2 + 2 + 1)
    assert card.launched.count("center_rows") == 3 * (1 + 2)
    np.testing.assert_array_equal(found.candidates, whole.candidates)
    np.testing.assert_allclose(found.beyond, whole.beyond, rtol=1e-5)


# --- graphs


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
@pytest.mark.parametrize(("n", "d"), [(12, 20), (40, 3), (120, 20)])
def test_graphs_are_those_of_the_exact_search(card, rng, monkeypatch, n, d, dtype, metric):
    small_blocks(monkeypatch)
    X = 60.0 * rng.normal(size=(n, d)) + 125.0
    X = np.clip(X, 1.0, 255.0).astype(dtype)
    X[5] = X[n - 3]  # duplicates, of which there are no more than any search would hold
    X[7] = X[8] = X[1]
    how = {"metric": metric, "symmetrize": n != 40}
    found = knn_graph(X, 6, method="cuda", **how)
    assert_same(found, knn_graph(X, 6, method="exact", **how))
    assert card.launched.count("nearest") == (12 if n == 120 else 2 if n == 40 else 1)
    assert found.source == "cuda brute"


@pytest.mark.parametrize("order", ORDERS)
def test_the_order_of_threads_changes_nothing(folder, monkeypatch, rng, order):
    monkeypatch.setattr(cuda, "card", lambda: ShimCard(folder, order))
    X = rng.integers(0, 3, (60, 5)).astype(np.uint8)  # ties everywhere
    found = knn_graph(X, 6, 0.1, method="cuda", symmetrize=False)
    monkeypatch.setattr(cuda, "card", lambda: ShimCard(folder))
    assert_same(found, knn_graph(X, 6, 0.1, method="cuda", symmetrize=False))


@pytest.mark.parametrize("dtype", ["uint8", "float64"])
def test_of_equally_far_points_the_lower_indices_are_kept(card, rng, dtype):
    X = np.repeat(rng.integers(0, 99, (6, 15)), 12, axis=0)[rng.permutation(72)].astype(dtype)
    found = knn_graph(X, 5, 1.0, method="cuda", symmetrize=False)
    nearest = np.argsort(distances_of(X), axis=1, kind="stable")[:, :5]
    np.testing.assert_array_equal(found.indices.reshape(72, 5), np.sort(nearest, axis=1))
    np.testing.assert_array_equal(found.log_data, 0.0)
    assert found.source == "cuda brute"


def test_more_duplicates_than_a_list_holds_are_searched_for_again(card, rng):
    X = rng.normal(size=(80, 15))
    X[20:50] = X[20] + 50.0  # nobody's neighbours but each other's
    found = knn_graph(X, 5, 1.0, method="cuda", symmetrize=False)
    assert_same(found, knn_graph(X, 5, 1.0, method="exact", symmetrize=False))
    assert found.source == "cuda brute, 30 rows in doubt by exact brute"


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_that_float32_cannot_tell_are_searched_for_again(card, rng, dtype, metric):
    X = tight(rng, dtype, width=1e-5)
    found = knn_graph(X, 5, method="cuda", metric=metric)
    assert_same(found, knn_graph(X, 5, method="exact", metric=metric))
    assert re.fullmatch(r"cuda brute, \d+ rows in doubt by exact brute", found.source)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("near_enough", [True, False])
def test_a_row_is_in_doubt_where_others_may_be_as_near(monkeypatch, metric, near_enough):
    """Point 0 is as far from 1 as from 2, and the search has not seen 1."""
    X = np.array([[1.0, 0.0], [1.0, 1.0], [1.0, -1.0], [-1.0, 0.5]])
    apart = distances_of(X, metric)[0, 2]
    beyond = np.array([apart if near_enough else apart * (1 + 1e-15), 9.0, 9.0, 9.0])
    candidates = np.array([[0, 2], [1, 0], [2, 0], [1, 3]])
    given = neighbours.Found(candidates, "a search", beyond)
    monkeypatch.setattr(knn, "search", lambda *_: given)
    graph = knn_graph(X, 1, 1.0, metric=metric, symmetrize=False)
    assert graph.indices.tolist() == [1 if near_enough else 2, 0, 0, 1]
    assert ("1 rows in doubt" in graph.source) == near_enough


@pytest.mark.parametrize("method", ["cuda", "cuvs"])
@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (np.array, {"metric": "manhattan"}, "does not search with manhattan; use method='exact'"),
        (np.array, {"metric": "chebyshev"}, "does not search with chebyshev"),
        (sp.csr_array, {}, "does not search with sparse X"),
    ],
)
def test_other_metrics_and_sparse_points_are_refused(card, rng, method, make, arguments, message):
    with pytest.raises(InputError, match=f"method='{method}' {message}"):
        knn_graph(make(rng.random((20, 4))), 3, method=method, **arguments)


def test_what_a_list_cannot_hold_is_refused(card, rng, monkeypatch):
    X = rng.random((260, 2))
    assert knn_graph(X[:7], 6, method="cuda").source == "cuda brute"  # all there are
    assert_same(knn_graph(X, 247, method="cuda"), knn_graph(X, 247, method="exact"))
    with pytest.raises(InputError, match=r"n_neighbors=248 is more than .* keeps, 247; use"):
        knn_graph(X, 248, method="cuda")
    monkeypatch.setattr(cuda_neighbours, "MOST_FEATURES", 1)
    with pytest.raises(InputError, match=r"X has 2 features, and method='cuda' takes 1 at the"):
        knn_graph(X, 5, method="cuda")


def test_without_a_card_it_says_what_is_missing(rng, monkeypatch):
    def missing():
        raise DeviceError("no card")

    monkeypatch.setattr(cuda, "card", missing)
    install(monkeypatch, "cuvs")
    for method in ("cuda", "cuvs"):
        with pytest.raises(DeviceError, match="no card"):
            knn_graph(rng.random((20, 4)), 3, method=method)


def test_auto_never_chooses_a_card(rng, monkeypatch):
    install(monkeypatch, "cuvs")
    monkeypatch.setattr(neighbours, "_EXACT_STEPS", 1)
    find = neighbours.find_spec
    known = ("pynndescent", "faiss")
    monkeypatch.setattr(neighbours, "find_spec", lambda m: None if m in known else find(m))
    assert knn_graph(rng.random((30, 12)), 4).source == "exact brute"


def test_the_way_to_the_card_needs_no_numba():
    code = "import sys, gssl_poison.kernels.cuda_neighbours; print('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# --- cuVS, by a stand-in


def install(monkeypatch, name, **contents):
    """Put a module of this name where imports find it, and say that it is installed."""
    module = types.ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    module.__dict__.update(contents, __version__="0.0")
    monkeypatch.setitem(sys.modules, name, module)


class BruteForce:
    """cuVS's, which answers in no order, with too few for some and with numbers of no point."""

    def __init__(self):
        self.asked = []

    def build(self, dataset, metric="sqeuclidean"):
        assert isinstance(dataset, DeviceArray)
        assert (dataset.dtype, metric) == (np.float32, "sqeuclidean")
        assert dataset.flags.c_contiguous
        return np.array(dataset)

    def search(self, index, queries, k):
        assert isinstance(queries, DeviceArray)
        self.asked.append((len(queries), k))
        squares = np.square(np.array(queries)[:, None] - index[None]).sum(axis=2)
        found = np.argsort(squares, axis=1)[:, :k][:, ::-1].astype(np.int64)
        found[::3, :-2] = len(index)
        found[1::3, :2] = -1
        return squares.view(DeviceArray), found.view(DeviceArray)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_candidates_of_cuvs_are_measured_and_completed(card, rng, monkeypatch, metric, dtype):
    library = BruteForce()
    install(monkeypatch, "cuvs")
    install(monkeypatch, "cuvs.neighbors")
    install(monkeypatch, "cuvs.neighbors.brute_force", build=library.build, search=library.search)
    monkeypatch.setattr(neighbours, "_CUVS_ROWS", 40)
    X = (255.0 * rng.random((90, 12))).astype(dtype)
    found = knn_graph(X, 5, metric=metric, method="cuvs")
    assert_same(found, knn_graph(X, 5, metric=metric, method="exact"))
    assert found.source == "cuvs 0.0"
    assert library.asked == [(40, 26), (40, 26), (10, 26)]


def test_cuvs_that_is_not_installed_is_asked_for(rng, monkeypatch):
    monkeypatch.setattr(neighbours, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"pip install cuvs-cu13` \(or cuvs-cu12, by the driver\)"):
        knn_graph(rng.random((20, 4)), 3, method="cuvs")
