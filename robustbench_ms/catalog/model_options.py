"""What the command line says of one model: its weights, its record's name, what it wants to be shown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from robustbench_ms.catalog.find import find_card
from robustbench_ms.errors import UserError
from robustbench_ms.specs.card import Card, Weights

__all__ = ["ModelOptions"]


@dataclass(frozen=True)
class ModelOptions:
    """As people write them; None is what was not said."""

    weights: Path | None = None
    name: str | None = None
    mean: str | None = None
    """One or three numbers: "0.485,0.456,0.406"."""
    std: str | None = None
    size: int | None = None

    def cards(self, spellings: Sequence[str]) -> list[Card]:
        """The cards of several spellings; UserError where something is said and they are not one."""
        cards = [find_card(spelling) for spelling in spellings]
        given = [f"--{option}" for option, value in vars(self).items() if value is not None]
        if not given:
            return cards
        if len(cards) != 1:
            raise UserError(f"{', '.join(given)} speak of one model, and {len(cards)} are given with -m")
        return [self._changed(cards[0])]

    def _changed(self, card: Card) -> Card:
        changes: dict[str, Any] = {}
        if self.weights is not None:
            if not self.weights.is_file():
                raise UserError(f"--weights: no file {self.weights}")
            changes["weights"] = (Weights(file=str(self.weights.resolve())),)
            changes["untrained"] = False
        if self.name is not None:
            changes["name"] = self.name
        if (self.mean is None) != (self.std is None):
            raise UserError(
                "--mean and --std go together: one without the other is a normalisation that nobody meant"
            )
        if self.size is not None and self.size < 1:
            raise UserError(f"--size: a side in pixels is wanted, not {self.size}")
        known = card.input if self.size is None else replace(card.input, size=self.size)
        if self.mean is not None and self.std is not None:
            mean, std = _numbers("--mean", self.mean), _numbers("--std", self.std)
            known = replace(known, mean=mean, std=std, assumed=False)
            if min(known.std) <= 0:
                raise UserError(f"--std: numbers above 0 are wanted, not {self.std!r}")
        return replace(card, input=known, **changes)


def _numbers(option: str, text: str) -> tuple[float, ...]:
    try:
        values = tuple(float(word) for word in text.replace(",", " ").split())
    except ValueError:
        values = ()
    if len(values) not in {1, 3} or not all(map(math.isfinite, values)):
        raise UserError(f"{option}: one or three numbers are wanted, as 0.485,0.456,0.406, not {text!r}")
    return values
