"""The Python face of the harness: the same run as the command line's, on modules at hand."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable
from typing import Any

from torch import nn

from robustbench_ms.catalog import find_card, find_suite
from robustbench_ms.errors import UserError
from robustbench_ms.events import Event, RecordDone, Trouble
from robustbench_ms.places import Places
from robustbench_ms.record import Record
from robustbench_ms.runner import run as events_of
from robustbench_ms.spec import Card, Input, Suite

__all__ = ["run"]

PathLike = str | os.PathLike[str]


def run(
    suite: PathLike | Suite,
    models: PathLike | Card | Callable[..., Any] | Iterable[PathLike | Card | Callable[..., Any]],
    *,
    on_event: Callable[[Event], None] | None = None,
    device: str | None = None,
    batch_size: int | None = None,
    limit: int | None = None,
    seed: int | None = None,
    data: PathLike | None = None,
    results: PathLike | None = None,
    cache: PathLike | None = None,
) -> list[Record]:
    """Measure models on a suite, write their records, and return them.

    `suite` is a name, a TOML file or a Suite. `models`, one or several, are spellings of cards ("resnet20",
    "mypkg.nets:build", "timm:NAME", a TOML file), Cards, modules, or callables that answer float RGB batches
    (N, 3, H, W) in 0..1 with logits (N, classes). What is finished already is not measured again. Folders default as
    on the command line: RBMS_DATA, RBMS_RESULTS, RBMS_CACHE. A model that fails is stopped, told to `on_event` (or
    warned of), and the others are measured. Raises UserError for what the caller can mend.
    """
    chosen = suite if isinstance(suite, Suite) else find_suite(str(suite))
    if isinstance(models, (str, os.PathLike, Card)) or callable(models):
        models = [models]  # one alone is meant, not its characters
    cards = [_card(model) for model in models]
    modules = [card.build for card in cards if isinstance(card.build, nn.Module)]
    modes = [(part, part.training) for module in modules for part in module.modules()]
    records = []
    try:
        for event in events_of(
            chosen.limited(limit, seed),
            cards,
            Places.find(data, results, cache),
            device=device,
            batch_size=batch_size,
        ):
            if on_event is not None:
                on_event(event)
            elif isinstance(event, Trouble):
                warnings.warn(f"{event.card} was stopped: {event.message}", stacklevel=2)
            if isinstance(event, RecordDone):
                records.append(event.record)
    finally:
        for part, training in modes:
            part.training = training
    return records


class _Given:
    """A build target for a callable that is a model already; a record spells it as that callable."""

    def __init__(self, model: Callable[..., Any]) -> None:
        self._model = model
        spelled = model if hasattr(model, "__qualname__") else type(model)
        self.__module__, self.__qualname__ = spelled.__module__, spelled.__qualname__

    def __call__(self) -> Callable[..., Any]:
        return self._model


def _card(model: PathLike | Card | Callable[..., Any]) -> Card:
    if isinstance(model, Card):
        return model
    if isinstance(model, (str, os.PathLike)):
        return find_card(str(model))
    if isinstance(model, nn.Module):
        return Card(name=type(model).__name__, build=model, input=Input(assumed=True))
    if callable(model):
        name = getattr(model, "__name__", type(model).__name__).strip("<>")
        return Card(name=name, build=_Given(model), input=Input(assumed=True))
    raise UserError(
        f"models: a spelling, a Card, a module or a callable is wanted, not {type(model).__name__}"
    )
