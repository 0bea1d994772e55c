"""Detections and objects on a picture, told apart by their lines: solid and dashed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from robustbench_ms.tasks.lettering import Tags, line_width
from robustbench_ms.tasks.protocol import Drawing, Shown

__all__ = ["DRAWING"]

_ORANGE, _BLACK, _WHITE = (255, 176, 0), (0, 0, 0), (255, 255, 255)
_HALF = 0.5
"""The overlap from which on an object is taken for found, and its name is not written once more."""
_TINT = 0.35
"""How much of a detection's mask is its colour."""


def _draw(shown: Shown) -> Image.Image:
    table = shown.answer.items["detections"]
    kept = np.flatnonzero(table.columns["score"] >= shown.score)
    boxes, labels = (table.columns[name][kept] for name in ("box", "label"))
    truth = shown.target
    pixels = shown.pixels
    if "rle" in table.columns:
        size = (int(shown.answer.samples["height"][0]), int(shown.answer.samples["width"][0]))
        pixels = _shaded(pixels, _masks(table.columns["rle"][kept], size), _masks(truth["rles"], size))
    picture = Image.fromarray(pixels)
    pen = ImageDraw.Draw(picture)
    width = line_width(picture.width)
    tags = Tags(picture.size)
    for box in truth["boxes"]:
        _outline(pen, box * shown.zoom, _WHITE, width, dashed=True)
    for box in boxes[::-1]:  # the best one last, and so on top
        _outline(pen, box * shown.zoom, _ORANGE, width, dashed=False)
    for box, label, score in zip(boxes, labels, table.columns["score"][kept], strict=True):
        text = f"{_name(shown, int(label))}: {float(score):.2f}".replace(": 0.", ": .")
        tags.put(text, box * shown.zoom, _BLACK, _ORANGE)
    for i, (box, label) in enumerate(zip(truth["boxes"], truth["labels"], strict=True)):
        if not (_overlaps(box, boxes[labels == label]) >= _HALF).any():
            kind = " (crowd)" if truth["crowd"][i] else " (ignored)" if truth["ignore"][i] else ""
            tags.put(f"{_name(shown, int(label))}{kind}", box * shown.zoom, _BLACK, _WHITE, if_free=True)
    tags.draw(pen)
    return picture


def _legend(score: float) -> str:
    return (
        f"Solid boxes: detections with a score of {score:g} or more. Dashed boxes: annotated objects, named (where "
        "there is room) if no such detection of their class overlaps them by half. Where masks were asked "
        "for, those of detections are shaded, and those of objects have a light edge."
    )


DRAWING = Drawing(_draw, _legend)


def _name(shown: Shown, label: int) -> str:
    return shown.names[label] if label < len(shown.names) else f"class {label}"


def _overlaps(box: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float64]:
    """Intersection over union of a box (4,) and others (m, 4), xyxy."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=1, dtype=np.float64)
    areas = (others[:, 2:] - others[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod()
    return np.asarray(shared / np.maximum(areas - shared, 1e-9))


def _masks(counts: Iterable[bytes], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Bool (m, H, W) of COCO's compressed run lengths."""
    from hotcoco import mask

    planes: Any = [mask.decode({"size": list(size), "counts": bytes(one)}) for one in counts]
    return np.array(planes, bool).reshape(-1, *size)


def _shaded(
    pixels: NDArray[np.uint8], found: NDArray[np.bool_], truth: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """The picture (H', W', 3) with masks (m, H, W) on it: what was found in its colour, objects by their edge."""
    height, width = pixels.shape[:2]
    rows, columns = (
        np.arange(height) * found.shape[1] // height,
        np.arange(width) * found.shape[2] // width,
    )
    inside = np.asarray(found.any(axis=0))[np.ix_(rows, columns)]
    drawn = pixels.astype(np.float32)
    drawn[inside] += _TINT * (np.array(_ORANGE, np.float32) - drawn[inside])
    for mask in truth:
        large = np.pad(mask[np.ix_(rows, columns)], 1)
        within = large[:-2, 1:-1] & large[2:, 1:-1] & large[1:-1, :-2] & large[1:-1, 2:]
        drawn[large[1:-1, 1:-1] & ~within] = _WHITE
    return drawn.round().astype(np.uint8)


def _outline(
    pen: ImageDraw.ImageDraw, box: Sequence[float], colour: tuple[int, int, int], width: int, *, dashed: bool
) -> None:
    """A box's line on a dark one, so that it is seen on any ground."""
    x0, y0, x1, y1 = (float(v) for v in box)
    corners = ((x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0))
    for side in pairwise(corners):
        pen.line(side, fill=_BLACK, width=width + 2)
    for start, end in pairwise(corners):
        if not dashed:
            pen.line([start, end], fill=colour, width=width)
            continue
        a, b = np.array(start), np.array(end)
        length = float(np.abs(b - a).sum())
        dashes = max(1, round(length / (8 * width)))
        for i in range(dashes):
            pen.line([tuple(a + (b - a) * t / dashes) for t in (i, i + 0.5)], fill=colour, width=width)
