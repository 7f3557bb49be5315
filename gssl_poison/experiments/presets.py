"""Presets: a sound setting, and that of the published code behind the paper's tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from gssl_poison.exceptions import InputError
from gssl_poison.propagation import (
    Predicted,
    Propagation,
    Propagator,
    Spreading,
    parse_propagator,
)

# The published code's gammas, by data set. `rcv1` is LIBSVM's rcv1.binary, never a stand-in for it.
_GAMMAS = MappingProxyType({"mnist-1-7": 5.0, "cifar10-cat-ship": 0.1, "rcv1": 20.0})


@dataclass(frozen=True)
class Preset:
    """Settings that go together.

    Attributes
    ----------
    name : str
    victim : str
        The propagator that is attacked, as `parse_propagator` reads it.
    n_iter : int
        Iterations of a `Propagation` that names none.
    extra_steps : int
        Products that scoring adds to those of a loop: the published code scores with
        scikit-learn's ``.score(X_U)``, whose ``predict`` multiplies once more; see `scored`.
    gammas : mapping of str to float
        Kernel coefficients by the name of the data set.
    """

    name: str
    victim: str
    n_iter: int
    extra_steps: int
    gammas: Mapping[str, float]

    def gamma(self, dataset: str) -> float | None:
        """Return the gamma of a named data set, or None where the preset has none.

        Examples
        --------
        >>> preset_of("replication").gamma("mnist-1-7")
        5.0
        """
        return self.gammas.get(dataset)

    def propagator(self, text: str | None = None) -> Propagator:
        """Return the propagator of a text, or the victim; without n_iter it takes the preset's.

        Parameters
        ----------
        text : str, optional
            See `parse_propagator`.

        Raises
        ------
        InputError
            The text names no propagator.

        Examples
        --------
        >>> preset_of("corrected").propagator("propagation")
        Propagation(n_iter=10, storage='auto')
        """
        chosen = (self.victim if text is None else text).strip()
        name, _, settings = chosen.partition(":")
        if name.strip() == "propagation" and "n_iter" not in settings:
            more = f"{settings}," if settings.strip() else ""
            chosen = f"propagation:{more}n_iter={self.n_iter}"
        return parse_propagator(chosen)

    def scored(self, victim: Propagator) -> Propagator:
        """Return the propagator whose predictions are the victim's score.

        Notes
        -----
        scikit-learn's ``predict`` multiplies the fitted scores by the kernel once more. After
        `Propagation` that is one more iteration, but for the labelled points, which are not scored.
        `Spreading` iterates on another matrix, so that its loop is scored as `Predicted`. `Direct`,
        `Harmonic` and the limit of `Spreading` are no loops of the published code, and are scored
        as they are.

        Examples
        --------
        >>> preset_of("replication").scored(Propagation(10))
        Propagation(n_iter=11, storage='auto')
        >>> type(preset_of("replication").scored(Spreading(n_iter=10))).__name__
        'Predicted'
        """
        if not self.extra_steps:
            return victim
        if isinstance(victim, Propagation):
            return replace(victim, n_iter=victim.n_iter + self.extra_steps)
        if isinstance(victim, Spreading) and victim.n_iter is not None:
            return Predicted(victim)
        return victim


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "corrected": Preset("corrected", "harmonic", 10, 0, _GAMMAS),
        "replication": Preset("replication", "propagation:n_iter=10", 10, 1, _GAMMAS),
    }
)


def preset_of(name: str) -> Preset:
    """Return the preset of a name.

    Parameters
    ----------
    name : {"corrected", "replication"}

    Raises
    ------
    InputError
        The name is not known.

    Examples
    --------
    >>> preset_of("corrected").victim
    'harmonic'
    """
    if name not in PRESETS:
        raise InputError(f"preset={name!r} is not known; use one of {', '.join(PRESETS)}.")
    return PRESETS[name]
