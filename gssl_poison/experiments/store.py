"""A folder of finished cells: a kill at any moment loses nothing finished, and nothing half counts.

One file a cell, written under a temporary name, flushed and renamed. A file holds the hash of its
own content and the key of its cell; one that does not fit is set aside and its cell measured again.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import logging
import os
import secrets
import time
import zlib
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gssl_poison._atomic import atomic_write
from gssl_poison.exceptions import InputError
from gssl_poison.experiments.cells import canonical

Integers = npt.NDArray[np.int64]

CELLS, ASIDE = "cells", "set-aside"
# What `atomic_write` calls a file that is not finished.
_UNFINISHED = "."
# Seconds after which such a file is nobody's: writing one takes milliseconds.
_OLD = 3600.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Finished:
    """A finished cell.

    Attributes
    ----------
    key : str
    row : dict
        Its row of the table: texts, numbers and booleans; what a cell has not is not in it.
    codes : (n,) int64 or None
        Class codes of all training points, known and inferred, where a model may be trained on
        them.
    """

    key: str
    row: Mapping[str, Any]
    codes: Integers | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Store:
    """The finished cells of a folder.

    Parameters
    ----------
    folder : pathlib.Path
        Made where it is missing, when the first cell is saved.
    """

    folder: Path

    def path(self, key: str) -> Path:
        """Return the file of a cell."""
        return self.folder / CELLS / f"{key}.json"

    def save(self, finished: Finished) -> None:
        """Write a finished cell, wholly or not at all.

        Raises
        ------
        OSError
            The folder cannot be written to.
        """
        self.path(finished.key).parent.mkdir(parents=True, exist_ok=True)
        content: dict[str, Any] = {"key": finished.key, "row": dict(finished.row)}
        if finished.codes is not None:
            content["codes"] = _packed(finished.codes)
        text = canonical(content)
        with atomic_write(self.path(finished.key)) as temporary:
            temporary.write_text(canonical({"content": text, "sha256": _hash(text)}) + "\n")

    def load(self, key: str) -> Finished | None:
        """Return a finished cell; None where there is none, or none that is whole.

        A file that is not what was written is moved to the folder ``set-aside``, and said.
        """
        path = self.path(key)
        try:
            raw = path.read_bytes()
            return _read(raw, key)
        except FileNotFoundError:
            return None
        except (IsADirectoryError, *_DAMAGED) as error:
            self._set_aside(path, error)
            return None

    def keys(self) -> frozenset[str]:
        """Return the keys of all files that are not half-written, whole or not."""
        folder = self.folder / CELLS
        if not folder.is_dir():
            return frozenset()
        names = (name for name in os.listdir(folder) if not name.startswith(_UNFINISHED))
        return frozenset(name.removesuffix(".json") for name in names if name.endswith(".json"))

    def load_all(self, keys: Collection[str] | None = None) -> dict[str, Finished]:
        """Return the whole cells among some keys, by key; among all by default."""
        found = {}
        for key in sorted(self.keys() if keys is None else keys):
            finished = self.load(key)
            if finished is not None:
                found[key] = finished
        return found

    def remove_unfinished(self) -> None:
        """Remove what killed runs left half-written, an hour ago or more: others may run here."""
        inside = (self.folder / CELLS).glob(f"{_UNFINISHED}*")
        for path in (*inside, *self.folder.glob(f"{_UNFINISHED}results-*")):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > _OLD:
                    path.unlink()

    def check_writable(self) -> None:
        """Refuse a folder that cannot be one, or cannot be written to, before the first cell."""
        try:
            (self.folder / CELLS).mkdir(parents=True, exist_ok=True)
            # A name of its own: another run may look at the same moment.
            probe = self.folder / CELLS / f"{_UNFINISHED}probe-{secrets.token_hex(6)}"
            with atomic_write(probe) as temporary:
                temporary.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise InputError(
                f"results cannot be written to {self.folder} ({error.strerror or error}); "
                "give another --out."
            ) from error

    def _set_aside(self, path: Path, error: Exception) -> None:
        folder = self.folder / ASIDE
        folder.mkdir(parents=True, exist_ok=True)
        taken = {p.name for p in folder.iterdir()}
        name = next(
            name
            for name in (f"{path.stem}-{count}.json" for count in range(1, len(taken) + 2))
            if name not in taken
        )
        with suppress(FileNotFoundError):  # another run was faster
            path.replace(folder / name)
        logger.warning(
            "%s is damaged (%s): it is now %s, and its cell is measured again.",
            path.name,
            error,
            Path(ASIDE) / name,
        )


_DAMAGED = (ValueError, KeyError, TypeError, RecursionError, zlib.error, binascii.Error)


def _read(raw: bytes, key: str) -> Finished:
    """Return the cell of a file, or raise one of `_DAMAGED`."""
    outer = json.loads(raw.decode("utf-8"))
    text = outer["content"]
    if not isinstance(text, str) or set(outer) != {"content", "sha256"}:
        raise ValueError("it is no file of this folder")
    if _hash(text) != outer["sha256"]:
        raise ValueError("its hash is not that of its content")
    content = json.loads(text)
    if content["key"] != key:
        raise ValueError(f"it holds the cell {content['key']}")
    codes = _unpacked(content["codes"]) if "codes" in content else None
    return Finished(key, dict(content["row"]), codes)


def _packed(codes: Integers) -> dict[str, Any]:
    """Return class codes as text."""
    small = codes.astype("<i4")
    if (small != codes).any():
        raise InputError(f"a class code of {int(codes.max())} is more than 32 bits hold.")
    return {
        "n": int(codes.size),
        "zlib": base64.b64encode(zlib.compress(small.tobytes(), 6)).decode("ascii"),
    }


def _unpacked(packed: Mapping[str, Any]) -> Integers:
    """Return class codes of their text."""
    raw = zlib.decompress(base64.b64decode(packed["zlib"], validate=True))
    codes = np.frombuffer(raw, dtype="<i4").astype(np.int64)
    if codes.size != packed["n"]:
        raise ValueError(f"it holds {codes.size} class codes of {packed['n']}")
    return codes


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
