"""The page about a certificate: what no attacker can do, and what the best attack found does."""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gssl_poison.datasets.pictures import thumbnails
from gssl_poison.exceptions import InputError

from ._certificate_charts import bound_chart, radius_histogram, survival
from ._format import count, percent, plural
from ._page import render_page, write_page

if TYPE_CHECKING:
    from gssl_poison.datasets import Dataset

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_WAYS = {
    "enumeration": "all sets of flips tried",
    "milp": "integer program",
    "lagrangian": "Lagrangian relaxation",
    "pointwise": "point by point: nothing lower was found",
}
N_CARDS = 10
MAX_ROWS = 200


@dataclass(frozen=True)
class Level:
    """What is known of one budget; all but ``flips`` are parts of the unlabelled points.

    Attributes
    ----------
    flips : int
        Labels that may be changed.
    attack : float
        The most that an attack was found to do.
    collective, pointwise : float
        What no attack can exceed, all points together and each by itself.
    certified : float
        Predictions that no attack can change, with truth only the right ones.
    method : str
        How the collective bound was found: "enumeration", "milp", "lagrangian" or
        "pointwise".
    """

    flips: int
    attack: float
    collective: float
    pointwise: float
    certified: float
    method: str

    @property
    def way(self) -> str:
        """How the collective bound was found, in words."""
        return _WAYS.get(self.method, self.method)


@dataclass(frozen=True)
class CertificatePage:
    """Everything the page shows.

    Attributes
    ----------
    name : str
        Of the data.
    n_labeled : int
    classes : tuple of str
    used_truth : bool
        Whether harm is a wrong prediction; else it is a changed one.
    clean : float
        Harm with the labels as they are.
    levels : tuple of Level
        Ascending in flips.
    attack_name : str
    attack, pointwise : (K + 1,) float64
        Harm that the attack does, and bound point by point, after 0 to K changed labels.
    point, radius, predicted : (u,) int64
        Row numbers, labels whose change turns the prediction at least, predicted class codes.
    truth : (u,) int64 or None
        True class codes.
    holds_for : str
        What the certificate is about, in words that follow "It holds for".
    undecided : int
        Predictions that may take more labels to turn than ``radius`` says.
    settings : tuple of (str, str)
    versions : mapping of str to str
    command : str or None
    """

    name: str
    n_labeled: int
    classes: tuple[str, ...]
    used_truth: bool
    clean: float
    levels: tuple[Level, ...]
    attack_name: str
    attack: Floats
    pointwise: Floats
    point: Integers
    radius: Integers
    predicted: Integers
    truth: Integers | None
    holds_for: str
    undecided: int
    settings: tuple[tuple[str, str], ...]
    versions: Mapping[str, str]
    command: str | None = None

    @property
    def harm(self) -> str:
        """What is counted, in words."""
        return "of the predictions wrong" if self.used_truth else "of the predictions changed"


@dataclass(frozen=True)
class Weak:
    """One unlabelled point of the table, those that are easiest to turn first."""

    rank: int
    point: int
    label: str
    code: int
    radius: int
    needs: str
    image: str
    true: str | None


def write_certificate(
    path: str | os.PathLike[str],
    page: CertificatePage,
    dataset: Dataset,
    *,
    now: datetime.datetime | None = None,
) -> Path:
    """Write a certificate as one self-contained HTML file.

    Parameters
    ----------
    path : str or path-like
        The file to write. It is replaced in one step, so a killed run leaves the old file.
    page : CertificatePage
        What to show.
    dataset : Dataset
        The data; only the rows that are drawn as images are read.
    now : datetime.datetime, optional
        The date to print; the current time if not given.

    Returns
    -------
    pathlib.Path
        The file written.

    Raises
    ------
    InputError
        There is no budget to show.
    """
    return write_page(path, render_certificate(page, dataset, now=now))


def render_certificate(
    page: CertificatePage, dataset: Dataset, *, now: datetime.datetime | None = None
) -> str:
    """Return the page `write_certificate` writes, as a string; the parameters are the same."""
    if not page.levels:
        raise InputError("the certificate has no budget; give at least one.")
    rows = _weakest(page, dataset)
    level = _headline_level(page)
    return render_page(
        "certificate.html.j2",
        page=page,
        headline=_headline(page, level),
        lead=_lead(page, level),
        tiles=_tiles(page, level),
        meaning=_meaning(page),
        figure=bound_chart(page),
        charts=(radius_histogram(page), survival(page)),
        rows=rows,
        cards=rows[:N_CARDS],
        n_points=int(page.point.size),
        has_images=any(row.image for row in rows),
        has_truth=any(row.true is not None for row in rows),
        now=now or datetime.datetime.now().astimezone(),
    )


