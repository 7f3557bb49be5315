"""Small problems whose every poisoning can be tried: clusters that overlap, few labels."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np

from gssl_poison import Direct, Harmonic, Problem, RBFGraph, Spreading

VICTIMS = (Direct(), Harmonic(), Spreading(0.5))
LABELS = (8, 12, 14)
# Sets of labels tried together.
_BATCH = 4096


def small_problem(seed):
    """Return a problem, its victim and a budget: the seed decides all, kinds come in turn."""
    rng = np.random.default_rng(seed)
    n_labeled = LABELS[seed // 3 % 3]
    n_classes = 2 + seed // 9 % 3
    n_flips = 2 + seed // 27 % 3
    n = n_labeled + int(rng.integers(20, 41))
    centers = rng.normal(size=(n_classes, 2)) * 1.5
    truth = rng.permutation(np.arange(n) % n_classes)
    X = centers[truth] + rng.normal(size=(n, 2))
    if seed % 5 == 0:
        # Points that are there twice make exact ties.
        X = np.round(X)
    labeled = rng.choice(n, n_labeled, replace=False)
    graph = RBFGraph(X, gamma=float(rng.choice([0.3, 1.0, 3.0])))
    y = truth[labeled].copy()
    if seed % 4 == 0:
        y[rng.integers(n_labeled)] = rng.integers(n_classes)
    problem = Problem(graph, labeled, y, truth=truth, n_classes=n_classes)
    return problem, VICTIMS[seed % 3].fit(graph, labeled), n_flips


def poisonings(codes, n_classes, n_flips):
    """Yield all labellings that differ from the codes in at most k places, (b, l), in batches."""
    l = len(codes)  # noqa: E741
    for size in range(n_flips + 1):
        steps = np.array(list(product(range(1, n_classes), repeat=size)), dtype=np.int64)
        chosen = np.array(list(combinations(range(l), size)), dtype=np.int64)
        step = max(1, _BATCH // len(steps))
        for start in range(0, len(chosen), step):
            part = chosen[start : start + step]
            labels = np.tile(codes, (len(part) * len(steps), 1))
            at = np.repeat(part, len(steps), axis=0)
            change = np.tile(steps, (len(part), 1))
            lines = np.arange(len(labels))[:, None]
            labels[lines, at] = (labels[lines, at] + change) % n_classes
            yield size, labels


def first_of(scores):
    """Return the class of the highest score, ties of 1e-12 to the lower index; (..., c)."""
    best, first = scores[..., 0].copy(), np.zeros(scores.shape[:-1], dtype=np.int64)
    for k in range(1, scores.shape[-1]):
        higher = scores[..., k] > best + 1e-12
        best[higher] = scores[..., k][higher]
        first[higher] = k
    return first


def brute_force(shares, codes, target, n_classes, n_flips):
    """Try all flips: the most wrong rows for every number of flips, and the radius of every row.

    Returns (k + 1,) int, not falling, and (r,) int, k + 1 where k flips do not change the row.
    """
    most = np.zeros(n_flips + 1, dtype=np.int64)
    radius = np.full(len(shares), n_flips + 1)
    clean = first_of(shares @ np.eye(n_classes)[codes])
    for size, labels in poisonings(codes, n_classes, n_flips):
        scores = np.stack([(labels == c) @ shares.T for c in range(n_classes)], axis=-1)
        predicted = first_of(scores)
        most[size] = max(most[size], (predicted != target).sum(axis=1).max())
        changed = (predicted != clean).any(axis=0)
        radius[changed] = np.minimum(radius[changed], size)
    return np.maximum.accumulate(most), radius
