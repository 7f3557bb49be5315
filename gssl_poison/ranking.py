"""The main job: rank labelled points by how many predictions hang on them."""

from __future__ import annotations

import platform
import time
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from gssl_poison._arguments import check_choice
from gssl_poison._arrays import Features, as_features, one_blas_thread
from gssl_poison.bandwidth import choose_gamma
from gssl_poison.exceptions import DeviceError, InputError
from gssl_poison.graph import DenseGraph, RBFGraph
from gssl_poison.influence import (
    Influence,
    Progress,
    check_block_size,
    measure_influence,
)
from gssl_poison.kernels.cuda import resolve_device
from gssl_poison.labels import Labels, split_labels
from gssl_poison.propagation import Direct, Propagator, parse_propagator
from gssl_poison.sparse_graph import Graph

if TYPE_CHECKING:
    import pandas as pd

GRAPHS = ("rbf", "knn")
ORDERS = ("mir", "total")


def rank(
    X: Any,
    y: Any,
    *,
    gamma: float | str = "auto",
    influence: str | Propagator = "direct",
    graph: str | Graph = "rbf",
    by: str = "mir",
    normalization: str = "row",
    unlabeled: Any = None,
    device: str = "auto",
    block_size: int | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Rank the labelled points by their influence on the unlabelled ones.

    Parameters
    ----------
    X : (n, d) array-like
        Features: numpy, pandas, scipy sparse (kept sparse), a torch tensor or a cupy array. A
        memory-mapped array is read block by block.
    y : (n,) array-like
        Labels of any type; NaN, None or an empty string where a point is unlabelled, -1 only among
        codes 0, 1, 2, ...
    gamma : float or {"auto", "scale", "median", "loo"}, default "auto"
        Kernel coefficient of ``w_ij = exp(-gamma |x_i - x_j|^2)``, or the rule that finds it:
        see `choose_gamma`. All but "loo" do not read the labels.
    influence : str or propagator, default "direct"
        Whose M is read: "direct", one step of label propagation; "propagation:n_iter=10",
        "harmonic" or "spreading:alpha=0.2,n_iter=10", which also count what travels through
        unlabelled points; see `parse_propagator`.
    graph : {"rbf", "knn", "knn:n_neighbors=10"} or graph, default "rbf"
        All pairs of points; each point's nearest ones, for data too large for that; or a graph of
        your own, `SparseGraph` or `DenseGraph`, which leaves X and gamma without a part.
    by : {"mir", "total"}, default "mir"
        Order by major influence range or by total influence; each breaks the other's ties, and
        the lower row number breaks what is left.
    normalization : {"row", "column-row"}, default "row"
        See `Direct`.
    unlabeled : scalar, optional
        The value of y that means unlabelled; NaN when only missing values do.
    device : {"auto", "cpu", "cuda"}, default "auto"
        Where to compute. "cuda" takes cupy and a GPU, and has kernels for what is read from an
        RBF graph of dense features, by rows; "auto" takes the CPU as long as those kernels have
        run in tests alone. Counts do not depend on it.
    block_size : int, optional
        Rows computed at a time, by thread.
    progress : callable, optional
        Called as ``progress(done, all)`` in rows.

    Returns
    -------
    DataFrame
        One row a labelled point, most influential first: ``rank`` (from 1), ``point`` (row number
        in X), ``label``, ``mir`` (unlabelled points in which its share of the influence is above
        one half), ``total`` (sum of its shares) and ``share`` (``mir`` over the number of
        unlabelled points). ``attrs`` holds gamma and how it was found, counts, undecided rows,
        versions and remarks, as plain values.

    Raises
    ------
    InputError
        A value that cannot be used; the message says which, why, and what to do.
    InputTypeError
        X or y of a type that holds no numbers or labels.
    DeviceError
        The device cannot run this here.

    Notes
    -----
    ``MIR(j) = |{i in U : M_ij / sum_{k in L} M_ik > 1/2}|``. Direct influence, ``M_ij = w_ij``,
    takes ``2 u l d`` operations and memory bounded by the block size, and a count is what a float64
    routine of fixed order gives; see `measure_influence`. The cost of the other propagators is
    theirs: see `Propagation`, `Harmonic` and `Spreading`.

    References
    ----------
    Influence-Driven Data Poisoning in Graph-Based Semi-Supervised Classifiers, Definitions 1 to 4.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0.0], [0.1], [0.2], [1.0], [5.0], [5.1]])
    >>> y = ["a", None, None, None, "b", None]
    >>> rank(X, y, gamma=1.0)[["rank", "point", "label", "mir", "share"]]
       rank  point label  mir  share
    0     1      0     a    3   0.75
    1     2      4     b    1   0.25
    """
    check_choice("by", by, ORDERS)
    propagator = _propagator(influence, normalization)
    features = as_features(X)
    labels = split_labels(y, features.shape[0], unlabeled)
    check_block_size(block_size, labels.labeled.size)
    started = time.perf_counter()
    used_device, device_note = resolve_device(device)
    points = build_graph(graph, features, gamma, labels, device=used_device)
    if getattr(points, "device", used_device) != used_device:
        used_device, device_note = "cuda", "the graph that was given is computed there"
    bandwidth = None if isinstance(points, DenseGraph) else points.bandwidth
    seconds_gamma = time.perf_counter() - started
    started = time.perf_counter()
    fitted = propagator.fit(points, labels.labeled)
    seconds_fit = time.perf_counter() - started
    measured = measure_influence(fitted, block_size=block_size, progress=progress)
    table = _table(labels, measured, by)
    table.attrs = {
        "gamma": None if bandwidth is None else bandwidth.gamma,
        "gamma_rule": "none" if bandwidth is None else bandwidth.rule,
        "gamma_note": "the graph was given" if bandwidth is None else bandwidth.note,
        "influence": influence if isinstance(influence, str) else repr(influence),
        "graph": graph if isinstance(graph, str) else type(graph).__name__,
        "by": by,
        "normalization": getattr(propagator, "normalization", "row"),
        "n_labeled": int(labels.labeled.size),
        "n_unlabeled": int(labels.unlabeled.size),
        "n_features": int(features.shape[1]),
        "classes": [str(c) for c in labels.classes],
        "one_class": len(labels.classes) == 1,
        "undecided": measured.undecided,
        "unresolved": measured.unresolved,
        "unreached": measured.unreached,
        "method": fitted.method,
        "n_iter": fitted.n_iter,
        "residual": fitted.residual,
        "undominated": int(labels.unlabeled.size - measured.mir.sum()),
        "rechecked": measured.rechecked,
        "route": "+".join(sorted(measured.routes)),
        "bound": measured.bound,
        "device": used_device,
        "device_note": device_note,
        "seconds": measured.seconds,
        "seconds_gamma": seconds_gamma,
        "seconds_fit": seconds_fit,
        "versions": _versions(),
        "notes": _notes(labels, measured, bandwidth is not None),
    }
    return table


def _propagator(influence: str | Propagator, normalization: str) -> Propagator:
    """Return the propagator whose M is read."""
    propagator = parse_propagator(influence) if isinstance(influence, str) else influence
    if normalization == "row":
        return propagator
    if propagator != Direct():
        raise InputError(
            f"normalization={normalization!r} is a setting of direct influence, and influence is "
            f"{influence!r}; leave one of them out."
        )
    return Direct(normalization)


def build_graph(
    graph: str | Graph,
    features: Features,
    gamma: float | str,
    labels: Labels,
    *,
    device: str = "cpu",
) -> Graph:
    """Return the graph that a name stands for, with its gamma, or the one that was given."""
    if not isinstance(graph, str):
        if device == "cuda" and getattr(graph, "device", "cpu") != "cuda":
            raise DeviceError(
                "device='cuda' was asked for, and the graph that was given is computed on the CPU; "
                "give RBFGraph(X, gamma, device='cuda'), or a sparse graph's .on('cuda')."
            )
        if graph.n_points != features.shape[0]:
            raise InputError(
                f"graph has {graph.n_points:,} points and X has {features.shape[0]:,} rows; they "
                "must be the same points in the same order."
            )
        if gamma != "auto":
            raise InputError(f"gamma={gamma!r} has no part in a graph that is given; leave it out.")
        return graph
    kind, _, setting = graph.partition(":")
    key, _, count = setting.partition("=")
    if kind not in GRAPHS or (setting and (kind, key.strip()) != ("knn", "n_neighbors")):
        raise InputError(
            f"graph={graph!r} is not known; use 'rbf', 'knn', 'knn:n_neighbors=10' or a graph."
        )
    if setting and not count.strip().isdigit():
        raise InputError(f"n_neighbors={count!r} in graph={graph!r} is not a whole number.")
    neighbours = int(count) if setting else 10
    from gssl_poison.knn import knn_graph  # a search loads what ranking alone does without

    if kind == "knn" and gamma == "auto":
        # The edges have a scale of their own, which the distance to labels says nothing about.
        return knn_graph(features, neighbours).on(device)
    with one_blas_thread():
        bandwidth = choose_gamma(
            features, gamma, labeled=labels.labeled, unlabeled=labels.unlabeled, codes=labels.codes
        )
    if kind == "knn":
        return knn_graph(features, neighbours, gamma=bandwidth).on(device)
    return RBFGraph(features, bandwidth, device=device)


def _table(labels: Labels, measured: Influence, by: str) -> pd.DataFrame:
    """Order the labelled points and set them out."""
    import pandas as pd

    mir, total = measured.mir, measured.total
    keys = (mir, total) if by == "mir" else (total, mir)
    # lexsort takes its last key first and is stable: rows stay in order where both are equal.
    order = np.lexsort((-keys[1], -keys[0]))
    return pd.DataFrame(
        {
            "rank": np.arange(1, order.size + 1),
            "point": labels.labeled[order],
            "label": pd.Series([labels.classes[c] for c in labels.codes[order]], dtype=object),
            "mir": mir[order],
            "total": total[order],
            "share": measured.share[order],
        }
    )


def _versions() -> dict[str, str]:
    """Return the versions that produced a result."""
    packages = ("gssl-poison", "numpy", "scipy", "numba", "pandas", "scikit-learn")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def _notes(labels: Labels, measured: Influence, has_gamma: bool) -> list[str]:
    """Say, in plain words, what a reader of the ranking should know about this input."""
    notes = []
    if len(labels.classes) == 1:
        notes.append(
            f"All labelled points are of one class ({labels.classes[0]}): the ranking says what "
            "depends on each, but no other class can win."
        )
    if measured.undecided:
        points = "1 point" if measured.undecided == 1 else f"{measured.undecided:,} points"
        notes.append(
            f"The largest share of {points} cannot be told from one half, and counts for nobody: "
            "two labels weigh equally there, up to rounding. Duplicated labelled points do this."
        )
    nobody = not measured.mir.any() and measured.unreached < measured.n_unlabeled
    if nobody and not measured.undecided:
        larger = " A larger gamma makes labels decide alone." if has_gamma else ""
        notes.append(
            f"{'At this gamma no' if has_gamma else 'No'} label holds more than half of the "
            f"influence on any point, so the order is that of the total influence.{larger}"
        )
    if measured.unreached:
        notes.append(
            f"No label reaches {measured.unreached:,} unlabelled points: nothing is known of them, "
            "and they count for nobody."
        )
    if measured.unresolved:
        notes.append(
            f"gamma is so large that float64 cannot tell the shares of {measured.unresolved:,} "
            "unlabelled points; they are left out of the total influence."
        )
    if labels.labeled.size == 1:
        notes.append("A single labelled point decides everything, whatever gamma is.")
    return notes
