"""`--device cuda` on every command: with a card, whose kernels run here, and without one."""

from __future__ import annotations

import json
import shutil
import sys

import pytest
from cuda_on_cpu import ShimCard
from typer.testing import CliRunner

import gssl_poison as gp
from gssl_poison.cli import app
from gssl_poison.kernels import cuda

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ here")

DIGITS = ("digits-1-7", "--labeled", "0.12")
COMMANDS = {
    "rank": ("rank", *DIGITS, "--gamma", "0.01"),
    "rank by harmonic": ("rank", *DIGITS, "--gamma", "0.01", "--influence", "harmonic"),
    "attack": ("attack", *DIGITS, "--method", "greedy", "--budget", "4", "--victim", "harmonic"),
    "certify": ("certify", *DIGITS, "--budgets", "2", "--victim", "direct"),
    "audit": ("audit", *DIGITS),
}
# What two runs have of their own.
OWN = ("seconds", "device", "device_note", "versions", "route", "rechecked", "bound", "total")


@pytest.fixture(scope="module")
def card(kernel_folder):
    return ShimCard(kernel_folder)


def run(*arguments):
    return CliRunner().invoke(app, [str(word) for word in arguments])


def agree(there, here):
    """Compare all that a run does not have of its own: floats to what totals are good for."""
    if isinstance(here, dict):
        assert there.keys() == here.keys()
        for name in here:
            if not name.startswith(OWN):
                agree(there[name], here[name])
    elif isinstance(here, list):
        assert len(there) == len(here)
        for one, other in zip(there, here, strict=True):
            agree(one, other)
    elif isinstance(here, float):
        assert there == pytest.approx(here, rel=1e-5)
    else:
        assert there == here


@pytest.mark.parametrize("name", COMMANDS)
def test_the_card_answers_as_the_cpu(name, card, monkeypatch):
    monkeypatch.setattr(cuda, "card", lambda: card)
    card.launched.clear()
    found, expected = (run(*COMMANDS[name], "--device", d, "--json") for d in ("cuda", "cpu"))
    assert found.exit_code == expected.exit_code == 0, found.output
    there, here = (json.loads(done.stdout) for done in (found, expected))
    assert "cuda" in json.dumps(there)
    agree(there, here)
    assert card.launched


@pytest.mark.parametrize("name", [*COMMANDS, "reproduce"])
def test_without_a_card_there_is_one_clear_sentence(name, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "cupy", None)
    cuda.card.cache_clear()
    words = COMMANDS.get(name, ("reproduce", "rq1", "--datasets", "digits-1-7"))
    out = ("--out", tmp_path / "out") if name == "reproduce" else ()
    done = run(*words, *out, "--device", "cuda")
    assert done.exit_code != 0
    assert "device='cuda' needs cupy, which is not installed; pip install" in done.stderr
    assert "Traceback" not in done.stderr
    assert not done.stdout
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["rank", "attack", "certify"])
def test_auto_says_that_it_fell_back(name):
    done = run(*COMMANDS[name], "--json")
    assert done.exit_code == 0
    assert "device 'auto' fell back to the CPU" in done.stdout


def test_sparse_points_have_no_kernel(card, monkeypatch):
    from scipy.sparse import random_array

    monkeypatch.setattr(cuda, "card", lambda: card)
    X, y = random_array((30, 8), density=0.4, rng=0).tocsr(), [0, 1] * 5 + [None] * 20
    for call in (gp.rank, gp.audit):
        with pytest.raises(gp.exceptions.DeviceError, match="has kernels for what is read from"):
            call(X, y, device="cuda")
