"""A diagnosis in words: sections of lines, for a terminal or a notebook."""

from __future__ import annotations

import math

from gssl_poison.diagnosis.facts import Diagnosis, Need, Reach, Spread, Underflow, plural

Line = tuple[str, str]


def sections(found: Diagnosis) -> list[tuple[str, list[Line]]]:
    """Return what was found, as titles and lines of a name and a value.

    Of spreads the median comes first, then the least and the largest.
    """
    return [
        ("Graph", _graph(found)),
        (
            "Underflow",
            [*_underflow("float32", found.float32), *_underflow("float64", found.float64)],
        ),
        ("The loop of label propagation", _loop(found)),
        ("The harmonic equations", _conditioning(found)),
        (f"Memory ({in_bytes(found.free_memory)} free)", [_need(need) for need in found.memory]),
    ]


def as_text(found: Diagnosis) -> str:
    """Return the whole diagnosis as text."""
    lines = [
        f"{plural(found.n_points)}, {found.n_labeled:,} labelled; looked at {found.n_looked_at:,} "
        f"of {found.n_unlabeled:,} unlabelled"
    ]
    for title, rows in sections(found):
        lines += ["", title, *(f"  {name:<36} {value}" for name, value in rows)]
    lines += ["", "What to know"]
    lines += [f"  - {text}" for text in found.warnings] or ["  Nothing stands out."]
    build = f" on graph {found.recommended_graph}" if found.recommended_graph else ""
    lines += ["", f"Recommended: {found.recommended}{build}", f"  {found.reason}"]
    return "\n".join(lines)


def _graph(found: Diagnosis) -> list[Line]:
    """Say who listens to whom."""
    everyone, labels = found.neighbours.everyone, found.neighbours.labels
    lines = [
        ("a point listens, in effect, to", f"{_spread(everyone)} others"),
        ("and of the labelled ones, to", f"{_spread(labels)} of {found.n_labeled:,}"),
        ("it gives itself (with self-loops)", _own(found)),
        ("... of which above 1 - 1e-9", str(found.self_loops.nearly_all)),
        ("labels reach", _reached(found.reach, found.n_unlabeled)),
    ]
    if not found.self_loops.share.largest:
        lines[2:4] = [("self-loops", "none")]
    if found.reach.no_labeled_neighbour:
        points = f"{found.reach.no_labeled_neighbour:,} of {plural(found.n_unlabeled)}"
        lines.append(("without a labelled neighbour", points))
    if not found.symmetric:
        lines.append(("edges", "one way: the graph is directed"))
    return lines


def _own(found: Diagnosis) -> str:
    """Say what a point gives itself; next to 1, what it leaves to others."""
    share, rest = found.self_loops.share, found.self_loops.log10_rest
    if share.median is None or share.median < 0.99:
        return _spread(share)
    low, high = in_power(rest.least), in_power(rest.largest)
    return f"all but {in_power(rest.median)} ({low} to {high})"


def _reached(reach: Reach, n_unlabeled: int) -> str:
    """Say how far labels travel."""
    steps = "1 step" if reach.steps == 1 else f"{reach.steps:,} steps"
    if reach.unreached:
        return f"{n_unlabeled - reach.unreached:,} of {plural(n_unlabeled)} (in {steps})"
    return f"every point (in {steps})"


def _underflow(dtype: str, left: Underflow) -> list[Line]:
    """Say what a type of number loses."""
    if not (left.few_digits_neighbour.found or left.few_digits_label.found):
        return [(f"{dtype}: weights are too small", str(left.few_digits_label))]
    return [
        (f"{dtype}: all weights are 0", str(left.no_neighbour)),
        (f"{dtype}: all to labels are 0", str(left.no_label)),
        (f"{dtype}: ... or have lost digits", str(left.few_digits_label)),
    ]


def _loop(found: Diagnosis) -> list[Line]:
    """Say what comes after the first step."""
    loop = found.loop
    lines = [
        ("the nearest label decides alone", str(loop.decided)),
        ("... and holds over 99.9 %", str(loop.decided_wholly)),
        ("... and settles the class, 30 steps", str(loop.settled)),
    ]
    if found.self_loops.share.largest:
        about = "at most" if found.exact else "about"
        change = f"{about} {_short(loop.second_change)}"
        steps = "for ever"
        if loop.log10_steps is not None:
            steps = f"{in_power(loop.log10_steps, whole=True)} (median)"
        lines += [
            ("the second step moves all scores by", "under 0.001" if loop.one_step else change),
            ("steps until a point hears another", steps),
        ]
    return [*lines, ("it is a nearest-neighbour rule", "yes" if loop.nearest_neighbour else "no")]


def _conditioning(found: Diagnosis) -> list[Line]:
    """Say what solvers meet."""
    meets = found.conditioning
    leave = meets.log10_leave
    low, high = in_power(leave.least), in_power(leave.largest)
    odds = "no label next to any point"
    if leave.median is not None:
        odds = f"{in_power(leave.median)} ({low} to {high})"
    lost = meets.digits_lost
    return [
        ("chance that a step meets a label", odds),
        ("D - W is 0 on its diagonal", str(meets.zero_diagonal)),
        (
            "digits that D - W loses at worst",
            "all" if lost is None or lost >= 15.5 else f"{lost:.0f} of 16",
        ),
    ]


def _need(need: Need) -> Line:
    """Say what a solver takes, and whether it is there."""
    return need.solver, in_bytes(need.n_bytes) + ("" if need.fits else ": does not fit")


def _spread(spread: Spread) -> str:
    """Return the median, and from where to where."""
    if spread.median is None or spread.least is None or spread.largest is None:
        return "none"
    return f"{_short(spread.median)} ({_short(spread.least)} to {_short(spread.largest)})"


def _short(value: float) -> str:
    """Return a number with two digits or so."""
    return f"{value:,.0f}" if value >= 99.5 else f"{value:.2g}" if value < 1.0 else f"{value:.1f}"


def in_bytes(size: int) -> str:
    """Return a size in the unit that suits it."""
    for unit, name in ((2**40, "TiB"), (2**30, "GiB")):
        if size >= unit:
            return f"{size / unit:,.1f} {name}"
    return f"{max(1, round(size / 2**20)):,} MiB"


def in_power(log10: float | None, *, whole: bool = False) -> str:
    """Return a number from its logarithm, which may be beyond float64; None stands for 0."""
    if log10 is None:
        return "0"
    if -3.0 < log10 < 5.0:
        value = 10.0**log10
        return f"{value:,.0f}" if whole or value >= 99.5 else f"{value:.2g}"
    exponent = math.floor(log10)
    digit = round(10.0 ** (log10 - exponent))
    return f"{1 if digit == 10 else digit}e{exponent + (digit == 10)}"
