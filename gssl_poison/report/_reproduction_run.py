"""What was run for a report of experiments: where the time went, on what and with what."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gssl_poison.experiments.comparison import Results, number_of
from gssl_poison.experiments.names import VICTIM_NAMES, part_text, title_of

from ._format import count
from ._reproduction_views import Column, Table, Value, duration, make_lines


def time_table(results: Results) -> Table:
    """Draw where the time went: the seconds of each kind of cell."""
    names = {
        "correlation": "correlations",
        "transductive": "transductive errors",
        "forest": "random forests",
        "mlp": "perceptrons",
        "seconds": "timings",
    }
    spent: dict[tuple[str, str], dict[str, float]] = {}
    for (preset, place), rows in results.rows.items():
        kind = place.model if place.kind == "error" else place.kind
        own = spent.setdefault((place.dataset, preset), {})
        for row in rows.values():
            seconds = number_of(row.get("seconds"))
            if seconds >= 0:
                own[kind] = own.get(kind, 0.0) + seconds
    kinds = [kind for kind in names if any(kind in own for own in spent.values())]
    lines = []
    for dataset in results.datasets():
        for preset in results.presets:
            if (dataset, preset) in spent:
                own = spent[dataset, preset]
                heads = (title_of(dataset), preset)
                lines.append((heads, _durations(own, kinds)))
    if len(lines) > 1:
        total: dict[str, float] = {}
        for own in spent.values():
            for kind, seconds in own.items():
                total[kind] = total.get(kind, 0.0) + seconds
        lines.append((("all", "all"), _durations(total, kinds)))
    return Table(
        "Where the time goes",
        "Time that the cells took, added up: where several ran at once, the clock showed less. "
        "The authors needed about 15 days on 12 virtual CPUs for all of theirs.",
        ("Data set", "Preset"),
        (*(Column(names[kind]) for kind in kinds), Column("together")),
        make_lines(lines),
    )


def _durations(spent: dict[str, float], kinds: Sequence[str]) -> list[Value]:
    values = [
        Value(duration(spent[kind])) if kind in spent else Value("\u2013", "absent")
        for kind in kinds
    ]
    return [*values, Value(duration(sum(spent.values())))]


def run_settings(results: Results) -> tuple[tuple[str, str], ...]:
    """List what the cells were measured on and with."""
    rows = [
        (preset, place, row)
        for (preset, place), by_seed in results.rows.items()
        for row in by_seed.values()
    ]
    found: list[tuple[str, str]] = []
    for dataset in results.datasets():
        own = [(place, row) for _, place, row in rows if place.dataset == dataset]
        facts = [f"name {dataset}"] if title_of(dataset) != dataset else []
        sizes = {
            place.labeled: f"{count(number_of(row['labels']))} of "
            f"{count(number_of(row['labels']) + number_of(row['unlabeled']))} labelled "
            f"({part_text(place.labeled)})"
            for place, row in own
            if number_of(row.get("labels")) >= 0 and number_of(row.get("unlabeled")) >= 0
        }
        facts += [sizes[part] for part in sorted(sizes)]
        gammas = sorted({g for _, row in own if (g := number_of(row.get("gamma"))) >= 0})
        facts += [f"gamma {gamma:g}" for gamma in gammas]
        facts += [f"fingerprint {text}" for text in _texts((row for _, row in own), "data")]
        found.append((title_of(dataset), "; ".join(facts)))
    for preset in results.presets:
        victims: dict[str, str] = {}
        for name, place, row in rows:
            if name == preset and isinstance(row.get("victim_is"), str) and row["victim_is"]:
                victims.setdefault(place.victim, row["victim_is"])
        seeds = ", ".join(str(seed) for seed in results.seeds(preset))
        told = [f"seeds {seeds}" if "," in seeds else f"seed {seeds}"]
        told += [f"{VICTIM_NAMES[victim]} is {text}" for victim, text in victims.items()]
        found.append((preset.capitalize(), "; ".join(told)))
    every = [row for _, _, row in rows]
    for name, column in (("Machine", "machine"), ("Device", "device"), ("Versions", "versions")):
        found.append((name, "; ".join(_texts(every, column))))
    finished = _texts(every, "finished")
    if finished:
        span = sorted({finished[0], finished[-1]})
        found.append(("Finished", " to ".join(span)))
    return tuple((name, text) for name, text in found if text)


def _texts(rows: Iterable[object], column: str) -> list[str]:
    """Return the different texts of a column, sorted."""
    values = {row.get(column) for row in rows if isinstance(row, dict)}
    return sorted(value for value in values if isinstance(value, str) and value)
