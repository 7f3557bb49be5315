"""The published attacks, transcribed plainly: what the benchmarks are measured against.

Written from the facts about the code of Liu et al. (NeurIPS 2019) and of the replication in
"Influence-Driven Data Poisoning": the same loops over the same arrays, no shortcut added and none
taken away. Labels y (l,) and targets y_U (u,) are -1 or 1, K is (u, l).
"""

from __future__ import annotations

import time

import numpy as np


def greedy(K, y, y_U, n_flips, rounds=None):
    """In each round try every label that is not flipped; stop when none lowers the objective.

    Returns the labels in order, the wrong part after each, and the seconds of each round. With
    ``rounds`` it stops after that many.
    """
    d = np.ones(y.size)
    best = -0.5 * np.sum((np.sign(K @ (y * d)) - y_U) ** 2)
    order, wrong, seconds = [], [], []
    for _ in range(n_flips if rounds is None else rounds):
        started = time.perf_counter()
        chosen = -1
        for j in range(y.size):
            if d[j] < 0:
                continue
            d[j] = -1.0
            objective = -0.5 * np.sum((np.sign(K @ (y * d)) - y_U) ** 2)
            d[j] = 1.0
            if objective < best:
                best, chosen = objective, j
        seconds.append(time.perf_counter() - started)
        if chosen < 0:
            break
        d[chosen] = -1.0
        order.append(chosen)
        wrong.append(float(np.mean(np.sign(K @ (y * d)) != y_U)))
    return np.array(order), np.array(wrong), np.array(seconds)


def _noise(rng, size):
    return rng.gumbel(size=size) - rng.gumbel(size=size)


def probabilistic(K, y, y_U, n_flips, *, seed=2020, n_steps=100):
    """Gumbel-softmax, its gradient written out: two products with K a step. Noise for each label.

    Returns the labels in order.
    """
    rng = np.random.default_rng(seed)
    a = np.full(y.size, 0.5)
    for _ in range(n_steps):
        inner = np.exp((np.log(a / (1 - a)) + _noise(rng, y.size)) / 0.5)
        z = 2 / (1 + inner) - 1
        by_z = -y * (K.T @ (K @ (y * z) - y_U))
        by_a = by_z * (-2 * inner / (1 + inner) ** 2) / 0.5 / (a * (1 - a)) + 0.1 * a
        a = np.clip(a - 1e-5 * by_a, 0.001, 0.999)
    return np.argsort(-a, kind="stable")[:n_flips]


def probabilistic_autograd(K, y, y_U, n_flips, *, seed=2020, n_steps=100):
    """The same as the published code has it: the loss in torch, its gradient by autograd, float64.

    K, y and y_U are torch tensors.
    """
    import torch

    rng = np.random.default_rng(seed)
    a = torch.full((len(y),), 0.5, dtype=torch.float64, requires_grad=True)
    for _ in range(n_steps):
        e = torch.from_numpy(_noise(rng, len(y)))
        z = 2 / (1 + torch.exp((torch.log(a / (1 - a)) + e) / 0.5)) - 1
        loss = -0.5 * torch.sum((K @ (y * z) - y_U) ** 2) + 0.5 * 0.1 * torch.sum(a**2)
        loss.backward()
        with torch.no_grad():
            a -= 1e-5 * a.grad
            a.clamp_(0.001, 0.999)
            a.grad.zero_()
    return np.argsort(-a.detach().numpy(), kind="stable")[:n_flips]


def mir(S, labeled, unlabeled, n_flips):
    """Row by row over the full kernel S (n, n): who holds more than half of the row.

    Returns the labels in order and how many points each holds.
    """
    count = np.zeros(len(labeled), dtype=np.int64)
    for i in unlabeled:
        row = S[i][labeled]
        share = row / row.sum()
        j = np.argmax(share)
        if share[j] > 0.5:
            count[j] += 1
    return np.argsort(-count, kind="stable")[:n_flips], count
