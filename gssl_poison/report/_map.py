"""The 2-D map: which points to draw, where, and where the rank numbers go."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ._facts import Facts
from ._format import count, number, percent, plural, short

if TYPE_CHECKING:
    from gssl_poison.datasets import Dataset

MAX_POINTS = 3000
MAX_LABELED = 1500
MAX_VALUES = 40_000_000  # of the sample, so that very wide rows cannot fill the memory
N_MARKED = 15
WIDTH, MARGIN = 760.0, 34.0
MIN_HEIGHT, MAX_HEIGHT = 300.0, 620.0
SHAPES = 4


@dataclass(frozen=True)
class Spot:
    """One drawn point; `path` is empty for unlabelled points, which are plain circles."""

    x: float
    y: float
    tip: str
    code: int = -1
    path: str = ""
    rank: int = 0


@dataclass(frozen=True)
class Ring:
    """The mark of an influential point: a ring, its rank and a line between them."""

    x: float
    y: float
    radius: float
    rank: int
    text_x: float
    text_y: float
    line: str
    tip: str


@dataclass(frozen=True)
class PointMap:
    """The map in user units."""

    width: float
    height: float
    unlabeled: tuple[Spot, ...]
    labeled: tuple[Spot, ...]
    rings: tuple[Ring, ...]
    x_label: str
    y_label: str
    caption: str


def class_path(code: int, x: float, y: float, radius: float) -> str:
    """Draw the symbol of a class as an SVG path.

    Eight colours times four shapes, both changing from one class to the next, tell 32 classes
    apart without relying on colour alone.
    """
    r = radius
    shape = (code + code // 8) % SHAPES
    if shape == 0:
        return f"M{x - r:.1f} {y:.1f}a{r} {r} 0 1 0 {2 * r:.1f} 0a{r} {r} 0 1 0 {-2 * r:.1f} 0Z"
    if shape == 1:
        a = round(0.88 * r, 2)
        return f"M{x - a:.1f} {y - a:.1f}h{2 * a:.1f}v{2 * a:.1f}h{-2 * a:.1f}Z"
    if shape == 2:
        a = 1.15 * r
        return f"M{x:.1f} {y - a:.1f}l{a:.1f} {1.75 * a:.1f}h{-2 * a:.1f}Z"
    a = 1.25 * r
    return f"M{x:.1f} {y - a:.1f}l{a:.1f} {a:.1f}l{-a:.1f} {a:.1f}l{-a:.1f} {-a:.1f}Z"


def choose_rows(facts: Facts, n_rows: int, n_features: int) -> npt.NDArray[np.int64]:
    """Choose the rows to draw: the first labels of the ranking, then a fixed random part."""
    limit = int(min(MAX_POINTS, max(4 * N_MARKED, MAX_VALUES // max(1, n_features))))
    random = np.random.RandomState(0)
    n_top = min(facts.n_labeled, limit // 6)
    top, others = facts.point[:n_top], facts.point[n_top:]
    room = max(0, min(MAX_LABELED, limit // 2) - n_top)
    if others.size > room:
        others = random.permutation(others)[:room]
    hidden = np.ones(n_rows, dtype=bool)
    hidden[facts.point] = False
    unlabeled = np.flatnonzero(hidden)
    room = limit - top.size - others.size
    if unlabeled.size > room:
        unlabeled = unlabeled[np.sort(random.permutation(unlabeled.size)[:room])]
    return np.sort(np.concatenate([top, others, unlabeled]).astype(np.int64))


def project(
    dataset: Dataset, rows: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], tuple[str, str], str]:
    """Place rows in the plane.

    Returns
    -------
    xy : (r, 2) float64
    labels : (str, str)
        What the axes show.
    remark : str
        A sentence for the caption, or nothing.
    """
    import scipy.sparse as sp
    from sklearn.decomposition import PCA

    picked: Any = dataset.X[rows]
    d = int(picked.shape[1])
    sparse = sp.issparse(picked)
    if sparse and d <= 64:
        picked, sparse = picked.toarray(), False
    elif not sparse:
        picked = np.asarray(picked)
    if d <= 2:
        return _plain(picked, dataset.feature_names)
    sample = picked.astype(np.float64)
    # Dividing by the largest value changes no direction, and keeps squares from overflowing.
    largest = float(abs(sample).max())
    sample = sample / largest if largest > 0 else sample
    if sparse:
        constant = (sample.max(axis=0) - sample.min(axis=0)).nnz == 0
        solver = "arpack" if min(sample.shape) > 2 else "full"
        if solver == "full":
            sample = sample.toarray()
    else:
        constant = not np.any(np.ptp(sample, axis=0) > 0)
        solver = "full" if min(sample.shape) <= 64 else "randomized"
    if constant or len(rows) < 2:
        names = ("no direction in which the points differ", "")
        return np.zeros((len(rows), 2)), names, "All points drawn have the same features."
    n_components = min(2, sample.shape[0] - (solver == "arpack"))
    model = PCA(n_components=n_components, svd_solver=solver, random_state=0).fit(sample)
    xy = np.zeros((len(rows), 2))
    xy[:, :n_components] = model.transform(sample)
    # The sign of a direction is arbitrary; fix it so that the same data give the same picture.
    for axis in range(2):
        if xy[np.argmax(np.abs(xy[:, axis])), axis] < 0:
            xy[:, axis] = -xy[:, axis]
    parts = [*np.clip(model.explained_variance_ratio_, 0, 1).tolist(), 0.0][:2]
    labels = (
        f"first principal direction, {percent(round(parts[0], 6))} of the variance",
        f"second, {percent(round(parts[1], 6))}",
    )
    remark = ""
    if parts[0] > 0.95:
        remark = (
            "Nearly all distance between points lies along one direction; if the features have "
            "different units, scale them before ranking."
        )
    elif sum(parts) < 0.3:
        remark = (
            f"The two directions hold {percent(sum(parts))} of the variance, so points that look "
            "close here may be far apart."
        )
    return xy, labels, remark


def _plain(
    picked: npt.NDArray[np.generic], names: tuple[str, ...] | None
) -> tuple[npt.NDArray[np.float64], tuple[str, str], str]:
    """Show one or two features as they are."""
    values = np.asarray(picked, dtype=np.float64)
    names = names or tuple(f"feature {k}" for k in range(values.shape[1]))
    spans = [
        f"{short(name)}, {number(float(values[:, k].min()))} to {number(float(values[:, k].max()))}"
        for k, name in enumerate(names[: values.shape[1]])
    ]
    largest = float(np.abs(values).max())
    xy = values / largest if largest > 0 else values
    if values.shape[1] == 2:
        return xy, (spans[0], spans[1]), ""
    width = float(np.ptp(xy[:, 0])) or 1.0
    height = np.random.RandomState(0).random_sample(len(values)) * 0.25 * width
    return (
        np.column_stack([xy[:, 0], height]),
        (spans[0], "no meaning"),
        "There is one feature; points are spread vertically only to be seen apart.",
    )


def point_map(dataset: Dataset, facts: Facts) -> PointMap:
    """Lay out the map."""
    n, d = (int(size) for size in dataset.X.shape)
    # A sparse sample is never densified, so its width costs nothing.
    rows = choose_rows(facts, n, 1 if hasattr(dataset.X, "indptr") else d)
    xy, labels, remark = project(dataset, rows)
    position, height = _fit(xy)
    place = {row: (float(x), float(y)) for row, (x, y) in zip(rows.tolist(), position, strict=True)}
    order = {point: k for k, point in enumerate(facts.point.tolist())}
    unlabeled, labeled = [], []
    for row, (x, y) in place.items():
        rank = order.get(row)
        if rank is None:
            true = "" if dataset.truth is None else f", true class {short(str(dataset.truth[row]))}"
            unlabeled.append(Spot(round(x, 1), round(y, 1), f"row {count(row)}, unlabelled{true}"))
            continue
        code = int(facts.code[rank])
        path = class_path(code, x, y, 4.0)
        labeled.append(Spot(x, y, _tip(facts, rank), code, path, rank + 1))
    labeled.sort(key=lambda spot: -spot.rank)
    drawn = "" if len(rows) == n else f"{count(len(rows))} of the {count(n)} points are drawn. "
    n_marked = min(N_MARKED, facts.n_labeled)
    grows = "influence it carries" if facts.by_total else "number of points it decides"
    caption = (
        f"{drawn}Rings mark the most influential labels, {n_marked} in all; the larger a ring, "
        f"the larger the {grows}. {remark}"
    )
    return PointMap(
        WIDTH,
        round(height, 1),
        tuple(unlabeled),
        tuple(labeled),
        tuple(_rings(facts, place, height)),
        labels[0],
        labels[1],
        caption.strip(),
    )


def _tip(facts: Facts, rank: int) -> str:
    """Describe a labelled point in a tooltip."""
    text = (
        f"rank {count(rank + 1)}: row {count(int(facts.point[rank]))}, "
        f"class {short(facts.label[rank])}, decides {plural(int(facts.mir[rank]), 'point')} "
        f"({percent(float(facts.share[rank]))})"
    )
    true = facts.truth[rank]
    return text if true is None else f"{text}; true class {short(true)}"


def _fit(xy: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], float]:
    """Scale both directions alike into the frame, so that distances keep their meaning."""
    low, span = xy.min(axis=0), np.ptp(xy, axis=0)
    inner = WIDTH - 2 * MARGIN
    ratio = float(span[1] / span[0]) if span[0] > 0 else (2.0 if span[1] > 0 else 0.0)
    height = min(max(inner * ratio + 2 * MARGIN, MIN_HEIGHT), MAX_HEIGHT)
    scales = [
        (size - 2 * MARGIN) / extent
        for size, extent in ((WIDTH, span[0]), (height, span[1]))
        if extent > 0
    ]
    scale = float(min(scales, default=1.0))
    centre = low + span / 2
    x = WIDTH / 2 + (xy[:, 0] - centre[0]) * scale
    y = height / 2 - (xy[:, 1] - centre[1]) * scale
    return np.column_stack([x, y]), height


def _rings(facts: Facts, place: dict[int, tuple[float, float]], height: float) -> list[Ring]:
    """Draw rings and place their numbers where they cover the least."""
    weight = facts.weight
    n_marked = min(N_MARKED, facts.n_labeled)
    centres = [place[point] for point in facts.point[:n_marked].tolist()]
    largest = float(weight[:n_marked].max()) or 1.0
    radii = [round(7 + 13 * math.sqrt(float(w) / largest), 1) for w in weight[:n_marked]]
    boxes: list[tuple[float, float, float, float]] = []
    rings = []
    for k, ((x, y), radius) in enumerate(zip(centres, radii, strict=True)):
        width = 9.0 * len(str(k + 1)) + 4
        best, best_cost = (x, y), math.inf
        for reach in (radius + 11, radius + 22, radius + 36, radius + 52):
            for turn in range(16):
                angle = math.pi * (turn / 8 - 0.25)
                at = (x + reach * math.cos(angle), y + reach * math.sin(angle))
                box = (at[0] - width / 2, at[1] - 8, at[0] + width / 2, at[1] + 8)
                cost = 0.02 * (reach - radius) + 40 * _outside(box, height)
                cost += 10 * sum(_overlap(box, other) for other in boxes)
                cost += 4 * sum(
                    max(0.0, r + 9 - math.dist(at, centre)) / 10
                    for centre, r in zip(centres, radii, strict=True)
                )
                if cost < best_cost:
                    best, best_cost = at, cost
        boxes.append((best[0] - width / 2, best[1] - 8, best[0] + width / 2, best[1] + 8))
        gap = math.dist(best, (x, y))
        line = ""
        if gap > radius + 14:
            ux, uy = (best[0] - x) / gap, (best[1] - y) / gap
            line = (
                f"M{x + ux * radius:.1f} {y + uy * radius:.1f}"
                f"L{best[0] - ux * 9:.1f} {best[1] - uy * 9:.1f}"
            )
        rings.append(
            Ring(
                round(x, 1),
                round(y, 1),
                radius,
                k + 1,
                round(best[0], 1),
                round(best[1], 1),
                line,
                _tip(facts, k),
            )
        )
    return rings[::-1]  # the first is drawn last, on top


def _outside(box: tuple[float, float, float, float], height: float) -> float:
    """Measure how far a box sticks out of the frame."""
    return max(0.0, 4 - box[0], 4 - box[1], box[2] - WIDTH + 4, box[3] - height + 4)


def _overlap(
    one: tuple[float, float, float, float], other: tuple[float, float, float, float]
) -> float:
    """Return the overlap of two boxes as a part of a typical box."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    return wide * high / 200 if wide > 0 and high > 0 else 0.0
