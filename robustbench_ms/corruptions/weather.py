"""The weather: snow, frost, fog and brightness, and spatter. A corruption has a module of its own."""

from __future__ import annotations

from .corruption import Kernel
from .fog import FOG
from .frost import FROST
from .hsv import BRIGHTNESS
from .snow import SNOW
from .spatter import SPATTER

__all__ = ["KERNELS"]

KERNELS: dict[str, Kernel] = {
    "snow": SNOW,
    "frost": FROST,
    "fog": FOG,
    "brightness": BRIGHTNESS,
    "spatter": SPATTER,
}
