"""The named data sets: what each is, which file it lies in and how its arrays are read."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gssl_poison.datasets.files import CSR_ARRAYS, as_csr, download_mnist, read_npz
from gssl_poison.datasets.rcv1 import NEGATIVE, POSITIVE, find_rcv1, read_rcv1
from gssl_poison.datasets.spec import Content, InFile, InParts, Spec

if TYPE_CHECKING:
    from pathlib import Path


def _image_pixels(rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return pixels in 0..1."""
    pixels = rows.astype(np.float32)
    pixels /= np.float32(255)
    return pixels


def _images(shape: tuple[int, ...], file: Path, part: str = "train") -> Content:
    """Read all images of a part in file order."""
    x, y = f"x_{part}", f"y_{part}"
    arrays = read_npz(file, (x, y))
    return Content(_image_pixels(arrays[x]), arrays[y].astype(np.int64), None, shape)


def _two_image_classes(
    codes: tuple[int, int],
    names: tuple[str | int, str | int],
    shape: tuple[int, ...],
    file: Path,
    part: str = "train",
) -> Content:
    """Read the images of two classes in a part: all of the first, then all of the second."""
    x, y = f"x_{part}", f"y_{part}"
    arrays = read_npz(file, (x, y))
    rows = [np.flatnonzero(arrays[y] == code) for code in codes]
    pixels = _image_pixels(arrays[x][np.concatenate(rows)])
    return Content(pixels, np.repeat(_names(names), [r.size for r in rows]), None, shape)


def _sparse(
    positive: str, negative: str, extra: tuple[str, ...], file: Path, part: str = "train"
) -> Content:
    """Read the rows of a part of a sparse set with labels +1 and -1, and name the classes."""
    arrays = read_npz(file, (*CSR_ARRAYS, "y", *extra))
    X, y = as_csr(file, arrays), arrays["y"]
    if "is_test" in arrays:
        rows = np.flatnonzero(arrays["is_test"] == (part == "test"))
        X, y = X[rows], y[rows]
    words = tuple(arrays["vocabulary"].tolist()) if "vocabulary" in arrays else None
    return Content(X, _names((negative, positive))[(y > 0).astype(np.intp)], words)


def _cadata(file: Path) -> Content:
    """Read the California houses; values in units of 100,000 dollars, as scikit-learn has them."""
    arrays = read_npz(file, ("X", "y", "feature_names"))
    names = tuple(map(str, arrays["feature_names"].tolist()))
    # Whole dollars would pass for the codes of some thousand classes.
    return Content(arrays["X"], arrays["y"] / 1e5, names)


def _digits() -> Content:
    """Read scikit-learn's digits, all ten classes."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return Content(found.data, found.target.astype(np.int64), tuple(found.feature_names), (8, 8))


def _digits_1_7() -> Content:
    """Read scikit-learn's digits 1, then its digits 7."""
    whole = _digits()
    rows = np.concatenate([np.flatnonzero(whole.truth == code) for code in (1, 7)])
    return whole._replace(X=whole.X[rows], truth=whole.truth[rows])


def _bundled(function: str) -> Content:
    """Read one of the small tables that come with scikit-learn."""
    import sklearn.datasets

    found = getattr(sklearn.datasets, function)()
    names = _names(tuple(str(name) for name in found.target_names))
    return Content(found.data, names[found.target], tuple(map(str, found.feature_names)))


def _names(classes: tuple[str | int, ...]) -> npt.NDArray[Any]:
    """Return class names as an array: whole numbers stay numbers, texts become objects."""
    if all(isinstance(c, int) for c in classes):
        return np.array(classes, dtype=np.int64)
    return np.array(classes, dtype=object)


_BUNDLED = "comes with scikit-learn"
_MNIST = "run once with a network to download it from openml.org"
_CIFAR = (
    "write it from the CIFAR-10 python batches (https://www.cs.toronto.edu/~kriz/cifar.html) with "
    "numpy.savez: x_train uint8 (10000, 3072), channel first, and y_train with CIFAR-10's class "
    "numbers"
)
_A9A = (
    "write LIBSVM's a9a (https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/binary.html) as "
    "scipy.sparse.save_npz does, with arrays y (+1, -1) and is_test added, or rank LIBSVM's file "
    "itself"
)
_REUTERS = (
    "write the vectorised Reuters-21578 as scipy.sparse.save_npz does (CSR float32), with arrays "
    "y (+1, -1), is_test and vocabulary added"
)
_MONEYFX = (
    "write binary/reuters of https://github.com/X-DataInitiative/tick-datasets as "
    "scipy.sparse.save_npz does (CSR float32), with arrays y (+1, -1) and is_test added"
)
_RCV1 = (
    "put LIBSVM's rcv1_train.binary.bz2 and rcv1_test.binary.bz2 "
    "(https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/binary.html) in a data folder, or "
    "run once with a network: scikit-learn's fetch_rcv1 downloads about 656 MB"
)
_VW = (
    "write the rcv1_small files of https://github.com/VowpalWabbit/vowpal_wabbit (folder test) as "
    "scipy.sparse.save_npz does (CSR float32), with array y (+1, -1) added"
)
_CADATA = (
    "write LIBSVM's cadata (https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/regression.html)"
    " with numpy.savez: X float64 (20640, 8), y float64 (20640,) in dollars and feature_names"
)

