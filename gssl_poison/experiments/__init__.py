"""Experiments: the paper's research questions as cells, run, kept, and set beside its tables."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gssl_poison.experiments.presets import PRESETS, Preset, preset_of

if TYPE_CHECKING:
    from gssl_poison.experiments.cells import Cell
    from gssl_poison.experiments.questions import QUESTIONS, Plan
    from gssl_poison.experiments.runner import Reproduction, reproduce
    from gssl_poison.experiments.watching import Progress

# Imported on first use: an attack wants the presets, and none of what runs experiments.
_HOME = {
    "QUESTIONS": "questions",
    "Cell": "cells",
    "Plan": "questions",
    "Progress": "watching",
    "Reproduction": "runner",
    "reproduce": "runner",
}

__all__ = [
    "PRESETS",
    "QUESTIONS",
    "Cell",
    "Plan",
    "Preset",
    "Progress",
    "Reproduction",
    "preset_of",
    "reproduce",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in _HOME:
        raise AttributeError(f"module 'gssl_poison.experiments' has no attribute {name!r}")
    return getattr(import_module(f"gssl_poison.experiments.{_HOME[name]}"), name)
