"""Classification of windows of signals: its labels are kept, as macro F1 is of answers and labels together."""

from __future__ import annotations

from typing import Any

from robustbench_ms.datasets.protocol import Batch
from robustbench_ms.datasets.shapes import Signals
from robustbench_ms.tasks.classification.task import Classification
from robustbench_ms.tasks.outcomes import Outcomes

__all__ = ["Activity"]


class Activity(Classification):
    """`Classification` of signals alone, with the truth kept."""

    layouts: tuple[type[Any], ...] = (Signals,)

    def truth(self, batch: Batch) -> Outcomes | None:
        """Label (k,)."""
        return Outcomes({"label": batch.targets})
