"""Pictures on a canvas, by Pillow: resized, then cropped or filled up (torchvision's and timm's evaluation transforms).

Which pixels come out is part of the protocol; the arithmetic of sizes is theirs, rounding included.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.specs.canvas import Canvas

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["drawn", "resized_to"]


def resized_to(width: int, height: int, canvas: Canvas) -> tuple[int, int]:
    """Width and height of a picture once it is resized.

    The shorter side becomes `short`, the other is rounded down (torchvision, `_compute_resized_output_size`); of
    "squash" both do; of "border" the longer one, the other rounded to the nearest even (timm, `ResizeKeepRatio`).
    """
    short = canvas.short
    if canvas.mode == "squash":
        return short, short
    if canvas.mode == "border":
        ratio = max(width, height) / short
        return round(width / ratio), round(height / ratio)
    least = min(width, height)
    return int(short * width / least), int(short * height / least)


def drawn(picture: Image.Image, canvas: Canvas | None) -> NDArray[np.uint8]:
    """An RGB picture on its canvas, uint8 (3, H, W); without one as it is."""
    from PIL import Image

    if canvas is not None:
        size = resized_to(picture.width, picture.height, canvas)
        if size != picture.size:
            picture = picture.resize(size, Image.Resampling[canvas.interpolation.upper()])
        side = canvas.crop
        if side > min(size):
            # The odd pixel goes to the right and to the bottom.
            whole = Image.new("RGB", (max(side, size[0]), max(side, size[1])), canvas.fill)
            whole.paste(picture, (max(0, side - size[0]) // 2, max(0, side - size[1]) // 2))
            picture = whole
        left, top = round((picture.width - side) / 2), round((picture.height - side) / 2)
        picture = picture.crop((left, top, left + side, top + side))
    return np.ascontiguousarray(np.asarray(picture).transpose(2, 0, 1))
