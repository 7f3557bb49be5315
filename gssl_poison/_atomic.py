"""Write a file under a temporary name and rename it, so a killed run leaves the old file."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    r"""Yield a temporary path to write to; rename it to `path` when the block succeeds.

    Parameters
    ----------
    path : str or path-like
        The file to write. Its folder must exist. A symbolic link is followed, so the file
        it points at is replaced and the link stays.

    Yields
    ------
    pathlib.Path
        An empty new file in the same folder, with the same suffix, so that writers that look
        at the suffix (``.csv.gz``, ``.parquet``) behave as they would with `path`.

    Raises
    ------
    FileNotFoundError
        The folder of `path` does not exist.
    IsADirectoryError
        `path` is a folder.

    Notes
    -----
    The bytes are flushed to the disk before the rename. If the block raises, the temporary
    file is removed and `path` is as it was. The mode of an existing file is kept. A device or a
    pipe (``/dev/stdout``) is yielded itself.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> with atomic_write(folder / "table.csv") as temporary:
    ...     _ = temporary.write_text("rank,point\n")
    >>> [file.name for file in folder.iterdir()]
    ['table.csv']
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(f"{os.fspath(path)} is a folder; give the name of a file in it.")
    if target.exists() and not target.is_file():
        yield target  # a device or a pipe holds nothing to keep, and must not be replaced
        return
    suffix = "".join(target.suffixes)
    stem = target.name.removesuffix(suffix)
    temporary = target.with_name(f".{stem[:40]}-{secrets.token_hex(6)}{suffix}")
    # Created here, exclusively: the umask gives the mode a plain open() would give.
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    try:
        yield temporary
        if target.exists():
            os.chmod(temporary, target.stat().st_mode & 0o7777)
        with open(temporary, "rb+") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, target)
    except BaseException:  # an interrupt too must leave no temporary file behind
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
