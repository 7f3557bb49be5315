"""RQ1: whether a measure of influence ranks labels as the error after flipping each does."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gssl_poison.experiments.machine import ignoring

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# The published code draws a tenth of the labelled points, with replacement and without a seed.
SAMPLES = 1000
PART = 0.1
_QUANTILES = {"low": 0.025, "high": 0.975}


def correlations(measure: npt.ArrayLike, errors: npt.ArrayLike) -> dict[str, float]:
    """Return Kendall's tau-b and Pearson's r of two values of every labelled point.

    Parameters
    ----------
    measure : (l,) float
        Influence, such as MIR.
    errors : (l,) float
        Error after the label of the point alone is flipped.

    Returns
    -------
    dict of str to float
        ``kendall``, ``pearson`` and their p-values ``kendall_p``, ``pearson_p``; empty where one of
        the two values is the same for all points, and there is no correlation to speak of.

    Examples
    --------
    >>> correlations([3, 1, 2], [0.3, 0.1, 0.2])["kendall"]
    1.0
    >>> correlations([1, 1, 1], [0.3, 0.1, 0.2])
    {}
    """
    from scipy.stats import kendalltau, pearsonr

    x, y = np.asarray(measure, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    if np.ptp(x) == 0.0 or np.ptp(y) == 0.0:
        return {}
    tau, r = kendalltau(x, y), pearsonr(x, y)
    return {
        "kendall": round(float(tau.statistic), 12),
        "pearson": round(float(r.statistic), 12),
        "kendall_p": float(tau.pvalue),
        "pearson_p": float(r.pvalue),
    }


def sampled_correlations(
    measure: npt.ArrayLike, errors: npt.ArrayLike, *, seed: int, samples: int = SAMPLES
) -> dict[str, float]:
    """Return what the correlations spread over when they are taken of a tenth of the points.

    Parameters
    ----------
    measure, errors : (l,) float
        See `correlations`.
    seed : int
        Of the samples, drawn with replacement as in the published code.
    samples : int, default 1000

    Returns
    -------
    dict of str to float
        ``kendall_low``, ``kendall_high``, ``pearson_low``, ``pearson_high``: 2.5 and 97.5 %
        quantiles. Samples in which one of the values is the same for all points have no correlation
        and are left out; empty where all are such.

    Examples
    --------
    >>> x = np.arange(100.0)
    >>> sampled_correlations(x, x, seed=0, samples=10)["kendall_low"]
    1.0
    """
    x, y = np.asarray(measure, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    size = max(2, int(PART * x.size))
    rng = np.random.default_rng(seed)
    found: dict[str, list[float]] = {"kendall": [], "pearson": []}
    # Two distinct points or so, and a line through them: there is a figure all the same.
    with ignoring(RuntimeWarning):
        for _ in range(samples):
            drawn = rng.integers(0, x.size, size)
            figures = correlations(x[drawn], y[drawn])
            for name, values in found.items():
                if name in figures and np.isfinite(figures[name]):
                    values.append(figures[name])
    return {
        f"{name}_{end}": round(float(np.quantile(values, q)), 12)
        for name, values in found.items()
        if values
        for end, q in _QUANTILES.items()
    }
