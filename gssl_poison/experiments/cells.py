"""A cell: the frozen description of one figure of the experiments, and the key it is kept under."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from gssl_poison._arguments import check_choice
from gssl_poison.exceptions import InputError

KINDS = ("correlation", "error", "seconds")
VICTIMS = ("propagation", "spreading", "direct")
ATTACKS = ("none", "mir", "greedy", "probabilistic", "random")
REPAIRS = ("none", "relabel", "label-more")
MODELS = ("transductive", "forest", "mlp")

# Raised whenever the same cell is measured in another way: it is part of every key.
RULES = 2
_HEX = 32


@dataclass(frozen=True, order=True)
class Cell:
    """One figure: what is measured, on which labels, of which victim, after which attack.

    Attributes
    ----------
    kind : {"correlation", "error", "seconds"}
        MIR against the error after each single flip (RQ1), an error (RQ2 to RQ4), or the time an
        attack takes (RQ3).
    dataset : str
    preset : {"corrected", "replication"}
    labeled : float
        Part of the points that have a label.
    seed : int
        Of the choice of labels, and of whatever else draws.
    victim : {"propagation", "spreading", "direct"}
        A preset says which propagator that is.
    attack : {"", "none", "mir", "greedy", "probabilistic", "random"}
        Empty for a correlation.
    budget : float
        Part of the labels that is flipped; for "seconds" a number of flips.
    repair : {"", "none", "relabel", "label-more"}
        Empty but for an error.
    model : {"", "transductive", "forest", "mlp"}
        What errs: the victim on the unlabelled points, or a model trained on all labels, known and
        inferred, on points kept for testing. Empty but for an error.

    Examples
    --------
    >>> cell = Cell("correlation", "digits-1-7", "corrected", 0.1, 2020, "propagation")
    >>> cell.group
    ('digits-1-7', 'corrected', 2020)
    """

    kind: str
    dataset: str
    preset: str
    labeled: float
    seed: int
    victim: str
    attack: str = ""
    budget: float = 0.0
    repair: str = ""
    model: str = ""

    def __post_init__(self) -> None:
        """Refuse what no cell is."""
        check_choice("kind", self.kind, KINDS)
        check_choice("victim", self.victim, VICTIMS)
        error = self.kind == "error"
        attacks = {"correlation": ("",), "error": ATTACKS, "seconds": ATTACKS[1:]}
        check_choice("attack", self.attack, attacks[self.kind])
        check_choice("repair", self.repair, REPAIRS if error else ("",))
        check_choice("model", self.model, MODELS if error else ("",))
        if (self.attack in ("", "none")) != (self.budget == 0.0):
            raise InputError(
                f"a cell with attack={self.attack!r} and budget={self.budget} contradicts itself: "
                "no attack has no budget, and an attack has one."
            )

    @property
    def group(self) -> tuple[str, str, int]:
        """What cells share that are measured on the same matrices."""
        return self.dataset, self.preset, self.seed

    @property
    def inferred_by(self) -> Cell:
        """The transductive cell whose inferred labels a model is trained on; itself for others."""
        return replace(self, model="transductive") if self.kind == "error" else self


def key_of(cell: Cell, settings: Mapping[str, Any]) -> str:
    """Return what a cell is kept under: a hash of itself and of all that changes its figures.

    Parameters
    ----------
    cell : Cell
    settings : mapping
        What JSON can hold: gamma, propagators, models, fingerprint of the data, versions, device.

    Returns
    -------
    str
        32 hexadecimal digits of SHA-256.

    Examples
    --------
    >>> cell = Cell("correlation", "digits-1-7", "corrected", 0.1, 2020, "propagation")
    >>> key_of(cell, {"gamma": 5.0}) == key_of(cell, {"gamma": 5.0})
    True
    >>> key_of(cell, {"gamma": 5.0}) == key_of(cell, {"gamma": 20.0})
    False
    """
    content = {"rules": RULES, "cell": asdict(cell), "settings": dict(settings)}
    return hashlib.sha256(canonical(content).encode()).hexdigest()[:_HEX]


def canonical(content: Any) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces, NaN refused.

    Examples
    --------
    >>> canonical({"b": 1.5, "a": [True, None]})
    '{"a":[true,null],"b":1.5}'
    """
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
