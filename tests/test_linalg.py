"""Sparse absorbing chains: right answers by every method, in any number of columns and threads."""

from __future__ import annotations

import pickle
from unittest import mock

import numpy as np
import pytest
from chains import KIND_IDS, KINDS, dense, exact, kind_of, largest_error
from scipy.sparse import csr_array, diags_array, eye_array
from scipy.sparse.linalg import cg

from gssl_poison import linalg
from gssl_poison.exceptions import InputError
from gssl_poison.kernels import chain as sparse_chain
from gssl_poison.kernels import csr
from gssl_poison.linalg import AbsorbingSystem

DIRECTED = ("lu", "bicgstab")


@pytest.mark.parametrize("n_columns", [1, 3])
@pytest.mark.parametrize("n", [4, 40])
@pytest.mark.parametrize(("symmetric", "method"), KINDS, ids=KIND_IDS)
def test_solutions_are_within_their_bound_of_the_exact_ones(symmetric, method, n, n_columns):
    w, system = kind_of(symmetric, method, n)
    B = w.B[:, 0] if n_columns == 1 else w.B[:, :n_columns]
    found = system.solve(B)
    assert found.value.shape == B.shape
    assert found.converged
    assert largest_error(found.value, exact(w.P, w.leak, B)) <= found.bound <= 1e-10


@pytest.mark.parametrize("n_columns", [1, 3])
@pytest.mark.parametrize("n", [4, 40])
@pytest.mark.parametrize(("symmetric", "method"), KINDS, ids=KIND_IDS)
def test_adjoint_solutions_are_within_their_bound_of_the_exact_ones(
    symmetric, method, n, n_columns
):
    w, system = kind_of(symmetric, method, n)
    R = np.random.default_rng(1).normal(size=(w.m, n_columns))
    found = system.solve_adjoint(R)
    assert found.converged
    error = np.abs(found.value - exact(w.P, w.leak, R, transpose=True))
    mass = (w.leak[:, None] * error).sum(axis=0).max()
    assert mass <= found.bound <= 1e-10 * np.abs(R).sum(axis=0).max()


@pytest.mark.parametrize(("symmetric", "method"), KINDS, ids=KIND_IDS)
def test_larger_systems_agree_with_a_dense_solve(symmetric, method):
    w, system = kind_of(symmetric, method, 1500)
    B = w.B[:, :9]  # four columns, four columns and one column at a time
    A = dense(w.P, w.leak)
    np.testing.assert_allclose(system.solve(B).value, np.linalg.solve(A, B), rtol=0, atol=1e-10)
    R = np.random.default_rng(0).random((w.m, 7))
    reference = np.linalg.solve(A.T, R)
    np.testing.assert_allclose(system.solve_adjoint(R).value, reference, rtol=1e-7)


@pytest.mark.parametrize(("symmetric", "method"), KINDS, ids=KIND_IDS)
def test_the_adjoint_is_the_adjoint(symmetric, method):
    w, system = kind_of(symmetric, method, 300)
    rng = np.random.default_rng(2)
    B, R = rng.normal(size=(w.m, 2)), rng.normal(size=(w.m, 3))
    left = system.solve(B).value.T @ R
    np.testing.assert_allclose(left, B.T @ system.solve_adjoint(R).value, rtol=1e-8)


@pytest.mark.parametrize(("symmetric", "method"), KINDS, ids=KIND_IDS)
def test_every_walk_is_absorbed_somewhere(symmetric, method):
    w, system = kind_of(symmetric, method, 300)
    found = system.solve(w.leak)
    assert np.abs(found.value - 1.0).max() <= found.bound <= 1e-10
    visits = system.solve_adjoint(np.eye(w.m)[:, :2])
    assert np.abs(w.leak @ visits.value - 1.0).max() <= visits.bound


@pytest.mark.parametrize(("symmetric", "method"), KINDS, ids=KIND_IDS)
def test_hitting_times_are_the_steps_until_absorption(symmetric, method):
    w, system = kind_of(symmetric, method, 300)
    expected = np.linalg.solve(dense(w.P, w.leak), np.ones(w.m))
    np.testing.assert_allclose(system.hitting_time, expected, rtol=0.3)


def test_conjugate_gradients_take_as_many_steps_as_scipys_on_the_symmetric_matrix():
    w, system = kind_of(True, "cg", 1500)
    root = np.exp((w.log_degree - w.log_degree.max()) / 2)
    S = eye_array(w.m) - diags_array(root) @ w.P @ diags_array(1 / root)
    steps = []
    y, info = cg(S, root * w.B[:, 0], rtol=1e-12, callback=lambda _: steps.append(1))
    found = system.solve(w.B[:, 0])
    assert info == 0
    np.testing.assert_allclose(found.value, y / root, atol=1e-10)
    assert abs(found.n_iter - len(steps)) <= 0.1 * len(steps)


