"""Words on pictures: in Pillow's own letters, on a ground of their own, beside each other and not over each other."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from PIL import ImageDraw, ImageFont

__all__ = ["Tags", "letters", "line_width", "text_size"]

Colour = tuple[int, int, int]
Corner = tuple[float, float]
Box = tuple[float, float, float, float]


@lru_cache(maxsize=16)
def letters(size: int) -> Any:
    """Pillow's own font, of a size in pixels."""
    return ImageFont.load_default(size)


def text_size(width: int) -> int:
    """The size of letters that can be read on a picture of that width where it is one of four across a page."""
    return max(14, width // 27)


def line_width(width: int) -> int:
    """The width of a box's line on a picture of that width."""
    return max(2, width // 190)


class Tags:
    """The words on one picture; each keeps clear of those before it as far as there is room."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._width, self._height = size
        self._font = letters(text_size(self._width))
        self._pad = max(2, text_size(self._width) // 6)
        self._placed: list[tuple[Box, Corner, str, Colour, Colour]] = []

    def put(
        self, text: str, box: Sequence[float], ink: Colour, ground: Colour, *, if_free: bool = False
    ) -> None:
        """Words that belong to a box (xyxy): above, within or below it, left or right, where most is free.

        `if_free` leaves out what would cover words that are there already.
        """
        left, top, right, bottom = self._font.getbbox(text)
        wide, high = right - left + 2 * self._pad, bottom - top + 2 * self._pad
        x0, y0, x1, y1 = box
        corners = [
            (x, y) for y in (y0 - high, y0, y1 - high, y1, (y0 + y1 - high) / 2) for x in (x0, x1 - wide)
        ]
        best = min((self._within(c, wide, high) for c in corners), key=self._covered)  # of equals the first
        if if_free and self._covered(best):
            return
        where = (best[0] + self._pad - left, best[1] + self._pad - top)
        self._placed.append((best, where, text, ink, ground))

    def draw(self, pen: ImageDraw.ImageDraw) -> None:
        """Write them, the first ones on top."""
        for box, where, text, ink, ground in reversed(self._placed):
            pen.rectangle(box, fill=ground, outline=ink)
            pen.text(where, text, fill=ink, font=self._font)

    def _within(self, corner: Corner, wide: float, high: float) -> Box:
        x = min(max(corner[0], 0), max(self._width - wide - 1, 0))
        y = min(max(corner[1], 0), max(self._height - high - 1, 0))
        return x, y, x + wide, y + high

    def _covered(self, one: Box) -> float:
        """How much of what is written already it would cover, in square pixels."""
        return sum(
            max(0.0, min(one[2], t[2]) - max(one[0], t[0])) * max(0.0, min(one[3], t[3]) - max(one[1], t[1]))
            for t, *_ in self._placed
        )
