"""Radii as the GPU counts them, by the kernel's own source on the CPU, against the CPU's."""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
from dataclasses import fields, replace

import numpy as np
import pytest
from cuda_on_cpu import KERNELS, ORDERS, ShimCard, build
from small_problems import small_problem

from gssl_poison import Direct, RBFGraph, certify
from gssl_poison.certification import pointwise
from gssl_poison.certification.pointwise import radii, rounding_of
from gssl_poison.kernels import cuda
from gssl_poison.kernels.cuda_radius import count_needed_on_card
from gssl_poison.kernels.radius import count_needed
from gssl_poison.labels import TIE

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ here")


@pytest.fixture(scope="module")
def folder(kernel_folder):
    return kernel_folder


class ChangedCard(ShimCard):
    """A card whose kernel has another source."""

    def __init__(self, folder, source, order):
        super().__init__(folder, order)
        self.source = source

    def launch(self, name, grid, threads, arguments, shared=0):
        kernel = build(name, self.folder, self.source)
        kernel(grid, (threads,), arguments, order=self.order, shared=shared)


# Kinds of shares; sums of the last two are exact, in whatever order.
KINDS = ("random", "far apart", "64ths", "no two alike")
EXACT = KINDS[2:]


def shares_of(rng, kind, rows, labels):
    """Return shares of some kind, every third row without any."""
    if kind == "random":
        M = rng.random((rows, labels)) ** 4
        M /= M.sum(axis=1, keepdims=True)
    elif kind == "far apart":
        # From 1 down to numbers that are not normal any more.
        M = np.exp(-rng.random((rows, labels)) * 740.0)
        M /= M.sum(axis=1, keepdims=True)
    elif kind == "64ths":
        M = rng.multinomial(64, np.full(labels, 1.0 / labels), rows) / 64.0
    else:
        M = rng.permuted(np.tile(np.arange(labels) + 1.0, (rows, 1)), axis=1) / 2.0**21
    M[2::3] = 0.0
    return M


def question(rng, kind, rows, labels, classes):
    """Return shares, scores, codes and predictions: what is needed is what some flips gain exactly.

    Scores are not those of the shares, of which few flips would be the answer: it goes from none
    to more than there are, row by row.
    """
    M = shares_of(rng, kind, rows, labels)
    codes, predicted = rng.integers(0, classes, labels), rng.integers(0, classes, rows)
    scores = np.zeros((rows, classes))
    for i, own in enumerate(predicted):
        for rival in set(range(classes)) - {own}:
            gains = np.where(codes == own, 2.0, 1.0) * M[i]
            gains = np.sort(gains[codes != rival])[::-1]
            most = gains.size + 1
            k = (
                rng.integers(-1, 2)
                if i % 6 == 0
                else rng.integers(i * most // (rows - 1), most + 1)
            )
            # Less than nothing, or more than all.
            scores[i, rival] = float(k < 0) - float(k == most) - gains[: max(k, 0)].sum()
            if kind in EXACT and i % 2:
                # The tie's tolerance is taken back: the gains are just enough, to the last bit.
                scores[i, rival] += TIE if rival > own else -TIE
    return M, scores, codes, predicted


def on_cpu(M, scores, codes, predicted, error, rounding):
    out = np.empty((len(M), 2), dtype=np.int64)
    count_needed(M, scores, codes, predicted, error, rounding, out)
    return out


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("labels", "classes"), [(1, 2), (3, 2), (31, 5), (257, 2), (700, 5), (1501, 2)]
)
def test_counts_are_those_of_the_cpu(folder, rng, kind, labels, classes, order):
    given = question(rng, kind, 11, labels, classes)
    card, rounding = ShimCard(folder, order), rounding_of(labels)
    # By turns: none, and two that lower counts.
    error = (0.0, 0.1 / labels, 0.4 / labels)[(order + labels) % 3]
    found = count_needed_on_card(card, *given, error, rounding)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, on_cpu(*given, error, rounding))
    assert found[[2, -1], 0].tolist() == [labels + 1] * 2
    assert card.launched == ["count_needed"]


def test_an_error_that_lowers_a_count(folder):
    """Shares .3 .25 .25 .2 of one class: with errors of .1 the first alone may do."""
    M, codes = np.array([[0.3, 0.25, 0.25, 0.2]]), np.zeros(4, dtype=np.int64)
    given = (M, np.array([[1.0, 0.0]]), codes, np.array([0]))
    for error, expected in (0.0, [2, 2]), (1e-3, [2, 2]), (0.1, [2, 1]), (0.3, [2, 0]):
        found = count_needed_on_card(ShimCard(folder), *given, error, rounding_of(4))
        assert found.tolist() == [expected]


@pytest.mark.parametrize(("own", "expected"), [(0, 2), (1, 1)])
def test_an_exact_tie_is_the_lower_class_s(folder, own, expected):
    codes = np.full(2, own)
    given = (np.array([[0.5, 0.5]]), np.eye(2)[[own]], codes, np.array([own]))
    found = count_needed_on_card(ShimCard(folder), *given, 0.0, rounding_of(2))
    assert found.tolist() == [[expected, expected]]


