"""Propagators and neighbours on a card, through the library's own functions."""

from __future__ import annotations

import numpy as np
from _gpu_checks import Case, called

from gssl_poison.elimination import fill_chain, solve_chain
from gssl_poison.graph import RBFGraph
from gssl_poison.kernels.cuda import Card
from gssl_poison.kernels.cuda_neighbours import Nearest, nearest_on_card
from gssl_poison.kernels.cuda_rows import CardRows
from gssl_poison.propagation import on_card

_FEW = 1000  # points of which all pairs are compared by direct differences


def task(rng, n, n_labeled, d):
    """Return a graph whose weights spread over decades, labelled points, others and labels."""
    X = rng.normal(size=(10, d))[rng.integers(0, 10, n)] + 0.5 * rng.normal(size=(n, d))
    X[1 : n // 4 : 7] = X[0 : n // 4 - 1 : 7]
    labeled = np.sort(rng.permutation(n)[:n_labeled])
    others = np.setdiff1d(np.arange(n), labeled)
    return RBFGraph(X, 6.0 / d), labeled, others, rng.random((n_labeled, 3))


def log_weights_of(graph, rows, columns):
    """Return log-weights by direct differences."""
    apart = graph.X[rows][:, None] - graph.X[columns][None]
    return -graph.gamma * np.einsum("ijk,ijk->ij", apart, apart)


def shares_of(logs):
    """Return rows of weights that sum to 1."""
    weights = np.exp(logs - logs.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def rows_of_weights(card: Card, rng, n, n_columns, d):
    """Log-weights of rows against columns that are on the card, to the host."""
    graph, columns, others, _ = task(rng, n, n_columns, d)
    rows_of = CardRows(card, graph.X, graph.gamma, columns)
    return called(
        lambda: {"log weights": card.get(rows_of(others))},
        expected=lambda: {"log weights": log_weights_of(graph, others, columns)},
        within={"log weights": (1e-12, 1e-12)},
    )


def direct(card: Card, rng, n, n_labeled, d):
    """Scores by one step from the labels, and the transpose."""
    graph, labeled, others, Y = task(rng, n, n_labeled, d)
    operator, R = on_card.CardDirect(card, graph, labeled, others), rng.random((n, 2))

    def expected():
        M = np.zeros((n, n_labeled))
        M[labeled, np.arange(n_labeled)] = 1.0
        M[others] = shares_of(log_weights_of(graph, others, labeled))
        return {"forth": M @ Y, "back": M.T @ R}

    return called(
        lambda: {"forth": operator.apply(Y)[0], "back": operator.adjoint(R)},
        expected=expected if n < _FEW else dict,
        within=dict.fromkeys(("forth", "back"), (1e-10, 0.0)),
        n_bytes=2 * 8 * (n * d + 3 * others.size * n_labeled),
        n_flops=2 * 2 * others.size * n_labeled * d,
    )


def loop(card: Card, rng, n, n_labeled, d, *, n_iter=10):
    """The loop of label propagation and its transpose, weights being on the card."""
    graph, labeled, others, Y = task(rng, n, n_labeled, d)
    first, R = on_card.CardDirect(card, graph, labeled, others), rng.random((n, 2))
    operator = on_card.CardLoop(first, on_card.random_walk(card, graph), labeled, n_iter)

    def expected():
        everyone, M = np.arange(n), np.zeros((n, n_labeled))
        P = shares_of(log_weights_of(graph, everyone, everyone))
        M[others] = shares_of(log_weights_of(graph, others, labeled))
        for turn in range(n_iter):
            M = P @ M if turn else M
            M[labeled] = np.eye(n_labeled)
        return {"forth": M @ Y, "back": M.T @ R}

    return called(
        lambda: {"forth": operator.apply(Y)[0], "back": operator.adjoint(R)},
        expected=expected if n < _FEW else dict,
        within=dict.fromkeys(("forth", "back"), (1e-10, 0.0)),
        n_bytes=2 * (n_iter - 1) * 8 * n**2,
        n_flops=(n_iter - 1) * 2 * n**2 * 5,
    )


def step(card: Card, rng, n, n_classes, d):
    """One step of propagation, all of it on the card: product, factor, clamp, and the change."""
    graph, labeled, _, _ = task(rng, n, max(2, n // 20), d)
    walk = on_card.random_walk(card, graph)
    values, scores = rng.random((labeled.size, n_classes)), rng.random((n, n_classes))
    place = np.full(n, -1, dtype=np.int32)
    place[labeled] = np.arange(labeled.size)
    there = card.put(scores)
    given = {"factor": walk.factor, "values": card.put(values), "place": card.put(place)}

    def expected():
        everyone = np.arange(n)
        after = shares_of(log_weights_of(graph, everyone, everyone)) @ scores
        after[labeled] = values
        return {"scores": after}

    return Case(
        run=lambda: on_card._step(walk, there, **given, clamped=True),
        found=lambda: {"scores": card.get(there)},
        expected=expected if n < _FEW else dict,
        within={"scores": (1e-10, 0.0)},
        n_bytes=8 * n**2 + 6 * 8 * n * n_classes,
        n_flops=2 * n**2 * n_classes,
    )


def spreading(card: Card, rng, n, n_labeled, d, *, n_iter=10):
    """The loop of label spreading, weights being on the card."""
    graph, labeled, _, Y = task(rng, n, n_labeled, d)
    start, alpha = np.zeros((n, 3)), 0.8
    start[labeled] = Y
    walk = on_card.similarity(card, graph)
    settings = {"left": 1e-12, "look": 4, "most": 100}

    def expected():
        W = np.exp(log_weights_of(graph, np.arange(n), np.arange(n)))
        np.fill_diagonal(W, 0.0)
        root, F = np.sqrt(W.sum(axis=1)), start
        for _ in range(n_iter):
            F = alpha * (W / root / root[:, None]) @ F + (1.0 - alpha) * start
        return {"scores": F}

    return called(
        lambda: {"scores": on_card.sum_series(walk, start, alpha, n_iter, **settings)},
        expected=expected if n < _FEW else dict,
        within={"scores": (1e-10, 1e-300)},
        n_bytes=n_iter * 8 * n**2,
        n_flops=n_iter * 2 * n**2 * 3,
    )


# --- elimination


def eliminated_by_rows(W, B):
    """Solve a chain without a subtraction, state by state."""
    A, B, s = W.copy(), B.copy(), np.empty(len(W))
    for p in range(len(A)):
        s[p] = A[p, p + 1 :].sum() + B[p].sum()
        share = A[p + 1 :, p] / s[p]
        A[p + 1 :, p + 1 :] += np.outer(share, A[p, p + 1 :])
        B[p + 1 :] += np.outer(share, B[p])
    for p in range(len(A) - 1, -1, -1):
        B[p] = (B[p] + A[p, p + 1 :] @ B[p + 1 :]) / s[p]
    return B


def harmonic(card: Card, rng, n_states, n_labeled, d):
    """The harmonic solution for all labels: weights to the card, elimination, M to the host."""
    graph, labeled, states, _ = task(rng, n_states + n_labeled, n_labeled, d)
    columns = np.concatenate([states, labeled])
    last: dict[str, np.ndarray] = {}

    def solve():
        rows_of = CardRows(card, graph.X, graph.gamma, columns)
        chain = fill_chain(rows_of, states, n_labeled, card)
        solution = solve_chain(chain, symmetric=True, name=str)
        last["M"] = np.ldexp(solution.value, -solution.exponent)

    def balance():
        """Return what the neighbours of some states make of them, over what they are."""
        M, chosen, y = last["M"], rng.permutation(n_states)[:64], rng.uniform(0.1, 1.0, n_labeled)
        logs = np.concatenate([log_weights_of(graph, states[[i]], columns) for i in chosen])
        logs[np.arange(chosen.size), chosen] = -np.inf
        return shares_of(logs) @ np.concatenate([M @ y, y]) / (M[chosen] @ y)

    def found():
        told = {"balance": balance(), "sums": last["M"].sum(axis=1)}
        return told | ({"M": last["M"]} if n_states < _FEW else {})

    def expected():
        told = {"balance": np.ones(min(64, n_states)), "sums": np.ones(n_states)}
        if n_states >= _FEW:
            return told
        W = np.exp(log_weights_of(graph, states, columns))
        return told | {"M": eliminated_by_rows(W[:, :n_states], W[:, n_states:])}

    u, l = n_states, n_labeled  # noqa: E741
    return Case(
        run=solve,
        found=found,
        expected=expected,
        within={"M": (1e-9, 1e-300)} | dict.fromkeys(("balance", "sums"), (1e-9, 0.0)),
        n_bytes=8 * (u + l) * u,
        n_flops=2 * u**3 // 3 + 2 * u**2 * l + 2 * u * (u + l) * d,
        queued=False,
    )


# --- neighbours


def neighbours(card: Card, rng, n, d, wanted):
    """Candidates for the nearest neighbours of all points, and how far all others are at least."""
    X = rng.random((n, d), dtype=np.float32)
    X[1 : n // 4 : 7] = X[0 : n // 4 - 1 : 7]
    last: list[Nearest] = []

    def search():
        last[:] = [nearest_on_card(card, X, wanted)]

    def found():
        squared = ((X[:, None].astype(np.float64) - X[None]) ** 2).sum(axis=2)
        inside = np.zeros((n, n), dtype=np.bool_)
        np.put_along_axis(inside, last[0].candidates, True, axis=1)
        near = np.sort(squared, axis=1)[:, wanted // 2]
        return {
            "candidates": inside.sum(axis=1),
            "nearer than is proven": (~inside & (squared < last[0].beyond[:, None])).sum(axis=1),
            "too little is proven": last[0].beyond < near,
        }

    def expected():
        nothing = np.zeros(n, dtype=np.int64)
        names = ("nearer than is proven", "too little is proven")
        return {"candidates": nothing + wanted} | dict.fromkeys(names, nothing)

    return Case(
        run=search,
        found=found,
        expected=expected if n < _FEW else dict,
        n_bytes=X.nbytes,
        n_flops=2 * n**2 * d,
        rate="float32",
        queued=False,
    )


# Cases as in `_gpu_rows`.
WHOLE = {
    neighbours: ([(150, 9, 12)], [(60_000, 784, 16)]),
    rows_of_weights: ([(70, 31, 9)], []),
    direct: ([(90, 31, 9)], [(13_007, 650, 784)]),
    step: ([(130, 3, 9)], [(13_007, 2, 100), (13_007, 10, 100), (30_000, 2, 100)]),
    loop: ([(130, 31, 9)], [(13_007, 650, 100)]),
    spreading: ([(130, 31, 9)], [(13_007, 650, 100)]),
    harmonic: ([(230, 20, 9)], [(12_357, 650, 100)]),
}
