"""Diagnosis: what a graph will do to a solver, before hours are spent on it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gssl_poison._arrays import available_memory
from gssl_poison.diagnosis.advice import PRUNED_BELOW, STEPS, Findings, memory_of, recommend, warn
from gssl_poison.diagnosis.facts import (
    Conditioning,
    Count,
    Diagnosis,
    Loop,
    Need,
    Neighbours,
    Reach,
    SelfLoops,
    Spread,
    Underflow,
)
from gssl_poison.diagnosis.rows import RowFacts, look_at_rows
from gssl_poison.exceptions import InputError
from gssl_poison.graph import DenseGraph, RBFGraph
from gssl_poison.propagation.graphs import split_points
from gssl_poison.sparse_graph import Graph, SparseGraph

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# Logarithms below which a number rounds to 0, and below which it is no normal number.
_LIMITS = {"float32": (-150.0, -126.0), "float64": (-1075.0, -1022.0)}
# scikit-learn's default `tol` of LabelPropagation.
_TOL = 1e-3
_LOG10 = float(np.log(10.0))


def diagnose(
    graph: Graph, labeled: npt.ArrayLike, *, sample: int = 512, seed: int = 0
) -> Diagnosis:
    """Say what a graph does to solvers: underflow, standstill, cancellation, memory.

    Parameters
    ----------
    graph : RBFGraph, DenseGraph or SparseGraph
        The points and how they listen to one another.
    labeled : (l,) int
        Row numbers of the labelled points.
    sample : int, default 512
        Unlabelled points of a Gaussian or dense graph to look at, each against all points; of a
        sparse graph all are looked at.
    seed : int, default 0
        Of the sample.

    Returns
    -------
    Diagnosis
        Its counts say whether they are exact or scaled up from the sample.

    Raises
    ------
    InputError
        ``labeled`` or ``sample`` is not usable, or a feature is not finite.

    Notes
    -----
    All figures are of unlabelled points. ``2 sample n d`` operations on a Gaussian graph: a second
    for 13,007 images, and blocks of bounded memory; ``n^2`` on a dense graph, where paths are
    followed; the edges once on a sparse one. Everything is computed from logarithms of weights.

    Examples
    --------
    >>> import numpy as np
    >>> from gssl_poison import RBFGraph
    >>> graph = RBFGraph(np.arange(8.0)[:, None], gamma=60.0)
    >>> found = diagnose(graph, np.array([0, 7]))
    >>> found.loop.one_step, str(found.float32.no_label)
    (True, '4 of 6 points')
    """
    _check_sample(sample)
    known, others = split_points(labeled, graph)
    rows = others
    if not isinstance(graph, SparseGraph) and others.size > sample:
        rows = np.sort(np.random.default_rng(seed).permutation(others)[:sample])
    facts = look_at_rows(graph, rows, known, PRUNED_BELOW)
    reach = _reach(graph, known, others)
    log_rest = _log_rest(facts)
    loops = SelfLoops(
        share=_spread(-np.expm1(log_rest)),
        log10_rest=_spread(log_rest / _LOG10),
        nearly_all=_count(log_rest < np.log(1e-9), others.size),
    )
    heard = np.isfinite(facts.labeled.top)
    neighbours = Neighbours(
        everyone=_spread(facts.everyone.effective[np.isfinite(facts.everyone.top)]),
        labels=_spread(facts.labeled.effective[heard]),
    )
    free = available_memory()
    density = float(facts.kept.mean()) / graph.n_points
    findings = Findings(
        graph=graph,
        n_labeled=int(known.size),
        n_unlabeled=int(others.size),
        n_looked_at=int(rows.size),
        self_loops=loops,
        neighbours=neighbours,
        float32=_underflow(facts, "float32", others.size),
        float64=_underflow(facts, "float64", others.size),
        reach=reach,
        loop=_loop(facts, log_rest, others.size),
        conditioning=_conditioning(facts, log_rest, heard, others.size),
        memory=memory_of(graph, int(known.size), density, free),
        free_memory=free,
    )
    recommended, recommended_graph, reason = recommend(findings)
    bandwidth = None if isinstance(graph, DenseGraph) else graph.bandwidth
    return Diagnosis(
        graph=findings.kind,
        gamma=None if bandwidth is None else float(bandwidth.gamma),
        symmetric=graph.symmetric,
        n_points=graph.n_points,
        n_labeled=findings.n_labeled,
        n_unlabeled=findings.n_unlabeled,
        n_looked_at=findings.n_looked_at,
        exact=findings.n_looked_at == findings.n_unlabeled,
        self_loops=loops,
        neighbours=neighbours,
        float32=findings.float32,
        float64=findings.float64,
        reach=reach,
        loop=findings.loop,
        conditioning=findings.conditioning,
        memory=findings.memory,
        free_memory=free,
        recommended=recommended,
        recommended_graph=recommended_graph,
        reason=reason,
        warnings=tuple(warn(findings)),
    )


def _check_sample(sample: object) -> None:
    """Refuse what is no number of points."""
    if isinstance(sample, bool) or not isinstance(sample, int | np.integer) or sample < 1:
        raise InputError(f"sample={sample!r} is not a positive whole number; give at least 1.")


def _log_rest(facts: RowFacts) -> Floats:
    """Return ``log(1 - P_ii)``: -inf for a point that listens to no other."""
    # 1 - P_ii = 1 / (1 + exp(own - others)); a point without a self-loop has none of itself.
    outside = facts.everyone.log_sum
    alone = ~np.isfinite(outside)
    gap = np.where(alone, np.inf, facts.own - np.where(alone, 0.0, outside))
    result: Floats = -np.logaddexp(0.0, gap)
    return result


def _loop(facts: RowFacts, log_rest: Floats, everyone: int) -> Loop:
    """Judge what comes after the first step."""
    # Rows of F sum to 1 after it, so a row's second change is at most 2 (1 - P_ii).
    change = 2.0 * everyone * float(np.exp(log_rest).mean())
    median = float(np.median(log_rest))
    # After k steps a row is P_ii^(k-1) times its first value and the rest of anything, which turns
    # no class if the first had a larger margin: at least that of its nearest label to all others.
    with np.errstate(divide="ignore"):
        stayed = np.exp((STEPS - 1) * np.log1p(-np.exp(log_rest)))
    largest = facts.labeled.largest_share
    settled = _count(2.0 * (1.0 - stayed) < 2.0 * largest - 1.0, everyone)
    return Loop(
        second_change=change,
        one_step=change < _TOL,
        log10_steps=None if median == -np.inf else -median / _LOG10,
        decided=_count(largest > 0.5, everyone),
        decided_wholly=_count(largest > 0.999, everyone),
        settled=settled,
        nearest_neighbour=settled.part >= 0.9,
    )


def _conditioning(
    facts: RowFacts, log_rest: Floats, heard: npt.NDArray[np.bool_], everyone: int
) -> Conditioning:
    """Judge what solvers of the harmonic equations meet."""
    leave = facts.labeled.log_sum[heard] - facts.everyone.log_sum[heard]
    with np.errstate(over="ignore", invalid="ignore"):
        own = np.exp(facts.own)
        degree = own + np.exp(facts.everyone.log_sum)
        # inf - inf is not 0, but no better.
        zero = ~(degree - own > 0.0) & np.isfinite(facts.everyone.top)
    worst = float(log_rest.min())
    return Conditioning(
        log10_leave=_spread(leave / _LOG10),
        zero_diagonal=_count(zero, everyone),
        digits_lost=None if worst == -np.inf else max(0.0, -worst / _LOG10),
    )


def _underflow(facts: RowFacts, dtype: str, everyone: int) -> Underflow:
    """Count points whose weights a type of number cannot hold."""
    zero, normal = (limit * np.log(2.0) for limit in _LIMITS[dtype])

    def below(top: Floats, limit: float) -> Count:
        return _count(np.isfinite(top) & (top < limit), everyone)

    return Underflow(
        no_neighbour=below(facts.everyone.top, zero),
        no_label=below(facts.labeled.top, zero),
        few_digits_neighbour=below(facts.everyone.top, normal),
        few_digits_label=below(facts.labeled.top, normal),
    )


def _reach(graph: Graph, labeled: Integers, others: Integers) -> Reach:
    """Follow the labels along the edges."""
    hops = graph.hops(labeled)
    unreached = np.flatnonzero(hops < 0)
    return Reach(
        unreached=int(unreached.size),
        first_unreached=tuple(unreached[:10].tolist()),
        components=_components(graph, unreached),
        no_labeled_neighbour=int((hops[others] != 1).sum()),
        steps=int(hops.max()),
    )


def _components(graph: Graph, points: Integers) -> int:
    """Count the connected parts that points form, whatever the direction of edges."""
    if points.size == 0 or isinstance(graph, RBFGraph):
        return 0
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    if isinstance(graph, SparseGraph):
        shape = (graph.n_points, graph.n_points)
        edges = csr_array((np.ones(graph.n_edges, np.bool_), graph.indices, graph.indptr), shape)
        among = edges[points][:, points]
    else:
        nothing = -np.inf if graph.is_log else 0
        among = csr_array(graph.values[np.ix_(points, points)] > nothing)
    count: int = connected_components(among, directed=True, connection="weak")[0]
    return int(count)


def _count(there: npt.NDArray[np.bool_], everyone: int) -> Count:
    """Count, and scale up to all unlabelled points."""
    found = int(there.sum())
    return Count(found, int(there.size), round(found / there.size * everyone), int(everyone))


def _spread(values: Floats) -> Spread:
    """Return least, median and largest, leaving out what no number says."""
    if values.size == 0:
        return Spread(None, None, None)
    picked = (float(values.min()), float(np.median(values)), float(values.max()))
    return Spread(*(value if np.isfinite(value) else None for value in picked))


__all__ = [
    "Conditioning",
    "Count",
    "Diagnosis",
    "Loop",
    "Need",
    "Neighbours",
    "Reach",
    "SelfLoops",
    "Spread",
    "Underflow",
    "diagnose",
]
