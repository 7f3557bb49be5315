"""Sparse graphs: logarithms of weights on the edges of a CSR matrix, from any library."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gssl_poison.bandwidth import Bandwidth
from gssl_poison.exceptions import InputError, NumericalError
from gssl_poison.graph import DenseGraph, RBFGraph, check_rows
from gssl_poison.kernels.cuda import resolve_device
from gssl_poison.sparse import (
    as_csr,
    check_csr,
    check_square,
    edges_to_pyg,
    hops_from,
    index_type,
    pyg_to_coo,
    sort_edges,
)

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
# int32 where the number of edges fits, else int64.
Indices = npt.NDArray[Any]


@dataclass(frozen=True, init=False, eq=False)
class SparseGraph:
    """Graph of a sparse matrix of weights.

    Parameters
    ----------
    W : (n, n) scipy.sparse, torch.sparse or cupyx.scipy.sparse
        ``W[i, j] >= 0`` is the weight with which point i listens to point j. Entries given twice
        are summed, explicit zeros are no edges, diagonal entries are self-loops.

    Attributes
    ----------
    n_points : int
        Number of points.
    indptr, indices : (n + 1,), (nnz,) int32, or int64 where int32 cannot count the edges
        CSR structure: row i listens to ``indices[indptr[i]:indptr[i + 1]]``, ascending.
    log_data : (nnz,) float64
        Logarithms of the weights, all finite.
    source : str
        Where the edges come from: "given", or what `gssl_poison.knn_graph` searched with.
    bandwidth : Bandwidth or None
        The kernel coefficient behind the weights, where there is one.
    device : {"cpu", "cuda"}
        Where `Harmonic` is solved; see `on`.

    Raises
    ------
    InputError
        W is not square, is empty, or an entry is negative or not finite.
    InputTypeError
        W is dense or does not hold real numbers.

    Notes
    -----
    W is never changed; its index arrays are used where they lie if they are already canonical.

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> graph = SparseGraph(csr_array([[0.0, 1.0, 0.0], [2.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))
    >>> graph.symmetric
    False
    >>> graph.hops([0])
    array([0, 1, 2])
    """

    n_points: int
    indptr: Indices = field(repr=False)
    indices: Indices = field(repr=False)
    log_data: Floats = field(repr=False)
    source: str
    bandwidth: Bandwidth | None
    device: str = field(repr=False)

    def __init__(self, W: Any) -> None:
        csr = as_csr(W)
        check_square(csr.shape, "W")
        if csr.nnz and not (csr.data.min() >= 0.0 and csr.data.max() < np.inf):
            position = int(np.flatnonzero(~((csr.data >= 0.0) & (csr.data < np.inf)))[0])
            i = int(np.searchsorted(csr.indptr, position, side="right")) - 1
            raise InputError(
                f"W[{i}, {csr.indices[position]}] is {csr.data[position]}; every weight must be "
                "finite and not negative: correct it, or drop the edge."
            )
        with np.errstate(divide="ignore"):
            log_data = np.log(csr.data)
        self._fill(csr.indptr, csr.indices, log_data, "given", None)

    def _fill(
        self,
        indptr: Indices,
        indices: Indices,
        log_data: Floats,
        source: str,
        bandwidth: Bandwidth | None,
    ) -> None:
        """Set the fields from sorted, unique indices, leaving out what is no edge."""
        edge = log_data > -np.inf
        if not edge.all():
            before = np.concatenate(([0], np.cumsum(edge)))
            indptr = before[indptr].astype(indptr.dtype)
            indices, log_data = indices[edge], log_data[edge]
        values = {
            "n_points": int(indptr.size - 1),
            "indptr": indptr,
            "indices": indices,
            "log_data": log_data,
            "source": source,
            "bandwidth": bandwidth,
            "device": "cpu",
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @classmethod
    def from_log_weights(
        cls,
        indptr: npt.ArrayLike,
        indices: npt.ArrayLike,
        log_data: npt.ArrayLike,
        n: int,
        *,
        source: str = "given",
        bandwidth: Bandwidth | None = None,
    ) -> SparseGraph:
        """Build a graph from CSR of the logarithms of its weights.

        Parameters
        ----------
        indptr, indices : (n + 1,), (nnz,) int
            CSR structure, in any order within a row.
        log_data : (nnz,) float
            Logarithms of the weights; -inf is no edge. Those of an edge given twice are added as
            weights are: ``log(exp(a) + exp(b))``.
        n : int
            Number of points.
        source, bandwidth
            As the attributes.

        Returns
        -------
        SparseGraph

        Raises
        ------
        InputError
            The arrays are no CSR of n rows and columns, or a logarithm is NaN or +inf.

        Examples
        --------
        >>> graph = SparseGraph.from_log_weights([0, 1, 2], [1, 0], [-2000.0, -2000.0], 2)
        >>> P, log_degree = graph.transition(self_loops=False)
        >>> P.toarray(), log_degree
        (array([[0., 1.],
           [1., 0.]]), array([-2000., -2000.]))
        """
        check_square((n, n), "the graph")
        rows, columns, logs = np.asarray(indptr), np.asarray(indices), np.asarray(log_data)
        check_csr(rows, columns, logs, n)
        logs = logs.astype(np.float64, copy=False)
        if logs.size and not logs.max() < np.inf:
            position = int(np.flatnonzero(~(logs < np.inf))[0])
            raise InputError(
                f"log_data[{position}] is {logs[position]}; the logarithm of a weight is a finite "
                "number, or -inf where there is no edge."
            )
        index = index_type(n, logs.size)
        graph = cls.__new__(cls)
        graph._fill(
            *sort_edges(rows.astype(index, copy=False), columns.astype(index, copy=False), logs),
            source,
            bandwidth,
        )
        return graph

    def on(self, device: str) -> SparseGraph:
        """Return the same graph, computed on another device.

        Parameters
        ----------
        device : {"cpu", "auto", "cuda"}
            "cuda" runs the iterations of `Harmonic` on a GPU, for a symmetric graph, and needs
            cupy; what proves the answer is computed on the CPU. Nothing else has kernels.
            `DeviceError` where there is no GPU.

        Examples
        --------
        >>> from scipy.sparse import csr_array
        >>> SparseGraph(csr_array([[0.0, 1.0], [1.0, 0.0]])).on("auto").device
        'cpu'
        """
        used, _ = resolve_device(device)
        graph = copy(self)
        object.__setattr__(graph, "device", used)
        return graph

    @classmethod
    def from_pyg(cls, data: Any) -> SparseGraph:
        """Build a graph from a `torch_geometric.data.Data`.

        Parameters
        ----------
        data : torch_geometric.data.Data
            Messages go from ``edge_index[0]`` to ``edge_index[1]``, so that an edge (s, t) of
            weight w adds w to ``W[t, s]``. Weights are ``edge_weight``, else ``edge_attr`` where
            that has one number an edge, else 1. ``num_nodes`` is the number of points.

        Returns
        -------
        SparseGraph

        Raises
        ------
        InputTypeError
            data has no edge_index.
        InputError
            edge_attr has several numbers an edge, or the weights are not usable.

        Examples
        --------
        >>> import torch
        >>> from torch_geometric.data import Data
        >>> data = Data(edge_index=torch.tensor([[0, 1], [1, 2]]), num_nodes=3)
        >>> SparseGraph.from_pyg(data).hops([0])
        array([0, 1, 2])
        """
        return cls(pyg_to_coo(data))

    def to_pyg(self) -> Any:
        """Return the graph as a `torch_geometric.data.Data`.

        Returns
        -------
        torch_geometric.data.Data
            ``edge_index`` (2, nnz) int64, rows [source, target], sorted by target;
            ``edge_weight`` (nnz,) float64; ``num_nodes``.

        Raises
        ------
        NumericalError
            A weight is too large for float64.
        """
        edges = np.stack((self.indices, self._edge_rows()))
        return edges_to_pyg(edges.astype(np.int64), self._exp_data(), self.n_points)

    @property
    def n_edges(self) -> int:
        """Number of edges, each direction and each self-loop counted as one."""
        return int(self.log_data.size)

    @property
    def weights_csr(self) -> csr_array:
        """The weights, (n, n) float64 CSR; `NumericalError` where one exceeds float64."""
        from scipy.sparse import csr_array

        shape = (self.n_points, self.n_points)
        return csr_array((self._exp_data(), self.indices, self.indptr), shape=shape)

    @cached_property
    def symmetric(self) -> bool:
        """Whether ``W[i, j] == W[j, i]`` everywhere, exactly; looked at once, in O(nnz)."""
        own = (self.indptr, self.indices, self.log_data)
        return all(map(np.array_equal, own, self._transposed))

    @property
    def _transposed(self) -> tuple[Indices, Indices, Floats]:
        """CSR of the transpose: indptr, indices, log_data."""
        from scipy.sparse import csr_array

        shape = (self.n_points, self.n_points)
        columns = csr_array((self.log_data, self.indices, self.indptr), shape=shape).tocsc()
        return columns.indptr, columns.indices, columns.data

    def _edge_rows(self) -> Indices:
        """Return the row of every edge, (nnz,)."""
        rows = np.arange(self.n_points, dtype=self.indices.dtype)
        return np.repeat(rows, np.diff(self.indptr))

    def _exp_data(self) -> Floats:
        """Return the weights of the edges, refusing those float64 cannot hold."""
        with np.errstate(over="ignore", under="ignore"):
            weights: Floats = np.exp(self.log_data)
        if weights.size and weights.max() == np.inf:
            raise NumericalError(
                f"a weight is exp({self.log_data.max():.6g}), which float64 cannot hold; subtract "
                "a constant from all logarithms: shares do not change."
            )
        return weights

    def log_weights(self, rows: npt.ArrayLike, columns: npt.ArrayLike) -> Floats:
        """Return a block of log W, (rows, columns) float64, -inf where there is no edge.

        Notes
        -----
        O(n + edges of the rows + rows columns).
        """
        chosen, wanted = np.asarray(rows), np.asarray(columns)
        different, where = np.unique(wanted, return_inverse=True)
        place = np.full(self.n_points, -1, dtype=np.int64)
        place[different] = np.arange(different.size)
        counts = self.indptr[chosen + 1] - self.indptr[chosen]
        into = np.repeat(np.arange(chosen.size), counts)
        first = np.cumsum(counts) - counts
        edges = np.arange(into.size) + np.repeat(self.indptr[chosen] - first, counts)
        column = place[self.indices[edges]]
        inside = column >= 0
        block = np.full((chosen.size, different.size), -np.inf)
        block[into[inside], column[inside]] = self.log_data[edges[inside]]
        return block[:, where]

    def transition(self, self_loops: bool) -> tuple[csr_array, Floats]:
        """Return the random walk of the graph: every row divided by its sum.

        Parameters
        ----------
        self_loops : bool
            Whether the edges from a point to itself count.

        Returns
        -------
        P : (n, n) scipy.sparse.csr_array of float64
            Rows sum to 1; a point without edges has an empty row. The structure is that of the
            graph, less self-loops: an entry below the smallest float64 is an explicit zero.
        log_degree : (n,) float64
            Logarithms of the sums; -inf for a point without edges.

        Notes
        -----
        ``P_ij = exp(log w_ij - m_i) / sum_j exp(log w_ij - m_i)`` with ``m_i`` the largest
        logarithm of row i that counts, so that weights of any size are right: to a relative
        ``eps (|log w_ij - m_i| + edges of the row)``.
        """
        from scipy.sparse import csr_array

        indptr, indices, log_data = self.indptr, self.indices, self.log_data
        rows = self._edge_rows()
        if not self_loops:
            kept = rows != indices
            if not kept.all():
                rows, indices, log_data = rows[kept], indices[kept], log_data[kept]
                counts = np.bincount(rows, minlength=self.n_points)
                indptr = np.concatenate(([0], np.cumsum(counts))).astype(indptr.dtype)
        log_degree = np.full(self.n_points, -np.inf)
        filled = np.flatnonzero(np.diff(indptr))
        data = np.empty(0)
        if filled.size:
            starts, lengths = indptr[filled], np.diff(indptr)[filled]
            top = np.maximum.reduceat(log_data, starts)
            data = log_data - np.repeat(top, lengths)
            with np.errstate(under="ignore"):
                np.exp(data, out=data)
                sums = np.add.reduceat(data, starts)
                data /= np.repeat(sums, lengths)
            log_degree[filled] = top + np.log(sums)
        return csr_array((data, indices, indptr), shape=(self.n_points, self.n_points)), log_degree

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
            along the edge ``W[i, j] > 0``.

        Notes
        -----
        One breadth-first search of scipy from a point that leads to all labelled ones, then depths
        from its tree by doubling: O(nnz + n log(longest path)), for chains of points too.
        """
        starts = check_rows(labeled, self.n_points, "labeled")
        indptr, indices, _ = (
            (self.indptr, self.indices, None) if self.symmetric else self._transposed
        )
        return hops_from(starts, indptr, indices)


# What a propagator can be fitted on.
Graph: TypeAlias = RBFGraph | DenseGraph | SparseGraph
