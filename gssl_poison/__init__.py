"""Label poisoning in graph-based semi-supervised learning: rank, attack, certify, repair."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gssl_poison import attacks
    from gssl_poison.bandwidth import Bandwidth, choose_gamma
    from gssl_poison.certification import Certificate, certify
    from gssl_poison.datasets import Dataset, list_datasets, load_dataset
    from gssl_poison.diagnosis import Diagnosis, diagnose
    from gssl_poison.estimators import LabelPropagation, LabelSpreading
    from gssl_poison.exceptions import (
        ConvergenceWarning,
        DatasetNotFoundError,
        DeviceError,
        GsslPoisonError,
        InputError,
        InputTypeError,
        NumericalError,
        UnreachedError,
    )
    from gssl_poison.graph import DenseGraph, RBFGraph
    from gssl_poison.influence import (
        Influence,
        major_influence_range,
        measure_influence,
        total_influence,
    )
    from gssl_poison.knn import knn_graph
    from gssl_poison.metrics import error_rate, flip_errors
    from gssl_poison.problem import Poison, Problem
    from gssl_poison.propagation import (
        Direct,
        Fitted,
        Harmonic,
        Propagation,
        Spreading,
        parse_propagator,
    )
    from gssl_poison.ranking import rank
    from gssl_poison.readers import read_input
    from gssl_poison.report import write_report
    from gssl_poison.sparse_graph import SparseGraph

__version__ = "0.1.0"

# Where each public name lives. Names are imported on first use: the command line answers --help
# without numpy, and a script that only ranks never pays for the report.
_HOME = {
    "Bandwidth": "bandwidth",
    "Certificate": "certification",
    "ConvergenceWarning": "exceptions",
    "Dataset": "datasets",
    "DatasetNotFoundError": "exceptions",
    "DenseGraph": "graph",
    "DeviceError": "exceptions",
    "Diagnosis": "diagnosis",
    "Direct": "propagation",
    "Fitted": "propagation",
    "GsslPoisonError": "exceptions",
    "Harmonic": "propagation",
    "Influence": "influence",
    "InputError": "exceptions",
    "InputTypeError": "exceptions",
    "LabelPropagation": "estimators",
    "LabelSpreading": "estimators",
    "NumericalError": "exceptions",
    "Poison": "problem",
    "Problem": "problem",
    "Propagation": "propagation",
    "RBFGraph": "graph",
    "SparseGraph": "sparse_graph",
    "Spreading": "propagation",
    "UnreachedError": "exceptions",
    "certify": "certification",
    "choose_gamma": "bandwidth",
    "diagnose": "diagnosis",
    "error_rate": "metrics",
    "flip_errors": "metrics",
    "knn_graph": "knn",
    "list_datasets": "datasets",
    "load_dataset": "datasets",
    "major_influence_range": "influence",
    "measure_influence": "influence",
    "parse_propagator": "propagation",
    "rank": "ranking",
    "read_input": "readers",
    "total_influence": "influence",
    "write_report": "report",
}

# Sub-packages that are part of the public face: gssl_poison.attacks.Greedy.
_PACKAGES = ("attacks",)

__all__ = [
    "Bandwidth",
    "Certificate",
    "ConvergenceWarning",
    "Dataset",
    "DatasetNotFoundError",
    "DenseGraph",
    "DeviceError",
    "Diagnosis",
    "Direct",
    "Fitted",
    "GsslPoisonError",
    "Harmonic",
    "Influence",
    "InputError",
    "InputTypeError",
    "LabelPropagation",
    "LabelSpreading",
    "NumericalError",
    "Poison",
    "Problem",
    "Propagation",
    "RBFGraph",
    "SparseGraph",
    "Spreading",
    "UnreachedError",
    "attacks",
    "certify",
    "choose_gamma",
    "diagnose",
    "error_rate",
    "flip_errors",
    "knn_graph",
    "list_datasets",
    "load_dataset",
    "major_influence_range",
    "measure_influence",
    "parse_propagator",
    "rank",
    "read_input",
    "total_influence",
    "write_report",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name in _PACKAGES:
        return import_module(f"gssl_poison.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'gssl_poison' has no attribute {name!r}")
    return getattr(import_module(f"gssl_poison.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted([*globals(), *__all__])
