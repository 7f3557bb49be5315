"""An audit in plain sentences, for those who have read no paper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gssl_poison.certification import Certificate
from gssl_poison.defenses.learned import Learned
from gssl_poison.influence import Influence
from gssl_poison.problem import Problem

if TYPE_CHECKING:
    from gssl_poison.review.auditing import Audit

Booleans = npt.NDArray[np.bool_]

# Classes of which the labels and the predictions differ by more standard errors are named, and
# sources that are contradicted by more.
FAR = 3.0
# The probability of being wrong above which a label is a suspect.
LIMIT = f"{100 * Learned.threshold:g} %"
# Part of the labels above which so many are contradicted that little can be told.
BLURRED = 0.25
# Fewer labels say little about one another.
FEW = 20


def counted(number: int, one: str, many: str | None = None) -> str:
    """Return a number with its noun.

    Examples
    --------
    >>> counted(1, "label"), counted(1200, "label")
    ('1 label', '1,200 labels')
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def part(value: float) -> str:
    """Return a part of one as a percentage that is 0 or 100 only where it is.

    Examples
    --------
    >>> part(0.0), part(0.0004), part(0.345), part(0.9999), part(1.0)
    ('0 %', '0.04 %', '34.5 %', '99.99 %', '100 %')
    """
    if value in (0.0, 1.0):
        return f"{100 * value:.0f} %"
    edge = min(value, 1.0 - value)
    digits = 1 if edge >= 0.001 else 2
    shown = f"{100 * value:.{digits}f}"
    if edge < 0.00005:
        return "below 0.01 %" if value < 0.5 else "above 99.99 %"
    return f"{shown} %"


def audit_words(audit: Audit) -> list[str]:
    """Return what an audit found, the most urgent first."""
    return [
        *_suspects(audit),
        *_first(audit),
        *_decisive(audit),
        *_proven(audit.certificate),
        *_classes(audit),
        *_sources(audit),
        *_answers(audit),
    ]


def _suspects(audit: Audit) -> list[str]:
    """Say how many labels look wrong, and what that means."""
    l = audit.problem.y.size  # noqa: E741 - the number of labelled points, everywhere
    if audit.problem.n_classes < 2:
        return [
            f"All {counted(l, 'label')} are of one class, {audit.problem.classes[0]!r}: no label "
            "can contradict another."
            if l > 1
            else "There is one label: no other can contradict it."
        ]
    if l == 1:
        return ["There is one label: no other can contradict it."]
    if not audit.n_suspects:
        them = "unchecked label" if audit.checked.any() else "label"
        return [
            f"No {them} looks wrong: by what the other labels say there, and by how it misleads "
            f"the labels around it, none is wrong with a probability of more than {LIMIT}.",
            *blurred(audit),
        ]
    if audit.n_suspects == 1:
        means = "by how it misleads the labels around it, it is"
    else:
        means = "by how they mislead the labels around them, each is"
    return [
        f"{audit.n_suspects:,} of {counted(l, 'label')} "
        f"{'looks' if audit.n_suspects == 1 else 'look'} wrong: by what the other labels say "
        f"there, and {means} wrong with a probability of more than {LIMIT}.",
        *blurred(audit),
    ]


def blurred(audit: Audit) -> list[str]:
    """Say where so many labels are contradicted that a label that passes is not shown right."""
    against, l = int((audit.contradiction > 0.5).sum()), audit.problem.y.size  # noqa: E741
    if l < FEW or against <= BLURRED * l:
        return []
    return [
        f"At {against:,} of {l:,} labelled points most of what the other labels say is for other "
        "classes: these features hardly tell the classes apart, or influential labels are wrong. "
        "Both hide wrong labels."
    ]


def _first(audit: Audit) -> list[str]:
    """Say which label to check first, and why."""
    suspects = [int(j) for j in audit.order if audit.suspect[j]]
    if not suspects:
        return []
    j, classes = suspects[0], audit.problem.classes
    point, label = int(audit.problem.labeled[j]), classes[int(audit.given[j])]
    text = (
        f"Check point {point} first: it is labelled {label!r}, which is wrong with a probability "
        f"of {part(audit.probability[j])}. Of what the other labels say there "
        f"{part(audit.contradiction[j])} speaks against it"
    )
    turned = counted(int(audit.changes[j]), "prediction") if audit.changes[j] else "no prediction"
    other = classes[int(audit.instead[j])]
    if audit.said[j] != audit.instead[j]:
        return [
            f"{text}, for no other class as much as for {label!r}: it is suspect for what it does "
            f"to the labels around it. Were it {other!r}, {turned} would change."
        ]
    return [f"{text}, most of it for {other!r}; were it that, {turned} would change."]


def _decisive(audit: Audit) -> list[str]:
    """Say which label decides most."""
    u, j = audit.problem.unlabeled.size, int(audit.mir.argmax())
    point = int(audit.problem.labeled[j])
    label = audit.problem.classes[int(audit.problem.y[j])]
    if audit.mir[j]:
        alone = part(float(audit.mir.sum()) / u)
        return [
            f"The label that decides most is that of point {point} ({label!r}): on "
            f"{counted(int(audit.mir[j]), 'unlabelled point')} of {u:,} it weighs more than all "
            f"other labels together. One label alone decides in this way on {alone} of the points."
        ]
    if not audit.total.any():
        return ["No label reaches any unlabelled point, so none decides anything."]
    j = int(audit.total.argmax())
    share = part(float(audit.total[j] / audit.total.sum()))
    return [
        "No label alone outweighs all others on any unlabelled point. The one with most influence "
        f"is that of point {int(audit.problem.labeled[j])}, with {share} of all influence."
    ]


