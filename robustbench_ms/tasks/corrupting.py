"""The corruptions as a suite asks for them: a perturbation of uint8 images."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from robustbench_ms.corruptions import corrupt, jpeg_round_trip
from robustbench_ms.corruptions.table import PROTOCOL
from robustbench_ms.datasets.protocol import Batch, DataFacts
from robustbench_ms.datasets.shapes import Images, RaggedVolumes, Signals, Volumes
from robustbench_ms.errors import UserError
from robustbench_ms.specs.conditions import Condition
from robustbench_ms.specs.suite import Suite

__all__ = ["Corruptions"]


class Corruptions:
    """A suite's profile, encoding and seed, on its data."""

    def __init__(self, suite: Suite, facts: DataFacts) -> None:
        self._suite, self._facts = suite, facts

    def moves(self, condition: Condition) -> bool:
        """None does: labels stay, as the benchmarks that label corrupted scenes leave them, and as boxes do.

        The elastic transform displaces pixels a little, and glass blur exchanges near ones; both count as what a model
        must bear.
        """
        del condition
        return False

    def number(self, condition: Condition) -> int:
        """The corruption's protocol number."""
        return PROTOCOL[dict(condition)["corruption"]]

    def check(self, condition: Condition) -> None:
        """UserError where the profile does not take images of this size."""
        layout = self._facts.layout
        if isinstance(layout, (Signals, Volumes, RaggedVolumes)):
            raise UserError(
                f"suite {self._suite.name}: corruptions are of images, and {self._suite.dataset} has none: a matrix of "
                "signals has fault and level, one of volumes artefact and level"
            )
        shapes = (
            [(layout.height, layout.width)]
            if isinstance(layout, Images)
            else sorted({(int(height), int(width)) for height, width in layout.sizes})
        )
        for shape in shapes:
            none = torch.empty((0, layout.channels, *shape), dtype=torch.uint8)
            try:
                self(Batch(none, None, self._facts.ids[:0], self._facts.ids[:0]), condition)
            except UserError as error:
                raise UserError(f"suite {self._suite.name}: {error}") from error

    def question(self, condition: Condition) -> dict[str, Any]:
        """Profile, protocol number, seed and encoding."""
        return {
            "profile": self._suite.profile,
            "corruption_protocol": self.number(condition),
            "seed": self._suite.seed,
            "encode": self._suite.encode,
        }

    def __call__(self, batch: Batch, condition: Condition) -> Batch:
        """The batch's uint8 images (k, C, H, W) under a corruption, keyed by their ids; label maps stay as they are."""
        wanted = dict(condition)
        shown = corrupt(
            batch.samples,
            wanted["corruption"],
            wanted["severity"],
            profile=self._suite.profile or "any-size",
            seed=self._suite.seed,
            ids=torch.from_numpy(batch.ids),
        )
        if self._suite.encode is not None:
            shown = jpeg_round_trip(shown, int(self._suite.encode.removeprefix("jpeg-")))
        return replace(batch, samples=shown, condition=condition)
