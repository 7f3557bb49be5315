"""Geometry of the two distribution charts; the template draws it as SVG."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ._facts import Facts
from ._format import NBSP, count, number, percent, plural
from ._words import n_first

WIDTH, HEIGHT = 480, 300  # user units of both charts
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 18, 46  # margins around the plot


@dataclass(frozen=True)
class Tick:
    """A mark on an axis."""

    at: float
    text: str


@dataclass(frozen=True)
class Bar:
    """One bar of the histogram, its count above it and its tooltip."""

    x: float
    y: float
    width: float
    height: float
    text: str
    tip: str


@dataclass(frozen=True)
class Dot:
    """A spot to hover on the curve."""

    x: float
    y: float
    tip: str
    marked: str = ""  # text beside a spot that is always shown


@dataclass(frozen=True)
class Chart:
    """A chart in user units: axes, and a curve with dots or bars."""

    title: str
    description: str
    x_label: str
    y_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    bars: tuple[Bar, ...] = ()
    curve: str = ""
    area: str = ""
    even: str = ""
    dots: tuple[Dot, ...] = ()
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    bottom: int = HEIGHT - BOTTOM
    top: int = TOP


def place_x(part: float) -> float:
    """Place a part of the horizontal axis, 0 to 1."""
    return round(LEFT + part * (WIDTH - LEFT - RIGHT), 1)


def place_y(part: float) -> float:
    """Place a part of the vertical axis, 0 to 1 upwards."""
    return round(HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM), 1)


def nice_step(span: float, pieces: int) -> float:
    """Find a round step (1, 2 or 5 times a power of ten) that cuts a span into few pieces."""
    if not span > 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(span / pieces))
    return power * min(
        (factor for factor in (1, 2, 5, 10) if factor * power * pieces >= span * 0.999), default=10
    )


def cumulative(facts: Facts) -> Chart:
    """Labels in order of the ranking against the part of the points decided so far."""
    part = np.minimum(np.cumsum(facts.weight), 1.0)
    n = facts.n_labeled
    ceiling = float(part[-1])
    step = nice_step(max(ceiling, 1e-6), 5)
    highest = step * max(1, math.ceil(ceiling / step - 1e-9))
    does = "carry" if facts.by_total else "decide"
    # About 240 vertices draw any curve at this size; the first labels matter most.
    shown = np.unique(
        np.concatenate(
            [np.arange(1, min(n, 60) + 1), np.linspace(1, n, 180).round().astype(np.int64)]
        )
    )
    path = [(place_x(0), place_y(0))] + [
        (place_x(k / n), place_y(part[k - 1] / highest)) for k in shown.tolist()
    ]
    line = "M" + "L".join(f"{x} {y}" for x, y in path)
    x_step = max(1, int(nice_step(n, 5)))
    first = n_first(facts)
    hover = sorted({*np.geomspace(1, n, 28).round().astype(int).tolist(), first, n})
    dots = []
    for k in hover:
        told = f"{'The first label' if k == 1 else f'The first {count(k)} labels'} "
        verb = does + "s" if k == 1 else does
        dots.append(
            Dot(
                place_x(k / n),
                place_y(part[k - 1] / highest),
                f"{told}{verb} {percent(float(part[k - 1]))}",
                f"{plural(k, 'label')}: {percent(float(part[k - 1]))}" if k == first else "",
            )
        )
    what = "of all influence carried" if facts.by_total else "of the unlabelled points decided"
    return Chart(
        title="How quickly it adds up",
        description=f"Labels in order, most influential first, against the part {what} by then. "
        "The dashed line is an equal division among the labels.",
        x_label="labels, most influential first",
        y_label=f"part {what}",
        x_ticks=tuple(Tick(place_x(k / n), count(k)) for k in range(0, n + 1, x_step)),
        y_ticks=tuple(
            Tick(place_y(k * step / highest), f"{100 * k * step:.6g}{NBSP}%")
            for k in range(round(highest / step) + 1)
        ),
        curve=line,
        area=f"{line}L{path[-1][0]} {place_y(0)}Z",
        even=f"M{place_x(0)} {place_y(0)}L{place_x(1)} {place_y(ceiling / highest)}",
        dots=tuple(dots),
    )


def histogram(facts: Facts) -> Chart:
    """Count the labels by how many points they decide, or by the influence they carry."""
    values = facts.total if facts.by_total else facts.mir.astype(np.float64)
    edges, zero = bin_edges(values, whole=not facts.by_total)
    counts = [int(np.count_nonzero(values == 0))] if zero else []
    inside = values[values > 0] if zero else values
    counts += np.histogram(inside, np.concatenate([edges[:-1], [np.inf]]))[0].tolist()
    below = int(np.count_nonzero(inside < edges[0]))
    counts[1 if zero else 0] += below  # the first bin is open towards zero
    n_bars = len(counts)
    step = max(1, int(nice_step(max(counts), 4)))
    highest = step * max(1, math.ceil(max(counts) / step))
    gap = 0.6 if zero else 0.0  # sets the zero bar apart
    slots = n_bars + gap
    bars = []
    ticks = [Tick(place_x(0.5 / slots), "0")] if zero else []
    unit = "influence" if facts.by_total else "points"
    for k, labels in enumerate(counts):
        at = k + (gap if zero and k else 0)
        if zero and k == 0:
            does = "decides nothing" if labels == 1 else "decide nothing"
            tip = f"{plural(labels, 'label')} {does}"
        else:
            low, high = edges[k - zero], edges[k - zero + 1]
            verb = "carries" if labels == 1 else "carry"
            if not facts.by_total:
                verb = "decides" if labels == 1 else "decide"
            tip = f"{plural(labels, 'label')} {verb} {_span(low, high, facts)}"
        bars.append(
            Bar(
                place_x((at + 0.06) / slots),
                place_y(labels / highest),
                round(place_x((at + 0.94) / slots) - place_x((at + 0.06) / slots), 1),
                round(place_y(0) - place_y(labels / highest), 1),
                count(labels) if labels else "",
                tip,
            )
        )
    single = not facts.by_total and bool(np.all(np.diff(edges) == 1))
    every = max(1, math.ceil(len(edges) / 12))
    for k, edge in enumerate((edges[:-1] if single else edges).tolist()):
        if k % every == 0:
            at = k + (1 + gap if zero else 0) + (0.5 if single else 0)
            ticks.append(Tick(place_x(at / slots), _edge(edge)))
    label = "total influence of a label" if facts.by_total else "points a label decides"
    skewed = len(edges) > 2 and edges[-1] - edges[-2] > 1.5 * (edges[1] - edges[0])
    return Chart(
        title="How unequal labels are",
        description=f"Number of labels by {unit} each one "
        f"{'carries' if facts.by_total else 'decides'}"
        f"{'; the range of a bar is twice that of the one before' if skewed else ''}.",
        x_label=label,
        y_label="labels",
        x_ticks=tuple(ticks),
        y_ticks=tuple(Tick(place_y(k / highest), count(k)) for k in range(0, highest + 1, step)),
        bars=tuple(bars),
    )


def bin_edges(
    values: npt.NDArray[np.float64], *, whole: bool
) -> tuple[npt.NDArray[np.float64], bool]:
    """Choose edges that suit the spread: one bar a value, even steps, or doubling steps.

    Returns the edges and whether zero has a bar of its own, before the first edge.
    """
    zero = whole and bool(np.any(values == 0))
    positive = values[values > 0]
    if not positive.size:
        return np.array([1.0, 2.0]), zero
    largest, middle = float(positive.max()), float(np.median(positive))
    if whole and largest <= 12:
        return np.arange(1.0, largest + 2), zero
    if largest > 6 * middle:
        top = math.floor(math.log2(largest)) + 1
        low = 0 if whole else max(math.floor(math.log2(positive.min())), top - 12)
        return np.exp2(np.arange(low, top + 1, dtype=np.float64)), zero
    step = nice_step(largest, 12)
    step = max(step, 1.0) if whole else step
    start = step * math.floor(positive.min() / step)
    if whole:
        start = max(start, 0.0)
    n_steps = math.floor((largest - start) / step) + 1
    return start + step * np.arange(n_steps + 1), zero


def _edge(value: float) -> str:
    """Label an edge of a bin."""
    if value >= 10_000:
        return f"{value / 1000:,.0f}k"
    return count(value) if value == round(value) else number(value)


def _span(low: float, high: float, facts: Facts) -> str:
    """Say what a bin holds."""
    if facts.by_total:
        return f"{number(low)} to {number(high)} points\u2019 worth of influence each"
    first, last = max(1, math.ceil(low)), math.ceil(high) - 1
    if first >= last:
        return f"{plural(first, 'point')} each"
    return f"{count(first)} to {count(last)} points each"
