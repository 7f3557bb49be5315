"""What `gssl-poison certify` does: prove bounds, and attack to see how near to them one comes."""

from __future__ import annotations

import platform
import time
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gssl_poison._attacking import (
    Integers,
    Scene,
    check_truth,
    fit,
    hold,
    name_of,
)
from gssl_poison.attacks import make_attack
from gssl_poison.certification import Certificate, certify
from gssl_poison.metrics import predictions_after

if TYPE_CHECKING:
    from gssl_poison.report import CertificatePage

Floats = npt.NDArray[np.float64]

# One run of the first for every number of flips; the others again for each budget, and for all
# numbers between where that takes no time.
ATTACKS = ("greedy", "greedy+swaps", "smoothed")
# Numbers of flips at which the attack's labels are predicted from.
_MOST_TRIALS = 200
_FEW = 20
_SMALL = 2**20


@dataclass(frozen=True)
class Level:
    """A budget with its bounds and what an attack does; parts of the unlabelled points."""

    budget: float
    flips: int
    attack: float
    collective: float
    pointwise: float
    certified: float
    method: str


@dataclass(frozen=True)
class Certified:
    """A certificate, with an attack beside it."""

    scene: Scene
    certificate: Certificate
    attacks: tuple[str, ...]
    levels: tuple[Level, ...]
    attack: Floats  # harm after 0, 1, ... changed labels
    pointwise: Floats
    seconds_fit: float
    seconds_attack: float


def run_certificate(scene: Scene, *, truth: bool | None, seed: int, time_limit: float) -> Certified:
    """Certify the victim, and attack it."""
    problem = scene.problem
    check_truth(truth, problem)
    started = time.perf_counter()
    victim = hold(fit(scene.scored, problem, "--victim"))
    seconds_fit = time.perf_counter() - started
    flips = sorted({count for _, count in scene.budgets})
    certificate = certify(
        problem,
        victim,
        budgets=tuple(flips),
        truth=truth,
        collective=True,
        time_limit=time_limit,
    )
    started = time.perf_counter()
    used = certificate.used_truth and problem.truth is not None
    target = certificate.predicted
    if used and problem.truth is not None:
        target = problem.truth[problem.unlabeled]
    first, *others = (
        make_attack(name, preset="corrected", truth=used, random_state=seed) for name in ATTACKS
    )
    nested = first.attack(problem, victim, flips[-1])
    tried = np.unique(np.linspace(0, len(nested), min(len(nested) + 1, _MOST_TRIALS)).astype(int))
    poisons = [nested.first(int(k)) for k in tried]
    small = flips[-1] <= _FEW and target.size * problem.y.size <= _SMALL
    for other in others:
        every = range(1, flips[-1] + 1) if small else flips
        poisons += [other.attack(problem, victim, k) for k in every]
    harm = np.zeros(flips[-1] + 1)
    predicted = predictions_after(victim, problem.n_classes, [p.apply(problem.y) for p in poisons])
    for poison, codes in zip(poisons, predicted, strict=True):
        harm[len(poison)] = max(harm[len(poison)], float((codes != target).mean()))
    # Who may change k labels may change fewer.
    harm = np.maximum.accumulate(harm)
    pointwise = _pointwise(certificate.radius, certificate.predicted != target, flips[-1])
    at = {count: k for k, count in enumerate(certificate.budgets)}
    for count, k in at.items():
        # As counts: parts of one are rounded.
        if round(harm[count] * target.size) > round(certificate.collective[k] * target.size):
            raise RuntimeError(
                f"an attack with {count:,} flips reaches {harm[count]:.6f}, beyond the bound of "
                f"{certificate.collective[k]:.6f} that {certificate.methods[k]} gave, so the "
                "certificate is wrong; please report this with your command"
            )
    levels = tuple(
        Level(
            given,
            count,
            float(harm[count]),
            float(certificate.collective[at[count]]),
            float(certificate.pointwise[at[count]]),
            float(certificate.certified[at[count]]),
            str(certificate.methods[at[count]]),
        )
        for given, count in scene.budgets
    )
    return Certified(
        scene=scene,
        certificate=certificate,
        attacks=tuple(repr(attack) for attack in (first, *others)),
        levels=levels,
        attack=harm,
        pointwise=pointwise,
        seconds_fit=seconds_fit,
        seconds_attack=time.perf_counter() - started,
    )


