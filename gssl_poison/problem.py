"""What is attacked, and what an attack returns: both frozen, so that nobody's labels change."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from gssl_poison.exceptions import InputError, InputTypeError
from gssl_poison.graph import DenseGraph, RBFGraph
from gssl_poison.labels import encode_classes, is_missing, split_labels
from gssl_poison.propagation import Fitted
from gssl_poison.sparse_graph import Graph, SparseGraph

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Problem:
    """A graph, its labelled points and their classes; with the truth, where it is known.

    Parameters
    ----------
    graph : RBFGraph, DenseGraph or SparseGraph
    labeled : (l,) int
        Row numbers of the labelled points, each once.
    y : (l,) int
        Their class codes, from 0.
    truth : (n,) int, optional
        True class codes of all points.
    n_classes : int, optional
        By default one more than the largest code; a class nobody has can be flipped to.
    classes : tuple, optional
        What the codes stand for; by default the codes themselves.

    Raises
    ------
    InputError
        Lengths, row numbers or codes do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from gssl_poison import RBFGraph
    >>> graph = RBFGraph(np.array([[0.0], [0.1], [2.0], [2.1]]), gamma=1.0)
    >>> problem = Problem(graph, labeled=[0, 2], y=[0, 1], truth=[0, 0, 1, 1])
    >>> problem.n_classes, problem.unlabeled
    (2, array([1, 3]))
    """

    graph: Graph = field(repr=False)
    labeled: Integers
    y: Integers
    truth: Integers | None = None
    n_classes: int = 0
    classes: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        """Check the arrays and keep copies of them that cannot be written to."""
        if not isinstance(self.graph, RBFGraph | DenseGraph | SparseGraph):
            raise InputTypeError(
                f"graph is of type {type(self.graph).__name__}; make an RBFGraph, DenseGraph or "
                "SparseGraph of it."
            )
        if isinstance(self.n_classes, bool) or not isinstance(self.n_classes, int | np.integer):
            raise InputTypeError(f"n_classes={self.n_classes!r} is not a whole number.")
        n = self.graph.n_points
        labeled = _codes(self.labeled, "labeled", None, n, "row numbers")
        if labeled.size == 0 or np.unique(labeled).size < labeled.size:
            raise InputError(
                f"labeled holds {labeled.size} row numbers, {np.unique(labeled).size} of them "
                "distinct; give every labelled point once, and at least one."
            )
        if labeled.size == n:
            raise InputError(f"all {n} points are labelled; leave at least one to be predicted.")
        y = _codes(self.y, "y", labeled.size, None, "class codes")
        truth = None if self.truth is None else _codes(self.truth, "truth", n, None, "class codes")
        most = 1 + max(int(codes.max()) for codes in (y, truth) if codes is not None)
        n_classes = self.n_classes or most
        if n_classes < most or (self.classes and len(self.classes) != n_classes):
            raise InputError(
                f"n_classes={n_classes} with {len(self.classes)} class names does not hold the "
                f"class codes, which run to {most - 1}; give n_classes={most} or leave it out."
            )
        for name, value in (("labeled", labeled), ("y", y), ("truth", truth)):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "n_classes", int(n_classes))
        object.__setattr__(self, "classes", tuple(self.classes) or tuple(range(n_classes)))

    @classmethod
    def of(cls, graph: Graph, y: Any, truth: Any = None, unlabeled: Any = None) -> Problem:
        """Make a problem of a partly filled label column.

        Parameters
        ----------
        graph : RBFGraph, DenseGraph or SparseGraph
        y : (n,) array-like
            Labels of any type; NaN, None or an empty string where a point is unlabelled.
        truth : (n,) array-like, optional
            The true label of every point.
        unlabeled : scalar, optional
            The value of y that means unlabelled; see `gssl_poison.rank`.

        Returns
        -------
        Problem
            Classes are sorted, those of y and truth together.

        Raises
        ------
        InputError
            As `gssl_poison.rank` has it, or truth has an empty place.

        Examples
        --------
        >>> import numpy as np
        >>> from gssl_poison import RBFGraph
        >>> graph = RBFGraph(np.array([[0.0], [0.1], [2.0], [2.1]]), gamma=1.0)
        >>> Problem.of(graph, ["a", None, "b", None]).classes
        ('a', 'b')
        """
        labels = split_labels(y, graph.n_points, unlabeled)
        if truth is None:
            return cls(graph, labels.labeled, labels.codes, classes=labels.classes)
        if np.ndim(truth) != 1 or len(truth) != graph.n_points:
            raise InputError(
                f"truth has shape {np.shape(truth)}; give the true label of every one of the "
                f"{graph.n_points:,} points, or no truth."
            )
        values = np.empty(len(truth), dtype=object)
        values[:] = [v.item() if isinstance(v, np.generic) else v for v in truth]
        empty = [row for row, value in enumerate(values) if is_missing(value)]
        if empty:
            raise InputError(
                f"truth has no label at row {empty[0]}, one of {len(empty):,} such rows; give the "
                "true label of every point, or no truth."
            )
        given = np.array([labels.classes[code] for code in labels.codes], dtype=object)
        classes, codes = encode_classes(np.concatenate([given, values]))
        return cls(
            graph,
            labels.labeled,
            codes[: given.size],
            codes[given.size :],
            classes=classes,
        )

    @property
    def unlabeled(self) -> Integers:
        """Row numbers of the points to be predicted, ascending."""
        return np.setdiff1d(np.arange(self.graph.n_points, dtype=np.int64), self.labeled)

    def poisoned(self, poison: Poison) -> Problem:
        """Return the problem with the labels an attack left."""
        return replace(self, y=poison.apply(self.y))


@dataclass(frozen=True, eq=False)
class Poison:
    """The flips of an attack, in the order in which it made them.

    Attributes
    ----------
    order : (k,) int64
        The labels flipped, as positions in ``problem.labeled``, each once.
    old, new : (k,) int64
        Class codes before and after.
    objective : (k,) float64
        What the attack maximises, after each flip.
    objective_name : str
        What that is, in words.
    seconds : float
        Wall-clock time, a fitted surrogate given.
    used_truth : bool
        Whether the attack read the true classes of unlabelled points.
    method : str
        The attack, as Python writes it.
    nested : bool
        Whether the first flips are what the attack would do with a smaller budget.
    bound : float or None
        What no flips within the budget can exceed, where the attack proves one.
    notes : tuple of str
        What a reader of the result must know.
    """

    order: Integers
    old: Integers
    new: Integers
    objective: Floats = field(repr=False)
    objective_name: str = ""
    seconds: float = 0.0
    used_truth: bool = False
    method: str = ""
    nested: bool = True
    bound: float | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Keep arrays that cannot be written to."""
        for name in ("order", "old", "new"):
            value = np.array(getattr(self, name), dtype=np.int64)
            value.flags.writeable = False
            object.__setattr__(self, name, value)
        objective = np.array(self.objective, dtype=np.float64)
        objective.flags.writeable = False
        object.__setattr__(self, "objective", objective)

    def __len__(self) -> int:
        """Return the number of flips."""
        return int(self.order.size)

    def apply(self, y: npt.ArrayLike) -> Integers:
        """Return a copy of the class codes with the flips made.

        Parameters
        ----------
        y : (l,) int
            Class codes of the labelled points, as they were.
        """
        codes = np.array(y, dtype=np.int64)
        last = int(self.order.max(initial=-1))
        if codes.ndim != 1 or codes.size <= last or (codes[self.order] != self.old).any():
            raise InputError(
                "y is not what this poison was made for: its labels differ from the old ones; "
                "pass the labels of the problem that was attacked."
            )
        codes[self.order] = self.new
        return codes

    def first(self, k: int) -> Poison:
        """Return the first k flips, what the attack does with a budget of k.

        ``notes`` stay those of the whole.

        Raises
        ------
        InputError
            The attack does something else with a smaller budget: run it again.
        """
        given: Any = k
        if isinstance(given, bool) or not isinstance(given, int | np.integer) or given < 0:
            raise InputError(f"k={k!r} is not a number of flips; give a whole number from 0.")
        if not self.nested and k < len(self):
            raise InputError(
                f"{self.method} chooses its {len(self)} flips together, and the first {k} are not "
                f"what it does with a budget of {k}; run it with that budget."
            )
        return replace(
            self,
            order=self.order[:k],
            old=self.old[:k],
            new=self.new[:k],
            objective=self.objective[:k],
            bound=self.bound if k >= len(self) else None,
        )


