"""Every CUDA source compiles for the cards it is for; a card is not needed."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
from unittest.mock import Mock

import pytest
from conftest import IN_CI
from cuda_on_cpu import KERNELS
from nvrtc import PACKAGE, Nvrtc, RefusedError, libraries

from gssl_poison.kernels import cuda

SOURCES = sorted(path.stem for path in KERNELS.glob("*.cu"))
# The types that stand for a macro of a source.
MACROS = {
    "ROWS": ("128", "1"),
    "SCORE": ("float", "int"),
    "VALUE": ("unsigned char", "float", "double"),
}
CARDS = ("sm_80", "sm_90")
# cupy adds these to ours, besides the card and folders of headers that no kernel includes.
OPTIONS_OF_CUPY = ("-ftz=true", "--device-as-default-execution-space")
# What a change of add_parts.cu must be refused for.
FAULTS = {
    "warning": ("double sum = 0.0;", "double sum = 0.0; int spare;", "never referenced"),
    "error": ("return;", "return", "expected"),
    "header of the host": ('extern "C"', '#include <vector>\nextern "C"', "cannot open"),
}


def variants(name):
    """Return every way in which a source is compiled."""
    text = (KERNELS / f"{name}.cu").read_text(encoding="utf-8")
    found = re.findall(r"#ifndef (\w+)", text)
    assert set(found) <= set(MACROS), f"{name}.cu: MACROS must say what stands for {found}"
    assert len(found) <= 1
    return [{macro: kind} for macro in found for kind in MACROS[macro]] or [{}]


def every_variant(test):
    """Run a test for every card, source and variant of it."""
    cases = [
        pytest.param(name, macros, id=" ".join([name, *macros.values()]))
        for name in SOURCES
        for macros in variants(name)
    ]
    test = pytest.mark.parametrize(("name", "macros"), cases)(test)
    return pytest.mark.parametrize("card", CARDS)(test)


@pytest.fixture
def handed_to_cupy(monkeypatch):
    """Give what the loader hands to cupy for a kernel: its source and the compiler's options."""
    cupy = Mock()
    monkeypatch.setattr(cuda, "_cupy", lambda: cupy)

    def load(name, **macros):
        cuda.CupyCard().launch(name, (1,), 1, (), **macros)
        given = cupy.RawModule.call_args.kwargs
        # With any other argument cupy might compile otherwise than these tests do.
        assert set(given) == {"code", "options"}
        return given["code"], given["options"]

    return load


@pytest.fixture(scope="module")
def nvrtc():
    """Give NVRTC, which the test extra brings where there is a wheel of it."""
    paths = libraries()
    if not paths:
        message = f"no {PACKAGE} here: NVRTC does not compile the CUDA sources"
        if IN_CI and (sys.platform, platform.machine()) == ("linux", "x86_64"):
            pytest.fail(message)
        pytest.skip(message)
    return Nvrtc(paths)


def test_there_are_sources():
    assert {"row_shares", "column_totals", "flip_errors", "propagation_step"} <= set(SOURCES)


@every_variant
def test_nvcc_compiles_it_without_a_warning(tmp_path, handed_to_cupy, name, macros, card):
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("no nvcc here: the CUDA sources are not compiled")
    _, options = handed_to_cupy(name, **macros)
    command = [nvcc, *options, f"-arch={card}", "-Werror", "all-warnings", "-cubin"]
    command += ["-o", str(tmp_path / "kernel.cubin"), str(KERNELS / f"{name}.cu")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr


@every_variant
def test_nvrtc_compiles_what_cupy_would_without_a_warning(
    nvrtc, handed_to_cupy, name, macros, card
):
    code, options = handed_to_cupy(name, **macros)
    cubin = nvrtc.cubin(f"{name}.cu", code, [*options, *OPTIONS_OF_CUPY, f"-arch={card}"])
    assert cubin.startswith(b"\x7fELF")
    assert name.encode() in cubin


@pytest.mark.parametrize("fault", FAULTS)
def test_nvrtc_refuses_a_source_with_a_fault(nvrtc, handed_to_cupy, fault):
    before, after, reason = FAULTS[fault]
    code, options = handed_to_cupy("add_parts")
    assert before in code
    with pytest.raises(RefusedError, match=reason):
        nvrtc.cubin("add_parts.cu", code.replace(before, after, 1), [*options, "-arch=sm_80"])


def test_nvrtc_refuses_an_option_that_it_does_not_know(nvrtc, handed_to_cupy):
    code, options = handed_to_cupy("add_parts")
    with pytest.raises(RefusedError, match="unrecognized option"):
        nvrtc.cubin("add_parts.cu", code, [*options, "-no-such-option"])
