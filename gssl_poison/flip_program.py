"""The most points that k flips can turn wrong: all sets of flips, or an integer program."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from math import comb
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from gssl_poison.exceptions import NumericalError
from gssl_poison.labels import TIE
from gssl_poison.metrics import predict

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

# The solver takes constraints for met that fail by 1e-6 of their largest coefficient: rows are let
# off by more, so that no true solution is lost, and false ones are cut off when they turn up.
_RELAXED = 1e-4
# Coefficients below this part of the largest are left out, and given back to the need: they are
# hardly more than the solver's tolerance.
_SMALLEST = 1e-5
# Operations up to which all sets of flips are tried: some seconds.
_TRIED = 3_000_000_000
# Numbers in the constraints above which no useful answer comes.
_LARGEST = 2_000_000


@dataclass(frozen=True)
class FlipAnswer:
    """The best flips found, and what none can exceed.

    Attributes
    ----------
    order, new : (f,) int64
        Labels flipped, by position, and their new classes.
    wrong : int
        Rows whose prediction is not their target after these flips.
    bound : int
        No flips within the budget turn more rows wrong.
    optimal : bool
        Whether the two are equal.
    rounds : int
        Times the solver was called.
    method : str
        "enumeration" or "milp".
    """

    order: Integers
    new: Integers
    wrong: int
    bound: int
    optimal: bool
    rounds: int
    method: str


@dataclass(frozen=True)
class _Duels:
    """Rows against their rivals: rival b beats the target of a row where ``gains @ x >= need``.

    A column of ``gains`` stands for giving label ``label`` the class ``new``.
    """

    gains: Floats = field(repr=False)
    need: Floats
    row: Integers
    label: Integers
    new: Integers
    always: int


def program_size(n_rows: int, n_labeled: int, n_classes: int) -> int:
    """Return how many numbers the constraints hold."""
    return n_rows * n_labeled * (n_classes - 1) ** 2


def fits_program(n_rows: int, n_labeled: int, n_classes: int, n_flips: int) -> bool:
    """Return whether a problem is small enough for `most_wrong`."""
    return program_size(n_rows, n_labeled, n_classes) <= _LARGEST or can_try_all(
        n_rows, n_labeled, n_classes, n_flips
    )


def can_try_all(n_rows: int, n_labeled: int, n_classes: int, n_flips: int) -> bool:
    """Return whether all sets of at most k flips can be tried in some seconds."""
    sets = sum(comb(n_labeled, size) * (n_classes - 1) ** size for size in range(n_flips + 1))
    return bool(sets * n_rows * n_classes <= _TRIED)


def most_wrong(
    shares: Floats,
    codes: Integers,
    target: Integers,
    n_classes: int,
    n_flips: int,
    *,
    time_limit: float = 60.0,
    margin: float = 0.0,
    method: str = "auto",
) -> FlipAnswer:
    """Find the flips of at most k labels that leave most rows with another class than their target.

    Parameters
    ----------
    shares : (r, l) float64
        Row-normalised M.
    codes : (l,) int64
    target : (r,) int64
    n_classes, n_flips : int
    time_limit : float, default 60
        Seconds; the bound is proven when it is stopped, too.
    margin : float, default 0
        What every difference of scores may be off: the bound counts a row that comes this close.
    method : {"auto", "milp"}, default "auto"
        "auto" tries all sets of flips where there are few, and margin is 0.

    Returns
    -------
    FlipAnswer

    Notes
    -----
    With ``x_(j,b) = 1`` where label j gets class b, ``v_(i,b) = 1`` where b beats the target t of
    row i, and g the change of ``F_ib - F_it``, negative for flips that help the row:

        max sum_i z_i,   z_i <= sum_b v_ib,   g x >= need_ib - (need_ib - least g x)(1 - v_ib),
        sum_b x_(j,b) <= 1,   sum x <= k

    Ties of 1e-12 are finer than any solver: it works with a relaxed ``need``, and where it takes a
    row for beaten that is not, a constraint that rules out this very mistake is added (another flip
    must gain, or one that helps the row must go), until the answer is true.

    References
    ----------
    Huangfu and Hall, Parallelizing the dual revised simplex method, Math. Prog. Comp. 10 (2018):
    HiGHS.

    Examples
    --------
    >>> shares = np.array([[0.6, 0.4, 0.0], [0.0, 0.3, 0.7], [0.2, 0.4, 0.4]])
    >>> answer = most_wrong(shares, np.array([0, 0, 1]), np.array([0, 1, 0]), 2, 1)
    >>> answer.order, answer.wrong, answer.bound
    (array([0]), 2, 2)
    """
    if method == "auto" and margin == 0.0:
        l = codes.size  # noqa: E741
        if can_try_all(len(shares), l, n_classes, n_flips):
            return _try_all(shares, codes, target, n_classes, min(n_flips, l))
    from scipy.optimize import Bounds, LinearConstraint, milp

    ends = time.perf_counter() + time_limit
    duels = _duels(shares, codes, target, n_classes=n_classes, n_flips=n_flips, margin=margin)
    n_moves, n_duels = duels.label.size, duels.need.size
    rows, place = np.unique(duels.row, return_inverse=True)
    cost = np.concatenate([np.zeros(n_moves + n_duels), -np.ones(rows.size)])
    constraints = [LinearConstraint(*block) for block in _blocks(duels, place, n_flips)]
    integral = np.concatenate([np.ones(n_moves + n_duels), np.zeros(rows.size)])
    best = _Best(shares, codes, target, n_classes)
    best.look(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
    bound, rounds = duels.always + rows.size, 0
    while best.wrong < bound and (left := ends - time.perf_counter()) > 0.0:
        rounds += 1
        found: Any = milp(
            cost,
            integrality=integral,
            bounds=Bounds(0.0, 1.0),
            constraints=constraints,
            # Presolve loses optima over small coefficients, one in some hundred small problems.
            options={"time_limit": left, "mip_rel_gap": 0.0, "presolve": False},
        )
        proven = found.mip_dual_bound
        if proven is not None and np.isfinite(proven):
            bound = min(bound, duels.always + int(np.floor(1e-6 - proven)))
        if found.x is None:
            break
        x = found.x[:n_moves] > 0.5
        best.look(duels.label[x], duels.new[x])
        mistaken = (found.x[n_moves : n_moves + n_duels] > 0.5) & (
            duels.gains @ x < duels.need - 1e-15
        )
        if found.status != 0 or not mistaken.any():
            break
        constraints.append(LinearConstraint(*_corrections(duels, x, mistaken, rows.size)))
    if best.wrong > bound:
        raise NumericalError(
            f"the integer solver claims that no {n_flips} flips turn more than {bound} rows, and "
            f"{best.wrong} are turned by flips at hand: its tolerances do not fit these numbers; "
            "use the Lagrangian bound, certify(method='lagrangian')."
        )
    optimal = best.wrong == bound
    return FlipAnswer(best.order, best.new, best.wrong, bound, optimal, rounds, "milp")


def _try_all(
    shares: Floats, codes: Integers, target: Integers, n_classes: int, n_flips: int
) -> FlipAnswer:
    """Try all sets of flips."""
    from gssl_poison.kernels.all_flips import try_all

    label, new = np.empty(n_flips, dtype=np.int64), np.zeros(n_flips, dtype=np.int64)
    columns = np.ascontiguousarray(shares.T)
    scores = np.ascontiguousarray(shares @ np.eye(n_classes)[codes])
    most = int(try_all(columns, scores, codes, target, label, new))
    made = label >= 0
    return FlipAnswer(label[made], new[made], most, most, True, 0, "enumeration")


@dataclass
class _Best:
    """The best flips so far, judged by the predictions that they make."""

    shares: Floats
    codes: Integers
    target: Integers
    n_classes: int
    order: Integers = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    new: Integers = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    wrong: int = -1

    def look(self, order: Integers, new: Integers) -> None:
        """Keep flips that turn more rows wrong."""
        codes = self.codes.copy()
        codes[order] = new
        predicted = predict(self.shares @ np.eye(self.n_classes)[codes])
        wrong = int((predicted != self.target).sum())
        if wrong > self.wrong:
            self.order, self.new, self.wrong = order, new, wrong


def _duels(
    shares: Floats,
    codes: Integers,
    target: Integers,
    *,
    n_classes: int,
    n_flips: int,
    margin: float,
) -> _Duels:
    """Return the duels that k flips can decide, and how many rows are wrong whatever is flipped."""
    label, new = np.nonzero(codes[:, None] != np.arange(n_classes))
    old, scores = codes[label], shares @ np.eye(n_classes)[codes]
    gains, needs, where = [], [], []
    lost = np.zeros(len(shares), dtype=np.bool_)
    for rival in range(n_classes):
        rows = np.flatnonzero(target != rival)
        aim = target[rows, None]
        sign = (new == rival).astype(float) - (new == aim) + (old == aim) - (old == rival)
        gain = shares[rows][:, label] * sign
        need = scores[rows, target[rows]] - scores[rows, rival]
        # A rival of lower index wins ties, one of higher index has to exceed them. A row that no
        # label reaches is never in doubt.
        need += np.where(rival > target[rows], TIE, -TIE) - margin * shares[rows].any(axis=1)
        ordered = np.sort(gain, axis=1)
        least = np.minimum(ordered[:, :n_flips], 0.0).sum(axis=1)
        most = np.maximum(ordered[:, -n_flips:], 0.0).sum(axis=1)
        lost[rows[least >= need]] = True
        open_ = most >= need
        gains.append(gain[open_])
        needs.append(need[open_])
        where.append(rows[open_])
    row = np.concatenate(where)
    kept = ~lost[row]
    return _Duels(
        np.concatenate(gains)[kept],
        np.concatenate(needs)[kept],
        row[kept],
        label.astype(np.int64),
        new.astype(np.int64),
        int(lost.sum()),
    )


def _blocks(duels: _Duels, place: Integers, n_flips: int) -> list[tuple[Any, Any, Any]]:
    """Return the constraints: matrix, lower and upper limits."""
    n_duels, n_moves = duels.gains.shape
    n_rows = int(place.max(initial=-1)) + 1
    one_label = sparse.csr_array(
        (np.ones(n_moves), (duels.label, np.arange(n_moves))),
        shape=(duels.label.max() + 1, n_moves),
    )
    flips: Any = sparse.vstack([sparse.csr_array(np.ones((1, n_moves))), one_label])
    limits = np.concatenate([[float(n_flips)], np.ones(one_label.shape[0])])
    rest = sparse.csr_array((flips.shape[0], n_duels + n_rows))
    blocks: list[tuple[Any, Any, Any]] = [(sparse.hstack([flips, rest]).tocsr(), -np.inf, limits)]
    if n_duels == 0:
        return blocks
    scale = np.abs(duels.gains).max(axis=1)
    gains = duels.gains / scale[:, None]
    gains[np.abs(gains) < _SMALLEST] = 0.0
    need = duels.need / scale - _RELAXED - n_flips * _SMALLEST
    ordered = np.sort(gains, axis=1)[:, :n_flips]
    slack = np.maximum(need - np.minimum(ordered, 0.0).sum(axis=1), 0.0)
    empty = sparse.csr_array((n_duels, n_rows))
    beaten: Any = sparse.hstack([sparse.csr_array(gains), sparse.diags_array(-slack), empty])
    blocks.append((beaten.tocsr(), need - slack, np.inf))
    by_row: Any = sparse.csr_array((np.ones(n_duels), (place, np.arange(n_duels))))
    unused = sparse.csr_array((n_rows, n_moves))
    counted: Any = sparse.hstack([unused, -by_row, sparse.eye_array(n_rows)])
    blocks.append((counted.tocsr(), -np.inf, 0.0))
    return blocks


def _corrections(duels: _Duels, x: Flags, mistaken: Flags, n_rows: int) -> tuple[Any, Any, Any]:
    """Return constraints that rule out that the flips x win these duels."""
    gains = duels.gains[mistaken]
    more = (gains > 0.0) & ~x
    fewer = (gains < 0.0) & x
    wins = -sparse.eye_array(duels.need.size).tocsr()[np.flatnonzero(mistaken)]
    matrix: Any = sparse.hstack(
        [
            sparse.csr_array(more.astype(float) - fewer),
            wins,
            sparse.csr_array((len(gains), n_rows)),
        ]
    )
    return matrix.tocsr(), -fewer.sum(axis=1).astype(float), np.inf
