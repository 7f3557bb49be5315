"""One BLAS operation numpy does not have: add a matrix product to a block, in place."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@cache
def _dgemm() -> Any:
    """Return BLAS dgemm from scipy's documented C interface, ``scipy.linalg.cython_blas``."""
    from scipy.linalg import cython_blas

    capsule = cython_blas.__pyx_capi__["dgemm"]
    name_of = ctypes.pythonapi.PyCapsule_GetName
    name_of.restype, name_of.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
    pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    # All arguments of Fortran are passed by address; a call leaves the interpreter lock alone.
    kind = ctypes.CFUNCTYPE(None, *([ctypes.c_void_p] * 13))
    return kind(pointer_of(capsule, name_of(capsule)))


def add_product(C: Floats, A: Floats, B: Floats) -> None:
    """Add ``A @ B`` to ``C`` in place.

    Parameters
    ----------
    C : (m, n) float64
        Any block of a C-ordered array: its rows may lie apart.
    A : (m, k) float64
        The same.
    B : (k, n) float64
        The same, or the transpose of one; none of the three may overlap.

    Notes
    -----
    ``2 m n k`` operations and no memory: ``numpy.matmul`` cannot accumulate, and scipy's Python
    wrapper copies a block whose rows lie apart.

    Examples
    --------
    >>> C = np.ones((2, 3))
    >>> add_product(C[:, 1:], np.eye(2), np.array([[1.0, 2.0], [3.0, 4.0]]))
    >>> C
    array([[1., 2., 3.],
           [1., 4., 5.]])
    """
    (m, n), k = C.shape, A.shape[1]
    if min(m, n, k) == 0:
        return
    turned = B.strides[1] != B.itemsize
    stored = B.T if turned else B
    for block in (C, A, stored):
        if block.dtype != np.float64 or block.strides[1] != block.itemsize:
            raise TypeError("add_product works on float64 blocks of C-ordered arrays")
    if A.shape[0] != m or B.shape != (k, n):
        raise ValueError(f"shapes {A.shape} and {B.shape} do not give {C.shape}")
    # Row-major C += A B is column-major C^T += B^T A^T. A single row's stride says nothing.
    sizes = [ctypes.c_int(value) for value in (n, m, k, _stride(stored), _stride(A), _stride(C))]
    n_, m_, k_, ldb, lda, ldc = (ctypes.byref(value) for value in sizes)
    plain, one = ctypes.byref(ctypes.c_char(b"N")), ctypes.byref(ctypes.c_double(1.0))
    either = ctypes.byref(ctypes.c_char(b"T")) if turned else plain
    b, a, c = (block.ctypes.data for block in (stored, A, C))
    _dgemm()(either, plain, n_, m_, k_, one, b, ldb, a, lda, one, c, ldc)


def _stride(block: Floats) -> int:
    """Return how many numbers lie between the starts of two rows."""
    return max(int(block.strides[0]) // block.itemsize, int(block.shape[1]), 1)
