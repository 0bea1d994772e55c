"""The cells of a detection suite as folders of pictures in COCO's format, for those who run a model elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from robustbench_ms.catalog.registry import task_of
from robustbench_ms.datasets.protocol import Batch
from robustbench_ms.errors import UserError
from robustbench_ms.evaluation.jobs import Conditions
from robustbench_ms.files import replacing
from robustbench_ms.specs.conditions import file_name
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.suite import Suite

__all__ = ["write_folders"]

ANNOTATIONS = "_annotations.coco.json"
VALUES = 2**22
"""Numbers that are corrupted at once."""


def write_folders(suite: Suite, places: Places, folder: Path) -> Iterator[tuple[str, int]]:
    """Write each cell's pictures as PNG, named by the images' ids, and their annotations beside them.

    Yields (cell, pictures) as they are done. A cell whose annotations are there is whole. UserError where the suite
    asks for no boxes, and where the folder cannot be written.
    """
    task = task_of(suite)
    if "boxes" not in task.wants:
        raise UserError(
            f"suite {suite.name}: a folder in COCO's format is of boxes, and it asks for {suite.task}"
        )
    shown = Conditions(suite, task, places)
    for condition in shown.conditions:
        data, perturbation = shown.data(condition), shown.perturbation(condition)
        cell = Places.writable(folder / file_name(condition), "output")
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for rows in data.batches(VALUES):
            batch = data.load(rows, torch.device("cpu"))
            if condition and perturbation is not None:
                batch = perturbation(batch, condition)
            for i in range(len(batch)):
                images.append(_write(batch, i, cell))
                annotations += _annotated(batch, i, shown.first.classes, shown.first.category_ids)
        told = {
            "images": sorted(images, key=lambda one: one["id"]),
            "annotations": sorted(annotations, key=lambda one: one["id"]),
            "categories": [
                {"id": _category(place, shown.first.category_ids), "name": name}
                for place, name in enumerate(shown.first.names or map(str, range(shown.first.classes)))
            ],
        }
        with replacing(cell / ANNOTATIONS) as part:
            part.write_text(json.dumps(told) + "\n", encoding="utf-8")
        yield cell.name, len(images)


def _category(place: int, ids: tuple[int, ...]) -> int:
    return ids[place] if ids else place


def _write(batch: Batch, i: int, cell: Path) -> dict[str, Any]:
    from PIL import Image

    number = int(batch.ids[i])
    name = f"{number:012d}.png"
    pixels = batch.samples[i].permute(1, 2, 0).contiguous().numpy()
    try:
        # Quick to pack: what is noise does not get smaller.
        Image.fromarray(pixels).save(cell / name, compress_level=1)
    except OSError as error:
        raise UserError(f"{cell / name} cannot be written: {error.strerror or error}") from error
    return {"id": number, "file_name": name, "height": pixels.shape[0], "width": pixels.shape[1]}


def _annotated(batch: Batch, i: int, classes: int, ids: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    """The objects of a picture; what is of no class (a region to be ignored) COCO's format cannot say."""
    target: Mapping[str, Any] = batch.targets[i]
    boxes = np.asarray(target["boxes"], np.float64)
    for k, (left, top, right, bottom) in enumerate(boxes.tolist()):
        if target["labels"][k] >= classes:
            continue
        told = {
            "id": int(target["ids"][k]),
            "image_id": int(batch.ids[i]),
            "category_id": _category(int(target["labels"][k]), ids),
            "bbox": [left, top, right - left, bottom - top],
            "area": float(target["area"][k]),
            "iscrowd": int(target["crowd"][k]),
        }
        if target["ignore"][k]:
            told["ignore"] = 1
        if "rles" in target:
            size = [int(side) for side in batch.samples.shape[-2:]]
            told["segmentation"] = {"size": size, "counts": target["rles"][k].decode("ascii")}
        yield told
