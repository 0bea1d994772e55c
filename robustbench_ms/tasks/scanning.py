"""The artefacts of scanners as a suite asks for them: a perturbation of volumes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from robustbench_ms.datasets.protocol import MAP, Batch, DataFacts
from robustbench_ms.datasets.shapes import RaggedVolumes, Volumes
from robustbench_ms.errors import UserError
from robustbench_ms.faults.volumes.api import artefact, refuse
from robustbench_ms.faults.volumes.table import MOVING, PROTOCOL
from robustbench_ms.specs.conditions import Condition
from robustbench_ms.specs.suite import Suite

__all__ = ["Artefacts"]


class Artefacts:
    """A suite's seed, on its data's grids."""

    def __init__(self, suite: Suite, facts: DataFacts) -> None:
        layout = facts.layout
        if not isinstance(layout, (Volumes, RaggedVolumes)):
            raise UserError(
                f"suite {suite.name}: artefacts are of volumes, and {suite.dataset} has {type(layout).__name__}"
            )
        self._suite, self._layout = suite, layout

    def moves(self, condition: Condition) -> bool:
        """Rotation, shift and the elastic one do, and the batch's map of classes with them."""
        return dict(condition).get("artefact") in MOVING

    def number(self, condition: Condition) -> int:
        """The artefact's protocol number."""
        return PROTOCOL[dict(condition)["artefact"]]

    def check(self, condition: Condition) -> None:
        """UserError for volumes that are too small."""
        del condition
        layout = self._layout
        shapes = [layout.shape] if isinstance(layout, Volumes) else layout.shapes.tolist()
        try:
            for shape in shapes:
                refuse(tuple(shape))
        except UserError as error:
            raise UserError(f"suite {self._suite.name}: {error}") from error

    def question(self, condition: Condition) -> dict[str, Any]:
        """Protocol number and seed."""
        return {"artefact_protocol": self.number(condition), "seed": self._suite.seed}

    def __call__(self, batch: Batch, condition: Condition) -> Batch:
        """Volumes float32 (k, C, D, H, W) with an artefact, keyed by their ids; what moves moves the map."""
        wanted = dict(condition)
        shown, moved = artefact(
            batch.samples, wanted["artefact"], wanted["level"], ids=torch.from_numpy(batch.ids), seed=self._suite.seed,
            of_bytes=self._layout.of_bytes, spacing=self._layout.spacing, labels=batch.maps.get(MAP),
        )  # fmt: skip
        maps = batch.maps if moved is None or not self.moves(condition) else {**batch.maps, MAP: moved}
        return replace(batch, samples=shown, maps=maps, condition=condition)
