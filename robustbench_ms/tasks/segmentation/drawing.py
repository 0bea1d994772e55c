"""A picture over the classes that its pixels were given, and before it their true classes and what colours mean."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from robustbench_ms.datasets.protocol import IGNORED, MAP
from robustbench_ms.tasks.lettering import letters, text_size
from robustbench_ms.tasks.protocol import Drawing, Shown
from robustbench_ms.tasks.segmentation.seen import read

__all__ = ["DRAWING"]

_WHITE, _BLACK, _GREY = (255, 255, 255), (0, 0, 0), (150, 150, 150)
_PLAIN = {"background", "ground"}
"""What is no object: it is left dark, so that objects stand out."""
_DARK = (58, 62, 70)
_NAMED = 0.006
"""Of the picture's pixels: a region that is larger has its class's name written on it."""

Classes = NDArray[np.int64]
Colour = tuple[int, int, int]


def _draw(shown: Shown) -> Image.Image:
    """The picture, and under it its answer with the truth's edges on it and how many of its pixels are right."""
    height, width = shown.pixels.shape[:2]
    said = read(bytes(shown.answer.samples["seen"][0]))
    true = shown.maps[MAP].astype(np.int64)
    painted = _painted(said, shown)
    painted[_edges(_large(true, height, width))] = _WHITE
    size = text_size(width)
    made = Image.new("RGB", (width, 2 * height + 2 * size), _WHITE)
    made.paste(Image.fromarray(shown.pixels))
    made.paste(_lettered(painted, said, shown), (0, height))
    right, counted = int(shown.answer.samples["intersection"][0].sum()), int((true != IGNORED).sum())
    told = (
        f"{100 * right / counted:.0f} % of its pixels are right"
        if counted
        else "nobody is asked about its pixels"
    )
    pen = ImageDraw.Draw(made)
    pen.text((0.2 * size, 2 * height + size), told, fill=_BLACK, font=letters(size), anchor="lm")
    return made


def _truth(row: Sequence[Shown]) -> Image.Image:
    """The true classes, under the colours of all classes that are true or answered in the row, the largest first."""
    first = row[0]
    height, width = first.pixels.shape[:2]
    size = text_size(width)
    true = first.maps[MAP].astype(np.int64)
    made = Image.new("RGB", (width, 2 * height + 2 * size), _WHITE)
    made.paste(_lettered(_painted(true, first), true, first), (0, height))
    pen = ImageDraw.Draw(made)
    answered = np.concatenate(
        [true.ravel(), *(read(bytes(one.answer.samples["seen"][0])).ravel() for one in row)]
    )
    labels, counts = np.unique(answered, return_counts=True)
    entries = [_named(first, label) for label in labels[np.argsort(-counts, kind="stable")].tolist()]
    step = round(1.4 * size)
    room = max(1, (height - step) // step)
    if len(entries) > room:
        entries = [*entries[: room - 1], (f"and {len(entries) - room + 1} more", _WHITE)]
    for i, (name, colour) in enumerate(entries):
        middle = height - step // 2 - step * (len(entries) - i - 0.5)
        pen.rectangle([0.3 * size, middle - 0.4 * size, 1.5 * size, middle + 0.4 * size], fill=colour)
        pen.text((2 * size, middle), name, fill=_BLACK, font=letters(size), anchor="lm")
    return made


def _legend(score: float) -> str:
    del score  # labels have none
    return (
        "Under each picture the class that each of its pixels was given, in the colours at the left, with the edges of "
        "the true classes as light lines."
    )


DRAWING = Drawing(_draw, _legend, truth=_truth)


def _named(shown: Shown, label: int) -> tuple[str, Colour]:
    """What a number in a map means, and its colour whatever else is in the picture.

    Hues go by the golden ratio, so that neighbours are far apart.
    """
    if label >= int(shown.target["classes"]):
        return ("ignored", _GREY) if label == IGNORED else ("none of these", _BLACK)
    name = shown.names[label] if label < len(shown.names) else f"class {label}"
    if name in _PLAIN:
        return name, _DARK
    value = (1.0, 0.72, 0.88)[label % 3]
    red, green, blue = colorsys.hsv_to_rgb(label * 0.618034 % 1, (0.85, 0.6)[label % 2], value)
    return name, (round(255 * red), round(255 * green), round(255 * blue))


def _painted(classes: Classes, shown: Shown) -> NDArray[np.uint8]:
    """Classes (h, w) in their colours, as large as the picture is shown."""
    height, width = shown.pixels.shape[:2]
    labels, which = np.unique(classes, return_inverse=True)
    colours = np.array([_named(shown, label)[1] for label in labels.tolist()], np.uint8)
    return _large(colours[which.reshape(classes.shape)], height, width)


def _large(rows: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """(h, w, ...) as (height, width, ...), each pixel of the one under its middle."""
    down = (2 * np.arange(height) + 1) * rows.shape[0] // (2 * height)
    across = (2 * np.arange(width) + 1) * rows.shape[1] // (2 * width)
    return np.asarray(rows[down[:, None], across])


def _edges(classes: Classes) -> NDArray[np.bool_]:
    """Pixels (H, W) whose right or lower neighbour is of another class."""
    found = np.zeros(classes.shape, bool)
    found[:, :-1] |= classes[:, 1:] != classes[:, :-1]
    found[:-1] |= classes[1:] != classes[:-1]
    return found


def _lettered(painted: NDArray[np.uint8], classes: Classes, shown: Shown) -> Image.Image:
    """With the name of each larger region in its midst, where it is farthest from other classes."""
    picture = Image.fromarray(painted)
    pen = ImageDraw.Draw(picture)
    size = text_size(picture.width)
    for label in np.unique(classes).tolist():
        name, colour = _named(shown, label)
        if colour in {_DARK, _GREY, _BLACK}:
            continue
        mask = np.pad(classes == label, 1).view(np.uint8)
        _, parts, boxes, _ = cv2.connectedComponentsWithStats(mask)
        for part in range(1, len(boxes)):
            if boxes[part, cv2.CC_STAT_AREA] < _NAMED * classes.size:
                continue
            depth = cv2.distanceTransform((parts == part).view(np.uint8), cv2.DIST_L2, 3)
            y, x = divmod(int(depth.argmax()), mask.shape[1])
            where = (
                (x - 0.5) * picture.width / classes.shape[1],
                (y - 0.5) * picture.height / classes.shape[0],
            )
            pen.text(where, name, fill=_WHITE, stroke_fill=_BLACK, stroke_width=max(2, size // 8),
                     font=letters(size), anchor="mm")  # fmt: skip
    return picture
