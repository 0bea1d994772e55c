"""A PIL picture as bytes: the one place that says what becomes of its mode and of its depth.

Pillow's own `convert` cuts off what is deeper than a byte, so that most of a picture of 16 bits comes out white.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from PIL import Image

from robustbench_ms.errors import UserError

__all__ = ["as_bytes", "checked_white"]

_DEEP = ("I", "F")
_GREY = {"1", "L", "LA", "La"}
_WIDEST = 65535


def checked_white(white: Any) -> float | None:
    """The value that is white, or None where it is to be found; UserError for what is no positive number."""
    if white is None:
        return None
    number = isinstance(white, (int, float, np.integer, np.floating)) and not isinstance(white, bool)
    if not number or not math.isfinite(white) or white <= 0:
        raise UserError(f"white must be a positive number, the value that is white, not {white!r}")
    return float(white)


def as_bytes(picture: Image.Image, white: float | None = None, *, option: str = "white=") -> Image.Image:
    """The picture in a mode of bytes: L or LA where it is grey, RGB or RGBA where not, with alpha where it has some.

    One channel of 16 or 32 bits (I;16, I) is scaled from 0..65535, one of floats (F) from 0..1, or is rounded where
    its largest value is in 1..255; `white` is the value that is white, where that is another. All are rounded to the
    nearest. Raises UserError where values are negative, above white or no numbers, where integers end below 4,096
    (what is white is then a guess: 12 bits in 16?), and where `white` is given for a picture of bytes. `option` is how
    the caller spells `white`.
    """
    mode = picture.mode
    if 0 in picture.size:
        raise UserError(f"a picture of {picture.width} x {picture.height} pixels has none")
    if not mode.startswith(_DEEP):
        if white is not None:
            raise UserError(
                f"{option}{white:g} is for pictures of 16 bits or of floats; this one, of mode {mode}, has bytes"
            )
        wanted = ("L" if mode in _GREY else "RGB") + ("A" if picture.has_transparency_data else "")
        try:
            return picture if mode == wanted else picture.convert(wanted)
        except ValueError as error:
            raise UserError(f"a picture of mode {mode} cannot be made {wanted}: {error}") from error
    values = np.array(picture).astype(np.float64)
    scale = 255 / _white(values, mode, white, option)
    grey = Image.fromarray(np.rint(values * scale).astype(np.uint8))
    clear = picture.info.get("transparency")  # of a PNG of 16 bits: the value that is clear
    if isinstance(clear, int):
        grey.putalpha(Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)))
    return grey


def _white(values: Any, mode: str, white: float | None, option: str) -> float:
    """The value that becomes 255, once all values are known to fit it."""
    told = f"a picture of mode {mode}"
    if not np.isfinite(values).all():
        raise UserError(f"{told}: some of its values are NaN or infinite")
    lowest, highest = float(values.min()), float(values.max())
    if lowest < 0:
        raise UserError(f"{told}: its values begin at {lowest:,g}, below black, which is 0")
    if white is None and mode == "F":
        white = 1.0 if highest <= 1 else 255.0
        if highest > white:
            raise UserError(
                f"{told}: its values end at {highest:,g}, and floats are taken in 0..1 or 0..255; say {option}VALUE, "
                "the one that is white"
            )
    elif white is None:
        if highest < 4096:
            bits = next(n for n in (8, 10, 12) if highest < 2**n)
            raise UserError(
                f"{told}: its values end at {highest:,.0f}: {bits} bits in {32 if mode == 'I' else 16}? "
                f"say {option}{2**bits - 1}"
            )
        white = float(_WIDEST)
    if highest > white:
        raise UserError(f"{told}: its values end at {highest:,.9g}, above white, which is {white:,.9g}")
    return white
