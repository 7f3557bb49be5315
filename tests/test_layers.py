"""Imports go down the layers only, and importing the package stays cheap."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

import gssl_poison

if TYPE_CHECKING:
    from collections.abc import Iterator

# Lowest first. A layer is a tuple of groups: modules of one group may import one another, groups of
# one layer may not. A sub-package counts as one module. The package root is the public face: it may
# import everything, and from inside nothing is taken from it but `__version__`.
LAYERS: tuple[tuple[frozenset[str], ...], ...] = (
    (frozenset({"exceptions"}),),
    (frozenset({"_arguments", "_arrays", "_atomic", "labels"}),),
    (frozenset({"sparse"}),),
    (frozenset({"kernels", "linalg"}),),
    (frozenset({"bandwidth", "elimination"}),),
    (frozenset({"graph"}),),
    (frozenset({"sparse_graph"}),),
    (frozenset({"neighbours"}),),
    (frozenset({"knn"}),),
    (frozenset({"propagation"}),),
    (frozenset({"problem", "influence", "metrics", "diagnosis", "flip_program"}),),
    (frozenset({"attacks"}), frozenset({"defenses"}), frozenset({"certification"})),
    (frozenset({"ranking", "estimators"}), frozenset({"distributed"})),
    (frozenset({"readers", "datasets"}),),
    (frozenset({"review"}),),
    (frozenset({"experiments"}),),
    (frozenset({"report"}),),
    (
        frozenset(
            {
                "_attack_commands",
                "_attack_console",
                "_attacking",
                "_audit_commands",
                "_audit_console",
                "_auditing",
                "_certifying",
                "_commands",
                "_console",
                "_inputs",
                "_queue_commands",
                "_queue_console",
                "_reproduce_commands",
                "_reproduce_console",
                "cli",
            }
        ),
    ),
    (frozenset({"__init__", "__main__"}),),
)
ROOT = "__init__"
# (layer, group) of every module
PLACES = {
    module: (level, group)
    for level, layer in enumerate(LAYERS)
    for group, modules in enumerate(layer)
    for module in modules
}
PACKAGE = Path(gssl_poison.__file__).parent

# Optional or slow to load: none may come with `import gssl_poison` or `gssl-poison --help`.
HEAVY = ("PIL", "cupy", "dask", "jinja2", "numba", "pandas", "pyarrow", "sklearn", "torch")
# Not even with `gssl_poison.rank`: numba is loaded when a CPU kernel runs, the rest is optional.
NEVER_AT_IMPORT = ("cupy", "dask", "numba", "torch")


class Import(NamedTuple):
    """One import of a module of the package, `target` being its name below the root."""

    target: str
    line: int


def _module_of(dotted: str, package: Path, names: list[str], line: int) -> Iterator[Import]:
    """Resolve `from dotted import names` (or `import dotted`: no names) to modules of `package`."""
    root, _, below = dotted.partition(".")
    if root != package.name:
        return
    if below:
        yield Import(below.partition(".")[0], line)
        return
    for name in names or [ROOT]:
        if (package / name).is_dir() or (package / f"{name}.py").is_file():
            yield Import(name, line)
        elif name != "__version__":
            yield Import(ROOT, line)


def imports_of(path: Path, package: Path) -> Iterator[Import]:
    """Find every import of the package in one file, at any depth, `if TYPE_CHECKING` included."""
    parts = (package.name, *path.relative_to(package).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), filename=str(path))):
        match node:
            case ast.Import(names=aliases):
                for alias in aliases:
                    yield from _module_of(alias.name, package, [], node.lineno)
            case ast.ImportFrom(module=module, names=aliases, level=level):
                base = parts[: len(parts) - level + 1] if level else ()
                dotted = ".".join((*base, *([module] if module else [])))
                yield from _module_of(dotted, package, [a.name for a in aliases], node.lineno)
            case ast.Call(
                func=ast.Name(id="import_module" | "__import__")
                | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(dotted)), *_],
            ):
                # Relative names are taken as relative to the root, the only use that makes sense.
                full = package.name + "." + dotted.lstrip(".") if dotted[0] == "." else dotted
                yield from _module_of(full, package, [], node.lineno)


def violations(package: Path) -> list[str]:
    """List what breaks the layers, one readable line each."""
    found = []
    for path in sorted(package.rglob("*.py")):
        inside = path.relative_to(package)
        importer = inside.parts[0].removesuffix(".py")
        where = f"{package.name}/{inside.as_posix()}"
        if importer not in PLACES:
            found.append(
                f"{where}:1: module {importer!r} is in no layer: give it a place in LAYERS"
            )
            continue
        own = PLACES[importer]
        for target, line in imports_of(path, package):
            if target not in PLACES:
                found.append(f"{where}:{line}: imports {target!r}, which is in no layer")
                continue
            other = PLACES[target]
            if target != importer and other != own and other[0] >= own[0]:
                kind = "beside" if other[0] == own[0] else "above"
                found.append(
                    f"{where}:{line}: {importer!r} imports {target!r}, {kind} it: "
                    "imports go down the layers only"
                )
    return found


def test_no_module_has_two_places() -> None:
    modules = [module for layer in LAYERS for group in layer for module in group]
    assert len(modules) == len(set(modules))


def test_imports_go_down_only() -> None:
    found = violations(PACKAGE)
    assert not found, "\n" + "\n".join(found)


def test_the_package_is_looked_at() -> None:
    # Guards against a checker that looks nowhere: the files and the imports between them are seen.
    targets = {i.target for path in PACKAGE.rglob("*.py") for i in imports_of(path, PACKAGE)}
    assert "exceptions" in targets


PLANTED = {
    "up, at top level": ("graph.py", "from pkg.ranking import rank", "'ranking', above it"),
    "up, plain import": ("graph.py", "import pkg.cli", "'cli', above it"),
    "up, from the root": ("graph.py", "from pkg import cli", "'cli', above it"),
    "up, in a function": ("graph.py", "def f():\n    import pkg.report", ":2: 'graph' imports"),
    "up, for types only": (
        "graph.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pkg.cli import main",
        ":3: 'graph' imports 'cli', above it",
    ),
    "up, relative": ("graph.py", "from .cli import main", "'cli', above it"),
    "up, relative bare": ("graph.py", "from . import cli", "'cli', above it"),
    "up, out of a sub-package": ("kernels/cpu.py", "from ..graph import g", "'graph', above it"),
    "up, by import_module": (
        "graph.py",
        "import importlib\nimportlib.import_module('pkg.cli')",
        ":2: 'graph' imports 'cli'",
    ),
    "up, by relative import_module": (
        "graph.py",
        "from importlib import import_module\nimport_module('.cli', 'pkg')",
        ":2: 'graph' imports 'cli'",
    ),
    "beside": ("attacks/greedy.py", "from pkg.defenses import repair", "'defenses', beside it"),
    "the root": ("graph.py", "from pkg import rank", "'__init__', above it"),
    "the root, plain": ("graph.py", "import pkg", "'__init__', above it"),
    "unknown importer": ("helpers.py", "", "'helpers' is in no layer"),
    "unknown target": ("graph.py", "from pkg.helpers import f", "'helpers', which is in no layer"),
}


def _plant(folder: Path, file: str, code: str) -> Path:
    package = folder / "pkg"
    for name in ("__init__.py", "cli.py", file):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).touch()
    (package / file).write_text(code, encoding="utf-8")
    return package


@pytest.mark.parametrize(("file", "code", "message"), PLANTED.values(), ids=PLANTED)
def test_a_planted_violation_is_caught(tmp_path: Path, file: str, code: str, message: str) -> None:
    found = violations(_plant(tmp_path, file, code))
    assert len(found) == 1
    assert found[0].startswith(f"pkg/{file}:")
    assert message in found[0]


@pytest.mark.parametrize(
    ("file", "code"),
    [
        ("cli.py", "from pkg.graph import RBFGraph\nfrom . import exceptions"),
        ("readers.py", "from pkg.datasets import Dataset"),
        ("kernels/cpu.py", "from .cuda import f\nfrom pkg.exceptions import InputError"),
        ("attacks/greedy.py", "from pkg.attacks.common import f"),
        ("report.py", "from pkg import __version__"),
        ("graph.py", "import numpy\nimport pkgother.cli\nfrom pkg_two import cli"),
        ("__init__.py", "from pkg.cli import main"),
    ],
)
def test_what_is_allowed_passes(tmp_path: Path, file: str, code: str) -> None:
    package = _plant(tmp_path, file, code)
    (package / "exceptions.py").touch()
    assert violations(package) == []


def _loaded_after(code: str, names: tuple[str, ...], folder: Path) -> set[str]:
    """Run code in a fresh interpreter and say which of the named libraries it loaded."""
    script = f"{code}\nimport sys\nprint('loaded:', *sorted(set(sys.modules) & set({names!r})))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rpartition("loaded:")[2].split())


def test_the_probe_sees_a_loaded_library(tmp_path: Path) -> None:
    assert _loaded_after("import jinja2", HEAVY, tmp_path) == {"jinja2"}


def test_importing_the_package_loads_nothing_heavy(tmp_path: Path) -> None:
    assert _loaded_after("import gssl_poison", HEAVY, tmp_path) == set()


def test_rank_loads_no_optional_library(tmp_path: Path) -> None:
    assert _loaded_after("from gssl_poison import rank", NEVER_AT_IMPORT, tmp_path) == set()


HELP = """
import sys
sys.argv = ["gssl-poison", "--help"]
from gssl_poison.cli import main
try:
    status = main()
except SystemExit as end:
    status = end.code
assert not status, status
"""


def test_help_loads_nothing_heavy(tmp_path: Path) -> None:
    assert _loaded_after(HELP, HEAVY, tmp_path) == set()
