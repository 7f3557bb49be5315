"""Experiments: the settings that go together, by name."""

from gssl_poison.experiments.presets import PRESETS, Preset, preset_of

__all__ = ["PRESETS", "Preset", "preset_of"]
