"""What a named data set is, what is read for it, and the check of the one against the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from gssl_poison.exceptions import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from scipy.sparse import csr_array


class Content(NamedTuple):
    """What a loader reads: features, true classes, and what the features mean."""

    X: npt.NDArray[Any] | csr_array
    truth: npt.NDArray[Any]
    feature_names: tuple[str, ...] | None = None
    image_shape: tuple[int, ...] | None = None


@dataclass(frozen=True)
class InFile:
    """A data set that lies in a file of that name, and for some the function that downloads it.

    ``load`` takes the path and, where there are points kept for testing, ``part="test"``.
    """

    file: str
    load: Callable[..., Content]
    download: Callable[[str, str, str], Path] | None = None


@dataclass(frozen=True)
class InParts:
    """A data set with a way of its own to lie in files, one for each part.

    ``find`` says where it is, if it is here. ``read`` takes the `Spec` and, where there are points
    kept for testing, ``part="test"``, and gives the content and its source in words.
    """

    find: Callable[[], str | None]
    read: Callable[..., tuple[Content, str]]


@dataclass(frozen=True)
class Spec:
    """One named data set; `source` is its file or files, or what reads it from scikit-learn.

    Without `classes` its labels are real numbers; `n_test` counts the points kept for testing.
    """

    name: str
    n: int
    d: int
    classes: tuple[str | int, ...]
    kind: Literal["images", "sparse", "table"]
    description: str
    how_to_get: str
    source: InFile | InParts | Callable[[], Content]
    n_test: int = 0


def check_content(spec: Spec, content: Content, source: str, n: int) -> None:
    """Refuse a file whose part of n points is not that of the data set its name says."""
    if not spec.classes:
        _check_real(spec, content, source)
        return
    classes = set(content.truth.tolist())
    if content.X.shape != (n, spec.d) or classes != set(spec.classes):
        raise InputError(
            f"{source} gives {content.X.shape[0]:,} x {content.X.shape[-1]:,} values and "
            f"{len(classes)} classes where data set {spec.name!r} has {n:,} x {spec.d:,} and "
            f"{len(spec.classes)}; replace the file: {spec.how_to_get}."
        )


def _check_real(spec: Spec, content: Content, source: str) -> None:
    """Refuse a file whose labels are not one finite number a point."""
    truth = content.truth
    right = truth.shape == (spec.n,) and truth.dtype.kind == "f" and bool(np.isfinite(truth).all())
    if content.X.shape != (spec.n, spec.d) or not right:
        raise InputError(
            f"{source} gives values of shape {content.X.shape} and labels of shape {truth.shape} "
            f"and type {truth.dtype} where data set {spec.name!r} has {spec.n:,} x {spec.d:,} and "
            f"one finite number a point; replace the file: {spec.how_to_get}."
        )
