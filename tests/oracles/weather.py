"""Oracles of the weather: snow, frost, fog and brightness, and of spatter."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from skimage.color import hsv2rgb, rgb2hsv
from skimage.filters import gaussian

from tests.oracles.blur import clipped_zoom
from tests.oracles.motion import magick_motion_blur, package_motion_blur
from tests.oracles.reference import Oracle, Variant

__all__ = ["ORACLES", "frost_photograph", "plasma", "plasma_side"]

_PHOTOGRAPHS = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg")


def snow(image: np.ndarray, variant: Variant, *, z: np.ndarray, angle: float) -> np.ndarray:
    """`z`: standard normals (H, W); `angle` of the streaks in degrees."""
    mean, sigma, factor, threshold, radius, streak, mix = variant.p
    x = image / 255.0
    height, width = x.shape[:2]
    layer = clipped_zoom((mean + sigma * z)[..., None], factor, package=variant.package)[..., 0].copy()
    layer[layer < threshold] = 0
    layer = np.clip(layer, 0, 1)
    if variant.package:
        layer = np.round(package_motion_blur(layer, radius, streak, angle) * 255).astype(np.uint8)
    else:
        layer = magick_motion_blur((layer * 255).astype(np.uint8), radius, streak, angle)
    layer = (layer / 255.0)[:height, :width, None]
    grey = (x @ [0.299, 0.587, 0.114])[..., None]
    x = mix * x + (1 - mix) * np.maximum(x, grey * 1.5 + 0.5)
    return np.clip(x + layer + np.rot90(layer, k=2), 0, 1) * 255


@cache
def _photograph(index: int) -> np.ndarray:
    spec = find_spec("imagecorruptions")
    path = Path(spec.submodule_search_locations[0]) / "frost" / _PHOTOGRAPHS[index]
    return cv2.imread(str(path))[..., ::-1]


@cache
def frost_photograph(index: int, profile: str, height: int, width: int) -> np.ndarray:
    """Photograph `index` (0..4) as the source crops from it: uint8 RGB, larger than (height, width)."""
    photo = _photograph(index)
    if profile in {"cifar", "imagenet-64"}:
        share = {"cifar": 0.2, "imagenet-64": 0.3}[profile]
        return cv2.resize(photo, (0, 0), fx=share, fy=share)
    if profile != "any-size":
        return photo
    scale = 1.1 * max(1, height / photo.shape[0], width / photo.shape[1])
    size = int(np.ceil(photo.shape[1] * scale)), int(np.ceil(photo.shape[0] * scale))
    return cv2.resize(photo, dsize=size, interpolation=cv2.INTER_CUBIC)


def frost(image: np.ndarray, variant: Variant, *, index: int, top: int, left: int) -> np.ndarray:
    """`index` of the photograph, 0..4; `top` and `left` of the crop in it."""
    of_image, of_frost = variant.p
    height, width = image.shape[:2]
    photo = frost_photograph(index, variant.profile, height, width)
    crop = photo[top : top + height, left : left + width]
    return np.clip(of_image * image.astype(np.float64) + of_frost * crop.astype(np.float64), 0, 255)


def plasma_side(variant: Variant, height: int, width: int) -> int:
    """The side of the plasma map."""
    if variant.package:
        return 1 << (max(height, width) - 1).bit_length()
    return {"imagenet": 256, "cifar": 32, "imagenet-64": 64, "imagenet-299": 512}[variant.profile]


def plasma(side: int, decay: float, wobbles: list[np.ndarray], dtype: type = np.float64) -> np.ndarray:
    """The diamond-square height map of both sources, (side, side) in 0..1.

    `wobbles`: uniform in -1..1; for each step side, side/2, ..., 2 three arrays (side/step, side/step): of
    the squares' middles, of the middles of the rows' gaps, of the middles of the columns' gaps.
    """
    heights = np.zeros((side, side), dtype=dtype)
    supply = iter(wobbles)
    step, wobble = side, 100.0
    while step >= 2:
        half = step // 2

        def mean(total, wobble=wobble):
            return total / 4 + wobble * (wobble * next(supply))

        corners = heights[::step, ::step]
        total = corners + np.roll(corners, -1, axis=0)
        total += np.roll(total, -1, axis=1)
        heights[half::step, half::step] = mean(total)
        middles = heights[half::step, half::step]
        heights[::step, half::step] = mean(
            middles + np.roll(middles, 1, axis=0) + (corners + np.roll(corners, -1, axis=1))
        )
        heights[half::step, ::step] = mean(
            middles + np.roll(middles, 1, axis=1) + (corners + np.roll(corners, -1, axis=0))
        )
        step //= 2
        wobble /= decay
    heights -= heights.min()
    return heights / heights.max()


def fog(image: np.ndarray, variant: Variant, *, wobbles: list[np.ndarray]) -> np.ndarray:
    """`wobbles` as `plasma` takes them."""
    strength, decay = variant.p
    height, width = image.shape[:2]
    side = plasma_side(variant, height, width)
    x = image / 255.0
    brightest = x.max()
    dtype = np.float32 if variant.package else np.float64
    x = x + strength * plasma(side, decay, wobbles, dtype)[:height, :width, None].astype(np.float64)
    return np.clip(x * brightest / (brightest + strength), 0, 1) * 255


def brightness(image: np.ndarray, variant: Variant) -> np.ndarray:
    hsv = rgb2hsv(image / 255.0)
    hsv[..., 2] = np.clip(hsv[..., 2] + variant.p, 0, 1)
    return np.clip(hsv2rgb(hsv), 0, 1) * 255


def _water(layer: np.ndarray, strength: float) -> np.ndarray:
    """How much of the water's colour each pixel takes on, (H, W) in 0..strength."""
    layer = (layer * 255).astype(np.uint8)
    distance = cv2.distanceTransform(255 - cv2.Canny(layer, 50, 150), cv2.DIST_L2, 5)
    distance = np.minimum(distance, 20)
    distance = cv2.equalizeHist(cv2.blur(distance, (3, 3)).astype(np.uint8))
    emboss = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])
    distance = cv2.blur(cv2.filter2D(distance, cv2.CV_8U, emboss), (3, 3))
    amount = layer.astype(np.float64) * distance
    # The sources divide by the maximum unseen: where nothing splashes, 0 / 0 blackens their image.
    return strength * amount / max(amount.max(), 1)


