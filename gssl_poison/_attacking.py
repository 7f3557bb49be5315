"""What `gssl-poison attack` does: read the points, attack, count what the victim makes of it.

The points, the budgets and the fitted victim are those of `gssl-poison certify` too.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gssl_poison._arrays import as_features
from gssl_poison._inputs import is_file, read_gamma, read_part, read_points
from gssl_poison.attacks import Attack, make_attack
from gssl_poison.datasets import drawn_rows
from gssl_poison.exceptions import InputError, UnreachedError
from gssl_poison.experiments import Preset, preset_of
from gssl_poison.kernels.cuda import resolve_device
from gssl_poison.labels import Labels, is_missing, split_labels
from gssl_poison.metrics import predictions_after
from gssl_poison.problem import Poison, Problem, check_fits, count_flips
from gssl_poison.propagation import Direct, Fitted, Predicted, Propagator
from gssl_poison.ranking import build_graph
from gssl_poison.review.steps import hold as hold_in_memory

if TYPE_CHECKING:
    from gssl_poison.datasets import Dataset

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Scene:
    """What is to be attacked: the points, the victim to be, and what the attacker may spend."""

    dataset: Dataset
    problem: Problem
    preset: Preset
    victim: Propagator
    surrogate: Propagator | None
    graph: str
    gamma: float
    gamma_rule: str
    gamma_note: str
    device: str
    device_note: str
    n_features: int
    budgets: tuple[tuple[float, int], ...]  # as given, and in labels

    @property
    def scored(self) -> Propagator:
        """What predicts: under the preset "replication" a loop goes one product further."""
        return self.preset.scored(self.victim)

    @property
    def most_flips(self) -> int:
        """The largest budget, in labels."""
        return max(flips for _, flips in self.budgets)


@dataclass(frozen=True)
class Outcome:
    """What came of one budget: parts of the unlabelled points; error is None without truth."""

    budget: float
    flips: int
    error: float | None
    changed: float
    seconds: float
    bound: float | None = None  # what the attack proves no flips to exceed, of its objective


@dataclass(frozen=True)
class Attacked:
    """An attack and what came of it."""

    scene: Scene
    method: str
    attack: Attack
    surrogate: Propagator
    poison: Poison  # at the largest budget
    clean_error: float | None
    outcomes: tuple[Outcome, ...]
    notes: tuple[str, ...]
    seconds_fit: float


def read_scene(
    source: str,
    *,
    label: str | None,
    unlabeled: str | None,
    labeled: str | None,
    seed: int,
    preset: str,
    gamma: str | None,
    graph: str,
    budget: str | None,
    usual: tuple[float, ...],
    device: str,
    victim: str | None = None,
    surrogate: str | None = None,
    method: str | None = None,
) -> Scene:
    """Read what the options name, refusing what cannot work before the first long step."""
    chosen = preset_of(preset)
    used_device, device_note = resolve_device(device)
    if not 0 <= seed < 2**32:
        raise InputError(f"--seed {seed} is out of range; it must lie in 0..{2**32 - 1}.")
    if method is not None:
        make_attack(method, preset=preset)
    attacked = chosen.propagator(victim)
    read_by = chosen.scored(attacked) if surrogate == "victim" else None
    if surrogate not in (None, "victim"):
        read_by = chosen.propagator(surrogate)
    wanted = None if budget is None else read_budgets(budget)
    dataset, mark = read_points(source, label, unlabeled, labeled, seed)
    features = as_features(dataset.X)
    labels = split_labels(dataset.y, features.shape[0], mark)
    l = labels.labeled.size  # noqa: E741
    if wanted is None:
        # Where there are few labels, a part of them may be none, and a number all of them.
        wanted = [given for given in usual if 1 <= given <= l or (given < 1 <= given * l)] or [1]
    budgets = tuple((given, count_flips(given, l)) for given in wanted)
    truth = _truth(dataset, labels)
    if truth is None and len(labels.classes) < 2:
        raise InputError(
            f"all {labels.labeled.size:,} labels are of class {labels.classes[0]!r}, and there is "
            "no other to change one to; label a point of a second class."
        )
    known = None if is_file(source) or graph != "rbf" else chosen.gamma(dataset.name)
    by_preset = gamma is None and known is not None
    bandwidth = known if gamma is None and known is not None else read_gamma(gamma or "auto")
    built = build_graph(graph, features, bandwidth, labels, device=used_device)
    problem = Problem.of(built, dataset.y, truth, unlabeled=mark)
    if labeled is not None:
        problem = _as_drawn(problem, labeled, seed)
    # A graph that has a name has a gamma: only one of a caller's own weights has none.
    used: Any = getattr(built, "bandwidth", None)
    return Scene(
        dataset=dataset,
        problem=problem,
        preset=chosen,
        victim=attacked,
        surrogate=read_by,
        graph=graph,
        gamma=used.gamma,
        gamma_rule="preset" if by_preset else used.rule,
        gamma_note=f"preset {preset} has it for {dataset.name}" if by_preset else used.note,
        device=used_device,
        device_note=device_note,
        n_features=int(features.shape[1]),
        budgets=budgets,
    )


def read_budgets(text: str) -> list[float]:
    """Read budgets: a whole number is a count, one with a point or an exponent a part.

    Examples
    --------
    >>> read_budgets("0.05, 20")
    [0.05, 20]
    """
    found: list[float] = []
    for item in (part.strip() for part in text.split(",")):
        try:
            found.append(int(item) if item.lstrip("+-").isdecimal() else float(item))
        except ValueError:
            raise InputError(
                f"budget {item!r} in {text!r} is not a number; give parts (0.05) or numbers (20) "
                "of labels, separated by commas."
            ) from None
    return found


def _truth(dataset: Dataset, labels: Labels) -> npt.NDArray[Any] | None:
    """Return the true classes, if that of every point is known."""
    values = dataset.y.tolist()
    # A value that means unlabelled stands in the truth as well: there is no class behind it.
    if any(not is_missing(values[row]) for row in labels.unlabeled.tolist()):
        return None
    return dataset.truth


def _as_drawn(problem: Problem, labeled: str, seed: int) -> Problem:
    """List labelled points in the order of the draw, by which the published code breaks ties."""
    drawn = drawn_rows(problem.graph.n_points, read_part(labeled), seed)
    drawn = drawn[np.isin(drawn, problem.labeled)]
    return replace(problem, labeled=drawn, y=problem.y[np.searchsorted(problem.labeled, drawn)])


def check_truth(truth: bool | None, problem: Problem) -> None:
    """Refuse to use a truth that is not there."""
    if truth and problem.truth is None:
        raise InputError(
            "--truth needs the true classes of all points, and these data have labels for some "
            "only; leave it out, or hide labels of a fully labelled file with --labeled."
        )


def fit(propagator: Propagator, problem: Problem, option: str) -> Fitted:
    """Fit a propagator that an option named."""
    try:
        fitted = propagator.fit(problem.graph, problem.labeled)
    except UnreachedError as error:
        raise InputError(f"{error} Here that is {option} harmonic:unreached=leave.") from error
    check_fits(problem, fitted, option.lstrip("-"))
    return fitted


def hold(fitted: Fitted) -> Fitted:
    """Keep M in memory where it fits: what reads it more than once computes it once."""
    return fitted if isinstance(fitted.propagator, Direct) else hold_in_memory(fitted)


def run_attack(scene: Scene, *, method: str, truth: bool | None, seed: int) -> Attacked:
    """Attack, at every budget, and predict from the labels that are left."""
    problem = scene.problem
    check_truth(truth, problem)
    attack = make_attack(
        method,
        preset=scene.preset.name,
        truth=False if problem.truth is None else truth,
        random_state=seed,
    )
    started = time.perf_counter()
    victim = fit(scene.scored, problem, "--victim")
    read_by = scene.surrogate
    if read_by is None and attack.surrogate != "victim":
        read_by = scene.preset.propagator(attack.surrogate)
    if read_by is None or read_by == scene.scored:
        surrogate = victim = hold(victim)
    else:
        surrogate = hold(fit(read_by, problem, "--surrogate"))
    seconds_fit = time.perf_counter() - started
    counts = sorted({flips for _, flips in scene.budgets}, reverse=True)
    runs: dict[int, Poison] = {}
    for flips in counts:
        nested = attack.nested and runs
        runs[flips] = (
            runs[counts[0]].first(flips) if nested else attack.attack(problem, surrogate, flips)
        )
    labelings = [problem.y, *(poison.apply(problem.y) for poison in runs.values())]
    clean, *predicted = predictions_after(victim, problem.n_classes, labelings)
    outcomes = {
        flips: (error_of(codes, problem), float((codes != clean).mean()))
        for flips, codes in zip(runs, predicted, strict=True)
    }
    return Attacked(
        scene=scene,
        method=method,
        attack=attack,
        surrogate=surrogate.propagator,
        poison=runs[counts[0]],
        clean_error=error_of(clean, problem),
        outcomes=tuple(
            Outcome(
                given, len(runs[flips]), *outcomes[flips], runs[flips].seconds, runs[flips].bound
            )
            for given, flips in scene.budgets
        ),
        notes=_notes(runs),
        seconds_fit=seconds_fit,
    )


def _notes(runs: dict[int, Poison]) -> tuple[str, ...]:
    """Return the remarks of all runs, each once; those of some runs say of which."""
    said: dict[str, list[int]] = {}
    for flips, run in sorted(runs.items()):
        for note in run.notes:
            said.setdefault(note, []).append(flips)
    return tuple(
        note if len(of) == len(runs) else f"{', '.join(f'{k:,}' for k in of)} flips: {note}"
        for note, of in said.items()
    )


def error_of(predicted: Integers, problem: Problem) -> float | None:
    """Return the part of the unlabelled points predicted wrongly, where the truth is known."""
    if problem.truth is None:
        return None
    return float((predicted != problem.truth[problem.unlabeled]).mean())


def name_of(propagator: Propagator) -> str:
    """Return a propagator as the command line writes it, with the settings that are not defaults.

    What is predicted from another one has the other's name behind its own; no option takes it, as
    it is how the preset "replication" scores a victim.

    Examples
    --------
    >>> from gssl_poison.propagation import Predicted, Propagation, Spreading
    >>> name_of(Propagation(10))
    'propagation:n_iter=10'
    >>> name_of(Predicted(Spreading(alpha=0.3, n_iter=5)))
    'predicted:spreading:alpha=0.3,n_iter=5'
    """
    from dataclasses import MISSING, fields

    if isinstance(propagator, Predicted):
        return f"predicted:{name_of(propagator.inner)}"
    parts = [
        f"{field.name}={getattr(propagator, field.name)}"
        for field in fields(propagator)
        if field.default is MISSING or getattr(propagator, field.name) != field.default
    ]
    name = type(propagator).__name__.lower()
    return f"{name}:{','.join(parts)}" if parts else name
