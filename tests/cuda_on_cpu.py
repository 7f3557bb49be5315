"""Kernels of `cuda_kernels/` run on the CPU, from their own source, by a shim for tests alone."""

from __future__ import annotations

import ctypes
import hashlib
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

SHIM = Path(__file__).parent / "cuda_shim" / "shim.h"
KERNELS = Path(__file__).parents[1] / "cuda_kernels"
# First to last, last to first, and one after another by chance.
ORDERS = (0, 1, 2)
_SIGNATURE = re.compile(
    r'extern "C" __global__ void (?:__launch_bounds__\(\w+\) )?(\w+)\(([^)]*)\)', re.DOTALL
)
_COMMENT = re.compile(r"//[^\n]*")


@dataclass(frozen=True)
class Kernel:
    """A kernel that can be launched as cupy launches one: ``kernel(grid, block, arguments)``."""

    name: str
    types: tuple[str, ...]
    library: ctypes.CDLL

    def __call__(self, grid, block, arguments, *, order=0, shared=0):
        """Run all blocks, one after another; arrays are numpy arrays, written in place."""
        assert len(arguments) == len(self.types), (self.types, len(arguments))
        cells = []
        for kind, value in zip(self.types, arguments, strict=True):
            if "*" in kind:
                assert value.flags.c_contiguous, kind
                assert value.dtype == _dtype(kind), (kind, value.dtype)
                cells.append(ctypes.c_void_p(value.ctypes.data))
            else:
                cells.append(_SCALARS[kind](value))
        sizes = [*grid, *[1] * (3 - len(grid)), *block, *[1] * (3 - len(block))]
        launch = getattr(self.library, f"launch_{self.name}")
        finished = launch(
            *map(ctypes.c_uint, sizes), ctypes.c_int(order), ctypes.c_size_t(shared), *cells
        )
        if not finished:
            raise RuntimeError(
                f"{self.name}: some threads wait at a barrier that others never reach"
            )


_SCALARS = {
    "int": ctypes.c_int,
    "float": ctypes.c_float,
    "double": ctypes.c_double,
    "long long": ctypes.c_longlong,
}


class DeviceArray(np.ndarray):
    """An array that meets no array of the host, as an array of a GPU does not."""

    def __array_ufunc__(self, ufunc, method, *inputs, out=(), **rest):
        _refuse_host((inputs, out, rest))
        plain = [_plain(value) for value in inputs]
        if out:
            rest["out"] = tuple(_plain(value) for value in out)
        rest = {name: _plain(value) for name, value in rest.items() if name != "out"} | (
            {"out": rest["out"]} if out else {}
        )
        found = getattr(ufunc, method)(*plain, **rest)
        if out:
            return out[0] if len(out) == 1 else out
        return _on_device(found)

    def __array_function__(self, function, types, given, named):
        _refuse_host((given, named))
        return super().__array_function__(function, types, given, named)

    def max(self, axis=None):
        # cupy's takes no initial value.
        return super().max(axis=axis)

    def __getitem__(self, key):
        _refuse_host(key)
        return super().__getitem__(key)

    def __setitem__(self, key, value):
        _refuse_host((key, value))
        super().__setitem__(key, value)


def _refuse_host(value):
    """Refuse arrays of the host; single numbers may go anywhere."""
    if isinstance(value, tuple | list):
        for item in value:
            _refuse_host(item)
    elif isinstance(value, dict):
        _refuse_host(list(value.values()))
    elif isinstance(value, np.ndarray) and not isinstance(value, DeviceArray):
        raise TypeError(f"an array of the host meets one of the device: {value!r}")


def _plain(value):
    return value.view(np.ndarray) if isinstance(value, DeviceArray) else value


def _on_device(value):
    if isinstance(value, tuple):
        return tuple(_on_device(item) for item in value)
    return np.asarray(value).view(DeviceArray)


class Functions:
    """What numpy is to the host, for `DeviceArray`: no more of it than cupy has, as cupy has it."""

    KNOWN = (
        *("abs", "arange", "ascontiguousarray", "concatenate", "divide", "empty", "exp", "frexp"),
        *("fill_diagonal", "full", "isfinite", "ldexp", "log", "matmul", "maximum", "multiply"),
        *("asarray", "where", "zeros"),
    )

    def __getattr__(self, name):
        if name not in self.KNOWN:
            raise AttributeError(f"the tests' card has no {name}; see that cupy has, and add it")

        def call(*given, **named):
            _refuse_host((given, named))
            found = getattr(np, name)(*given, **named)
            return found if found is None else _on_device(found)

        return call


class Sparse:
    """A sparse matrix of the device."""

    def __init__(self, A):
        self.A = A

    def __matmul__(self, X):
        _refuse_host(X)
        return _on_device(self.A @ _plain(X))


# What a launch may be in each dimension.
GRID = (2**31 - 1, 65_535, 65_535)


