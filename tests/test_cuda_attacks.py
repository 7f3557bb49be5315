"""Attacks whose flips a GPU counts, by its kernels run on the CPU, against those of the CPU."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from attack_problems import LABELED, digits
from cuda_on_cpu import KERNELS, ORDERS, ShimCard, build

import gssl_poison as gp
from gssl_poison.attacks import ATTACKS
from gssl_poison.attacks._search import Search
from gssl_poison.attacks.greedy import climb
from gssl_poison.attacks.swaps import swap
from gssl_poison.kernels import cuda, cuda_flips
from gssl_poison.labels import TIE

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ here")


@pytest.fixture(scope="module")
def card(kernel_folder):
    return ShimCard(kernel_folder)


@pytest.fixture
def with_a_card(card, monkeypatch):
    monkeypatch.setattr(cuda, "card", lambda: card)
    card.launched.clear()


def shares(rng, rows, labels):
    """Return an M whose shares tie, in rows of sums that are exact, and rows of nothing."""
    M = rng.integers(0, 5, (rows, labels)) ** 2 / 1024.0
    M[rows // 2] = 0.0
    return M


def task(rng, rows=131, labels=40, classes=2):
    M, codes = shares(rng, rows, labels), rng.integers(0, classes, labels)
    target = rng.integers(0, classes, rows)
    # Rows that two classes tie for, which are right by the order of the classes.
    M[:5], target[:5] = 0.0, 0
    M[:5, [np.argmax(codes == 0), np.argmax(codes == 1)]] = 0.25
    return M, codes, target


def same(found, expected):
    np.testing.assert_array_equal(found.gains(), expected.gains())
    np.testing.assert_array_equal(found.codes, expected.codes)
    np.testing.assert_array_equal(found.scores, expected.scores)
    assert found.wrong == expected.wrong


@pytest.mark.parametrize("classes", [2, 4])
def test_a_search_on_a_card_is_that_of_the_cpu(card, rng, classes):
    M, codes, target = task(rng, classes=classes)
    here, there = (Search.start(M, codes, target, classes, c) for c in (None, card))
    same(there, here)
    assert climb(there, 9) == climb(here, 9)
    same(there, here)
    apart = there.copy()
    for search in (here, there):
        j = int(np.flatnonzero(~search.free)[2])
        search.unflip(j)
        swap(search)
    same(there, here)
    assert apart.wrong != there.wrong or not np.array_equal(apart.codes, there.codes)
    same(there.again(), Search.start(M, codes, target, classes))


def test_scores_of_many_classes_fit_the_shared_memory(card, rng):
    M, codes, target = task(rng, classes=70)
    here, there = (Search.start(M, codes, target, 70, c) for c in (None, card))
    np.testing.assert_array_equal(there.gains(), here.gains())


def test_flips_that_only_bring_rows_nearer_are_the_cpus(card, rng):
    """Where no flip gains, sums of parts of gaps decide: they must be the same bits."""
    M = rng.random((131, 40)) ** 8
    M /= M.sum(axis=1, keepdims=True)
    codes = rng.integers(0, 3, 40)
    target = (M @ np.eye(3)[codes]).argmax(axis=1)
    here, there = (Search.start(M, codes, target, 3, c) for c in (None, card))
    flips = np.argwhere(here.gains() > -(10**6))
    assert here.nearness(flips).tobytes() == there.nearness(flips).tobytes()
    assert climb(there, 12) == climb(here, 12)


@pytest.mark.usefixtures("with_a_card")
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", sorted(set(ATTACKS) - {"exact"}))
def test_every_attack_makes_the_same_flips(name, classes, card):
    problem = digits(classes)
    graph = gp.RBFGraph(problem.graph.X, problem.graph.gamma, device="cuda")
    there = gp.Problem(graph, LABELED, problem.y, problem.truth, classes)
    found, expected = (
        ATTACKS[name].attack(one, gp.Direct().fit(one.graph, LABELED), 4)
        for one in (there, problem)
    )
    np.testing.assert_array_equal(found.order, expected.order)
    np.testing.assert_array_equal(found.new, expected.new)
    # Totals are float32 arithmetic, of another order on a card.
    np.testing.assert_allclose(found.objective, expected.objective, rtol=1e-5)
    if name in ("greedy", "greedy-init", "coverage", "swaps", "smoothed"):
        assert {"flip_errors", "flip_label"} <= set(card.launched)


@pytest.mark.parametrize(
    ("name", "was", "becomes"),
    [
        ("flip_label", "* classes + old] -= part", "* classes + fresh] -= part"),
        ("flip_label", "codes[label] = fresh", "codes[label] = old"),
        ("flip_label", "* labels + label]", "* labels + label / 2]"),
        ("flip_nearness", "if (best != right || part == 0.0)", "if (part == 0.0)"),
        ("flip_nearness", "row[c] > most + tie", "row[c] >= most"),
        ("flip_nearness", "(to == right) - (from == right)", "(to == right) + (from == right)"),
        ("flip_nearness", "fmax(-1.0, ", "fmax(0.0, "),
        ("flip_errors", "if (s > most + tie)", "if (s >= most)"),
        ("flip_errors", "blockIdx.y * ROWS", "blockIdx.y * (ROWS - 1)"),
        ("flip_errors", "+= (best != right[i]) - wrong[i]", "+= (best != right[i])"),
        (
            "flip_errors",
            "wrong[i] = best != right[i];\n    }\n    __syncthreads();",
            "wrong[i] = best != right[i];\n    }",
        ),
    ],
)
def test_a_changed_kernel_fails(card, rng, name, was, becomes):
    text = (KERNELS / f"{name}.cu").read_text()
    assert text.count(was) == 1
    M, codes, target = task(rng, rows=300, labels=70, classes=3)
    changed = text.replace(was, becomes)

    class Changed(ShimCard):
        def launch(self, kernel, grid, threads, arguments, shared=0, **macros):
            source = changed if kernel == name else None
            build(kernel, self.folder, source, **macros)(
                grid, (threads,), arguments, order=self.order, shared=shared
            )

    expected = Search.start(M, codes, target, 3)
    flips = np.argwhere(expected.gains() > -(10**6))
    nearness = expected.nearness(flips)
    new = (int(codes[3]) + 1) % 3
    expected.flip(3, new)
    for order in ORDERS:
        found = Search.start(M, codes, target, 3, Changed(card.folder, order))
        differ = found.nearness(flips).tobytes() != nearness.tobytes()
        found.flip(3, new)
        same = np.array_equal(found.gains(), expected.gains())
        same = same and np.array_equal(found.scores, expected.scores)
        found.unflip(3)
        if differ or not (same and np.array_equal(found.gains(), found.again().gains())):
            return
    pytest.fail("no test has noticed")


def test_the_tie_is_the_cpus(card, rng):
    M, codes, target = task(rng)
    assert cuda_flips.TIE == TIE
    near = Search.start(M + TIE / 4, codes, target, 2, card)
    np.testing.assert_array_equal(near.gains(), Search.start(M + TIE / 4, codes, target, 2).gains())
