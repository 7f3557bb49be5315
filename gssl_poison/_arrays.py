"""What kinds of feature arrays there are, and the one form the rest of the package computes on.

numpy and scipy CSR are computed on directly; pandas, torch and cupy are read through their own
protocols, and none of them is imported unless the caller already holds one of their objects.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gssl_poison.exceptions import InputError, InputTypeError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

# A dense (n, d) array or csr_array, as `as_features` returns it; told apart by `is_sparse`.
Features: TypeAlias = Any


def n_threads() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available_memory() -> int:
    """Return how many bytes this machine can give out without swapping."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass  # not Linux: what follows counts all memory, which is the best that is known
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@cache
def _blas() -> Any:
    """Find the BLAS libraries of this process, once: it means reading all it has loaded."""
    # scipy brings a BLAS of its own. Loaded later, it would never be told how many threads to take.
    import scipy.linalg.cython_blas  # noqa: F401
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def one_blas_thread() -> AbstractContextManager[Any]:
    """Return a context in which a matrix product runs on the thread that asks for it.

    Where every thread multiplies a block of its own, a BLAS that splits each product as well would
    only fight over the processors; and its idle threads spin on into what comes next.
    """
    context: AbstractContextManager[Any] = _blas().limit(limits=1, user_api="blas")
    return context


def is_sparse(X: object) -> bool:
    """Tell whether X is one of scipy's sparse containers, without importing scipy."""
    return type(X).__module__.startswith("scipy.sparse")


def as_features(X: Any) -> Features:
    """Read the caller's features into a dense array or canonical CSR, never changing them.

    Parameters
    ----------
    X : (n, d) numpy array, pandas DataFrame, scipy sparse, torch tensor, cupy array or nested list
        The features.

    Returns
    -------
    (n, d) ndarray of uint8, float32 or float64, or scipy.sparse.csr_array of float32 or float64
        The caller's own memory wherever that is possible.

    Raises
    ------
    InputError
        X is ragged, empty, not two-dimensional or has columns that are not numbers.
    InputTypeError
        X is of a type whose values are not real numbers.
    """
    if isinstance(X, np.ma.MaskedArray):
        raise InputTypeError(
            "X is a masked array, whose mask would be lost; fill it in with X.filled(value) first."
        )
    module = type(X).__module__.partition(".")[0]
    if module in ("cupy", "cupyx"):
        X = X.get()
    elif module == "torch":
        X = _from_torch(X)
    elif module == "pandas":
        X = _from_pandas(X)
    if is_sparse(X):
        return _canonical_csr(X)
    return _canonical_dense(X)


def _from_torch(X: Any) -> npt.NDArray[Any]:
    """Read a torch tensor: shared memory on the CPU, a copy from anywhere else."""
    if X.layout is not type(X)().layout:
        raise InputTypeError(
            f"X is a torch tensor of layout {X.layout}; pass a dense tensor or scipy CSR."
        )
    if X.is_floating_point() and X.element_size() < 4:
        X = X.float()  # numpy has no bfloat16; float32 holds it exactly
    dense: npt.NDArray[Any] = X.detach().cpu().numpy()
    return dense


def _from_pandas(X: Any) -> npt.NDArray[Any]:
    """Read a DataFrame whose columns are all numbers; name those that are not."""
    if X.ndim != 2:
        raise InputError("X is a pandas Series; pass a DataFrame (n, d): X.to_frame() for d = 1.")
    wrong = [str(c) for c, t in zip(X.columns, X.dtypes, strict=True) if t.kind not in "buif"]
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise InputError(
            f"columns {', '.join(map(repr, wrong[:5]))}{more} of X are not numbers; "
            "encode or drop them."
        )
    try:
        dense: npt.NDArray[Any] = X.to_numpy(
            dtype=np.result_type(*_numpy_types(X)), na_value=np.nan
        )
    except (TypeError, ValueError) as error:
        raise InputTypeError(f"X cannot be read as numbers ({error}); convert it first.") from error
    return dense


def _numpy_types(X: Any) -> list[np.dtype[Any]]:
    """Return a numpy type for every column, float64 where missing values need one."""
    return [
        t if isinstance(t, np.dtype) and t.kind != "b" else np.dtype(np.float64) for t in X.dtypes
    ]


def _canonical_csr(X: Any) -> csr_array:
    """Return CSR with sorted, unique indices and real values; copies only where it must."""
    from scipy.sparse import csr_array

    if X.ndim != 2:
        raise InputError(f"X has {X.ndim} dimensions; pass one row per point (n, d).")
    if X.dtype.kind not in "buif" or X.dtype.itemsize > 8:
        raise InputTypeError(f"X holds {X.dtype} values; convert it to float32 or float64.")
    given = X
    csr = csr_array(given)
    if csr.dtype not in (np.float32, np.float64):
        csr = csr.astype(np.float64)
    if not csr.has_canonical_format:
        # scipy sorts in place: the caller's matrix must not be the one that is sorted.
        csr = csr.copy() if np.shares_memory(csr.data, getattr(given, "data", csr.data)) else csr
        csr.sum_duplicates()
    _check_shape(csr.shape)
    return csr


def _canonical_dense(X: Any) -> npt.NDArray[Any]:
    """Return a two-dimensional array of uint8, float32 or float64."""
    try:
        dense = np.asarray(X)
    except ValueError as error:
        raise InputError(
            f"X is ragged or nested too deep ({error}); give every row d numbers."
        ) from error
    if dense.dtype.kind == "O":
        raise InputTypeError(
            "X holds Python objects; convert it to numbers first, e.g. X.astype(float)."
        )
    if dense.dtype.kind not in "buif" or dense.dtype.itemsize > 8:
        raise InputTypeError(f"X holds {dense.dtype} values; convert it to float32 or float64.")
    if dense.ndim != 2:
        raise InputError(
            f"X has shape {dense.shape}; pass one row per point (n, d), "
            "X.reshape(-1, 1) for a single feature."
        )
    _check_shape(dense.shape)
    # A foreign byte order has the same values; the kernels read the native one.
    dense = dense.astype(dense.dtype.newbyteorder("="), copy=False)
    if dense.dtype == np.bool_:
        return dense.view(np.uint8)
    if dense.dtype.kind == "f" and dense.dtype.itemsize == 2:
        return dense.astype(np.float32)
    if dense.dtype in (np.uint8, np.float32, np.float64):
        return dense
    return dense.astype(np.float64)


def _check_shape(shape: tuple[int, ...]) -> None:
    """Refuse a table without rows or without features."""
    if shape[0] == 0 or shape[1] == 0:
        raise InputError(
            f"X is empty, of shape {shape}; it needs at least one row and one feature."
        )


def refuse_not_finite(X: Features, rows: npt.NDArray[np.int64]) -> None:
    """Raise the error that names the first value of ``rows`` that is not finite, or too large."""
    for row in rows:
        values = X[[row]].toarray()[0] if is_sparse(X) else np.asarray(X[row])
        wrong = np.flatnonzero(~np.isfinite(values))
        if wrong.size:
            raise InputError(
                f"X[{row}, {wrong[0]}] is {values[wrong[0]]}; every feature must be a finite "
                "number: drop the row or fill the value in."
            )
    raise InputError(
        f"row {rows[0]} of X is so large that squared distances overflow float64; rescale X."
    )
