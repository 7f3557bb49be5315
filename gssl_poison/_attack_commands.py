"""`gssl-poison attack` and `gssl-poison certify`: their options, and the order of their work."""

from __future__ import annotations

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
    GraphName,
    Label,
    Labeled,
    Page,
    Source,
    SourceOrNone,
    Unlabeled,
)
from gssl_poison.exceptions import InputError

PresetGamma = Annotated[
    str | None,
    typer.Option(
        metavar="G",
        help="Kernel coefficient: a number, or auto, scale, median or loo. Default: what the "
        "preset has for a data set of that name, else auto.",
    ),
]
PresetName = Annotated[
    str,
    typer.Option(
        metavar="PRESET",
        help="corrected: a sound victim, harmonic. replication: as the published code behind the "
        "paper's tables, propagation:n_iter=10 scored one step later. Both know the gamma of the "
        "paper's data sets.",
    ),
]
Victim = Annotated[
    str | None,
    typer.Option(
        metavar="PROPAGATOR",
        help="What predicts from the labels: harmonic, propagation:n_iter=10, "
        "spreading:alpha=0.2,n_iter=10, spreading:alpha=0.2 or direct. Default: the preset's. "
        "harmonic:unreached=leave passes over points no label reaches.",
    ),
]
Truth = Annotated[
    bool | None,
    typer.Option(
        "--truth/--no-truth",
        show_default=False,
        help="Whether the attacker knows the true classes of the unlabelled points, or goes by "
        "what the clean labels predict. Default: knows them where the data hold them. Errors are "
        "counted against the truth either way.",
    ),
]
SeedOfAll = Annotated[
    int,
    typer.Option(help="Seed of the permutation that --labeled uses, and of methods that draw."),
]


def attack_command(
    *,
    source: SourceOrNone = None,
    method: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="How labels are chosen: a name that --list shows; NAME+swaps goes on to swap "
            "flips while that does more harm.",
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="BUDGETS",
            help="How many labels may be flipped: parts (0.05) or numbers (20), any of them, "
            "separated by commas. Default: 0.05,0.1,0.15,0.2.",
        ),
    ] = None,
    label: Label = None,
    unlabeled: Unlabeled = None,
    labeled: Labeled = None,
    seed: SeedOfAll = DEFAULT_SEED,
    preset: PresetName = "corrected",
    victim: Victim = None,
    surrogate: Annotated[
        str | None,
        typer.Option(
            metavar="PROPAGATOR",
            help="The propagator whose influence the attacker reads, in the words of --victim. "
            "Default: the one the method was made for, which for many is the victim.",
        ),
    ] = None,
    truth: Truth = None,
    gamma: PresetGamma = None,
    graph: GraphName = "rbf",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write every point's label after the attack at the largest budget, its label "
            "before, and the number of its flip: .csv, .parquet or .json.",
        ),
    ] = None,
    list_methods: Annotated[
        bool,
        typer.Option("--list", help="List the methods, each with its source, and do nothing else."),
    ] = False,
    device: Device = "auto",
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Flip the labels that do most harm, and measure the error that follows.

    The attacker may change some of the known labels before the rest are predicted from them.
    No file is changed; --out writes the poisoned labels to a new one.
    """
    with errors_as_sentences(debug):
        if list_methods:
            from gssl_poison._attack_console import print_methods

            print_methods(as_json=as_json)
            return
        if source is None:
            raise InputError(
                "there is no DATA to attack; give a file or the name of a data set, or --list to "
                "see the methods."
            )
        if method is None:
            from gssl_poison.attacks import ATTACKS

            raise InputError(f"--method is not given; use one of {', '.join(ATTACKS)}.")
        check_outputs(source, out, None)
        from gssl_poison._attack_console import (
            attack_document,
            print_attack,
            print_document,
            write_labels,
        )
        from gssl_poison._attacking import read_scene, run_attack

        with progress_bar("attacking"), solvers_muted():
            scene = read_scene(
                source,
                method=method,
                label=label,
                unlabeled=unlabeled,
                labeled=labeled,
                seed=seed,
                preset=preset,
                gamma=gamma,
                graph=graph,
                budget=budget,
                usual=(0.05, 0.1, 0.15, 0.2),
                device=device,
                victim=victim,
                surrogate=surrogate,
            )
            done = run_attack(scene, method=method, truth=truth, seed=seed)
        if out is not None:
            write_labels(done, out)
        if as_json:
            print_document(attack_document(done))
            return
        print_attack(done)
        if out is not None:
            typer.echo(f"written: {out}")


def certify_command(
    *,
    source: Source,
    victim: Victim = None,
    budgets: Annotated[
        str | None,
        typer.Option(
            metavar="BUDGETS",
            help="How many labels an attacker may change: numbers (5) or parts (0.05), any of "
            "them, separated by commas. Default: 1,2,5,10.",
        ),
    ] = None,
    label: Label = None,
    unlabeled: Unlabeled = None,
    labeled: Labeled = None,
    seed: SeedOfAll = DEFAULT_SEED,
    preset: PresetName = "corrected",
    truth: Annotated[
        bool | None,
        typer.Option(
            "--truth/--no-truth",
            show_default=False,
            help="Whether to bound the error, which needs the true classes, or the predictions "
            "that change. Default: the error where the data hold the true classes.",
        ),
    ] = None,
    time_limit: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            help="For the joint bound of each budget; with more time it can be closer.",
        ),
    ] = 60.0,
    gamma: PresetGamma = None,
    graph: GraphName = "rbf",
    report: Page = None,
    device: Device = "auto",
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Prove how much harm a number of changed labels can do, whoever changes them.

    Gives a bound for every budget, and beside it what the best attack found really does.
    """
    with errors_as_sentences(debug):
        check_outputs(source, None, report)
        from gssl_poison._attack_console import (
            certificate_document,
            print_certificate,
            print_document,
        )
        from gssl_poison._attacking import read_scene
        from gssl_poison._certifying import run_certificate

        with progress_bar("certifying"), solvers_muted():
            scene = read_scene(
                source,
                label=label,
                unlabeled=unlabeled,
                labeled=labeled,
                seed=seed,
                preset=preset,
                gamma=gamma,
                graph=graph,
                budget=budgets,
                usual=(1, 2, 5, 10),
                device=device,
                victim=victim,
            )
            done = run_certificate(scene, truth=truth, seed=seed, time_limit=time_limit)
        if report is not None:
            from gssl_poison._certifying import as_page
            from gssl_poison.report import write_certificate

            write_certificate(report, as_page(done, command_line()), scene.dataset)
        if as_json:
            print_document(certificate_document(done))
            return
        print_certificate(done)
        if report is not None:
            typer.echo(f"written: {report}")
