"""Every propagator on every graph, against arithmetic that neither rounds nor underflows."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
from exact import (
    as_floats,
    exact_direct,
    exact_harmonic,
    exact_leave_one_out,
    exact_loop,
    exact_spreading,
    exact_weights,
    shares_of,
)
from scipy.sparse import csr_array

from gssl_poison import (
    DenseGraph,
    Direct,
    Harmonic,
    InputError,
    InputTypeError,
    NumericalError,
    Propagation,
    RBFGraph,
    SparseGraph,
    Spreading,
    UnreachedError,
    knn_graph,
    parse_propagator,
)

N, LABELED = 14, [9, 2, 6, 11]


def points():
    return np.random.default_rng(3).normal(size=(N, 2))


def ring(directed):
    """Log-weights of a ring with chords: several hops from label to label."""
    rng = np.random.default_rng(4)
    log_weights = np.full((N, N), -np.inf)
    for i in range(N):
        for step in (1, 2) if directed else (1,):
            log_weights[i, (i + step) % N] = -5 * rng.random()
    if not directed:
        log_weights = np.maximum(log_weights, log_weights.T)
    log_weights[3, 3] = 0.5  # a self-loop
    return log_weights


def sparse(log_weights):
    rows, columns = np.nonzero(np.isfinite(log_weights))
    indptr = np.searchsorted(rows, np.arange(N + 1))
    return SparseGraph.from_log_weights(indptr, columns, log_weights[rows, columns], N)


GRAPHS = {
    "rbf": lambda: RBFGraph(points(), 1.0),
    "rbf, float32": lambda: RBFGraph(points().astype(np.float32), 1.0),
    "rbf, uint8": lambda: RBFGraph((points() * 20 + 100).astype(np.uint8), 0.004),
    "rbf, csr": lambda: RBFGraph(csr_array(points()), 1.0),
    "rbf, gamma 20": lambda: RBFGraph(points(), 20.0),
    "rbf, gamma 120": lambda: RBFGraph(points(), 120.0),
    "dense": lambda: DenseGraph(np.exp(-np.abs(points() @ points().T))),
    "dense, 1e-300": lambda: DenseGraph.from_log_weights(
        -690.0 * np.square(np.tanh(points() @ points().T))
    ),
    "dense, directed": lambda: DenseGraph(np.random.default_rng(5).random((N, N)) ** 8),
    "dense, ring": lambda: DenseGraph.from_log_weights(ring(directed=False)),
    "sparse ring": lambda: sparse(ring(directed=False)),
    "sparse ring, directed": lambda: sparse(ring(directed=True)),
    "sparse, tiny": lambda: sparse(ring(directed=False) * 3 - 2000.0),
}
PROPAGATORS = [
    "direct",
    "propagation:n_iter=1",
    "propagation:n_iter=2",
    "propagation:n_iter=7",
    "harmonic",
    "harmonic:method=gth",
    "spreading:alpha=0.2,n_iter=6",
    "spreading:alpha=0.8",
    "spreading:alpha=0.95",
    "spreading:alpha=0.3,method=gth",
]


def exact(propagator, W, labeled, states):
    match propagator:
        case Direct():
            return exact_direct(W, labeled, N)
        case Propagation():
            return exact_loop(W, labeled, N, propagator.n_iter)
        case Harmonic():
            return exact_harmonic(W, labeled, N, states)
        case Spreading():
            return exact_spreading(W, labeled, N, propagator.alpha, propagator.n_iter)


@pytest.fixture(scope="module")
def weights():
    """Exact weights of every graph, once."""
    known = {}

    def of(name, graph):
        if name not in known:
            everyone = np.arange(N)
            known[name] = exact_weights(graph.log_weights(everyone, everyone))
        return known[name]

    return of


def eliminated(name):
    """Tell whether Spreading can be eliminated on a graph: a dense and symmetric one."""
    graph = GRAPHS[name]()
    return not isinstance(graph, SparseGraph) and graph.symmetric


def cases(propagators):
    """Return every graph with every propagator that there is for it."""
    return [
        (name, text)
        for name in GRAPHS
        for text in propagators
        if text != "spreading:alpha=0.3,method=gth" or eliminated(name)
    ]


@pytest.mark.parametrize("name", [name for name in GRAPHS if not eliminated(name)])
def test_spreading_refuses_to_eliminate_what_is_sparse_or_directed(name):
    with pytest.raises(InputError, match="dense symmetric graphs only"):
        Spreading(0.3, method="gth").fit(GRAPHS[name](), LABELED)


@pytest.mark.parametrize(("name", "text"), cases(PROPAGATORS))
def test_the_matrix_is_that_of_exact_arithmetic(name, text, weights):
    graph, propagator = GRAPHS[name](), parse_propagator(text)
    states = [i for i in range(N) if i not in LABELED]
    truth = exact(propagator, weights(name, graph), LABELED, states)
    fitted = propagator.fit(graph, LABELED)
    everyone = np.arange(N)
    matrix, shares = fitted.matrix(everyone), fitted.shares(everyone)
    # Sparse solves are certified in absolute terms; eliminations and loops are right by entries.
    loose = 1e-9 if fitted.method in ("cg", "lu") else 0.0
    np.testing.assert_allclose(matrix, as_floats(truth), rtol=1e-9, atol=max(loose, 1e-300))
    np.testing.assert_allclose(shares, shares_of(truth), rtol=1e-9, atol=max(loose, 1e-290))
    unreached = np.flatnonzero(shares_of(truth).sum(axis=1) == 0.0)
    np.testing.assert_array_equal(fitted.unreached, unreached)


@pytest.mark.parametrize(("name", "text"), cases(PROPAGATORS))
def test_apply_adjoint_and_rows_are_one_matrix(name, text, rng):
    graph, propagator = GRAPHS[name](), parse_propagator(text)
    fitted = propagator.fit(graph, LABELED)
    everyone = np.arange(N)
    M = fitted.matrix(everyone)
    assert (-fitted.error <= M).all()
    for n_classes in (1, 2, 3, 11):
        Y, R = rng.random((len(LABELED), n_classes)), rng.normal(size=(N, n_classes))
        np.testing.assert_allclose(fitted.apply(Y), M @ Y, rtol=1e-9, atol=1e-9)
        # A sparse solve is certified by the size of R.
        np.testing.assert_allclose(fitted.adjoint(R), M.T @ R, rtol=1e-9, atol=1e-8)
    np.testing.assert_allclose(fitted.matrix([3, 9, 0]), M[[3, 9, 0]], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(fitted.matrix(), M[fitted.unlabeled], rtol=1e-9, atol=1e-9)
    Y = np.eye(3)[[0, 1, 2, 0]]
    normalized = fitted.apply(Y, normalized=True)
    np.testing.assert_allclose(normalized, fitted.shares(everyone) @ Y, rtol=1e-9, atol=1e-9)


# Those that offer it: all but the clamped loop.
LEAVE_ONE_OUT = ["direct", *PROPAGATORS[4:]]


@pytest.mark.parametrize(("name", "text"), cases(LEAVE_ONE_OUT))
def test_leave_one_out_is_that_of_a_new_fit(name, text, weights):
    graph, propagator = GRAPHS[name](), parse_propagator(text)
    W = weights(name, graph)

    def refit(rest):
        return exact(propagator, W, rest, [i for i in range(N) if i not in rest])

    told = propagator.fit(graph, LABELED).leave_one_out()
    np.testing.assert_allclose(told, exact_leave_one_out(refit, LABELED), rtol=1e-8, atol=1e-8)
    assert (np.diag(told) == 0.0).all()


@pytest.mark.parametrize("labeled", [LABELED, [0, 13], [7, 1, 12, 3, 8, 10, 5]], ids=len)
@pytest.mark.parametrize(
    ("name", "text"), cases([*LEAVE_ONE_OUT, "direct:normalization=column-row"])
)
def test_leaving_out_every_label_is_as_many_refits(name, text, labeled):
    graph, propagator = GRAPHS[name](), parse_propagator(text)
    if isinstance(propagator, Harmonic):
        propagator = replace(propagator, unreached="leave")
    told = propagator.fit(graph, labeled).leave_one_out()
    for j, point in enumerate(labeled):
        rest = np.delete(np.arange(len(labeled)), j)
        refitted = propagator.fit(graph, np.array(labeled)[rest])
        np.testing.assert_allclose(told[j, rest], refitted.shares([point])[0], rtol=1e-8, atol=1e-8)
        assert told[j, j] == 0.0


def test_removing_a_label_is_the_formula_of_the_harmonic_solution():
    graph = RBFGraph(points(), 2.0)
    fitted = Harmonic().fit(graph, LABELED)
    told, M = fitted.leave_one_out(), fitted.matrix(np.arange(N))
    rest = [1, 2, 3]
    without = Harmonic().fit(graph, np.array(LABELED)[rest]).matrix(np.arange(N))
    np.testing.assert_allclose(M[:, rest] + np.outer(M[:, 0], told[0, rest]), without, rtol=1e-9)


@pytest.mark.parametrize("storage", ["auto", "triangle", "free"])
@pytest.mark.parametrize("name", ["rbf", "dense", "sparse ring"])
def test_a_loop_of_fixed_length_refuses_to_leave_a_label_out(name, storage):
    fitted = Propagation(3, storage=storage).fit(GRAPHS[name](), LABELED)
    for form in (fitted, fitted.stored()):
        with pytest.raises(InputError, match="fit it anew"):
            form.leave_one_out()


def test_points_that_no_label_reaches_are_named_or_left():
    log_weights = np.full((N, N), -np.inf)
    for i in range(0, N, 2):
        log_weights[i, (i + 2) % N] = log_weights[(i + 2) % N, i] = -1.0
    graph = sparse(log_weights)
    with pytest.raises(UnreachedError, match=r"points 1, 3, 5, 7, 9, 11, 13; .*unreached='leave'"):
        Harmonic().fit(graph, [0, 2])
    for method in ("auto", "gth"):
        fitted = Harmonic(unreached="leave", method=method).fit(graph, [0, 2])
        np.testing.assert_array_equal(fitted.unreached, [1, 3, 5, 7, 9, 11, 13])
        F = fitted.apply(np.eye(2))
        assert (F[1::2] == 0.0).all()
        np.testing.assert_allclose(F[::2].sum(axis=1), 1.0, rtol=1e-12)


def test_labels_and_weights_are_checked():
    fitted = Direct().fit(RBFGraph(points(), 1.0), LABELED)
    with pytest.raises(InputError, match=r"shape \(3, 2\); give one row for each of the 4"):
        fitted.apply(np.ones((3, 2)))
    with pytest.raises(InputError, match="not finite"):
        fitted.apply(np.full((4, 2), np.nan))
    with pytest.raises(InputError, match="non-negative labels only"):
        fitted.apply(-np.ones((4, 2)), normalized=True)
    with pytest.raises(InputError, match="for each of the 14 points"):
        fitted.adjoint(np.ones((4, 2)))
    with pytest.raises(InputError, match="all points are labelled"):
        Harmonic().fit(RBFGraph(points(), 1.0), np.arange(N))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no propagator"),
        ("harmonics", "names no propagator"),
        ("propagation", "needs its number of iterations"),
        ("propagation:n_iter=ten", "not a number of the kind"),
        ("propagation:n_iter=0", "positive whole number"),
        ("propagation:n_iter=3,n_iter=4", "given twice"),
        ("spreading:alpha=1.5", "between 0 and 1"),
        ("spreading:alpha=nan", "between 0 and 1"),
        ("spreading:beta=1", "no setting of spreading"),
        ("spreading:alpha", "no setting of spreading"),
        ("spreading:n_iter=3,method=gth", "one of the two"),
        ("harmonic:tol=0", "between 0 and 1"),
        ("harmonic:method=lu", "not known"),
        ("harmonic:unreached=no", "not known"),
        ("direct:normalization=x", "not known"),
    ],
)
def test_a_string_that_names_no_propagator_says_why(text, message):
    with pytest.raises(InputError, match=message):
        parse_propagator(text)


def test_strings_name_propagators():
    assert parse_propagator("direct") == Direct()
    assert parse_propagator(" propagation:n_iter=10 ") == Propagation(10)
    assert parse_propagator("spreading: alpha=0.2, n_iter=10") == Spreading(0.2, 10)
    assert parse_propagator("harmonic:unreached=leave") == Harmonic(unreached="leave")


# What a reviewer broke once, kept unbroken.


def test_one_outlier_does_not_cost_the_others_their_digits():
    X = np.array([[0.0], [0.2], [0.5], [1.0], [1e8]])
    W = exact_weights(-np.square(X - X.T))
    expected = as_floats(exact_harmonic(W, [0, 3, 4], 5, [1, 2]))
    for propagator in (Harmonic(), Harmonic(method="gth")):
        M = propagator.fit(RBFGraph(X, 1.0), [0, 3, 4]).matrix(np.arange(5))
        np.testing.assert_allclose(M, expected, rtol=1e-9, atol=1e-12)


def test_what_the_others_say_is_never_the_noise_of_a_solver():
    """Three clusters that hardly meet: leaving a label out asks for what little does get across."""
    rng = np.random.default_rng(0)
    size = 12
    for link in (1e-3, 1e-8, 1e-11):
        W = np.zeros((3 * size, 3 * size))
        for c in range(3):
            part = slice(c * size, (c + 1) * size)
            W[part, part] = rng.random((size, size))
        W[1, size + 1], W[2, 2 * size + 2] = link, 3 * link
        W = np.triu(W, 1) + np.triu(W, 1).T
        labeled = [0, size, 2 * size]
        expected = Harmonic(method="gth").fit(DenseGraph(W), labeled).leave_one_out()
        fitted = Harmonic().fit(SparseGraph(csr_array(W)), labeled)
        if link < 1e-3 and fitted.method == "cg":
            with pytest.raises(NumericalError, match="returns to it before"):
                fitted.leave_one_out()
            continue
        told = fitted.leave_one_out()
        np.testing.assert_allclose(told, expected, rtol=1e-5)


def test_spreading_on_a_directed_graph_leaves_float64_with_an_error_only():
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(size=(30, 2)), 40.0 + rng.normal(size=(3, 2))])
    graph = knn_graph(X, 3, gamma=1.0, symmetrize=False)
    for n_iter in (10, None):
        try:
            F = Spreading(0.2, n_iter).fit(graph, [0, 31]).apply(np.eye(2))
        except NumericalError:
            continue
        assert np.isfinite(F).all()


def test_scores_below_float64_are_refused_and_not_called_unreached():
    X = np.concatenate([np.linspace(0, 1, 10), np.linspace(60, 61, 10)])[:, None]
    for storage in ("triangle", "free"):
        fitted = Spreading(0.2, storage=storage).fit(RBFGraph(X, 1.0), [0, 3])
        with pytest.raises(NumericalError, match="too small for float64"):
            fitted.shares()


def test_the_series_ends_when_every_score_stands_still():
    n = 300
    path = csr_array((np.ones(n - 1), (np.arange(n - 1), np.arange(1, n))), shape=(n, n))
    graph = SparseGraph(path + path.T)
    dense = DenseGraph((path + path.T).toarray())
    series = Spreading(0.9).fit(graph, [0, n - 1])
    expected = Spreading(0.9, method="gth").fit(dense, [0, n - 1])
    rows = np.arange(n)
    np.testing.assert_allclose(series.matrix(rows), expected.matrix(rows), rtol=1e-9)
    with pytest.raises(InputError, match="use a smaller alpha"):
        Spreading(0.9999999).fit(graph, [0])


def test_labels_of_any_size_are_spread():
    fitted = Spreading(0.2).fit(RBFGraph(points(), 1.0), LABELED)
    Y = np.array([[1e8, 1e-300], [0.0, 0.0], [1.0, 0.0], [0.0, 1e-300]])
    np.testing.assert_allclose(fitted.apply(Y), fitted.matrix(np.arange(N)) @ Y, rtol=1e-9)


@pytest.mark.parametrize("text", PROPAGATORS)
def test_a_fitted_propagator_travels_to_another_process(text):
    for name in ("rbf", "sparse ring"):
        graph, propagator = GRAPHS[name](), parse_propagator(text)
        if isinstance(graph, SparseGraph) and "method=gth" in text and "spread" in text:
            continue
        fitted = propagator.fit(graph, LABELED)
        again = pickle.loads(pickle.dumps(fitted))  # noqa: S301 - our own bytes
        np.testing.assert_array_equal(again.matrix([0, 1]), fitted.matrix([0, 1]))


def test_what_is_no_graph_or_number_is_refused_in_words():
    with pytest.raises(InputTypeError, match="make an RBFGraph, DenseGraph or SparseGraph"):
        Harmonic().fit(points(), LABELED)
    with pytest.raises(InputError, match=r"alpha='0\.2'"):
        Spreading("0.2")
    with pytest.raises(InputError, match="tol='a'"):
        Harmonic(tol="a")


def test_where_nothing_is_reached_everything_is_left():
    graph = SparseGraph(csr_array((N, N)))
    fitted = Harmonic(unreached="leave").fit(graph, LABELED)
    assert fitted.unreached.size == N - len(LABELED)
    assert (fitted.matrix() == 0.0).all()
    assert (fitted.leave_one_out() == 0.0).all()