class ShimCard:
    """A `Card` in the memory of the host, which runs every kernel by the shim."""

    xp = Functions()

    def __init__(self, folder, order=0):
        self.folder = folder
        self.order = order
        self.launched = []

    def put(self, host):
        assert not isinstance(host, DeviceArray)
        return np.array(host, order="C").view(DeviceArray)

    def get(self, array):
        assert isinstance(array, DeviceArray)
        return np.array(array.view(np.ndarray))

    def empty(self, shape, dtype):
        # Rubbish, as memory of a device is: all bits set are a NaN, or -1.
        rubbish = np.full(shape, -1, dtype="i1").repeat(np.dtype(dtype).itemsize)
        return rubbish.view(dtype).reshape(shape).view(DeviceArray)

    def stream(self, X, parts):
        before = None
        for part in parts:
            if before is not None:
                before.view(np.ndarray).view("u1")[...] = 0xFF  # its memory is another's now
            before = self.put(X[part])
            yield before

    def multiply(self, A, B, out):
        _refuse_host((A, B, out))
        if A.dtype == np.int8:
            assert not any(size % 16 for size in (*A.shape, *B.shape, A.strides[0], B.strides[0]))
            A, B = A.astype(np.int32), B.astype(np.int32)
        np.matmul(_plain(A), _plain(B).T, out=_plain(out))

    def add_product(self, total, A, B):
        _refuse_host((total, A, B))
        assert all(array.strides[1] == array.itemsize for array in (total, A, B) if array.size)
        plain = _plain(total)
        plain += _plain(A) @ _plain(B)

    def sparse(self, A):
        return Sparse(A)

    def free_memory(self):
        return 2**40

    def launch(self, name, grid, threads, arguments, shared=0, **macros):
        self.launched.append(name)
        assert all(0 < size <= most for size, most in zip(grid, GRID, strict=False)), grid
        assert 0 < threads <= 1024
        assert shared <= 48 * 1024, "more than a kernel gets unasked"
        _refuse_host([value for value in arguments if np.ndim(value)])
        kernel = build(name, self.folder, **macros)
        for kind, value in zip(kernel.types, arguments, strict=True):
            # cupy goes by the type of a number: of Python's it takes 64 bits.
            assert "*" in kind or value.dtype == _dtype(kind), (name, kind, value)
        kernel(grid, (threads,), arguments, order=self.order, shared=shared)


_TYPES = {
    "int": "i4",
    "unsigned char": "u1",
    "signed char": "i1",
    "long long": "i8",
    "float": "f4",
    "double": "f8",
}


def _dtype(kind):
    return np.dtype(_TYPES[kind.rstrip("* ")])


# Checked jumps refuse to go to another stack.
_OPTIONS = ("-std=c++17", "-O1", "-fPIC", "-U_FORTIFY_SOURCE")


@cache
def _header(folder):
    """Compile the shim once, which takes as long as a kernel behind it; return where it is."""
    header = Path(folder) / "shim.h"
    shutil.copy(SHIM, header)
    command = ["g++", *_OPTIONS, "-w", "-x", "c++-header", str(header), "-o", f"{header}.gch"]
    subprocess.run(command, check=True)
    return str(header)


@cache
def build(name, folder, source=None, **defines):
    """Compile a kernel's source, or a changed one, with the shim in front of it."""
    text = (KERNELS / f"{name}.cu").read_text() if source is None else source
    found = _SIGNATURE.search(_COMMENT.sub("", text))
    assert found, f"{name}.cu has no kernel"
    assert found[1] == name, f"{name}.cu must hold the kernel {name}"
    types, names = [], []
    for parameter in found[2].split(","):
        kind, _, label = parameter.replace("const ", "").strip().rpartition(" ")
        kind = kind.strip()
        for macro, meaning in defines.items():
            kind = re.sub(rf"\b{macro}\b", str(meaning), kind)
        types.append(kind)
        names.append(label)
    declared = ", ".join(f"{kind} {label}" for kind, label in zip(types, names, strict=True))
    text = re.sub(
        r"extern __shared__ (\w+) (\w+)\[\];", r"\1* \2 = (\1*)shim::dynamic().data();", text
    )
    unit = f"""
{text}
extern "C" int launch_{name}(unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
    unsigned bz, int order, size_t shared, {declared}) {{
    auto kernel = [&] {{ {name}({", ".join(names)}); }};
    return shim::run({{gx, gy, gz}}, {{bx, by, bz}}, order, shared, kernel);
}}
"""
    options = [f"-D{macro}={meaning}" for macro, meaning in defines.items()]
    stamp = hashlib.sha256((unit + str(options) + SHIM.read_text()).encode()).hexdigest()[:16]
    target = Path(folder) / f"{name}-{stamp}.so"
    if not target.exists():
        written = target.with_suffix(".cpp")
        written.write_text(unit)
        command = ["g++", *_OPTIONS, "-shared", "-include", _header(folder), f"-I{KERNELS}"]
        command += [*options, str(written), "-o", str(target)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return Kernel(name, tuple(types), ctypes.CDLL(str(target)))
