"""What an executor is given, and what it gives."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from robustbench_ms.specs.card import Card
from robustbench_ms.specs.settings import Settings

if TYPE_CHECKING:
    from robustbench_ms.evaluation.claims import Claims
    from robustbench_ms.evaluation.events import Event
    from robustbench_ms.evaluation.jobs import Conditions, Job
    from robustbench_ms.evaluation.store import CacheStore

__all__ = ["Executor", "Run"]


@dataclass(frozen=True)
class Run:
    """What is to be done."""

    shown: Conditions
    cards: Sequence[Card]
    """One a subject."""
    jobs: Sequence[Job]
    settings: Settings
    cells: Path
    """The folder of finished cells."""
    claims: Claims
    """On them."""


class Executor(Protocol):
    """A way to start workers."""

    def __call__(self, run: Run) -> Generator[Event, None, CacheStore]:
        """Have the jobs answered; the store with the pins and failures, for the record."""
