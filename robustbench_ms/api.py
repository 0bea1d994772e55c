"""The Python face of the harness: the same run as the command line's, on modules at hand."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from torch import nn

from robustbench_ms.catalog.find import find_card, find_suite
from robustbench_ms.errors import BadFile, UserError
from robustbench_ms.evaluation.events import Event, Probed, RecordDone, Trouble
from robustbench_ms.evaluation.run import run as events_of
from robustbench_ms.records.record import Record, read_record
from robustbench_ms.specs.card import Card, Input
from robustbench_ms.specs.engines import Engine
from robustbench_ms.specs.places import Given, Places
from robustbench_ms.specs.settings import Settings
from robustbench_ms.specs.suite import Suite

__all__ = ["as_card", "modes_kept", "run"]

PathLike = str | os.PathLike[str]


def run(
    suite: PathLike | Suite,
    models: PathLike | Card | Callable[..., Any] | Iterable[PathLike | Card | Callable[..., Any]],
    *,
    name: str | Sequence[str] | None = None,
    on_event: Callable[[Event], None] | None = None,
    device: str | None = None,
    batch_size: int | None = None,
    executor: str | None = None,
    workers: int | None = None,
    threads: int | None = None,
    timeout: float | None = None,
    on: str | None = None,
    limit: int | None = None,
    seed: int | None = None,
    data: Given = None,
    results: PathLike | None = None,
    cache: PathLike | None = None,
    canvases: PathLike | None = None,
) -> list[Record]:
    """Measure models on a suite, write their records, and return them.

    `suite` is a name, a TOML file, a path of pictures or a Suite. `models`, one or several, are spellings of
    cards ("resnet20", "mypkg.nets:build", "timm:NAME", a TOML file), Cards, modules, functions without required
    arguments that build one, or callables that answer float RGB batches (N, 3, H, W) in 0..1 with logits (N,
    classes). What is finished already is not measured again. A function that builds is called twice, and a model that
    comes out otherwise under another seed is untrained: told, and never ranked. `workers` processes share the work,
    with `threads` each; `on` starts them on an engine ("ray", "slurm:partition=gpu,workers=8"). Decoded pictures are
    kept in the folder `canvases`, or nowhere with "off". A model that takes longer than `timeout` seconds for one batch
    is stopped. Folders default as on the command line: RBMS_DATA,
    RBMS_RESULTS, RBMS_CACHE. A model that fails is stopped, told to `on_event` (or warned of), and the others are
    measured. Raises UserError for what the caller can mend.

    A module or function is named by its class or its own name, and a name is a record: `name`, one for each model,
    gives it another, and is asked for where the record of another model of that name stands there.
    """
    places = Places.find(data, results, cache)
    chosen = suite if isinstance(suite, Suite) else find_suite(str(suite), places=places)
    if isinstance(models, (str, os.PathLike, Card)) or callable(models):
        models = [models]  # one alone is meant, not its characters
    models = list(models)
    cards = [as_card(model) for model in models]
    unnamed: dict[str, Card] = {}
    if name is not None:
        cards = _renamed(cards, [name] if isinstance(name, str) else list(name))
    else:
        for model, card in zip(models, cards, strict=True):
            if isinstance(model, (str, os.PathLike, Card)):
                continue
            if card.name in unnamed:
                raise UserError(f"two models are named {card.name!r}, as their class or function: give name=")
            unnamed[card.name] = card
    records = []
    asked = chosen.limited(limit, seed)
    settings = Settings(
        device,
        batch_size,
        executor,
        workers,
        threads,
        None if on is None else Engine.read(on),
        None if canvases is None else str(canvases),
        timeout,
    )
    made = cast("Generator[Event, None, None]", events_of(asked, cards, places, settings))
    with modes_kept(cards), closing(made) as events:
        for event in events:
            if isinstance(event, Probed) and event.card in unnamed:
                _refuse_another(event, places.results / asked.label / f"{unnamed[event.card].file_name}.json")
            if on_event is not None:
                on_event(event)
            elif isinstance(event, Trouble):
                warnings.warn(
                    f"{event.card}{' was stopped' if event.stopped else ''}: {event.message}", stacklevel=2
                )
            elif isinstance(event, RecordDone) and event.replaced is not None:
                warnings.warn(f"{event.path}: {event.replaced}", stacklevel=2)
            if isinstance(event, RecordDone):
                records.append(event.record)
    return records


def _renamed(cards: Sequence[Card], names: Sequence[str]) -> list[Card]:
    if len(names) != len(cards) or not all(isinstance(name, str) for name in names):
        raise UserError(
            f"name: one name for each model is wanted, and there are {len(names)} for {len(cards)}"
        )
    return [replace(card, name=name) for card, name in zip(cards, names, strict=True)]


def _refuse_another(probed: Probed, path: Path) -> None:
    """UserError where the record of another model stands where this one's would, and nobody named it."""
    try:
        subject = read_record(path).subject["digest"]
    except BadFile:  # none, or none that can be lost
        return
    if subject != probed.subject:
        raise UserError(
            f"{path} is the record of another model named {probed.card!r}, as its class or function: give name=, the "
            "same one to replace it"
        )


@contextmanager
def modes_kept(cards: Iterable[Card]) -> Iterator[None]:
    """Give modules that were handed over their train or eval mode back, part by part."""
    modules = [card.build for card in cards if isinstance(card.build, nn.Module)]
    # A frozen program of TorchScript has no mode.
    modes = [
        (part, part.training) for module in modules for part in module.modules() if hasattr(part, "training")
    ]
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


class _Given:
    """A build target for a callable that is a model already; a record spells it as that callable."""

    def __init__(self, model: Callable[..., Any]) -> None:
        self._model = model
        spelled = model if hasattr(model, "__qualname__") else type(model)
        self.__module__, self.__qualname__ = spelled.__module__, spelled.__qualname__

    def __call__(self) -> Callable[..., Any]:
        return self._model


def as_card(model: PathLike | Card | Callable[..., Any]) -> Card:
    """The card of a spelling, a module or a callable; a function without required arguments builds the model."""
    if isinstance(model, Card):
        return model
    if isinstance(model, (str, os.PathLike)):
        return find_card(str(model))
    if isinstance(model, nn.Module):
        return Card(name=type(model).__name__, build=model, input=Input(assumed=True))
    if callable(model):
        name = getattr(model, "__name__", type(model).__name__).strip("<>")
        build = model if _builds(model) else _Given(model)
        return Card(name=name, build=build, input=Input(assumed=True))
    raise UserError(
        f"models: a spelling, a Card, a module or a callable is wanted, not {type(model).__name__}"
    )


def _builds(function: Callable[..., Any]) -> bool:
    """Whether it can be called with nothing, as a model cannot."""
    try:
        inspect.signature(function).bind()
    except (TypeError, ValueError):
        return False
    return True
