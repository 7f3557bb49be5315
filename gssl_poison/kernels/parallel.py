"""Work in threads, results in order: sums over them are the same bits for any number of threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from gssl_poison.kernels.workspace import Workspace

P = TypeVar("P")
T = TypeVar("T")


def in_order(work: Callable[[P, Workspace], T], parts: Iterable[P], workers: int) -> Iterator[T]:
    """Run ``work`` on every part in threads, and yield the results in the order of the parts.

    At most twice as many parts as threads are under way, so memory does not grow with their number.
    """
    local = threading.local()

    def with_workspace(part: P) -> T:
        if not hasattr(local, "workspace"):
            local.workspace = Workspace()
        return work(part, local.workspace)

    if workers == 1:
        yield from map(with_workspace, parts)
        return
    remaining = iter(parts)
    with ThreadPoolExecutor(workers) as pool:
        pending: list[Future[T]] = []
        try:
            while True:
                pending += [
                    pool.submit(with_workspace, part)
                    for part in islice(remaining, 2 * workers - len(pending))
                ]
                if not pending:
                    return
                yield pending.pop(0).result()
        finally:
            for future in pending:
                future.cancel()