def _weakest(page: CertificatePage, dataset: Dataset) -> list[Weak]:
    """List the points whose prediction takes the fewest labels to turn."""
    order = np.lexsort((page.point, page.radius))[:MAX_ROWS]
    images = thumbnails(dataset, page.point[order])
    rows = []
    for k, i in enumerate(order.tolist()):
        code, radius = int(page.predicted[i]), int(page.radius[i])
        true = None if page.truth is None else int(page.truth[i])
        rows.append(
            Weak(
                rank=k + 1,
                point=int(page.point[i]),
                label=page.classes[code],
                code=code,
                radius=radius,
                needs=_needs(radius, page.n_labeled),
                image=images[k] if images else "",
                true=None if true in (None, code) else page.classes[true],
            )
        )
    return rows


def _needs(radius: int, n_labeled: int) -> str:
    """Say how many labels it takes to turn a prediction."""
    if radius == 0:
        return "too close to call"
    return "no number of labels" if radius > n_labeled else plural(radius, "label")


def _headline_level(page: CertificatePage) -> Level:
    """Choose the budget to speak of first: the largest at which most predictions are certain."""
    sure = [level for level in page.levels if level.certified >= 0.5]
    return sure[-1] if sure else page.levels[0]


def _headline(page: CertificatePage, level: Level) -> list[tuple[str, bool]]:
    """Say the main thing; the second of each pair marks what is coloured."""
    labels = f"{count(level.flips)} of the {plural(page.n_labeled, 'label')}"
    if level.certified == 0:
        return [("No prediction", True), (f" is sure to stay once {labels} change.", False)]
    are = "are right and stay so" if page.used_truth else "stay"
    some = f"{percent(level.certified)} of the predictions"
    if level.certified == 1:
        some = "All predictions"
    return [(some, True), (f" {are}, whoever changes {labels}.", False)]


def _lead(page: CertificatePage, level: Level) -> str:
    """Set the bound beside the attack."""
    labels = plural(level.flips, "label")
    bound, tried = percent(level.collective), percent(level.attack)
    now = ""
    can = f"can turn more than {bound} of the predictions."
    does = f"The strongest attack that was tried turns {tried}."
    if page.used_truth:
        now = f"With the labels as they are, {percent(page.clean)} of the predictions are wrong. "
        can = f"can bring that above {bound}."
        does = f"The strongest attack that was tried brings it to {tried}."
    if level.attack == level.collective:
        does = "An attack was found that does just that: nothing worse exists."
    return f"{now}Nobody who changes at most {labels}, whichever they are, {can} {does}"


def _tiles(page: CertificatePage, level: Level) -> list[tuple[str, str]]:
    """Choose four figures."""
    labels = plural(level.flips, "changed label")
    middle = int(np.median(page.radius)) if page.radius.size else 0
    harm = "wrong" if page.used_truth else "changed"
    certain = "right for certain" if page.used_truth else "certain to stay"
    return [
        (percent(level.certified), f"of the predictions {certain} after {labels}"),
        (percent(level.collective), f"{harm} at most after {labels}: proved"),
        (percent(level.attack), f"{harm} after the strongest attack that was tried"),
        (
            "never" if middle > page.n_labeled else count(middle),
            "changed labels that it takes to turn the median prediction",
        ),
    ]


def _meaning(page: CertificatePage) -> list[tuple[str, str]]:
    """Explain the page in plain words."""
    largest = page.levels[-1]
    harm = "wrong" if page.used_truth else "different from now"
    between = (
        f"At {plural(largest.flips, 'changed label')} the strongest attack that was tried makes "
        f"{percent(largest.attack)} of the predictions {harm}; "
    )
    if largest.attack == largest.collective:
        between += "no attack exceeds that. Where curve and bound meet, the worst is known."
    else:
        between += (
            f"none can exceed {percent(largest.collective)}. The worst that can be done lies from "
            "the one to the other."
        )
    texts = [
        (
            "What is proved",
            "For every unlabelled point the page knows the least number of labels whose change "
            "turns its prediction. While fewer labels are changed it stays, whatever the attacker "
            "knows and however the labels are chosen. That is arithmetic on the influence of every "
            "label, not a series of trials.",
        ),
        (
            "The two bounds",
            "Point by point, every prediction has an attacker of its own, who may spend the whole "
            "budget on it. A real attacker changes one set of labels for all of them: the bound "
            "for all points together takes that into account, and is never the higher of the two.",
        ),
        ("What lies between", between),
        ("What it holds for", f"It holds for {page.holds_for}"),
    ]
    if page.undecided:
        texts.append(
            (
                "Too close to call",
                f"For {plural(page.undecided, 'prediction')} rounding leaves open whether one more "
                "label is needed than the page says. The lower number is shown, so that every "
                "bound stays true.",
            )
        )
    return texts
