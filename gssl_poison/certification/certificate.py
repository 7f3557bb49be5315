"""The certificate: what no attacker within a budget can exceed, and the verb that proves it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from gssl_poison.certification.collective import METHODS, bound_together
from gssl_poison.certification.pointwise import radii
from gssl_poison.exceptions import InputError
from gssl_poison.problem import Problem, check_fits, count_flips
from gssl_poison.propagation import Fitted
from gssl_poison.sparse_graph import SparseGraph

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Certificate:
    """What no attacker can exceed who changes at most k labels, each to any class.

    Attributes
    ----------
    budgets : tuple of int
        Numbers of flips k, ascending.
    radius : (u,) int64
        The least number of flips that can change the prediction of a point; ``n_labeled + 1``
        where no flips can.
    predicted : (u,) int64
        The clean predictions.
    clean : float
        Part of the points predicted wrongly with no flip; 0 without truth.
    pointwise : (b,) float64
        Upper bounds on the part of the points that are wrong (without truth: changed) after at
        most k flips, every point attacked by itself.
    collective : (b,) float64
        The same for one set of flips against all points; never above ``pointwise``.
    certified : (b,) float64
        Part of the points that are right (without truth: all) and stay so under any k flips.
    methods : tuple of str
        What proved the collective bounds: "enumeration", "milp", "lagrangian" or
        "pointwise".
    used_truth : bool
    n_labeled, n_classes : int
    undecided : int
        Points whose radius may be larger: the errors of the victim's shares leave it open.
    seconds : float
    holds_for : str
        The one victim, graph and set of classes of which all this is true.
    """

    budgets: tuple[int, ...]
    radius: Integers = field(repr=False)
    predicted: Integers = field(repr=False)
    clean: float
    pointwise: Floats
    collective: Floats
    certified: Floats
    methods: tuple[str, ...]
    used_truth: bool
    n_labeled: int
    n_classes: int
    undecided: int
    seconds: float
    holds_for: str

    def __post_init__(self) -> None:
        """Make the arrays ones that cannot be written to."""
        for name in ("radius", "predicted", "pointwise", "collective", "certified"):
            value = np.array(getattr(self, name))
            value.flags.writeable = False
            object.__setattr__(self, name, value)


def certify(
    problem: Problem,
    victim: Fitted,
    budgets: Sequence[float] = (1, 2, 5, 10),
    *,
    truth: bool | None = None,
    collective: bool = True,
    method: str = "auto",
    time_limit: float = 60.0,
    progress: Progress | None = None,
) -> Certificate:
    """Prove what no attacker within a budget of label flips can do to the victim's predictions.

    Parameters
    ----------
    problem : Problem
    victim : Fitted
        The propagator under attack, fitted to the problem's graph and labelled points.
    budgets : sequence of int or float, default (1, 2, 5, 10)
        Labels an attacker may flip, or parts of them between 0 and 1.
    truth : bool, optional
        Whether a point is wrong by its true class, or by its clean prediction; by default the
        former where the problem has the truth.
    collective : bool, default True
        Whether to bound what one set of flips can do to all points at once. Reads all of M.
    method : {"auto", "milp", "lagrangian"}, default "auto"
        How: exactly, as an integer program, or by its Lagrangian; "auto" goes by the size.
    time_limit : float, default 60
        Seconds for the collective bound of each budget; a bound is proven whenever it is stopped.
    progress : callable, optional
        Called with the steps done and their number.

    Returns
    -------
    Certificate

    Raises
    ------
    InputError
        The victim is not of this problem or failed its check, a budget is out of range, there is
        no truth, or one class only.

    Examples
    --------
    >>> import numpy as np
    >>> from gssl_poison import Direct, Problem, RBFGraph
    >>> X = np.array([[0.0], [0.1], [0.2], [0.3], [4.0], [4.1], [4.2]])
    >>> problem = Problem(RBFGraph(X, gamma=1.0), labeled=[0, 1, 4], y=[0, 0, 1])
    >>> certificate = certify(problem, Direct().fit(problem.graph, [0, 1, 4]), budgets=(1, 2))
    >>> certificate.radius, certificate.pointwise, certificate.collective
    (array([1, 1, 1, 1]), array([1., 1.]), array([0.5, 1. ]))
    """
    started = time.perf_counter()
    check_fits(problem, victim, "victim")
    used_truth = problem.truth is not None if truth is None else bool(truth)
    if used_truth and problem.truth is None:
        raise InputError(
            "truth=True needs the true classes of the unlabelled points; give Problem(truth=...), "
            "or truth=False for the part of the predictions that flips can change."
        )
    if problem.n_classes < 2:
        raise InputError(
            f"all {problem.y.size} labels are of class {problem.classes[0]!r}, and there is no "
            "other to flip one to; name another class with Problem(n_classes=...)."
        )
    if method not in METHODS:
        raise InputError(f"method={method!r} is not known; use one of {', '.join(METHODS)}.")
    limit: Any = time_limit
    if isinstance(limit, bool) or not isinstance(limit, int | float) or not limit > 0.0:
        raise InputError(f"time_limit={time_limit!r} is not a positive number; give seconds.")
    counts = _flips(budgets, problem.y.size)
    held = victim.stored() if collective else victim
    found = radii(problem, held, None if collective else progress)
    target = found.predicted if problem.truth is None or not used_truth else _of(problem)
    right = found.predicted == target
    vulnerable = [right & (found.radius <= k) for k in counts]
    wrong = int((~right).sum())
    pointwise = [wrong + int(rows.sum()) for rows in vulnerable]
    bounds, methods = list(pointwise), ["pointwise"] * len(counts)
    if collective:
        bounds, methods = bound_together(
            problem,
            held,
            found,
            target,
            counts,
            method=method,
            time_limit=time_limit,
            progress=progress,
        )
    u = target.size
    return Certificate(
        budgets=counts,
        radius=found.radius,
        predicted=found.predicted,
        clean=wrong / u,
        pointwise=np.array(pointwise) / u,
        collective=np.array(bounds) / u,
        certified=(u - np.array(pointwise)) / u,
        methods=tuple(methods),
        used_truth=used_truth,
        n_labeled=problem.y.size,
        n_classes=problem.n_classes,
        undecided=found.undecided,
        seconds=time.perf_counter() - started,
        holds_for=_holds_for(problem, victim),
    )


def _of(problem: Problem) -> Integers:
    """Return the true classes of the unlabelled points."""
    return np.asarray(problem.truth)[problem.unlabeled]


def _flips(budgets: Any, n_labeled: int) -> tuple[int, ...]:
    """Return the budgets as counts, ascending, each once."""
    several = isinstance(budgets, Iterable) and not isinstance(budgets, str | bytes)
    given = list(budgets) if several else [budgets]
    if not given:
        raise InputError("budgets is empty; give at least one number of flips, such as (1, 2, 5).")
    return tuple(sorted({count_flips(budget, n_labeled) for budget in given}))


def _holds_for(problem: Problem, victim: Fitted) -> str:
    """Say of what a certificate is true."""
    graph, names = victim.graph, [str(name) for name in problem.classes]
    bandwidth = getattr(graph, "bandwidth", None)
    kind = type(graph).__name__
    if isinstance(graph, SparseGraph):
        kind += f" of {graph.indices.size:,} edges"
    if bandwidth is not None:
        kind += f" with gamma={float(bandwidth.gamma):.6g}"
    shown = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
    return (
        f"{victim.propagator!r} on this {kind}, {graph.n_points:,} points of which "
        f"{problem.y.size:,} are labelled, and flips to the {len(names)} classes {shown}."
    )
