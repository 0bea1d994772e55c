"""The rows that the entry points name: facts and names of modules, so that listing imports no torch."""

from __future__ import annotations

from robustbench_ms.catalog.registry import PerturbationInfo, TaskInfo
from robustbench_ms.datasets import DatasetInfo
from robustbench_ms.specs.axes import Axis

STRIPES = DatasetInfo(
    "rbms_stripes.data:index_stripes",
    "stripes in four directions, 32 x 32 RGB, made of their ids",
    classes=4,
    sizes=(160, 320),
    embedded=True,
)

FILM = PerturbationInfo(
    axes=(
        # Summaries are means over the group "common".
        Axis("film", ("dust", "fade"), "films", {"common": ("dust", "fade")}),
        Axis("strength", (1, 2, 3), "strengths"),
    ),
    target="rbms_stripes.film:Film",
)

ORIENTATION = TaskInfo(
    task="rbms_stripes.orientation.task:Orientation",
    rows="rbms_stripes.orientation.rows:ROWS",
    measures="rbms_stripes.orientation.measures:SCORERS",
    answers="classification",  # whoever answers with logits can be asked
)
