"""What the numbers mean, in plain sentences that follow the facts.

Every sentence here is true of all propagators, which are linear in the labels: the score of a class
on an unlabelled point is the sum of the shares of the labels of that class, so a label with more
than half of the influence on a point decides its class whatever the other labels say, and each
point has at most one such label. The counts of several labels therefore add up. What differs from
one propagator to another is in `_influence`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ._facts import Facts
from ._format import count, listing, number, percent, plural, short
from ._influence import how_far_it_goes, how_trust_travels, what_reach_means


@dataclass(frozen=True)
class Words:
    """Everything the report says in prose."""

    headline: tuple[tuple[str, bool], ...]  # (text, emphasised)
    lead: str
    tiles: tuple[tuple[str, str], ...]  # (figure, what it counts)
    meaning: tuple[tuple[str, str], ...]  # (heading, paragraph)


def n_first(facts: Facts) -> int:
    """How many labels the headline speaks of: ten, or about a tenth of a small set."""
    n_labeled = facts.n_labeled
    return min(10, n_labeled) if n_labeled >= 20 else max(1, round(n_labeled / 10))


def n_for_half(facts: Facts) -> int | None:
    """How many labels, taken in order, reach half of the unlabelled points; None if never."""
    reached = np.flatnonzero(np.cumsum(facts.weight) >= 0.5)
    return int(reached[0]) + 1 if reached.size else None


def write_words(facts: Facts) -> Words:
    """Write the headline, the figures and the explanation."""
    return Words(_headline(facts), _lead(facts), _tiles(facts), tuple(_meaning(facts)))


def _headline(facts: Facts) -> tuple[tuple[str, bool], ...]:
    """Say how much the first labels decide."""
    first, unlabeled = n_first(facts), facts.n_unlabeled
    points = f"the {plural(unlabeled, 'unlabelled point')}"
    part = float(facts.weight[:first].sum())
    one = first == 1
    if facts.by_total:
        verb = "carries" if one else "carry"
        tail = f" of all influence on {points}."
    else:
        verb = "decides" if one else "decide"
        tail = f" of {points}."
        if int(facts.mir.sum()) == 0:
            return (("No single label", True), (f" decides any of {points}.", False))
    if facts.n_labeled == 1:
        who = "The only label"
    else:
        who = f"{plural(first, 'label')} out of {count(facts.n_labeled)}"
    return ((who, True), (f" {verb} ", False), (percent(min(part, 1.0)), True), (tail, False))


def _lead(facts: Facts) -> str:
    """Compare with labels that all weigh the same."""
    first = n_first(facts)
    part = float(facts.weight[:first].sum())
    even = float(facts.weight.sum()) * first / facts.n_labeled
    if facts.n_labeled == 1:
        reached = " that it reaches" if facts.unreached else ""
        return f"With one label known, every unlabelled point{reached} follows it."
    if not facts.by_total and int(facts.mir.sum()) == 0:
        return (
            f"Every unlabelled point{' that labels reach' if facts.unreached else ''} listens to "
            "several labels at once, so one wrong label is outvoted. Rank by total influence "
            "(--by total) to see whose say is largest."
        )
    their = "its" if first == 1 else "their"
    what = "all influence was" if facts.by_total else "the decided points were"
    equal = f"If {what} divided equally among the labels, {their} part would be {percent(even)}: "
    if part >= 2 * even:
        return (
            f"{equal}{number(round(part / even, 1))} times less. "
            f"A mistake there spreads far; check {'that label' if first == 1 else 'those labels'} "
            "first."
        )
    return f"{equal}influence is spread fairly evenly, and no small group of labels stands out."


def _tiles(facts: Facts) -> tuple[tuple[str, str], ...]:
    """Pick the figures worth a large font."""
    top = int(facts.mir.max())
    tiles = [
        (count(facts.n_labeled), "labelled point" if facts.n_labeled == 1 else "labelled points"),
        (
            count(top),
            f"{'point' if top == 1 else 'points'} decided by one label, at most "
            f"({percent(top / facts.n_unlabeled)})",
        ),
    ]
    half = n_for_half(facts)
    if half is not None:
        does = "carry half of the influence" if facts.by_total else "decide half of the points"
        if half == 1:
            does = does.replace("carry", "carries").replace("decide", "decides")
        tiles.append((count(half), f"{'label' if half == 1 else 'labels'}, in order, {does}"))
    tiles.append(
        (
            percent(facts.shared / facts.n_unlabeled),
            "of the unlabelled points have no deciding label",
        )
    )
    if facts.unreached:
        points = "point is" if facts.unreached == 1 else "points are"
        tiles.append((count(facts.unreached), f"{points} reached by no label"))
    return tuple(tiles)


def _meaning(facts: Facts) -> list[tuple[str, str]]:
    """Explain, and say what to do."""
    parts = [_what_decides(facts), _check_first(facts), _what_a_flip_does(facts)]
    rest = _the_rest(facts)
    if rest:
        parts.append(("The other points", rest))
    parts.append(("The reach of a label", what_reach_means(facts)))
    parts.append(("How far this goes", how_far_it_goes(facts)))
    notes = [str(note) for note in facts.settings.get("notes", [])]
    if facts.settings["one_class"]:
        notes.insert(
            0,
            f"All known labels are of one class, {short(facts.classes[0])!r}. The order still "
            "says which labels are listened to most; a flip would bring in a second class.",
        )
    wrong = [row for row, true in enumerate(facts.truth) if true is not None]
    if wrong and len(wrong) < facts.n_labeled:
        first = [f"rank {count(row + 1)}" for row in wrong[:5]]
        more = len(wrong) - len(first)
        notes.append(
            f"The true classes of this data are known, and {plural(len(wrong), 'label')} "
            f"{'differs' if len(wrong) == 1 else 'differ'} from them: {listing(first)}"
            f"{f', and {count(more)} more' if more > 0 else ''}."
        )
    if notes:
        parts.append(("Remarks", " ".join(note.rstrip(".") + "." for note in notes)))
    return parts


def _what_decides(facts: Facts) -> tuple[str, str]:
    """Define the count, or the sum, that the ranking goes by."""
    text = (
        f"{how_trust_travels(facts)} A label with more than half of that trust decides the point: "
        "its class wins whatever all the others say. The number of points a label decides is its "
        "major influencer range, MIR."
    )
    if facts.by_total:
        text += (
            " This ranking goes by total influence, the sum of the trust a label is given over "
            "all points, so it also counts points where a label has a say but not the last word."
        )
    if facts.column_row:
        text += (
            " Trust was first shared out per labelled point and then per unlabelled point "
            "(normalization column-row), which damps labels that everybody is near to."
        )
    return ("What \u201cdecides\u201d means", text)


def _row_list(facts: Facts, rows: int) -> str:
    """Name the first rows with their classes."""
    return listing(
        f"row {count(point)} ({short(label, 24)})"
        for point, label in zip(facts.point[:rows].tolist(), facts.label, strict=False)
    )


def _check_first(facts: Facts) -> tuple[str, str]:
    """Name the labels to look at."""
    if facts.n_labeled == 1:
        text = f"There is one label, {_row_list(facts, 1)}: everything rests on it."
        return ("Check first", text)
    half = n_for_half(facts)
    text = f"Begin with {_row_list(facts, min(3, facts.n_labeled))}."
    if half is not None and half <= max(3, facts.n_labeled // 4):
        does = "carry half of all influence" if facts.by_total else "decide half of all points"
        if half == 1:
            does = does.replace("carry", "carries").replace("decide", "decides")
        text += (
            f" The first {plural(half, 'label') if half > 1 else 'label alone'} {does}, so "
            f"checking {percent(half / facts.n_labeled)} of the labels covers that half."
        )
    elif half is not None:
        text += f" It takes the first {plural(half, 'label')} to reach half."
    text += " Row 0 is the first row of data."
    return ("Check first", text)


def _what_a_flip_does(facts: Facts) -> tuple[str, str]:
    """Say what follows when the first labels are wrong or turned."""
    top = int(np.argmax(facts.mir))
    most = int(facts.mir[top])
    if most == 0:
        return (
            "What a flip would do",
            "Turning any one label is never enough to be sure of changing a point: more than half "
            "of its trust always lies elsewhere. Points on the border between classes can still "
            "turn."
            + ("" if facts.gamma is None else " A larger gamma makes influence more local."),
        )
    text = (
        f"Give row {count(int(facts.point[top]))} another class and "
        f"{'the one point' if most == 1 else f'all {count(most)} points'} it decides "
        f"{'takes' if most == 1 else 'take'} that class too."
    )
    first = n_first(facts)
    together = int(facts.mir[:first].sum())
    if first > 1 and together > most:
        text += (
            f" Turn the first {count(first)} and {plural(together, 'point')} turn with them "
            f"({percent(together / facts.n_unlabeled)}), since no point is decided twice."
        )
    return (
        "What a flip would do",
        text + " That is a lower bound: points that several labels share can turn as well.",
    )


def _the_rest(facts: Facts) -> str:
    """Describe the points nobody decides and the ones too close to call."""
    undominated = facts.shared
    undecided = int(facts.settings["undecided"])
    text = ""
    if undominated:
        text = (
            f"{plural(undominated, 'point')} ({percent(undominated / facts.n_unlabeled)}) "
            f"{'has' if undominated == 1 else 'have'} no deciding label: "
            "it takes several labels to be sure of turning them. "
        )
        if undominated > facts.n_unlabeled / 2 and not facts.by_total:
            text += "Ranked by total influence (--by total), labels would count there too. "
    elif facts.n_labeled > 1:
        reached = " that labels reach" if facts.unreached else ""
        text = f"Every unlabelled point{reached} has one label that decides it. "
    if undecided:
        text += (
            f"For {plural(undecided, 'point')} the largest share lies so close to one half that "
            "arithmetic cannot tell on which side; they are not counted for any label."
        )
    return text.strip()
