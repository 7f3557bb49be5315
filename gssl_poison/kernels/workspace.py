"""Buffers that a thread uses again and again."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt


class Workspace:
    """Buffers of one thread, grown to the largest block it has seen."""

    def __init__(self) -> None:
        self._arrays: dict[tuple[str, str], npt.NDArray[Any]] = {}

    def take(self, name: str, shape: tuple[int, ...], dtype: str) -> npt.NDArray[Any]:
        """Return an uninitialised array of this shape, in memory that is used again."""
        size = math.prod(shape)
        flat = self._arrays.get((name, dtype))
        if flat is None or flat.size < size:
            flat = self._arrays[name, dtype] = np.empty(size, dtype=dtype)
        return flat[:size].reshape(shape)
