"""The suspects as cards: the row, what the other labels say of it, and who they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gssl_poison.datasets.pictures import thumbnails

from ._features import Telling, Usual, feature_values

if TYPE_CHECKING:
    from gssl_poison.datasets import Dataset

    from ._audit_facts import Findings

MAX_CARDS = 12
MAX_IMAGES = 200  # of the table

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Voice:
    """One of the other labels that are heard at a point, and its share of what is said there."""

    point: int
    label: str
    code: int
    share: float
    image: str
    features: tuple[float, ...]


@dataclass(frozen=True)
class Card:
    """One suspect."""

    place: int  # among the suspects, from 1
    rank: int  # among all labels, from 1
    listed: bool  # whether the table has its row
    point: int
    label: str
    code: int
    says: str
    says_code: int
    instead: str
    against: float
    probability: float
    changes: int
    mir: int
    source: str | None
    true: str | None
    image: str
    features: tuple[float, ...]
    voices: tuple[Voice, ...]
    telling: tuple[Telling, ...]

    @property
    def torn(self) -> bool:
        """Whether most of what the others say disagrees, without agreeing on another class."""
        return self.says_code == self.code and self.against > 0.5


def read_images(findings: Findings, dataset: Dataset, extra: Integers) -> dict[int, str]:
    """Encode the rows a page shows as pictures, on one scale: cards, voices, `extra` and table."""
    shown = findings.suspects[:MAX_CARDS]
    voices = findings.audit.voices[shown].ravel()
    positions = np.concatenate(
        [shown, voices[voices >= 0], extra, findings.order[:MAX_IMAGES]]
    ).astype(np.int64)
    rows = np.unique(findings.point[positions])
    images = thumbnails(dataset, rows)
    return dict(zip(rows.tolist(), images, strict=True)) if images else {}


def suspect_cards(
    findings: Findings, dataset: Dataset, images: dict[int, str], max_rows: int
) -> list[Card]:
    """Put the first suspects together, most worth checking first."""
    audit, point = findings.audit, findings.point
    shown = findings.suspects[:MAX_CARDS]
    usual = Usual(dataset, point, findings.code)
    own = feature_values(dataset, point[shown])
    narrow = any(own)
    cards = []
    for k, position in enumerate(shown.tolist()):
        code, says = int(findings.code[position]), int(audit.said[position])
        row, rank = int(point[position]), int(findings.rank[position])
        cards.append(
            Card(
                place=k + 1,
                rank=rank,
                listed=rank <= max_rows,
                point=row,
                label=findings.classes[code],
                code=code,
                says=findings.classes[says],
                says_code=says,
                instead=findings.classes[int(audit.instead[position])],
                against=float(audit.contradiction[position]),
                probability=float(audit.probability[position]),
                changes=int(audit.changes[position]),
                mir=int(audit.mir[position]),
                source=None if audit.provenance is None else audit.provenance[position],
                true=None if findings.truth is None else findings.truth[position],
                image=images.get(row, ""),
                features=own[k],
                voices=_voices(findings, dataset, images, position),
                telling=() if images or narrow else usual.telling(row, code, says),
            )
        )
    return cards


def _voices(
    findings: Findings, dataset: Dataset, images: dict[int, str], position: int
) -> tuple[Voice, ...]:
    """List the loudest of the other labels at a labelled point."""
    audit = findings.audit
    heard = audit.voices[position] >= 0
    positions = audit.voices[position][heard]
    rows = findings.point[positions]
    features = feature_values(dataset, rows)
    return tuple(
        Voice(
            point=row,
            label=findings.label(other),
            code=int(findings.code[other]),
            share=share,
            image=images.get(row, ""),
            features=features[k],
        )
        for k, (other, row, share) in enumerate(
            zip(
                positions.tolist(),
                rows.tolist(),
                audit.voice_shares[position][heard].tolist(),
                strict=True,
            )
        )
    )
