"""Where data files lie, how an .npz archive is read without pickle, and the one download."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import warnings
import zipfile
import zlib
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gssl_poison._atomic import atomic_write
from gssl_poison.exceptions import DatasetNotFoundError, InputError, InputTypeError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scipy.sparse import csr_array

VARIABLE = "GSSL_POISON_DATA"
CSR_ARRAYS = ("format", "shape", "data", "indices", "indptr")
MNIST_TRAIN_COUNTS = (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949)
MNIST_TRAIN = 60_000
MNIST_ALL = 70_000

# RuntimeError: an encrypted member, or a way of packing that zipfile does not know.
_DAMAGED = (OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error)

logger = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Return the folder downloads are kept in; it need not exist.

    Returns
    -------
    pathlib.Path
        ``gssl-poison`` below ``XDG_CACHE_HOME`` where that is set, else below the user's cache
        folder: ``~/Library/Caches`` on macOS, ``%LOCALAPPDATA%`` on Windows, else ``~/.cache``.

    Examples
    --------
    >>> cache_folder().name
    'gssl-poison'
    """
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "gssl-poison"
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "gssl-poison"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "gssl-poison"
    return Path.home() / ".cache" / "gssl-poison"


def data_folders() -> tuple[Path, ...]:
    """Return the folders that are searched for data files, first one first.

    Returns
    -------
    tuple of pathlib.Path
        The folder named by the environment variable ``GSSL_POISON_DATA``, where it is set, then
        `cache_folder`.

    Raises
    ------
    InputError
        ``GSSL_POISON_DATA`` names something that is not a folder.
    """
    named = os.environ.get(VARIABLE)
    if not named:
        return (cache_folder(),)
    if not Path(named).is_dir():
        raise InputError(f"{VARIABLE} is {named!r}, which is not a folder; correct or unset it.")
    return (Path(named), cache_folder())


def find_file(name: str) -> Path | None:
    """Return the first file of that name in the data folders, None where there is none."""
    return next((f / name for f in data_folders() if (f / name).is_file()), None)


def npz_names(path: Path) -> tuple[str, ...]:
    """Return the names of the arrays in an .npz archive, in file order."""
    try:
        with zipfile.ZipFile(path) as archive:
            return tuple(name.removesuffix(".npy") for name in archive.namelist())
    except _DAMAGED as error:
        raise InputError(
            f"{path} is not a readable .npz archive ({error}); write it again with numpy.savez."
        ) from error


