"""The paper's conclusions, each judged by one rule on the printed figures and on ours."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial

from gssl_poison.experiments import judging
from gssl_poison.experiments.comparison import Results, place_of
from gssl_poison.experiments.judging import FAILS, HOLDS, IN_PART, UNMEASURED, Verdict
from gssl_poison.experiments.names import title_of
from gssl_poison.experiments.paper import PAPER_DATASETS, printed_cells
from gssl_poison.experiments.paper_tables import RIVALS


@dataclass(frozen=True)
class Finding:
    """A conclusion of the paper.

    Attributes
    ----------
    question : str
        "RQ1" to "RQ4".
    claim : str
        What the paper says.
    paper, replication, corrected : Verdict
        By the figures that the paper prints, and by ours on the paper's data sets; on others only
        where none of the paper's was run, and then the sentence says so.
    rule : str
        How the word is found.
    """

    question: str
    claim: str
    paper: Verdict
    replication: Verdict
    corrected: Verdict
    rule: str


def findings(results: Results) -> tuple[Finding, ...]:
    """Judge every conclusion of the paper by the printed figures and by both presets.

    Examples
    --------
    >>> import pandas as pd
    >>> from dataclasses import asdict
    >>> from gssl_poison.experiments.cells import Cell
    >>> from gssl_poison.experiments.comparison import read_results
    >>> cells = [
    ...     Cell("correlation", "mnist-1-7", "corrected", 0.1, 2020, victim)
    ...     for victim in ("propagation", "spreading")
    ... ]
    >>> rows = [{**asdict(cell), "kendall": k} for cell, k in zip(cells, (0.7, 0.5))]
    >>> found = findings(read_results(pd.DataFrame(rows)))
    >>> found[0].corrected.word, found[0].corrected.sentence
    ('holds', 'Kendall lies between 0.50 and 0.70; 2 of 2 coefficients are at least 0.30.')
    >>> found[0].replication.word
    'not measured'
    """
    return tuple(
        Finding(
            question,
            claim,
            _by_print(judge),
            _judged(judge, results, "replication"),
            _judged(judge, results, "corrected"),
            rule,
        )
        for question, claim, rule, judge in _CLAIMS
    )


@cache
def _as_printed() -> Results:
    """Return the printed figures as if they were a run."""
    return Results(
        {
            ("replication", place_of(cell)): {cell.seed: dict(figures)}
            for cell, figures in printed_cells().items()
        }
    )


def judged_on(results: Results, preset: str) -> tuple[str, ...]:
    """Return the data sets that verdicts are found on: the paper's, or others for want of them."""
    run = results.datasets(preset)
    return tuple(dataset for dataset in run if dataset in PAPER_DATASETS) or run


def _by_print(judge: _Judge) -> Verdict:
    """Judge a claim by the printed figures."""
    verdict = judge(_as_printed(), "replication")
    if judge is not judging.rises_with_budget:
        return verdict
    return Verdict(verdict.word, f"{verdict.sentence} {_FEW_CURVES}")


def _judged(judge: _Judge, results: Results, preset: str) -> Verdict:
    """Judge a claim on the paper's data sets, and say what others give."""
    on = judged_on(results, preset)
    verdict = judge(results.only(on), preset)
    if not set(on) <= set(PAPER_DATASETS):
        if verdict.word == UNMEASURED:
            return verdict
        names = ", ".join(map(title_of, on))
        return Verdict(verdict.word, f"{names}, which the paper does not have: {verdict.sentence}")
    sentences = [verdict.sentence]
    for dataset in results.datasets(preset):
        other = judge(results.only([dataset]), preset)
        if dataset not in on and other.word != UNMEASURED:
            name = title_of(dataset)
            sentences.append(f"{name}, which the paper does not have: {other.sentence}")
    return Verdict(verdict.word, " ".join(sentences))


# Figure 4 has two models after two victims on three data sets.
_FEW_CURVES = (
    "Only 3 of the paper's 12 curves have printed values: those of random forests after label "
    "propagation."
)
_EVERY = "Holds in every case; in part in at least half of them."
_Judge = Callable[[Results, str], Verdict]
_CLAIMS: Sequence[tuple[str, str, str, _Judge]] = (
    (
        "RQ1",
        "MIR correlates with what a single flip does: medium to strong, Kendall 0.30 to 0.96.",
        "Holds where every Kendall coefficient is at least 0.30; in part where at least half are.",
        judging.medium_to_strong,
    ),
    (
        "RQ1",
        "The correlation is stronger under label propagation than under label spreading.",
        _EVERY,
        judging.stronger_under_propagation,
    ),
    (
        "RQ1",
        "The part of the points that is labelled matters little to the correlation.",
        "Holds where Kendall moves by at most 0.10 in every row; in part in at least half of them.",
        judging.share_matters_little,
    ),
    (
        "RQ2",
        "The error of models rises with the budget, by 16 to 45 points at 20\u00a0% of the labels.",
        "Holds where every curve rises at every step and lies in that range at 20\u00a0%; in part "
        "where every curve is higher at 20\u00a0% than on clean labels.",
        judging.rises_with_budget,
    ),
    (
        "RQ2",
        "The error rises more steeply under label propagation than under label spreading.",
        _EVERY,
        judging.steeper_under_propagation,
    ),
    *(
        (
            "RQ3",
            f"MIR raises the victim's error more than the {rival} attack does, at every budget.",
            "Holds where it does in every transductive cell of every data set; does not hold where "
            "it does in less than half of those of any data set.",
            partial(judging.more_than, rival),
        )
        for rival in RIVALS
    ),
    *(
        (
            "RQ3",
            f"MIR generally raises the error of models more than the {rival} attack does.",
            "Holds where it does in more than half of the cells of every data set; in part where "
            "it does in more than half of all.",
            partial(judging.generally_more_than, rival),
        )
        for rival in RIVALS
    ),
    *(
        (
            "RQ3",
            f"MIR adds 50\u00a0% more error than the {rival} attack does on average.",
            "Holds where it is 50\u00a0% more or above on every data set, of means over its pairs; "
            "in part where the mean over all pairs is more at all.",
            partial(judging.half_more_than, rival),
        )
        for rival in RIVALS
    ),
    (
        "RQ3",
        "MIR is the fastest, 2 to 74 times.",
        "Holds where every rival takes twice as long or more, with the matrix that it reads; in "
        "part where at least half of them take longer.",
        judging.fastest,
    ),
    (
        "RQ4",
        "Relabelling a third of as many labels as were poisoned halves the induced error.",
        "Holds where the mean over all rows is at least 45\u00a0%; in part where that of a data "
        "set is.",
        judging.relabelling_halves,
    ),
    (
        "RQ4",
        "Labelling as many more points removes little: less than 15\u00a0%.",
        "Holds where the mean over all rows is below 15\u00a0%; in part where that of a data set "
        "is.",
        judging.more_is_minor,
    ),
    (
        "RQ4",
        "Relabelling removes more than labelling more does, throughout.",
        _EVERY,
        judging.relabelling_wins,
    ),
)


def tally(found: Iterable[Finding], preset: str) -> Mapping[str, int]:
    """Count the verdicts of a preset by their word.

    Examples
    --------
    >>> verdict = Verdict("holds", "")
    >>> tally([Finding("RQ1", "", verdict, verdict, verdict, "")], "corrected")["holds"]
    1
    """
    words = [getattr(finding, preset).word for finding in found]
    return {word: words.count(word) for word in (HOLDS, IN_PART, FAILS, UNMEASURED)}
