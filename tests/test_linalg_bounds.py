"""Bounds on sparse solves: never exceeded, and a refusal where there is no proof."""

from __future__ import annotations

from fractions import Fraction
from unittest import mock

import numpy as np
import pytest
from chains import clusters, dense, exact, kind_of, largest_error, walk
from scipy.sparse import csr_array, diags_array

from gssl_poison.exceptions import InputError, NumericalError
from gssl_poison.kernels import chain as sparse_chain
from gssl_poison.kernels import csr, refine
from gssl_poison.linalg import AbsorbingSystem


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("method", ["cg", "lu", "bicgstab"])
@pytest.mark.parametrize("bridge", [-2.0, -6.0, -10.0, -12.0])
def test_bounds_hold_where_the_chain_nearly_falls_apart(bridge, method, seed):
    w = walk(clusters(bridge, seed=seed), [1, 2])
    system = AbsorbingSystem(w.P, w.leak, w.log_degree, method)
    found = system.solve(w.B)
    error = largest_error(found.value, exact(w.P, w.leak, w.B, digits=80))
    assert error <= found.bound <= 1e-8
    visits = system.solve_adjoint(np.eye(w.m))
    reference = exact(w.P, w.leak, np.eye(w.m), transpose=True, digits=80)
    off = np.abs(visits.value - reference) * w.leak[:, None]
    assert off.sum(axis=0).max() <= visits.bound <= 1e-8


@pytest.mark.parametrize("method", ["cg", "lu", "bicgstab"])
@pytest.mark.parametrize("bridge", [-25.0, -30.0, -60.0, -300.0, -800.0])
def test_a_chain_that_float64_iteration_cannot_resolve_is_refused(bridge, method):
    w = walk(clusters(bridge), [1, 2])
    system = AbsorbingSystem(w.P, w.leak, w.log_degree, method, points=np.arange(100, 100 + w.m))
    # States 2 to 5 are the cluster without a label.
    with pytest.raises(NumericalError, match=r"smaller gamma") as caught:
        system.solve(w.B)
    if "random walk near point" in str(caught.value):
        assert any(f"point {point} " in str(caught.value) for point in (102, 103, 104, 105))
    with pytest.raises(NumericalError, match=r"smaller gamma"):
        _ = system.hitting_time


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("method", ["cg", "lu", "bicgstab"])
def test_no_answer_is_further_off_than_its_bound_at_any_scale(method, seed):
    rng = np.random.default_rng(seed)
    logs = rng.uniform(-1.0, 0.0, (9, 9)) * 10.0 ** rng.uniform(0.0, 2.2)
    w = walk(np.maximum(logs, logs.T), [0, 5])
    system = AbsorbingSystem(w.P, w.leak, w.log_degree, method)
    try:
        found = system.solve(w.B)
    except NumericalError:
        # Refused for a reason: some walk is long indeed.
        steps = exact(w.P, w.leak, np.ones(w.m), digits=400)
        assert max(steps) > 1e5
    else:
        error = largest_error(found.value, exact(w.P, w.leak, w.B, digits=400))
        assert error <= found.bound <= 1e-8


def test_degrees_that_no_root_can_hold_are_no_obstacle():
    # The second cluster's weights are e^-1500 of the first's; every state is near a label.
    logs = clusters(-1400.0)
    logs[4:, 4:] -= 1500.0
    w = walk(logs, [1, 6])
    assert np.ptp(w.log_degree) > 1400
    system = AbsorbingSystem(w.P, w.leak, w.log_degree)
    assert system.method == "lu"
    found = system.solve(w.B)
    assert largest_error(found.value, exact(w.P, w.leak, w.B, digits=700)) <= found.bound <= 1e-10
    with pytest.raises(InputError, match=r"degrees span exp\(1300\) at most"):
        AbsorbingSystem(w.P, w.leak, w.log_degree, "cg")


@pytest.mark.parametrize("widest", [3.0, 20.0, 35.0])
def test_degrees_of_very_different_size_are_no_obstacle(widest):
    # Points on a line, their gaps growing slowly: steps to both sides stay comparable.
    n = 300
    gap = np.sqrt(np.linspace(1.0, widest**2, n - 1))
    logs = np.full((n, n), -np.inf)
    i = np.arange(n - 1)
    logs[i, i + 1] = logs[i + 1, i] = -(gap**2)
    w = walk(logs, np.arange(0, n, 20))
    assert np.ptp(w.log_degree) > 0.98 * (widest**2 - 1.0)
    found = AbsorbingSystem(w.P, w.leak, w.log_degree, "cg").solve(w.B[:, ::2])
    error = np.abs(found.value - np.linalg.solve(dense(w.P, w.leak), w.B[:, ::2])).max()
    assert error <= found.bound + 1e-12
    assert found.bound <= 1e-10


