"""Elimination without subtraction, against arithmetic in hundreds of digits."""

from __future__ import annotations

from itertools import permutations

import mpmath
import numpy as np
import pytest
from exact import as_floats, exact_harmonic, exact_weights

from gssl_poison import DenseGraph, Harmonic, NumericalError, RBFGraph
from gssl_poison.elimination import DenseChain, check_rows_of, fill_chain, solve_chain
from gssl_poison.kernels import gth
from gssl_poison.kernels.blas import add_product

U, T = 30, 4


def weights(rng, lowest):
    """Symmetric weights between exp(lowest) and 1, as likely in every decade."""
    log_weights = np.triu(lowest * rng.random((U + T, U + T)), 1)
    return np.exp(log_weights + log_weights.T)


def absorbed(W, block):
    """Absorption probabilities by the kernel, from plain weights."""
    A = np.ldexp(W[:U, :U], 800)
    B = np.zeros((U, gth.EXTRA + T))
    B[:, gth.EXTRA :] = np.ldexp(W[:U, U:], 800)
    B[:, gth.LEAVE] = B[:, gth.EXTRA :].sum(axis=1)
    gth.eliminate(A, B, block)
    solution, lost = gth.solve(A, B, block)
    return np.ldexp(solution, -gth.SOLVED), lost


def exactly_absorbed(W):
    """The same in 700 digits, from the same weights."""
    with mpmath.workdps(700):
        A, B = mpmath.zeros(U, U), mpmath.zeros(U, T)
        for i in range(U):
            degree = sum(mpmath.mpf(W[i, j]) for j in range(U + T) if j != i)
            for j in range(U):
                A[i, j] = 1 if i == j else -mpmath.mpf(W[i, j]) / degree
            for k in range(T):
                B[i, k] = mpmath.mpf(W[i, U + k]) / degree
        X = mpmath.inverse(A) * B
        return [[X[i, k] for k in range(T)] for i in range(U)]


def largest_relative_error(M, truth):
    with mpmath.workdps(50):
        return max(
            float(abs(mpmath.mpf(float(M[i, k])) / truth[i][k] - 1))
            for i in range(U)
            for k in range(T)
        )


@pytest.mark.parametrize("lowest", [-1.0, -40.0, -690.0])
@pytest.mark.parametrize("block", [1, 7, 16, 192])
def test_every_entry_keeps_its_relative_accuracy(lowest, block, rng, record_property):
    W = weights(rng, lowest)
    M, lost = absorbed(W, block)
    truth = exactly_absorbed(W)
    error = largest_relative_error(M, truth)
    record_property("entrywise relative error", error)
    assert error < 1e-13
    assert (lost < 1e-200).all()
    if lowest == -690.0:
        assert M.min() < 1e-20


def test_entries_of_1e_145_are_right(rng):
    W = weights(rng, -690.0)
    W[:, U] *= 1e-150
    W[U] *= 1e-150
    M, _ = absorbed(W, 8)
    assert 0.0 < M[:, 0].min() < 1e-145
    assert largest_relative_error(M, exactly_absorbed(W)) < 1e-13


def test_the_order_of_elimination_does_not_matter(rng):
    W = weights(rng, -690.0)
    order = np.concatenate([rng.permutation(U), np.arange(U, U + T)])
    M = absorbed(W, 16)[0]
    np.testing.assert_allclose(absorbed(W[np.ix_(order, order)], 16)[0], M[order[:U]], rtol=1e-13)


def test_a_missing_term_is_noticed(rng, monkeypatch):
    """The check of an elimination can fail: drop the flow through one block of states."""
    graph = DenseGraph(weights(rng, -3.0))
    labeled = np.arange(U, U + T)

    def solve_with(add):
        monkeypatch.setattr(gth, "add_product", add)
        monkeypatch.setattr(gth.eliminate, "__defaults__", (8, None))
        monkeypatch.setattr(gth.solve, "__defaults__", (8, None))
        return Harmonic(method="gth").fit(graph, labeled)

    assert solve_with(add_product).method == "gth"

    def misses_the_first_row(C, A, B):
        add_product(C[1:], A[1:], B)

    with pytest.raises(NumericalError, match="componentwise residual"):
        solve_with(misses_the_first_row)

    def transposed(C, A, B):
        if C.shape[0] == C.shape[1]:
            C += (A @ B).T
        else:
            add_product(C, A, B)

    with pytest.raises(NumericalError):
        solve_with(transposed)


@pytest.mark.parametrize("row", [0, 17, U - 1])
def test_the_check_sees_one_row_that_is_mixed_up(row, rng):
    W = weights(rng, -40.0)
    graph = DenseGraph(W)
    M = absorbed(W, 16)[0]
    everyone = np.arange(U + T)

    def rows_of(rows):
        return graph.log_weights(rows, everyone)

    assert check_rows_of(rows_of, np.arange(U), M)[0] < 1e-12
    M[row] = M[row, ::-1]
    with pytest.raises(NumericalError, match="please report it"):
        check_rows_of(rows_of, np.arange(U), M)


