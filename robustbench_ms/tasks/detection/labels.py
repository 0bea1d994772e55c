"""From what a detector calls its classes to the classes of a data set, by name."""

from __future__ import annotations

from collections.abc import Sequence

from robustbench_ms.errors import UserError, suggest

__all__ = ["COCO", "COCO_IDS", "class_map", "names_of"]

COCO = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant",
    "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard",
    "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli",
    "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet",
    "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink",
    "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip
"""COCO's 80 classes in the order of their ids."""
_UNUSED = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
COCO_IDS = tuple(i for i in range(1, 91) if i not in _UNUSED)
"""Their ids: ten of 1 to 90 were never given out."""


def names_of(labels: str | Sequence[str], data: Sequence[str]) -> tuple[str, ...]:
    """The names that a card's `labels` mean, that of class 0 first, "" for what is none.

    "background+data": the data's after a background; "coco-80": COCO's in their order; "coco-91": each at its id.
    """
    if labels == "background+data":
        return ("", *data)
    if labels == "coco-80":
        return COCO
    if labels == "coco-91":
        by_id = dict(zip(COCO_IDS, COCO, strict=True))
        return tuple(by_id.get(i, "") for i in range(91))
    return tuple(labels)


def class_map(labels: str | Sequence[str], data: Sequence[str], classes: int) -> tuple[int, ...]:
    """For each class of a model the data's class, -1 for what the data do not ask about.

    `data` are the names of the data's classes, of which there are `classes`. UserError where a name stands twice, and
    where the model has no name for a class of the data.
    """
    if labels == "data":
        return tuple(range(classes))
    if labels == "background+data":
        return (-1, *range(classes))
    if not data:
        raise UserError("its [output] has labels by name, and the data set's classes have no names")
    names = names_of(labels, data)
    own = [name for name in names if name]
    twice = sorted({name for name in own if own.count(name) > 1})
    if twice:
        raise UserError(f"its [output] labels have {twice[0]!r} more than once")
    for name in data:
        if name not in own:
            raise UserError(
                f"its [output] labels have no {name!r}, which is a class of the data set{suggest(name, own)}"
            )
    return tuple(data.index(name) if name in data else -1 for name in names)
