"""The README's Python example runs, and its commands exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gssl_poison.cli import app

README = Path(__file__).parent.parent / "README.md"


def test_the_python_examples_run(capsys):
    text = README.read_text(encoding="utf-8")
    printed = []
    for example in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(example, str(README), "exec"), {})  # noqa: S102 - our own file
        printed.append(capsys.readouterr().out)
    ranked, solved, attacked, repaired = printed
    assert "effective 3 labelled points" in ranked
    most, total = map(float, solved.split())
    assert 1 <= most <= 325
    assert total == pytest.approx(325.0)
    errors, proven = attacked.splitlines()[:2]
    clean, poisoned = map(float, errors.split())
    assert clean < 0.02
    assert poisoned > 0.4
    assert proven.startswith("[0.1138")
    suspects, errors = repaired.splitlines()
    assert suspects.startswith("7 ")
    clean, poisoned, after = eval(errors)  # noqa: S307 - printed by our own file
    assert poisoned > clean + 0.1
    assert after < clean + 0.01


def test_the_named_command_runs(data_dir):
    named = re.findall(r"`gssl-poison (rank mnist-1-7 [^`]*)`", README.read_text("utf-8"))
    (command,) = set(named)
    result = CliRunner().invoke(app, command.split())
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    "name",
    [
        "docs/report.png",
        "docs/numerics.md",
        "docs/attacks.md",
        "docs/defenses.md",
        "docs/reproduction.md",
    ],
)
def test_what_it_links_to_is_there(name):
    assert name in README.read_text(encoding="utf-8")
    assert (README.parent / name).is_file()
