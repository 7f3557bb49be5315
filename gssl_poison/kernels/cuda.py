"""The GPU: where the sources of kernels are, how they are compiled, and what arrays live there.

Everything above this module talks to a `Card`. `CupyCard` is the one of a machine with a GPU; tests
bring another, which runs the same sources on the CPU.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Generator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from gssl_poison._arguments import check_choice
from gssl_poison.exceptions import DeviceError, InputError
from gssl_poison.kernels import cuda_stream

DEVICES = ("auto", "cpu", "cuda")
NO_KERNEL = (
    "device='cuda' has kernels for what is read from an RBFGraph of dense features, normalised by "
    "rows, and for Harmonic on a symmetric SparseGraph; use device='cpu' or 'auto'."
)

_PACKAGE = Path(__file__).parents[1] / "cuda_kernels"
_CHECKOUT = Path(__file__).parents[2] / "cuda_kernels"
# Blocks of a launch in its second and third dimension.
_LARGEST_GRID = 65_535
# cudaDataType of library_types.h.
_CUDA_R_8I, _CUDA_R_32I = 3, 10
# Settings that make products of floats coarser.
_COARSER = ("CUPY_TF32", "CUBLAS_EMULATE_SINGLE_PRECISION", "CUBLAS_EMULATE_DOUBLE_PRECISION")
_TYPES = {"uint8": "unsigned char", "float32": "float", "float64": "double"}


class Card(Protocol):
    """Arrays on a device, matrix products and kernels of `cuda_kernels`.

    Attributes
    ----------
    xp : module
        What numpy is to arrays of the host. It takes no array of the host, not even as an index.
    """

    @property
    def xp(self) -> Any:
        """The functions of its arrays."""

    def put(self, host: npt.NDArray[Any]) -> Any:
        """Return a C-ordered copy of a host array on the device."""

    def get(self, array: Any) -> npt.NDArray[Any]:
        """Return a copy of a device array on the host."""

    def empty(self, shape: tuple[int, ...], dtype: str) -> Any:
        """Return an uninitialised array on the device."""

    def stream(self, X: npt.NDArray[Any], parts: Sequence[npt.NDArray[np.int64]]) -> Generator[Any]:
        """Yield the rows of each part on the device, each good until the next is asked for."""

    def multiply(self, A: Any, B: Any, out: Any) -> None:
        """Write ``A @ B.T`` of C-ordered matrices, products rounded to their type, no coarser.

        Of int8 exactly, into int32; all sizes and row strides are then multiples of 16.
        """

    def add_product(self, total: Any, A: Any, B: Any) -> None:
        """Add ``A @ B`` to ``total`` in place, all float64 with rows that are contiguous."""

    def sparse(self, A: Any) -> Any:
        """Return a copy of a scipy CSR matrix on the device, to multiply dense arrays by."""

    def free_memory(self) -> int:
        """Return how many bytes an array may take."""

    def launch(
        self,
        name: str,
        grid: tuple[int, ...],
        threads: int,
        arguments: Sequence[Any],
        shared: int = 0,
        **macros: str,
    ) -> None:
        """Run a kernel; ``macros`` are set while it is compiled."""


def kernel_folder() -> Path:
    """Return the folder of the kernels' sources: of the package, else of the checkout."""
    for folder in (_PACKAGE, _CHECKOUT):
        if folder.is_dir():
            return folder
    raise DeviceError(
        f"the CUDA sources are neither in {_PACKAGE} nor in {_CHECKOUT}; reinstall gssl-poison, or "
        "use device='cpu'."
    )


def type_name(dtype: Any) -> str:
    """Return what a dtype is called in CUDA.

    Examples
    --------
    >>> type_name(np.float32)
    'float'
    """
    return _TYPES[np.dtype(dtype).name]


