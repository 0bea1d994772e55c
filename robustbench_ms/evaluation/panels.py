"""A record's samples with its answers, drawn as its task draws them: a row of pictures a sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from robustbench_ms.catalog.registry import TASKS, load
from robustbench_ms.datasets.protocol import Images, RaggedImages
from robustbench_ms.errors import UserError
from robustbench_ms.evaluation.finished import Finished
from robustbench_ms.specs.card import Input, of_record
from robustbench_ms.specs.conditions import Condition
from robustbench_ms.subjects.inputs import way_of
from robustbench_ms.tasks.outcomes import taken
from robustbench_ms.tasks.protocol import Drawing, Shown

__all__ = ["drawing_of", "panels", "worst_maps"]

SMALLEST, LARGEST = 360, 640
"""Pixels of a panel's longer side: smaller samples are enlarged by whole numbers, larger ones made smaller."""


def drawing_of(task: str) -> Drawing:
    """How a task's samples are drawn; UserError where they are not."""
    target = TASKS[task].drawing
    if target is None:
        raise UserError(f"the task {task} has no way to draw its samples")
    made: Drawing = load(target)
    return made


def panels(
    finished: Finished, wanted: Sequence[Condition], rows: NDArray[np.int64], score: float
) -> list[list[Any]]:
    """Pictures of Pillow's, one a condition for each sample: what is shown, its truth and what was answered.

    UserError where a cell's answers are not kept, Incomparable where the data are others than they were.
    """
    drawing, canvas = drawing_of(finished.record.task), finished.suite.canvas
    if canvas == "model":  # of each model its own; a record has its input
        canvas = way_of(Input(**of_record(finished.record.card["input"])), canvas).canvas or canvas
    made: list[list[Any]] = [[] for _ in rows]
    for condition in wanted:
        outcomes = finished.outcomes(condition)
        finished.check_data(condition)
        data, perturbation = (
            finished.shown.data(condition, canvas),
            finished.shown.perturbation(condition, canvas),
        )
        if not isinstance(data.facts.layout, (Images, RaggedImages)):
            raise UserError(f"{finished.suite.name} shows no pictures that could be drawn")
        for i, row in enumerate(rows):
            batch = data.load(rows[i : i + 1], torch.device("cpu"))
            if condition and perturbation is not None:
                batch = perturbation(batch, condition)
            pixels, zoom = _zoomed(batch.samples[0].numpy())
            answer = taken(outcomes, np.array([row]))
            names = data.facts.names
            made[i].append(drawing.draw(Shown(pixels, zoom, batch.targets[0], answer, names, score)))
    return made


def worst_maps(finished: Finished, wanted: Sequence[Condition]) -> list[int]:
    """Ids of the samples whose heat maps lose most from the first condition to the mean of the others, the worst first.

    Where there is but one condition those whose map is worth least come first. UserError where the task has no maps.
    """
    worth = drawing_of(finished.record.task).worth
    if worth is None:
        raise UserError(
            f"{finished.record.name} is a record of {finished.record.task}, which has no heat maps; --images draws it"
        )
    first, *others = (worth(finished.cell(condition).outcomes) for condition in wanted)
    fall = first - np.mean(others, axis=0) if others else -first
    order = np.argsort(-fall, kind="stable")  # nan, of samples without a map, comes last
    ids: list[int] = finished.index.ids[order[np.isfinite(fall[order])]].tolist()
    return ids


def _zoomed(sample: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], float]:
    """A sample (1 or 3, H, W) as (H', W', 3), and the pixels of it a pixel of the sample."""
    from PIL import Image

    channels, height, width = sample.shape
    pixels = np.repeat(sample, 3, axis=0) if channels == 1 else sample
    picture = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    longer = max(height, width)
    if longer < SMALLEST:
        zoom = float(-(-SMALLEST // longer))
        picture = picture.resize((int(width * zoom), int(height * zoom)), Image.Resampling.NEAREST)
    elif longer > LARGEST:
        zoom = LARGEST / longer
        picture = picture.resize((round(width * zoom), round(height * zoom)), Image.Resampling.LANCZOS)
    else:
        zoom = 1.0
    return np.asarray(picture), zoom
