"""Label poisoning in graph-based semi-supervised learning: rank, attack, certify, repair."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gssl_poison import attacks, defenses, experiments
    from gssl_poison.bandwidth import Bandwidth, choose_gamma
    from gssl_poison.certification import Certificate, certify
    from gssl_poison.datasets import Dataset, list_datasets, load_dataset, load_test_set
    from gssl_poison.diagnosis import Diagnosis, diagnose
    from gssl_poison.distributed import measure_influence_dask
    from gssl_poison.estimators import LabelPropagation, LabelSanitizer, LabelSpreading
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
    from gssl_poison.report import write_audit, write_report, write_reproduction
    from gssl_poison.review import (
        Audit,
        apply_answers,
        audit,
        make_queue,
        read_answers,
        write_queue,
    )
    from gssl_poison.sparse_graph import SparseGraph

__version__ = "0.1.0"

# Where each public name lives. Names are imported on first use: the command line answers --help
# without numpy, and a script that only ranks never pays for the report.
_HOME = {
    "Audit": "review",
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
    "LabelSanitizer": "estimators",
    "LabelSpreading": "estimators",
    "NumericalError": "exceptions",
    "Poison": "problem",
    "Problem": "problem",
    "Propagation": "propagation",
    "RBFGraph": "graph",
    "SparseGraph": "sparse_graph",
    "Spreading": "propagation",
    "UnreachedError": "exceptions",
    "apply_answers": "review",
    "audit": "review",
    "certify": "certification",
    "choose_gamma": "bandwidth",
    "diagnose": "diagnosis",
    "error_rate": "metrics",
    "flip_errors": "metrics",
    "knn_graph": "knn",
    "list_datasets": "datasets",
    "load_dataset": "datasets",
    "load_test_set": "datasets",
    "major_influence_range": "influence",
    "make_queue": "review",
    "measure_influence": "influence",
    "measure_influence_dask": "distributed",
    "parse_propagator": "propagation",
    "rank": "ranking",
    "read_answers": "review",
    "read_input": "readers",
    "total_influence": "influence",
    "write_audit": "report",
    "write_queue": "review",
    "write_report": "report",
    "write_reproduction": "report",
}

# Sub-packages that are part of the public face: gssl_poison.attacks.Greedy.
_PACKAGES = ("attacks", "defenses", "experiments")

__all__ = [
    "Audit",
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
    "LabelSanitizer",
    "LabelSpreading",
    "NumericalError",
    "Poison",
    "Problem",
    "Propagation",
    "RBFGraph",
    "SparseGraph",
    "Spreading",
    "UnreachedError",
    "apply_answers",
    "attacks",
    "audit",
    "certify",
    "choose_gamma",
    "defenses",
    "diagnose",
    "error_rate",
    "experiments",
    "flip_errors",
    "knn_graph",
    "list_datasets",
    "load_dataset",
    "load_test_set",
    "major_influence_range",
    "make_queue",
    "measure_influence",
    "measure_influence_dask",
    "parse_propagator",
    "rank",
    "read_answers",
    "read_input",
    "total_influence",
    "write_audit",
    "write_queue",
    "write_report",
    "write_reproduction",
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
