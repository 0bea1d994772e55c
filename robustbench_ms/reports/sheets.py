"""Pictures in rows and columns on one sheet, with titles and a caption: a figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["broken", "sheet"]

_INK, _GREY = (0, 0, 0), (90, 90, 90)


def sheet(
    rows: Sequence[Sequence[Any]],
    titles: Sequence[tuple[str, str]],
    names: Sequence[str],
    caption: str,
) -> Any:
    """A picture of Pillow's: rows of its pictures, over each column a title and a smaller line, names at the left.

    The caption is broken where the sheet ends. Columns are as wide as their widest picture.
    """
    from PIL import Image, ImageDraw, ImageFont

    widths = [max(row[i].width for row in rows) for i in range(len(titles))]
    heights = [max(one.height for one in row) for row in rows]
    size = max(18, max(widths) // 20)
    large, small = ImageFont.load_default(size), ImageFont.load_default(round(0.8 * size))
    gap, left, top = max(6, size // 3), round(1.5 * size), round(2.6 * size)
    width = left + sum(widths) + gap * len(widths)
    lines = broken(caption, small, width - left - 2 * gap)
    step = round(1.1 * size)
    height = top + sum(heights) + gap * len(heights) + step * len(lines) + 2 * gap
    made = Image.new("RGB", (width, height), (255, 255, 255))
    pen = ImageDraw.Draw(made)
    across = left
    for i, (title, under) in enumerate(titles):
        middle = across + widths[i] // 2
        pen.text((middle, round(0.75 * size)), title, fill=_INK, font=large, anchor="mm")
        pen.text((middle, round(1.9 * size)), under, fill=_GREY, font=small, anchor="mm")
        down = top
        for row, deep in zip(rows, heights, strict=True):
            made.paste(row[i], (across + (widths[i] - row[i].width) // 2, down + (deep - row[i].height) // 2))
            down += deep + gap
        across += widths[i] + gap
    down = top
    for name, deep in zip(names, heights, strict=True):
        strip = Image.new("RGB", (deep, left), (255, 255, 255))
        ImageDraw.Draw(strip).text((deep // 2, left // 2), name, fill=_GREY, font=small, anchor="mm")
        made.paste(strip.transpose(Image.Transpose.ROTATE_90), (0, down))
        down += deep + gap
    for line in lines:
        pen.text((left, down + gap), line, fill=_INK, font=small)
        down += step
    return made


def broken(text: str, font: Any, width: int) -> list[str]:
    """The lines of a paragraph."""
    lines, line = [], ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if line and font.getlength(longer) > width:
            lines.append(line)
            longer = word
        line = longer
    return [*lines, line]
