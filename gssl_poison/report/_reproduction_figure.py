"""Geometry of Figure 4: one panel for each data set and preset, which templates draw as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gssl_poison.experiments.comparison import Estimate
from gssl_poison.experiments.names import MODEL_NAMES, VICTIM_NAMES, part_text, title_of
from gssl_poison.experiments.paper_tables import Curve

from ._charts import Tick, nice_step
from ._format import NBSP
from ._map import class_path
from ._reproduction_views import plain

WIDTH, HEIGHT = 340, 270
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 14, 44
RADIUS = 4.6
INSET = 9  # keeps the marks on clean labels off the scale
# Shapes that differ in outline too: circle, diamond, square, triangle.
_SHAPES = {
    ("propagation", "forest"): 0,
    ("propagation", "mlp"): 3,
    ("spreading", "forest"): 1,
    ("spreading", "mlp"): 2,
    ("direct", "forest"): 0,
    ("direct", "mlp"): 3,
}


@dataclass(frozen=True)
class Spot:
    """One measured error: its mark, its bar of one deviation up and down, and what it says."""

    mark: str
    bar: str
    tip: str


@dataclass(frozen=True)
class Trace:
    """One curve: the classes that colour it, its line and its spots."""

    kind: str
    line: str
    spots: tuple[Spot, ...]


@dataclass(frozen=True)
class Panel:
    """The curves of one data set under one preset."""

    title: str
    preset: str
    labeled: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    traces: tuple[Trace, ...]
    printed: tuple[Spot, ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


@dataclass(frozen=True)
class Key:
    """One entry of the legend."""

    kind: str
    mark: str
    text: str


@dataclass(frozen=True)
class Figure:
    """All panels by preset, and the legend."""

    rows: tuple[tuple[str, tuple[Panel, ...]], ...]
    keys: tuple[Key, ...]
    has_printed: bool
    has_bars: bool

    @property
    def n_columns(self) -> int:
        """Panels in the longest row."""
        return max(len(panels) for _, panels in self.rows)


def figure_four(curves: Sequence[Curve]) -> Figure | None:
    """Place the curves of Figure 4; None where there is none."""
    if not curves:
        return None
    ends = [1.0]
    for curve in curves:
        ends += [100 * paper for paper in curve.paper if paper is not None]
        ends += [100 * e.value + _deviation(e) for e in curve.errors if e and e.value >= 0]
    step = nice_step(max(ends), 5)
    top = step * math.ceil(max(ends) / step - 1e-9)
    rows = []
    for preset in dict.fromkeys(curve.preset for curve in curves):
        own = [curve for curve in curves if curve.preset == preset]
        rows.append((preset, tuple(_panel(some, top, step) for some in _by_dataset(own))))
    kinds = dict.fromkeys((curve.victim, curve.model) for curve in curves)
    keys = tuple(
        Key(
            f"{victim} {model}",
            class_path(_SHAPES[victim, model], 20, 7, RADIUS),
            f"{MODEL_NAMES[model]} after {VICTIM_NAMES[victim]}",
        )
        for victim, model in kinds
    )
    panels = [panel for _, some in rows for panel in some]
    spots = [spot for panel in panels for trace in panel.traces for spot in trace.spots]
    return Figure(
        tuple(rows),
        keys,
        any(panel.printed for panel in panels),
        any(spot.bar for spot in spots),
    )


def _by_dataset(curves: Iterable[Curve]) -> list[list[Curve]]:
    """Collect the curves of each data set."""
    found: dict[str, list[Curve]] = {}
    for curve in curves:
        found.setdefault(curve.dataset, []).append(curve)
    return list(found.values())


def _panel(curves: Sequence[Curve], top: float, step: float) -> Panel:
    """Place the curves of one panel under a scale that all panels share."""
    last = max([0.2, *(budget for curve in curves for budget in curve.budgets)])

    def at_x(budget: float) -> float:
        return round(LEFT + INSET + budget / last * (WIDTH - LEFT - RIGHT - INSET), 1)

    def at_y(percent: float) -> float:
        return round(HEIGHT - BOTTOM - percent / top * (HEIGHT - TOP - BOTTOM), 1)

    traces, printed = [], []
    for curve in curves:
        kind = (curve.victim, curve.model)
        name = f"{MODEL_NAMES[curve.model]} after {VICTIM_NAMES[curve.victim]}"
        line, spots, pen = "", [], "M"
        for budget, error, paper in zip(curve.budgets, curve.errors, curve.paper, strict=True):
            x, flipped = at_x(budget), f"{part_text(budget)} flipped"
            if paper is not None:
                y = at_y(100 * paper)
                printed.append(
                    Spot(
                        f"M{x - 4:.1f} {y - 4:.1f}l8 8m0 -8l-8 8",
                        "",
                        f"Table 4 prints {100 * paper:.2f}{NBSP}% for {name}, {flipped}",
                    )
                )
            if error is None or math.isnan(error.value):
                pen = "M"  # a cell that was not run leaves a gap
                continue
            mean, spread = 100 * error.value, _deviation(error)
            y = at_y(mean)
            line += f"{pen}{x} {y}"
            pen = "L"
            told = f"{name}, {flipped}: {mean:.2f}{NBSP}%"
            if spread:
                told += f" \u00b1 {spread:.2f} over {error.seeds} seeds"
            spots.append(
                Spot(
                    class_path(_SHAPES[kind], x, y, RADIUS),
                    f"M{x} {at_y(max(0.0, mean - spread))}L{x} {at_y(mean + spread)}"
                    if spread
                    else "",
                    told,
                )
            )
        traces.append(Trace(" ".join(kind), line, tuple(spots)))
    # 0.05 steps up to the paper's 20 %, fewer beyond.
    x_step = 0.05 * max(1, math.ceil(last / 0.05 / 6 - 1e-9))
    return Panel(
        title=plain(title_of(curves[0].dataset)),
        preset=curves[0].preset,
        labeled=part_text(curves[0].labeled),
        x_ticks=tuple(
            Tick(at_x(k * x_step), part_text(round(k * x_step, 9)))
            for k in range(int(last / x_step + 1e-9) + 1)
        ),
        y_ticks=tuple(
            Tick(at_y(k * step), f"{k * step:.6g}{NBSP}%") for k in range(round(top / step) + 1)
        ),
        traces=tuple(traces),
        printed=tuple(printed),
    )


def _deviation(error: Estimate) -> float:
    """Return the deviation in per cent; none for one seed."""
    return 0.0 if math.isnan(error.deviation) else 100 * error.deviation
