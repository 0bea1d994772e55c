"""Bright rectangles of two classes on dark ground, made of their ids, and a plain reader of COCO's files."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from robustbench_ms.datasets.protocol import Batch, DataFacts, Index, rows_of_one_shape
from robustbench_ms.datasets.shapes import RaggedImages

SIZES = ((48, 64), (40, 40))
NAMES = ("red", "blue")
CATEGORY_IDS = (3, 7)


def picture(i):
    """The image of an id, uint8 (3, H, W), and its rectangles: xyxy and class; images 4, 9, ... have none."""
    random = np.random.default_rng(int(i))
    height, width = SIZES[i % 2]
    image, found = random.integers(0, 40, (3, height, width)).astype(np.uint8), []
    for column in range(0 if i % 5 == 4 else 1 + i % 2):
        label = int(random.integers(2))
        left, top = 4 + 18 * column, int(random.integers(2, height - 16))
        right, bottom = left + int(random.integers(6, 14)), top + int(random.integers(6, 14))
        image[0 if label == 0 else 2, top:bottom, left:right] = 220
        found.append((left, top, right, bottom, label))
    return image, found


def target(found):
    """The targets of one image by the protocol, of (x0, y0, x1, y1, class)."""
    table = np.array(found, np.float64).reshape(-1, 5)
    n = len(table)
    extent = table[:, 2:4] - table[:, :2]
    return {
        "boxes": table[:, :4].astype(np.float32),
        "labels": table[:, 4].astype(np.int64),
        "crowd": np.zeros(n, bool),
        "ignore": np.zeros(n, bool),
        "area": extent.prod(axis=1),
        "ids": np.arange(1, n + 1),
    }


class Boxes:
    """Data of images that a function gives: `show(row)` -> uint8 (3, H, W) and its rectangles."""

    def __init__(self, ids, sizes, show, names):
        self.show, ids = show, np.asarray(ids, np.int64)
        digest = hashlib.sha256(ids.tobytes()).hexdigest()
        layout = RaggedImages(3, np.asarray(sizes, np.int64))
        self.facts = DataFacts(len(ids), digest, ids, None, len(names), False, layout, names)

    def batches(self, size):
        return rows_of_one_shape(self.facts, size)

    def load(self, rows, device):
        shown = [self.show(row) for row in rows]
        samples = torch.from_numpy(np.stack([image for image, _ in shown])).to(device)
        targets = [target(found) for _, found in shown]
        return Batch(samples, targets, self.facts.ids[rows], np.asarray(rows))

    def index(self, category_ids):
        facts = self.facts
        return Index(
            facts.ids, facts.layout, facts.classes, facts.digest, lambda _: self, names=facts.names,
            category_ids=tuple(category_ids),
        )  # fmt: skip


def index_boxes(source, places, condition):
    """Twelve images in memory."""
    del source, places, condition
    ids = np.arange(100, 112)
    data = Boxes(ids, [SIZES[i % 2] for i in ids], lambda row: picture(ids[row]), NAMES)
    return data.index(CATEGORY_IDS)


def coco(annotations: Path, pictures: Path):
    """A folder in COCO's format as it lies there: crowds as other objects, EXIF left alone."""
    told = json.loads(annotations.read_text())
    ids = [one["id"] for one in told["categories"]]
    places = {number: place for place, number in enumerate(ids)}
    by_image = {one["id"]: [] for one in told["images"]}
    for one in told["annotations"]:
        x, y, w, h = one["bbox"]
        by_image[one["image_id"]].append((x, y, x + w, y + h, places[one["category_id"]]))
    images = told["images"]

    def show(row):
        with Image.open(pictures / images[row]["file_name"]) as picture:
            pixels = np.asarray(picture.convert("RGB"))
        return pixels.transpose(2, 0, 1), by_image[images[row]["id"]]

    names = tuple(one["name"] for one in told["categories"])
    sizes = [(one["height"], one["width"]) for one in images]
    return Boxes([one["id"] for one in images], sizes, show, names).index(ids)
