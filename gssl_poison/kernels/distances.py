"""What makes squared distances by products good, wherever they are computed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gssl_poison._arrays import Features

# A squared distance below this part of the squared norms is lost to cancellation: a duplicate's.
CANCELLED = 1e-14
# Squared norms times gamma beyond which the product may be further off than 1e-9 in a log-weight:
# such pairs are summed by direct differences.
DIRECT_BEYOND = 1e-9 * 2.0**50
# Points whose medians are the centre: a mean would go wherever one outlier is.
_SAMPLE = 256


def center_of(X: Features, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return a point near the middle of some dense rows, (d,): norms about it are small."""
    chosen = np.linspace(0, rows.size - 1, min(rows.size, _SAMPLE)).astype(np.int64)
    center: npt.NDArray[np.float64] = np.median(X[rows[chosen]].astype(np.float64), axis=0)
    return center
