"""What follows from a diagnosis: memory, the solver to take, and warnings in plain words."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from gssl_poison._arrays import n_threads
from gssl_poison.diagnosis.facts import (
    Conditioning,
    Loop,
    Need,
    Neighbours,
    Reach,
    SelfLoops,
    Underflow,
    plural,
)
from gssl_poison.diagnosis.words import in_bytes, in_power
from gssl_poison.elimination import memory_needed
from gssl_poison.graph import DenseGraph, RBFGraph
from gssl_poison.kernels.bounds import NEGLIGIBLE
from gssl_poison.sparse_graph import Graph, SparseGraph

# Logarithm below which float64 cannot tell a weight beside a self-loop: pruned storage drops it.
PRUNED_BELOW = -NEGLIGIBLE
# Steps of the loop over which a class is followed: the default of scikit-learn's spreading.
STEPS = 30

# Operations of an elimination, and of a product with all weights, that a person waits for: minutes.
_PATIENCE = 1e13
_FEW_STEPS = 10
# Numbers of the blocks a thread works on.
_BLOCKS = 2**22
# Vectors of a sparse solver, and its copies of the edges (12 bytes each).
_VECTORS, _COPIES = 100, 3
_NEIGHBOURS = 10
# Pruned storage is taken up to this part of all weights.
_MOST_KEPT = 0.05
# Effective neighbours from which on long walks mix labels from everywhere: see `_about_mixing`.
_MANY = 20.0


@dataclass(frozen=True)
class Findings:
    """What advice is drawn from; the fields are those of `Diagnosis`."""

    graph: Graph = field(repr=False)
    n_labeled: int
    n_unlabeled: int
    n_looked_at: int
    self_loops: SelfLoops
    neighbours: Neighbours
    float32: Underflow
    float64: Underflow
    reach: Reach
    loop: Loop
    conditioning: Conditioning
    memory: tuple[Need, ...]
    free_memory: int

    @property
    def kind(self) -> str:
        """What the graph is called."""
        if isinstance(self.graph, RBFGraph):
            return "rbf"
        return "dense" if isinstance(self.graph, DenseGraph) else "sparse"

    def fits(self, solver: str) -> bool:
        """Tell whether a solver's memory is free."""
        return any(need.fits for need in self.memory if need.solver.startswith(solver))


def memory_of(graph: Graph, n_labeled: int, density: float, free: int) -> tuple[Need, ...]:
    """Estimate the memory of every way to solve, beyond the input.

    Parameters
    ----------
    graph : RBFGraph, DenseGraph or SparseGraph
    n_labeled : int
    density : float
        Part of all weights that pruned storage keeps.
    free : int
        Bytes.
    """
    n, l = graph.n_points, n_labeled  # noqa: E741 - the number of labelled points, everywhere
    u = n - l
    # The first step of every loop reads its shares in blocks; so do the influences.
    shares, matrix = 24 * min(2 * _BLOCKS, u * l), 8 * u * l
    if isinstance(graph, SparseGraph):
        solve = 12 * graph.n_edges * _COPIES + 8 * n * _VECTORS
        needs = [
            ("direct", shares),
            ("propagation, spreading", solve),
            ("harmonic: on the edges", solve),
            ("harmonic: by elimination", memory_needed(u, l)),
        ]
    elif isinstance(graph, DenseGraph):
        needs = [
            *_of_sklearn(n),
            ("direct", shares),
            ("propagation, spreading", 8 * n**2 + shares),
            ("harmonic", memory_needed(u, l)),
        ]
    else:
        width = graph.X.nnz / n if graph.is_sparse else graph.n_features
        copy, blocks = round(8 * n * width), 8 * _BLOCKS * n_threads() // 2
        free_of_weights = copy + blocks + shares
        needs = [
            *_of_sklearn(n),
            ("direct", blocks + round(8 * l * width)),
            ("propagation, spreading: triangle", 4 * n**2 + free_of_weights),
            ("... in single precision", 2 * n**2 + free_of_weights),
            ("propagation, spreading: free", free_of_weights),
            ("harmonic", memory_needed(u, l) + copy),
            (
                f"knn:n_neighbors={_NEIGHBOURS} and harmonic",
                24 * n * _NEIGHBOURS * _COPIES + 8 * n * _VECTORS,
            ),
        ]
        if density <= _MOST_KEPT:
            needs.insert(5, ("propagation: pruned", round(24 * density * n**2) + free_of_weights))
    needs.append(("M itself, to keep", matrix))
    return tuple(Need(name, int(size), size <= free) for name, size in needs)