def spatter(image: np.ndarray, variant: Variant, *, z: np.ndarray) -> np.ndarray:
    """`z`: standard normals (H, W)."""
    mean, sigma, smooth, threshold, strength, mud = variant.p
    x = image / 255.0
    layer = gaussian(mean + sigma * z, sigma=smooth)
    layer[layer < threshold] = 0
    if not mud:
        colour = np.array([175, 238, 238]) / 255
        return np.clip(x + _water(layer, strength)[..., None] * colour, 0, 1) * 255
    amount = gaussian((layer > threshold).astype(np.float64), sigma=strength)
    amount[amount < 0.8] = 0
    colour = np.array([63, 42, 20]) / 255
    return np.clip(x * (1 - amount[..., None]) + colour * amount[..., None], 0, 1) * 255


def _snowfall(rng, shape, variant, image):
    return {"z": rng.standard_normal(shape[:2]), "angle": rng.uniform(-135, -45)}


def _crop(rng, shape, variant, image):
    index = int(rng.integers(len(_PHOTOGRAPHS)))
    rows, columns = frost_photograph(index, variant.profile, shape[0], shape[1]).shape[:2]
    return {
        "index": index,
        "top": int(rng.integers(rows - shape[0])),
        "left": int(rng.integers(columns - shape[1])),
    }


def _wobbles(rng, shape, variant, image):
    side = plasma_side(variant, shape[0], shape[1])
    counts = [2**level for level in range(side.bit_length() - 1)]
    return {"wobbles": [rng.uniform(-1, 1, (count, count)) for count in counts for _ in range(3)]}


def _layer(rng, shape, variant, image):
    return {"z": rng.standard_normal(shape[:2])}


ORACLES = {
    "snow": Oracle(snow, _snowfall),
    "frost": Oracle(frost, _crop),
    "fog": Oracle(fog, _wobbles),
    "brightness": Oracle(brightness),
    "spatter": Oracle(spatter, _layer),
}
