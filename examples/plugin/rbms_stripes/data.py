"""The stripes: whole-number arithmetic on raw words of their ids, so that they are the same on every machine."""

from __future__ import annotations

import numpy as np

from robustbench_ms.datasets.images import ImageStack, array_digest, check_digest, layout_of, pair_digest
from robustbench_ms.datasets.protocol import Index
from robustbench_ms.specs.conditions import Condition
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.source import Source

SIDE = 32
COUNTS = {"test": 160, "train": 320}


def picture(number: int) -> np.ndarray:
    """The image of an id, uint8 (32, 32, 3): two colours in stripes along direction number % 4, and a little noise."""
    words = np.random.PCG64(number).random_raw(512).astype("<u8").view(np.uint8)
    y, x = np.mgrid[:SIDE, :SIDE]
    across = (x, x + y, y, x - y)[number % 4]
    stripe = (across + int(words[0]) % 16) // (2 + int(words[1]) % 3) % 2
    dark, light = (words[2:5] // 3).astype(int), 255 - (words[5:8] // 3).astype(int)  # no byte wraps around
    noise = words[8 : 8 + SIDE * SIDE].reshape(SIDE, SIDE, 1) % 24
    return np.minimum(np.where(stripe[..., None] == 1, light, dark) + noise, 255).astype(np.uint8)


def index_stripes(source: Source, places: Places, condition: Condition) -> Index:
    """A split: ids 0..159 are for tests, those from 1000 on for training; the label is the direction."""
    del places, condition
    ids = np.arange(COUNTS[source.split]) + (0 if source.split == "test" else 1000)
    images, labels = np.stack([picture(i) for i in ids]), ids % 4
    digest = array_digest(images)
    check_digest(digest, source.sha256.get("images"), "stripes: images")
    stack = ImageStack(images, labels, ids, 4, pair_digest(digest, labels))
    return Index(ids, layout_of(images, channels_last=True), 4, array_digest(labels), lambda _: stack)
