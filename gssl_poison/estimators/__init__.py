"""scikit-learn estimators: label propagation, label spreading, and a step that mends labels."""

from __future__ import annotations

from gssl_poison.estimators.label_propagation import LabelPropagation
from gssl_poison.estimators.label_spreading import LabelSpreading
from gssl_poison.estimators.sanitized import LabelSanitizer

__all__ = ["LabelPropagation", "LabelSanitizer", "LabelSpreading"]
