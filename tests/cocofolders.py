"""Tiny folders of pictures in COCO's format, made of their ids."""

from __future__ import annotations

import json

import numpy as np
import torch
from PIL import Image

from robustbench_ms.catalog.registry import index_of
from robustbench_ms.specs.source import Source

CPU = torch.device("cpu")

SIZES = [(40, 48), (40, 48), (48, 40)]
"""Height and width of the pictures 1, 2, 3."""


def pixels(i, height, width):
    """RGB bytes (H, W, 3): dark, with a light block."""
    made = np.random.default_rng(i).integers(0, 60, (height, width, 3), dtype=np.uint8)
    made[8:24, 4:20] = 200
    return made


def described():
    """What the annotation file says, as plain data that a test may change: three pictures, the last without objects."""
    images = [
        {"id": i, "file_name": f"{i}.png", "height": height, "width": width}
        for i, (height, width) in enumerate(SIZES, 1)
    ]
    square = {"id": 5, "image_id": 1, "category_id": 7, "bbox": [4, 8, 16, 16], "area": 256.0, "iscrowd": 0,
              "segmentation": [[4, 8, 20, 8, 20, 24, 4, 24]]}  # fmt: skip
    crowd = {"id": 6, "image_id": 2, "category_id": 3, "bbox": [4, 8, 16.5, 16], "area": 200.5, "iscrowd": 1,
             "segmentation": {"size": [40, 48], "counts": [168, 16, 40 * 48 - 184]}}  # fmt: skip
    categories = [{"id": 7, "name": "square"}, {"id": 3, "name": "bar"}]
    return {"images": images, "categories": categories, "annotations": [square, crowd]}


def folder_at(root, told=None, *, annotations="annotations/instances_val.json", pictures="val"):
    """A folder with its pictures; `told` is what its annotation file says. Returns the annotation file."""
    told = described() if told is None else told
    file = root / annotations
    for folder in (file.parent, root / pictures):
        folder.mkdir(parents=True, exist_ok=True)
    for i, (height, width) in enumerate(SIZES, 1):
        Image.fromarray(pixels(i, height, width)).save(root / pictures / f"{i}.png")
    file.write_text(told if isinstance(told, str) else json.dumps(told))
    return file


def source_of(root, *, wants=("boxes",), **options):
    options = {"annotations": "annotations/instances_val.json", **options}
    return Source("coco-folder", folder=root, wants=wants, options=options)


def opened(root, places, **options):
    return index_of(source_of(root, **options), places, ()).open("stored")


def shown(data):
    """The batch of each picture by itself."""
    return [data.load(np.array([row]), CPU) for row in range(data.facts.n)]


def changed(path, value):
    """An annotation file with one value changed: path ("annotations", 0, "bbox"); None strikes it out."""
    told = described()
    *way, last = path
    at = told
    for step in way:
        at = at[step]
    if value is None:
        del at[last]
    else:
        at[last] = value
    return told
