"""Small absorbing chains, and what their solutions are in extended precision."""

from __future__ import annotations

from types import SimpleNamespace

import mpmath
import numpy as np
from scipy.sparse import csr_array

from gssl_poison.linalg import AbsorbingSystem

KINDS = [(True, "cg"), (True, "lu"), (False, "lu"), (False, "bicgstab")]
KIND_IDS = ["symmetric-cg", "symmetric-lu", "directed-lu", "directed-bicgstab"]


def walk(log_weights, labeled):
    """P among the other states, leak, logarithms of degrees and P to the labels, from logs."""
    L = np.asarray(log_weights, dtype=float).copy()
    np.fill_diagonal(L, -np.inf)
    log_degree = np.logaddexp.reduce(L, axis=1)
    full = np.exp(L - log_degree[:, None])
    states = np.setdiff1d(np.arange(len(L)), labeled)
    to_labels = full[np.ix_(states, labeled)]
    return SimpleNamespace(
        P=csr_array(full[np.ix_(states, states)]),
        leak=to_labels.sum(axis=1),
        log_degree=log_degree[states],
        B=to_labels,
        m=states.size,
    )


def neighbours(n, k=5, seed=0, symmetric=True, spread=1.0):
    """Logarithms of the weights of a graph of k nearest neighbours in the plane."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(n, 2))
    squared = ((points[:, None] - points[None]) ** 2).sum(axis=2)
    np.fill_diagonal(squared, np.inf)
    near = squared <= np.partition(squared, k - 1, axis=1)[:, [k - 1]]
    if symmetric:
        near |= near.T
    gamma = spread / np.median(squared[near])
    return np.where(near, -gamma * squared, -np.inf)


def kind_of(symmetric, method, n, labels=3, seed=0, **options):
    """A walk that reaches a label from everywhere, and its system."""
    labeled = np.random.default_rng(seed).permutation(n)[: max(labels, n // 20)]
    logs = neighbours(n, min(5, n - 1), seed, symmetric)
    ring = np.arange(n)
    logs[ring, ring - 1] = np.maximum(logs[ring, ring - 1], -3.0)
    if symmetric:
        logs = np.maximum(logs, logs.T)
    w = walk(logs, labeled)
    log_degree = w.log_degree if symmetric else None
    return w, AbsorbingSystem(w.P, w.leak, log_degree, method, **options)


def dense(P, leak):
    """A in float64, its diagonal summed up and not subtracted."""
    A = -P.toarray()
    np.fill_diagonal(A, 0.0)
    np.fill_diagonal(A, leak - A.sum(axis=1))
    return A


def exact(P, leak, B, *, transpose=False, digits=60):
    """The solution of the chain that these float64 numbers mean, in extended precision."""
    with mpmath.workdps(digits):
        A = mpmath.matrix((-P.toarray()).tolist())
        for i in range(A.rows):
            A[i, i] = 0
            A[i, i] = mpmath.mpf(float(leak[i])) - sum(A[i, j] for j in range(A.rows))
        columns = np.asarray(B, dtype=float).reshape(A.rows, -1)
        solved = [mpmath.lu_solve(A.T if transpose else A, c.tolist()) for c in columns.T]
        return np.array([[x[i] for x in solved] for i in range(A.rows)]).reshape(np.shape(B))


def largest_error(value, reference):
    with mpmath.workdps(400):
        return float(
            max(
                abs(mpmath.mpf(float(v)) - r)
                for v, r in zip(value.flat, reference.flat, strict=True)
            )
        )


def clusters(bridge, size=4, seed=0):
    """Logarithms of weights of two clusters, joined by an edge of weight exp(bridge)."""
    logs = np.random.default_rng(seed).uniform(-1.0, 0.0, (2 * size, 2 * size))
    logs = np.maximum(logs, logs.T)
    logs[:size, size:] = logs[size:, :size] = -np.inf
    logs[0, size] = logs[size, 0] = bridge
    return logs
