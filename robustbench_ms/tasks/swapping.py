"""Other grounds behind the digits of `quick-scenes-one`, the one data set whose grounds are known to the pixel."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from robustbench_ms.datasets.protocol import Batch, DataFacts
from robustbench_ms.datasets.scenes import ONE, drawn, swapped
from robustbench_ms.datasets.swaps import PROTOCOL
from robustbench_ms.errors import UserError
from robustbench_ms.specs.conditions import Condition
from robustbench_ms.specs.suite import Suite

__all__ = ["Backgrounds"]


class Backgrounds:
    """A suite's seed and split."""

    def __init__(self, suite: Suite, facts: DataFacts) -> None:
        del facts
        self._suite = suite

    def moves(self, condition: Condition) -> bool:
        """None does: the digit stays where it is."""
        del condition
        return False

    def number(self, condition: Condition) -> int:
        """The background's protocol number."""
        return PROTOCOL[dict(condition)["background"]]

    def check(self, condition: Condition) -> None:
        """UserError for other data: of them nobody knows which pixels are ground."""
        del condition
        if self._suite.dataset != ONE.name:
            raise UserError(
                f"suite {self._suite.name}: backgrounds are swapped of {ONE.name} alone, not of {self._suite.dataset}"
            )

    def question(self, condition: Condition) -> dict[str, Any]:
        """Protocol number and seed."""
        return {"background_protocol": self.number(condition), "seed": self._suite.seed}

    def __call__(self, batch: Batch, condition: Condition) -> Batch:
        """The batch's scenes uint8 (k, 3, 128, 128) on other grounds, keyed by their ids, on the batch's device."""
        wanted, split = dict(condition), self._suite.split
        shown = [
            swapped(drawn(split, i, ONE), split, i, wanted["background"], wanted["level"], self._suite.seed)
            for i in batch.ids.tolist()
        ]
        samples = torch.from_numpy(np.stack(shown).transpose(0, 3, 1, 2).copy())
        return replace(batch, samples=samples.to(batch.samples.device), condition=condition)
