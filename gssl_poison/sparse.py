"""Sparse matrices of every library: one product, and one form the package computes on.

scipy is computed on directly. torch and cupyx matrices multiply in their own library, on their own
device; neither is imported unless the caller already holds one of its objects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gssl_poison._arrays import is_sparse
from gssl_poison.exceptions import DeviceError, InputError, InputTypeError

if TYPE_CHECKING:
    from scipy.sparse import coo_array, csr_array

_LIBRARY = {"numpy": "numpy", "scipy": "numpy", "torch": "torch", "cupy": "cupy", "cupyx": "cupy"}
_PRODUCTS = {
    "numpy": "scipy.sparse @ numpy",
    "torch": "torch.sparse @ torch",
    "cupy": "cupyx @ cupy",
}


def library_of(A: object) -> str | None:
    """Name the library whose arrays A works with: "numpy", "torch" or "cupy"; None for others."""
    return _LIBRARY.get(type(A).__module__.partition(".")[0])


def is_sparse_matrix(A: Any) -> bool:
    """Tell whether A is a sparse matrix of scipy, torch or cupyx, importing none of them."""
    library = library_of(A)
    if library == "torch":
        return str(getattr(A, "layout", "")).startswith("torch.sparse")
    if library == "cupy":
        return type(A).__module__.startswith("cupyx.scipy.sparse")
    return is_sparse(A)


def matmul(A: Any, F: Any) -> Any:
    """Multiply a sparse matrix by a dense one, in the library and on the device they live in.

    Parameters
    ----------
    A : (m, n) scipy.sparse, torch.sparse (COO or CSR) or cupyx.scipy.sparse
        The sparse factor.
    F : (n, c) or (n,) dense array of the same library
        The dense factor: numpy for scipy, torch for torch, cupy for cupyx.

    Returns
    -------
    (m, c) or (m,) dense array of the same library
        Of the wider of the two types.

    Raises
    ------
    InputTypeError
        The libraries differ, A is dense, F is sparse, or a torch layout is not COO or CSR.
    InputError
        The shapes do not fit.
    DeviceError
        Both are torch tensors, on different devices.

    Notes
    -----
    ``2 nnz c`` operations. Gradients of torch tensors flow through.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.sparse import csr_array
    >>> matmul(csr_array([[0.0, 2.0], [1.0, 0.0]]), np.array([[1.0], [3.0]]))
    array([[6.],
           [1.]])
    """
    if not is_sparse_matrix(A):
        raise InputTypeError(
            f"the left factor is {_named(A)}, which is not sparse; pass scipy, torch or cupyx "
            "sparse, or write A @ F."
        )
    library = library_of(A)
    if is_sparse_matrix(F) or library_of(F) != library:
        raise InputTypeError(
            f"{_named(A)} cannot multiply {_named(F)}; the products are "
            f"{', '.join(_PRODUCTS.values())}: convert one of the two."
        )
    if len(A.shape) != 2 or F.ndim not in (1, 2) or A.shape[1] != F.shape[0]:
        raise InputError(
            f"shapes {tuple(A.shape)} and {tuple(F.shape)} do not fit; pass A (m, n) and F (n, c) "
            "or (n,)."
        )
    if library == "torch":
        return _torch_matmul(A, F)
    return A @ F


def _torch_matmul(A: Any, F: Any) -> Any:
    """Multiply torch tensors of one device, promoting their types as numpy would."""
    import torch

    if A.layout not in (torch.sparse_coo, torch.sparse_csr):
        raise InputTypeError(f"A has layout {A.layout}; pass COO or CSR, e.g. A.to_sparse_csr().")
    if A.device != F.device:
        raise DeviceError(
            f"A is on {A.device} and F on {F.device}; move one of them, e.g. F.to(A.device)."
        )
    dtype = torch.promote_types(A.dtype, F.dtype)
    return A.to(dtype) @ F.to(dtype)


def as_csr(A: Any, name: str = "W") -> csr_array:
    """Read a sparse matrix of any library into canonical float64 CSR, never changing it.

    Parameters
    ----------
    A : (m, n) scipy.sparse of any format, torch.sparse of any layout or cupyx.scipy.sparse
        The matrix; entries given twice are summed.
    name : str, default "W"
        What error messages call it.

    Returns
    -------
    (m, n) scipy.sparse.csr_array
        float64, indices sorted and unique, of int32 where they fit. It shares the caller's memory
        wherever that is already so. Explicit zeros stay.

    Raises
    ------
    InputTypeError
        A is dense, or its values are not real numbers.
    InputError
        A is not two-dimensional.

    Examples
    --------
    >>> from scipy.sparse import coo_array
    >>> as_csr(coo_array(([1, 2], ([0, 0], [1, 1])), shape=(2, 2))).toarray()
    array([[0., 3.],
           [0., 0.]])
    """
    from scipy.sparse import csr_array

    if not is_sparse_matrix(A):
        raise InputTypeError(
            f"{name} is {_named(A)}, which is not sparse; pass scipy, torch or cupyx sparse, e.g. "
            f"scipy.sparse.csr_array({name})."
        )
    library = library_of(A)
    given = _torch_to_scipy(A, name) if library == "torch" else A.get() if library == "cupy" else A
    if given.ndim != 2:
        raise InputError(f"{name} has {given.ndim} dimension; pass a matrix.")
    if given.dtype.kind not in "buif" or given.dtype.itemsize > 8:
        raise InputTypeError(f"{name} holds {given.dtype} values; convert them to float64.")
    csr = csr_array(given).astype(np.float64, copy=False)
    if not csr.has_canonical_format:
        # scipy sorts in place: the caller's matrix must not be the one that is sorted.
        shared = given.format == "csr" and np.shares_memory(csr.indices, given.indices)
        csr = csr.copy() if shared else csr
        csr.sum_duplicates()
    index = index_type(max(csr.shape), csr.nnz)
    if csr.indices.dtype == csr.indptr.dtype == index:
        return csr
    rows = csr.indptr.astype(index)
    return csr_array((csr.data, csr.indices.astype(index), rows), shape=csr.shape)


def index_type(n: int, n_edges: int) -> np.dtype[Any]:
    """Return int32 where it counts the rows and the edges, else int64."""
    return np.dtype(np.int32 if max(n, n_edges) <= np.iinfo(np.int32).max else np.int64)


def _torch_to_scipy(A: Any, name: str) -> Any:
    """Read a torch tensor of any sparse layout into the scipy container of the same layout."""
    import scipy.sparse as sp
    import torch

    A = A.detach().cpu()
    if A.ndim != 2:
        raise InputError(f"{name} has {A.ndim} dimensions; pass a matrix.")
    if A.layout == torch.sparse_coo:
        A = A.coalesce()
        if A.dense_dim():
            raise InputError(
                f"{name} is a hybrid tensor with {A.dense_dim()} dense dimensions; pass one number "
                "an entry."
            )
        return sp.coo_array((_values(A), tuple(A.indices().numpy())), shape=tuple(A.shape))
    if A.layout in (torch.sparse_csr, torch.sparse_bsr):
        parts = (_values(A), A.col_indices().numpy(), A.crow_indices().numpy())
        make = sp.csr_array if A.layout == torch.sparse_csr else sp.bsr_array
        return make(parts, shape=tuple(A.shape))
    parts = (_values(A), A.row_indices().numpy(), A.ccol_indices().numpy())
    if A.layout == torch.sparse_csc:
        return sp.csc_array(parts, shape=tuple(A.shape))
    raise InputTypeError(f"{name} has layout {A.layout}; pass COO or CSR, e.g. A.to_sparse_csr().")


def check_csr(
    indptr: npt.NDArray[Any], indices: npt.NDArray[Any], logs: npt.NDArray[Any], n: int
) -> None:
    """Refuse arrays that are no CSR of n rows and columns."""
    if indptr.dtype.kind not in "iu" or (indices.size and indices.dtype.kind not in "iu"):
        raise InputError(
            f"indptr and indices are of type {indptr.dtype} and {indices.dtype}; pass integers."
        )
    lengths = (indptr.shape, indices.shape, logs.shape)
    if indptr.shape != (n + 1,) or indices.ndim != 1 or indices.shape != logs.shape:
        raise InputError(
            f"indptr, indices and log_data have shapes {lengths}; CSR of n = {n} points has "
            f"{n + 1} row starts and as many indices as values."
        )
    if indptr[0] != 0 or indptr[-1] != indices.size or (np.diff(indptr) < 0).any():
        raise InputError(
            f"indptr must rise from 0 to {indices.size}, the number of edges; it starts at "
            f"{indptr[0]}, ends at {indptr[-1]} or falls in between."
        )
    if indices.size and not 0 <= indices.min() <= indices.max() < n:
        raise InputError(
            f"indices run from {indices.min()} to {indices.max()}; columns lie in 0..{n - 1}."
        )


def sort_edges(
    indptr: npt.NDArray[Any], indices: npt.NDArray[Any], logs: npt.NDArray[Any]
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """Sort the edges of every row and add those given twice; copies only where it must."""
    rows = np.repeat(np.arange(indptr.size - 1), np.diff(indptr))
    same_row = rows[1:] == rows[:-1]
    rising = np.diff(indices) > 0
    if (rising | ~same_row).all():
        return indptr, indices, logs
    order = np.lexsort((indices, rows))
    rows, indices, logs = rows[order], indices[order], logs[order]
    # Sorting keeps the rows together, so same_row still holds.
    first = np.flatnonzero(np.concatenate(([True], (np.diff(indices) != 0) | ~same_row)))
    counts = np.bincount(rows[first], minlength=indptr.size - 1)
    starts = np.concatenate(([0], np.cumsum(counts))).astype(indptr.dtype)
    return starts, indices[first], np.logaddexp.reduceat(logs, first)


def pyg_to_coo(data: Any) -> coo_array:
    """Read a `torch_geometric.data.Data` into ``W[target, source]``, never changing it.

    Raises
    ------
    InputTypeError
        data has no edge_index (2, edges).
    InputError
        Node numbers are out of range, or there is no single number an edge.
    """
    from scipy.sparse import coo_array

    edge_index: Any = getattr(data, "edge_index", None)
    if getattr(edge_index, "ndim", 0) != 2 or edge_index.shape[0] != 2:
        raise InputTypeError(
            f"{_named(data)} has no edge_index (2, edges); pass a torch_geometric.data.Data, or "
            "its sparse adjacency as SparseGraph(data.adj_t)."
        )
    source, target = edge_index.detach().cpu().numpy()
    n = int(data.num_nodes)
    if source.size and not 0 <= int(edge_index.min()) <= int(edge_index.max()) < n:
        raise InputError(
            f"edge_index runs from {int(edge_index.min())} to {int(edge_index.max())}; node "
            f"numbers lie in 0..{n - 1}: correct it, or num_nodes."
        )
    return coo_array((_pyg_weights(data, source.size), (target, source)), shape=(n, n))


def edges_to_pyg(edges: npt.NDArray[np.int64], weights: npt.NDArray[np.float64], n: int) -> Any:
    """Return a `torch_geometric.data.Data` of edges (2, nnz), rows [source, target]."""
    import torch
    from torch_geometric.data import Data

    index, weight = torch.from_numpy(edges), torch.from_numpy(weights)
    return Data(edge_index=index, edge_weight=weight, num_nodes=n)


def _pyg_weights(data: Any, n_edges: int) -> npt.NDArray[Any]:
    """Return the weight of every edge of a PyG graph."""
    name = next((a for a in ("edge_weight", "edge_attr") if getattr(data, a, None) is not None), "")
    if not name:
        return np.ones(n_edges)
    values = getattr(data, name).detach().cpu()
    if values.numel() != n_edges:
        raise InputError(
            f"{name} has shape {tuple(values.shape)} for {n_edges} edges; set data.edge_weight to "
            "one number an edge."
        )
    weights: npt.NDArray[Any] = values.reshape(-1).double().numpy()
    return weights


def _values(A: Any) -> Any:
    """Return the values of a torch tensor as numpy, widened where numpy lacks the type."""
    values = A.values()
    if values.is_floating_point() and values.element_size() < 4:
        values = values.float()  # numpy has no bfloat16
    return values.numpy()


def _named(A: object) -> str:
    """Name the type of an object as the caller would write it."""
    return f"{type(A).__module__}.{type(A).__qualname__}".removeprefix("builtins.")


def hops_from(
    starts: npt.NDArray[np.int64], indptr: npt.NDArray[Any], indices: npt.NDArray[Any]
) -> npt.NDArray[np.int64]:
    """Return the edges from the nearest start to every point, (n,) int64; -1 where there is none.

    Row i of the CSR names the points that an edge leads to from i. Breadth first, by scipy.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import breadth_first_order

    root = indptr.size - 1
    # The walk starts at one point more, whose row names the starts.
    indptr = np.concatenate((indptr, [indptr[-1] + starts.size]))
    indices = np.concatenate((indices, starts))
    edges = csr_array((np.ones(indices.size), indices, indptr), shape=(root + 1, root + 1))
    order, parent = breadth_first_order(edges, root)
    ancestor = np.full(root + 1, root)
    ancestor[order[1:]] = parent[order[1:]]
    depth = np.ones(root + 1, dtype=np.int64)
    depth[root] = 0
    while (ancestor != root).any():
        depth += depth[ancestor]
        ancestor = ancestor[ancestor]
    hops = np.full(root, -1, dtype=np.int64)
    hops[order[1:]] = depth[order[1:]] - 1
    return hops


def check_square(shape: tuple[int, ...], name: str) -> None:
    """Refuse a graph that is not square or has no points."""
    if shape[0] != shape[1] or shape[0] < 1:
        raise InputError(
            f"{name} has shape {shape}; pass a square matrix (n, n) with one row per point."
        )
