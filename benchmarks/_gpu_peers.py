"""What the same operations take elsewhere: torch eager, KeOps, cuML, cuVS, and our own CPU path.

A peer that is not installed is skipped, and said to be. None of them proves a bound: what it counts
otherwise than the table of expected counts is reported and is no failure.
"""

from __future__ import annotations

import time
from importlib import import_module
from importlib.util import find_spec

import numpy as np
from _gpu_checks import Case
from _gpu_flips import flip_task
from _gpu_influence import EXPECTED, mir_data
from _gpu_whole import task

from gssl_poison.labels import TIE

# Rows that a peer is given at a time.
_ROWS = 4096


def counting(name, count_block, put, zeros):
    """Return the case of counting major shares by blocks of rows, from the memory of the host."""
    X, n_labeled, gamma = mir_data(name)
    X, told = X.astype(np.float32, copy=False), {}

    def run():
        known, total = put(X[:n_labeled]), zeros(n_labeled)
        for start in range(n_labeled, len(X), _ROWS):
            total += count_block(put(X[start : start + _ROWS]), known, gamma)
        told["rows counted otherwise"] = int(total.sum()) - EXPECTED[name][0]

    operations = 2 * (len(X) - n_labeled) * n_labeled * X.shape[1]
    return Case(run, X.nbytes, operations, "float32", queued=False, told=told)


def torch_counting(name, device):
    """Distances, softmax and counts, one line an operation."""
    torch = import_module("torch")

    def count_block(rows, known, gamma):
        weights = torch.softmax(-gamma * torch.cdist(rows, known) ** 2, dim=1)
        top, first = weights.max(dim=1)
        return torch.bincount(first[top > 0.5], minlength=len(known))

    def zeros(n):
        return torch.zeros(n, dtype=torch.int64, device=device)

    return counting(name, count_block, lambda X: torch.from_numpy(X).to(device), zeros)


def keops_counting(name, device):
    """The same by KeOps, which holds no distances."""
    torch, LazyTensor = import_module("torch"), import_module("pykeops.torch").LazyTensor  # noqa: N806

    def count_block(rows, known, gamma):
        logs = -gamma * ((LazyTensor(rows[:, None]) - LazyTensor(known[None])) ** 2).sum(-1)
        top, first = (found.ravel() for found in logs.max_argmax(dim=1))
        major = top - logs.logsumexp(dim=1).ravel() > np.log(0.5)
        return torch.bincount(first[major].long(), minlength=len(known))

    def zeros(n):
        return torch.zeros(n, dtype=torch.int64, device=device)

    return counting(name, count_block, lambda X: torch.from_numpy(X).to(device), zeros)


def rapids_counting(name, distances):
    """The same by a function of squared distances of cuML or cuVS, and cupy after it."""
    cupy = import_module("cupy")

    def count_block(rows, known, gamma):
        logs = -gamma * cupy.asarray(distances(rows, known, metric="sqeuclidean"))
        weights = cupy.exp(logs - logs.max(axis=1, keepdims=True))
        first = weights.argmax(axis=1)
        major = weights.sum(axis=1) < 2.0  # the largest weighs 1
        return cupy.bincount(first[major], minlength=len(known))

    return counting(name, count_block, cupy.asarray, lambda n: cupy.zeros(n, dtype="int64"))


def torch_step(device, n, n_classes):
    """A step of propagation of a matrix that is there."""
    torch = import_module("torch")
    W = torch.rand(n, n, dtype=torch.float64, device=device)
    F = torch.rand(n, n_classes, dtype=torch.float64, device=device)
    degree, labeled = W.sum(dim=1, keepdim=True), torch.arange(0, n, 20, device=device)
    told = torch.rand(len(labeled), n_classes, dtype=torch.float64, device=device)

    def run():
        after = W @ F
        after /= degree
        after[labeled] = told
        return after

    return Case(run, 8 * n**2 + 48 * n * n_classes, 2 * n**2 * n_classes)


def torch_flips(device, rows, labels):
    """Errors after every flip of one label, of two classes."""
    torch = import_module("torch")
    M, scores, codes, target = (
        torch.from_numpy(array).to(device)
        for array in flip_task(np.random.default_rng(), rows, labels, 2)
    )
    margin, away = (scores[:, 1] - scores[:, 0])[:, None], 2.0 - 4.0 * codes
    right = target[:, None] == 1

    def run():
        return ((margin + M * away > TIE) != right).sum(dim=0)

    return Case(run, 8 * rows * labels, 3 * rows * labels)


