"""What all pages share: their environment, style and script, and the file they are written to."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path

from gssl_poison._atomic import atomic_write

from ._format import count, number, percent, plural, short
from ._map import class_path

N_COLORS = 8


def render_page(template: str, **values: object) -> str:
    """Fill a template; every string of the values is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("gssl_poison.report")
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        count=count, number=number, percent=percent, plural=plural, short=short
    )
    environment.globals.update(symbol=class_path, n_colors=N_COLORS)
    style = loader.get_source(environment, "report.css")[0]
    script = loader.get_source(environment, "report.js")[0]
    return environment.get_template(template).render(
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
        **values,
    )


def write_page(path: str | os.PathLike[str], html: str) -> Path:
    """Write a page in one step, so that a killed run leaves the old file."""
    target = Path(path)
    with atomic_write(target) as temporary:
        # A class name read from a broken file may hold lone surrogates, which UTF-8 cannot.
        temporary.write_bytes(html.encode("utf-8", "backslashreplace"))
    return target


def _hash(text: str) -> str:
    """Hash an inline style or script the way a content security policy names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