def test_long_paths_are_solved_and_longer_ones_refused():
    def path(n):
        half = np.full(n - 1, 0.5)
        P = csr_array(diags_array((half, half), offsets=(-1, 1)))
        leak = np.zeros(n)
        leak[[0, -1]] = 0.5
        return AbsorbingSystem(P, leak, np.zeros(n)), leak * (np.arange(n) > 0)

    system, B = path(400)
    found = system.solve(B)
    assert np.abs(found.value - np.arange(1, 401) / 401).max() <= found.bound <= 1e-8
    with pytest.raises(NumericalError, match="steps or more"):
        path(20_000)[0].solve(path(20_000)[1])


def test_the_error_of_the_data_is_covered_when_it_is_given():
    w, _ = kind_of(True, "cg", 40)
    rng = np.random.default_rng(0)
    delta = 1e-9

    def shaken(a):
        return a * (1.0 + delta * rng.choice([-1.0, 1.0], size=a.shape))

    P = csr_array((shaken(w.P.data), w.P.indices, w.P.indptr), shape=w.P.shape)
    true = exact(P, shaken(w.leak), shaken(w.B[:, 0]))
    plain = AbsorbingSystem(w.P, w.leak, w.log_degree).solve(w.B[:, 0])
    covered = AbsorbingSystem(w.P, w.leak, w.log_degree, relative_error=1.01 * delta)
    found = covered.solve(w.B[:, 0], tol=1e-6)
    assert plain.bound < largest_error(found.value, true) <= found.bound <= 1e-6


def test_the_rounding_of_a_residual_is_bounded():
    w, system = kind_of(True, "cg", 60)
    rng = np.random.default_rng(0)
    # Neighbours differ by little: the difference form pays, and its bound must still hold.
    X, B = 1.0 + 1e-9 * rng.normal(size=(w.m, 3)), 1e-9 * rng.normal(size=(w.m, 3))
    prepared = system._prepared.chain
    diagonal = [Fraction(w.leak[i]) + sum(Fraction(p) for p in w.P[[i]].data) for i in range(w.m)]
    P = [[Fraction(p) for p in row] for row in w.P.toarray()]
    with sparse_chain.Team(prepared, 1) as team:
        forward = prepared.residual(X, B, team)
    for (computed, bound), transpose in (
        (forward, False),
        (prepared.residual_transposed(X, B), True),
    ):
        for c in range(3):
            x = [Fraction(v) for v in X[:, c]]
            for i in range(w.m):
                row = [P[j][i] if transpose else P[i][j] for j in range(w.m)]
                true = Fraction(B[i, c]) - diagonal[i] * x[i]
                true += sum(p * v for p, v in zip(row, x, strict=True) if p)
                assert abs(float(Fraction(computed[i, c]) - true)) <= bound[i, c] <= 1e-13


def lost_sign(arguments):
    for written in arguments[6:8]:
        written[:] *= -1.0


def one_row(arguments):
    arguments[6][0] *= 1.0 + 1e-3


def too_long_a_step(arguments):
    arguments[4][:] += 1e-3


def wrong_turn(arguments):
    arguments[2][:] *= -1.0


@pytest.mark.parametrize("certified", [False, True], ids=["", "with a proof at hand"])
@pytest.mark.parametrize(
    ("kernel", "damage"),
    [
        ("multiply", lost_sign),
        ("multiply", one_row),
        ("advance", too_long_a_step),
        ("turn", wrong_turn),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_a_broken_kernel_gives_no_wrong_answer(kernel, damage, certified, monkeypatch):
    monkeypatch.setattr(refine, "_HITTING_ITERATIONS", 300)
    w, system = kind_of(True, "cg", 60)
    if certified:
        _ = system.hitting_time
    right = getattr(csr, kernel)

    def broken(*arguments):
        right(*arguments)
        damage(arguments)

    with mock.patch.object(csr, kernel, broken):
        try:
            found = system.solve(w.B, max_iter=300)
        except NumericalError:
            return
    # Refinement may survive a step that is nearly right, and then says how far it came.
    assert damage is not lost_sign
    assert largest_error(found.value, exact(w.P, w.leak, w.B)) <= found.bound
    assert found.bound <= 1e-8 or not found.converged
