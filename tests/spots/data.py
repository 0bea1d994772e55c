"""Grey images of two sizes with one to three bright spots each, made of their ids."""

from __future__ import annotations

import hashlib

import numpy as np
import torch

from robustbench_ms.datasets.protocol import Batch, DataFacts, Index, rows_of_one_shape
from robustbench_ms.datasets.shapes import RaggedImages

SIZES = ((24, 24), (24, 32))


def picture(i):
    """The image of an id, uint8 (1, H, W), its spots (k, 3) as y, x, radius, and their mask (H, W)."""
    random = np.random.default_rng(int(i))
    height, width = SIZES[i % 2]
    image, mask = random.integers(0, 40, (height, width)), np.zeros((height, width), np.int64)
    columns = random.permutation(width // 8)[: 1 + i % 3]
    spots = np.array([(random.integers(4, height - 4), 8 * c + 4, 1 + (i + c) % 2) for c in columns])
    for y, x, radius in spots:
        place = np.s_[y - radius : y + radius + 1, x - radius : x + radius + 1]
        image[place], mask[place] = random.integers(150, 256), 1
    return image.astype(np.uint8)[None], spots, mask


class Spots:
    def __init__(self, source):
        count = int(source.options.get("count", 20))
        start = 0 if source.split == "test" else 1000
        ids = np.arange(start, start + count)
        sizes = np.array([SIZES[i % 2] for i in ids])
        digest = hashlib.sha256(b"".join(picture(i)[0].tobytes() for i in ids)).hexdigest()
        self.facts = DataFacts(count, digest, ids, None, 2, corrupted=False, layout=RaggedImages(1, sizes))

    def batches(self, size):
        return rows_of_one_shape(self.facts, size)

    def load(self, rows, device):
        made = [picture(self.facts.ids[row]) for row in rows]
        return Batch(
            torch.from_numpy(np.stack([image for image, _, _ in made])).to(device),
            [torch.from_numpy(spots) for _, spots, _ in made],
            self.facts.ids[rows],
            np.asarray(rows),
            {"mask": torch.from_numpy(np.stack([mask for _, _, mask in made])).to(device)},
        )


def index_spots(source, places, condition):
    del places, condition
    data = Spots(source)
    facts = data.facts
    return Index(facts.ids, facts.layout, facts.classes, facts.digest, lambda _: data)
