"""A task of another kind, registered as a stranger would: bright spots are to be found by where a network looks.

Its images are ragged, it asks for a gradient at a layer, its answers are a table a sample, its outcomes are items that
samples own, three of its numbers are of the whole set, one has no value where nothing was found, a perturbation moves
its label maps, and a threshold is found for each card beforehand.
"""

from __future__ import annotations

from robustbench_ms.catalog.registry import DATASETS, PERTURBATIONS, TASKS, PerturbationInfo, TaskInfo
from robustbench_ms.datasets import DatasetInfo
from robustbench_ms.specs.axes import Axis

SHIFTS = Axis("shift", ("roll", "dim"), "shifts", {"shifted": ("roll", "dim")})
LEVELS = Axis("level", (1, 2), "levels")


def register():
    """Make the task, its data and its perturbation known in this process."""
    here = "tests.spots"
    TASKS.register(
        "spots",
        TaskInfo(
            task=f"{here}.task:Spots",
            rows=f"{here}.rows:ROWS",
            measures=f"{here}.measures:SCORERS",
            options=("layer",),
        ),
    )
    DATASETS.register(
        "spots",
        DatasetInfo(f"{here}.data:index_spots", "bright spots on dark ground", classes=2, options=("count",)),
    )
    PERTURBATIONS.register("shifts", PerturbationInfo(axes=(SHIFTS, LEVELS), target=f"{here}.task:Shifts"))
