"""rbms run: measure models on a suite."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from robustbench_ms.cli.options import (
    Annotations,
    BatchSize,
    Cache,
    Canvases,
    Corruptions,
    Crop,
    Data,
    Device,
    Fit,
    Json,
    Labels,
    Limit,
    Mean,
    Models,
    On,
    Precision,
    Results,
    Seed,
    Size,
    Std,
    Threads,
    Timeout,
    WeightsFile,
    WeightsKey,
    White,
    Workers,
    print_json,
)

__all__ = ["command"]


def command(
    suite: Annotated[
        str, typer.Argument(help="A suite, by name or file, or pictures: a folder, .tar, .parquet, .csv.")
    ],
    model: Models = None,
    weights: WeightsFile = None,
    weights_key: WeightsKey = None,
    name: Annotated[str | None, typer.Option(help="The record's name, for the one model.")] = None,
    mean: Mean = None,
    std: Std = None,
    size: Size = None,
    fit: Fit = None,
    crop: Crop = None,
    precision: Precision = None,
    device: Device = None,
    batch_size: BatchSize = None,
    workers: Workers = None,
    threads: Threads = None,
    timeout: Timeout = None,
    executor: Annotated[
        str | None, typer.Option(help="local or devices; devices where there are several workers.")
    ] = None,
    on: On = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --on slurm: print the sbatch script, and submit nothing.")
    ] = False,
    annotations: Annotations = None,
    corruptions: Corruptions = None,
    labels: Labels = None,
    white: White = None,
    skip_broken: Annotated[
        bool,
        typer.Option("--skip-broken", help="Decode every picture first, and leave out those that cannot be."),
    ] = False,
    limit: Limit = None,
    seed: Seed = None,
    data: Data = None,
    results: Results = None,
    cache: Cache = None,
    canvases: Canvases = None,
    as_json: Json = False,
) -> None:
    """Measure models on a suite; what is finished already is kept, so the same command goes on after a stop."""
    from robustbench_ms.catalog.find import find_suite
    from robustbench_ms.catalog.model_options import ModelOptions
    from robustbench_ms.cli.drawing import draw
    from robustbench_ms.cli.looking import looking
    from robustbench_ms.errors import UserError
    from robustbench_ms.specs.engines import Engine
    from robustbench_ms.specs.places import Places
    from robustbench_ms.specs.settings import Settings

    settings = Settings(
        device,
        batch_size,
        executor,
        workers,
        threads,
        None if on is None else Engine.read(on),
        canvases,
        timeout,
    )
    if dry_run and settings.chosen_executor != "slurm":
        raise UserError("--dry-run prints the script of a job of Slurm; it goes with --on slurm")
    places = Places.find(data, results, cache)
    with looking() as tell:
        chosen = find_suite(
            suite,
            annotations=annotations,
            corruptions=corruptions,
            labels=labels,
            white=white,
            skip_broken=skip_broken,
            places=places,
            tell=tell,
        )
    if skip_broken and chosen.skip:
        print(f"left out of every condition, as in a suite with skip = {list(chosen.skip)}", file=sys.stderr)
    chosen = chosen.limited(limit, seed)
    cards = ModelOptions(weights, name, mean, std, size, fit, crop, weights_key, precision).cards(model or [])
    if dry_run:
        from robustbench_ms.evaluation.executors.slurm import script

        print(script(chosen, cards, places, settings))
        return

    from robustbench_ms.evaluation.events import RecordDone, Trouble
    from robustbench_ms.evaluation.run import run
    from robustbench_ms.reports.exports import to_json
    from robustbench_ms.reports.pages import to_markdown
    from robustbench_ms.reports.tables import tables

    records, stopped = [], []
    for event in draw(run(chosen, cards, places, settings), title=chosen.label):
        if isinstance(event, Trouble):
            stopped.append(event)
        elif isinstance(event, RecordDone):
            records.append(event)
    found = tables([done.record for done in records])
    if as_json:
        print_json(
            {
                "tables": to_json(found),
                "records": [{"path": str(r.path), "written": r.written} for r in records],
                "stopped": [{"card": s.card, "message": s.message} for s in stopped],
            }
        )
    else:
        if found:
            print(to_markdown(found))
        for done in records:
            print(f"{_near(done.path)}{'' if done.written else ' (unchanged)'}")
    if stopped:
        sys.exit(1)


def _near(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
