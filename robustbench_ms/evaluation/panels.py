"""A record's samples with its answers, drawn as its task draws them: a row of pictures a sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from robustbench_ms.catalog.registry import TASKS
from robustbench_ms.catalog.targets import load
from robustbench_ms.datasets.protocol import Batch
from robustbench_ms.datasets.shapes import Images, RaggedImages, Signals
from robustbench_ms.errors import UserError
from robustbench_ms.evaluation.finished import Finished
from robustbench_ms.specs.canvas import Canvas
from robustbench_ms.specs.card import Input, of_record
from robustbench_ms.specs.channels import Channel
from robustbench_ms.specs.conditions import Condition
from robustbench_ms.subjects.inputs import way_of
from robustbench_ms.tasks.outcomes import taken
from robustbench_ms.tasks.protocol import Drawing, Shown

__all__ = [
    "SignalsShown",
    "canvas_of",
    "drawing_of",
    "panels",
    "shown_under",
    "signals_under",
    "worst_maps",
]

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

    Before them the truth alone, where the task draws that.

    UserError where a cell's answers are not kept, Incomparable where the data are others than they were.
    """
    drawing, canvas = drawing_of(finished.record.task), canvas_of(finished)
    made: list[list[Shown]] = [[] for _ in rows]
    for condition in wanted:
        outcomes = finished.outcomes(condition)
        finished.check_data(condition)
        facts = finished.shown.data(condition, canvas).facts
        if not isinstance(facts.layout, (Images, RaggedImages)):
            raise UserError(f"{finished.suite.name} shows no pictures that could be drawn")
        for i, row in enumerate(rows):
            batch = shown_under(finished, condition, rows[i : i + 1], canvas)
            pixels, zoom = _zoomed(batch.samples[0].numpy())
            answer = taken(outcomes, np.array([row]))
            maps = {name: np.asarray(one[0]) for name, one in batch.maps.items()}
            made[i].append(Shown(pixels, zoom, batch.targets[0], answer, facts.names, score, maps))
    first = [] if drawing.truth is None else [drawing.truth]
    return [[*(true(row) for true in first), *map(drawing.draw, row)] for row in made]


def canvas_of(finished: Finished) -> str | Canvas:
    """What its record's model is shown samples on: its suite's canvas, or where each model has its own the card's."""
    canvas = finished.suite.canvas
    if canvas == "model":
        return way_of(Input(**of_record(finished.record.card["input"])), canvas).canvas or canvas
    return canvas


def shown_under(
    finished: Finished, condition: Condition, rows: NDArray[np.int64], canvas: str | Canvas = "stored"
) -> Batch:
    """Samples of one shape as models are shown them under a condition, on the CPU."""
    batch = finished.shown.data(condition, canvas).load(rows, torch.device("cpu"))
    perturbation = finished.shown.perturbation(condition, canvas)
    return perturbation(batch, condition) if condition and perturbation is not None else batch


@dataclass(frozen=True)
class SignalsShown:
    """One window under several conditions beside what was answered to it."""

    id: int
    label: int
    channels: tuple[Channel, ...]
    names: tuple[str, ...]
    """What classes are called; () where they have no names."""
    windows: NDArray[np.float32]
    """(conditions, C, T), in physical units."""
    answers: list[int]
    right: list[bool]

    def name(self, label: int) -> str:
        """What a class is called."""
        return self.names[label] if label < len(self.names) else f"class {label}"


def signals_under(finished: Finished, wanted: Sequence[Condition], number: int | None) -> SignalsShown:
    """The window of that id; None for one that is right at first and wrong under the most of the other conditions.

    UserError where the data are no signals or the cache has no answers, Incomparable where they are others than they
    were.
    """
    facts = finished.shown.data(wanted[0]).facts
    if not isinstance(facts.layout, Signals):
        raise UserError(
            f"{finished.record.name} is a record of {finished.record.task}, and no signals; --images draws it"
        )
    for condition in wanted:
        finished.check_data(condition)
    cells = [finished.cell(condition).outcomes.samples for condition in wanted]
    right = np.stack([cell["correct"] for cell in cells]).astype(bool)
    if number is None:
        number = int(facts.ids[np.argmax(np.where(right[0], (~right).sum(axis=0), -1))])
    rows = finished.rows([number])
    batches = [shown_under(finished, condition, rows) for condition in wanted]
    return SignalsShown(
        number, int(batches[0].targets[0]), facts.layout.of, facts.names,
        np.stack([batch.samples[0].numpy() for batch in batches]),
        [int(cell["prediction"][rows[0]]) for cell in cells], right[:, rows[0]].tolist(),
    )  # fmt: skip


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
