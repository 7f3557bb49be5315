"""Label poisoning in graph-based semi-supervised learning: rank, attack, certify, repair."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gssl_poison.bandwidth import Bandwidth, choose_gamma
    from gssl_poison.datasets import Dataset, list_datasets, load_dataset
    from gssl_poison.graph import RBFGraph
    from gssl_poison.influence import (
        Influence,
        major_influence_range,
        measure_influence,
        total_influence,
    )
    from gssl_poison.propagation import Direct
    from gssl_poison.ranking import rank
    from gssl_poison.readers import read_input
    from gssl_poison.report import write_report

__version__ = "0.1.0"

# Where each public name lives. Names are imported on first use: the command line answers --help
# without numpy, and a script that only ranks never pays for the report.
_HOME = {
    "Bandwidth": "bandwidth",
    "Dataset": "datasets",
    "Direct": "propagation",
    "Influence": "influence",
    "RBFGraph": "graph",
    "choose_gamma": "bandwidth",
    "list_datasets": "datasets",
    "load_dataset": "datasets",
    "major_influence_range": "influence",
    "measure_influence": "influence",
    "rank": "ranking",
    "read_input": "readers",
    "total_influence": "influence",
    "write_report": "report",
}

__all__ = [
    "Bandwidth",
    "Dataset",
    "Direct",
    "Influence",
    "RBFGraph",
    "choose_gamma",
    "list_datasets",
    "load_dataset",
    "major_influence_range",
    "measure_influence",
    "rank",
    "read_input",
    "total_influence",
    "write_report",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in _HOME:
        raise AttributeError(f"module 'gssl_poison' has no attribute {name!r}")
    return getattr(import_module(f"gssl_poison.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted([*globals(), *__all__])
