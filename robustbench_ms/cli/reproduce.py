"""rbms reproduce: do the numbers come out again?"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from robustbench_ms.cli.options import (
    Annotations,
    BatchSize,
    Corruptions,
    Data,
    Device,
    Json,
    Labels,
    Limit,
    Results,
    Seed,
    Threads,
    Trust,
    WeightsFile,
    White,
    print_json,
)

__all__ = ["command"]


def command(
    target: Annotated[str, typer.Argument(help="A record (.json), or a suite or folder: all its records.")],
    model: Annotated[
        list[str] | None,
        typer.Option("-m", "--model", help="A model, where the record's name does not say it."),
    ] = None,
    weights: WeightsFile = None,
    suite: Annotated[
        str | None, typer.Option(help="The suite's file or folder, where the record's suite is not shipped.")
    ] = None,
    published: Annotated[
        bool, typer.Option("--published", help="Compare with the figures that the cards cite.")
    ] = False,
    cells: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Only so many cells of each record, which its digest chooses.",
            show_default=False,
        ),
    ] = None,
    device: Device = None,
    batch_size: BatchSize = None,
    threads: Threads = None,
    trust: Trust = False,
    annotations: Annotations = None,
    corruptions: Corruptions = None,
    labels: Labels = None,
    white: White = None,
    limit: Limit = None,
    seed: Seed = None,
    data: Data = None,
    results: Results = None,
    as_json: Json = False,
) -> None:
    """Measure again from nothing and say of each number: equal, within its interval, or outside (exit 1)."""
    from robustbench_ms.cli.drawing import draw
    from robustbench_ms.gating.reproduce import describe, reproduce
    from robustbench_ms.reports.markdown import printable
    from robustbench_ms.specs.places import Places
    from robustbench_ms.specs.settings import Settings

    def watch(events: Any) -> Any:
        return draw(events, title=Path(target).stem)

    done = reproduce(
        target,
        Places.find(data, results),
        models=model or (),
        weights=weights,
        suite=suite,
        annotations=annotations,
        corruptions=corruptions,
        labels=labels,
        white=white,
        published=published,
        limit=limit,
        seed=seed,
        cells=cells,
        settings=Settings(device, batch_size, threads=threads, trust=trust),
        watch=watch,
    )
    if as_json:
        told = [{**asdict(one), "counts": one.counts, "reproduced": one.reproduced} for one in done]
        print_json({"reproduced": all(one.reproduced for one in done), "models": told})
    else:
        for one in done:
            print(printable(describe(one)))
    if not all(one.reproduced for one in done):
        sys.exit(1)
