"""What an audit found, in plain sentences: the verdict, its figures, and how to read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gssl_poison.defenses.learned import Learned
from gssl_poison.review.words import blurred

from ._format import count, percent, plural, short

if TYPE_CHECKING:
    from ._audit_changes import Changes
    from ._audit_facts import Findings


# Part of the labels from which on suspects say more of the features than of the labels, and the
# number of labels below which a part says nothing.
_MANY, _SMALL = 0.25, 8
# The probability of being wrong above which a label is a suspect.
LIMIT = percent(Learned.threshold)


def headline(findings: Findings) -> list[tuple[str, bool]]:
    """Say the main thing; the second of each pair marks what is coloured."""
    n, suspects = findings.n_labeled, findings.n_suspects
    if n == 1:
        return [("One label", True), (" is nothing to compare with.", False)]
    if findings.one_class:
        return [
            (f"All {count(n)} labels", True),
            (" are of one class, so none contradicts another.", False),
        ]
    if not suspects:
        left = " that is left to check" if findings.n_checked else ""
        return [("No label", True), (f"{left} looks wrong.", False)]
    one = suspects == 1
    start = [
        (f"{count(suspects)} of {plural(n, 'label')}", True),
        (f" {'looks' if one else 'look'} wrong, ", False),
    ]
    them = "it" if one else "them"
    if not findings.hang:
        return [*start, (f"but no prediction hangs on {them}.", False)]
    hangs = "hangs" if findings.hang == 1 else "hang"
    return [
        *start,
        ("and ", False),
        (plural(findings.hang, "prediction"), True),
        (f" {hangs} on {them}.", False),
    ]


def lead(findings: Findings, changes: Changes | None) -> str:
    """Say what to make of the verdict."""
    parts = []
    suspects = findings.n_suspects
    if findings.n_labeled == 1:
        parts.append("Every prediction follows it. A second label, of another class, says more.")
    elif findings.one_class:
        name = short(findings.classes[int(findings.code[0])])
        parts.append(
            f"Every prediction is {name!r} as well. Label some points of other classes first."
        )
    elif not suspects:
        parts.append(
            "By what the other labels say of each, and by how it misleads the labels around it, "
            f"none is wrong with a probability of more than {LIMIT}. That is reassuring and no "
            "proof: wrong labels side by side vouch for one another."
        )
        parts += blurred(findings.audit)
    else:
        parts.append(_of_suspects(findings))
        parts += [] if _many(findings) else blurred(findings.audit)
    if findings.n_checked:
        have = "has" if findings.n_checked == 1 else "have"
        parts.append(
            f"{plural(findings.n_checked, 'label')} {have} been checked and "
            f"{'counts' if findings.n_checked == 1 else 'count'} as right."
        )
    if changes is not None:
        before = changes.suspects_before
        were = "was" if before == 1 else "were"
        parts.append(f"Before the changes there {were} {plural(before, 'suspect')}.")
    return " ".join(parts)


def _of_suspects(findings: Findings) -> str:
    """Say what makes them suspects, and what to do with them."""
    suspects = findings.n_suspects
    one = suspects == 1
    how = "it misleads the labels around it, it" if one else "they mislead those around them, each"
    text = (
        f"By what the other labels say there, and by how {how} is wrong with a probability of more "
        f"than {LIMIT}. "
    )
    if _many(findings):
        return (
            f"{text}So many suspects often mean that these features hardly tell the classes apart, "
            "and less often that so many labels are wrong."
        )
    if one:
        chance = percent(float(findings.audit.probability[findings.suspects[0]]))
        text += f"It is put at {chance}. "
    which = "it" if one else "each"
    return (
        f"{text}Look at {which} before you change it: a right label of a rare kind looks wrong too."
    )


def _many(findings: Findings) -> bool:
    """Tell whether so many labels are suspect that the features are."""
    return findings.n_labeled >= _SMALL and findings.n_suspects > _MANY * findings.n_labeled


def tiles(findings: Findings) -> list[tuple[str, str]]:
    """Choose four figures."""
    n, u = findings.n_labeled, findings.n_unlabeled
    decide = "decides" if n == 1 else "decide"
    suspects = findings.n_suspects
    hang = findings.hang
    figures = [
        (count(n), f"{'label' if n == 1 else 'labels'} {decide} {plural(u, 'prediction')}"),
        (
            count(suspects),
            f"{'suspect' if suspects == 1 else 'suspects'}"
            + (f" ({percent(suspects / n)} of the labels)" if suspects else ""),
        ),
        (
            count(hang),
            f"{'prediction changes' if hang == 1 else 'predictions change'} if all suspects are "
            f"corrected ({percent(hang / u)})"
            if suspects
            else "predictions hang on suspects",
        ),
    ]
    certificate = findings.audit.certificate
    if certificate is not None:
        k = headline_budget(certificate.collective)
        labels = plural(certificate.budgets[k], "label")
        harm = "wrong" if certificate.used_truth else "changed"
        figures.append(
            (
                percent(float(certificate.collective[k])),
                f"of the predictions {harm} at most, by whoever changes {labels}: proved",
            )
        )
    else:
        most = int(findings.audit.mir.max())
        figures.append(
            (
                count(most),
                f"{'prediction' if most == 1 else 'predictions'} decided by one label, at most",
            )
        )
    return figures


def headline_budget(collective: np.ndarray[tuple[int], np.dtype[np.float64]]) -> int:
    """Choose the budget to speak of: the largest that cannot reach half of the predictions."""
    small = np.flatnonzero(collective < 0.5)
    return int(small[-1]) if small.size else 0


def certificate_words(findings: Findings) -> list[str]:
    """Say what nobody can do, in sentences."""
    certificate = findings.audit.certificate
    if certificate is None:
        return []
    k = headline_budget(certificate.collective)
    labels, bound = plural(certificate.budgets[k], "label"), float(certificate.collective[k])
    most = f"change more than {percent(bound)} of the predictions"
    if certificate.used_truth:
        most = f"leave more than {percent(bound)} of the predictions wrong"
    lines = [
        f"Nobody who changes {labels}, whichever they are and to whatever class, can {most}."
        if bound < 1.0
        else f"Whoever changes {labels} might change every prediction: nothing less is proved."
    ]
    radius, n = certificate.radius, certificate.n_labeled
    fragile = float(np.mean(radius <= 1))
    middle = int(np.median(radius))
    if fragile:
        lines.append(
            f"For {percent(fragile)} of the predictions there is one label whose change turns it."
        )
    else:
        lines.append("No prediction falls to a single changed label.")
    if middle > n:
        lines.append("Most predictions cannot be turned by any change of labels.")
    elif middle > 1:
        lines.append(f"It takes {plural(middle, 'label')} to turn the median prediction.")
    if certificate.undecided:
        lines.append(
            f"For {plural(certificate.undecided, 'prediction')} rounding leaves open whether one "
            "label more is needed; the lower number is used, so that every bound stays true."
        )
    lines.append(short(f"This holds for {certificate.holds_for}", 600))
    return lines


def how_to_read(findings: Findings) -> list[tuple[str, str]]:
    """Explain every figure of the page."""
    audit = findings.audit
    texts = [
        (
            "Suspect",
            f"A label that is wrong with an estimated chance of more than {LIMIT}, until somebody "
            "has checked it.",
        ),
        (
            "Chance that it is wrong",
            "Estimated from what the other labels say there; from how much worse the labels "
            "around it are told from their neighbours because of it, which shows a wrong label "
            "that its neighbours follow; and from how influential it is, since whoever poisons "
            "labels picks those that matter. Answers given so far correct the estimate. It is a "
            "guide to what to check and no measurement. With one label in ten changed, it ran low "
            "in tests: where the classes are easily told apart nearly every suspect was wrong, at "
            "chances of 40 to 80 % on average, and up to half of the wrong labels were none. Where "
            "they are hard to tell apart, about one right label in twenty was a suspect.",
        ),
        (
            "Against it",
            "At every labelled point the other labels are heard, the nearer the louder, and its "
            "own label is not: the part of what they say that is for other classes. It is evidence "
            "and no verdict: a right label of a rare kind is contradicted, and a wrong one that "
            "its neighbours follow is not.",
        ),
        (
            "Predictions that change",
            "How many unlabelled points are predicted otherwise once this one label becomes the "
            "class that the others say, its own left out, all other labels as they are.",
        ),
        (
            "Decides (MIR)",
            "The major influence range: unlabelled points of which this label holds more than half "
            "of the influence. Its class wins there whatever the others say, right or wrong.",
        ),
        (
            "The order",
            "Labels are listed by the chance that they are wrong times what a correction is "
            "expected to change, in influence and in predictions: an hour of checking does most "
            "at the top. Influential labels that pass stand among the suspects.",
        ),
    ]
    texts.append(
        (
            "Labels against predictions",
            "A class with a larger share of the labels than of the predictions can have been "
            "labelled more eagerly, or hold labels that belong elsewhere. The residual is the "
            "difference in standard deviations; beyond 3 either way it is hardly chance.",
        )
    )
    victim = "direct influence" if audit.influence == "direct" else audit.influence
    where = f"gamma {audit.gamma:.6g}" if audit.gamma is not None else f"the graph {audit.graph}"
    texts.append(
        (
            "How far it goes",
            f"All figures are those of {victim}, for {where}, these labels and these "
            "classes. Other settings can give others.",
        )
    )
    return texts
