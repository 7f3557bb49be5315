"""What `gssl-poison audit` prints and writes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gssl_poison._auditing import Audited, compare
from gssl_poison._console import gamma_line, plain
from gssl_poison.review.words import LIMIT, counted, part

if TYPE_CHECKING:
    from rich.console import Console

    from gssl_poison.certification import Certificate
    from gssl_poison.review.auditing import Audit

_LEFT = ("label", "others say", "source", "class", "most labels of", "")


def print_audit(done: Audited, top: int, following: str) -> None:
    """Print what an audit found: in words, in tables, what every column means, what comes next."""
    from rich.console import Console

    console = Console(highlight=False)
    found = done.audit
    for line in (*_about(done), ""):
        _say(console, line)
    for text in found.in_words():
        _say(console, f"- {text}")
    console.print()
    _print_labels(console, found, top)
    if len(found.class_rows) > 1:
        _print_classes(console, found)
    if found.sources:
        _print_sources(console, found)
    if found.certificate is not None:
        _print_certificate(console, found.certificate)
    if done.before is not None:
        _print_before(console, done, done.before)
    for note in found.notes:
        _say(console, f"Note: {note}")
    _say(console, verdict(done))
    steps = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in found.seconds.items())
    _say(console, f"Audited in {sum(found.seconds.values()):.2f} s ({steps}).")
    if found.n_suspects:
        _say(console, "To have those labels checked that are most worth it, suspects or not:")
        # Not wrapped: it is there to be copied.
        console.print(f"\n  {plain(following)}", soft_wrap=True, markup=False)


def verdict(done: Audited) -> str:
    """Say whether the labels pass."""
    n = done.audit.n_suspects
    allowed = f"{done.allowed:,} {'is' if done.allowed == 1 else 'are'} allowed"
    if not n:
        return "Passed: no label looks wrong."
    if done.passed:
        return f"Passed: {counted(n, 'suspect')}, and {allowed} (--allow)."
    return f"Not passed: {counted(n, 'suspect')}, and {allowed} (--allow)."


def _about(done: Audited) -> list[str]:
    """Say which points, which graph and which propagator."""
    found, problem = done.audit, done.audit.problem
    return [
        f"{done.dataset.name}: {counted(problem.y.size, 'labelled point')} and "
        f"{problem.unlabeled.size:,} unlabelled, {counted(done.n_features, 'feature')}, "
        f"{counted(problem.n_classes, 'class', 'classes')}",
        gamma_line(
            {"gamma": found.gamma, "gamma_rule": found.gamma_rule, "gamma_note": found.gamma_note}
        ),
        f"influence {found.influence}, graph {found.graph}",
    ]


def _print_labels(console: Console, found: Audit, top: int) -> None:
    """Print the labels most worth checking, and what the columns are."""
    header = ["point", "label", "others say", "against", "wrong?", "decides", "changes"]
    rows = []
    table = found.table()
    listed = table[table["suspect"]] if found.n_suspects else table
    for row in listed.head(top).to_dict(orient="records"):
        agrees = row["says"] == row["label"]
        cells = [
            str(row["point"]),
            str(row["label"]),
            "same" if agrees else str(row["says"]),
            rounded(row["contradiction"]),
            "checked" if row["checked"] else rounded(row["probability"]),
            f"{row['mir']:,}",
            f"{row['changes']:,}",
        ]
        rows.append(cells + ([str(row["source"])] if found.provenance else []))
    title = "Suspects" if found.n_suspects else "No suspect; labels"
    title += ", those most worth checking first"
    if len(rows) < len(listed):
        title += f": {len(rows):,} of {len(listed):,} (--top)"
    _print_table(console, title, header + (["source"] if found.provenance else []), rows)
    _say(
        console,
        "point: its row in the data, from 0. others say: the class with most support among the "
        "other labels there, the nearer the louder. against: the part of them that speaks for "
        "other classes than the label. wrong?: the estimated probability that it is wrong, by "
        "that, by how it misleads the labels around it and by its influence; above "
        f"{LIMIT} the label is a suspect. decides: unlabelled points on which this label alone "
        "outweighs all others (MIR). changes: predictions that change if the label becomes the "
        "class that the others say, its own left out. The order is that of wrong? times what a "
        "correction would change.",
    )
    console.print()


def _print_classes(console: Console, found: Audit) -> None:
    """Print the classes among labels and predictions."""
    _print_table(
        console,
        "Classes",
        ["class", "labels", "of labels", "of predictions", "z", "suspects"],
        [
            [
                str(row.name),
                f"{row.labels:,}",
                part(row.share),
                part(row.predicted_share),
                f"{row.z:+.1f}",
                f"{row.suspects:,}",
            ]
            for row in found.class_rows
        ],
    )
    _say(
        console,
        "z: how far the class is more frequent among the labels than among the predictions, in "
        "standard deviations; beyond 3 either way chance hardly explains it.",
    )
    console.print()


def _print_sources(console: Console, found: Audit) -> None:
    """Print where labels come from."""
    _print_table(
        console,
        "Where labels come from",
        ["source", "labels", "contradicted", "z", "most labels of"],
        [
            [
                row.name,
                f"{row.labels:,}",
                f"{row.contradicted:,}",
                f"{row.z:+.1f}",
                ", ".join(map(str, row.dominates)),
            ]
            for row in found.sources
        ],
    )
    _say(
        console,
        "contradicted: labels of this source where the other labels say another class. z: how far "
        "that is more than for other sources on the same classes, in standard deviations; above 3 "
        "look at the source. most labels of: classes that hang on this source.",
    )
    console.print()


def _print_certificate(console: Console, certificate: Certificate) -> None:
    """Print what no change of labels can do."""
    _print_table(
        console,
        "What nobody can do who changes labels",
        ["labels changed", "predictions turned, at most", "predictions nobody can turn"],
        [
            [f"{k:,}", part(float(bound)), part(float(stays))]
            for k, bound, stays in zip(
                certificate.budgets, certificate.collective, certificate.certified, strict=True
            )
        ],
    )
    _say(
        console,
        "at most: proven, for every choice of that many labels. nobody can turn: predictions that "
        "stand even if all changes aim at one of them. Holds for " + certificate.holds_for,
    )
    console.print()


def _print_before(console: Console, done: Audited, before: Audit) -> None:
    """Print the audit of the earlier labels beside this one."""
    now = done.audit
    changed = compare(now, before)
    rows = [
        ["labels", f"{before.problem.y.size:,}", f"{now.problem.y.size:,}"],
        ["suspects", f"{before.n_suspects:,}", f"{now.n_suspects:,}"],
        ["points the strongest label decides", f"{before.mir.max():,}", f"{now.mir.max():,}"],
    ]
    old, new = before.certificate, now.certificate
    if old is not None and new is not None:
        for k in sorted(set(old.budgets) & set(new.budgets)):
            i, j = old.budgets.index(k), new.budgets.index(k)
            flips = counted(k, "changed label")
            for what, was, is_now in (
                ("turned at most by", old.collective[i], new.collective[j]),
                ("stand against", old.certified[i], new.certified[j]),
            ):
                rows.append([f"{what} {flips}", part(float(was)), part(float(is_now))])
    _print_table(console, "Before and after", ["", "before", "after"], rows)
    more = [
        f"{counted(number, 'label')} {what}"
        for number, what in ((changed.added, "new"), (changed.removed, "gone"))
        if number
    ]
    answered = " with its answers" if now.checked.any() else ""
    labels = ", ".join([f"{counted(changed.relabelled, 'label')} changed", *more])
    _say(
        console,
        f"From {done.before_name} to {done.dataset.name}{answered}: {labels}; so did "
        f"{changed.predictions:,} of {counted(changed.common, 'prediction')}.",
    )
    console.print()


def _print_table(
    console: Console, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]
) -> None:
    """Print one table; texts stand left, figures right."""
    from rich.table import Table
    from rich.text import Text

    _say(console, title, style="bold")
    grid = Table()
    for name in header:
        text = name in _LEFT
        justify: Any = "left" if text else "right"
        grid.add_column(name, justify=justify, no_wrap=not text, overflow="fold")
    for row in rows:
        grid.add_row(*(Text(plain(cell)) for cell in row))
    console.print(grid)


def rounded(share: float) -> str:
    """Return a part of one as a whole percentage.

    Examples
    --------
    >>> rounded(0.456)
    '46 %'
    """
    return f"{100 * share:.0f} %"


def _say(console: Console, text: str, style: str = "") -> None:
    """Print a line of text that may hold anything."""
    from rich.text import Text

    console.print(Text(plain(text), style=style))


def audit_document(done: Audited, top: int | None = None) -> dict[str, Any]:
    """Return an audit as plain values."""
    found, problem = done.audit, done.audit.problem
    rows = found.table() if top is None else found.table().head(top)
    return {
        "data": done.dataset.name,
        "source": done.dataset.source,
        "passed": done.passed,
        "n_suspects": found.n_suspects,
        "allowed": done.allowed,
        "n_checked": int(found.checked.sum()),
        "n_corrected": found.n_corrected,
        "n_labeled": int(problem.labeled.size),
        "n_unlabeled": int(problem.unlabeled.size),
        "n_features": done.n_features,
        "classes": list(problem.classes),
        "graph": found.graph,
        "gamma": found.gamma,
        "gamma_rule": found.gamma_rule,
        "gamma_note": found.gamma_note,
        "influence": found.influence,
        "device": found.device,
        "words": found.in_words(),
        "notes": list(found.notes),
        "by_class": [asdict(row) for row in found.class_rows],
        "by_source": [asdict(row) for row in found.sources],
        "certificate": None if found.certificate is None else _proven(found.certificate),
        "before": None if done.before is None else _earlier(done, done.before),
        "labels": rows.to_dict(orient="records"),
        "versions": found.versions,
        "seconds": found.seconds,
    }


def _proven(certificate: Certificate) -> dict[str, Any]:
    """Return a certificate as plain values."""
    radii, counts = np.unique(certificate.radius, return_counts=True)
    return {
        "holds_for": certificate.holds_for,
        "budgets": [
            {
                "labels": k,
                "turned_at_most": float(certificate.collective[i]),
                "turned_one_by_one": float(certificate.pointwise[i]),
                "stand": float(certificate.certified[i]),
                "method": certificate.methods[i],
            }
            for i, k in enumerate(certificate.budgets)
        ],
        "labels_to_turn": {
            str(radius): int(count) for radius, count in zip(radii, counts, strict=True)
        },
    }


def _earlier(done: Audited, before: Audit) -> dict[str, Any]:
    """Return the audit of the earlier labels, and what changed since, as plain values."""
    return {
        "data": done.before_name,
        "n_suspects": before.n_suspects,
        "n_labeled": int(before.problem.labeled.size),
        "largest_mir": int(before.mir.max()),
        "certificate": None if before.certificate is None else _proven(before.certificate),
        **{f"changed_{name}": value for name, value in asdict(compare(done.audit, before)).items()},
    }


def write_audit_table(done: Audited, path: Path) -> None:
    """Write a row for every label in the format of the suffix, under a temporary name first."""
    from gssl_poison._atomic import atomic_write

    table = done.audit.table()
    with atomic_write(path) as temporary:
        match path.suffix.lower():
            case ".csv":
                table.to_csv(temporary, index=False)
            case ".parquet":
                table.convert_dtypes().to_parquet(temporary, index=False)
            case _:
                text = json.dumps(audit_document(done), indent=2, allow_nan=False, default=str)
                temporary.write_text(text + "\n", encoding="utf-8")
