"""`gssl-poison queue` and `gssl-poison apply`: their options, and the order of their work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gssl_poison._commands import errors_as_sentences, solvers_muted
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
    Provenance,
    Seed,
    Source,
    Unlabeled,
)

Force = Annotated[bool, typer.Option("--force", help="Replace a file that is there.")]


def queue_command(
    *,
    source: Source,
    budget: Annotated[
        str,
        typer.Option(
            metavar="N|PART",
            help="How many labels somebody will check: a number (50) or a part of them (0.05).",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help="Where to write them: .csv for a spreadsheet; .json for Label Studio, with its "
            "labelling interface beside it, in FILE with .config.xml for .json.",
        ),
    ],
    answers: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The filled queue of an earlier round: learned from, and not asked again.",
        ),
    ] = None,
    suspects: Annotated[
        bool,
        typer.Option("--suspects", help="Only suspects, as `audit` counts them."),
    ] = False,
    label: Label = None,
    unlabeled: Unlabeled = None,
    provenance: Provenance = None,
    labeled: Labeled = None,
    seed: Seed = DEFAULT_SEED,
    gamma: Gamma = "auto",
    graph: GraphName = "rbf",
    influence: Annotated[
        str,
        typer.Option(metavar="PROPAGATOR", help="As of `gssl-poison audit`: direct, harmonic, ..."),
    ] = "direct",
    force: Force = False,
    device: Device = "auto",
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Write the labels to check first, as a table or as tasks of Label Studio.

    What is most likely wrong and changes most predictions comes first. Fill in the column "answer"
    with the right label of each (? where you cannot tell), then `gssl-poison apply` it.
    """
    with errors_as_sentences(debug):
        from gssl_poison._inputs import read_gamma, read_part, read_points
        from gssl_poison._queue_console import check_queue_file, print_queue
        from gssl_poison.labels import split_labels
        from gssl_poison.problem import count_flips
        from gssl_poison.review.answers import read_answers
        from gssl_poison.review.auditing import audit
        from gssl_poison.review.queue import make_queue, write_queue

        most = read_part(budget, "--budget")
        written = check_queue_file(out, source, answers, force=force)
        dataset, mark = read_points(source, label, unlabeled, labeled, seed, provenance=provenance)
        n_labeled = split_labels(dataset.y, int(dataset.X.shape[0]), mark).labeled.size
        count_flips(most, int(n_labeled))  # before the audit, which may take long
        before = None if answers is None else read_answers(answers, dataset, unlabeled=mark)
        with progress_bar("auditing") as progress, solvers_muted():
            found = audit(
                dataset.X,
                dataset.y if before is None else before.before(dataset),
                gamma=read_gamma(gamma),
                influence=influence,
                graph=graph,
                unlabeled=mark,
                provenance=dataset.provenance,
                answers=None if before is None else before.known(),
                device=device,
                certificate=False,
                progress=progress,
            )
        queue = make_queue(found, dataset, most, answers=before, suspects=suspects)
        write_queue(queue, out, dataset)
        print_queue(queue, found, dataset, written, as_json=as_json)


def apply_command(
    *,
    source: Source,
    answers: Annotated[
        Path,
        typer.Argument(
            metavar="ANSWERS",
            show_default=False,
            help="The filled queue: its .csv, or the .json that Label Studio exports.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help="Where to write the data with the right labels: .csv, .tsv, .parquet, .npz, or "
            "the suffix of DATA.",
        ),
    ],
    label: Label = None,
    unlabeled: Unlabeled = None,
    provenance: Provenance = None,
    labeled: Labeled = None,
    seed: Seed = DEFAULT_SEED,
    new_classes: Annotated[
        bool,
        typer.Option("--new-classes", help="Take answers that are a class no label has yet."),
    ] = False,
    force: Force = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Write the data with the labels that people gave; nothing else about them changes.

    DATA and its options are those the queue was made with. Neither file is changed.
    """
    with errors_as_sentences(debug):
        from gssl_poison._inputs import read_points
        from gssl_poison._queue_console import print_applied
        from gssl_poison.review.answers import read_answers
        from gssl_poison.review.applying import apply_answers, check_target

        check_target(out, None, str(answers), force=force)
        dataset, mark = read_points(source, label, unlabeled, labeled, seed, provenance=provenance)
        given = read_answers(answers, dataset, unlabeled=mark, new_classes=new_classes)
        done = apply_answers(dataset, given, out, force=force)
        options = {
            "--label": label if out.suffix.lower() != ".npz" else None,
            "--unlabeled": unlabeled,
            "--provenance": provenance,
            "--answers": str(answers),
        }
        words = [word for name, value in options.items() if value for word in (name, value)]
        print_applied(done, dataset, ["gssl-poison", "audit", str(out), *words], as_json=as_json)
