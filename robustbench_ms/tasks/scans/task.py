"""Classification of volumes: scored as activities are."""

from __future__ import annotations

from typing import Any

from robustbench_ms.datasets.protocol import Volumes
from robustbench_ms.tasks.activity.task import Activity

__all__ = ["Scans"]


class Scans(Activity):
    """`Classification` of volumes alone, with the truth kept, as macro F1 is of answers and labels together."""

    layouts: tuple[type[Any], ...] = (Volumes,)
