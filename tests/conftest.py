"""Fixtures shared by all tests: the data folder, a random generator, a browser.

What a machine lacks is skipped with a reason, never in silence; where ``CI`` is set a missing
browser fails instead, because there it is part of what is to be shown.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

# Before hypothesis is asked for its folder: the default one would lie in the checkout.
os.environ.setdefault(
    "HYPOTHESIS_STORAGE_DIRECTORY", str(Path(tempfile.gettempdir()) / "gssl-poison-hypothesis")
)

import hypothesis
import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from selenium.webdriver import Chrome

IN_CI = os.environ.get("CI", "").lower() not in {"", "0", "false"}
BROWSERS = ("chromium", "chromium-browser", "google-chrome")

# No deadline: the first example may compile a kernel. In CI the examples are the same every time.
hypothesis.settings.register_profile("local", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("ci" if IN_CI else "local")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by the fixture they use, so that ``-m "not browser"`` needs no care."""
    for item in items:
        for fixture, marker in (("data_dir", "data"), ("browser", "browser")):
            if fixture in getattr(item, "fixturenames", ()):
                item.add_marker(marker)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Give the folder of the real data."""
    folder = os.environ.get("GSSL_POISON_DATA")
    if not folder:
        pytest.skip("GSSL_POISON_DATA is not set: real-data tests need the data folder")
    path = Path(folder)
    if not path.is_dir():
        pytest.fail(f"GSSL_POISON_DATA is {folder!r}, which is not a folder: correct or unset it")
    return path


@pytest.fixture
def rng() -> np.random.Generator:
    """Give a generator that starts the same in every test."""
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def kernel_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of CUDA kernels compiled for the CPU, each of them once."""
    return tmp_path_factory.mktemp("kernels")


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """Give a headless chromium that reaches no network and logs its console.

    ``browser.get_log("browser")`` returns the console entries since the last call.
    """
    binary = next(filter(None, map(shutil.which, BROWSERS)), None)
    driver_path = shutil.which("chromedriver")
    if binary is None or driver_path is None:
        message = "no chromium with chromedriver on PATH: report tests need a browser"
        if IN_CI:
            pytest.fail(message)
        pytest.skip(message)

    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-quic",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        # A report needs no network: any name that is looked up is a fault and gets no answer.
        "--host-resolver-rules=MAP * ~NOTFOUND",
        "--window-size=1280,1000",
        f"--user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    # An explicit driver: selenium's own manager would go looking for one on the network.
    driver = webdriver.Chrome(
        options=options, service=webdriver.ChromeService(executable_path=driver_path)
    )
    try:
        yield driver
    finally:
        driver.quit()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Report how much of the proven rounding bounds the observed errors use up."""
    ratios = [
        value
        for report in terminalreporter.stats.get("passed", [])
        for name, value in getattr(report, "user_properties", [])
        if name == "largest error over bound"
    ]
    if ratios:
        terminalreporter.write_line(
            f"largest observed rounding error over its bound: {max(ratios):.3f} "
            f"({len(ratios)} cases; below 1 everywhere)"
        )
