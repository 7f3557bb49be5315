"""What a repair did: which points were looked at, what the answers were, what came of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gssl_poison.defenses._common import Integers
from gssl_poison.exceptions import InputError, InputTypeError
from gssl_poison.problem import Problem

Oracle: TypeAlias = npt.ArrayLike | Mapping[int, int] | Callable[[int], int | None]
NO_ANSWER = -1


@dataclass(frozen=True, eq=False)
class Checks:
    """The checks of a repair, in the order in which they were made.

    Attributes
    ----------
    problem : Problem
        The repaired one.
    points : (k,) int64
        Row numbers of the points that were looked at.
    answers : (k,) int64
        Their class codes as the oracle has them, -1 where it could not tell.
    automatic : (m,) int64
        Row numbers of the labels that were changed without a look, by what the answers imply.
    """

    problem: Problem
    points: Integers
    answers: Integers
    automatic: Integers = field(default_factory=lambda: np.empty(0, dtype=np.int64))


def as_oracle(oracle: Oracle, problem: Problem) -> Callable[[int], int]:
    """Return a function of a point's row number that gives its true class code, or -1.

    Parameters
    ----------
    oracle : (n,) int, mapping or callable
        The true class codes of all points; a mapping from row numbers to codes, where a missing
        one is "cannot tell"; or a function of a row number that returns a code, or None.
    problem : Problem

    Raises
    ------
    InputError
        An array of another length, or a code that is no class of the problem.
    InputTypeError
        None of the three.

    Examples
    --------
    >>> import numpy as np
    >>> from gssl_poison import Problem, RBFGraph
    >>> graph = RBFGraph(np.array([[0.0], [0.1], [2.0]]), gamma=1.0)
    >>> ask = as_oracle({0: 1}, Problem(graph, labeled=[0, 2], y=[0, 1]))
    >>> ask(0), ask(2)
    (1, -1)
    """
    answer: Callable[[int], Any]
    if callable(oracle):
        answer = oracle
    elif isinstance(oracle, Mapping):
        answer = oracle.get
    else:
        codes = np.asarray(oracle)
        if codes.shape != (problem.graph.n_points,) or codes.dtype.kind not in "iu":
            raise InputError(
                f"oracle has shape {codes.shape} and type {codes.dtype}; give the class codes of "
                f"all {problem.graph.n_points:,} points, a mapping from row numbers to codes, or a "
                "function of a row number."
            )
        answer = codes.__getitem__

    def ask(point: int) -> int:
        code = answer(point)
        if code is None:
            return NO_ANSWER
        if isinstance(code, bool) or not isinstance(code, int | np.integer):
            raise InputTypeError(
                f"the oracle says {code!r} of point {point}; it must be a class code, a whole "
                "number, or None where it cannot tell."
            )
        if not 0 <= code < problem.n_classes:
            raise InputError(
                f"the oracle says {code} of point {point}, and class codes lie in 0 to "
                f"{problem.n_classes - 1}; make the problem with n_classes or classes that hold it."
            )
        return int(code)

    return ask


def check_labels(problem: Problem, positions: Integers, oracle: Oracle) -> Checks:
    """Ask about some labels, given as positions, and put right those that are wrong."""
    ask = as_oracle(oracle, problem)
    points = problem.labeled[positions]
    answers = np.array([ask(int(point)) for point in points], dtype=np.int64)
    codes = problem.y.copy()
    told = answers != NO_ANSWER
    codes[positions[told]] = answers[told]
    return Checks(replace(problem, y=codes), points, answers)
