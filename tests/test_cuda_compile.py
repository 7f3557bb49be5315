"""Every CUDA source compiles for the cards it is for; a card is not needed."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from cuda_on_cpu import KERNELS

SOURCES = sorted(path.stem for path in KERNELS.glob("*.cu"))
# The types that stand for a macro of a source.
MACROS = {"SCORE": ("float", "int"), "VALUE": ("unsigned char", "float", "double")}


def variants(name):
    """Return every way in which a source is compiled."""
    text = (KERNELS / f"{name}.cu").read_text(encoding="utf-8")
    found = [macro for macro in MACROS if re.search(rf"#ifndef {macro}\b", text)]
    assert len(found) <= 1
    return [(macro, kind) for macro in found for kind in MACROS[macro]] or [None]


def test_there_are_sources():
    assert {"row_shares", "column_totals", "flip_errors", "propagation_step"} <= set(SOURCES)


@pytest.mark.parametrize("card", ["sm_80", "sm_90"])
@pytest.mark.parametrize(
    ("name", "variant"), [(name, variant) for name in SOURCES for variant in variants(name)]
)
def test_nvcc_compiles_it_without_a_warning(tmp_path, name, variant, card):
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("no nvcc here: the CUDA sources are not compiled")
    command = [nvcc, "-std=c++17", f"-arch={card}", "-Werror", "all-warnings", "-cubin"]
    command += [f"-D{variant[0]}={variant[1]}"] if variant else []
    command += ["-o", str(tmp_path / "kernel.cubin"), str(KERNELS / f"{name}.cu")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr
