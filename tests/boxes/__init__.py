"""Detection as a stranger would use it: a data set in memory, one in COCO's format, and detectors of a few lines."""

from __future__ import annotations

from robustbench_ms.catalog.registry import DATASETS
from robustbench_ms.datasets import DatasetInfo

SUITE = """\
task = "detection"
dataset = "boxes"
profile = "any-size"
summary = ["mPC", "P"]
[matrix]
corruption = ["brightness", "contrast"]
severity = [1, 2]
"""


def register():
    """Make the data known in this process."""
    DATASETS.register("boxes", DatasetInfo("tests.boxes.data:index_boxes", "bright rectangles", classes=2))
