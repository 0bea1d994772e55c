"""What all executors of several workers do: send what the parent knows, and tell the events of many as those of one."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from typing import Any

from robustbench_ms.catalog import registry
from robustbench_ms.errors import UserError
from robustbench_ms.evaluation.events import CellDone, CellsFound, Event, Planned, Trouble
from robustbench_ms.evaluation.store import DIED, CacheStore
from robustbench_ms.specs.card import Card
from robustbench_ms.subjects.watching import ENDED

__all__ = ["TABLES", "Merged", "pickled", "stopped"]

TABLES: dict[str, registry.Registry[Any]] = {
    "TASKS": registry.TASKS,
    "DATASETS": registry.DATASETS,
    "PERTURBATIONS": registry.PERTURBATIONS,
}
"""What a process may have registered of its own, which its workers must know too."""


def pickled(order: object, cards: Sequence[Card]) -> bytes:
    """What workers are sent; UserError names the card, or says that it is what was registered, that cannot be sent."""
    for card in cards:
        try:
            pickle.dumps(card)
        except Exception as error:
            raise UserError(
                f"model {card.name} is at hand in this process alone and cannot be sent to a worker ({error}); give "
                'it as "package.module:function", or run with one worker'
            ) from error
    try:
        return pickle.dumps(order)
    except Exception as error:
        raise UserError(
            f"what is registered in this process cannot be sent to a worker ({error}); register what stands in a module"
        ) from error


def stopped(cards: Sequence[Card], store: CacheStore, told: set[str]) -> Iterator[Event]:
    """The cards that were stopped for their processes' deaths, and were not told yet."""
    for card in cards:
        failed = store.failed(card.name)
        if failed and failed[1].endswith((DIED, ENDED)) and card.name not in told:
            told.add(card.name)
            yield Trouble(card.name, f"{failed[0]}: {failed[1]}")


class Merged:
    """The events of several workers as those of one run."""

    def __init__(self) -> None:
        self._planned = False
        self._troubles: set[Trouble] = set()
        self._done: set[tuple[str, str]] = set()

    def new(self, event: Event) -> Iterator[Event]:
        """What an event adds: each worker plans, finds finished what another has just finished, and fails alike."""
        if isinstance(event, Planned):
            if not self._planned:
                self._planned = True
                yield event
        elif isinstance(event, Trouble):
            if event not in self._troubles:
                self._troubles.add(event)
                yield event
        elif isinstance(event, CellsFound):
            cards = tuple(card for card in event.cards if (event.key, card) not in self._done)
            self._done |= {(event.key, card) for card in cards}
            if cards:
                each = event.answers // len(event.cards)
                yield CellsFound(event.key, cards, each * len(cards))
        else:
            if isinstance(event, CellDone):
                self._done.add((event.key, event.card))
            yield event