def test_self_loops_change_nothing():
    w, system = kind_of(True, "cg", 200)
    stay = np.random.default_rng(0).uniform(0.0, 0.8, w.m)
    P = csr_array(diags_array(stay) + diags_array(1 - stay) @ w.P)
    lazy = AbsorbingSystem(P, (1 - stay) * w.leak, w.log_degree - np.log1p(-stay))
    expected = system.solve(w.B[:, :3]).value
    np.testing.assert_allclose(
        lazy.solve((1 - stay)[:, None] * w.B[:, :3]).value, expected, atol=3e-10
    )
    with_lu = AbsorbingSystem(P, (1 - stay) * w.leak, method="lu")
    R = np.ones(w.m)
    np.testing.assert_allclose(
        with_lu.solve_adjoint(R).value, lazy.solve_adjoint(R).value, rtol=1e-8
    )


# Columns, iterations and threads


def widths_of_products(system, B):
    """Columns of every product of a solve."""
    seen = []
    run = sparse_chain.Team.run

    def spy(team, kernel, *arguments):
        if kernel is csr.multiply:
            seen.append(arguments[4].shape[1])
        run(team, kernel, *arguments)

    with mock.patch.object(sparse_chain.Team, "run", spy):
        found = system.solve(B)
    return found, seen


def test_a_column_of_zeros_is_solved_by_zeros_at_once():
    w, system = kind_of(True, "cg", 300)
    _ = system.hitting_time
    nothing, seen = widths_of_products(system, np.zeros((w.m, 2)))
    assert not seen
    assert not nothing.value.any()
    assert (nothing.bound, nothing.residual, nothing.n_iter) == (0.0, 0.0, 0)
    found, seen = widths_of_products(system, np.column_stack([np.zeros(w.m), w.B[:, 0]]))
    assert set(seen) == {1}
    assert not found.value[:, 0].any()


@pytest.mark.parametrize("log_degree", [np.empty(0), None])
def test_a_system_without_states_has_an_empty_solution(log_degree):
    system = AbsorbingSystem(csr_array((0, 0)), np.empty(0), log_degree)
    assert system.hitting_time.shape == (0,)
    for solve in (system.solve, system.solve_adjoint):
        assert solve(np.empty((0, 3))).value.shape == (0, 3)
        found = solve(np.empty(0))
        assert (found.value.shape, found.converged, found.bound) == ((0,), True, 0.0)


@pytest.mark.parametrize("method", DIRECTED)
def test_zeros_are_solved_by_zeros_by_every_method(method):
    w, system = kind_of(False, method, 60)
    assert not system.solve(np.zeros(w.m)).value.any()
    assert not system.solve_adjoint(np.zeros((w.m, 2))).value.any()


def test_converged_columns_take_no_part_in_further_products():
    # With a constant leak, constants are an eigenvector: one step.
    w, _ = kind_of(True, "cg", 300)
    P = csr_array(diags_array(0.9 / w.P.sum(axis=1)) @ w.P)
    log_degree = w.log_degree + np.log(w.P.sum(axis=1))
    system = AbsorbingSystem(P, np.full(w.m, 0.1), log_degree)
    _ = system.hitting_time
    rough = np.random.default_rng(0).random(w.m)
    B = np.column_stack([np.full(w.m, 0.3), rough, np.full(w.m, 7.0)])
    found, seen = widths_of_products(system, B)
    assert seen[0] == 3
    assert set(seen[3:]) == {1}
    assert len(seen) == found.n_iter > 20
    np.testing.assert_allclose(found.value[:, [0, 2]], [[3.0, 70.0]] * w.m, rtol=1e-12)
    np.testing.assert_array_equal(found.value[:, 1], system.solve(rough).value)


def test_running_out_of_iterations_is_reported_with_an_honest_bound():
    w, system = kind_of(True, "cg", 300)
    B = w.B[:, :3]
    found = system.solve(B, max_iter=5)
    A = dense(w.P, w.leak)
    error = np.abs(found.value - np.linalg.solve(A, B)).max()
    assert not found.converged
    assert found.n_iter == 5
    assert 1e-6 < error <= found.bound < np.inf
    residual = (np.abs(B - A @ found.value).max(axis=0) / B.max(axis=0)).max()
    assert found.residual == pytest.approx(residual, rel=1e-6)
    adjoint = system.solve_adjoint(B, max_iter=5)
    assert not adjoint.converged
    off = np.abs(adjoint.value - np.linalg.solve(A.T, B)) * w.leak[:, None]
    assert 1e-6 < off.sum(axis=0).max() <= adjoint.bound


