"""The labels to be checked first, as a table a person fills in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gssl_poison._atomic import atomic_write
from gssl_poison.exceptions import InputError
from gssl_poison.problem import count_flips
from gssl_poison.review.fingerprints import fingerprint_data, fingerprint_row, label_text
from gssl_poison.review.formulas import guarded
from gssl_poison.review.labelstudio import config_path, write_tasks

if TYPE_CHECKING:
    import os

    import pandas as pd

    from gssl_poison.datasets import Dataset
    from gssl_poison.review.answers import Answers
    from gssl_poison.review.auditing import Audit

SUFFIXES = (".csv", ".json")


def make_queue(
    audit: Audit,
    dataset: Dataset,
    budget: float,
    *,
    answers: Answers | None = None,
    suspects: bool = False,
) -> pd.DataFrame:
    """List the labels to be checked first, with what a person needs to judge them.

    Parameters
    ----------
    audit : Audit
        Of `dataset`.
    dataset : Dataset
    budget : int or float
        How many labels: a number, or a part of all labels between 0 and 1.
    answers : Answers, optional
        Of an earlier round: what was looked at is not asked again, what nobody could tell among it.
    suspects : bool, default False
        Only suspects, as `audit` counts them. Otherwise influential labels are among the first
        however probable it is that they are wrong: those an attacker would choose.

    Returns
    -------
    pandas.DataFrame
        A row for every label, in the order of ``audit.order``; fewer than `budget` where fewer are
        left to check. Columns: ``order`` from 1; ``point``, row of X from
        0; ``label``; ``answer``, empty; ``says``, what the other labels say; ``share_against``,
        their part that contradicts the label; ``probability`` that it is wrong; ``decides``, the
        MIR; ``changes``, predictions that change if the label becomes the class that the others
        say, its own left out; ``neighbours``, the loudest other labels as "point (label) share";
        ``row`` and ``data``, fingerprints by which `read_answers` knows what was asked.
        ``attrs["classes"]`` has the classes as text.

    Raises
    ------
    InputError
        The budget is out of range, the audit is of other data, or nothing is left to check.

    Examples
    --------
    >>> import gssl_poison as gp
    >>> from gssl_poison.review.auditing import audit
    >>> data = gp.load_dataset("digits-1-7", labeled=0.1)
    >>> queue = make_queue(audit(data.X, data.y), data, budget=3)
    >>> queue["order"].tolist(), queue["answer"].tolist()
    ([1, 2, 3], ['', '', ''])
    """
    import pandas as pd

    problem = audit.problem
    _check_same(audit, dataset)
    most = count_flips(budget, int(problem.labeled.size))
    asked = ~np.asarray(audit.checked, dtype=bool)
    if answers is not None:
        asked &= ~np.isin(problem.labeled, answers.points)
    if suspects and asked.any() and not (asked & audit.suspect).any():
        raise InputError(
            f"no label of {dataset.name} that is not checked yet is a suspect; leave suspects "
            "(--suspects) out to check those that matter most."
        )
    if suspects:
        asked &= audit.suspect
    chosen = audit.order[asked[audit.order]][:most]
    if not chosen.size:
        raise InputError(
            f"all {problem.labeled.size:,} labels of {dataset.name} are checked, so there is "
            "nothing to ask; apply the answers."
        )
    points = problem.labeled[chosen]
    labels = [_plain(dataset.y[point]) for point in points.tolist()]
    said = audit.said[chosen].tolist()
    table = pd.DataFrame(
        {
            "order": np.arange(1, chosen.size + 1),
            "point": points,
            "label": pd.Series(labels, dtype=object),
            "answer": "",
            "says": pd.Series([problem.classes[code] for code in said], dtype=object),
            "share_against": audit.contradiction[chosen],
            "probability": audit.probability[chosen],
            "decides": audit.mir[chosen],
            "changes": audit.changes[chosen],
            "neighbours": [_neighbours(audit, int(j)) for j in chosen],
            "row": [
                fingerprint_row(dataset.X, point, label)
                for point, label in zip(points.tolist(), labels, strict=True)
            ],
            "data": fingerprint_data(dataset.X),
        }
    )
    table.attrs["classes"] = [label_text(value) for value in problem.classes]
    return table


def write_queue(
    queue: pd.DataFrame, path: str | os.PathLike[str], dataset: Dataset | None = None
) -> None:
    """Write a queue for a spreadsheet (.csv) or as tasks that Label Studio imports (.json).

    Parameters
    ----------
    queue : pandas.DataFrame
        Of `make_queue`.
    path : str or path-like
        Replaced if it exists. Beside ``queue.json`` goes ``queue.config.xml``, the labelling
        interface to be pasted into the settings of the project in Label Studio.
    dataset : Dataset, optional
        The data, which Label Studio shows; not needed for .csv.

    Raises
    ------
    InputError
        The suffix is another one, or `dataset` is needed and missing.

    Notes
    -----
    CSV is UTF-8 with a byte order mark, by which spreadsheets know it. A class whose name begins
    like a formula (``=``, ``+``, ``-``, ``@``, and is no number) gets an apostrophe in front, which
    spreadsheets take for "this is text" and `read_answers` takes away again, in answers too.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import gssl_poison as gp
    >>> from gssl_poison.review.auditing import audit
    >>> data = gp.load_dataset("digits-1-7", labeled=0.1)
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "queue.csv"
    >>> write_queue(make_queue(audit(data.X, data.y), data, budget=2), file)
    >>> len(file.read_text(encoding="utf-8-sig").splitlines())
    3
    """
    from pathlib import Path

    target = Path(path)
    match target.suffix.lower():
        case ".csv":
            table = queue.copy()
            for name in ("label", "says", "neighbours"):
                table[name] = [guarded(label_text(value)) for value in table[name]]
            for name in ("share_against", "probability"):
                table[name] = table[name].round(4)
            with atomic_write(target) as temporary:
                table.to_csv(temporary, index=False, encoding="utf-8-sig", lineterminator="\r\n")
        case ".json":
            if dataset is None:
                raise InputError(
                    f"{target} is for Label Studio, which shows the rows themselves; pass dataset=."
                )
            write_tasks(queue, target, config_path(target), dataset)
        case suffix:
            raise InputError(
                f"{target} ends in {suffix or 'nothing'!r}; name the queue .csv for a spreadsheet, "
                "or .json for Label Studio."
            )


def _check_same(audit: Audit, dataset: Dataset) -> None:
    """Refuse an audit whose labels are not those of the data."""
    problem = audit.problem
    same = problem.graph.n_points == dataset.X.shape[0] and not any(
        label_text(_plain(dataset.y[point])) == "" for point in problem.labeled.tolist()
    )
    if not same:
        raise InputError(
            f"the audit is of {problem.graph.n_points:,} points, {problem.labeled.size:,} of them "
            f"labelled, and {dataset.name} has other ones; audit these data."
        )


def _neighbours(audit: Audit, position: int) -> str:
    """Name the loudest other labels at a labelled point: which point, its label, its share."""
    problem, words = audit.problem, []
    voices: npt.NDArray[np.int64] = audit.voices[position]
    for voice, share in zip(voices.tolist(), audit.voice_shares[position].tolist(), strict=True):
        if voice >= 0 and share > 0.0:
            point, code = int(problem.labeled[voice]), int(problem.y[voice])
            words.append(f"{point} ({label_text(problem.classes[code])}) {share:.2f}")
    return "; ".join(words)


def _plain(value: Any) -> Any:
    """Return a numpy scalar as the Python value it holds."""
    return value.item() if isinstance(value, np.generic) else value
