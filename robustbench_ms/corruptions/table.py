"""Names, profiles, parameters and protocol numbers of the corruptions; imports no torch.

Names and their order are those of ImageNet-C (Hendrycks & Dietterich, ICLR 2019): 15 common corruptions,
over which every mean is taken, and 4 extra ones, kept for validation.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

__all__ = ["COMMON", "EXTRA", "KINDS", "NAMES", "PROFILES", "PROTOCOL", "SEVERITIES", "meaning", "parameters"]

COMMON = (
    "gaussian_noise", "shot_noise", "impulse_noise",
    "defocus_blur", "glass_blur", "motion_blur", "zoom_blur",
    "snow", "frost", "fog", "brightness",
    "contrast", "elastic_transform", "pixelate", "jpeg_compression",
)  # fmt: skip
EXTRA = ("speckle_noise", "gaussian_blur", "spatter", "saturate")
NAMES = COMMON + EXTRA
KINDS = {"noise": COMMON[:3], "blur": COMMON[3:7], "weather": COMMON[7:11], "digital": COMMON[11:]}
"""ImageNet-C's four kinds of the common corruptions."""
SEVERITIES = (1, 2, 3, 4, 5)

PROFILES = ("any-size", "imagenet", "cifar", "imagenet-64", "imagenet-299")
"""Whose protocol is followed: the imagecorruptions package, or the code that made a published set."""

PROTOCOL: dict[str, int] = {**dict.fromkeys(NAMES, 1), "zoom_blur": 2}
"""The version of what each corruption means: raised by hand when any output byte changes.

zoom_blur 2: factors of numpy.arange, where 1 had their decimals (another layer at some 160 sides up to 1,024).
"""


@cache
def _text() -> str:
    return files(__package__).joinpath("severities.toml").read_text(encoding="utf-8")


@cache
def _tables() -> dict[str, dict[str, list[Any]]]:
    return tomllib.loads(_text())


def parameters(name: str, profile: str, severity: int) -> Any:
    """The parameters of one corruption at one severity (1..5): a number or a tuple, as in severities.toml."""
    value = _tables()[name][profile][severity - 1]
    return tuple(value) if isinstance(value, list) else value


def meaning(name: str) -> str:
    """What the parameters of one corruption are, for people: the words beside its head in severities.toml."""
    found = re.search(rf"^\[{name}\] # (.+)$", _text(), re.MULTILINE)
    return found[1] if found else ""
