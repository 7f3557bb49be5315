"""scikit-learn estimators: its label propagation and label spreading, right at any gamma."""

from __future__ import annotations

from gssl_poison.estimators.label_propagation import LabelPropagation
from gssl_poison.estimators.label_spreading import LabelSpreading

__all__ = ["LabelPropagation", "LabelSpreading"]
