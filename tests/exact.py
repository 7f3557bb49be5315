"""References in arithmetic that neither rounds nor underflows: what every propagator's M is."""

from __future__ import annotations

import mpmath
import numpy as np

DIGITS = 80


def exact_weights(log_weights):
    """exp of a float64 matrix of log-weights, as they are, in 80 digits."""
    with mpmath.workdps(DIGITS):
        return [
            [mpmath.exp(mpmath.mpf(v)) if v > -np.inf else mpmath.mpf(0) for v in row]
            for row in log_weights.tolist()
        ]


def exact_direct(W, labeled, n):
    """One step: shares of the labelled neighbours."""
    return exact_loop(W, labeled, n, 1)


def exact_loop(W, labeled, n, n_iter):
    """scikit-learn's loop, written out: multiply, divide by the row sum, clamp."""
    with mpmath.workdps(DIGITS):
        l = len(labeled)  # noqa: E741
        Y = [[mpmath.mpf(int(k == c)) for c in range(l)] for k in range(l)]
        P = [[w / (sum(row) or 1) for w in row] for row in W]
        F = [[mpmath.mpf(0)] * l for _ in range(n)]
        for k, j in enumerate(labeled):
            F[j] = Y[k]
        for _ in range(n_iter):
            F = [
                [sum(p * F[j][c] for j, p in enumerate(P[i]) if p) for c in range(l)]
                for i in range(n)
            ]
            F = [[v / (sum(row) or 1) for v in row] for row in F]
            for k, j in enumerate(labeled):
                F[j] = Y[k]
        return F


def exact_harmonic(W, labeled, n, states):
    """Absorption probabilities by elimination in 80 digits and more; rows of no state are 0."""
    with mpmath.workdps(4000 if _smallest(W) < -300 else DIGITS):
        l, s = len(labeled), len(states)  # noqa: E741
        others = list(states) + list(labeled)
        A, B = mpmath.zeros(s, s), mpmath.zeros(s, l)
        for a, i in enumerate(states):
            degree = sum(W[i][j] for j in others if j != i)
            for b, j in enumerate(states):
                A[a, b] = 1 if a == b else -W[i][j] / degree
            for k, j in enumerate(labeled):
                B[a, k] = W[i][j] / degree
        X = mpmath.inverse(A) * B
        M = [[mpmath.mpf(0)] * l for _ in range(n)]
        for k, j in enumerate(labeled):
            M[j][k] = mpmath.mpf(1)
        for a, i in enumerate(states):
            M[i] = [X[a, k] for k in range(l)]
        return M


def exact_spreading(W, labeled, n, alpha, n_iter=None):
    """scikit-learn's loop of label spreading, or its limit."""
    with mpmath.workdps(4000 if _smallest(W) < -300 else DIGITS):
        l = len(labeled)  # noqa: E741
        a = mpmath.mpf(alpha)
        root = [
            mpmath.sqrt(sum(W[i][j] for i in range(n) if i != j)) or mpmath.mpf(1) for j in range(n)
        ]
        S = mpmath.matrix(n, n)
        for i in range(n):
            for j in range(n):
                S[i, j] = 0 if i == j else W[i][j] / (root[i] * root[j])
        Y = mpmath.zeros(n, l)
        for k, j in enumerate(labeled):
            Y[j, k] = 1
        if n_iter is None:
            F = (1 - a) * mpmath.inverse(mpmath.eye(n) - a * S) * Y
        else:
            F = Y
            for _ in range(n_iter):
                F = a * S * F + (1 - a) * Y
        return [[F[i, k] for k in range(l)] for i in range(n)]


def exact_leave_one_out(fit, labeled):
    """Shares at each labelled point when it has lost its label; ``fit(rest)`` gives M."""
    l = len(labeled)  # noqa: E741
    told = np.zeros((l, l))
    for k, j in enumerate(labeled):
        rest = [p for p in labeled if p != j]
        row = fit(rest)[j]
        total = sum(row) or 1
        told[k, [i for i in range(l) if i != k]] = [float(v / total) for v in row]
    return told


def shares_of(M):
    """Rows over their sums, as float64."""
    with mpmath.workdps(DIGITS):
        return np.array([[float(v / (sum(row) or 1)) for v in row] for row in M])


def as_floats(M):
    """Every entry rounded to float64."""
    return np.array([[float(v) for v in row] for row in M])


def _smallest(W):
    """log10 of the smallest weight."""
    return min(float(mpmath.log10(w)) for row in W for w in row if w)
