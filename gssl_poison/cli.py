"""The command line: `gssl-poison rank | attack | certify | audit | queue | apply | ...`."""

from __future__ import annotations

import json
import logging
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gssl_poison._attack_commands import attack_command, certify_command
from gssl_poison._audit_commands import audit_command
from gssl_poison._commands import check_outputs, command_line, errors_as_sentences
from gssl_poison._console import (
    as_json_text,
    print_datasets,
    print_diagnosis,
    print_table,
    progress_bar,
    write_table,
)
from gssl_poison._inputs import (
    DEFAULT_SEED,
    AsJson,
    Debug,
    Device,
    Gamma,
    GraphName,
    Label,
    Labeled,
    Page,
    Seed,
    Source,
    Top,
    Unlabeled,
    read_gamma,
    read_points,
)
from gssl_poison._queue_commands import apply_command, queue_command
from gssl_poison._reproduce_commands import reproduce_command

if TYPE_CHECKING:
    from gssl_poison.datasets import Dataset
    from gssl_poison.diagnosis import Diagnosis

app = typer.Typer(
    help="Which labels do your predictions hang on? Rank the labelled points of a half-labelled "
    "data set by their influence: the ones an attacker would flip, and the ones to check first.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

DEFAULT_TOP = 10
_DEMO = "digits-1-7"


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
    source: Source,
    label: Label = None,
    unlabeled: Unlabeled = None,
    labeled: Labeled = None,
    seed: Seed = DEFAULT_SEED,
    gamma: Gamma = "auto",
    influence: Annotated[
        str,
        typer.Option(
            metavar="PROPAGATOR",
            help="Whose influence: direct (one step); or, through unlabelled points too, "
            "propagation:n_iter=10, spreading:alpha=0.2,n_iter=10, or their limits harmonic and "
            "spreading:alpha=0.2. harmonic:unreached=leave passes over points no label reaches.",
        ),
    ] = "direct",
    graph: GraphName = "rbf",
    by: Annotated[str, typer.Option(metavar="mir|total", help="Order by this.")] = "mir",
    normalization: Annotated[
        str,
        typer.Option(metavar="row|column-row", help="How weights become shares (direct only)."),
    ] = "row",
    top: Top = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the whole ranking: .csv, .parquet or .json."),
    ] = None,
    report: Page = None,
    device: Device = "auto",
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Rank labelled points by how many predictions hang on them.

    A point's MIR is the number of unlabelled points that it alone decides.
    """
    with errors_as_sentences(debug):
        check_outputs(source, out, report)
        dataset, mark = read_points(source, label, unlabeled, labeled, seed)
        _rank_and_show(
            dataset,
            gamma=read_gamma(gamma),
            influence=influence,
            graph=graph,
            by=by,
            normalization=normalization,
            unlabeled=mark,
            device=device,
            top=top,
            out=out,
            report=report,
            as_json=as_json,
        )


app.command(name="attack")(attack_command)
app.command(name="certify")(certify_command)
app.command(name="audit")(audit_command)
app.command(name="queue")(queue_command)
app.command(name="apply")(apply_command)
app.command(name="reproduce")(reproduce_command)


@app.command(name="doctor")
def doctor_command(
    source: Source,
    label: Label = None,
    unlabeled: Unlabeled = None,
    labeled: Labeled = None,
    seed: Seed = DEFAULT_SEED,
    gamma: Gamma = "auto",
    graph: GraphName = "rbf",
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Say what a graph will do to a solver, before hours are spent on it.

    Looks for underflow, standstill, cancellation, unreached points and missing memory.
    """
    with errors_as_sentences(debug):
        dataset, mark = read_points(source, label, unlabeled, labeled, seed)
        bandwidth, found = _diagnose(dataset, mark, read_gamma(gamma), graph)
        if as_json:
            about = {"data": dataset.name, "source": dataset.source, **bandwidth}
            typer.echo(json.dumps({**about, **found.as_dict()}, indent=2, allow_nan=False))
            return
        options = {
            "--label": label,
            "--unlabeled": unlabeled,
            "--labeled": labeled,
            "--seed": None if seed == DEFAULT_SEED else str(seed),
            "--gamma": None if gamma == "auto" else gamma,
            "--graph": found.recommended_graph or (None if graph == "rbf" else graph),
            "--influence": None if found.recommended == "direct" else found.recommended,
        }
        given = [word for name, value in options.items() if value for word in (name, value)]
        print_diagnosis(
            found, dataset, graph, bandwidth, shlex.join(["gssl-poison", "rank", source, *given])
        )


@app.command(name="data")
def data_command(
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """List the data sets, where each was found, or how to get it."""
    with errors_as_sentences(debug):
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
    with errors_as_sentences(debug):
        from gssl_poison.datasets import load_dataset

        check_outputs(_DEMO, None, report)
        _rank_and_show(
            load_dataset(_DEMO, labeled=0.1),
            gamma="auto",
            influence="direct",
            graph="rbf",
            by="mir",
            normalization="row",
            unlabeled=None,
            device="auto",
            top=None,
            out=None,
            report=report,
            as_json=False,
        )


def _rank_and_show(
    dataset: Dataset,
    *,
    gamma: float | str,
    influence: str,
    graph: str,
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

    with progress_bar("ranking") as progress:
        table = rank(
            dataset.X,
            dataset.y,
            gamma=gamma,
            influence=influence,
            graph=graph,
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

        write_report(report, table, dataset, command=command_line())
    if as_json:
        typer.echo(as_json_text(table, dataset, top))
        return
    print_table(table, dataset, DEFAULT_TOP if top is None else top)
    for path in (out, report):
        if path is not None:
            typer.echo(f"written: {path}")


def _diagnose(
    dataset: Dataset, unlabeled: Any, gamma: float | str, name: str
) -> tuple[dict[str, Any], Diagnosis]:
    """Build the graph that `rank` would rank on, and look at it."""
    from gssl_poison._arrays import as_features
    from gssl_poison.diagnosis import diagnose
    from gssl_poison.labels import split_labels
    from gssl_poison.ranking import build_graph

    features = as_features(dataset.X)
    labels = split_labels(dataset.y, features.shape[0], unlabeled)
    with progress_bar("looking"):
        built = build_graph(name, features, gamma, labels)
        found = diagnose(built, labels.labeled)
    # A graph that has a name has a gamma: only one of a caller's own weights has none.
    bandwidth: Any = getattr(built, "bandwidth", None)
    return {"gamma_rule": bandwidth.rule, "gamma_note": bandwidth.note}, found
