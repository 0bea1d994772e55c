"""Patches on pictures as a suite asks for them: a perturbation of uint8 images of one size."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from robustbench_ms.datasets.protocol import Batch, DataFacts
from robustbench_ms.datasets.shapes import Images
from robustbench_ms.errors import UserError
from robustbench_ms.faults.pictures.occlusion import occlude, side_of
from robustbench_ms.faults.pictures.table import PROTOCOL, SIZES
from robustbench_ms.specs.conditions import Condition
from robustbench_ms.specs.suite import Suite

__all__ = ["Occlusions"]


class Occlusions:
    """A suite's seed, on its data."""

    def __init__(self, suite: Suite, facts: DataFacts) -> None:
        self._suite, self._layout = suite, facts.layout

    def moves(self, condition: Condition) -> bool:
        """None does: what is hidden is where it was."""
        del condition
        return False

    def number(self, condition: Condition) -> int:
        """The patch's protocol number."""
        return PROTOCOL[dict(condition)["patch"]]

    def check(self, condition: Condition) -> None:
        """UserError for data that are no images of one size, and where two sizes would be the same patch."""
        del condition
        place, layout = f"suite {self._suite.name}", self._layout
        if not isinstance(layout, Images):
            raise UserError(
                f"{place}: patches are put on images of one size, and {self._suite.dataset} has {type(layout).__name__}"
            )
        if len({side_of(layout.height, layout.width, size) for size in SIZES}) < len(SIZES):
            raise UserError(
                f"{place}: images of {layout.height} x {layout.width} pixels are too small for patches of five sizes"
            )

    def question(self, condition: Condition) -> dict[str, Any]:
        """Protocol number and seed."""
        return {"patch_protocol": self.number(condition), "seed": self._suite.seed}

    def __call__(self, batch: Batch, condition: Condition) -> Batch:
        """The batch's uint8 images (k, C, H, W) under a patch, keyed by their ids."""
        wanted = dict(condition)
        ids = torch.from_numpy(batch.ids)
        shown = occlude(batch.samples, wanted["patch"], wanted["size"], ids=ids, seed=self._suite.seed)
        return replace(batch, samples=shown, condition=condition)
