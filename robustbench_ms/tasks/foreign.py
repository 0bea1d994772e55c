"""Corruptions of another package as a perturbation: keyed as ours are, by 64 bits of the package's and their names.

A package says its axes in a `PerturbationInfo`, the corruption's name first and its level second, and derives from
`ForeignCorruptions`; `rbms check PACKAGE` holds it to the contract.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch

from robustbench_ms.corruptions import jpeg_round_trip
from robustbench_ms.corruptions.corruption import Corruption, Setting
from robustbench_ms.corruptions.dispatch import words_on
from robustbench_ms.corruptions.keyed import foreign_code, foreign_keys
from robustbench_ms.datasets.protocol import Batch, DataFacts
from robustbench_ms.datasets.shapes import Images, RaggedVolumes, Signals, Volumes
from robustbench_ms.errors import UserError
from robustbench_ms.specs.conditions import Condition
from robustbench_ms.specs.suite import Suite

__all__ = ["ForeignCorruption", "ForeignCorruptions"]


@dataclass(frozen=True)
class ForeignCorruption:
    """One of them."""

    corruption: Corruption
    """Its draw and its definition; other forms are not asked."""
    parameters: Mapping[Any, Any]
    """What the definition's `Setting` holds, by level, in rising strength."""
    number: int = 1
    """Raised by hand when any output byte changes."""
    moves: bool = False
    """It moves what is where: data with label maps are refused it."""


class ForeignCorruptions:
    """A perturbation of uint8 images (k, C, H, W), made once a suite and data."""

    distribution: ClassVar[str]
    """The package's name on an index: its corruptions are keyed by it."""
    corruptions: ClassVar[Mapping[str, ForeignCorruption]]

    def __init__(self, suite: Suite, facts: DataFacts) -> None:
        self._suite, self._facts = suite, facts

    def _at(self, condition: Condition) -> tuple[str, Any, ForeignCorruption]:
        (_, name), (_, level) = condition
        return name, level, self.corruptions[name]

    def moves(self, condition: Condition) -> bool:
        """As the corruption says."""
        return self._at(condition)[2].moves

    def number(self, condition: Condition) -> int:
        """The corruption's protocol number."""
        return self._at(condition)[2].number

    def check(self, condition: Condition) -> None:
        """UserError where an image is smaller than the corruption takes, or a label map would have to move with it."""
        name, _, chosen = self._at(condition)
        if chosen.moves and self._facts.maps:
            raise UserError(
                f"suite {self._suite.name}: {name} moves pixels, and label maps cannot be moved with them"
            )
        layout, least = self._facts.layout, chosen.corruption.smallest
        if isinstance(layout, (Signals, Volumes, RaggedVolumes)):
            raise UserError(
                f"suite {self._suite.name}: {name} is of images, and {self._suite.dataset} has none"
            )
        side = min(layout.height, layout.width) if isinstance(layout, Images) else int(layout.sizes.min())
        if side < least:
            raise UserError(
                f"suite {self._suite.name}: {name} needs images of at least {least} x {least} pixels, not {side}"
            )

    def question(self, condition: Condition) -> dict[str, Any]:
        """Whose corruption it is, its number, the seed and the encoding."""
        name, _, chosen = self._at(condition)
        return {
            "perturbation": f"{self.distribution}:{name}",
            "perturbation_protocol": chosen.number,
            "seed": self._suite.seed,
            "encode": self._suite.encode,
        }

    def __call__(self, batch: Batch, condition: Condition) -> Batch:
        """The batch's images under a corruption, keyed by their ids."""
        name, level, chosen = self._at(condition)
        if batch.maps and chosen.moves:
            raise UserError(f"{name} moves pixels, and label maps cannot be moved with them")
        images, words = batch.samples.contiguous(), None
        severity = [*chosen.parameters].index(level) + 1
        setting = Setting("any-size", severity, chosen.parameters[level])
        if chosen.corruption.draw is not None:
            ids = torch.from_numpy(batch.ids).to(images.device)
            keys = foreign_keys(foreign_code(self.distribution, name), severity, self._suite.seed, ids)
            count, channels, height, width = images.shape
            words = chosen.corruption.draw(
                keys, (count, channels, height, width), setting, words_on(images.device)
            )
        shown = chosen.corruption.definition(images, words, setting)
        if self._suite.encode is not None:
            shown = jpeg_round_trip(shown, int(self._suite.encode.removeprefix("jpeg-")))
        return replace(batch, samples=shown, condition=condition)
