"""Drawings that stand on a sheet: windows of signals as lines, and tables of shares as shaded cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.reports.sheets import broken

if TYPE_CHECKING:
    from robustbench_ms.specs.channels import Channel

__all__ = ["Panel", "Shares", "bands_of", "contact", "limits_of", "shaded", "traces"]

_INK, _GREY, _PALE, _WHITE = (0, 0, 0), (90, 90, 90), (226, 226, 226), (255, 255, 255)
_GOOD, _BAD = (0, 114, 178), (213, 94, 0)
_LINES = ((0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (90, 90, 90))
"""Of Okabe and Ito's palette, which the colour-blind can tell apart."""
_BAND = 60
"""The height of a band of lines in pixels."""

Bands = Sequence[tuple[str, Sequence[int]]]


class Panel(NamedTuple):
    """A picture of Pillow's with words over it."""

    title: str
    under: str
    picture: Any
    good: bool = True
    """The line under the title tells something bad else, and is coloured so."""


class Shares(NamedTuple):
    """A table of shares of 1, nan where there is none."""

    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    values: NDArray[np.float64]
    """(rows, columns)."""


def bands_of(channels: Sequence[Channel]) -> list[tuple[str, list[int]]]:
    """What is drawn over each other: the channels of one triad with its unit; those without one by themselves."""
    found: dict[str, list[int]] = {}
    for i, channel in enumerate(channels):
        name = channel.triad or channel.name
        found.setdefault(f"{name}, {channel.unit}" if channel.unit else name, []).append(i)
    return list(found.items())


def limits_of(windows: NDArray[np.float32], bands: Bands) -> list[tuple[float, float]]:
    """Between which each band of windows (n, C, T) is drawn: 1 to 99 % of its samples, and a tenth more."""
    found = []
    for _, rows in bands:
        low, high = np.quantile(windows[:, list(rows)], (0.01, 0.99))
        more = 0.1 * (high - low) or 1.0
        found.append((float(low - more), float(high + more)))
    return found


def traces(
    window: NDArray[np.float32], bands: Bands, limits: Sequence[tuple[float, float]], width: int = 300
) -> Any:
    """A window (C, T) as lines, a band a triad; what lies beyond a band's limits is drawn at its edge."""
    from PIL import Image, ImageDraw, ImageFont

    made = Image.new("RGB", (width, len(bands) * (_BAND + 4)), _WHITE)
    pen, small = ImageDraw.Draw(made), ImageFont.load_default(11)
    across = np.linspace(1, width - 2, window.shape[1])
    for i, ((name, rows), (low, high)) in enumerate(zip(bands, limits, strict=True)):
        top = i * (_BAND + 4)
        pen.rectangle((0, top, width - 1, top + _BAND), outline=_PALE)
        for row, colour in zip(rows, _LINES * len(rows), strict=False):
            height = (np.clip(window[row], low, high) - low) / (high - low)
            points = np.stack([across, top + _BAND - 1 - height * (_BAND - 2)], axis=1)
            pen.line([tuple(point) for point in points.tolist()], fill=colour, width=1)
        pen.rectangle((2, top + 2, 8 + small.getlength(name), top + 15), fill=_WHITE)
        pen.text((4, top + 2), name, fill=_GREY, font=small)
    return made


def shaded(shares: Shares, cell: tuple[int, int] = (52, 22)) -> Any:
    """A table whose cells are the darker the larger, each with its share in per cent."""
    from PIL import Image, ImageDraw, ImageFont

    font, large = ImageFont.load_default(12), ImageFont.load_default(15)
    wide, high = cell
    left = 10 + max(int(font.getlength(name)) for name in shares.rows)
    slanted = max(int(font.getlength(name)) for name in shares.columns) > wide - 6
    top = 30 + (max(int(font.getlength(name)) for name in shares.columns) + 8 if slanted else 20)
    made = Image.new(
        "RGB", (left + wide * len(shares.columns) + 10, top + high * len(shares.rows) + 6), _WHITE
    )
    pen = ImageDraw.Draw(made)
    pen.text((0, 4), shares.title, fill=_INK, font=large)
    for j, name in enumerate(shares.columns):
        middle = left + j * wide + wide // 2
        if slanted:
            strip = Image.new("RGB", (top - 30, 16), _WHITE)
            ImageDraw.Draw(strip).text((0, 8), name, fill=_GREY, font=font, anchor="lm")
            made.paste(strip.transpose(Image.Transpose.ROTATE_90), (middle - 8, 26))
        else:
            pen.text((middle, top - 10), name, fill=_GREY, font=font, anchor="mm")
    for i, (name, row) in enumerate(zip(shares.rows, shares.values, strict=True)):
        down = top + i * high
        pen.text((left - 6, down + high // 2), name, fill=_INK, font=font, anchor="rm")
        for j, value in enumerate(row.tolist()):
            box = (left + j * wide, down, left + (j + 1) * wide - 2, down + high - 2)
            if not np.isfinite(value):
                pen.rectangle(box, outline=_PALE)
                continue
            colour = tuple(round(255 - (255 - one) * value) for one in _GOOD)
            pen.rectangle(box, fill=colour, outline=_PALE)
            ink = _WHITE if value > 0.55 else _INK
            pen.text(
                ((box[0] + box[2]) // 2, (box[1] + box[3]) // 2),
                f"{100 * value:.0f}",
                fill=ink,
                font=font,
                anchor="mm",
            )
    return made


def contact(panels: Sequence[Panel], across: int, caption: str, below: Sequence[Any] = ()) -> Any:
    """Panels of one size in rows of so many, each under its title; pictures side by side under them; a caption."""
    from PIL import Image, ImageDraw, ImageFont

    large, small = ImageFont.load_default(16), ImageFont.load_default(13)
    wide, high = (max(getattr(one.picture, side) for one in panels) for side in ("width", "height"))
    gap, head = 14, 42
    rows = -(-len(panels) // across)
    width = max(
        min(across, len(panels)) * (wide + gap) + gap, sum(one.width + 2 * gap for one in below) + gap
    )
    lines = broken(caption, small, width - 2 * gap)
    under = max((one.height for one in below), default=0)
    height = rows * (high + head + gap) + (under + gap if below else 0) + 18 * len(lines) + 2 * gap
    made = Image.new("RGB", (width, height), _WHITE)
    pen = ImageDraw.Draw(made)
    for i, one in enumerate(panels):
        left, top = gap + i % across * (wide + gap), gap + i // across * (high + head + gap)
        pen.text((left, top), one.title, fill=_INK, font=large)
        pen.text((left, top + 20), one.under, fill=_GREY if one.good else _BAD, font=small)
        made.paste(one.picture, (left, top + head))
    left, top = gap, gap + rows * (high + head + gap)
    for picture in below:
        made.paste(picture, (left, top))
        left += picture.width + 2 * gap
    top += under + gap if below else 0
    for line in lines:
        pen.text((gap, top), line, fill=_INK, font=small)
        top += 18
    return made
