"""Graphs over points: the RBF graph, complete and never stored, and a dense matrix of weights.

What all graphs answer is ``n_points``, ``symmetric``, ``log_weights(rows, columns)`` and
``hops(labeled)``. Sparse graphs are in `gssl_poison.sparse_graph`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from gssl_poison._arrays import Features, as_features, is_sparse
from gssl_poison.bandwidth import Bandwidth, choose_gamma, squared_distances
from gssl_poison.exceptions import InputError, InputTypeError
from gssl_poison.kernels.cuda import resident_of, resolve_device
from gssl_poison.labels import encode_classes
from gssl_poison.sparse import is_sparse_matrix

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# Entries of a dense block that are looked at together: 2**20 are 8 MiB of float64.
_BLOCK = 2**20


@dataclass(frozen=True, init=False)
class RBFGraph:
    """Complete graph with weights ``w_ij = exp(-gamma |x_i - x_j|^2)``, never stored.

    Parameters
    ----------
    X : (n, d) array-like or scipy sparse
        The points: numpy, pandas, scipy sparse, torch or cupy. numpy arrays of uint8, float32 or
        float64 and CSR of float32 or float64 are used where they lie.
    gamma : float or {"scale", "median", "auto", "loo"}, default "scale"
        Kernel coefficient, in inverse squared units of X, or the rule that finds it
        (`gssl_poison.choose_gamma`).
    labeled : (l,) int64, optional
        Row numbers of the labelled points; the rules "auto" and "loo" need them.
    y : (l,) array-like, optional
        Classes of the labelled points; "loo" needs them.
    device : {"cpu", "auto", "cuda"}, default "cpu"
        Where everything is computed that is read from the graph: influence, propagators, the flips
        that an attack tries, radii. "cuda" is for dense features, and needs cupy and a GPU.

    Attributes
    ----------
    X : (n, d) ndarray or scipy.sparse.csr_array
        The points.
    bandwidth : Bandwidth
        The kernel coefficient and how it was found.
    device : {"cpu", "cuda"}
        Where it is computed.
    resident : cupy.ndarray or None
        The points on the GPU, where they were given there; others are copied as they are needed.

    Raises
    ------
    InputError, InputTypeError
        X or gamma is not usable; the message says why.
    DeviceError
        The device is not there, or has no kernels for sparse features.

    Examples
    --------
    >>> import numpy as np
    >>> graph = RBFGraph(np.array([[0.0], [1.0], [3.0]]), gamma=1.0)
    >>> graph.weights(np.array([0]), np.array([0, 1])).round(4)
    array([[1.    , 0.3679]])
    """

    X: Features = field(repr=False)
    bandwidth: Bandwidth
    device: str = field(repr=False, compare=False)
    resident: Any = field(repr=False, compare=False)

    def __init__(
        self,
        X: Any,
        gamma: float | str | Bandwidth = "scale",
        *,
        labeled: npt.ArrayLike | None = None,
        y: npt.ArrayLike | None = None,
        device: str = "cpu",
    ) -> None:
        features = as_features(X)
        used, _ = resolve_device(device, able=not is_sparse(features))
        if not isinstance(gamma, Bandwidth):
            rows = None if labeled is None else check_rows(labeled, features.shape[0], "labeled")
            others = None if rows is None else other_rows(rows, features.shape[0])
            codes = None if y is None else encode_classes(np.asarray(y, dtype=object))[1]
            gamma = choose_gamma(features, gamma, labeled=rows, unlabeled=others, codes=codes)
        object.__setattr__(self, "X", features)
        object.__setattr__(self, "bandwidth", gamma)
        object.__setattr__(self, "device", used)
        there = resident_of(X, features) if used == "cuda" else None
        object.__setattr__(self, "resident", there)

    @property
    def gamma(self) -> float:
        """The kernel coefficient."""
        return self.bandwidth.gamma

    @property
    def n_points(self) -> int:
        """Number of points."""
        return int(self.X.shape[0])

    @property
    def n_features(self) -> int:
        """Number of features."""
        return int(self.X.shape[1])

    @property
    def is_sparse(self) -> bool:
        """Whether the points are stored as CSR."""
        return is_sparse(self.X)

    @property
    def symmetric(self) -> bool:
        """Whether ``w_ij = w_ji``: always."""
        return True

    def log_weights(self, rows: Integers, columns: Integers) -> npt.NDArray[np.float64]:
        """Return a block of log W, (rows, columns) float64, 0 on self-loops.

        Notes
        -----
        For reading and small checks: it costs ``2 rows columns d`` operations and that block's
        memory, and is good to about ``1e-14 gamma |x|^2``. Counts never come from it.
        """
        scaled: npt.NDArray[np.float64] = -self.gamma * squared_distances(self.X, rows, columns)
        return scaled

    def weights(self, rows: Integers, columns: Integers) -> npt.NDArray[np.float64]:
        """Return a block of W, (rows, columns) float64; the exponential of `log_weights`."""
        weights: npt.NDArray[np.float64] = np.exp(self.log_weights(rows, columns))
        return weights

    def hops(self, labeled: npt.ArrayLike) -> Integers:
        """Return how many edges a label travels to a point, (n,) int64: 0 if labelled, else 1."""
        hops = np.ones(self.n_points, dtype=np.int64)
        hops[check_rows(labeled, self.n_points, "labeled")] = 0
        return hops


@dataclass(frozen=True, init=False, eq=False)
class DenseGraph:
    """Graph of a dense matrix of weights, used where it lies.

    Parameters
    ----------
    W : (n, n) array-like
        ``W[i, j] >= 0`` is the weight with which point i listens to point j: numpy, pandas, a
        dense torch or cupy array, or nested lists. Diagonal entries are self-loops.

    Attributes
    ----------
    values : (n, n) ndarray
        The weights, or their logarithms.
    is_log : bool
        Whether ``values`` are logarithms.

    Raises
    ------
    InputError
        W is not square, is empty, or an entry is negative or not finite.
    InputTypeError
        W is sparse, masked, or does not hold real numbers.

    Notes
    -----
    Memory is that of W; a numpy array of numbers is not copied. Change it afterwards and the graph
    changes.

    Examples
    --------
    >>> import numpy as np
    >>> graph = DenseGraph([[0.0, 1.0, 0.0], [2.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    >>> graph.symmetric
    False
    >>> graph.hops([0])
    array([0, 1, 2])
    """

    values: npt.NDArray[Any] = field(repr=False)
    is_log: bool

    def __init__(self, W: Any) -> None:
        values = _read_square(W, "W")
        # The least and the largest entry tell everything without a temporary: NaN goes through.
        if not (values.min() >= 0 and values.max() < np.inf):
            _refuse_entry(values, "W", lambda block: ~((block >= 0) & (block < np.inf)))
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "is_log", False)

    @classmethod
    def from_log_weights(cls, log_W: Any) -> DenseGraph:
        """Build a graph from the logarithms of its weights, (n, n); -inf where there is no edge.

        Weights far below the smallest float64 keep their meaning: only their ratios matter.

        Raises
        ------
        InputError
            log_W is not square, is empty, or an entry is NaN or +inf.
        InputTypeError
            log_W is sparse, masked, or does not hold real numbers.

        Examples
        --------
        >>> graph = DenseGraph.from_log_weights([[0.0, -2000.0], [-2000.0, 0.0]])
        >>> graph.log_weights([0], [1])
        array([[-2000.]])
        """
        values = _read_square(log_W, "log_W")
        if not values.max() < np.inf:
            _refuse_entry(values, "log_W", lambda block: ~(block < np.inf))
        graph = cls.__new__(cls)
        object.__setattr__(graph, "values", values)
        object.__setattr__(graph, "is_log", True)
        return graph

    @property
    def n_points(self) -> int:
        """Number of points."""
        return int(self.values.shape[0])

    @cached_property
    def symmetric(self) -> bool:
        """Whether ``W[i, j] == W[j, i]`` everywhere, exactly; looked at once, tile by tile."""
        step = 512
        starts = range(0, self.n_points, step)
        return all(
            np.array_equal(
                self.values[a : a + step, b : b + step], self.values[b : b + step, a : a + step].T
            )
            for a in starts
            for b in range(a, self.n_points, step)
        )

    def log_weights(self, rows: npt.ArrayLike, columns: npt.ArrayLike) -> Floats:
        """Return a block of log W, (rows, columns) float64, -inf where there is no edge."""
        block: Floats = self.values[np.ix_(np.asarray(rows), np.asarray(columns))]
        block = block.astype(np.float64, copy=False)
        if not self.is_log:
            with np.errstate(divide="ignore"):
                np.log(block, out=block)
        return block

    def weights(self, rows: npt.ArrayLike, columns: npt.ArrayLike) -> Floats:
        """Return a block of W, (rows, columns) float64; the exponential of `log_weights`."""
        block: Floats = self.values[np.ix_(np.asarray(rows), np.asarray(columns))]
        block = block.astype(np.float64, copy=False)
        if self.is_log:
            with np.errstate(under="ignore"):
                np.exp(block, out=block)
        return block

    def hops(self, labeled: npt.ArrayLike) -> Integers:
        """Return how many edges a label travels to every point at the least, (n,) int64.

        Parameters
        ----------
        labeled : (l,) int
            Row numbers of the labelled points.

        Returns
        -------
        (n,) int64
            0 for a labelled point, -1 for one that no label reaches. A label goes from j to i
            where ``W[i, j] > 0``.

        Notes
        -----
        Breadth first: every column is read once, by the rows not yet reached, so at most ``n^2``
        entries in all.
        """
        frontier = check_rows(labeled, self.n_points, "labeled")
        hops = np.full(self.n_points, -1, dtype=np.int64)
        hops[frontier] = 0
        nothing = -np.inf if self.is_log else 0
        distance = 0
        while frontier.size:
            distance += 1
            waiting = np.flatnonzero(hops < 0)
            step = max(1, _BLOCK // frontier.size)
            for start in range(0, waiting.size, step):
                rows = waiting[start : start + step]
                reached = (self.values[np.ix_(rows, frontier)] > nothing).any(axis=1)
                hops[rows[reached]] = distance
            frontier = np.flatnonzero(hops == distance)
        return hops


def _read_square(W: Any, name: str) -> npt.NDArray[Any]:
    """Return a square array of real numbers, the caller's own memory wherever that is possible."""
    if is_sparse_matrix(W):
        raise InputTypeError(f"{name} is sparse; use SparseGraph({name}), which stores edges only.")
    if isinstance(W, np.ma.MaskedArray):
        raise InputTypeError(
            f"{name} is a masked array, whose mask would be lost; fill it in with "
            f"{name}.filled(0) first."
        )
    module = type(W).__module__.partition(".")[0]
    if module == "cupy":
        W = W.get()
    elif module == "torch":
        W = W.detach().cpu()
        W = W.float() if W.is_floating_point() and W.element_size() < 4 else W  # no bfloat16
    try:
        values = np.asarray(W)
    except ValueError as error:
        raise InputError(f"{name} is ragged ({error}); give every row n numbers.") from error
    if values.dtype.kind not in "buif" or values.dtype.itemsize > 8:
        raise InputTypeError(f"{name} holds {values.dtype} values; convert them to float64.")
    if values.ndim != 2 or values.shape[0] != values.shape[1] or values.size == 0:
        raise InputError(
            f"{name} has shape {values.shape}; pass a square matrix (n, n) with one row per point."
        )
    return values


def _refuse_entry(
    values: npt.NDArray[Any], name: str, is_wrong: Callable[[npt.NDArray[Any]], Any]
) -> NoReturn:
    """Raise the error that names the first wrong entry, in the order of the rows."""
    rule = "a finite number or -inf" if name.startswith("log") else "finite and not negative"
    step = max(1, _BLOCK // values.shape[1])
    for start in range(0, values.shape[0], step):
        wrong = np.argwhere(is_wrong(values[start : start + step]))
        if wrong.size:
            i, j = wrong[0] + (start, 0)
            raise InputError(
                f"{name}[{i}, {j}] is {values[i, j]}; every entry must be {rule}: correct it, or "
                "set it to what means no edge."
            )
    raise AssertionError("an entry was wrong a moment ago")  # somebody writes to it meanwhile


def check_rows(rows: npt.ArrayLike, n_points: int, name: str) -> Integers:
    """Return row numbers as int64 in the order given, refusing repeats and strangers."""
    given = np.asarray(rows)
    if given.ndim != 1 or given.dtype.kind not in "iu" or given.size == 0:
        raise InputError(
            f"{name} has shape {given.shape} and type {given.dtype}; pass row numbers (r,), e.g. "
            "numpy.flatnonzero(mask)."
        )
    if given.min() < 0 or given.max() >= n_points:
        raise InputError(
            f"{name} runs from {given.min()} to {given.max()}; row numbers lie in "
            f"0..{n_points - 1}."
        )
    if np.unique(given).size != given.size:
        raise InputError(f"{name} names a row twice; give every row once.")
    return given.astype(np.int64)


def other_rows(rows: Integers, n_points: int) -> Integers:
    """Return the row numbers that are not in ``rows``, ascending."""
    others = np.ones(n_points, dtype=bool)
    others[rows] = False
    return np.flatnonzero(others)
