"""Figures of merit that come from one M: what every single flip of a label would do."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gssl_poison.exceptions import InputError
from gssl_poison.propagation import Fitted

Floats = npt.NDArray[np.float64]

# Rows of M looked at together: 64 MiB.
_BLOCK = 2**23


def flip_errors(prop: Fitted, codes: npt.ArrayLike, truth: npt.ArrayLike, n_classes: int) -> Floats:
    """Return the transductive error after giving each labelled point each class, all from one M.

    Parameters
    ----------
    prop : Fitted
        The victim.
    codes : (l,) int
        Classes of the labelled points, 0 to ``n_classes - 1``, in the order of ``prop.labeled``.
    truth : (n,) int
        True classes of all points; those of the labelled ones are not looked at.
    n_classes : int
        At least 2.

    Returns
    -------
    (l, n_classes) float64
        Part of the unlabelled points that are predicted wrongly if point j has class c. Where c is
        the class it has, that is the error as things are.

    Raises
    ------
    InputError
        Lengths or classes do not fit.

    Notes
    -----
    A flip from a to b changes row i by ``F_ib += M_ij``, ``F_ia -= M_ij``, so that ``l`` trainings
    of the victim are one M and ``u l c^2`` operations (``u l`` for two classes). Ties, up to 1e-12
    of a row's influence, go to the class of lower index. A point that no label reaches counts as
    class 0, as in scikit-learn.

    Examples
    --------
    >>> import numpy as np
    >>> from gssl_poison import Direct, RBFGraph
    >>> graph = RBFGraph(np.array([[0.0], [0.4], [1.0], [3.0]]), gamma=1.0)
    >>> prop = Direct().fit(graph, np.array([0, 3]))
    >>> flip_errors(prop, [0, 1], truth=[0, 0, 0, 1], n_classes=2)
    array([[0., 1.],
           [0., 0.]])
    """
    labels = _as_codes(codes, "codes", prop.labeled.size, n_classes)
    answers = _as_codes(truth, "truth", prop.graph.n_points, n_classes)[prop.unlabeled]
    from gssl_poison.kernels.flips import TIE, count_binary, count_flips

    l, rows = labels.size, prop.unlabeled  # noqa: E741
    one_hot = np.zeros((l, n_classes))
    one_hot[np.arange(l), labels] = 1.0
    wrong = np.zeros((l, n_classes), dtype=np.int64)
    turned = np.zeros(l, dtype=np.int64)
    clean = 0
    for part, block in prop.share_blocks(max(1, _BLOCK // l)):
        scores = block @ one_hot
        if n_classes == 2:
            margin, true = scores[:, 1] - scores[:, 0], answers[part] == 1
            clean += int(((margin > TIE) != true).sum())
            count_binary(block, margin, 2.0 * labels - 1.0, true, turned)
        else:
            count_flips(block, scores, labels, answers[part], wrong)
    if n_classes == 2:
        wrong[np.arange(l), labels] = clean
        wrong[np.arange(l), 1 - labels] = turned
    return wrong / rows.size


def _as_codes(values: npt.ArrayLike, name: str, size: int, n_classes: int) -> npt.NDArray[np.int64]:
    """Return class codes as int64, refusing what is none."""
    given = np.asarray(values)
    if given.shape != (size,) or given.dtype.kind not in "iu":
        raise InputError(
            f"{name} has shape {given.shape} and type {given.dtype}; give {size:,} class codes, "
            "whole numbers from 0."
        )
    if n_classes < 2 or (size and not 0 <= given.min() <= given.max() < n_classes):
        raise InputError(
            f"{name} runs from {given.min()} to {given.max()} and n_classes is {n_classes}; codes "
            "lie in 0 to n_classes - 1, and there must be two classes at least."
        )
    return given.astype(np.int64)
