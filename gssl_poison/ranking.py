"""The main job: rank labelled points by how many predictions hang on them."""

from __future__ import annotations

import platform
import time
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from gssl_poison._arrays import as_features, one_blas_thread, resolve_device
from gssl_poison.bandwidth import choose_gamma
from gssl_poison.exceptions import InputError
from gssl_poison.graph import RBFGraph
from gssl_poison.influence import Influence, Progress, check_block_size, measure_influence
from gssl_poison.labels import Labels, split_labels
from gssl_poison.propagation import Direct

if TYPE_CHECKING:
    import pandas as pd

INFLUENCES = ("direct",)
ORDERS = ("mir", "total")


def rank(
    X: Any,
    y: Any,
    *,
    gamma: float | str = "auto",
    influence: str = "direct",
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
    influence : {"direct"}, default "direct"
        Direct influence, one step of label propagation.
    by : {"mir", "total"}, default "mir"
        Order by major influence range or by total influence; each breaks the other's ties, and
        the lower row number breaks what is left.
    normalization : {"row", "column-row"}, default "row"
        See `Direct`.
    unlabeled : scalar, optional
        The value of y that means unlabelled; NaN when only missing values do.
    device : {"auto", "cpu", "cuda"}, default "auto"
        Where to compute. This version has CPU kernels.
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
    ``MIR(j) = |{i in U : w_ij / sum_{k in L} w_ik > 1/2}|``, at ``2 u l d`` operations and memory
    bounded by the block size. A count is what a float64 routine of fixed order gives; see
    `measure_influence`.

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
    _check_choice("influence", influence, INFLUENCES)
    _check_choice("by", by, ORDERS)
    propagator = Direct(normalization)
    used_device, device_note = resolve_device(device)
    features = as_features(X)
    labels = split_labels(y, features.shape[0], unlabeled)
    check_block_size(block_size, labels.labeled.size)
    started = time.perf_counter()
    with one_blas_thread():
        bandwidth = choose_gamma(
            features, gamma, labeled=labels.labeled, unlabeled=labels.unlabeled, codes=labels.codes
        )
    seconds_gamma = time.perf_counter() - started
    graph = RBFGraph(features, bandwidth)
    measured = measure_influence(
        propagator.fit(graph, labels.labeled), block_size=block_size, progress=progress
    )
    table = _table(labels, measured, by)
    table.attrs = {
        "gamma": bandwidth.gamma,
        "gamma_rule": bandwidth.rule,
        "gamma_note": bandwidth.note,
        "influence": influence,
        "by": by,
        "normalization": normalization,
        "n_labeled": int(labels.labeled.size),
        "n_unlabeled": int(labels.unlabeled.size),
        "n_features": graph.n_features,
        "classes": [str(c) for c in labels.classes],
        "one_class": len(labels.classes) == 1,
        "undecided": measured.undecided,
        "unresolved": measured.unresolved,
        "undominated": int(labels.unlabeled.size - measured.mir.sum()),
        "rechecked": measured.rechecked,
        "route": "+".join(sorted(measured.routes)),
        "bound": measured.bound,
        "device": used_device,
        "device_note": device_note,
        "seconds": measured.seconds,
        "seconds_gamma": seconds_gamma,
        "versions": _versions(),
        "notes": _notes(labels, measured),
    }
    return table


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse a value that is not one of the choices."""
    if value not in choices:
        raise InputError(f"{name}={value!r} is not known; use one of {', '.join(choices)}.")


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


def _notes(labels: Labels, measured: Influence) -> list[str]:
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
    if not measured.mir.any() and not measured.undecided:
        notes.append(
            "At this gamma no label holds more than half of the influence on any point, so the "
            "order is that of the total influence. A larger gamma makes labels decide alone."
        )
    if measured.unresolved:
        notes.append(
            f"gamma is so large that float64 cannot tell the shares of {measured.unresolved:,} "
            "unlabelled points; they are left out of the total influence."
        )
    if labels.labeled.size == 1:
        notes.append("A single labelled point decides everything, whatever gamma is.")
    return notes