def _of_sklearn(n: int) -> list[tuple[str, int]]:
    """Return what scikit-learn 1.9 allocates: one matrix of all pairs, or three."""
    return [("scikit-learn LabelPropagation", 8 * n**2), ("scikit-learn LabelSpreading", 24 * n**2)]


def recommend(found: Findings) -> tuple[str, str | None, str]:
    """Return the propagator to take, the graph to build instead if any, and the reason."""
    n, l, u = found.graph.n_points, found.n_labeled, found.n_unlabeled  # noqa: E741
    harmonic = "harmonic:unreached=leave" if found.reach.unreached else "harmonic"
    if isinstance(found.graph, SparseGraph):
        return harmonic, None, (
            "The graph is sparse, so the limit of the loop is found on its edges alone, with a "
            "certified error and without a number of iterations to choose."
        )  # fmt: skip
    if found.loop.nearest_neighbour:
        return "direct", None, (
            f"After its first step the loop changes next to nothing: {STEPS} steps leave the class "
            f"of {found.loop.settled} where direct influence, which is that step, has it."
        )  # fmt: skip
    work = 2.0 / 3.0 * u**3 + 2.0 * u**2 * l
    if found.fits("harmonic") and work <= _PATIENCE:
        return harmonic, None, (
            "Its elimination fits into memory, is right at this gamma, and needs no number of "
            "iterations to be chosen."
        )  # fmt: skip
    why = "takes hours" if found.fits("harmonic") else "does not fit into memory"
    width = found.graph.n_features if isinstance(found.graph, RBFGraph) else 1
    if isinstance(found.graph, DenseGraph) or 2.0 * n**2 * width <= _PATIENCE:
        return f"propagation:n_iter={_FEW_STEPS}", None, (
            f"The elimination that the harmonic solution takes {why} for {u:,} points; a loop of "
            "fixed length takes a product with the weights per step."
        )  # fmt: skip
    return "harmonic", f"knn:n_neighbors={_NEIGHBOURS}", (
        f"All {n:,} points against all are too many; on a graph of nearest neighbours time and "
        "memory grow with the number of points, not with its square."
    )  # fmt: skip


def warn(found: Findings) -> Iterator[str]:
    """Say in plain words what goes wrong, and what to do."""
    yield from _about_reach(found)
    yield from _about_underflow(found)
    yield from _about_the_loop(found)
    yield from _about_mixing(found)
    yield from _about_conditioning(found)
    yield from _about_memory(found)
    yield from _about_influences(found)


def _about_reach(found: Findings) -> Iterator[str]:
    """Warn of points that no label reaches, or that none reaches soon."""
    reach = found.reach
    if reach.unreached:
        rows = ", ".join(map(str, reach.first_unreached))
        more = ", ..." if reach.unreached > len(reach.first_unreached) else ""
        parts = "1 part" if reach.components == 1 else f"{reach.components:,} parts"
        one = reach.unreached == 1
        yield (
            f"No label reaches {plural(reach.unreached)} (row"
            f"{'' if one else 's'} {rows}{more}) in {parts} of the graph: label one point of each "
            "part, or use more neighbours."
        )
    if reach.steps > 10:
        yield (
            f"A label needs up to {reach.steps:,} steps to reach a point: a loop of fewer "
            "iterations leaves points without a score."
        )
    if not found.graph.symmetric:
        yield (
            "The graph is directed: points may listen to points that do not listen to them. "
            "scikit-learn's 'knn' graph is of this kind."
        )


def _about_underflow(found: Findings) -> Iterator[str]:
    """Warn of weights that a type of number cannot hold."""
    single, double = found.float32, found.float64
    if single.no_label.found:
        yield (
            f"In float32 every weight to a label is 0 for {single.no_label}: plain float32 code "
            "returns 0, NaN or the first class there, in silence."
        )
    if double.no_label.found:
        yield (
            f"In float64, too, every weight to a label is 0 for {double.no_label}: scikit-learn "
            "gives rows of 0, which argmax reads as the first class, and predict gives NaN. "
            "gssl-poison works on logarithms and gives the limit."
        )


