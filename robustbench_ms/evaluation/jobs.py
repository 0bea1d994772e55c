"""What is asked, of whom, and how much at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from robustbench_ms.errors import UserError
from robustbench_ms.specs.card import Card
from robustbench_ms.specs.conditions import Condition
from robustbench_ms.specs.suite import Suite
from robustbench_ms.subjects.identity import digest

__all__ = ["Question", "fitting_batch", "fitting_step", "refuse_twins"]


@dataclass(frozen=True)
class Question:
    """One cell's protocol, as all cards are asked it."""

    condition: Condition
    fields: Mapping[str, Any]
    n: int

    @property
    def protocol(self) -> str:
        """Its digest."""
        return digest(self.fields)


def refuse_twins(cards: Sequence[Card], suite: Suite) -> None:
    """UserError where two cards would have one record, or one of them does another task."""
    if not cards:
        raise UserError("no model given; name one with -m")
    seen: dict[str, Card] = {}
    for card in cards:
        if suite.task not in card.tasks:
            raise UserError(
                f"model {card.name} does {', '.join(card.tasks)}, and suite {suite.name} asks for {suite.task}"
            )
        if not card.file_name:
            raise UserError(
                f"a model named {card.name!r} would have a record without a name; give it another --name"
            )
        if card.file_name in seen:
            raise UserError(
                f"two models are named {card.name!r}, and a name is a record: drop one, or give it another --name"
            )
        seen[card.file_name] = card


def fitting_batch(shape: Sequence[int], device: torch.device) -> int:
    """Some 8 MB of canvas pixels at once on a GPU; on a CPU what keeps a small network's maps in its caches."""
    pixels = int(np.prod(shape))
    cuda = device.type == "cuda"
    return int(np.clip((2**25 if cuda else 2**17) // pixels, 16, 512 if cuda else 256))


def fitting_step(batch: int, shape: Sequence[int], device: torch.device) -> int:
    """How many samples are loaded and corrupted at once: whole batches, on a CPU up to some 1 MB of them.

    A corruption has fixed costs, and what keeps a model's maps in the caches is few small images for it.
    """
    return batch if device.type == "cuda" else batch * max(1, 2**20 // (batch * int(np.prod(shape))))