def _pointwise(radius: Integers, wrong: npt.NDArray[np.bool_], last: int) -> Floats:
    """Return the part that is wrong or can be turned by k labels, for every k from 0 to last."""
    reach = np.where(wrong, 0, np.minimum(radius, last + 1))
    counts = np.bincount(reach, minlength=last + 2)
    parts: Floats = np.cumsum(counts)[: last + 1] / max(1, radius.size)
    return parts


def as_page(done: Certified, command: str | None) -> CertificatePage:
    """Put a certificate in the form that the report draws."""
    from gssl_poison.report import CertificatePage
    from gssl_poison.report import Level as Line

    scene, certificate, problem = done.scene, done.certificate, done.scene.problem
    known = certificate.used_truth and problem.truth is not None
    lines = {
        level.flips: Line(
            level.flips,
            level.attack,
            level.collective,
            level.pointwise,
            level.certified,
            level.method,
        )
        for level in done.levels
    }
    gamma = f"{scene.gamma:.12g} (rule: {scene.gamma_rule})"
    settings: list[tuple[str, str]] = [
        ("Data", scene.dataset.name),
        ("Source", str(scene.dataset.source)),
        (
            "Points",
            f"{problem.labeled.size:,} labelled, {problem.unlabeled.size:,} unlabelled, "
            f"{scene.n_features:,} features",
        ),
        ("Classes", f"{problem.n_classes:,}"),
        ("Graph", scene.graph),
        ("Gamma", gamma),
        ("Victim", name_of(scene.scored)),
        ("Preset", scene.preset.name),
        ("Harm", "wrong predictions" if known else "changed predictions"),
        ("Attacks tried", "; ".join(done.attacks)),
        (
            "Time",
            f"{done.seconds_fit:.2f} s for the victim, {certificate.seconds:.2f} s for the "
            f"certificate, {done.seconds_attack:.2f} s for the attack",
        ),
    ]
    return CertificatePage(
        name=scene.dataset.name,
        n_labeled=int(problem.labeled.size),
        classes=tuple(str(name) for name in problem.classes),
        used_truth=certificate.used_truth,
        clean=certificate.clean,
        levels=tuple(lines[flips] for flips in sorted(lines)),
        attack_name=", ".join(ATTACKS),
        attack=done.attack,
        pointwise=done.pointwise,
        point=problem.unlabeled,
        radius=certificate.radius,
        predicted=certificate.predicted,
        truth=None if problem.truth is None or not known else problem.truth[problem.unlabeled],
        holds_for=certificate.holds_for,
        undecided=int(certificate.undecided),
        settings=tuple(settings),
        versions=_versions(),
        command=command,
    )


def _versions() -> dict[str, str]:
    """Return the versions that produced a certificate."""
    packages = ("gssl-poison", "numpy", "scipy", "numba")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def document(done: Certified, facts: dict[str, Any]) -> dict[str, Any]:
    """Return a certificate and the attack beside it as plain values."""
    certificate, problem = done.certificate, done.scene.problem
    radii, counts = np.unique(certificate.radius, return_counts=True)
    weakest = np.lexsort((problem.unlabeled, certificate.radius))[:10].tolist()
    return {
        **facts,
        "used_truth": certificate.used_truth,
        "holds_for": certificate.holds_for,
        "clean": certificate.clean,
        "attacks": list(done.attacks),
        "budgets": [
            {
                "budget": level.budget,
                "flips": level.flips,
                "attack": level.attack,
                "collective": level.collective,
                "pointwise": level.pointwise,
                "certified": level.certified,
                "method": level.method,
            }
            for level in done.levels
        ],
        "undecided": int(certificate.undecided),
        "radius_counts": {
            str(radius): int(count) for radius, count in zip(radii, counts, strict=True)
        },
        "weakest": [
            {
                "point": int(problem.unlabeled[i]),
                "predicted": problem.classes[int(certificate.predicted[i])],
                "radius": int(certificate.radius[i]),
            }
            for i in weakest
        ],
        "attack_curve": done.attack.tolist(),
        "pointwise_curve": done.pointwise.tolist(),
        "seconds": certificate.seconds,
        "seconds_fit": done.seconds_fit,
        "seconds_attack": done.seconds_attack,
    }