def count_flips(budget: Any, n_labeled: int) -> int:
    """Return how many labels a budget lets an attacker flip.

    Parameters
    ----------
    budget : int or float
        A float p between 0 and 1 stands for ``int(p * n_labeled)`` labels, an int for that many.
    n_labeled : int

    Raises
    ------
    InputError
        No flip, or more than there are labels, or a float that could be meant as a count.
    InputTypeError
        Not a number.

    Examples
    --------
    >>> count_flips(0.05, 650), count_flips(20, 650)
    (32, 20)
    """
    if isinstance(budget, bool) or not isinstance(budget, int | float | np.integer | np.floating):
        raise InputTypeError(
            f"budget={budget!r} is not a number; give a part such as 0.05, or a count such as 20."
        )
    if isinstance(budget, int | np.integer):
        if not 1 <= budget <= n_labeled:
            raise InputError(
                f"budget={budget} is out of range; as a count it must lie in 1..{n_labeled}, the "
                "number of labelled points."
            )
        return int(budget)
    if not 0.0 < budget < 1.0:
        raise InputError(
            f"budget={budget} is out of range; as a part it must lie between 0 and 1, such as "
            "0.05; a count is a whole number without a point."
        )
    # 0.29 * 100 is 28.999...: what is whole but for its last digits is whole. A float32 is taken
    # for the decimal number that it is printed as.
    count = int(float(str(budget)) * n_labeled + 1e-9)
    if count == 0:
        raise InputError(
            f"budget={budget} of {n_labeled:,} labels is less than one; give at least "
            f"{1 / n_labeled:.2g}, or a count."
        )
    return count


