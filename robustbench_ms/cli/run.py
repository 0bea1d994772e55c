"""rbms run: measure models on a suite."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from robustbench_ms.cli.options import (
    BatchSize,
    Cache,
    Data,
    Device,
    Json,
    Limit,
    Models,
    Numbers,
    Results,
    Seed,
    Size,
    Threads,
    WeightsFile,
    Workers,
    print_json,
)
from robustbench_ms.errors import UserError
from robustbench_ms.specs.card import Card, Weights

__all__ = ["command", "find_cards"]


def command(
    suite: Annotated[str, typer.Argument(help="A suite, by name or file.")],
    model: Models = None,
    weights: WeightsFile = None,
    name: Annotated[str | None, typer.Option(help="The record's name, for the one model.")] = None,
    mean: Numbers = None,
    std: Numbers = None,
    size: Size = None,
    device: Device = None,
    batch_size: BatchSize = None,
    workers: Workers = None,
    threads: Threads = None,
    executor: Annotated[
        str | None, typer.Option(help="local or devices; devices where there are several workers.")
    ] = None,
    limit: Limit = None,
    seed: Seed = None,
    data: Data = None,
    results: Results = None,
    cache: Cache = None,
    as_json: Json = False,
) -> None:
    """Measure models on a suite; what is finished already is kept, so the same command goes on after a stop."""
    from robustbench_ms.catalog.find import find_suite
    from robustbench_ms.specs.places import Places

    chosen = find_suite(suite).limited(limit, seed)
    cards = find_cards(model or [], weights, name, mean, std, size)

    from robustbench_ms.cli.drawing import draw
    from robustbench_ms.evaluation.events import RecordDone, Trouble
    from robustbench_ms.evaluation.run import run
    from robustbench_ms.reports.exports import to_json
    from robustbench_ms.reports.pages import to_markdown
    from robustbench_ms.reports.tables import tables
    from robustbench_ms.specs.settings import Settings

    places = Places.find(data, results, cache)
    records, stopped = [], []
    settings = Settings(device, batch_size, executor, workers, threads)
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


def find_cards(
    spellings: list[str],
    weights: Path | None,
    name: str | None,
    mean: str | None,
    std: str | None,
    size: int | None,
) -> list[Card]:
    """The cards of -m, the one of them changed by the options that speak of one model."""
    from robustbench_ms.catalog.find import find_card

    cards = [find_card(spelling) for spelling in spellings]
    options = {"--weights": weights, "--name": name, "--mean": mean, "--std": std, "--size": size}
    given = [option for option, value in options.items() if value is not None]
    if not given:
        return cards
    if len(cards) != 1:
        raise UserError(f"{', '.join(given)} speak of one model, and {len(cards)} are given with -m")
    return [_changed(cards[0], weights, name, mean, std, size)]


def _changed(
    card: Card, weights: Path | None, name: str | None, mean: str | None, std: str | None, size: int | None
) -> Card:
    changes: dict[str, Any] = {}
    if weights is not None:
        if not weights.is_file():
            raise UserError(f"--weights: no file {weights}")
        changes["weights"] = (Weights(file=str(weights.resolve())),)
        changes["untrained"] = False
    if name is not None:
        changes["name"] = name
    if (mean is None) != (std is None):
        raise UserError(
            "--mean and --std go together: one without the other is a normalisation that nobody meant"
        )
    if size is not None and size < 1:
        raise UserError(f"--size: a side in pixels is wanted, not {size}")
    known = card.input if size is None else replace(card.input, size=size)
    if mean is not None and std is not None:
        known = replace(known, mean=_numbers("--mean", mean), std=_numbers("--std", std), assumed=False)
        if min(known.std) <= 0:
            raise UserError(f"--std: numbers above 0 are wanted, not {std!r}")
    return replace(card, input=known, **changes)


def _numbers(option: str, text: str) -> tuple[float, ...]:
    try:
        values = tuple(float(word) for word in text.replace(",", " ").split())
    except ValueError:
        values = ()
    if len(values) not in {1, 3} or not all(map(math.isfinite, values)):
        raise UserError(f"{option}: one or three numbers are wanted, as 0.485,0.456,0.406, not {text!r}")
    return values


def _near(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
