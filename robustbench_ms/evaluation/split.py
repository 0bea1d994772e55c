"""Where a run's time goes: data, corruption, model, scoring, waiting."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

import torch

__all__ = ["PARTS", "Split"]

PARTS = ("data", "corruption", "model", "scoring", "waiting")
"""Waiting is for a batch that is made while the one before it is answered."""


class Split:
    """Seconds of one condition's cells; what several cards share is counted to equal parts for each.

    On CUDA an interval lies between two events on the device's stream, of which nothing is known before `seconds`:
    no batch is synchronised for it. What another thread put between the two is counted in.
    """

    def __init__(self, cards: Iterable[str], device: torch.device) -> None:
        self._device = device
        self._seconds = {card: dict.fromkeys(PARTS, 0.0) for card in cards}
        self._intervals: list[tuple[str, tuple[str, ...], Any, Any]] = []

    def mark(self) -> Any:
        """A moment."""
        if self._device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self._device))
        return event

    def between(self, part: str, cards: Sequence[str], first: Any, last: Any) -> None:
        """What passed between two moments was spent on that part for these cards."""
        if self._device.type == "cuda":
            self._intervals.append((part, tuple(cards), first, last))
        else:
            self.add(part, cards, last - first)

    def add(self, part: str, cards: Sequence[str], seconds: float) -> None:
        """Seconds of the host were."""
        for card in cards:
            self._seconds[card][part] += seconds / len(cards)

    def seconds(self, card: str) -> dict[str, float]:
        """What there is of a card, {part: seconds}; waits for the device once."""
        if self._intervals:
            torch.cuda.synchronize(self._device)
            for part, cards, first, last in self._intervals:
                self.add(part, cards, first.elapsed_time(last) / 1000)
            self._intervals.clear()
        return {part: round(value, 3) for part, value in self._seconds[card].items()}
