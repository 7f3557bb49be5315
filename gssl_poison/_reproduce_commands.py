"""`gssl-poison reproduce`: its options, and the order of its work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gssl_poison._commands import command_line, errors_as_sentences
from gssl_poison._inputs import AsJson, Debug
from gssl_poison.exceptions import GsslPoisonError, InputError

_REPEATS = {"replication": 1, "corrected": 5}


def reproduce_command(
    *,
    question: Annotated[
        str,
        typer.Argument(
            metavar="rq1|rq2|rq3|rq4|all",
            show_default=False,
            help="rq1: does MIR tell what a flip does? rq2: what do models learn from poisoned "
            "labels? rq3: which attack does most, and how fast is it? rq4: check labels, or label "
            "more? Several separated by commas, or all.",
        ),
    ],
    datasets: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Data sets, separated by commas (default: mnist-1-7,cifar10-cat-ship,"
            "reuters-corporate). There are rcv1 too, where its files are at hand, mnist (ten "
            "classes), and digits-1-7 and digits, which are small and come with scikit-learn.",
        ),
    ] = None,
    labeled: Annotated[
        str, typer.Option(metavar="PARTS", help="Parts of the points that have a label.")
    ] = "0.05,0.15,0.25",
    budgets: Annotated[
        str, typer.Option(metavar="PARTS", help="Parts of the labels that are flipped.")
    ] = "0.05,0.1,0.15,0.2",
    preset: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="replication: as the code behind the paper's tables does it; corrected: with "
            "victims that are solved right; or both, separated by a comma.",
        ),
    ] = "replication",
    repeats: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Choices of labels, seeds 2020, 2021, ... (default: 1 of replication, as in the "
            "published code, 5 of corrected).",
        ),
    ] = None,
    models: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="What is to err: transductive (the victim itself), forest, mlp. The last two take "
            "most of the time.",
        ),
    ] = "transductive,forest,mlp",
    out: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            help="Where to keep finished cells, the table and the report. The same DIR again goes "
            "on where a run stopped, and adds to what is there.",
        ),
    ] = Path("reproduction"),
    n_jobs: Annotated[
        int,
        typer.Option(
            metavar="N", help="Processes at a time; -1: as many as processors, and memory allows."
        ),
    ] = -1,
    device: Annotated[
        str,
        typer.Option(
            metavar="auto|cpu|cuda",
            help="Where to compute: cuda takes a GPU, with cupy, and torch for perceptrons; "
            "forests and the published K stay on the CPU. auto is the CPU.",
        ),
    ] = "auto",
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Rerun the paper's experiments and set its tables beside ours.

    Finished cells are kept: a run that is stopped or killed goes on where it was, with the same
    command. DIR holds the table (results.csv, results.parquet) and the report (report.html,
    report.md, figure-4.svg).
    """
    with errors_as_sentences(debug):
        from gssl_poison._reproduce_console import experiment_bar, print_reproduction
        from gssl_poison.experiments.questions import QUESTIONS, Plan
        from gssl_poison.experiments.runner import reproduce
        from gssl_poison.experiments.studies import USUAL
        from gssl_poison.report import write_reproduction

        named = _names(question.lower(), "the question")
        asked = QUESTIONS if "all" in named else named
        plans = [
            Plan(
                questions=asked,
                preset=name,
                datasets=USUAL if datasets is None else _names(datasets, "--datasets"),
                labeled=_parts(labeled, "--labeled"),
                budgets=_parts(budgets, "--budgets"),
                repeats=_REPEATS.get(name, 1) if repeats is None else repeats,
                models=_names(models, "--models"),
            )
            for name in _names(preset, "--preset")
        ]
        refused: list[GsslPoisonError] = []
        try:
            with experiment_bar() as progress:
                done = reproduce(
                    plans,
                    out,
                    n_jobs=n_jobs,
                    device=device,
                    progress=progress,
                    refused=refused.append,
                )
        except KeyboardInterrupt:
            typer.echo(
                f"gssl-poison: stopped. What is finished is kept in {out}; the same command goes "
                "on from there.",
                err=True,
            )
            raise typer.Exit(130) from None
        write_reproduction(done.everything, out, command=command_line())
        print_reproduction(done, asked, out, as_json=as_json)
        if refused:
            raise refused[0]


def _names(text: str, option: str) -> tuple[str, ...]:
    """Read names separated by commas, each once."""
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not names:
        raise InputError(f"{option} is empty; give one name, or several separated by commas.")
    return names


def _parts(text: str, option: str) -> tuple[float, ...]:
    """Read parts separated by commas, in ascending order."""
    try:
        return tuple(sorted(float(part) for part in text.split(",") if part.strip()))
    except ValueError:
        raise InputError(
            f"{option} {text!r} is not a list of numbers; give parts between 0 and 1 separated by "
            "commas, such as 0.05,0.15,0.25."
        ) from None
