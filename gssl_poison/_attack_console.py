"""What `gssl-poison attack` and `gssl-poison certify` print and write."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gssl_poison._console import plain
from gssl_poison.exceptions import InputError

if TYPE_CHECKING:
    import pandas as pd

    from gssl_poison._attacking import Attacked, Scene
    from gssl_poison._certifying import Certified


def percent(part: float | None) -> str:
    """Show a part of one as a percentage, with the digits that papers print."""
    if part is None:
        return "unknown"
    return f"{100 * part:.{3 if part < 0.1 else 2}f} %"


def print_methods(*, as_json: bool) -> None:
    """List every method in a line: its name, what it does, whose M it reads, where it is from."""
    import typer

    from gssl_poison.attacks import ATTACKS, REGRESSION_ATTACKS

    rows = [
        {
            "method": name,
            "does": (attack.__doc__ or "").strip().splitlines()[0] + _set_apart(attack),
            "reads": attack.surrogate,
            "source": attack.source,
        }
        for name, attack in ATTACKS.items()
    ]
    if as_json:
        print_document(rows)
        return
    widest = max(len(row["method"]) for row in rows)
    for row in rows:
        reads = "the victim" if row["reads"] == "victim" else row["reads"]
        text = f"{row['method']:{widest}}  {row['does']} Reads M of {reads}. [{row['source']}]"
        typer.echo(plain(text))
    typer.echo(
        f"NAME+swaps goes on from the flips of NAME. For real-valued labels, from Python "
        f"(gssl_poison.attacks.REGRESSION_ATTACKS): {', '.join(REGRESSION_ATTACKS)}."
    )


def _set_apart(attack: Any) -> str:
    """Say which settings tell this method from others of its kind."""
    from dataclasses import fields

    standard = type(attack)()
    own = [
        f"{f.name}={getattr(attack, f.name)!r}"
        for f in fields(attack)
        if getattr(attack, f.name) != getattr(standard, f.name)
    ]
    return f" Here {', '.join(own)}." if own else ""


def print_document(document: object) -> None:
    """Print one JSON document."""
    import typer

    typer.echo(json.dumps(document, indent=2, allow_nan=False, default=str))


def print_attack(done: Attacked) -> None:
    """Print what an attack did to the victim, and what a reader must know about it."""
    from gssl_poison._attacking import name_of

    scene, poison = done.scene, done.poison
    shared = done.surrogate == scene.scored
    reads = "the victim's own M" if shared else f"the M of {name_of(done.surrogate)}"
    if getattr(done.attack, "preset", "corrected") == "replication":
        reads = "the published K of the graph"
    knows = "and the true classes" if poison.used_truth else "and no true class"
    lines = [
        *_about(scene),
        f"method {done.method} ({done.attack.source})",
        f"the attacker reads {reads}, {knows}",
    ]
    told = done.clean_error is not None
    header = ["budget", "flips"]
    header += ["error before", "error after"] if told else ["predictions changed"]
    rows = []
    for row in done.outcomes:
        parts = (done.clean_error, row.error) if told else (row.changed,)
        figures = [percent(part) for part in parts]
        rows.append([f"{row.budget:g}", f"{row.flips:,}", *figures, f"{row.seconds:.2f}"])
    notes = list(done.notes)
    if not told:
        notes.append(
            "The true classes are not known here, so the error cannot be told: the table shows the "
            "part of the unlabelled points whose prediction changed."
        )
    if poison.nested and len({row.flips for row in done.outcomes}) > 1:
        notes.append(
            "One run at the largest budget: a smaller one takes the first of its flips, and the "
            "seconds are the run's."
        )
    _print(lines, [*header, "seconds"], rows, notes)


def print_certificate(done: Certified) -> None:
    """Print what no attacker can do, and what one does."""
    certificate, scene = done.certificate, done.scene
    counts = "counts predictions that change; certified are those nobody can change"
    if certificate.used_truth:
        clean = percent(certificate.clean)
        counts = f"counts wrong predictions, {clean} now; certified are right and stay so"
    lines = [*_about(scene), counts]
    header = ["budget", "flips", "best attack", "collective bound", "pointwise bound", "certified"]
    rows = [
        [
            f"{level.budget:g}",
            f"{level.flips:,}",
            *map(percent, (level.attack, level.collective, level.pointwise, level.certified)),
        ]
        for level in done.levels
    ]
    words = "make wrong" if certificate.used_truth else "change"
    last = done.levels[-1]
    notes = [
        f"No attacker who changes at most {last.flips:,} labels, whichever they are, can {words} "
        f"more than {percent(last.collective)} of the predictions; an attack that was tried "
        f"reaches {percent(last.attack)}.",
        f"It holds for {certificate.holds_for}",
    ]
    if certificate.undecided:
        notes.append(
            f"For {certificate.undecided:,} predictions rounding leaves open whether one more flip "
            "is needed to turn them; the bounds count the fewer."
        )
    _print(lines, header, rows, notes)


def certificate_document(done: Certified) -> dict[str, Any]:
    """Return a certificate as plain values."""
    from gssl_poison._certifying import document

    return document(done, _facts(done.scene))


def _about(scene: Scene) -> list[str]:
    """Say which points, which graph and which victim."""
    from gssl_poison._attacking import name_of

    problem = scene.problem
    note = "" if scene.gamma_rule == "preset" else f": {scene.gamma_note}"
    rule = "" if scene.gamma_rule == "given" else f" ({scene.gamma_rule})"
    extra = scene.scored != scene.victim
    scored = ", scored with predict: one step more" if extra else ""
    return [
        f"{scene.dataset.name}: {problem.labeled.size:,} labelled and "
        f"{problem.unlabeled.size:,} unlabelled points, {scene.n_features:,} features, "
        f"{problem.n_classes} classes",
        f"gamma {scene.gamma:.6g}{rule}{note}; graph {scene.graph}",
        f"victim {name_of(scene.victim)}{scored}; preset {scene.preset.name}",
    ]


def _print(
    lines: Iterable[str], header: Sequence[str], rows: Iterable[Sequence[str]], notes: Iterable[str]
) -> None:
    """Print lines, a table of figures and notes."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    for line in lines:
        console.print(Text(plain(line)))
    grid = Table()
    for name in header:
        grid.add_column(name, justify="right")
    for row in rows:
        grid.add_row(*row)
    console.print(grid)
    for note in notes:
        console.print(Text(plain(f"Note: {note}")))


