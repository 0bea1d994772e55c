"""What the command line says of one model: its weights, its record's name, what it wants to be shown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from robustbench_ms.catalog.find import find_card
from robustbench_ms.errors import UserError, choose
from robustbench_ms.specs.card import ADAPTERS, PRECISIONS, Card, Input, Weights

__all__ = ["ModelOptions"]


@dataclass(frozen=True)
class ModelOptions:
    """As people write them; None is what was not said."""

    weights: Path | None = None
    name: str | None = None
    mean: str | None = None
    """One or three numbers: "0.485,0.456,0.406"."""
    std: str | None = None
    size: str | None = None
    """A side in pixels, or "canvas": straight from a canvas that is cut already, without a crop of its own."""
    fit: str | None = None
    """"resize", or "crop": of a canvas that is cut already a second crop."""
    crop: float | None = None
    weights_key: str | None = None
    """Of a checkpoint: the weights that lie under this key."""
    precision: str | None = None

    def cards(self, spellings: Sequence[str]) -> list[Card]:
        """The cards of several spellings; UserError where something is said and they are not one."""
        return self.changed([find_card(spelling) for spelling in spellings])

    def changed(self, cards: Sequence[Card]) -> list[Card]:
        """The same of cards that are found already."""
        given = [f"--{option.replace('_', '-')}" for option, value in vars(self).items() if value is not None]
        if not given:
            return [*cards]
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
        if self.weights_key is not None:
            changes["weights"] = self._keyed(card, changes.get("weights", card.weights))
        if self.precision is not None:
            changes["precision"] = choose(self.precision, PRECISIONS, "precision", "--precision")
        if self.name is not None:
            changes["name"] = self.name
        if (self.mean is None) != (self.std is None):
            raise UserError(
                "--mean and --std go together: one without the other is a normalisation that nobody meant"
            )
        known = self._fitted(card.input)
        if self.mean is not None and self.std is not None:
            mean, std = _numbers("--mean", self.mean), _numbers("--std", self.std)
            # Of an input that nobody said the rest is still the library's.
            known = replace(known, mean=mean, std=std, normalised=known.assumed)
            if min(known.std) <= 0:
                raise UserError(f"--std: numbers above 0 are wanted, not {self.std!r}")
        return replace(card, input=known, **changes)

    def _keyed(self, card: Card, weights: tuple[Weights, ...]) -> tuple[Weights, ...]:
        if not weights or str(card.build).partition(":")[0] in ADAPTERS:
            raise UserError("--weights-key is for a checkpoint: give one with --weights")
        return tuple(replace(one, key=self.weights_key) for one in weights)

    def _fitted(self, known: Input) -> Input:
        """The input with what was said of size, fit and crop."""
        if self.size == "canvas":
            if self.fit is not None or self.crop is not None:
                raise UserError(
                    "--size canvas is a canvas without a crop of the model's own; --fit and --crop ask for one"
                )
            known = replace(known, recrop=False)
        elif self.size is not None:
            side = int(self.size) if self.size.isdecimal() else 0
            if side < 1:
                raise UserError(f"--size: a side in pixels or 'canvas' is wanted, not {self.size!r}")
            known = replace(known, size=side)
        if self.fit is None and self.crop is None:
            return known
        fit = choose(self.fit or "crop", ("resize", "crop"), "fit", "--fit")
        if fit == "resize" and self.crop is not None:
            raise UserError("--crop goes with --fit crop")
        if self.crop is not None and not 0 < self.crop <= 1:
            raise UserError(f"--crop: the fraction that is kept is above 0 and at most 1, not {self.crop:g}")
        crop = 1.0 if fit == "resize" else self.crop or (known.crop if known.fit == "crop" else None)
        if crop is None:
            raise UserError("--fit crop needs --crop, the fraction that is kept: 0.875")
        return replace(known, fit=fit, crop=crop, crop_mode="center", recrop=True)


def _numbers(option: str, text: str) -> tuple[float, ...]:
    try:
        values = tuple(float(word) for word in text.replace(",", " ").split())
    except ValueError:
        values = ()
    if len(values) not in {1, 3} or not all(map(math.isfinite, values)):
        raise UserError(f"{option}: one or three numbers are wanted, as 0.485,0.456,0.406, not {text!r}")
    return values
