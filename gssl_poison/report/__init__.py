"""One self-contained HTML file about a ranking, an audit, a certificate or the experiments.

The page loads nothing: style and script are inside it, images are data URIs, and its content
security policy forbids everything else by the hashes of those two pieces. Every string that comes
from data passes through Jinja2's autoescape; the script is a constant and holds no data.
"""

from __future__ import annotations

import datetime
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gssl_poison.datasets.pictures import thumbnails
from gssl_poison.exceptions import InputError

from ._audit import render_audit, write_audit
from ._certificate import CertificatePage, Level, render_certificate, write_certificate
from ._charts import cumulative, histogram
from ._facts import Facts, read_facts
from ._features import feature_names, feature_values
from ._format import count, number, plural
from ._influence import method_in_words
from ._map import point_map
from ._page import render_page, write_page
from ._reproduction import write_reproduction
from ._words import write_words

if TYPE_CHECKING:
    import pandas as pd

    from gssl_poison.datasets import Dataset

__all__ = [
    "CertificatePage",
    "Level",
    "render_audit",
    "render_certificate",
    "render_report",
    "write_audit",
    "write_certificate",
    "write_report",
    "write_reproduction",
]

MAX_THUMBNAILS = 200
N_CARDS = 10


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    rank: int
    point: int
    label: str
    code: int
    mir: int
    share: float
    total: float
    bar: float  # width of the bar, 0 to 100
    image: str
    features: tuple[float, ...]
    true: str | None


def write_report(
    path: str | os.PathLike[str],
    table: pd.DataFrame,
    dataset: Dataset,
    *,
    command: str | None = None,
    max_rows: int = 500,
    now: datetime.datetime | None = None,
) -> Path:
    """Write a ranking as one self-contained HTML file.

    Parameters
    ----------
    path : str or path-like
        The file to write. It is replaced in one step, so a killed run leaves the old file.
    table : pandas.DataFrame
        What `gssl_poison.rank` returns, whole and with its ``attrs``.
    dataset : Dataset
        The data that were ranked.
    command : str, optional
        The command line to show under the settings.
    max_rows : int
        Rows of the ranking to list; the page says when there are more.
    now : datetime.datetime, optional
        The date to print; the current time if not given.

    Returns
    -------
    pathlib.Path
        The file written.

    Raises
    ------
    InputError
        The table is not a whole ranking of this data set, or `max_rows` is below 1.

    Notes
    -----
    Only the rows that are drawn are read from ``dataset.X`` (at most 3,000 for the map and 200
    images), so it may be a memory map or a large sparse matrix, which is never made dense.
    """
    html = render_report(table, dataset, command=command, max_rows=max_rows, now=now)
    return write_page(path, html)


def render_report(
    table: pd.DataFrame,
    dataset: Dataset,
    *,
    command: str | None = None,
    max_rows: int = 500,
    now: datetime.datetime | None = None,
) -> str:
    """Return the page `write_report` writes, as a string; the parameters are the same."""
    if max_rows < 1:
        raise InputError(f"max_rows is {max_rows}; a report lists at least 1 row of the ranking.")
    facts = read_facts(table, dataset)
    rows = _rows(facts, dataset, max_rows)
    largest = float(facts.total.max())
    return render_page(
        "report.html.j2",
        facts=facts,
        words=write_words(facts),
        cards=rows[: min(N_CARDS, max(1, facts.n_labeled // 2))],
        rows=rows,
        total_format="%.1f" if largest >= 100 else "%.2f" if largest >= 1 else "%.3g",
        has_images=any(row.image for row in rows),
        n_thumbnails=MAX_THUMBNAILS,
        feature_names=feature_names(dataset),
        has_truth=any(row.true is not None for row in rows),
        charts=(cumulative(facts), histogram(facts)),
        map=point_map(dataset, facts),
        legend=_legend(facts),
        settings=_settings(facts, dataset),
        versions=dict(facts.settings.get("versions", {})),
        command=command,
        now=now or datetime.datetime.now().astimezone(),
    )


def _rows(facts: Facts, dataset: Dataset, max_rows: int) -> list[Row]:
    """Put the first rows of the ranking together."""
    shown = facts.point[:max_rows]
    images = thumbnails(dataset, shown[:MAX_THUMBNAILS])
    features = feature_values(dataset, shown)
    weight = facts.weight[: shown.size]
    longest = float(weight.max()) or 1.0
    return [
        Row(
            rank=k + 1,
            point=int(shown[k]),
            label=facts.label[k],
            code=int(facts.code[k]),
            mir=int(facts.mir[k]),
            share=float(facts.share[k]),
            total=float(facts.total[k]),
            bar=round(100 * float(weight[k]) / longest, 1),
            image=images[k] if k < len(images) else "",
            features=features[k],
            true=facts.truth[k],
        )
        for k in range(shown.size)
    ]


def _legend(facts: Facts) -> list[tuple[str, int, int]]:
    """Count the labels of each class: name, code, labels."""
    labels = Counter(facts.label)
    return [(name, code, labels[name]) for code, name in enumerate(facts.classes)]


def _settings(facts: Facts, dataset: Dataset) -> list[tuple[str, str]]:
    """List the settings that produced the table, in words."""
    given: Mapping[str, Any] = facts.settings
    seconds = [f"{number(float(given.get('seconds', 0)))} s"]
    if given.get("seconds_fit") and given.get("method", "direct") != "direct":
        seconds.append(f"{number(float(given['seconds_fit']))} s for the solver before it")
    if given.get("seconds_gamma"):
        what = "gamma search" if facts.graph == "rbf" else "graph"
        seconds.append(f"{number(float(given['seconds_gamma']))} s for the {what}")
    gamma = f"none: {given['gamma_note']}"
    if facts.gamma is not None:
        gamma = f"{facts.gamma:.12g} (rule: {given['gamma_rule']})"
    rows = [
        ("Data", facts.name),
        ("Source", str(dataset.source)),
        (
            "Points",
            f"{count(facts.n_labeled)} labelled, {count(facts.n_unlabeled)} unlabelled, "
            f"{plural(int(dataset.X.shape[1]), 'feature')}",
        ),
        ("Classes", f"{count(len(facts.classes))}"),
        ("Graph", facts.graph),
        ("Gamma", gamma),
        ("Influence", facts.influence),
        ("Method", method_in_words(facts)),
        ("Reached by no label", plural(facts.unreached, "point") if facts.unreached else ""),
        ("Ranked by", "total influence" if facts.by_total else "MIR, points decided"),
        (
            "Normalization",
            "" if facts.kind != "direct" else "column-row" if facts.column_row else "row",
        ),
        (
            "Too close to call",
            f"{plural(int(given['undecided']), 'point')}"
            + (
                f"; {count(int(given['rechecked']))} settled in double precision"
                if given.get("rechecked")
                else ""
            ),
        ),
        (
            "Arithmetic",
            ", ".join(
                str(given[key])
                for key in ("route", "device", "device_note")
                # The way through the kernels of direct influence: others have a method above.
                if given.get(key) and (key != "route" or facts.kind == "direct")
            ),
        ),
        ("Time", ", ".join(seconds)),
    ]
    return [(name, value) for name, value in rows if value]
