"""A heat map over its picture, the object's box, and under them what was answered and how much lies on the object."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from robustbench_ms.tasks.lettering import letters, line_width, text_size
from robustbench_ms.tasks.localisation.objects import objects_of
from robustbench_ms.tasks.outcomes import Outcomes
from robustbench_ms.tasks.protocol import Drawing, Shown

__all__ = ["DRAWING"]

_HOT, _WHITE, _BLACK = (255, 176, 0), (255, 255, 255), (0, 0, 0)
_DIM = 0.45
"""What is left of the picture's light where the map is 0."""


def _draw(shown: Shown) -> Image.Image:
    """The map of the picture's first class that was asked about."""
    height, width = shown.pixels.shape[:2]
    size = text_size(
        max(height, width)
    )  # the same under all that lie and stand, as far as their words have room
    made = Image.new("RGB", (width, height + 2 * size), _WHITE)
    pairs = shown.answer.items["pairs"]
    pen = ImageDraw.Draw(made)
    if not pairs.owner.size:
        made.paste(Image.fromarray(shown.pixels))
        pen.text(
            (0.2 * size, height + size), "nothing asked about", fill=_BLACK, font=letters(size), anchor="lm"
        )
        return made
    columns = pairs.columns
    label = int(columns["label"][0])
    made.paste(Image.fromarray(_warmed(shown.pixels, columns["seen"][0])))
    sides = round(height / shown.zoom), round(width / shown.zoom)
    for box in objects_of(shown.target, label, sides).boxes:
        corners = [float(v) * shown.zoom for v in box]
        pen.rectangle(corners, outline=_BLACK, width=line_width(width) + 2)
        pen.rectangle(corners, outline=_WHITE, width=line_width(width))
    name = shown.names[label] if label < len(shown.names) else f"class {label}"
    right = "right" if bool(columns["right"][0]) else "wrong"
    hit = "hit" if bool(columns["hit"][0]) else "miss"
    said = f"{name}: {right}, {hit}, {float(columns['energy'][0]):.0%} on it"
    fits = int(0.96 * width * size / letters(size).getlength(said))
    pen.text((0.2 * size, height + size), said, fill=_BLACK, font=letters(min(size, fits)), anchor="lm")
    return made


def _warmed(pixels: NDArray[np.uint8], seen: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture (H, W, 3), dark where the map (h, w) is 0 and in the map's colour where it is largest."""
    height, width = pixels.shape[:2]
    large = Image.fromarray(seen).resize((width, height), Image.Resampling.BILINEAR)
    heat = np.asarray(large, dtype=np.float32)[..., None] / 255
    drawn = pixels * (_DIM + (1 - _DIM) * heat)
    drawn += 0.5 * heat * (np.array(_HOT, np.float32) - drawn)
    return drawn.round().astype(np.uint8)


def _legend(score: float) -> str:
    del score  # maps have none
    return (
        "The map of the picture's own class, bright where it is large; boxes: its objects. Under it whether the answer "
        "is right, whether the map's largest value hits, and how much of the map lies on the object."
    )


def _worth(outcomes: Outcomes) -> NDArray[np.float64]:
    """The mean energy of a picture's maps."""
    pairs, n = outcomes.items["pairs"], len(outcomes.samples["sure"])
    energy = np.bincount(pairs.owner, weights=pairs.columns["energy"], minlength=n)
    count = np.bincount(pairs.owner, minlength=n)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(count > 0, energy / count, np.nan))


DRAWING = Drawing(_draw, _legend, worth=_worth)
