"""Maps of classes as they are kept for people to look at: small, and a few hundred bytes each."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["SIDE", "read", "written"]

SIDE = 128
"""Pixels of the longer side; larger maps are made smaller, each pixel of the class under its middle."""


def written(maps: Iterable[NDArray[np.int16]]) -> NDArray[np.bytes_]:
    """Maps (H, W) of 0 or more as PNG files, an array (n,) of bytes; a PNG's last byte is never 0, which numpy cuts."""
    return np.array([_png(one) for one in maps], dtype=bytes)


def _png(one: NDArray[np.int16]) -> bytes:
    height, width = one.shape
    scale = SIDE / max(height, width)
    if scale < 1:
        tall, wide = max(1, round(height * scale)), max(1, round(width * scale))
        rows = (2 * np.arange(tall) + 1) * height // (2 * tall)
        columns = (2 * np.arange(wide) + 1) * width // (2 * wide)
        one = one[rows[:, None], columns]
    kind = np.uint8 if one.max(initial=0) < 256 else np.uint16
    found: bytes = cv2.imencode(".png", one.astype(kind))[1].tobytes()
    return found


def read(one: bytes) -> NDArray[np.int64]:
    """The small map (h, w) of one picture."""
    return np.asarray(cv2.imdecode(np.frombuffer(one, np.uint8), cv2.IMREAD_UNCHANGED), np.int64)