def read_npz(path: Path, names: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
    """Read some arrays of an .npz archive; the others are not unpacked, and nothing is unpickled.

    Parameters
    ----------
    path : pathlib.Path
        The archive.
    names : sequence of str
        The arrays to read.

    Returns
    -------
    dict of str to ndarray
        In the order of `names`.

    Raises
    ------
    InputError
        The file is not an archive, is damaged, or lacks one of the arrays.
    InputTypeError
        An array holds Python objects, which are stored as a pickle.
    """
    present = npz_names(path)
    missing = [name for name in names if name not in present]
    if missing:
        raise InputError(
            f"{path} has no array {missing[0]!r}, only {', '.join(map(repr, present[:12]))}; "
            f"it must hold {', '.join(map(repr, names))}."
        )
    arrays = {}
    # Opened by zipfile and read one array at a time: numpy.load would try a file without the
    # archive's first bytes as a pickle.
    with zipfile.ZipFile(path) as archive:
        for name in names:
            member = f"{name}.npy" if f"{name}.npy" in archive.namelist() else name
            try:
                with archive.open(member) as stream:
                    arrays[name] = np.lib.format.read_array(stream, allow_pickle=False)
            except _DAMAGED as e:
                if "allow_pickle" in str(e):
                    raise InputTypeError(
                        f"array {name!r} of {path} holds Python objects, stored as a pickle, which "
                        "is never opened: save names as text (y.astype(str), '' where the label is "
                        "not known) and numbers as numbers (NaN where it is not known)."
                    ) from e
                raise InputError(
                    f"array {name!r} of {path} cannot be read ({e}); the file is damaged: "
                    "write or fetch it again."
                ) from e
    return arrays


def as_csr(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> csr_array:
    """Build and check the CSR matrix that `CSR_ARRAYS` of an archive describe."""
    from scipy.sparse import csr_array

    kind = arrays["format"].item() if arrays["format"].ndim == 0 else None
    kind = kind.decode("ascii", "replace") if isinstance(kind, bytes) else kind
    if kind != "csr":
        raise InputError(
            f"{path} holds a sparse matrix of format {kind!r}; save it as CSR, X.tocsr()."
        )
    if arrays["data"].dtype.kind not in "buif":
        raise InputTypeError(
            f"the sparse matrix in {path} holds {arrays['data'].dtype} values; save real numbers."
        )
    if any(arrays[name].dtype.kind not in "iu" for name in ("shape", "indices", "indptr")):
        raise InputError(  # scipy would cut 0.5 down to 0
            f"the arrays in {path} are no CSR matrix (shape, indices and indptr must be whole "
            "numbers); write it again with scipy.sparse.save_npz."
        )
    try:
        csr = csr_array(
            (arrays["data"], arrays["indices"], arrays["indptr"]),
            shape=tuple(arrays["shape"].tolist()),
        )
        csr.check_format(full_check=True)
        _, _ = csr.shape  # scipy has one-dimensional arrays too
    except (TypeError, ValueError) as error:
        raise InputError(
            f"the arrays in {path} are no CSR matrix ({error}); write it again with "
            "scipy.sparse.save_npz."
        ) from error
    return csr


def not_found(name: str, file: str, how_to_get: str, why: str = "") -> DatasetNotFoundError:
    """Make the error that says which file is missing, where it was looked for and what to do."""
    folders = " and ".join(str(folder) for folder in data_folders())
    return DatasetNotFoundError(
        f"data set {name!r} needs {file}, which is not in {folders}{why}: {how_to_get}, or put the "
        f"file there; {VARIABLE} names another folder."
    )


def download_mnist(name: str, file: str, how_to_get: str) -> Path:
    """Fetch MNIST from OpenML into the cache folder, once, and return the file.

    Notes
    -----
    OpenML's ``mnist_784`` has 70,000 rows, of which the first 60,000 are the training images in
    their canonical order; the class counts of those are checked before anything is kept.
    """
    folder = cache_folder()
    logger.info("downloading MNIST (about 15 MB) from openml.org to %s", folder / file)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        from sklearn.datasets import fetch_openml

        # scikit-learn's own copy is of no more use once the arrays are saved.
        with (
            tempfile.TemporaryDirectory(dir=folder, prefix=".openml-") as scratch,
            warnings.catch_warnings(),
        ):
            # It warns at every retry; the error at the end says it once.
            warnings.filterwarnings("ignore", message="A network error", category=UserWarning)
            found = fetch_openml(
                "mnist_784", version=1, as_frame=False, parser="auto", data_home=scratch
            )
        images, labels = _checked_mnist(found.data, found.target)
        with atomic_write(folder / file) as temporary:
            np.savez_compressed(
                temporary,
                x_train=images[:MNIST_TRAIN],
                y_train=labels[:MNIST_TRAIN],
                x_test=images[MNIST_TRAIN:],
                y_test=labels[MNIST_TRAIN:],
            )
    except (OSError, HTTPException, ValueError) as error:
        raise not_found(
            name, file, how_to_get, f", and the download failed ({str(error) or repr(error)})"
        ) from error
    return folder / file


def _checked_mnist(data: Any, target: Any) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Return the downloaded images and labels as bytes, having checked that they are MNIST."""
    images = np.asarray(data)
    labels = np.asarray(target).astype(np.int64)
    counts = tuple(np.bincount(labels[:MNIST_TRAIN], minlength=10).tolist())
    if (
        images.shape != (MNIST_ALL, 784)
        or counts != MNIST_TRAIN_COUNTS
        or images.min() < 0
        or images.max() > 255
    ):
        raise DatasetNotFoundError(
            f"openml.org gave {images.shape[0]:,} rows with class counts {counts} for MNIST, which "
            f"are {MNIST_ALL:,} and {MNIST_TRAIN_COUNTS}; nothing was kept: fetch it another way."
        )
    return images.astype(np.uint8), labels.astype(np.uint8)
