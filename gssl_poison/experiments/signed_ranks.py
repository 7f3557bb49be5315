"""Wilcoxon's signed-rank test over pairs of cells: RQ3's attacks and RQ4's repairs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gssl_poison.experiments.comparison import Results
from gssl_poison.experiments.names import title_of
from gssl_poison.experiments.paper import printed
from gssl_poison.experiments.paper_tables import RIVALS, error_pairs, repairs

# Five pairs that all point one way have p = 0.06: no number of fewer could say anything.
LEAST_PAIRS = 6
ALL = "all"


@dataclass(frozen=True)
class SignedRank:
    """One test.

    Attributes
    ----------
    question : {"rq3", "rq4"}
    first, second : str
        What is compared: "MIR" and a rival, or "labelling more" and "relabelling".
    source : {"paper", "replication", "corrected"}
    group : str
        A data set, or "all".
    pairs : int
        Cells, each once: an error is a mean over its seeds, as a repeat is no pair of its own.
    higher, lower, equal : int
        In how many the first has the higher error, the lower, the same.
    median : float
        Of the differences first less second, in points.
    p : float or None
        Two-sided; None where there is no test.
    remark : str
        Why there is none; else empty.
    as_printed : bool
        Whether it is over just the cells that the paper prints, though of other figures.
    """

    question: str
    first: str
    second: str
    source: str
    group: str
    pairs: int
    higher: int
    lower: int
    equal: int
    median: float
    p: float | None
    remark: str
    as_printed: bool = False


def signed_rank(differences: Sequence[float]) -> tuple[float | None, str]:
    """Test whether differences lie about zero.

    Parameters
    ----------
    differences : sequence of float

    Returns
    -------
    p : float or None
        Of the two-sided test; None where there is none.
    remark : str
        Why there is none; else empty.

    Notes
    -----
    Differences of zero say nothing of either side and are left out, as Wilcoxon does. SciPy counts
    all sign patterns of few pairs, and takes the normal approximation for ties and many pairs.

    References
    ----------
    Wilcoxon, F. (1945). Individual comparisons by ranking methods. Biometrics Bulletin 1.

    Examples
    --------
    >>> signed_rank([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    (0.03125, '')
    >>> signed_rank([0.0, 0.0])
    (None, 'all differences are 0')
    >>> signed_rank([1.0, 0.0, 2.0])
    (None, 'too few pairs: 2 differ, and a test takes 6')
    """
    from scipy.stats import wilcoxon

    # Errors are ratios of counts: equal ones may differ in the last bits after averaging.
    values = np.round(np.asarray(differences, dtype=np.float64), 12)
    apart = values[values != 0]
    if values.size == 0:
        return None, "not run"
    if apart.size == 0:
        return None, "all differences are 0"
    if apart.size < LEAST_PAIRS:
        verb = "differs" if apart.size == 1 else "differ"
        return None, f"too few pairs: {apart.size} {verb}, and a test takes {LEAST_PAIRS}"
    return float(wilcoxon(apart).pvalue), ""


def signed_ranks(results: Results) -> tuple[SignedRank, ...]:
    """Run all tests: over all pairs and by data set, of the printed figures and of each preset."""
    return (*_attacks(results), *_repairs(results))


def _attacks(results: Results) -> Iterable[SignedRank]:
    """Compare MIR with each rival attack."""
    for rival in RIVALS:
        for source in ("paper", *results.presets):
            by_dataset: dict[str, list[tuple[float, float]]] = {}
            as_printed: dict[str, list[tuple[float, float]]] = {}
            for place, mir, other, _ in error_pairs(results, source, rival):
                by_dataset.setdefault(place.dataset, []).append((mir, other))
                if printed(place) and printed(replace(place, attack=rival)):
                    as_printed.setdefault(place.dataset, []).append((mir, other))
            if source == "replication":
                # One row that can be held against the paper's, which has no perceptrons.
                for test in list(_tests("rq3", "MIR", rival, source, as_printed))[:1]:
                    yield replace(test, as_printed=True)
            yield from _tests("rq3", "MIR", rival, source, by_dataset)


def _repairs(results: Results) -> Iterable[SignedRank]:
    """Compare the two repairs."""
    lines = repairs(results)
    for source in results.presets:
        by_dataset: dict[str, list[tuple[float, float]]] = {}
        for line in lines:
            if line.source == source and line.relabelled is not None and line.more is not None:
                by_dataset.setdefault(line.dataset, []).append((line.more, line.relabelled))
        yield from _tests("rq4", "labelling more", "relabelling", source, by_dataset)


def _tests(
    question: str,
    first: str,
    second: str,
    source: str,
    by_dataset: dict[str, list[tuple[float, float]]],
) -> Iterable[SignedRank]:
    """Test over all pairs, then by data set where there is more than one."""
    everything = [pair for pairs in by_dataset.values() for pair in pairs]
    if not everything:
        return
    groups = {ALL: everything, **by_dataset} if len(by_dataset) > 1 else by_dataset
    for group, pairs in groups.items():
        differences = np.round([a - b for a, b in pairs], 12)
        p, remark = signed_rank(differences.tolist())
        yield SignedRank(
            *(question, first, second, source, group, len(pairs)),
            *(int((differences > 0).sum()), int((differences < 0).sum())),
            int((differences == 0).sum()),
            float(100 * np.median(differences)),
            *(p, remark),
        )


def group_title(test: SignedRank) -> str:
    """Return what a test is over, for people."""
    title = "all data sets" if test.group == ALL else title_of(test.group)
    return f"{title}, cells that the paper prints" if test.as_printed else title