def torch_log_weights(device, rows, columns, d):
    """Log-weights by the distances of torch, in float64, of points that are there."""
    torch = import_module("torch")
    x, y = (torch.rand(n, d, dtype=torch.float64, device=device) for n in (rows, columns))

    def run():
        mode = "use_mm_for_euclid_dist"
        return torch.cdist(x, y, compute_mode=mode).square_().mul_(-0.5)

    return Case(run, 8 * rows * columns, 2 * rows * columns * d)


def torch_solve(device, n, n_labeled):
    """A harmonic solution by LU of a matrix that is there, wrong where much cancels."""
    torch = import_module("torch")
    P = torch.rand(n, n + n_labeled, dtype=torch.float64, device=device)
    P /= P.sum(dim=1, keepdim=True)

    def run():
        A = torch.eye(n, dtype=torch.float64, device=device) - P[:, :n]
        return torch.linalg.solve(A, P[:, n:])

    return Case(run, 8 * n**2, 2 * n**3 // 3 + 2 * n**2 * n_labeled, queued=False)


def peers_of(device="cuda", *, small=False):
    """Yield what is timed of others: operation, size, who, and how its case is built.

    Where one is not installed, the last is None.
    """
    names = ("tiny float32",) if small else ("5% float32", "25% float32", "million float32")
    counters = {
        "pykeops": lambda name: keops_counting(name, device),
        "cuml": lambda name: rapids_counting(
            name, import_module("cuml.metrics").pairwise_distances
        ),
        "cuvs": lambda name: rapids_counting(
            name, import_module("cuvs.distance").pairwise_distance
        ),
    }
    if find_spec("torch") is None:
        yield "all", (), "torch eager", None
    else:
        for name in names:
            yield "influence", (name,), "torch eager", lambda k=name: torch_counting(k, device)
        for build, operation, full, few in (
            (torch_step, "step", [(13_007, 2), (30_000, 2)], [(50, 2)]),
            (torch_flips, "flip_errors", [(12_357, 650), (12_357, 3251)], [(40, 9)]),
            (torch_log_weights, "rows_of_weights", [(12_357, 650, 784)], [(40, 9, 5)]),
            (torch_solve, "harmonic", [(12_357, 650)], [(40, 9)]),
        ):
            for size in few if small else full:
                yield (
                    operation,
                    size,
                    "torch eager",
                    lambda b=build, s=size: b(device, *s),
                )
    for who, build in counters.items():
        if find_spec(who) is None:
            yield "influence", (), who, None
            continue
        # KeOps is for few features: the largest case would take minutes.
        for name in names[:1] if who == "pykeops" else names:
            yield "influence", (name,), who, lambda b=build, k=name: b(k)


# --- our own CPU path, for a process of its own, since it loads numba


def on_host(*, small=False, repeats=2):
    """Yield operation, size and the seconds of the CPU path, best known first: after a warm-up."""
    import gssl_poison as gp
    from gssl_poison.kernels import flips

    rng = np.random.default_rng()

    def influence(name):
        X, n_labeled, gamma = mir_data(name)
        fitted = gp.Direct().fit(gp.RBFGraph(X, gamma), np.arange(n_labeled))
        return lambda: gp.measure_influence(fitted)

    def harmonic(n_states, n_labeled, d):
        graph, labeled, _, _ = task(rng, n_states + n_labeled, n_labeled, d)
        return lambda: gp.Harmonic(method="gth").fit(graph, labeled).matrix()

    def loop(n, n_labeled, d):
        graph, labeled, _, Y = task(rng, n, n_labeled, d)
        fitted = gp.Propagation(10).fit(graph, labeled)
        return lambda: fitted.apply(Y)

    def greedy_round(rows, labels, classes):
        M, scores, codes, target = flip_task(rng, rows, labels, classes)
        free, room = np.ones(labels, dtype=np.bool_), np.empty(rows)

        def count():
            change = np.zeros((labels, classes), dtype=np.int64)
            flips.count_flips(M, scores, codes, target, free, change, room)

        return count

    few = [(influence, ("tiny uint8",)), (harmonic, (40, 6, 5)), (loop, (40, 6, 5))]
    few += [(greedy_round, (40, 9, 2))]
    full = [(influence, (name,)) for name in EXPECTED if name[0].isdigit()]
    full += [(greedy_round, (12_357, labels, 2)) for labels in (650, 3251)]
    full += [(loop, (13_007, 650, 100)), (harmonic, (12_357, 650, 100))]
    for build, size in few if small else full:
        call, seconds = build(*size), []
        for _ in range(repeats + 1):
            started = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - started)
        yield build.__name__, size, seconds[1:]
