"""rbms train: make the weights behind baselines."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from robustbench_ms.cli.options import Cache, Data, Device, Json
from robustbench_ms.errors import UserError

if TYPE_CHECKING:
    from robustbench_ms.subjects.training import Epoch, Finished, Left

__all__ = ["command"]


def command(
    cards: Annotated[list[str], typer.Argument(help="Cards with a recipe, by name or file.")],
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", help="The .safetensors file to write; with --seeds or several cards a folder."
        ),
    ],
    seed: Annotated[
        int | None, typer.Option(help="Seed of the initial weights, the order and the augmentation [0].")
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(metavar="0,1,2", help="Several seeds: all cards with the first, then the next."),
    ] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Put the [[weights]] tables into the cards' files.")
    ] = False,
    device: Device = None,
    data: Data = None,
    cache: Cache = None,
    as_json: Json = False,
) -> None:
    """Train cards by their recipes and write their weights; stopped at any moment, the same command goes on."""
    from robustbench_ms.catalog.find import find_card
    from robustbench_ms.specs.places import Places
    from robustbench_ms.subjects.training import Finished, Left, rounds, train, write_weights

    found, places = [find_card(card) for card in cards], Places.find(data, cache=cache)
    several = len(found) > 1 or seeds is not None
    if several and output.suffix == ".safetensors":
        raise UserError(f"several networks go into a folder, not into {output}")
    if seed is not None and seeds is not None:
        raise UserError("--seed and --seeds exclude each other")
    with _bar() as progress:
        told: dict[str, Any] = {"device": device, "progress": progress}
        if several:
            events: Iterable[Any] = rounds(found, _seeds(seeds, seed), output, places, **told)
        else:
            events = _and_its_file(train(found[0], output, places, seed=seed or 0, **told), output)
        by_name = {card.name: card for card in found}
        stopped = False
        for event in _drawn(events, as_json=as_json):
            if isinstance(event, Finished):
                if write:
                    write_weights(by_name[event.card], event.seed, event.file, event.sha256)
                elif not as_json:
                    print(_table(event))
            stopped |= isinstance(event, Left) and not event.busy
    if stopped:
        raise typer.Exit(1)


def _seeds(several: str | None, one: int | None) -> list[int]:
    try:
        return [int(word) for word in several.split(",")] if several is not None else [one or 0]
    except ValueError:
        raise UserError(
            f"--seeds takes whole numbers with commas between them, such as 0,1,2, not {several!r}"
        ) from None


@contextmanager
def _bar() -> Iterator[Callable[[str, int, int, int], None]]:
    """A bar below the lines on a terminal, for the network that is being trained."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, redirect_stdout=False, disable=not console.is_terminal
    ) as bar:
        shown = bar.add_task("opening the data", total=None)

        def draw(card: str, seed: int, done: int, of: int) -> None:
            bar.update(shown, description=f"{card}-{seed}", completed=done, total=of)

        yield draw


def _and_its_file(epochs: Iterable[Epoch], output: Path) -> Iterator[Epoch | Finished]:
    from robustbench_ms.subjects.training import Finished
    from robustbench_ms.subjects.weights import file_digest, told_of

    yield from epochs
    told = told_of(output)["training"]
    yield Finished(told["card"], told["seed"], output, file_digest(output), trained=True)


def _drawn(events: Iterable[Epoch | Finished | Left], *, as_json: bool) -> Iterator[Epoch | Finished | Left]:
    """Pass the events on, a line each: on standard error for people, as JSON on standard output for programs."""
    for event in events:
        if as_json:
            print(
                json.dumps({"event": type(event).__name__.lower(), **asdict(event)}, default=str), flush=True
            )
        else:
            print(_line(event), file=sys.stderr, flush=True)
        yield event


def _line(event: Any) -> str:
    from robustbench_ms.subjects.training import Epoch, Left

    name = f"{event.card}-{event.seed}"
    if isinstance(event, Epoch):
        held_out = "" if event.held_out is None else f"held-out {event.held_out:.2%}  "
        return (
            f"{name}  epoch {event.number}/{event.epochs}  loss {event.loss:.4f}  {held_out}lr {event.lr:.4g}  "
            f"{event.images_per_second:,.0f} images/s  {_time(event.seconds)}, {_time(event.seconds_left)} left"
        )
    if isinstance(event, Left):
        return f"{name} was {'left alone' if event.busy else 'stopped'}: {event.reason}"
    return f"{name}  {'written to' if event.trained else 'is there already:'} {event.file}"


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"


def _table(event: Finished) -> str:
    return (
        f'[[weights]]\nseed = {event.seed}\nfile = "weights/{event.file.name}"\nsha256 = "{event.sha256}"\n'
    )
