"""A record's volumes, drawn as slices through their middle: a column a condition, a row a plane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.datasets.protocol import MAP
from robustbench_ms.datasets.shapes import RaggedVolumes, Volumes
from robustbench_ms.errors import UserError
from robustbench_ms.evaluation.finished import Finished
from robustbench_ms.evaluation.panels import shown_under
from robustbench_ms.specs.conditions import CLEAN, Condition

__all__ = ["LEGEND", "Slices", "slices"]

_SIDE = 140
"""Pixels of a slice's longer side."""
_COLOURS = ((213, 94, 0), (86, 180, 233), (0, 158, 115), (204, 121, 167))
"""Of the classes from 1 on, around and around (Okabe and Ito's)."""
LEGEND = "Slices through the middle, first voxel at the upper left, all with the clean volume's greys"
_OUTLINED = "; outlined is what is true, by class"


@dataclass(frozen=True)
class Slices:
    """What a sheet is made of."""

    pictures: list[list[Any]]
    """Pillow's, a row a sample and plane, a column a condition."""
    names: list[str]
    """Of the rows."""
    legend: str


def slices(finished: Finished, wanted: Sequence[Condition], rows: NDArray[np.int64]) -> Slices:
    """Three planes of each sample's first channel under each condition.

    Greys reach from the .5 to the 99.5 percentile of the sample as it is, so that what an artefact does to them is
    seen. UserError where the data are no volumes, Incomparable where they are others than they were.
    """
    made: list[list[Any]] = [[] for _ in range(3 * len(rows))]
    names, outlined = [""] * len(made), False
    for condition in wanted:
        finished.check_data(condition)
        layout = finished.shown.data(condition).facts.layout
        if not isinstance(layout, (Volumes, RaggedVolumes)):
            raise UserError(f"{finished.suite.name} shows no volumes; --images draws pictures")
        for i, row in enumerate(rows):
            clean, batch = (shown_under(finished, one, rows[i : i + 1]) for one in (CLEAN, condition))
            low, high = np.percentile(clean.samples[0, 0].numpy(), (0.5, 99.5))
            volume = np.clip((batch.samples[0, 0].numpy() - low) / max(high - low, 1e-12), 0, 1)
            labels = batch.maps[MAP][0].numpy() if MAP in batch.maps else None
            outlined |= labels is not None
            for axis, along in enumerate(("depth", "height", "width")):
                middle = volume.shape[axis] // 2
                spacing = [step for k, step in enumerate(layout.spacing or (1.0, 1.0, 1.0)) if k != axis]
                classes = None if labels is None else labels.take(middle, axis)
                made[3 * i + axis].append(_drawn(volume.take(middle, axis), spacing, classes))
                which = f"id {finished.index.ids[row]}, " if len(rows) > 1 else ""
                names[3 * i + axis] = f"{which}{along} {middle}"
    return Slices(made, names, LEGEND + (_OUTLINED if outlined else "") + ".")


def _drawn(plane: NDArray[Any], spacing: Sequence[float], classes: NDArray[Any] | None) -> Any:
    """A picture of Pillow's of a slice (h, w) in 0..1, as large as voxels of `spacing` make it."""
    from PIL import Image

    longest = max(side * step for side, step in zip(plane.shape, spacing, strict=True))
    height, width = (
        max(1, round(side * step * _SIDE / longest)) for side, step in zip(plane.shape, spacing, strict=True)
    )
    grey = Image.fromarray(np.rint(255 * plane).astype(np.uint8)).resize(
        (width, height), Image.Resampling.NEAREST if max(plane.shape) <= _SIDE else Image.Resampling.LANCZOS
    )
    pixels = np.repeat(np.asarray(grey)[..., None], 3, axis=2)
    if classes is not None:
        down, across = (
            np.arange(height) * plane.shape[0] // height,
            np.arange(width) * plane.shape[1] // width,
        )
        large = classes[down[:, None], across[None, :]]
        edge = np.zeros(large.shape, dtype=bool)
        for axis in (0, 1):
            for step in (1, -1):
                edge |= (np.roll(large, step, axis) != large) & (large > 0)
        for k in np.unique(large[edge]).tolist():
            pixels[edge & (large == k)] = _COLOURS[(k - 1) % len(_COLOURS)]
    return Image.fromarray(pixels)
