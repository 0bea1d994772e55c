"""Motion blur as both sources have it: a one-sided Gaussian along a line of whole pixels.

The published code calls ImageMagick's MotionBlurImage (magick/effect.c of version 6), which works on 16-bit
quanta; the package repeats the formula in floating point.

ImageMagick's own reduction of quanta to bytes rounds to nearest. So did its PNG writer when the published
images were made (SetImageDepth; ScaleQuantumToAny added one half); releases since 2020, Debian 12's
6.9.11-60 among them, cut off there, which darkens every second value by one level. Rounding is kept.
"""

from __future__ import annotations

import math

import numpy as np

__all__ = ["magick_motion_blur", "package_motion_blur"]


def _taps(radius: float, sigma: float, angle: float) -> list[tuple[float, int, int]]:
    """(weight, rows, columns) of every tap: the pixel so far down and to the right is what is added."""
    width = 2 * math.ceil(radius) + 1
    weights = np.exp(-(np.arange(width) ** 2) / (2.0 * sigma**2)) / (math.sqrt(2 * math.pi) * sigma)
    weights /= weights.sum()
    down, right = width * math.sin(math.radians(angle)), width * math.cos(math.radians(angle))
    length = math.hypot(down, right)
    return [
        (weights[i], math.ceil(i * down / length - 0.5), math.ceil(i * right / length - 0.5))
        for i in range(width)
    ]


def _shifted(image: np.ndarray, down: int, right: int) -> np.ndarray:
    """The image seen `down` rows further down and `right` columns further right; edges repeat."""
    height, width = image.shape[:2]
    rows = np.clip(np.arange(height) + down, 0, height - 1)
    columns = np.clip(np.arange(width) + right, 0, width - 1)
    return image[rows][:, columns]


def magick_motion_blur(image: np.ndarray, radius: float, sigma: float, angle: float) -> np.ndarray:
    """uint8 (H, W) or (H, W, 3) -> the same, as ImageMagick 6 at Q16 without HDRI; `angle` in degrees."""
    quanta = image.astype(np.float64) * 257
    total = np.zeros(image.shape)
    for weight, down, right in _taps(radius, sigma, angle):
        total += weight * _shifted(quanta, down, right)
    quantum = np.floor(np.clip(total, 0, 65535) + 0.5).astype(np.uint32)
    return (((quantum + 128) - ((quantum + 128) >> 8)) >> 8).astype(np.uint8)


def package_motion_blur(image: np.ndarray, radius: float, sigma: float, angle: float) -> np.ndarray:
    """(H, W) or (H, W, 3) -> float64, in the image's own units: the line ends where it would leave the image."""
    total = np.zeros(image.shape)
    for weight, down, right in _taps(radius, sigma, angle):
        if abs(down) >= image.shape[0] or abs(right) >= image.shape[1]:
            break
        total += weight * _shifted(image, down, right)
    return total
