"""torchvision's detectors as cards ask for them: their own transform, and their thresholds set from the card."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

from robustbench_ms.errors import UserError
from robustbench_ms.specs.card import Card, Input

__all__ = ["first_label", "of_library", "settled"]

BACKGROUND = (("faster_rcnn", "FasterRCNN"), ("ssd", "SSD"))
"""What has a background as its class 0 by a softmax; the others' classes are each by themselves."""
KINDS = (("fcos", "FCOS"), ("retinanet", "RetinaNet"), *BACKGROUND)
"""What they are made of, each with its module; Mask R-CNN is a Faster R-CNN."""


def _is(module: Any, kinds: tuple[tuple[str, str], ...]) -> bool:
    """Whether it is one of these of torchvision's: of none while nobody has imported them, which takes seconds."""
    homes = [(sys.modules.get(f"torchvision.models.detection.{home}"), kind) for home, kind in kinds]
    return isinstance(module, tuple(getattr(home, kind) for home, kind in homes if home is not None))


def of_library(card: Card, *, pretrained: bool) -> Card:
    """The card of one that torchvision itself builds, its labels and its input as the library has them."""
    output, shown = card.output, card.input
    if output.labels == "data":
        output = replace(output, labels="coco-91" if pretrained else "background+data")
    return replace(card, output=output, input=replace(shown, assumed=False))


def settled(card: Card, module: Any) -> Card:
    """The card, with a torchvision detector's score threshold and maximum set to its own; others are left alone.

    UserError where its [input] prepares samples: the detector's own transform does, by `min_size` and `max_size`.
    """
    if not _is(module, KINDS):
        return card
    if replace(card.input, assumed=False) != Input():
        raise UserError(
            "its own transform prepares the samples (min_size and max_size in [args]), so its [input] is "
            f"range = [0, 1] alone, and not {card.input.describe()}"
        )
    part = getattr(module, "roi_heads", module)
    if card.output.score is not None:
        part.score_thresh = card.output.score
    part.detections_per_img = card.output.maximum
    return replace(card, input=replace(card.input, assumed=False))


def first_label(card: Card, module: Any) -> int:
    """What a detector calls the first class of the data when it learns boxes, by its [output] labels.

    UserError where another map stands there, and where its class 0 is the background and the labels begin at it.
    """
    known = {"data": 0, "background+data": 1}
    labels = card.output.labels
    if not isinstance(labels, str) or labels not in known:
        raise UserError(
            f"card {card.name}: boxes are learnt by [output] labels = 'data' or 'background+data', not by other maps"
        )
    if labels == "data" and _is(module, BACKGROUND):
        raise UserError(
            f"card {card.name}: class 0 of {type(module).__name__} is the background, and [output] labels = 'data' "
            "begin with it; write 'background+data', and one class more in its [args]"
        )
    return known[labels]
