"""What a block of rows adds to the columns, and which of its rows have to be rechecked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gssl_poison.kernels.bounds import LOOSEST, decision_band

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# What is said of the first column of a row: it holds half or less, more, or nobody can tell.
MINOR, MAJOR, UNDECIDED = 0, 1, 2
# Beyond this norm, in units of the largest labelled norm, float32 could overflow.
LARGEST_FLOAT32_NORM = 2.0**60
# Units of integer scores that float32 holds with room to spare.
_SMALLEST_UNIT, _LARGEST_UNIT = 1e-30, 1e30


@dataclass(frozen=True)
class BlockResult:
    """What one block of rows adds to the columns.

    Attributes
    ----------
    total : (l,) float64
        Sum of the shares of the block's rows.
    major : (l,) int64
        Rows of the block in which a column holds more than half.
    undecided, unresolved, rechecked, rows : int
        Rows within the routine's own bound of one half; rows whose shares float64 cannot tell, left
        out of ``total``; rows the routine was asked about; all rows.
    route : str
        Type of the product: "int8", "float32", "float64" or "sparse".
    bound : float
        Largest proven error of a score that shares were taken from, in log units.
    """

    total: Floats
    major: Integers
    undecided: int
    unresolved: int
    rechecked: int
    rows: int
    route: str
    bound: float


def judge(rest: Floats, bound: Floats) -> tuple[Integers, Integers]:
    """Judge rows by the weights of all columns but the first, over the first's.

    Parameters
    ----------
    rest, bound : (b,) float64
        What `cpu.shares_of_block` writes, and the proven error of each row's scores.

    Returns
    -------
    verdict : (b,) int64
        `MAJOR` or `MINOR`.
    doubtful : (m,) int64
        Rows of the block that the recheck routine has to judge.
    """
    low, high = decision_band(bound)
    verdict = np.where(rest < low, MAJOR, MINOR).astype(np.int64)
    # Not "low <= rest": a rest that is not a number is in doubt.
    doubtful = np.flatnonzero(~(bound <= LOOSEST) | ~((rest < low) | (rest > high)))
    return verdict, doubtful


def result_of(
    total: Floats,
    first: Integers,
    verdict: Integers,
    bound: Floats,
    unresolved: int,
    rechecked: int,
    route: str,
) -> BlockResult:
    """Count verdicts by column."""
    return BlockResult(
        total=total,
        major=np.bincount(first[verdict == MAJOR], minlength=total.size),
        undecided=int((verdict == UNDECIDED).sum()),
        unresolved=unresolved,
        rechecked=rechecked,
        rows=int(bound.size),
        route=route,
        bound=float(bound[bound <= LOOSEST].max(initial=0.0)),
    )


def has_good_unit(unit: float) -> bool:
    """Tell whether integer scores of this unit, in log units, can be told apart in float32."""
    return _SMALLEST_UNIT < unit < _LARGEST_UNIT
