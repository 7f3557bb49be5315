"""Rows that are images as PNG data URIs."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from gssl_poison.datasets import Dataset


def thumbnails(dataset: Dataset, rows: npt.NDArray[np.int64]) -> list[str]:
    """Encode some rows as PNG images, one pixel per feature.

    Parameters
    ----------
    dataset : Dataset
        With ``image_shape`` (h, w) or (3, h, w), channel first. Only `rows` of ``X`` are read.
    rows : (r,) int64
        Row indices.

    Returns
    -------
    list of str
        ``data:image/png;base64,...`` for each row; empty when the rows are no images.

    Notes
    -----
    Grey levels run from 0 (or the smallest value, if negative) to 255 for bytes, to 1 for values
    up to 1, and otherwise to the largest value of these rows. One scale serves all rows, so that
    images compare.
    """
    shape = dataset.image_shape
    if shape is None or not rows.size:
        return []
    grey = len(shape) == 2
    if not grey and (len(shape) != 3 or shape[0] != 3):
        return []
    import scipy.sparse as sp
    from PIL import Image

    picked: Any = dataset.X[rows]
    sparse = sp.issparse(picked)
    raw = picked.toarray() if sparse else np.asarray(picked)
    if raw.shape[1] != int(np.prod(shape)):
        return []
    pixels = raw.astype(np.float64)
    low = min(0.0, float(pixels.min()))
    high = 255.0 if raw.dtype == np.uint8 else max(1.0, float(pixels.max()))
    levels = np.rint((pixels - low) * (255.0 / (high - low))).clip(0, 255).astype(np.uint8)
    images = levels.reshape(-1, *shape)
    if not grey:
        images = np.moveaxis(images, 1, -1)
    uris = []
    for image in images:
        buffer = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(image)).save(buffer, format="PNG", optimize=True)
        uris.append("data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii"))
    return uris
