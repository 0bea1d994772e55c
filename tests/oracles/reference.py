"""The nineteen corruptions, one image at a time, as their sources define them: what ours are held to.

An oracle takes one uint8 image (H, W, 3), a Variant and its randomness as named arrays, and returns either
float64 grey values in 0..255 before the truncation that ends every source (`np.uint8`), or uint8 where the
source itself ends in bytes (JPEG, pixelate, ImageMagick). Randomness is given in natural terms (standard
normals, angles in degrees, crop corners), so that it can be derived from any generator; `draw` makes it with
numpy for measurements of the source's own run-to-run spread.

`any-size` is the imagecorruptions package (its maintained fork, frost restricted to the five photographs of
the published code); the other profiles are hendrycks/robustness, ImageNet-C/create_c.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from tests.oracles.settings import SETTINGS

__all__ = ["SIZES", "Oracle", "Variant", "oracles", "render", "truncate"]

SIZES = {"imagenet": 224, "cifar": 32, "imagenet-64": 64, "imagenet-299": 299}
"""The side of the square images that the published code was written for."""


@dataclass(frozen=True)
class Variant:
    """One corruption's setting: `profile`, `severity` and the parameters that stand for both."""

    name: str
    profile: str
    severity: int

    @property
    def package(self) -> bool:
        """Whether the imagecorruptions package is followed (any-size) and not the published code."""
        return self.profile == "any-size"

    @property
    def p(self) -> Any:
        """The parameters: a number or several."""
        return SETTINGS[self.profile][self.name][self.severity - 1]


@dataclass(frozen=True)
class Oracle:
    """`apply(image, variant, **draws)` and `draw(rng, shape, variant, image)` -> those draws.

    `draw` is None for a deterministic corruption. `rng` is a numpy Generator, `shape` the image's (H, W, 3).
    """

    apply: Callable[..., np.ndarray]
    draw: Callable[..., dict[str, Any]] | None = None


@cache
def oracles() -> dict[str, Oracle]:
    """All nineteen, by name."""
    from tests.oracles import blur, digital, noise, weather

    return {**noise.ORACLES, **blur.ORACLES, **weather.ORACLES, **digital.ORACLES}


def truncate(exact: np.ndarray) -> np.ndarray:
    """The bytes a source stores: its values in 0..255 cut off, not rounded."""
    return exact if exact.dtype == np.uint8 else exact.astype(np.uint8)


def render(
    name: str, image: np.ndarray, profile: str, severity: int, rng: np.random.Generator | None = None
) -> np.ndarray:
    """The image (H, W, 3) corrupted with the oracle's own draws: uint8, the same shape."""
    oracle, variant = oracles()[name], Variant(name, profile, severity)
    if oracle.draw is None:
        return truncate(oracle.apply(image, variant))
    return truncate(oracle.apply(image, variant, **oracle.draw(rng, image.shape, variant, image)))
