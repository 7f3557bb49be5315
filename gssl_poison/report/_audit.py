"""The page about an audit: which labels look wrong, what hangs on them, and what to check first."""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ._audit_cards import MAX_IMAGES, read_images, suspect_cards
from ._audit_changes import compare
from ._audit_facts import Findings, Integers, find
from ._audit_words import LIMIT, certificate_words, headline, how_to_read, lead, tiles
from ._certificate import CertificatePage, Level
from ._certificate_charts import radius_histogram, survival
from ._charts import Chart
from ._features import feature_names, feature_values
from ._format import count, listing, percent, plural, short
from ._page import render_page, write_page

if TYPE_CHECKING:
    from gssl_poison.datasets import Dataset
    from gssl_poison.review.auditing import Audit

MAX_ROWS = 500
N_INFLUENTIAL = 10
# Residual of a class or a source that chance hardly explains.
_RARE = 3.0
_NAMED = 4


@dataclass(frozen=True)
class Row:
    """One labelled point of a table."""

    rank: int
    listed: bool  # whether the full table has its row
    point: int
    label: str
    code: int
    says: str
    says_code: int
    against: float
    probability: float
    changes: int
    mir: int
    total: float
    heard: bool
    state: str
    source: str
    true: str | None
    image: str
    features: tuple[float, ...]


@dataclass(frozen=True)
class ClassBar:
    """A class with its two bars, widths 0 to 100."""

    name: str
    code: int
    labels: int
    share: float
    predicted: float
    share_width: float
    predicted_width: float
    suspects: int
    z: float
    note: str


@dataclass(frozen=True)
class SourceLine:
    """A source of labels, and how often the others contradict it."""

    name: str
    labels: int
    contradicted: int
    width: float
    z: float
    note: str


def write_audit(
    path: str | os.PathLike[str],
    audit: Audit,
    dataset: Dataset,
    *,
    command: str | None = None,
    before: Audit | None = None,
    now: datetime.datetime | None = None,
) -> Path:
    """Write an audit as one self-contained HTML file.

    Parameters
    ----------
    path : str or path-like
        The file to write. It is replaced in one step, so a killed run leaves the old file.
    audit : Audit
        What `gssl_poison.audit` returns.
    dataset : Dataset
        The data that were audited; only the rows that are drawn are read, and some labelled rows
        of each class where rows are no images and have many features.
    command : str, optional
        The command line to show under the settings.
    before : Audit, optional
        An earlier audit of the same points, to say what changed.
    now : datetime.datetime, optional
        The date to print; the current time if not given.

    Returns
    -------
    pathlib.Path
        The file written.

    Raises
    ------
    InputError
        The audit, or the one before, is not of this data set.
    """
    html = render_audit(audit, dataset, command=command, before=before, now=now)
    return write_page(path, html)


def render_audit(
    audit: Audit,
    dataset: Dataset,
    *,
    command: str | None = None,
    before: Audit | None = None,
    now: datetime.datetime | None = None,
) -> str:
    """Return the page `write_audit` writes, as a string; the parameters are the same."""
    findings = find(audit, dataset)
    changes = compare(findings, before)
    influential = np.lexsort((np.arange(findings.n_labeled), -audit.total, -audit.mir))
    influential = influential[: min(N_INFLUENTIAL, findings.n_labeled)]
    images = read_images(findings, dataset, influential)
    largest = float(audit.total.max())
    return render_page(
        "audit.html.j2",
        findings=findings,
        headline=headline(findings),
        lead=lead(findings, changes),
        tiles=tiles(findings),
        cards=suspect_cards(findings, dataset, images, MAX_ROWS),
        quiet=_quiet(findings),
        class_bars=_class_bars(findings),
        sources=_sources(findings),
        influential=_rows(findings, dataset, images, influential),
        certificate=certificate_words(findings),
        levels=_levels(findings),
        charts=_charts(findings),
        changes=changes,
        rows=_rows(findings, dataset, images, findings.order[:MAX_ROWS]),
        total_format="%.1f" if largest >= 100 else "%.2f" if largest >= 1 else "%.3g",
        has_images=bool(images),
        n_images=MAX_IMAGES,
        feature_names=feature_names(dataset),
        has_truth=findings.truth is not None,
        limit=LIMIT,
        reading=how_to_read(findings),
        notes=[note.rstrip(".") + "." for note in (*_truth_note(findings), *audit.notes)],
        settings=_settings(findings, dataset),
        versions=dict(audit.versions),
        command=command,
        now=now or datetime.datetime.now().astimezone(),
    )