def check_fits(problem: Problem, fitted: Fitted, name: str) -> None:
    """Refuse a propagator that is not of this problem, or whose own check failed."""
    if fitted.graph.n_points != problem.graph.n_points or not np.array_equal(
        fitted.labeled, problem.labeled
    ):
        same = np.array_equal(np.sort(fitted.labeled), np.sort(problem.labeled))
        other = "them in another order" if same else "other ones"
        raise InputError(
            f"the {name} is fitted to {fitted.labeled.size:,} labelled of "
            f"{fitted.graph.n_points:,} points, and the problem has {other}; fit it with "
            "fit(problem.graph, problem.labeled)."
        )
    if not fitted.converged or not fitted.residual <= _RESIDUAL:
        raise InputError(
            f"the {name} failed its own check: residual {fitted.residual:.1e}, "
            f"{'' if fitted.converged else 'not '}converged; what its M says of flips cannot be "
            "trusted. Use a smaller gamma, more iterations or another propagator."
        )


# Far above what a sound solve leaves, far below what a wrong one does.
_RESIDUAL = 1e-6


def _codes(values: Any, name: str, size: int | None, most: int | None, what: str) -> Integers:
    """Return whole numbers from 0 as an array of one's own."""
    given = np.asarray(values)
    right = given.ndim == 1 and (given.dtype.kind in "iu" or given.size == 0)
    if not right or (size is not None and given.size != size):
        count = "" if size is None else f"{size:,} "
        raise InputError(
            f"{name} has shape {given.shape} and type {given.dtype}; give {count}{what}, whole "
            "numbers from 0 and none missing."
        )
    if given.size and not (given.min() >= 0 and (most is None or given.max() < most)):
        limit = "begin at 0" if most is None else f"lie in 0 to {most - 1}"
        raise InputError(f"{name} runs from {given.min()} to {given.max()}; {what} {limit}.")
    result = np.array(given, dtype=np.int64)
    result.flags.writeable = False
    return result
