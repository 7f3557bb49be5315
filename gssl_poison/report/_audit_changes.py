"""What differs from one audit to a later one: labels, suspects and predictions."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gssl_poison.exceptions import InputError
from gssl_poison.metrics import predictions

from ._format import count, percent, plural

if TYPE_CHECKING:
    from gssl_poison.review.auditing import Audit

    from ._audit_facts import Findings

MAX_LABELS = 100
MAX_MOVES = 6


@dataclass(frozen=True)
class Relabelled:
    """A labelled point with another label than before; None where it had, or has, none."""

    point: int
    old: str | None
    old_code: int
    new: str | None
    new_code: int


@dataclass(frozen=True)
class Move:
    """Predictions that went from one class to another."""

    old: str
    old_code: int
    new: str
    new_code: int
    points: int


@dataclass(frozen=True)
class Changes:
    """Everything the panel shows."""

    suspects_before: int
    figures: tuple[tuple[str, str, str], ...]  # what, before, now
    labels: tuple[Relabelled, ...]
    n_labels: int
    moves: tuple[Move, ...]
    n_moves: int
    n_predictions: int
    n_common: int


def compare(findings: Findings, before: Audit | None) -> Changes | None:
    """Set an audit beside an earlier one of the same points; None where there is none.

    Raises
    ------
    InputError
        The earlier audit is of another number of points.
    """
    if before is None:
        return None
    now = findings.audit
    n = now.problem.graph.n_points
    if before.problem.graph.n_points != n:
        raise InputError(
            f"the audit before is of {before.problem.graph.n_points:,} points and this one of "
            f"{n:,}; give an audit of the same data."
        )
    old_names = tuple(str(name) for name in before.problem.classes)
    codes = {name: code for code, name in enumerate(findings.classes)}
    for old_name in old_names:
        codes.setdefault(old_name, len(codes))
    names = tuple(codes)
    # Codes of all points on the classes of both, -1 where there is none.
    old, new, old_seen, new_seen = (np.full(n, -1, dtype=np.int64) for _ in range(4))
    translate = np.array([codes[old_name] for old_name in old_names], dtype=np.int64)
    old[before.problem.labeled] = translate[before.problem.y]
    new[now.problem.labeled] = now.problem.y
    old_seen[before.prop.unlabeled] = translate[predictions(before.prop, before.problem)]
    new_seen[now.prop.unlabeled] = findings.predicted
    relabelled = np.flatnonzero(old != new)
    common = (old_seen >= 0) & (new_seen >= 0)
    moved = common & (old_seen != new_seen)
    moves = Counter(zip(old_seen[moved].tolist(), new_seen[moved].tolist(), strict=True))

    def name(code: int) -> str | None:
        return names[code] if code >= 0 else None

    return Changes(
        suspects_before=int(np.count_nonzero(before.suspect)),
        figures=tuple(_figures(findings, before)),
        labels=tuple(
            Relabelled(row, name(old[row]), int(old[row]), name(new[row]), int(new[row]))
            for row in relabelled[:MAX_LABELS].tolist()
        ),
        n_labels=int(relabelled.size),
        moves=tuple(
            Move(names[a], a, names[b], b, points)
            for (a, b), points in moves.most_common(MAX_MOVES)
        ),
        n_moves=len(moves),
        n_predictions=int(np.count_nonzero(moved)),
        n_common=int(np.count_nonzero(common)),
    )


def _figures(findings: Findings, before: Audit) -> list[tuple[str, str, str]]:
    """List what was and what is."""
    now = findings.audit
    rows = [
        (what, count(int(was)), count(int(is_now)))
        for what, was, is_now in (
            ("Labels", before.problem.y.size, now.problem.y.size),
            ("Suspects", before.suspect.sum(), now.suspect.sum()),
            ("Labels checked", before.checked.sum(), now.checked.sum()),
        )
    ]
    old, new = before.certificate, now.certificate
    if old is not None and new is not None:
        rows += [
            (
                f"Changed at most, by whoever changes {plural(k, 'label')}",
                percent(float(old.collective[old.budgets.index(k)])),
                percent(float(new.collective[new.budgets.index(k)])),
            )
            for k in sorted(set(old.budgets) & set(new.budgets))
        ]
    return rows
