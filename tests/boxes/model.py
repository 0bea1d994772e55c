"""Detectors of a few lines; a card names one as "tests.boxes.model:NAME"."""

from __future__ import annotations

import torch
from torch import nn


class Finds(nn.Module):
    """The bounding box of all that is bright in a channel: red is class 0, blue class 1, as a table an image."""

    def __init__(self, shift=0.0):
        super().__init__()
        self.shift = shift

    def forward(self, images):
        return [self.row(image) for image in images]

    def row(self, image):
        boxes, scores, labels = [], [], []
        for label, channel in enumerate((0, 2)):
            at = (image[channel] > 0.7).nonzero()
            if len(at):
                (top, left), (bottom, right) = at.amin(0).tolist(), at.amax(0).tolist()
                boxes.append([left + self.shift, top, right + 1 + self.shift, bottom + 1])
                scores.append(0.9 - 0.1 * label)
                labels.append(label)
        return {
            "boxes": torch.tensor(boxes).reshape(-1, 4).float(),
            "scores": torch.tensor(scores),
            "labels": torch.tensor(labels, dtype=torch.int64),
        }


class Says(nn.Module):
    """The same answer to every image."""

    def __init__(self, boxes=((1, 2, 11, 22),), scores=(0.5,), labels=(0,), **more):
        super().__init__()
        self.told = {"boxes": torch.tensor(boxes, dtype=torch.float32), "scores": torch.tensor(scores),
                     "labels": torch.tensor(labels, dtype=torch.int64), **more}  # fmt: skip

    def forward(self, images):
        return [dict(self.told) for _ in images]


def finds(shift=0.0):
    return Finds(shift)


def in_columns():
    """A plain callable: images -> boxes, scores, labels."""
    body = Finds()
    return lambda images: tuple(map(list, zip(*(body.row(one).values() for one in images), strict=True)))
