"""The digital ones: contrast, elastic transform, pixelate and JPEG compression, and saturate."""

from __future__ import annotations

from .contrast import CONTRAST
from .corruption import Kernel
from .elastic import ELASTIC
from .hsv import SATURATE
from .jpeg import JPEG
from .pixelate import PIXELATE

__all__ = ["KERNELS"]

KERNELS: dict[str, Kernel] = {
    "contrast": CONTRAST,
    "elastic_transform": ELASTIC,
    "pixelate": PIXELATE,
    "jpeg_compression": JPEG,
    "saturate": SATURATE,
}
