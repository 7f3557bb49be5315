"""Passes over the triangle of all pairs: least distances, weights, degrees."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gssl_poison.kernels import int8, triangle
from gssl_poison.kernels.pairs import Pairs, Panel, Span, panels
from gssl_poison.kernels.parallel import in_order
from gssl_poison.kernels.workspace import Workspace

Floats = npt.NDArray[np.float64]
# The stored tiles of every panel, by the panel's first row.
Store: TypeAlias = dict[int, list[npt.NDArray[Any]]]
Report = Callable[[int], None]

# Exponentials of one shift serve both points of a pair while potentials differ by less than this.
_NARROW = 300.0


def silent(pairs: int) -> None:
    """Take no notice of progress."""


@dataclass(frozen=True)
class Scaling:
    """How weights are brought into the range of a float type.

    Attributes
    ----------
    potential : (n,) float64
        Stored is ``amplify * e_ij`` with ``e_ij = exp(log w_ij - p_i - p_j)``.
    floor : float
        Smaller ``e_ij`` are stored as 0.
    amplify : float
        A power of two.
    """

    potential: Floats = field(repr=False)
    floor: float
    amplify: float


def new_store(n_points: int, precision: str) -> Store:
    """Return uninitialised tiles for the whole triangle, in this type.

    They are cut from one array: the system backs a large one by large pages, which are touched for
    the first time, and found again, many times faster.
    """
    shapes = [
        (panel.start, _shape(panel, span)) for panel in panels(n_points) for span in panel.spans
    ]
    memory = np.empty(sum(rows * columns for _, (rows, columns) in shapes), dtype=precision)
    store: Store = {panel.start: [] for panel in panels(n_points)}
    first = 0
    for start, (rows, columns) in shapes:
        last = first + rows * columns
        store[start].append(memory[first:last].reshape(rows, columns))
        first = last
    return store


def store_bytes(n_points: int, precision: str) -> int:
    """Return how much memory `new_store` takes."""
    size = np.dtype(precision).itemsize
    shapes = [_shape(panel, span) for panel in panels(n_points) for span in panel.spans]
    return sum(rows * columns for rows, columns in shapes) * size


def _shape(panel: Panel, span: Span) -> tuple[int, int]:
    rows, columns = panel.stop - panel.start, span[1] - span[0]
    return int8.padded(rows, int8.ROWS), int8.padded(columns, int8.PANEL * int8.PANELS)


def keeps_distances(pairs: Pairs, precision: str) -> bool:
    """Tell whether squared distances of this route fit where weights of this type will be."""
    return precision == "float64" or pairs.kind != "float64"


def _as_distances(tile: npt.NDArray[Any], pairs: Pairs) -> npt.NDArray[Any]:
    """Return the memory of a stored tile as what squared distances are kept in."""
    return tile if tile.dtype == np.float64 else tile.view(pairs.kind)


def measure_panel(
    pairs: Pairs,
    panel: Panel,
    workspace: Workspace,
    kept: list[npt.NDArray[Any]] | None = None,
) -> Iterator[tuple[Span, npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]]:
    """Yield the span, squared distances, and least ones by row and column, of every tile."""
    for k, (span, dots, row_bias, column_bias) in enumerate(pairs.tiles(panel, workspace)):
        squared = dots if kept is None else _as_distances(kept[k], pairs)
        top = _largest(squared.dtype)
        row_least = np.full(panel.stop - panel.start, top, dtype=squared.dtype)
        column_least = np.full(span[1] - span[0], top, dtype=squared.dtype)
        triangle.measure_tile(
            dots, row_bias, column_bias, panel.start - span[0], squared, row_least, column_least
        )
        yield span, squared, row_least, column_least


def _largest(dtype: np.dtype[Any]) -> Any:
    return np.iinfo(dtype).max if dtype.kind == "i" else np.finfo(dtype).max


def largest_log_weights(
    pairs: Pairs, workers: int, report: Report, store: Store | None = None
) -> Floats:
    """Return the largest log-weight of every point to another, (n,); needs two points at least.

    With a ``store`` the squared distances are left in it.
    """

    def work(panel: Panel, workspace: Workspace) -> tuple[Panel, Floats, Floats]:
        rows = np.full(panel.stop - panel.start, np.inf)
        columns = np.full(panel.stop, np.inf)
        kept = None if store is None else store[panel.start]
        for (start, stop), _, row_least, column_least in measure_panel(
            pairs, panel, workspace, kept
        ):
            np.minimum(rows, row_least, out=rows)
            columns[start:stop] = column_least
        return panel, rows, columns

    least = np.full(pairs.n_points, np.inf)
    for panel, rows, columns in in_order(work, panels(pairs.n_points), workers):
        own = slice(panel.start, panel.stop)
        least[own] = np.minimum(least[own], rows)
        least[: panel.stop] = np.minimum(least[: panel.stop], columns)
        report(panel.size)
    return -pairs.unit * least


class Sums:
    """Running sums of a panel's weights for the degrees of its points and of those before them."""

    def __init__(self, panel: Panel, mode: int, factor: Floats) -> None:
        self.mode, self.factor = mode, factor
        self.rows = np.zeros((2, panel.stop - panel.start))
        self.columns = np.zeros((2, panel.stop))


