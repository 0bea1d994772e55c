"""The digital ones: contrast, elastic transform, pixelate and JPEG compression, and saturate."""

from __future__ import annotations

from .corruption import Corruption
from .defined.contrast import CONTRAST
from .defined.elastic import ELASTIC
from .defined.hsv import SATURATE
from .defined.jpeg import JPEG
from .defined.pixelate import PIXELATE

__all__ = ["KERNELS"]

KERNELS: dict[str, Corruption] = {
    "contrast": CONTRAST,
    "elastic_transform": ELASTIC,
    "pixelate": PIXELATE,
    "jpeg_compression": JPEG,
    "saturate": SATURATE,
}