def _rows(
    findings: Findings, dataset: Dataset, images: dict[int, str], positions: Integers
) -> list[Row]:
    """Put rows of a table together."""
    audit, heard = findings.audit, findings.heard
    features = feature_values(dataset, findings.point[positions])
    rows = []
    for k, position in enumerate(positions.tolist()):
        says, point = int(audit.said[position]), int(findings.point[position])
        state = "passes" if heard[position] else "not heard"
        if audit.checked[position]:
            state = "corrected" if audit.given[position] != findings.code[position] else "checked"
        elif audit.suspect[position]:
            state = "suspect"
        rank = int(findings.rank[position])
        rows.append(
            Row(
                rank=rank,
                listed=rank <= MAX_ROWS,
                point=point,
                label=findings.label(position),
                code=int(findings.code[position]),
                says=findings.classes[says],
                says_code=says,
                against=float(audit.contradiction[position]),
                probability=float(audit.probability[position]),
                changes=int(audit.changes[position]),
                mir=int(audit.mir[position]),
                total=float(audit.total[position]),
                heard=bool(heard[position]),
                state=state,
                source="" if audit.provenance is None else audit.provenance[position],
                true=None if findings.truth is None else findings.truth[position],
                image=images.get(point, ""),
                features=features[k],
            )
        )
    return rows


def _quiet(findings: Findings) -> str:
    """Say why there is no suspect, where there is none."""
    if findings.n_suspects:
        return ""
    if findings.n_labeled == 1:
        return "With one label there is no other that could contradict it."
    if findings.one_class:
        return "All labels are of one class, so no label can contradict another."
    alone = int(np.count_nonzero(~findings.heard))
    text = f"No label is wrong with an estimated probability of more than {LIMIT}."
    if alone:
        text += f" {plural(alone, 'label')} {'is' if alone == 1 else 'are'} out of hearing of all "
        text += "others, and little can be said of " + ("it." if alone == 1 else "them.")
    if not findings.audit.checked.all():
        closest = int(np.argmax(findings.audit.probability))  # 0 of those that are checked
        most = percent(float(findings.audit.probability[closest]))
        text += f" Row {count(int(findings.point[closest]))} comes closest, with {most}."
    return text


def _class_bars(findings: Findings) -> list[ClassBar]:
    """Set the labels' share of every class beside its share of the predictions."""
    rows = findings.audit.class_rows
    longest = max((max(row.share, row.predicted_share) for row in rows), default=0.0) or 1.0
    bars = []
    for code, row in enumerate(rows):
        note = ""
        if abs(row.z) > _RARE:
            note = "more labels than expected" if row.z > 0 else "fewer labels than expected"
        bars.append(
            ClassBar(
                name=str(row.name),
                code=code,
                labels=int(row.labels),
                share=float(row.share),
                predicted=float(row.predicted_share),
                share_width=round(100 * float(row.share) / longest, 1),
                predicted_width=round(100 * float(row.predicted_share) / longest, 1),
                suspects=int(row.suspects),
                z=float(row.z),
                note=note,
            )
        )
    return bars


