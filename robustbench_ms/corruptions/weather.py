"""The weather: snow, frost, fog and brightness, and spatter. A corruption has a module of its own."""

from __future__ import annotations

from .corruption import Corruption
from .defined.fog import FOG
from .defined.frost import FROST
from .defined.hsv import BRIGHTNESS
from .defined.snow import SNOW
from .defined.spatter import SPATTER

__all__ = ["KERNELS"]

KERNELS: dict[str, Corruption] = {
    "snow": SNOW,
    "frost": FROST,
    "fog": FOG,
    "brightness": BRIGHTNESS,
    "spatter": SPATTER,
}