def test_a_looser_tolerance_takes_fewer_iterations():
    w, system = kind_of(True, "cg", 1500)
    loose, tight = system.solve(w.B[:, 0], tol=1e-4), system.solve(w.B[:, 0])
    assert loose.n_iter < 0.7 * tight.n_iter
    assert tight.bound <= 1e-10 * tight.value.max()
    assert 1e-10 < loose.bound <= 1e-4


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1e30, 1e300])
@pytest.mark.parametrize(("symmetric", "method"), KINDS, ids=KIND_IDS)
def test_right_hand_sides_may_have_any_scale(symmetric, method, scale):
    w, system = kind_of(symmetric, method, 60)
    B = np.column_stack([w.B[:, 0], w.B[:, 1] * scale])
    found = system.solve(B)
    reference = np.linalg.solve(dense(w.P, w.leak), w.B[:, :2])
    np.testing.assert_allclose(found.value[:, 0], reference[:, 0], rtol=0, atol=1e-10)
    np.testing.assert_allclose(found.value[:, 1] / scale, reference[:, 1], rtol=0, atol=1e-10)


def test_many_columns_are_solved_in_batches():
    w, system = kind_of(True, "cg", 200, labels=40)
    found = system.solve(w.B)
    assert w.B.shape[1] == 40 > linalg._BATCH
    np.testing.assert_allclose(
        found.value, np.linalg.solve(dense(w.P, w.leak), w.B), rtol=0, atol=1e-10
    )


def test_threads_change_no_bit(monkeypatch):
    monkeypatch.setattr(sparse_chain, "_FEW_ENTRIES", 0)
    rng = np.random.default_rng(0)
    n = 4500
    W = csr_array((rng.random(5 * n), rng.integers(0, n, (2, 5 * n))), shape=(n, n))
    W = csr_array(W + W.T + diags_array((np.ones(n - 1),) * 2, offsets=(-1, 1)))
    degree = W.sum(axis=1)
    P = csr_array(diags_array(0.99 / degree) @ W)
    B = rng.random((n, 3))
    answers = [
        AbsorbingSystem(P, np.full(n, 0.01), np.log(degree), threads=threads).solve(B)
        for threads in (1, 2, 3)
    ]
    assert answers[0].n_iter == answers[1].n_iter == answers[2].n_iter
    for other in answers[1:]:
        np.testing.assert_array_equal(answers[0].value, other.value)
    chain = AbsorbingSystem(P, np.full(n, 0.01), np.log(degree))._prepared.chain
    team = sparse_chain.Team(chain, 3)
    assert len(team._parts) == 3
    assert team._parts[0][0] == 0
    assert team._parts[-1][1] == 5


@pytest.mark.parametrize(("symmetric", "method"), KINDS, ids=KIND_IDS)
def test_renumbering_is_undone(symmetric, method, monkeypatch):
    w, plain = kind_of(symmetric, method, 200)
    monkeypatch.setattr(linalg, "_LARGEST_UNORDERED", 10)
    _, system = kind_of(symmetric, method, 200)
    assert (system._prepared.order != np.arange(w.m)).any()
    np.testing.assert_allclose(
        system.solve(w.B[:, :3]).value, plain.solve(w.B[:, :3]).value, rtol=0, atol=2e-10
    )
    R = np.random.default_rng(0).random(w.m)
    np.testing.assert_allclose(
        system.solve_adjoint(R).value, plain.solve_adjoint(R).value, rtol=1e-7
    )
    np.testing.assert_allclose(system.hitting_time, plain.hitting_time, rtol=0.5)


def test_methods_are_chosen_by_symmetry_and_size(monkeypatch):
    w, system = kind_of(True, "auto", 60)
    assert system.method == "cg"
    assert AbsorbingSystem(w.P, w.leak).method == "lu"
    monkeypatch.setattr(linalg, "_LARGEST_LU", 10)
    assert AbsorbingSystem(w.P, w.leak).method == "bicgstab"
    with pytest.raises(InputError, match="needs a symmetric graph"):
        AbsorbingSystem(w.P, w.leak, method="cg")
    with pytest.raises(InputError, match="'jacobi' is not known"):
        AbsorbingSystem(w.P, w.leak, method="jacobi")


@pytest.mark.parametrize(("symmetric", "method"), KINDS, ids=KIND_IDS)
def test_a_system_survives_pickling(symmetric, method):
    w, system = kind_of(symmetric, method, 60)
    before = system.solve(w.B[:, 0])
    again = pickle.loads(pickle.dumps(system)).solve(w.B[:, 0])  # noqa: S301 - our own bytes
    np.testing.assert_array_equal(before.value, again.value)
    assert before.bound == again.bound
