"""rbms gate: may this change get in?"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from robustbench_ms.cli.options import (
    Annotations,
    BatchSize,
    Cache,
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
    Precision,
    Results,
    Seed,
    Size,
    Std,
    Threads,
    Timeout,
    Trust,
    WeightsFile,
    WeightsKey,
    White,
    Workers,
    as_text,
    print_json,
)
from robustbench_ms.errors import UserError
from robustbench_ms.files import replacing

__all__ = ["command"]


def command(
    target: Annotated[
        str, typer.Argument(help="A record (.json) to judge as it is, or a suite or folder to measure.")
    ],
    model: Models = None,
    against: Annotated[
        str | None,
        typer.Option(
            help="A record, a folder of records, git:REF or git:REF:PATH; else what rbms accept accepted.",
            show_default=False,
        ),
    ] = None,
    rule: Annotated[
        list[str] | None,
        typer.Option(help="METRIC=TOLERANCE, as clean_accuracy=0.5pp; repeat. Else the suite's rules."),
    ] = None,
    alpha: Annotated[float, typer.Option(help="How often a change without such a loss may fail.")] = 0.05,
    lenient: Annotated[bool, typer.Option("--lenient", help="Let in what is unsure.")] = False,
    weights: WeightsFile = None,
    weights_key: WeightsKey = None,
    name: Annotated[str | None, typer.Option(help="The name of the one model's reference.")] = None,
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
    trust: Trust = False,
    annotations: Annotations = None,
    corruptions: Corruptions = None,
    labels: Labels = None,
    white: White = None,
    limit: Limit = None,
    seed: Seed = None,
    data: Data = None,
    results: Results = None,
    cache: Cache = None,
    markdown: Annotated[
        Path | None,
        typer.Option(help="Also write the summary there, for a pull request.", show_default=False),
    ] = None,
    verdicts: Annotated[
        Path | None,
        typer.Option(help="Also write the verdicts there, as --json prints them.", show_default=False),
    ] = None,
    annotate: Annotated[bool, typer.Option("--annotate", help="Also print GitHub's annotations.")] = False,
    as_json: Json = False,
) -> None:
    """Judge a model against its reference.

    Exit 0 where every rule holds, 1 where one fails, 2 where one could not be told, and 1 where one is unsure.
    """
    from robustbench_ms.gating.judge import exit_code
    from robustbench_ms.gating.run import gate_record
    from robustbench_ms.reports.annotations import annotation_lines
    from robustbench_ms.reports.verdicts import judged_json, judged_markdown
    from robustbench_ms.specs.places import Places
    from robustbench_ms.specs.settings import Settings

    if as_json and annotate:
        raise UserError("--json and --annotate both print to the same place; give one of them")
    places = Places.find(data, results, cache)
    shared: dict[str, Any] = {"rules": tuple(rule or ()), "alpha": alpha}
    of_suite = {
        "--model": model, "--weights": weights, "--name": name, "--mean": mean, "--std": std, "--size": size,
        "--fit": fit, "--crop": crop, "--weights-key": weights_key, "--precision": precision, "--device": device,
        "--batch-size": batch_size, "--limit": limit, "--seed": seed, "--workers": workers, "--threads": threads,
        "--timeout": timeout, "--annotations": annotations, "--corruptions": corruptions, "--labels": labels,
        "--white": white,
    }  # fmt: skip
    if target.endswith(".json"):
        given = [option for option, value in of_suite.items() if value not in (None, [])]
        if given:
            raise UserError(f"{', '.join(given)} speak of what is measured, and a record is judged as it is")
        judged = [gate_record(Path(target), against, results=places.results, **shared)]
    else:
        from robustbench_ms.catalog.find import find_suite
        from robustbench_ms.catalog.model_options import ModelOptions
        from robustbench_ms.cli.looking import looking

        with looking() as tell:
            suite = find_suite(
                target,
                annotations=annotations,
                corruptions=corruptions,
                labels=labels,
                white=white,
                places=places,
                tell=tell,
            ).limited(limit, seed)
        cards = ModelOptions(weights, name, mean, std, size, fit, crop, weights_key, precision).cards(
            model or []
        )
        settings = Settings(device, batch_size, None, workers, threads, timeout=timeout, trust=trust)
        judged = _measured(suite, cards, against, places, settings=settings, **shared)

    text, told = judged_markdown(judged), judged_json(judged, lenient=lenient)
    if as_json:
        print_json(told)
    else:
        print(text, end="")
    for line in annotation_lines(judged, lenient=lenient) if annotate else ():
        print(line)
    if markdown is not None:
        # At the end: GitHub's summary file is one for all commands of a step.
        with _writing("--markdown", markdown), markdown.open("a", encoding="utf-8") as file:
            file.write(f"## Robustness gate\n\n{text}")
    if verdicts is not None:
        with _writing("--verdicts", verdicts), replacing(verdicts) as part:
            part.write_text(as_text(told), encoding="utf-8")
    sys.exit(exit_code(judged, lenient=lenient))


def _measured(suite: Any, cards: list[Any], against: str | None, places: Any, **options: Any) -> list[Any]:
    from robustbench_ms.cli.drawing import draw
    from robustbench_ms.gating.run import gate_models

    def watch(events: Any) -> Any:
        return draw(events, title=suite.label)

    return gate_models(suite, cards, against, places, watch=watch, **options)


@contextmanager
def _writing(option: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"{option}: {path} cannot be written ({error.strerror})") from error