class CupyCard:
    """The GPU that cupy computes on, and the stream that is current there."""

    def __init__(self) -> None:
        self.xp: Any = _cupy()
        self._kernels: dict[tuple[str, tuple[tuple[str, str], ...]], Any] = {}

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        """Be the card of whatever process this is unpickled in."""
        return card, ()

    def put(self, host: npt.NDArray[Any]) -> Any:
        """Return a C-ordered copy of a host array on the device."""
        # Not asarray: it keeps page-locked memory of the next power of two.
        array = self.empty(host.shape, str(host.dtype))
        array.set(np.ascontiguousarray(host))
        return array

    def get(self, array: Any) -> npt.NDArray[Any]:
        """Return a copy of a device array on the host."""
        host: npt.NDArray[Any] = self.xp.asnumpy(array)
        return host

    def empty(self, shape: tuple[int, ...], dtype: str) -> Any:
        """Return an uninitialised array on the device."""
        try:
            return self.xp.empty(shape, dtype=dtype)
        except self.xp.cuda.memory.OutOfMemoryError as error:
            raise InputError(
                f"the GPU has no room for an array of {shape} {dtype} numbers ({error}); use fewer "
                "points or labels, a smaller block_size, or device='cpu'."
            ) from error

    def stream(self, X: npt.NDArray[Any], parts: Sequence[npt.NDArray[np.int64]]) -> Generator[Any]:
        """Yield the rows of each part, the next one being gathered and copied meanwhile."""
        most = max((part.size for part in parts), default=0)
        return cuda_stream.stream(self.xp, _pinned, X, parts, most)

    def multiply(self, A: Any, B: Any, out: Any) -> None:
        """Write ``A @ B.T``."""
        if A.dtype == np.int8:
            self._multiply_codes(A, B, out)
        else:
            self.xp.matmul(A, B.T, out=out)

    def _multiply_codes(self, A: Any, B: Any, out: Any) -> None:
        """Write ``A @ B.T`` of int8 to int32, which cupy's own products do not have."""
        from cupy.cuda import device
        from cupy_backends.cuda.libs import cublas

        (rows, inner), columns = A.shape, B.shape[0]
        one, zero = np.ones(1, dtype=np.int32), np.zeros(1, dtype=np.int32)
        strides = [array.strides[0] // array.itemsize for array in (B, A, out)]
        # cuBLAS orders by columns, in which an array is its transpose: out' = (B')' A'.
        cublas.gemmEx(
            device.get_cublas_handle(),
            cublas.CUBLAS_OP_T,
            cublas.CUBLAS_OP_N,
            columns,
            rows,
            inner,
            one.ctypes.data,
            B.data.ptr,
            _CUDA_R_8I,
            strides[0],
            A.data.ptr,
            _CUDA_R_8I,
            strides[1],
            zero.ctypes.data,
            out.data.ptr,
            _CUDA_R_32I,
            strides[2],
            cublas.CUBLAS_COMPUTE_32I,
            cublas.CUBLAS_GEMM_DEFAULT,
        )

    def add_product(self, total: Any, A: Any, B: Any) -> None:
        """Add ``A @ B`` to ``total``: cupy's own products copy what is a part of a larger array."""
        from cupy.cuda import device
        from cupy_backends.cuda.libs import cublas

        (rows, inner), columns = A.shape, B.shape[1]
        if 0 in (rows, inner, columns):
            return
        one = np.ones(1)
        strides = [array.strides[0] // array.itemsize for array in (B, A, total)]
        # cuBLAS orders by columns, in which an array is its transpose: total' += B' A'.
        cublas.dgemm(
            device.get_cublas_handle(),
            cublas.CUBLAS_OP_N,
            cublas.CUBLAS_OP_N,
            columns,
            rows,
            inner,
            one.ctypes.data,
            B.data.ptr,
            strides[0],
            A.data.ptr,
            strides[1],
            one.ctypes.data,
            total.data.ptr,
            strides[2],
        )

    def sparse(self, A: Any) -> Any:
        """Return a CSR matrix of cupyx."""
        from cupyx.scipy.sparse import csr_matrix

        parts = (self.put(part) for part in (A.data, A.indices, A.indptr))
        return csr_matrix(tuple(parts), shape=A.shape)

    def free_memory(self) -> int:
        """Return what the device has free, and what cupy holds of it unused."""
        free, _ = self.xp.cuda.runtime.memGetInfo()
        return int(free) + int(self.xp.get_default_memory_pool().free_bytes())

    def launch(
        self,
        name: str,
        grid: tuple[int, ...],
        threads: int,
        arguments: Sequence[Any],
        shared: int = 0,
        **macros: str,
    ) -> None:
        """Run a kernel, compiled on first use."""
        if max(grid[1:], default=0) > _LARGEST_GRID:
            raise DeviceError(
                f"{name} would need {max(grid[1:]):,} blocks in one dimension, and a GPU has "
                f"{_LARGEST_GRID:,}; use fewer points, or device='cpu'."
            )
        key = (name, tuple(sorted(macros.items())))
        if key not in self._kernels:
            folder = kernel_folder()
            # cupy keeps what it has compiled by the source and the options, not by what is
            # included.
            stamp = f"-DSOURCES=0x{_stamp(folder)}"
            options = ("-std=c++17", f"-I{folder}", stamp, *(f"-D{k}={v}" for k, v in key[1]))
            module = self.xp.RawModule(
                code=(folder / f"{name}.cu").read_text(encoding="utf-8"), options=options
            )
            self._kernels[key] = module.get_function(name)
        self._kernels[key](grid, (threads,), tuple(arguments), shared_mem=shared)


def _stamp(folder: Path) -> str:
    """Return what all sources of kernels are told apart by."""
    found = hashlib.sha256()
    for path in sorted(folder.glob("*.cu*")):
        found.update(path.read_bytes())
    return found.hexdigest()[:8]


def _pinned(shape: tuple[int, ...], dtype: Any) -> npt.NDArray[Any]:
    """Return memory of the host that is copied from while the host does something else."""
    import cupyx

    array: npt.NDArray[Any] = cupyx.empty_pinned(shape, dtype=dtype)
    return array


def _cupy() -> Any:
    """Import cupy, or say what is missing."""
    try:
        import cupy
    except ImportError as error:
        if error.name != "cupy":
            raise DeviceError(
                f"device='cuda' needs cupy, which cannot be imported here ({error}); mend its "
                "installation, or use device='cpu' or 'auto'."
            ) from error
        raise DeviceError(
            "device='cuda' needs cupy, which is not installed; pip install "
            "'gssl-poison[cuda13]' (or cuda12, by the driver), or use device='cpu' or 'auto'."
        ) from error
    try:
        n_cards = int(cupy.cuda.runtime.getDeviceCount())
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise DeviceError(
            f"device='cuda' finds no GPU here ({error}); use device='cpu' or 'auto'."
        ) from error
    if not n_cards:
        raise DeviceError("device='cuda' finds no GPU here; use device='cpu' or 'auto'.")
    for name in _COARSER:
        if os.environ.get(name, "0") != "0":
            raise DeviceError(
                f"{name} is set, and such products are coarser than the bounds that counts rest "
                "on; unset it."
            )
    return cupy


def resolve_device(device: str, *, able: bool = True) -> tuple[str, str]:
    """Return the device that computes, and one sentence on why it was chosen.

    Parameters
    ----------
    device : {"auto", "cpu", "cuda"}
    able : bool, default True
        Whether there are kernels for what is asked.

    Raises
    ------
    InputError
        The device is none of these.
    DeviceError
        "cuda" is asked for, and there are no kernels or no GPU.

    Examples
    --------
    >>> resolve_device("cpu")
    ('cpu', "device 'cpu' as asked for")
    """
    check_choice("device", device, DEVICES)
    if device == "cpu":
        return "cpu", "device 'cpu' as asked for"
    if device == "auto":
        # Not before the kernels have run on a card.
        return "cpu", "device 'auto' fell back to the CPU: kernels run where 'cuda' is asked for"
    if not able:
        raise DeviceError(NO_KERNEL)
    card()
    return "cuda", "device 'cuda' as asked for"


def resident_of(X: Any, host: npt.NDArray[Any]) -> Any:
    """Return points that are on a GPU already, as they lie there, or None.

    Parameters
    ----------
    X : cupy.ndarray, torch.Tensor or anything else
        What the caller has given.
    host : (n, d) ndarray
        The same on the host: what rechecks read.

    Notes
    -----
    No copy: torch lends its memory by DLPack, in the order of its stream. An array of another type
    than the host's, or not in rows, is copied from the host with the others.
    """
    module = type(X).__module__.partition(".")[0]
    if module == "torch" and X.is_cuda:
        import cupy

        X = cupy.from_dlpack(X.detach())
    elif module != "cupy":
        return None
    return X if X.dtype == host.dtype and X.flags.c_contiguous else None


@cache
def card() -> CupyCard:
    """Return the card of this process.

    Raises
    ------
    DeviceError
        cupy is not installed, finds no GPU, or is told to round products to TF32.
    """
    return CupyCard()


def card_of(graph: Any) -> Card | None:
    """Return the card that a graph is computed on, or None: it is the host.

    Examples
    --------
    >>> from gssl_poison import RBFGraph
    >>> card_of(RBFGraph([[0.0], [1.0]], gamma=1.0)) is None
    True
    """
    return card() if getattr(graph, "device", "cpu") == "cuda" else None
