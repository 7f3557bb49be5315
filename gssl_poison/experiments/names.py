"""What people call the parts of a cell."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from gssl_poison.experiments.studies import STUDIES

VICTIM_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "propagation": "label propagation",
        "spreading": "label spreading",
        "direct": "one-step propagation",
    }
)
ATTACK_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "none": "no attack",
        "mir": "MIR",
        "greedy": "greedy",
        "probabilistic": "probabilistic",
        "random": "random flips",
    }
)
MODEL_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "transductive": "transductive",
        "forest": "random forest",
        "mlp": "multilayer perceptron",
    }
)


def title_of(dataset: str) -> str:
    """Return what a data set is called in a report; one that has no title keeps its name.

    Examples
    --------
    >>> title_of("cifar10-cat-ship")
    'CIFAR-10 cat/ship'
    >>> title_of("my-own")
    'my-own'
    """
    return STUDIES[dataset].title if dataset in STUDIES else dataset


def order_of(dataset: str) -> tuple[int, str]:
    """Return the place of a data set among others: that of the studies, then by name.

    Examples
    --------
    >>> sorted(["zoo", "rcv1", "mnist-1-7"], key=order_of)
    ['mnist-1-7', 'rcv1', 'zoo']
    """
    names = list(STUDIES)
    return (names.index(dataset) if dataset in STUDIES else len(names), dataset)


def part_text(part: float) -> str:
    """Write a part of 1 in per cent, with a space that does not break.

    Examples
    --------
    >>> part_text(0.125).replace(chr(160), " ")
    '12.5 %'
    """
    return f"{100 * part:.6g}\u00a0%"


def signed(value: float, decimals: int = 2) -> str:
    """Write a difference with its sign; one that rounds to zero has none.

    Examples
    --------
    >>> signed(0.123), signed(-0.001)
    ('+0.12', '0.00')
    """
    text = f"{value:+.{decimals}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "\u2212")
