"""What a figure was measured with and on, in words that a row keeps; and warnings, for threads."""

from __future__ import annotations

import platform
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from gssl_poison import __version__
from gssl_poison._arrays import n_threads

# Filters of warnings belong to the process, and a thread that leaves first puts back the others'.
_FILTERS = threading.RLock()
_LIBRARIES = ("numpy", "scipy", "scikit-learn", "numba")


@cache
def versions_of(*, cupy: bool = False, torch: bool = False) -> str:
    """Return the versions of what computes.

    Parameters
    ----------
    cupy, torch : bool, default False
        Whether these do.

    Examples
    --------
    >>> versions_of().split(", ")[0].rpartition(" ")[0]
    'gssl-poison'
    """
    libraries = (*_LIBRARIES, *(("cupy",) if cupy else ()), *(("torch",) if torch else ()))
    return ", ".join([f"gssl-poison {__version__}", *(f"{n} {_version_of(n)}" for n in libraries)])


def _version_of(library: str) -> str:
    # cupy comes in packages that are named by the version of CUDA.
    names = ("cupy-cuda13x", "cupy-cuda12x", "cupy") if library == "cupy" else (library,)
    for name in names:
        with suppress(PackageNotFoundError):
            return version(name)
    return "not installed"  # on a machine that shows what another one measured


@cache
def machine_name() -> str:
    """Return the name of the processor, and how many of its threads this process may use.

    Examples
    --------
    >>> machine_name().endswith(" threads")
    True
    """
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        name = next(
            line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
        )
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name}, {n_threads()} threads"


@contextmanager
def ignoring(category: type[Warning]) -> Iterator[None]:
    """Ignore warnings of a category inside the block, which threads enter one after another.

    Examples
    --------
    >>> with ignoring(RuntimeWarning):
    ...     warnings.warn("not to be seen", RuntimeWarning)
    """
    with _FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore", category)
        yield
