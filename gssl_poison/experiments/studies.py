"""The data sets of the experiments: kernel coefficient, victims and attacks that apply to each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from gssl_poison.exceptions import InputError
from gssl_poison.experiments.presets import preset_of
from gssl_poison.propagation import Direct, Harmonic, Propagation, Propagator, Spreading

# Label spreading as the published code sets it, whatever the text says.
ALPHA = 0.2


@dataclass(frozen=True)
class Study:
    """A data set as it is experimented on.

    Attributes
    ----------
    dataset : str
    title : str
        For people.
    gamma : float
        The published code's, where it has one; else of this project.
    victims : tuple of str
        ``("direct",)`` where the weights between all points are too many to hold.
    attacks : tuple of str
        Those that are defined: the published ones know two classes only.
    """

    dataset: str
    title: str
    gamma: float
    victims: tuple[str, ...] = ("propagation", "spreading")
    attacks: tuple[str, ...] = ("mir", "greedy", "probabilistic")


_REPLICATION = preset_of("replication").gammas

STUDIES: Mapping[str, Study] = MappingProxyType(
    {
        study.dataset: study
        for study in (
            Study("mnist-1-7", "MNIST 1/7", _REPLICATION["mnist-1-7"]),
            Study("cifar10-cat-ship", "CIFAR-10 cat/ship", _REPLICATION["cifar10-cat-ship"]),
            Study("rcv1", "RCV1", _REPLICATION["rcv1"]),
            Study("reuters-corporate", "Reuters corporate", 20.0),
            Study("mnist", "MNIST, ten classes", 5.0, ("direct",), ("mir", "greedy")),
            Study("digits-1-7", "scikit-learn's digits 1/7", 0.01),
            Study("digits", "scikit-learn's digits, ten classes", 0.01, attacks=("mir", "greedy")),
        )
    }
)
# Those that `reproduce` takes where none is named: what the paper has, or stands beside it.
USUAL = ("mnist-1-7", "cifar10-cat-ship", "reuters-corporate")


def study_of(dataset: str) -> Study:
    """Return the study of a data set.

    Raises
    ------
    InputError
        There is none.

    Examples
    --------
    >>> study_of("mnist-1-7").gamma
    5.0
    """
    if dataset not in STUDIES:
        raise InputError(
            f"the experiments have no data set {dataset!r}; they have {', '.join(STUDIES)}."
        )
    return STUDIES[dataset]


def attacks_of(study: Study, preset: str) -> tuple[str, ...]:
    """Return the attacks that a preset has on a data set.

    The published greedy attack inverts a matrix of all unlabelled points and knows two classes.

    Examples
    --------
    >>> attacks_of(study_of("mnist"), "replication"), attacks_of(study_of("mnist"), "corrected")
    (('mir',), ('mir', 'greedy'))
    """
    published = preset == "replication" and "probabilistic" not in study.attacks
    return ("mir",) if published else study.attacks


@dataclass(frozen=True)
class Roles:
    """The propagators of a victim: what is scored, and what infers the labels of a training set."""

    scored: Propagator
    inferred: Propagator

    @property
    def text(self) -> str:
        """Both, as the key of a cell and a row of results have them."""
        if self.scored == self.inferred:
            return repr(self.scored)
        return f"{self.inferred!r}, scored by {self.scored!r}"


def roles_of(victim: str, preset: str) -> Roles:
    """Return the propagators that a preset means by a victim.

    Parameters
    ----------
    victim : {"propagation", "spreading", "direct"}
    preset : {"corrected", "replication"}
        "replication": loops of ten iterations, scored as scikit-learn's ``score`` does, one step
        later; "corrected": their limits.

    Examples
    --------
    >>> roles_of("propagation", "corrected").scored
    Harmonic(unreached='error', method='auto', tol=1e-09)
    """
    if victim == "direct":
        return Roles(Direct(), Direct())
    if preset == "corrected":
        limit = Harmonic() if victim == "propagation" else Spreading(ALPHA)
        return Roles(limit, limit)
    chosen = preset_of(preset)
    n_iter = chosen.n_iter
    loop = Propagation(n_iter) if victim == "propagation" else Spreading(ALPHA, n_iter)
    return Roles(chosen.scored(loop), loop)
