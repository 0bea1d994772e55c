"""rbms profile: what models cost in time, memory and energy on this device."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from robustbench_ms.cli.options import Cache, Data, Device, Json, Results, Threads, print_json
from robustbench_ms.errors import UserError, choose

if TYPE_CHECKING:
    from robustbench_ms.profiling.subject import Setting
    from robustbench_ms.specs.card import Card
    from robustbench_ms.specs.places import Places

__all__ = ["command"]

_FORMATS = ("markdown", "csv", "json")


def command(
    model: Annotated[
        list[str] | None, typer.Argument(help="Models, as of rbms run -m; their weights are not needed.")
    ] = None,
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
    layers: Annotated[
        bool,
        typer.Option(
            "--layers", help="Time and memory by module instead, of the first batch; writes no record."
        ),
    ] = False,
    trace: Annotated[
        Path | None, typer.Option(help="With --layers of one model: a trace for Chrome.", show_default=False)
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option(help="Write all committed profiles there, a Markdown page.", show_default=False),
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
    cards = [find_card(name) for name in model or []]
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
    places = Places.find(data, results, cache)
    if page is not None and not cards:
        _page(page, places)
        return
    if not cards:
        raise UserError("no model given; name one, as rbms profile resnet20")
    if layers:
        _layers(cards, settings[0], places, device, threads, trace, as_json=as_json or form == "json")
        return
    if trace is not None:
        raise UserError("--trace is of modules, and goes with --layers")
    rows, paths = [], []
    for event in profile(
        cards,
        settings,
        places,
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
    if page is not None:
        _page(page, places)
    if any(row.error is not None for _, row in rows):
        sys.exit(1)


def _layers(
    cards: list[Card],
    setting: Setting,
    places: Places,
    device: str | None,
    threads: int | None,
    trace: Path | None,
    *,
    as_json: bool,
) -> None:
    from robustbench_ms.profiling.layers import layers, over_plain
    from robustbench_ms.profiling.run import Bench
    from robustbench_ms.reports.layers import layers_json, layers_markdown
    from robustbench_ms.subjects.devices import find_device

    if trace is not None and len(cards) != 1:
        raise UserError(f"--trace is one file, and {len(cards)} models are given")
    with Bench(find_device(device), places, threads) as bench:
        found = [
            (layers(bench.load(card), setting, trace), over_plain(card, setting, bench)) for card in cards
        ]
    if as_json:
        print_json([layers_json(*one) for one in found])
    else:
        print("\n".join(layers_markdown(*one) for one in found), end="")


def _page(path: Path, places: Places) -> None:
    from robustbench_ms.files import replacing
    from robustbench_ms.records.profile import profiles_of
    from robustbench_ms.reports.profiles_page import profiles_page

    found = list(profiles_of(places.results))
    if not found:
        raise UserError(f"no profiles in {places.results}; make some, as rbms profile resnet20 --batch 1,8")
    try:
        with replacing(path) as part:
            part.write_text(profiles_page(found), encoding="utf-8")
    except OSError as error:
        raise UserError(f"--page: {path} cannot be written ({error.strerror})") from error


def _number(word: str) -> int:
    try:
        return int(word)
    except ValueError:
        raise UserError(f"--batch: whole numbers are wanted, as 1,8,64, not {word!r}") from None
