"""What every command does besides its work: errors in sentences, outputs checked, its own line."""

from __future__ import annotations

import ctypes
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import typer

from gssl_poison._console import plain
from gssl_poison._inputs import is_file
from gssl_poison.exceptions import (
    DatasetNotFoundError,
    GsslPoisonError,
    InputError,
    UnreachedError,
)

_OUTPUTS = (".csv", ".parquet", ".json")


@contextmanager
def errors_as_sentences(debug: bool) -> Iterator[None]:
    """Turn errors into one sentence on stderr; exit with 2 for bad input, 1 for a failure."""
    try:
        yield
    except (typer.Exit, typer.Abort, KeyboardInterrupt):
        raise
    except Exception as error:
        if debug:
            raise
        known = isinstance(error, GsslPoisonError)
        text = str(error) if known else f"{type(error).__name__}: {error} (--debug shows where)"
        if isinstance(error, UnreachedError):
            text += " Here that is --influence harmonic:unreached=leave."
        typer.echo(f"gssl-poison: {plain(text)}", err=True)
        bad_input = known and not isinstance(error, DatasetNotFoundError)
        raise typer.Exit(2 if bad_input else 1) from None


@contextmanager
def solvers_muted() -> Iterator[None]:
    """Keep what a compiled library prints out of the results: HiGHS tells of its sub-solvers."""
    try:
        sys.stdout.flush()
        kept = os.dup(1)
        nowhere = os.open(os.devnull, os.O_WRONLY)
    except OSError:  # no standard output at all
        yield
        return
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        # What C has not written yet belongs to the time before.
        with suppress(OSError, TypeError, AttributeError):
            ctypes.CDLL(None).fflush(None)
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def check_outputs(source: str, out: Path | None, report: Path | None) -> None:
    """Refuse, before any work, an output that cannot or must not be written."""
    if out is not None and out.suffix.lower() not in _OUTPUTS:
        raise InputError(
            f"--out {out} ends in {out.suffix or 'nothing'!r}; use one of {', '.join(_OUTPUTS)}."
        )
    if report is not None and report.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"--report {report} is a web page; give it a name ending in .html.")
    for path in (out, report):
        if path is None:
            continue
        if path.is_dir() or not path.absolute().parent.is_dir():
            raise InputError(f"{path} cannot be written: give a file in a folder that exists.")
        if is_file(source) and path.exists() and path.samefile(source):
            raise InputError(f"{path} is the input, which is never changed; give another name.")


def command_line() -> str:
    """Return the command as it can be typed again, without the folder of the program."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