@pytest.mark.parametrize("labels", [40, 701])
def test_no_rounding_hides_a_flip(folder, rng, labels):
    """Rows whose first k gains are what is needed, to the last bit: sums may miss it by some."""
    M = rng.random((12, labels)) ** 12
    M[6:] = M[6:, :1]  # all alike
    M /= M.sum(axis=1, keepdims=True)
    k = rng.integers(2, labels // 2, 12)
    scores = np.zeros((12, 2))
    for row, shares, count in zip(scores, M, k, strict=True):
        row[1] = math.fsum(2.0 * np.sort(shares)[-count:]) + TIE
    given = (M, scores, np.ones(labels, dtype=np.int64), np.ones(12, dtype=np.int64))
    found = count_needed_on_card(ShimCard(folder), *given, 0.0, rounding_of(labels))
    np.testing.assert_array_equal(found[:, 1], k)
    assert ((found[:, 0] == k) | (found[:, 0] == k + 1)).all()
    # Without the allowance some are missed, so that it is put to the test here.
    assert (found[:, 0] > k).any()


# --- what asks for it


def on_card(problem):
    """Return the same problem on a graph whose device is the card."""
    graph = problem.graph
    moved = RBFGraph(graph.X, graph.bandwidth, device="cuda")
    return replace(problem, graph=moved)


def assert_same(found, expected):
    for field in fields(found):
        if field.name != "seconds":
            np.testing.assert_equal(getattr(found, field.name), getattr(expected, field.name))


@pytest.mark.parametrize("seed", [0, 5, 11, 20])
def test_a_certificate_is_that_of_the_cpu(folder, monkeypatch, seed):
    problem, victim, _ = small_problem(seed)
    expected = certify(problem, victim, (1, 2), method="lagrangian")
    card = ShimCard(folder)
    monkeypatch.setattr(cuda, "card", lambda: card)
    # The victim that the CPU has fitted, so that its radii are all that the card computes.
    moved = on_card(problem)
    found = certify(moved, replace(victim, graph=moved.graph), (1, 2), method="lagrangian")
    assert card.launched == ["count_needed"]
    assert_same(found, expected)


def test_a_certificate_of_a_victim_that_the_card_has_fitted(folder, monkeypatch):
    problem, _, _ = small_problem(20)
    victim = Direct().fit(problem.graph, problem.labeled)
    expected = certify(problem, victim, (1, 2), method="lagrangian")
    card = ShimCard(folder)
    monkeypatch.setattr(cuda, "card", lambda: card)
    moved = on_card(problem)
    victim = Direct().fit(moved.graph, moved.labeled)
    found = certify(moved, victim, (1, 2), method="lagrangian")
    assert card.launched.count("count_needed") == 1
    assert len(set(card.launched)) > 1
    assert_same(found, expected)


def test_blocks_go_to_the_card_one_after_another(folder, monkeypatch):
    problem, victim, _ = small_problem(9)
    expected = radii(problem, victim)
    card = ShimCard(folder)
    monkeypatch.setattr(cuda, "card", lambda: card)
    moved = on_card(problem)
    victim = replace(victim, graph=moved.graph)
    monkeypatch.setattr(pointwise, "_CARD_BLOCK", 7 * problem.y.size)
    calls = []
    found = radii(moved, victim, progress=lambda *done: calls.append(done))
    u = problem.unlabeled.size
    assert calls == [(min(done, u), u) for done in range(7, u + 7, 7)]
    assert card.launched == ["count_needed"] * len(calls)
    np.testing.assert_array_equal(found.radius, expected.radius)
    np.testing.assert_array_equal(found.predicted, expected.predicted)
    assert found.undecided == expected.undecided


def test_undecided_rows_are_counted(folder, monkeypatch):
    problem, victim, _ = small_problem(0)
    victim = replace(victim, error=1e-3)
    expected = radii(problem, victim)
    assert expected.undecided > 0
    monkeypatch.setattr(cuda, "card", lambda: ShimCard(folder))
    moved = on_card(problem)
    found = radii(moved, replace(victim, graph=moved.graph))
    assert found.undecided == expected.undecided
    np.testing.assert_array_equal(found.radius, expected.radius)


def test_the_way_to_the_card_needs_no_numba():
    code = "import sys, gssl_poison.kernels.cuda_radius; print('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# --- the tests themselves can fail

CASES = (("64ths", 5, 31), ("no two alike", 5, 300), ("random", 2, 400))


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        # indices
        ("M + i * labels", "M + i * (labels - 1)"),
        ("p < PARTS; p++", "p < PARTS - 1; p++"),
        # comparisons
        ("gain > threshold", "gain >= threshold"),
        ("if (enough.sum < wanted) return most;", ""),
        ("found.sum < wanted", "found.sum <= wanted"),
        ("few.count + 1 < most", "few.count + 5 < most"),
        # barriers
        ("sums[t] = found.sum;\n    __syncthreads();", "sums[t] = found.sum;"),
        ("    }\n    __syncthreads();\n", "    }\n"),
        # ties
        ("tie : -tie", "tie : tie"),
        # sides
        ("side * error", "error"),
        ("need - side * allowance", "need - allowance"),
    ],
)
def test_a_changed_kernel_fails(folder, was, becomes):
    text = (KERNELS / "count_needed.cu").read_text()
    assert text.count(was) == 1
    changed = text.replace(was, becomes)
    for kind, classes, labels in CASES:
        given = question(np.random.default_rng(1), kind, 18, labels, classes)
        bounds = (0.02 / labels, rounding_of(labels))
        expected = on_cpu(*given, *bounds)
        for order in ORDERS:
            try:
                found = count_needed_on_card(ChangedCard(folder, changed, order), *given, *bounds)
            except RuntimeError:  # threads that part company
                return
            if not np.array_equal(found, expected):
                return
    pytest.fail("no test has noticed")