def _proven(certificate: Certificate | None) -> list[str]:
    """Say what no change of labels can do to the predictions."""
    if certificate is None:
        return []
    return [*_bounds(certificate), _weakest(certificate)]


def _bounds(certificate: Certificate) -> list[str]:
    """Say what nobody can exceed, for a middle and the largest budget."""
    budgets, bounds = certificate.budgets, certificate.collective
    told = [k for k in range(len(budgets)) if bounds[k] < 0.9995]
    if not told:
        return [
            f"Whoever changes {counted(budgets[0], 'label')} may turn every prediction: nothing "
            "better is proven."
        ]
    first, last = told[0], told[-1]
    text = (
        f"Nobody who changes {counted(budgets[first], 'label')}, whichever it is, can turn more "
        f"than {part(float(bounds[first]))} of the predictions"
    )
    if budgets[first] > 1:
        text = text.replace("whichever it is", "whichever they are")
    if last > first:
        text += f", and nobody who changes {budgets[last]:,} more than {part(float(bounds[last]))}"
    return [f"{text}. This is proven, for these settings and classes."]


def _weakest(certificate: Certificate) -> str:
    """Say how few labels the weakest predictions hang on."""
    radius, l = certificate.radius, certificate.n_labeled  # noqa: E741
    if (radius > l).all():
        return "No change of labels can turn any prediction."
    least = int(radius.min())
    share = float((radius == least).mean())
    weakest = f"The weakest {part(share)}" if share < 0.5 else part(share)
    few = "a single label" if least == 1 else f"{least:,} labels and to no fewer"
    text = f"{weakest} of the predictions fall to {few}, if the right one is changed"
    if least > 1:
        text = f"{weakest} of the predictions fall to {few}, if the right ones are changed"
    middle = int(np.sort(radius)[radius.size // 2])
    if middle > l:
        return f"{text}; at least half of all stand whatever is changed."
    if middle == least:
        return f"{text}."
    return f"{text}; at least half of all stand until {middle:,} are changed."


def _classes(audit: Audit) -> list[str]:
    """Say which classes are far more or less frequent among labels than among predictions."""
    # The z of a few labels is no standard normal number.
    far = [row for row in audit.class_rows if abs(row.z) > FAR]
    if audit.problem.y.size < FEW or not far:
        return []
    if len(audit.class_rows) == 2:
        far = [row for row in far if row.z > 0] or far
    shown = "; ".join(
        f"{row.name!r} is {part(row.share)} of the labels and {part(row.predicted_share)} of the "
        "predictions"
        for row in far[:3]
    )
    more = f"; {len(far) - 3} more classes are as far off" if len(far) > 3 else ""
    return [
        f"The labels are not mixed as the predictions are: {shown}{more}. If the labelled points "
        "were not chosen by class, ask where that comes from: labels changed in favour of one "
        "class look like this."
    ]


def _sources(audit: Audit) -> list[str]:
    """Say which sources the other labels contradict, and which of them own a class."""
    texts = [
        f"Labels from {row.name!r} are contradicted far more often than those from elsewhere: for "
        f"{row.contradicted:,} of its {row.labels:,} labels the others say another class. Look at "
        "that source first."
        for row in audit.sources
        if row.z > FAR
    ]
    for row in audit.sources:
        if row.dominates:
            names = ", ".join(map(repr, row.dominates[:5]))
            more = f" and {len(row.dominates) - 5} more" if len(row.dominates) > 5 else ""
            what = "class" if len(row.dominates) == 1 else "classes"
            texts.append(
                f"Most labels of the {what} {names}{more} come from {row.name!r} alone: what is "
                "wrong there, no other source would contradict."
            )
    return texts


def _answers(audit: Audit) -> list[str]:
    """Say what was checked."""
    checked, wrong = int(audit.checked.sum()), audit.n_corrected
    if not checked:
        return []
    were = "was" if checked == 1 else "were"
    text = f"{counted(checked, 'label')} {were} checked, and "
    if not wrong:
        return [text + "none of them is wrong."]
    if wrong == 1:
        which = "it" if checked == 1 else "1"
        return [f"{text}{which} was wrong: it counts here as corrected."]
    return [f"{text}{wrong:,} were wrong: they count here as corrected."]


def remarks(problem: Problem, measured: Influence, heard: Booleans) -> list[str]:
    """Say what a reader of an audit should know about this input."""
    notes = []
    l = problem.y.size  # noqa: E741
    deaf = int((~heard).sum())
    if l > 1 and deaf:
        where = counted(deaf, "labelled point")
        notes.append(
            f"At {where} no other label is heard: nothing speaks for or against the label there."
        )
    if 1 < l < FEW and problem.n_classes > 1:
        notes.append(
            f"With {l} labels there is little to judge one by: suspects are a hint, and their "
            "absence is no proof."
        )
    if measured.unreached:
        notes.append(
            f"No label reaches {counted(measured.unreached, 'unlabelled point')}: nothing is known "
            "of them, they count for nobody, and what is predicted for them means nothing."
        )
    if measured.undecided:
        notes.append(
            f"On {counted(measured.undecided, 'unlabelled point')} the largest share cannot be "
            "told from one half, and counts for nobody: two labels weigh equally there."
        )
    if measured.unresolved:
        notes.append(
            "gamma is so large that float64 cannot tell the shares of "
            f"{counted(measured.unresolved, 'unlabelled point')}; they are left out of the total "
            "influence."
        )
    return notes


def names_of(values: Sequence[Any], most: int = 8) -> str:
    """List a few names."""
    more = f" and {len(values) - most} more" if len(values) > most else ""
    return ", ".join(str(value) for value in values[:most]) + more
