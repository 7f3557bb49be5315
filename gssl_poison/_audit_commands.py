"""`gssl-poison audit`: its options, and the order of its work."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from gssl_poison._commands import (
    check_outputs,
    command_line,
    errors_as_sentences,
    solvers_muted,
)
from gssl_poison._console import progress_bar
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
    Provenance,
    Seed,
    Source,
    Top,
    Unlabeled,
)

SUSPECTS_FOUND = 3
DEFAULT_TOP = 10


def audit_command(
    *,
    source: Source,
    label: Label = None,
    unlabeled: Unlabeled = None,
    provenance: Provenance = None,
    answers: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A queue that people filled in (see `gssl-poison queue`): labels they confirmed "
            "are suspects no more, labels they corrected count as corrected.",
        ),
    ] = None,
    before: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="The same points with earlier labels: audited with the same settings, and set "
            "beside this audit. --answers are not applied to it.",
        ),
    ] = None,
    allow: Annotated[
        str,
        typer.Option(
            metavar="PART|N",
            help="Suspects to tolerate, labels that are wrong with an estimated probability of "
            "more than 25 %: a number (3) or a part of the labels (0.01). More end the command "
            "with exit code 3.",
        ),
    ] = "0",
    labeled: Labeled = None,
    seed: Seed = DEFAULT_SEED,
    gamma: Gamma = "auto",
    graph: GraphName = "rbf",
    influence: Annotated[
        str,
        typer.Option(
            metavar="PROPAGATOR",
            help="What predicts from the labels, and whose influence is meant: direct (one step); "
            "or, through unlabelled points too, propagation:n_iter=10, "
            "spreading:alpha=0.2,n_iter=10, harmonic or spreading:alpha=0.2.",
        ),
    ] = "direct",
    certificate: Annotated[
        bool,
        typer.Option(
            "--certificate/--no-certificate",
            help="Whether to prove what a number of changed labels can do; takes most of the time.",
        ),
    ] = True,
    top: Top = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a row for every label: .csv, .parquet or .json."),
    ] = None,
    report: Page = None,
    device: Device = "auto",
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Find labels that look wrong, before a model is trained on them.

    Says which labels are suspects, what hangs on each, and what nobody can do who changes some.

    Exit code 0: no label looks wrong; 3: some do; 2: bad input; 1: a failure.

    No file is changed.
    """
    with errors_as_sentences(debug):
        check_outputs(source, out, report)
        for other in (answers, before):
            if other is not None:
                check_outputs(str(other), out, report)
        from gssl_poison._attack_console import print_document
        from gssl_poison._audit_console import audit_document, print_audit, write_audit_table
        from gssl_poison._auditing import run_audit

        with progress_bar("auditing") as progress, solvers_muted():
            done = run_audit(
                source,
                label=label,
                unlabeled=unlabeled,
                labeled=labeled,
                seed=seed,
                provenance=provenance,
                answers=answers,
                before=before,
                allow=allow,
                gamma=gamma,
                graph=graph,
                influence=influence,
                certificate=certificate,
                device=device,
                progress=progress,
            )
        if out is not None:
            write_audit_table(done, out)
        if report is not None:
            from gssl_poison.report._audit import write_audit

            write_audit(
                report, done.audit, done.dataset, command=command_line(), before=done.before
            )
        if as_json:
            print_document(audit_document(done, top))
        else:
            given = {
                "--label": label,
                "--unlabeled": unlabeled,
                "--provenance": provenance,
                "--answers": None if answers is None else str(answers),
                "--labeled": labeled,
                "--seed": None if seed == DEFAULT_SEED else str(seed),
                "--gamma": None if gamma == "auto" else gamma,
                "--graph": None if graph == "rbf" else graph,
                "--influence": None if influence == "direct" else influence,
                "--budget": str(max(1, done.audit.n_suspects)),
                "--out": "queue.csv",
            }
            words = [word for name, value in given.items() if value for word in (name, value)]
            following = shlex.join(["gssl-poison", "queue", source, *words])
            print_audit(done, DEFAULT_TOP if top is None else top, following)
            for path in (out, report):
                if path is not None:
                    typer.echo(f"written: {path}")
        if not done.passed:
            raise typer.Exit(SUSPECTS_FOUND)