def weigh_panel(
    pairs: Pairs,
    scaling: Scaling,
    panel: Panel,
    workspace: Workspace,
    store: Store | None,
    *,
    measured: bool = False,
    sums: Sums | None = None,
) -> Iterator[tuple[Span, npt.NDArray[Any]]]:
    """Yield the span and scaled weights of every tile of a panel.

    Weights go to the ``store``, where their distances may have been ``measured`` before, or to the
    workspace, good until the next tile.
    """
    targets = None if store is None else store[panel.start]
    n_rows = panel.stop - panel.start
    p = scaling.potential
    own = p[panel.start : panel.stop]
    source: Iterator[npt.NDArray[Any]]
    if measured:
        assert targets is not None  # noqa: S101 - for the type checker
        source = (_as_distances(tile, pairs) for tile in targets)
    else:
        source = (squared for _, squared, *_ in measure_panel(pairs, panel, workspace))
    for k, (squared, rest) in enumerate(zip(source, pairs.rest(panel, workspace), strict=True)):
        start, stop = span = panel.spans[k]
        n_columns = stop - start
        if targets is None:
            tile = workspace.take("weights", _shape(panel, span), "float64")
        else:
            tile = targets[k]
        column_sums = np.zeros((2, n_columns))
        factor = scaling.potential if sums is None else sums.factor
        triangle.weigh_tile(
            squared,
            rest.first,
            rest.second,
            rest.row_extra,
            rest.column_extra,
            rest.unit,
            pairs.unit,
            own,
            p[start:stop],
            panel.start - start,
            scaling.floor,
            scaling.amplify,
            tile,
            0 if sums is None else sums.mode,
            factor[panel.start : panel.stop],
            factor[start:stop],
            np.zeros((2, n_rows)) if sums is None else sums.rows,
            column_sums,
        )
        # What is not a point weighs nothing; products read it.
        tile[n_rows:] = 0.0
        tile[:, n_columns:] = 0.0
        if sums is not None:
            sums.columns[:, start:stop] = column_sums
        yield span, tile


def fill(pairs: Pairs, scaling: Scaling, workers: int, report: Report, store: Store) -> None:
    """Fill a store with scaled weights."""

    def work(panel: Panel, workspace: Workspace) -> Panel:
        for _ in weigh_panel(pairs, scaling, panel, workspace, store):
            pass
        return panel

    for panel in in_order(work, panels(pairs.n_points), workers):
        report(panel.size)


def log_degrees(
    pairs: Pairs,
    scaling: Scaling,
    largest: Floats,
    workers: int,
    report: Report,
    store: Store | None = None,
    *,
    measured: bool = False,
) -> tuple[Floats, Floats]:
    """Return the logarithms of all points' degrees, and what part of each the scaling keeps; (n,).

    ``largest`` (n,) are the largest log-weights, or near them. A ``store`` is filled with the
    scaled weights on the way.
    """
    p = scaling.potential
    low, high = float(p.min()), float(p.max())
    middle = 0.5 * (low + high)
    narrow = high - low <= _NARROW
    mode, factor = (1, np.exp(p - middle)) if narrow else (2, largest)

    def work(panel: Panel, workspace: Workspace) -> tuple[Panel, Sums]:
        sums = Sums(panel, mode, factor)
        for _ in weigh_panel(pairs, scaling, panel, workspace, store, measured=measured, sums=sums):
            pass
        return panel, sums

    total = np.zeros((2, pairs.n_points))
    for panel, sums in in_order(work, panels(pairs.n_points), workers):
        total[:, panel.start : panel.stop] += sums.rows
        total[:, : panel.stop] += sums.columns
        report(panel.size)
    shift = p + middle if narrow else largest
    return np.log(total[0]) + shift, total[1] / total[0]
