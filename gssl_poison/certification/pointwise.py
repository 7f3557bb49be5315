"""How few flips can change the prediction of every point: exact, and for every point by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gssl_poison._arrays import n_threads
from gssl_poison.kernels.cuda import card_of
from gssl_poison.kernels.cuda_radius import count_needed_on_card
from gssl_poison.metrics import predict
from gssl_poison.problem import Problem
from gssl_poison.propagation import Fitted

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Progress = Callable[[int, int], None]

# Numbers of a block of shares: 16 MiB, and 256 MiB for a card, where each row is a block of threads
# and there must be more of them than multiprocessors.
_BLOCK, _CARD_BLOCK = 2**21, 2**25


@dataclass(frozen=True)
class Radii:
    """How few flips change every prediction.

    Attributes
    ----------
    predicted : (u,) int64
        The clean predictions.
    radius : (u,) int64
        No smaller number of flips changes the prediction; ``l + 1`` where none do.
    undecided : int
        Points of which the errors of the shares leave open whether the radius is larger.
    """

    predicted: Integers
    radius: Integers
    undecided: int


def radii(problem: Problem, victim: Fitted, progress: Progress | None = None) -> Radii:
    """Return how few flips, of any labels to any classes, change every prediction.

    Parameters
    ----------
    problem : Problem
    victim : Fitted
    progress : callable, optional
        Called with the points looked at and their number.

    Returns
    -------
    Radii

    Notes
    -----
    Of row i with prediction a and a rival b, flipping label j to b gains ``2 M_ij`` if ``y_j = a``,
    ``M_ij`` if it is of a third class and 0 if it is b's already; no other new class gains b more.
    The largest gains that add up to ``F_ia - F_ib`` are the fewest flips for b, the least of them
    over the rivals is the radius. Shares within 1e-12 tie, for the class of lower index. Exact,
    but for chains of such ties among three classes, which count as changed. An error e of the
    shares is taken off at its worst: ``l e`` from the difference, e from every gain.

    ``O(u l c)``: the largest gains are selected, not sorted. Where the graph's device is "cuda", on
    the card, block after block.

    Examples
    --------
    >>> import numpy as np
    >>> from gssl_poison import DenseGraph, Direct, Problem
    >>> W = np.zeros((5, 5))
    >>> W[4, :4] = 4.0, 3.0, 2.0, 1.0
    >>> problem = Problem(
    ...     DenseGraph(W + W.T), labeled=[0, 1, 2, 3], y=[0, 0, 0, 0], n_classes=2
    ... )
    >>> radii(problem, Direct().fit(problem.graph, problem.labeled)).radius
    array([2])
    """
    u, l, c = victim.unlabeled.size, problem.y.size, problem.n_classes  # noqa: E741
    one_hot = np.eye(c)[problem.y]
    predicted, needed = np.empty(u, dtype=np.int64), np.empty((u, 2), dtype=np.int64)
    off, rounding = victim.error, rounding_of(l)
    card = card_of(victim.graph)

    def work(part_block: tuple[slice, Floats], _: object = None) -> int:
        part, block = part_block
        scores = block @ one_hot
        predicted[part] = predict(scores)
        given = (block, scores, problem.y, predicted[part], off, rounding)
        if card is None:
            count_needed(*given, needed[part])
        else:
            needed[part] = count_needed_on_card(card, *given)
        return len(block)

    if card is None:
        from gssl_poison.kernels.parallel import in_order
        from gssl_poison.kernels.radius import count_needed

        counted = in_order(work, victim.share_blocks(max(1, _BLOCK // l)), n_threads())
    else:
        counted = map(work, victim.share_blocks(max(1, _CARD_BLOCK // l)))
    done = 0
    for rows in counted:
        done += rows
        if progress is not None:
            progress(done, u)
    return Radii(predicted, needed[:, 1].copy(), int((needed[:, 0] != needed[:, 1]).sum()))


def rounding_of(n_labeled: int) -> float:
    """Return what the rounding of two sums over the labels can add to their difference."""
    return 4.0 * n_labeled * 2.0**-53