def _about_the_loop(found: Findings) -> Iterator[str]:
    """Warn of a loop that stands still, and of labels that are all heard alike."""
    loop = found.loop
    if loop.nearest_neighbour:
        steps = "for ever"
        if loop.log10_steps is not None:
            steps = f"about {in_power(loop.log10_steps, whole=True)} steps"
        yield (
            "This victim is a nearest-neighbour rule: points listen to themselves, so the loop "
            f"stands still after its first step, and {loop.settled} take the class of "
            f"their nearest label. Converging would take {steps}; 'harmonic' gives that limit. A "
            "smaller gamma lets labels travel."
        )


def _about_mixing(found: Findings) -> Iterator[str]:
    """Warn of labels that are all heard alike, at once or after long walks.

    The harmonic solution of few labels among many well connected points is nearly constant: Nadler,
    Srebro and Zhou 2009, Semi-supervised learning with the graph Laplacian: the limit of infinite
    unlabelled data.
    """
    labels = found.neighbours.labels.median
    if labels is not None and found.n_labeled >= 4 and labels > found.n_labeled / 2:
        yield (
            f"Labels are heard almost alike: the median point listens to {labels:,.0f} of "
            f"{found.n_labeled:,} in effect, so the largest class tends to win everywhere. A "
            "larger gamma makes influence local; gamma 'auto' finds one."
        )
        return
    many, leave = found.neighbours.everyone.median, found.conditioning.log10_leave.median
    if many is not None and many > _MANY and leave is not None and leave < math.log10(0.05):
        yield (
            f"Points listen to {many:,.0f} others in effect, and a step seldom meets a label: in "
            "the limit labels mix over long walks, and few steps (propagation:n_iter=10) may "
            "predict better than 'harmonic' does. Compare them."
        )


def _about_conditioning(found: Findings) -> Iterator[str]:
    """Warn of published formulas that cancel."""
    meets = found.conditioning
    if meets.zero_diagonal.found:
        yield (
            f"Entries of D - W on the diagonal are exactly 0 in float64 for {meets.zero_diagonal}: "
            "scripts that invert it return noise. 'harmonic' takes no difference."
        )
    elif meets.digits_lost is not None and meets.digits_lost > 6.0:
        yield (
            f"Inverting D - W with self-loops loses up to {meets.digits_lost:.0f} of 16 digits. "
            "'harmonic' takes no difference."
        )
    least = meets.log10_leave.least
    if least is not None and least < -440.0 and not isinstance(found.graph, SparseGraph):
        yield (
            f"Walks go to a label with probabilities down to 1e{math.floor(least)}, beyond what "
            "the elimination can carry if there is no other way out: 'harmonic' may refuse, and "
            "says where."
        )


def _about_memory(found: Findings) -> Iterator[str]:
    """Warn of what scikit-learn cannot do here."""
    for need in found.memory:
        if need.solver.startswith("scikit-learn") and not need.fits:
            yield (
                f"{need.solver} would need {in_bytes(need.n_bytes)}, and "
                f"{in_bytes(found.free_memory)} are free."
            )
            return


def _about_influences(found: Findings) -> Iterator[str]:
    """Warn where predictions are cheap and a ranking, which reads all of M, is not."""
    solver, build, _ = recommend(found)
    n, columns = found.graph.n_points, min(found.n_labeled, found.n_unlabeled)
    if solver.startswith("propagation"):
        slow = 2.0 * _FEW_STEPS * n**2 * columns > 20.0 * _PATIENCE
    else:
        edges = 2 * _NEIGHBOURS * n
        if isinstance(found.graph, SparseGraph):
            edges = found.graph.n_edges
        on_edges = isinstance(found.graph, SparseGraph) or build is not None
        # Some hundred products with the edges a column, at the rate of memory and not of BLAS.
        slow = on_edges and 200.0 * edges * columns > _PATIENCE / 10.0
    if slow:
        yield (
            f"A ranking by {solver.partition(':')[0]} solves once for each of {columns:,} labels, "
            "which may take hours; predictions take one solve a class, and --influence direct "
            "seconds."
        )
