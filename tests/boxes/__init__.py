"""Detection as a stranger would use it: a data set in memory, one in COCO's format, and detectors of a few lines."""

from __future__ import annotations

import importlib.util
import sys

from robustbench_ms.catalog.registry import DATASETS
from robustbench_ms.datasets import DatasetInfo


def register():
    """Make the data known in this process, and numbers where the task has none of its own."""
    DATASETS.register("boxes", DatasetInfo("tests.boxes.data:index_boxes", "bright rectangles", classes=2))
    for part in ("rows", "measures"):
        name = f"robustbench_ms.tasks.detection.{part}"
        if name not in sys.modules and importlib.util.find_spec(name) is None:
            sys.modules[name] = importlib.import_module(f"tests.boxes.{part}")
