"""A picture, and under it its label and whether the answer was right: a tick or a cross, and the words."""

from __future__ import annotations

from PIL import Image, ImageDraw

from robustbench_ms.tasks.lettering import letters, line_width, text_size
from robustbench_ms.tasks.protocol import Drawing, Shown

__all__ = ["DRAWING"]

_RIGHT, _WRONG, _BLACK = (0, 114, 178), (213, 94, 0), (0, 0, 0)


def _draw(shown: Shown) -> Image.Image:
    height, width = shown.pixels.shape[:2]
    size = text_size(width)
    made = Image.new("RGB", (width, height + 2 * size), (255, 255, 255))
    made.paste(Image.fromarray(shown.pixels))
    pen, columns = ImageDraw.Draw(made), shown.answer.samples
    right = bool(columns["correct"][0])
    said = f"{_name(shown, int(shown.target))}: right"
    if not right:
        said = f"{_name(shown, int(shown.target))}: wrong"
        if "prediction" in columns:
            said += f", {_name(shown, int(columns['prediction'][0]))}"
    colour, middle = _RIGHT if right else _WRONG, height + size
    mark = (
        [[(0.1, 0.55), (0.4, 0.9), (0.95, 0.15)]]
        if right
        else [[(0.15, 0.15), (0.85, 0.85)], [(0.85, 0.15), (0.15, 0.85)]]
    )
    for stroke in mark:
        points = [(size * x, middle + size * (y - 0.5)) for x, y in stroke]
        pen.line(points, fill=colour, width=line_width(width) + 1)
    pen.text((1.4 * size, middle), said, fill=_BLACK, font=letters(size), anchor="lm")
    return made


def _legend(score: float) -> str:
    del score  # answers have none
    return "Under each picture its label, a tick where the answer is right, and a cross where it is wrong."


DRAWING = Drawing(_draw, _legend)


def _name(shown: Shown, label: int) -> str:
    return shown.names[label] if label < len(shown.names) else str(label)