def _sources(findings: Findings) -> list[SourceLine]:
    """List the sources, most contradicted for their number of labels first."""
    lines = []
    for source in sorted(findings.audit.sources, key=lambda source: -source.z):
        notes = []
        if source.z > _RARE:
            notes.append("contradicted more often than the rest")
        if source.dominates:
            names = [short(str(name), 24) for name in source.dominates[:_NAMED]]
            more = len(source.dominates) - len(names)
            names += [f"{count(more)} more"] if more else []
            notes.append(f"gave most labels of {listing(names)}")
        lines.append(
            SourceLine(
                name=source.name,
                labels=int(source.labels),
                contradicted=int(source.contradicted),
                width=round(100 * int(source.contradicted) / max(1, int(source.labels)), 1),
                z=float(source.z),
                note="; ".join(notes),
            )
        )
    return lines


def _levels(findings: Findings) -> list[Level]:
    """List the budgets of the certificate, with no attack beside them."""
    certificate = findings.audit.certificate
    if certificate is None:
        return []
    return [
        Level(
            flips,
            0.0,
            float(certificate.collective[k]),
            float(certificate.pointwise[k]),
            float(certificate.certified[k]),
            certificate.methods[k],
        )
        for k, flips in enumerate(certificate.budgets)
    ]


def _charts(findings: Findings) -> tuple[Chart, ...]:
    """Draw how many changed labels predictions take, and how certainty fades."""
    certificate, problem = findings.audit.certificate, findings.audit.problem
    if certificate is None or not certificate.radius.size:
        return ()
    known = certificate.used_truth and problem.truth is not None
    page = CertificatePage(
        name=findings.name,
        n_labeled=certificate.n_labeled,
        classes=findings.classes,
        used_truth=known,
        clean=certificate.clean,
        levels=(),
        attack_name="",
        attack=np.zeros(1),
        pointwise=np.zeros(1),
        point=problem.unlabeled,
        radius=certificate.radius,
        predicted=certificate.predicted,
        truth=problem.truth[problem.unlabeled] if known and problem.truth is not None else None,
        holds_for=certificate.holds_for,
        undecided=certificate.undecided,
        settings=(),
        versions={},
    )
    return radius_histogram(page), survival(page)


def _truth_note(findings: Findings) -> list[str]:
    """Where truth is known, say how many of the wrong labels are suspects."""
    if findings.truth is None:
        return []
    wrong = np.array([true is not None for true in findings.truth])
    if not wrong.any():
        return ["The true classes of this data are known, and every label is right"]
    caught = int(np.count_nonzero(wrong & findings.audit.suspect))
    return [
        f"The true classes of this data are known: {plural(int(wrong.sum()), 'label')} "
        f"{'is' if wrong.sum() == 1 else 'are'} wrong, {count(caught)} of them suspect; "
        f"of the {plural(findings.n_suspects, 'suspect')} {count(findings.n_suspects - caught)} "
        f"{'is' if findings.n_suspects - caught == 1 else 'are'} right. The audit reads no truth"
    ]


def _time(seconds: Mapping[str, float]) -> str:
    """Say how long it took, and which steps took most of it."""
    total = sum(seconds.values())
    slow = [f"{name} {value:.2f} s" for name, value in seconds.items() if value >= 0.1 * total]
    return f"{total:.2f} s: {', '.join(slow)}" if slow else ""


def _settings(findings: Findings, dataset: Dataset) -> list[tuple[str, str]]:
    """List the settings behind the figures, in words."""
    audit = findings.audit
    gamma = f"none: {audit.gamma_note}".rstrip(": ")
    if audit.gamma is not None:
        gamma = f"{audit.gamma:.12g} (rule: {audit.gamma_rule})"
    rows = [
        ("Data", findings.name),
        ("Source", str(dataset.source)),
        (
            "Points",
            f"{count(findings.n_labeled)} labelled, {count(findings.n_unlabeled)} unlabelled, "
            f"{plural(int(dataset.X.shape[1]), 'feature')}",
        ),
        ("Classes", count(len(findings.classes))),
        ("Graph", audit.graph),
        ("Gamma", gamma),
        ("Influence", audit.influence),
        ("Device", str(audit.device)),
        ("Sources", plural(len(audit.sources), "source") if audit.sources else ""),
        ("Time", _time(audit.seconds)),
    ]
    return [(name, value) for name, value in rows if value]
