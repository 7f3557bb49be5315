"""How far a run of experiments is, told by what its workers have saved."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from gssl_poison.experiments.cells import Cell
from gssl_poison.experiments.store import Store
from gssl_poison.experiments.workplace import size_of

logger = logging.getLogger(__name__)

# Seconds between looks at what workers have saved.
_LOOK = 0.5


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes
    ----------
    done, cells : int
        Cells finished, those of earlier runs among them, and all.
    stage : str
        What is being measured.
    seconds_left : float or None
        An estimate from what this run has finished, by the weight of cells; None before the first.
    """

    done: int
    cells: int
    stage: str
    seconds_left: float | None


class Watch:
    """Tells how far a run is, by looking at what is saved: that works for workers anywhere."""

    def __init__(
        self,
        store: Store,
        keys: dict[Cell, str],
        missing: list[Cell],
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self.store = store
        self.waiting = {keys[cell]: weight_of(cell) for cell in missing}
        self.n_cells = len(keys)
        self.all = sum(self.waiting.values())
        self.progress = progress
        self.started = time.monotonic()

    @contextmanager
    def during(self, stage: str, cells: list[Cell]) -> Iterator[None]:
        """Look on while a stage runs."""
        logger.info("%s: %d cells", stage, len(cells))
        if self.progress is None:
            yield
            return
        over = threading.Event()

        def look() -> None:
            while not over.wait(_LOOK):
                self.tell(stage)

        looking = threading.Thread(target=look, name="progress", daemon=True)
        self.tell(stage)
        looking.start()
        try:
            yield
        finally:
            over.set()
            looking.join()
            self.tell(stage)

    def tell(self, stage: str) -> None:
        """Say what is done by now."""
        saved = self.store.keys()
        for key in [key for key in self.waiting if key in saved]:
            del self.waiting[key]
        left = sum(self.waiting.values())
        done = self.all - left
        spent = time.monotonic() - self.started
        if self.progress is not None:
            self.progress(
                Progress(
                    self.n_cells - len(self.waiting),
                    self.n_cells,
                    stage,
                    spent * left / done if done else None,
                )
            )


def weight_of(cell: Cell) -> float:
    """Return a guess of what a cell costs against others, for the time left."""
    n = size_of(cell.dataset) / 10_000
    if cell.kind == "correlation":
        return 30.0 * n * n * cell.labeled / 0.15
    if cell.kind == "seconds":
        return 1.0 if cell.attack == "mir" else 40.0 * n * n
    return {"forest": 8.0, "mlp": 3.0, "transductive": 6.0 * n * n}[cell.model]
