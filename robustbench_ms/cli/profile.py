"""rbms profile: what models cost in time, memory and energy on this device."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from robustbench_ms.cli.options import Cache, Data, Device, Json, Results, Threads, print_json
from robustbench_ms.errors import UserError, choose

__all__ = ["command"]

_FORMATS = ("markdown", "csv", "json")


def command(
    model: Annotated[
        list[str], typer.Argument(help="Models, as of rbms run -m; their weights are not needed.")
    ],
    batch: Annotated[str, typer.Option(metavar="N,...", help="Images a call.")] = "1",
    precision: Annotated[
        str | None,
        typer.Option(metavar="fp32|bf16|fp16,...", help="Else each card's own.", show_default=False),
    ] = None,
    compiled: Annotated[bool, typer.Option("--compile", help="Compile first, by torch.compile.")] = False,
    train: Annotated[bool, typer.Option("--train", help="Time forward, backward and a step.")] = False,
    device: Device = None,
    threads: Threads = None,
    blocks: Annotated[
        int, typer.Option(help="Turns of each model; 10 is the least that gives intervals.")
    ] = 10,
    suite: Annotated[
        str | None,
        typer.Option(help="Tell what other precisions keep of its clean accuracy.", show_default=False),
    ] = None,
    form: Annotated[
        str, typer.Option("--format", help="markdown, csv (timm's columns) or json.")
    ] = "markdown",
    data: Data = None,
    results: Results = None,
    cache: Cache = None,
    as_json: Json = False,
) -> None:
    """Time models in turns with torchvision's resnet18, and write results/profiles/DEVICE/MODEL.json.

    Exit 1 where a model could not be called in a setting.
    """
    from robustbench_ms.catalog.find import find_card, find_suite
    from robustbench_ms.specs.places import Places

    choose(form, _FORMATS, "format", "--format")
    cards = [find_card(name) for name in model]
    batches = [_number(word) for word in batch.split(",")]
    chosen = None if suite is None else find_suite(suite)

    from robustbench_ms.evaluation.events import Note
    from robustbench_ms.profiling.run import ProfileDone, Timed, profile
    from robustbench_ms.profiling.subject import Setting
    from robustbench_ms.reports.profiles import profiles_csv, profiles_json, profiles_markdown

    precisions = [None] if precision is None else dict.fromkeys(precision.split(","))
    settings = [
        Setting(size, word, compiled, train) for word in precisions for size in dict.fromkeys(batches)
    ]
    rows, paths = [], []
    for event in profile(
        cards,
        settings,
        Places.find(data, results, cache),
        device=device,
        threads=threads,
        blocks=blocks,
        suite=chosen,
    ):
        if isinstance(event, Note):
            print(event.message, file=sys.stderr)
        elif isinstance(event, Timed):
            told = event.row.error or f"{event.row.images_per_second:,.1f} images/s"
            print(f"{event.name}, batch {event.row.batch}, {event.row.precision}: {told}", file=sys.stderr)
        elif isinstance(event, ProfileDone):
            paths.append(event.path)
            rows += [(event.profile, row) for key in event.made if (row := event.profile.row(key))]
    rows.sort(key=lambda pair: (pair[1].train, pair[1].precision, pair[1].batch))
    if as_json or form == "json":
        print_json({"rows": profiles_json(rows), "records": list(map(str, paths))})
    elif form == "csv":
        print(profiles_csv(rows), end="")
    else:
        print(profiles_markdown(rows))
        print("\n".join(map(str, paths)))
    if any(row.error is not None for _, row in rows):
        sys.exit(1)


def _number(word: str) -> int:
    try:
        return int(word)
    except ValueError:
        raise UserError(f"--batch: whole numbers are wanted, as 1,8,64, not {word!r}") from None
