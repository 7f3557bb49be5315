"""Rows from the memory of the host to a GPU, one block being copied while another is computed."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Pinned = Callable[[tuple[int, ...], Any], npt.NDArray[Any]]

_SLOTS = 2
# Threads that gather rows: one copies at less than a card's connection does.
_GATHERERS = 4


def stream(
    cupy: Any, pinned: Pinned, X: npt.NDArray[Any], parts: Sequence[Integers], most: int
) -> Generator[Any]:
    """Yield ``X[part]`` of every part on the device.

    Parameters
    ----------
    cupy : module
    pinned : callable
        Returns page-locked memory of a shape and a dtype: what is copied from it is copied while
        the host goes on.
    X : (n, d) ndarray
        Of the host.
    parts : sequence of (b,) int64
    most : int
        Rows of the largest part.

    Yields
    ------
    (b, d) cupy.ndarray
        Good until the next one is asked for: by then all work on it must be under way on the
        stream that was current when the first one was asked for.

    Notes
    -----
    Two buffers on either side. A thread gathers the rows of the next part and has them copied on a
    stream of its own; the caller's stream waits for a copy, and a copy for the work on what it
    overwrites, so that the host never waits for either.
    """
    main, copies = cupy.cuda.get_current_stream(), cupy.cuda.Stream(non_blocking=True)
    shape = (most, X.shape[1])
    here = [pinned(shape, X.dtype) for _ in range(_SLOTS)]
    there = [cupy.empty(shape, dtype=X.dtype) for _ in range(_SLOTS)]
    copied, spent = ([cupy.cuda.Event() for _ in range(_SLOTS)] for _ in range(2))
    device, ordered = cupy.cuda.Device(), X.flags.c_contiguous
    # The buffers may be memory that work under way on the caller's stream still uses.
    begun = cupy.cuda.Event()
    begun.record(main)
    copies.wait_event(begun)

    def gather(rows: Integers, into: npt.NDArray[Any]) -> None:
        """Copy rows in threads, each a stretch of them; numpy lets go of the interpreter."""
        cuts = [rows.size * i // _GATHERERS for i in range(_GATHERERS + 1)]

        def copy(start: int, stop: int) -> None:
            if ordered:
                np.take(X, rows[start:stop], axis=0, out=into[start:stop], mode="clip")
            else:  # take would copy all of X
                into[start:stop] = X[rows[start:stop]]

        list(gatherers.map(copy, cuts[:-1], cuts[1:]))

    def send(k: int) -> None:
        """Gather a part and have it copied."""
        slot, rows = k % _SLOTS, parts[k]
        with device:
            # What this buffer of the host held before is on the device by now.
            copied[slot].synchronize()
            gather(rows, here[slot])
            if k >= _SLOTS:
                copies.wait_event(spent[slot])
            there[slot][: rows.size].set(here[slot][: rows.size], stream=copies)
            copied[slot].record(copies)

    try:
        with ThreadPoolExecutor(_GATHERERS) as gatherers, ThreadPoolExecutor(1) as pool:
            under_way: Future[None] | None = pool.submit(send, 0) if parts else None
            for k, rows in enumerate(parts):
                assert under_way is not None  # noqa: S101 - for the type checker
                under_way.result()
                under_way = pool.submit(send, k + 1) if k + 1 < len(parts) else None
                slot = k % _SLOTS
                main.wait_event(copied[slot])
                yield there[slot][: rows.size]
                spent[slot].record(main)
    finally:
        # Whoever stops early leaves a copy under way, into memory that is given back.
        copies.synchronize()
