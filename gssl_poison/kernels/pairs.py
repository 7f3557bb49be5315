"""Squared distances of all pairs of points, tile by tile of the triangle ``j < i``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gssl_poison.kernels import cpu, triangle
from gssl_poison.kernels.codes import CodePairs, Rest, no_rest
from gssl_poison.kernels.columns import Columns
from gssl_poison.kernels.workspace import Workspace

Floats = npt.NDArray[np.float64]
Span: TypeAlias = tuple[int, int]

# Rows of a panel and columns of a tile: a tile of float32 is 4 MiB.
PANEL = 512
TILE = 2048
# Values of the columns that are made ready at a time, and the least columns.
_VALUES, _FEWEST = 2**20, 128
# Products summed at a time: shorter sums have a smaller bound, and cost an addition each.
CHUNK = {"float32": 256, "float64": 1024}


@dataclass(frozen=True)
class Panel:
    """Rows of the triangle and the tiles that they are cut into.

    Attributes
    ----------
    start, stop : int
        Rows.
    spans : tuple of (int, int)
        First column and the one after the last of every tile.
    """

    start: int
    stop: int
    spans: tuple[Span, ...]

    @property
    def size(self) -> int:
        """Number of pairs."""
        return (self.stop * (self.stop - 1) - self.start * (self.start - 1)) // 2


def panels(n_points: int) -> list[Panel]:
    """Cut the triangle into panels, largest first, so that threads finish together."""
    found = []
    for start in range(0, n_points, PANEL):
        stop = min(start + PANEL, n_points)
        spans = tuple((c, min(c + TILE, stop)) for c in range(0, stop, TILE))
        found.append(Panel(start, stop, spans))
    return found[::-1]


@dataclass(frozen=True)
class Pairs:
    """All pairs of points, by one route to their dot products.

    Attributes
    ----------
    columns : Columns
        All points.
    route : {"int8", "int8+", "float32", "float64", "sparse", "direct"}
        Products of 8-bit codes in whole numbers; the same and what values are off their codes;
        matrix products; products of CSR rows; sums of squared differences.
    unit : float
        What a squared distance of 1 is in log units.
    error : float
        Bound of the error of a log-weight, except for ``relative``.
    relative : float
        Bound of the error that a log-weight may have in parts of itself.
    farthest : float
        Upper bound of the size of a log-weight.
    codes : CodePairs or None
        Codes of the points.
    """

    columns: Columns = field(repr=False)
    route: str
    unit: float
    error: float
    relative: float
    farthest: float
    codes: CodePairs | None = field(repr=False, default=None)

    @property
    def kind(self) -> str:
        """Type of the squared distances."""
        if self.codes is not None:
            return "int32"
        return "float32" if self.route == "float32" else "float64"

    @property
    def n_points(self) -> int:
        """Number of points."""
        return self.columns.n_labeled

    def tiles(
        self, panel: Panel, workspace: Workspace
    ) -> Iterator[tuple[Span, npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]]:
        """Yield the span, dot products, row and column biases of every tile of a panel.

        The squared distance is ``row + column - 2 dot``. Tiles lie in the workspace, each good
        until the next; they may be padded.
        """
        if self.codes is not None:
            return self.codes.tiles(panel.start, panel.stop, panel.spans, workspace)
        if self.route == "sparse":
            return self._sparse_tiles(panel, workspace)
        if self.route == "direct":
            return self._direct_tiles(panel, workspace)
        return self._dense_tiles(panel, workspace)

    def rest(self, panel: Panel, workspace: Workspace) -> Iterator[Rest]:
        """Yield what the squared distances of every tile of a panel lack."""
        if self.route == "int8+" and self.codes is not None:
            yield from self.codes.rest(panel.start, panel.stop, panel.spans, self.unit, workspace)
            return
        nothing = no_rest(panel.stop - panel.start)
        for _ in panel.spans:
            yield nothing

    def _dense_tiles(self, panel: Panel, workspace: Workspace) -> Iterator[Any]:
        points, row_squares = self._centered("points", panel.start, panel.stop, workspace)
        row_bias = row_squares.astype(self.route)
        width = max(_FEWEST, _VALUES // self.columns.n_features // _FEWEST * _FEWEST)
        for start, stop in panel.spans:
            dots = workspace.take("dots", (points.shape[0], stop - start), self.route)
            bias = np.empty(stop - start, dtype=self.route)
            for first in range(start, stop, width):
                last = min(first + width, stop)
                others, squares = self._centered("others", first, last, workspace)
                inside = slice(first - start, last - start)
                self._multiply(points, others, dots[:, inside], workspace)
                bias[inside] = squares
            yield (start, stop), dots, row_bias, bias

    def _multiply(
        self,
        points: npt.NDArray[Any],
        others: npt.NDArray[Any],
        out: npt.NDArray[Any],
        workspace: Workspace,
    ) -> None:
        """Write dot products, summed in chunks of features."""
        step = CHUNK[self.route]
        np.matmul(points[:, :step], others[:, :step].T, out=out)
        for k in range(step, points.shape[1], step):
            part = workspace.take("part", out.shape, self.route)
            np.matmul(points[:, k : k + step], others[:, k : k + step].T, out=part)
            np.add(out, part, out=out)

    def _centered(
        self, name: str, start: int, stop: int, workspace: Workspace
    ) -> tuple[npt.NDArray[Any], Floats]:
        """Return points about their mean, in the type of the route, and squared norms.

        Made anew for every tile: all of them in float64 would be as much memory as X, or twice, for
        one part in 500 of the product's time.
        """
        known = self.columns.centered
        points = workspace.take(name, (stop - start, self.columns.n_features), self.route)
        squares = np.empty(stop - start)
        rows = np.arange(start, stop)
        cpu.center_rows(self.columns.raw, rows, known.center, known.scale, points, squares)
        return points, squares

    def _sparse_tiles(self, panel: Panel, workspace: Workspace) -> Iterator[Any]:
        X, squares = self.columns.X, self.columns.sparse_squares
        rows = np.arange(panel.start, panel.stop)
        by_feature = self.columns.once(lambda: self._by_feature)
        for start, stop in panel.spans:
            others = by_feature[start]
            dots = workspace.take("dots", (rows.size, others.shape[1]), "float64")
            where = (X.data, X.indices, X.indptr, rows)
            cpu.sparse_dots(*where, others.data, others.indices, others.indptr, dots)
            yield (start, stop), dots, squares[rows], squares[start:stop]

    @cached_property
    def _by_feature(self) -> dict[int, Any]:
        """Columns of every tile, by feature: (d, columns) CSR in float64."""
        X, n_points = self.columns.X, self.n_points
        return {
            start: X[start : min(start + TILE, n_points)].astype(np.float64).T.tocsr()
            for start in range(0, n_points, TILE)
        }

    def _direct_tiles(self, panel: Panel, workspace: Workspace) -> Iterator[Any]:
        columns, zeros = self.columns, np.zeros(max(PANEL, TILE))
        for start, stop in panel.spans:
            dots = workspace.take("dots", (panel.stop - panel.start, stop - start), "float64")
            where = (panel.start, start, panel.start - start, dots)
            if columns.sparse:
                X = columns.X
                triangle.direct_sparse_tile(X.data, X.indices, X.indptr, *where)
            else:
                triangle.direct_tile(columns.raw, *where)
            yield (start, stop), dots, zeros[: dots.shape[0]], zeros[: dots.shape[1]]
