"""Plain float64 references: a direct transcription of the paper's Definitions 1 to 4."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Transcription:
    """Counts of Definition 4, and the rows on which float64 itself cannot tell."""

    mir: np.ndarray
    could_be: np.ndarray  # counts if every doubtful row went to its first point
    total: np.ndarray
    doubtful: int
    error: float  # of a log-weight that matters


def log_weights(X, labeled, rows, gamma):
    """-gamma |x_i - x_j|^2 by direct differences, (rows, l)."""
    X = np.asarray(X, dtype=np.float64)
    scores = np.empty((len(rows), len(labeled)))
    for c, j in enumerate(labeled):
        scores[:, c] = -gamma * np.square(X[rows] - X[j]).sum(axis=1)
    return scores


def transcribe(X, labeled, gamma, normalization="row"):
    """Definition 1: e = T; Definition 3: share > 1/2; Definition 4: count the rows."""
    X = np.asarray(X, dtype=np.float64)
    labeled = np.asarray(labeled)
    rows = np.setdiff1d(np.arange(len(X)), labeled)
    scores = log_weights(X, labeled, rows, gamma)
    if normalization == "column-row":
        everyone = log_weights(X, labeled, np.arange(len(X)), gamma)
        scores = scores - np.log(np.exp(everyone).sum(axis=0))
    relative = scores - scores.max(axis=1, keepdims=True)
    weights = np.exp(relative)
    shares = weights / weights.sum(axis=1, keepdims=True)
    top, first = shares.max(axis=1), shares.argmax(axis=1)
    # A log-weight is good to about d eps of itself; so is the share, while it is near one half.
    error = (X.shape[1] + 20) * 4e-16 * (1.0 + np.abs(scores.max(axis=1)))
    error = error + 1e-15 * len(X)
    sure = np.abs(top - 0.5) > error
    count = lambda mask: np.bincount(first[mask], minlength=len(labeled))  # noqa: E731
    return Transcription(
        mir=count(sure & (top > 0.5)),
        could_be=count(~sure | (top > 0.5)),
        total=shares.sum(axis=0),
        doubtful=int((~sure).sum()),
        error=float(error.max()),
    )
