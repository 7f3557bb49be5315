"""The command line: `gssl-poison rank | data | demo`."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gssl_poison._console import (
    as_json_text,
    plain,
    print_datasets,
    print_table,
    progress_bar,
    write_table,
)
from gssl_poison.exceptions import DatasetNotFoundError, GsslPoisonError, InputError

if TYPE_CHECKING:
    from gssl_poison.datasets import Dataset

app = typer.Typer(
    help="Which labels do your predictions hang on? Rank the labelled points of a half-labelled "
    "data set by their influence: the ones an attacker would flip, and the ones to check first.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_OUTPUTS = (".csv", ".parquet", ".json")
DEFAULT_TOP = 10
_DEMO = "digits-1-7"

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def main() -> None:
    """Run the command line."""
    app()


def _print_version(wanted: bool) -> None:
    """Print the version and leave."""
    if wanted:
        from gssl_poison import __version__

        typer.echo(f"gssl-poison {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Hold the options that come before a command; its help is the application's."""
    # The library logs, say, that it downloads; the command line is where a person reads it.
    logger = logging.getLogger("gssl_poison")
    if not logger.handlers:
        logger.addHandler(logging.StreamHandler())
        logger.setLevel(logging.INFO)


@app.command(name="rank")
def rank_command(
    source: Annotated[
        str,
        typer.Argument(
            metavar="INPUT",
            help="A .csv, .tsv, .parquet, .npz (X, y) or .svmlight file, or the name of a data set "
            "(see `gssl-poison data`).",
        ),
    ],
    label: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Label column of a table (default: 'label', or one of 'y', 'target', 'class').",
        ),
    ] = None,
    unlabeled: Annotated[
        str | None,
        typer.Option(
            metavar="VALUE",
            help="Label that means unlabelled; empty cells always do. 'nan': only they do.",
        ),
    ] = None,
    labeled: Annotated[
        str | None,
        typer.Option(
            metavar="PART",
            help="Keep this part (0.05) or number (50) of the labels of a fully labelled data set "
            "and hide the rest.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the permutation that --labeled uses.")] = 2020,
    gamma: Annotated[
        str,
        typer.Option(
            metavar="G", help="Kernel coefficient: a number, or auto, scale, median or loo."
        ),
    ] = "auto",
    by: Annotated[str, typer.Option(metavar="mir|total", help="Order by this.")] = "mir",
    normalization: Annotated[
        str, typer.Option(metavar="row|column-row", help="How weights become shares.")
    ] = "row",
    top: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Rows to print (default: 10; all with --json)."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the whole ranking: .csv, .parquet or .json."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write a page to look at.")
    ] = None,
    device: Annotated[
        str, typer.Option(metavar="auto|cpu|cuda", help="Where to compute.")
    ] = "auto",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document and nothing else.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Rank labelled points by how many predictions hang on them.

    A point's MIR is the number of unlabelled points that it alone decides.
    """
    with _errors_as_sentences(debug):
        from gssl_poison.readers import parse_label_value

        _check_outputs(source, out, report)
        dataset = _load(source, label, labeled, seed)
        mark = None if unlabeled is None else parse_label_value(unlabeled, dataset.y)
        _rank_and_show(
            dataset,
            gamma=_gamma(gamma),
            by=by,
            normalization=normalization,
            unlabeled=mark,
            device=device,
            top=top,
            out=out,
            report=report,
            as_json=as_json,
        )


@app.command(name="data")
def data_command(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document and nothing else.")
    ] = False,
    debug: Debug = False,
) -> None:
    """List the data sets, where each was found, or how to get it."""
    with _errors_as_sentences(debug):
        from dataclasses import asdict

        from gssl_poison.datasets import list_datasets

        rows = list_datasets()
        if as_json:
            typer.echo(json.dumps([asdict(row) for row in rows], indent=2))
            return
        print_datasets(rows)


@app.command(name="demo")
def demo_command(
    report: Annotated[
        Path, typer.Option(metavar="FILE.html", help="Where to write the page to look at.")
    ] = Path("gssl-poison-demo.html"),
    debug: Debug = False,
) -> None:
    """Rank the labels of handwritten digits (1 against 7), print the table, write a report.

    The 361 images come with scikit-learn; 36 keep their labels. Nothing is downloaded.
    """
    with _errors_as_sentences(debug):
        from gssl_poison.datasets import load_dataset

        _check_outputs(_DEMO, None, report)
        _rank_and_show(
            load_dataset(_DEMO, labeled=0.1),
            gamma="auto",
            by="mir",
            normalization="row",
            unlabeled=None,
            device="auto",
            top=None,
            out=None,
            report=report,
            as_json=False,
        )


@contextmanager
def _errors_as_sentences(debug: bool) -> Iterator[None]:
    """Turn errors into one sentence on stderr; exit with 2 for bad input, 1 for a failure."""
    try:
        yield
    except (typer.Exit, typer.Abort, KeyboardInterrupt):
        raise
    except Exception as error:
        if debug:
            raise
        known = isinstance(error, GsslPoisonError)
        text = str(error) if known else f"{type(error).__name__}: {error} (--debug shows where)"
        typer.echo(f"gssl-poison: {plain(text)}", err=True)
        bad_input = known and not isinstance(error, DatasetNotFoundError)
        raise typer.Exit(2 if bad_input else 1) from None


def _check_outputs(source: str, out: Path | None, report: Path | None) -> None:
    """Refuse, before any work, an output that cannot or must not be written."""
    if out is not None and out.suffix.lower() not in _OUTPUTS:
        raise InputError(
            f"--out {out} ends in {out.suffix or 'nothing'!r}; use one of {', '.join(_OUTPUTS)}."
        )
    if report is not None and report.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"--report {report} is a web page; give it a name ending in .html.")
    for path in (out, report):
        if path is None:
            continue
        if path.is_dir() or not path.absolute().parent.is_dir():
            raise InputError(f"{path} cannot be written: give a file in a folder that exists.")
        if _is_file(source) and path.exists() and path.samefile(source):
            raise InputError(f"{path} is the input, which is never changed; give another name.")


def _load(source: str, label: str | None, labeled: str | None, seed: int) -> Dataset:
    """Read a file, or a named data set, hiding labels where asked to."""
    from dataclasses import replace

    from gssl_poison.datasets import dataset_names, hide_labels, load_dataset
    from gssl_poison.labels import is_missing
    from gssl_poison.readers import read_input

    part = None if labeled is None else _part(labeled)
    is_file = _is_file(source)
    if source in dataset_names() and not is_file:
        if label is not None:
            raise InputError(
                f"--label {label!r} names a column of a file, and {source} is a data set."
            )
        if part is None:
            raise InputError(
                f"{source} is fully labelled, so there is nothing to influence; hide labels with "
                "--labeled 0.05 (a part) or --labeled 50 (a number)."
            )
        return load_dataset(source, labeled=part, seed=seed)
    if not is_file and not Path(source).is_dir() and not Path(source).suffix:
        raise InputError(
            f"{source!r} is neither a file nor a data set; `gssl-poison data` lists the data sets."
        )
    dataset = read_input(source, label=label)
    if part is None:
        return dataset
    empty = sum(is_missing(value) for value in dataset.y.tolist())
    if empty:
        raise InputError(
            f"{source} has {empty:,} points without a label already; --labeled hides labels of a "
            "fully labelled file: leave it out."
        )
    return replace(dataset, y=hide_labels(dataset.y, part, seed), truth=dataset.y)


def _is_file(source: str) -> bool:
    """Tell whether INPUT is a file; a name the system refuses is not."""
    try:
        return Path(source).is_file()
    except OSError:
        raise InputError(f"{source[:60]!r}... is no path on this system; correct it.") from None


def _part(text: str) -> float | int:
    """Read --labeled: a whole number is a count, anything else a part."""
    try:
        return int(text) if text.strip().lstrip("+-").isdigit() else float(text)
    except ValueError:
        raise InputError(
            f"--labeled {text!r} is not a number; give a part (0.05) or a count (50)."
        ) from None


def _gamma(text: str) -> float | str:
    """Read --gamma: a number if it is one, else the name of a rule."""
    try:
        return float(text)
    except ValueError:
        return text


def _rank_and_show(
    dataset: Dataset,
    *,
    gamma: float | str,
    by: str,
    normalization: str,
    unlabeled: Any,
    device: str,
    top: int | None,
    out: Path | None,
    report: Path | None,
    as_json: bool,
) -> None:
    """Rank, then print, write and report what was asked for."""
    from gssl_poison.ranking import rank

    with progress_bar() as progress:
        table = rank(
            dataset.X,
            dataset.y,
            gamma=gamma,
            by=by,
            normalization=normalization,
            unlabeled=unlabeled,
            device=device,
            progress=progress,
        )
    if out is not None:
        write_table(table, dataset, out)
    if report is not None:
        from gssl_poison.report import write_report

        write_report(report, table, dataset, command=_command_line())
    if as_json:
        typer.echo(as_json_text(table, dataset, top))
        return
    print_table(table, dataset, DEFAULT_TOP if top is None else top)
    for path in (out, report):
        if path is not None:
            typer.echo(f"written: {path}")


def _command_line() -> str:
    """Return the command as it can be typed again, without the folder of the program."""
    import shlex

    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