def attack_document(done: Attacked) -> dict[str, Any]:
    """Return an attack and what came of it as plain values."""
    from gssl_poison._attacking import name_of

    scene, poison = done.scene, done.poison
    problem = scene.problem
    return {
        **_facts(scene),
        "method": done.method,
        "attack": poison.method,
        "attack_source": done.attack.source,
        "surrogate": name_of(done.surrogate),
        "used_truth": poison.used_truth,
        "nested": poison.nested,
        "notes": list(done.notes),
        "clean_error": done.clean_error,
        "budgets": [
            {
                "budget": row.budget,
                "flips": row.flips,
                "error": row.error,
                "changed": row.changed,
                "bound": row.bound,
                "seconds": row.seconds,
            }
            for row in done.outcomes
        ],
        "objective": poison.objective_name,
        "order": [
            {
                "flip": k + 1,
                "point": int(problem.labeled[j]),
                "old": problem.classes[int(old)],
                "new": problem.classes[int(new)],
                "objective": float(reached),
            }
            for k, (j, old, new, reached) in enumerate(
                zip(poison.order, poison.old, poison.new, poison.objective, strict=True)
            )
        ],
        "seconds_fit": done.seconds_fit,
    }


def _facts(scene: Scene) -> dict[str, Any]:
    """Return the points, the graph and the victim as plain values."""
    from gssl_poison import __version__
    from gssl_poison._attacking import name_of

    problem = scene.problem
    return {
        "data": scene.dataset.name,
        "source": scene.dataset.source,
        "n_labeled": int(problem.labeled.size),
        "n_unlabeled": int(problem.unlabeled.size),
        "n_features": scene.n_features,
        "classes": list(problem.classes),
        "graph": scene.graph,
        "gamma": scene.gamma,
        "gamma_rule": scene.gamma_rule,
        "gamma_note": scene.gamma_note,
        "preset": scene.preset.name,
        "victim": name_of(scene.victim),
        "scored": name_of(scene.scored),
        "device": scene.device,
        "device_note": scene.device_note,
        "version": __version__,
    }


def labels_after(done: Attacked) -> pd.DataFrame:
    """Return a row for every point: its label now, its label before, the number of its flip."""
    import numpy as np
    import pandas as pd

    problem, poison = done.scene.problem, done.poison
    n = problem.graph.n_points
    names = np.empty(problem.n_classes, dtype=object)
    names[:] = problem.classes
    before, after = (np.full(n, None, dtype=object) for _ in range(2))
    before[problem.labeled] = names[problem.y]
    after[problem.labeled] = names[poison.apply(problem.y)]
    flip = np.zeros(n, dtype=np.int64)
    flip[problem.labeled[poison.order]] = np.arange(1, len(poison) + 1)
    return pd.DataFrame(
        {
            "point": np.arange(n),
            "label": pd.Series(after, dtype=object),
            "original": pd.Series(before, dtype=object),
            "flip": pd.Series(flip, dtype="Int64").mask(flip == 0),
        }
    )


def write_labels(done: Attacked, path: Path) -> None:
    """Write the poisoned labels in the format of the suffix, under a temporary name first."""
    from gssl_poison._atomic import atomic_write

    if not len(done.poison):
        raise InputError(f"no label was flipped, so there is nothing to write to {path}.")
    table = labels_after(done)
    with atomic_write(path) as temporary:
        match path.suffix.lower():
            case ".csv":
                table.to_csv(temporary, index=False)
            case ".parquet":
                _typed(table).to_parquet(temporary, index=False)
            case _:
                rows = table.astype(object).where(table.notna(), None).to_dict(orient="records")
                document = {**attack_document(done), "labels": rows}
                text = json.dumps(document, indent=2, allow_nan=False, default=str)
                temporary.write_text(text + "\n", encoding="utf-8")


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with label columns of one type, as Parquet wants them."""
    return table.convert_dtypes()
