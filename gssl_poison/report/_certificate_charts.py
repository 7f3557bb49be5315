"""Geometry of the charts of a certificate; the template draws them as SVG."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ._charts import Bar, Chart, Dot, Tick, bin_edges, nice_step, place_x, place_y
from ._format import NBSP, count, percent, plural

if TYPE_CHECKING:
    from ._certificate import CertificatePage

WIDTH, HEIGHT = 900, 380
LEFT, RIGHT, TOP, BOTTOM = 56, 20, 32, 50
MOST_SPOTS = 60


@dataclass(frozen=True)
class Mark:
    """The bound for all points together, at one budget."""

    x: float
    y: float
    path: str
    tip: str
    text: str


@dataclass(frozen=True)
class BoundChart:
    """What attacks reach and what none can exceed, against the number of changed labels."""

    description: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    y_label: str
    attack: str
    bound: str
    joint: str
    gap: str
    dots: tuple[Dot, ...]
    joint_dots: tuple[Dot, ...]
    marks: tuple[Mark, ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def bound_chart(page: CertificatePage) -> BoundChart:
    """Draw the attack, the bound point by point, and the bounds for all points together."""
    last = page.attack.size - 1
    ceiling = max(float(page.pointwise.max()), float(page.attack.max()), 1e-6)
    step = nice_step(min(1.0, ceiling), 5)
    highest = step * max(1, math.ceil(min(1.0, ceiling) / step - 1e-9))

    def at_x(k: float) -> float:
        return round(LEFT + k / max(1, last) * (WIDTH - LEFT - RIGHT), 1)

    def at_y(part: float) -> float:
        return round(HEIGHT - BOTTOM - part / highest * (HEIGHT - TOP - BOTTOM), 1)

    shown = np.unique(np.linspace(0, last, min(last + 1, 400)).round().astype(int)).tolist()
    attack = [(at_x(k), at_y(float(page.attack[k]))) for k in shown]
    bound = [(at_x(k), at_y(float(page.pointwise[k]))) for k in shown]
    most = _most(page)
    joint = [(at_x(k), at_y(float(most[k]))) for k in shown]
    spots = np.unique(np.linspace(0, last, min(last + 1, MOST_SPOTS)).round().astype(int)).tolist()
    harm = "wrong" if page.used_truth else "changed"
    marks = []
    for level in page.levels:
        x, y = at_x(level.flips), at_y(level.collective)
        told = plural(level.flips, "changed label")
        marks.append(
            Mark(
                x,
                y,
                f"M{x} {y - 7:.1f}L{x + 7:.1f} {y}L{x} {y + 7:.1f}L{x - 7:.1f} {y}Z",
                f"{told}: at most {percent(level.collective)} {harm}, all points together",
                percent(level.collective),
            )
        )
    x_step = max(1, int(nice_step(last, 10)))
    return BoundChart(
        description="What the strongest attack that was tried reaches, and what no attack can "
        "exceed. The worst that can be done lies in the shaded part. A diamond is proved for its "
        "number of labels; between two the next one holds, or the bound point by point.",
        x_ticks=tuple(Tick(at_x(k), count(k)) for k in range(0, last + 1, x_step)),
        y_ticks=tuple(
            Tick(at_y(k * step), f"{100 * k * step:.6g}{NBSP}%")
            for k in range(round(highest / step) + 1)
        ),
        y_label=page.harm,
        attack=_line(attack),
        bound=_line(bound),
        joint=_line(joint),
        gap=f"{_line(attack)}L{_line(joint[::-1])[1:]}Z",
        dots=tuple(
            Dot(
                at_x(k),
                at_y(float(page.attack[k])),
                f"{plural(k, 'changed label')}: an attack makes {percent(float(page.attack[k]))} "
                f"{harm}",
            )
            for k in spots
        ),
        joint_dots=tuple(
            Dot(
                at_x(k),
                at_y(float(most[k])),
                f"{plural(k, 'changed label')}: at most {percent(float(most[k]))} {harm}",
            )
            for k in spots
        ),
        marks=tuple(marks),
    )


def _most(page: CertificatePage) -> npt.NDArray[np.float64]:
    """Return what no attack exceeds after 0, 1, ... changed labels: fewer do no more than more."""
    most = page.pointwise.copy()
    for level in page.levels:
        most[: level.flips + 1] = np.minimum(most[: level.flips + 1], level.collective)
    return most


def _line(vertices: list[tuple[float, float]]) -> str:
    """Write a path through vertices."""
    return "M" + "L".join(f"{x} {y}" for x, y in vertices)


def radius_histogram(page: CertificatePage) -> Chart:
    """Count the predictions by the number of labels it takes to turn them."""
    never = int(np.count_nonzero(page.radius > page.n_labeled))
    open_ones = int(np.count_nonzero(page.radius == 0))
    finite = page.radius[(page.radius > 0) & (page.radius <= page.n_labeled)].astype(np.float64)
    edges, _ = bin_edges(finite, whole=True)
    start = max(1.0, float(edges[0]))
    edges[0] = start
    counts = np.histogram(finite, np.concatenate([edges[:-1], [np.inf]]))[0].tolist()
    groups: list[tuple[str, int, str]] = []
    if open_ones:
        groups.append(("?", open_ones, "too close to call"))
    for k, points in enumerate(counts):
        first, last = math.ceil(edges[k]), math.ceil(edges[k + 1]) - 1
        span = count(first) if first >= last else f"{count(first)}\u2013{count(last)}"
        verb = "needs" if points == 1 else "need"
        labels = plural(first, "label") if first >= last else f"{span} labels"
        groups.append((span, points, f"{verb} {labels} changed"))
    if never:
        groups.append(("never", never, "cannot be turned by any labels"))
    step = max(1, int(nice_step(max(c for _, c, _ in groups), 4)))
    highest = step * max(1, math.ceil(max(c for _, c, _ in groups) / step))
    slots = len(groups)
    every = max(1, math.ceil(slots / 9))
    bars, ticks = [], []
    for k, (span, points, says) in enumerate(groups):
        left, right = place_x((k + 0.06) / slots), place_x((k + 0.94) / slots)
        top = place_y(points / highest)
        bars.append(
            Bar(
                left,
                top,
                round(right - left, 1),
                round(place_y(0) - top, 1),
                count(points) if points else "",
                f"{plural(points, 'prediction')} {says}",
            )
        )
        if k % every == 0 or span == "never":
            ticks.append(Tick(place_x((k + 0.5) / slots), span))
    return Chart(
        title="How much each prediction takes",
        description="Number of predictions by how many labels must be changed, at least, before "
        "they turn.",
        x_label="changed labels it takes",
        y_label="predictions",
        x_ticks=tuple(ticks),
        y_ticks=tuple(Tick(place_y(k / highest), count(k)) for k in range(0, highest + 1, step)),
        bars=tuple(bars),
    )


def survival(page: CertificatePage) -> Chart:
    """Draw the part of the predictions that stays, against the number of changed labels."""
    radius = page.radius if page.truth is None else page.radius * (page.truth == page.predicted)
    last = max(1, int(radius[radius <= page.n_labeled].max(initial=1)))
    of = np.bincount(np.minimum(radius, last + 1), minlength=last + 2)
    stays = 1.0 - np.cumsum(of)[: last + 1] / max(1, radius.size)
    shown = np.unique(np.linspace(0, last, min(last + 1, 240)).round().astype(int)).tolist()
    path = [(place_x(k / last), place_y(float(stays[k]))) for k in shown]
    line = _line(path)
    spots = np.unique(np.linspace(0, last, min(last + 1, 28)).round().astype(int)).tolist()
    half = int(np.argmax(stays < 0.5)) if (stays < 0.5).any() else -1
    spots = sorted({*spots, half} - {-1})
    dots = [
        Dot(
            place_x(k / last),
            place_y(float(stays[k])),
            f"After {plural(k, 'changed label')}: {percent(float(stays[k]))} certain",
        )
        for k in spots
    ]
    x_step = max(1, int(nice_step(last, 6)))
    certain = "no attacker can change" if page.truth is None else "are right and stay so"
    return Chart(
        title="How certainty fades",
        description=f"The part of the predictions that {certain}, by the number of labels that may "
        "be changed.",
        x_label="changed labels",
        y_label="certain predictions",
        x_ticks=tuple(Tick(place_x(k / last), count(k)) for k in range(0, last + 1, x_step)),
        y_ticks=tuple(Tick(place_y(k / 5), f"{20 * k}{NBSP}%") for k in range(6)),
        curve=line,
        area=f"{line}L{path[-1][0]} {place_y(0)}L{path[0][0]} {place_y(0)}Z",
        even="",
        dots=tuple(dots),
    )