def test_walks_that_leave_with_a_probability_below_float64_are_refused():
    """Two points so near one another, and so far from all else, that no scale holds both."""
    X = np.array([[0.0], [1e-3], [60.0], [61.0]])
    with pytest.raises(NumericalError, match=r"near point [01] .* smaller gamma"):
        Harmonic().fit(RBFGraph(X, 1.0), [2, 3])
    # A ratio of exp(-576) is held.
    X[2:] = [[24.0], [24.5]]
    M = Harmonic().fit(RBFGraph(X, 1.0), [2, 3]).matrix()
    exact = 1.0 / (1.0 + np.exp(-(24.5**2 - 24.0**2)))
    np.testing.assert_allclose(M[0, 0], exact, rtol=1e-6)


@pytest.mark.parametrize("gamma", [0.5, 2.0, 5.0, 20.0])
@pytest.mark.parametrize("gap", [3.0, 6.0, 7.3])
def test_no_order_of_points_gives_a_wrong_answer(gamma, gap):
    """Pairs on a line that hardly leave each other: right in every order, or refused."""
    X = np.array([0.0, 0.01, gap, gap + 0.01, 2 * gap + 0.01])
    truth = exact_harmonic(
        exact_weights(-gamma * np.square(X[:, None] - X)), [0, 4], 5, states=[1, 2, 3]
    )
    answers = 0
    for order in permutations(range(1, 4)):
        points = np.array([0, *order, 4])
        try:
            M = Harmonic().fit(RBFGraph(X[points, None], gamma), [0, 4]).matrix(np.arange(5))
        except NumericalError:
            continue
        answers += 1
        np.testing.assert_allclose(M, as_floats(truth)[points], rtol=1e-6, atol=1e-300)
    assert answers == 6 or gamma * gap**2 > 700.0


def test_what_underflow_takes_is_counted():
    """A chain whose way out is a weight that float64 has rounded to zero is not answered."""
    log_weights = np.full((4, 4), -np.inf)
    log_weights[0, 1] = log_weights[1, 0] = 0.0
    log_weights[0, 2] = log_weights[2, 0] = -1360.0
    log_weights[1, 3] = log_weights[3, 1] = -1366.0
    with pytest.raises(NumericalError, match="float64"):
        Harmonic(method="gth").fit(DenseGraph.from_log_weights(log_weights), [2, 3])


def test_cholesky_is_taken_where_it_is_safe_and_agrees(rng):
    X = rng.random((60, 3))
    graph = RBFGraph(X, 0.5)
    fitted = Harmonic().fit(graph, np.arange(20))
    assert fitted.method == "cholesky"
    np.testing.assert_allclose(
        fitted.matrix(), absorbed_of(graph, np.arange(20)), rtol=0, atol=1e-12
    )
    assert Harmonic().fit(RBFGraph(X, 500.0), np.arange(20)).method == "gth"


def absorbed_of(graph, labeled):
    """Harmonic M by numpy's LU, where nothing cancels."""
    n = graph.n_points
    W = graph.weights(np.arange(n), np.arange(n))
    np.fill_diagonal(W, 0.0)
    L = np.diag(W.sum(axis=1)) - W
    others = np.setdiff1d(np.arange(n), labeled)
    return np.linalg.solve(L[np.ix_(others, others)], W[np.ix_(others, labeled)])


def test_the_elimination_agrees_with_elimination_by_subtraction_where_nothing_cancels(rng):
    graph = RBFGraph(rng.random((300, 3)), 3.0)
    labeled = np.arange(0, 300, 10)
    everyone = np.concatenate([np.setdiff1d(np.arange(300), labeled), labeled])
    states = everyone[:270]
    chain = fill_chain(lambda rows: graph.log_weights(rows, everyone), states, 30)
    assert isinstance(chain, DenseChain)
    solution = solve_chain(chain, symmetric=False, name=str)
    assert solution.method == "gth"
    M = np.ldexp(solution.value, -solution.exponent)
    np.testing.assert_allclose(M, absorbed_of(graph, labeled), rtol=1e-9)


def test_blocks_are_added_in_place():
    rng = np.random.default_rng(0)
    C, A, B = rng.random((7, 9)), rng.random((7, 5)), rng.random((6, 9))
    expected = C.copy()
    expected[2:6, 1:8] += A[1:5, 1:4] @ B[2:5, 2:9]
    add_product(C[2:6, 1:8], A[1:5, 1:4], B[2:5, 2:9])
    np.testing.assert_allclose(C, expected, rtol=1e-14)
    expected[:7, 2:6] += A[:, 1:4] @ B[1:5, 3:6].T
    add_product(C[:, 2:6], A[:, 1:4], B[1:5, 3:6].T)
    np.testing.assert_allclose(C, expected, rtol=1e-14)
    add_product(C[:1, :], A[:1, :0], B[:0])
    add_product(C[:1, :2], A[:1, :3], B[:3, :2])
    expected[:1, :2] += A[:1, :3] @ B[:3, :2]
    np.testing.assert_allclose(C, expected, rtol=1e-14)
    with pytest.raises(ValueError, match="do not give"):
        add_product(C, A, B)
    with pytest.raises(TypeError, match="C-ordered"):
        add_product(C.T, A, B)