_DIGITS = tuple(range(10))

SPECS: dict[str, Spec] = {
    spec.name: spec
    for spec in (
        Spec(
            "digits",
            1797,
            64,
            _DIGITS,
            "images",
            "scikit-learn's 8 x 8 handwritten digits, grey values 0..16",
            _BUNDLED,
            _digits,
        ),
        Spec(
            "digits-1-7",
            361,
            64,
            (1, 7),
            "images",
            "the ones and sevens of digits, ones first",
            _BUNDLED,
            _digits_1_7,
        ),
        Spec(
            "mnist-1-7",
            13_007,
            784,
            (1, 7),
            "images",
            "the ones and sevens of MNIST's training images, ones first; pixels 0..1",
            _MNIST,
            InFile(
                "mnist.npz", partial(_two_image_classes, (1, 7), (1, 7), (28, 28)), download_mnist
            ),
            n_test=2_163,
        ),
        Spec(
            "mnist",
            60_000,
            784,
            _DIGITS,
            "images",
            "MNIST's training images in canonical order; pixels 0..1",
            _MNIST,
            InFile("mnist.npz", partial(_images, (28, 28)), download_mnist),
            n_test=10_000,
        ),
        Spec(
            "cifar10-cat-ship",
            10_000,
            3072,
            ("cat", "ship"),
            "images",
            "CIFAR-10's training cats, then its ships; pixels 0..1",
            _CIFAR,
            InFile(
                "cifar10_cat_ship.npz",
                partial(_two_image_classes, (3, 8), ("cat", "ship"), (3, 32, 32)),
            ),
            n_test=2_000,
        ),
        Spec(
            "cifar10-airplane-frog",
            10_000,
            3072,
            ("airplane", "frog"),
            "images",
            "CIFAR-10's training airplanes, then its frogs; pixels 0..1",
            _CIFAR,
            InFile(
                "cifar10_airplane_frog.npz",
                partial(_two_image_classes, (0, 6), ("airplane", "frog"), (3, 32, 32)),
            ),
            n_test=2_000,
        ),
        Spec(
            "reuters-corporate",
            7135,
            9878,
            ("corporate", "other"),
            "sparse",
            "Reuters-21578 news, earnings and acquisitions against the rest, TF-IDF, training part",
            _REUTERS,
            InFile(
                "reuters21578_corporate.npz",
                partial(_sparse, "corporate", "other", ("is_test", "vocabulary")),
            ),
            n_test=3_151,
        ),
        Spec(
            "reuters-moneyfx",
            7770,
            8315,
            ("money-fx", "other"),
            "sparse",
            "Reuters-21578 news, topic money-fx against the rest, TF-IDF, training part",
            _MONEYFX,
            InFile("reuters_moneyfx.npz", partial(_sparse, "money-fx", "other", ("is_test",))),
            n_test=3_299,
        ),
        Spec(
            "a9a",
            32_561,
            123,
            ("<=50K", ">50K"),
            "sparse",
            "LIBSVM's a9a: the Adult census table as 0/1 features, training part",
            _A9A,
            InFile("a9a.npz", partial(_sparse, ">50K", "<=50K", ("is_test",))),
            n_test=16_281,
        ),
        Spec(
            "rcv1",
            20_242,
            47_236,
            (POSITIVE, NEGATIVE),
            "sparse",
            "LIBSVM's rcv1.binary: RCV1 news, CCAT or ECAT against GCAT or MCAT, log TF-IDF of "
            "length 1, training part",
            _RCV1,
            InParts(find_rcv1, read_rcv1),
            n_test=677_399,
        ),
        Spec(
            "rcv1-vw-sample",
            1747,
            47_152,
            ("CCAT", "other"),
            "sparse",
            "a small sample of RCV1 news from Vowpal Wabbit's tests, topic CCAT against the rest; "
            "not LIBSVM's rcv1.binary",
            _VW,
            InFile("rcv1_vw_sample.npz", partial(_sparse, "CCAT", "other", ())),
        ),
        Spec(
            "iris",
            150,
            4,
            ("setosa", "versicolor", "virginica"),
            "table",
            "Fisher's iris flowers, in centimetres",
            _BUNDLED,
            partial(_bundled, "load_iris"),
        ),
        Spec(
            "wine",
            178,
            13,
            ("class_0", "class_1", "class_2"),
            "table",
            "chemical analysis of wines, in the units of the source, not standardised",
            _BUNDLED,
            partial(_bundled, "load_wine"),
        ),
        Spec(
            "breast-cancer",
            569,
            30,
            ("benign", "malignant"),
            "table",
            "Wisconsin breast cancer cell nuclei, in the units of the source, not standardised",
            _BUNDLED,
            partial(_bundled, "load_breast_cancer"),
        ),
        Spec(
            "cadata",
            20_640,
            8,
            (),
            "table",
            "California housing: real values, the median value of a house in 100,000 dollars, and "
            "no classes",
            _CADATA,
            InFile("cadata.npz", _cadata),
        ),
    )
}
