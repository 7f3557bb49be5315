"""The n x n RBF matrix of all points against all, as an operator: multiplied, never held whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from gssl_poison._arrays import one_blas_thread
from gssl_poison.exceptions import InputError
from gssl_poison.kernels import int8, sweeps, tile_products
from gssl_poison.kernels.pairs import Pairs, Panel, Span, panels
from gssl_poison.kernels.parallel import in_order
from gssl_poison.kernels.routes import choose_pairs
from gssl_poison.kernels.sweeps import Scaling, Store
from gssl_poison.kernels.workspace import Workspace

Floats = npt.NDArray[np.float64]

# Panels are summed in so many groups, whatever the number of threads, each into its own vectors.
_GROUPS = 16
# Vectors multiplied at a time, where as many numbers hold them: 64 MiB, of which every thread has
# two, its own and one that waits to be added.
_VECTORS, _NUMBERS = 1024, 2**23


@dataclass(frozen=True)
class RBFOperator:
    """All weights ``w_ij = exp(-gamma |x_i - x_j|^2)`` but the self-loops, as an operator.

    Attributes
    ----------
    n : int
        Number of points.
    purpose : {"propagation", "spreading"}
        What its range was chosen for; see `rbf_operator`.
    storage : {"triangle", "pruned", "free"}
        One triangle of the scaled weights, those that a self-loop of weight 1 does not drown, or
        nothing: weights are computed at every product.
    precision : {"double", "single"}
        What the weights are good for: "double" where they are pruned, and where "single" was asked
        for but could not hold them. Vectors and sums are float64 in any case.
    route : str
        How distances were computed; see `Pairs`.
    error : float
        Proven bound of ``|log(computed w_ij / true w_ij)|`` of every weight that is kept. Entries
        of S, which `spread` multiplies by, are within twice that.
    dropped : float
        Proven bound of what all weights that are not kept add up to in a row: of W for
        "propagation", of S for "spreading".
    nbytes : int
        Memory of the stored weights.
    kept : (n, n) csr_array or None
        The weights themselves, where storage is "pruned".
    """

    n: int
    purpose: str
    storage: str
    precision: str
    route: str
    error: float
    dropped: float
    nbytes: int
    kept: Any = field(repr=False)
    _pairs: Pairs = field(repr=False)
    _scaling: Scaling | None = field(repr=False)
    _store: Store | None = field(repr=False)
    _log_degree: Floats | None = field(repr=False)
    _workers: int = field(repr=False)

    @cached_property
    def log_degree(self) -> Floats:
        """Logarithms of the sums of a row's weights but the self-loop, (n,) float64.

        Right at any gamma, and -inf only for a point that is alone. Computed with the operator for
        "spreading", on first use for "propagation": two passes over all pairs.
        """
        if self._log_degree is not None:
            return self._log_degree
        if self.n == 1:
            return np.full(1, -np.inf)
        with one_blas_thread():
            pairs = choose_pairs(self._pairs.columns, self.precision)
            largest = sweeps.largest_log_weights(pairs, self._workers, sweeps.silent)
            scaling = Scaling(0.5 * largest, 0.0, 1.0)
            return sweeps.log_degrees(pairs, scaling, largest, self._workers, sweeps.silent)[0]

    def matmul(self, F: npt.ArrayLike) -> Floats:
        """Return ``sum_{j != i} w_ij F_j``, (n, c) float64.

        Parameters
        ----------
        F : (n, c) array-like
            Finite numbers.

        Notes
        -----
        Reads every stored weight once for 128 columns, or up to 1,024 of few points; "free"
        computes them anew, at ``n^2 d`` operations.
        """
        vectors = self._as_vectors(F)
        if self.kept is not None:
            product: Floats = self.kept @ vectors
            return product
        assert self._scaling is not None  # noqa: S101 - for the type checker
        with np.errstate(under="ignore"):
            scale = np.exp(self._scaling.potential)
            return self._multiply(vectors * scale[:, None]) * self._left(scale)

    def spread(self, F: npt.ArrayLike) -> Floats:
        """Return ``S F``, (n, c) float64, with ``S_ij = w_ij / sqrt(degree_i degree_j)``.

        Parameters
        ----------
        F : (n, c) array-like
            Finite numbers.

        Raises
        ------
        InputError
            The operator is one for "propagation".
        """
        if self.purpose != "spreading":
            raise InputError(
                "an operator for purpose='propagation' holds raw weights, too small to be "
                "normalised; ask rbf_operator for purpose='spreading'."
            )
        vectors = self._as_vectors(F)
        if self.n == 1:
            return np.zeros_like(vectors)
        assert self._scaling is not None  # noqa: S101 - for the type checker
        with np.errstate(under="ignore"):
            scale = np.exp(self._scaling.potential - 0.5 * self.log_degree)
            return self._multiply(vectors * scale[:, None]) * self._left(scale)

    def _left(self, scale: Floats) -> Floats:
        assert self._scaling is not None  # noqa: S101 - for the type checker
        left: Floats = (scale / self._scaling.amplify)[:, None]
        return left

    def _as_vectors(self, F: npt.ArrayLike) -> Floats:
        vectors = np.asarray(F, dtype=np.float64)
        if vectors.ndim != 2 or vectors.shape[0] != self.n:
            raise InputError(f"F has shape {vectors.shape}; pass one row per point, ({self.n}, c).")
        return vectors

    def _multiply(self, F: Floats) -> Floats:
        """Multiply by the scaled weights."""
        out = np.empty_like(F)
        with one_blas_thread():
            step = max(128, min(_VECTORS, _NUMBERS // self.n // 128 * 128))
            for start in range(0, F.shape[1], step):
                part = slice(start, min(start + step, F.shape[1]))
                out[:, part] = self._multiply_few(F[:, part])
        return out

    def _multiply_few(self, F: Floats) -> Floats:
        width = int8.padded(self.n, int8.PANEL * int8.PANELS)
        padded = np.zeros((F.shape[1], width))
        padded[:, : self.n] = F.T

        def work(group: list[Panel], workspace: Workspace) -> Floats:
            out = np.zeros_like(padded)
            for panel in group:
                for (start, _), tile in self._tiles(panel, workspace):
                    tile_products.multiply(tile, panel.start, start, padded, out, workspace)
            return out

        total = np.zeros_like(padded)
        for part in in_order(work, _groups(self.n), self._workers):
            total += part
        return total[:, : self.n].T

    def _tiles(self, panel: Panel, workspace: Workspace) -> Iterator[tuple[Span, npt.NDArray[Any]]]:
        """Return the spans and scaled weights of a panel's tiles."""
        if self._store is not None:
            return zip(panel.spans, self._store[panel.start], strict=True)
        assert self._scaling is not None  # noqa: S101 - for the type checker
        return sweeps.weigh_panel(self._pairs, self._scaling, panel, workspace, None)


def _groups(n_points: int) -> list[list[Panel]]:
    """Deal panels out, largest first, to the group that has fewest pairs yet."""
    groups: list[list[Panel]] = [[] for _ in range(_GROUPS)]
    load = [0] * _GROUPS
    for panel in panels(n_points):
        lightest = load.index(min(load))
        groups[lightest].append(panel)
        load[lightest] += panel.size
    return [group for group in groups if group]
