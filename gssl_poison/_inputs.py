"""Points as the command line names them: the options that commands share, and their reading."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gssl_poison.exceptions import InputError

if TYPE_CHECKING:
    from gssl_poison.datasets import Dataset

DEFAULT_SEED = 2020

_SOURCE = typer.Argument(
    metavar="DATA",
    show_default=False,
    help="A .csv, .tsv, .parquet, .npz (X, y) or .svmlight file, or the name of a data set "
    "(see `gssl-poison data`).",
)
Source = Annotated[str, _SOURCE]
SourceOrNone = Annotated[str | None, _SOURCE]
Label = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        help="Label column of a table (default: 'label', or one of 'y', 'target', 'class').",
    ),
]
Provenance = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        help="Column (array of an .npz) that says where each label comes from: a person, a batch, "
        "a supplier. It is no feature.",
    ),
]
Unlabeled = Annotated[
    str | None,
    typer.Option(
        metavar="VALUE",
        help="Label that means unlabelled; empty cells always do. 'nan': only they do.",
    ),
]
Labeled = Annotated[
    str | None,
    typer.Option(
        metavar="PART",
        help="Keep this part (0.05) or number (50) of the labels of a fully labelled data set "
        "and hide the rest.",
    ),
]
Seed = Annotated[int, typer.Option(help="Seed of the permutation that --labeled uses.")]
Gamma = Annotated[
    str,
    typer.Option(metavar="G", help="Kernel coefficient: a number, or auto, scale, median or loo."),
]
GraphName = Annotated[
    str,
    typer.Option(
        metavar="GRAPH",
        help="rbf: all pairs of points. knn or knn:n_neighbors=10: each point's nearest ones, "
        "for data too large for that.",
    ),
]
Top = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, help="Rows to print (default: 10; all with --json)."),
]
Page = Annotated[Path | None, typer.Option(metavar="FILE.html", help="Write a page to look at.")]
Device = Annotated[
    str,
    typer.Option(
        metavar="auto|cpu|cuda",
        help="Where to compute: cuda takes cupy, a GPU and dense points; auto is the CPU.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def read_points(
    source: str,
    label: str | None,
    unlabeled: str | None,
    labeled: str | None,
    seed: int,
    *,
    provenance: str | None = None,
) -> tuple[Dataset, Any]:
    """Read the points, and the value of their labels that means unlabelled."""
    from gssl_poison.readers import parse_label_value

    dataset = _load(source, label, labeled, seed, provenance)
    return dataset, None if unlabeled is None else parse_label_value(unlabeled, dataset.y)


def _load(
    source: str, label: str | None, labeled: str | None, seed: int, provenance: str | None
) -> Dataset:
    """Read a file, or a named data set, hiding labels where asked to."""
    from dataclasses import replace

    from gssl_poison.datasets import dataset_names, hide_labels, load_dataset
    from gssl_poison.labels import is_missing
    from gssl_poison.readers import read_input

    part = None if labeled is None else read_part(labeled)
    from_file = is_file(source)
    if source in dataset_names() and not from_file:
        for option, column in (("--label", label), ("--provenance", provenance)):
            if column is not None:
                raise InputError(
                    f"{option} {column!r} names a column of a file, and {source} is a data set."
                )
        if part is None:
            raise InputError(
                f"{source} is fully labelled, so there is nothing to influence; hide labels with "
                "--labeled 0.05 (a part) or --labeled 50 (a number)."
            )
        return load_dataset(source, labeled=part, seed=seed)
    if not from_file and not Path(source).is_dir() and not Path(source).suffix:
        raise InputError(
            f"{source!r} is neither a file nor a data set; `gssl-poison data` lists the data sets."
        )
    dataset = read_input(source, label=label, provenance=provenance)
    if part is None:
        return dataset
    empty = sum(is_missing(value) for value in dataset.y.tolist())
    if empty:
        raise InputError(
            f"{source} has {empty:,} points without a label already; --labeled hides labels of a "
            "fully labelled file: leave it out."
        )
    return replace(dataset, y=hide_labels(dataset.y, part, seed), truth=dataset.y)


def is_file(source: str) -> bool:
    """Tell whether DATA is a file; a name the system refuses is not."""
    try:
        return Path(source).is_file()
    except OSError:
        raise InputError(f"{source[:60]!r}... is no path on this system; correct it.") from None


def read_part(text: str, option: str = "--labeled") -> float | int:
    """Read --labeled, --budget: a whole number is a count, anything else a part."""
    try:
        return int(text) if text.strip().lstrip("+-").isdigit() else float(text)
    except ValueError:
        raise InputError(
            f"{option} {text!r} is not a number; give a part (0.05) or a count (50)."
        ) from None


def read_gamma(text: str) -> float | str:
    """Read --gamma: a number if it is one, else the name of a rule."""
    try:
        return float(text)
    except ValueError:
        return text
