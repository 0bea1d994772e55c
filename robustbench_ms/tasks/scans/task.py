"""Classification of volumes: scored as activities are."""

from __future__ import annotations

from typing import Any

from robustbench_ms.datasets.shapes import RaggedVolumes, Volumes
from robustbench_ms.errors import UserError
from robustbench_ms.specs.source import Source
from robustbench_ms.tasks.activity.task import Activity
from robustbench_ms.tasks.protocol import Asked, IndexOf

__all__ = ["Scans"]


class Scans(Activity):
    """`Classification` of volumes alone, with the truth kept, as macro F1 is of answers and labels together."""

    layouts: tuple[type[Any], ...] = (Volumes, RaggedVolumes)

    def calibrate(self, model: Asked, source: Source, index_of: IndexOf) -> dict[str, Any]:
        """Nothing; but a card that asks for windows is a UserError before anything is asked."""
        if model.card.input.window is not None:
            raise UserError(
                "its card asks for windows, whose answers are put together voxel by voxel; here a label is asked of a "
                "volume as a whole, so that there is nothing to put together"
            )
        return super().calibrate(model, source, index_of)
