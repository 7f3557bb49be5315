"""Open a file that may be packed."""

from __future__ import annotations

import bz2
import gzip
import lzma
from typing import TYPE_CHECKING, BinaryIO, cast

if TYPE_CHECKING:
    from pathlib import Path


def open_packed(file: Path, packed: str) -> BinaryIO:
    """Open a file for reading bytes; `packed` is '', '.gz', '.bz2' or '.xz'."""
    if packed == ".gz":
        return cast("BinaryIO", gzip.open(file, "rb"))
    if packed == ".bz2":
        return cast("BinaryIO", bz2.open(file, "rb"))
    if packed == ".xz":
        return cast("BinaryIO", lzma.open(file, "rb"))
    return file.open("rb")
