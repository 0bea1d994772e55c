"""Oracles of the blurs: defocus, glass, motion, zoom and Gaussian."""

from __future__ import annotations

import cv2
import numpy as np
from numba import njit
from scipy.ndimage import zoom
from skimage.filters import gaussian

from tests.oracles.motion import magick_motion_blur, package_motion_blur
from tests.oracles.reference import Oracle, Variant

__all__ = ["ORACLES", "clipped_zoom", "disk", "swap_pixels"]


def disk(radius: float, alias: float) -> np.ndarray:
    """The filter of defocus, float32: a disk of sum 1, softened by OpenCV's Gaussian of sigma `alias`."""
    reach, size = (8, (3, 3)) if radius <= 8 else (radius, (5, 5))
    line = np.arange(-reach, reach + 1)
    columns, rows = np.meshgrid(line, line)
    sharp = np.array(columns**2 + rows**2 <= radius**2, dtype=np.float32)
    sharp /= np.sum(sharp)
    return cv2.GaussianBlur(sharp, ksize=size, sigmaX=alias)


def defocus_blur(image: np.ndarray, variant: Variant) -> np.ndarray:
    weights = disk(*variant.p)
    x = image / 255.0
    channels = [cv2.filter2D(np.ascontiguousarray(x[:, :, d]), -1, weights) for d in range(3)]
    return np.clip(np.stack(channels, axis=-1), 0, 1) * 255


@njit(cache=True)
def swap_pixels(x: np.ndarray, delta: int, moves: np.ndarray) -> None:
    """Glass blur's rounds, in place on uint8 (H, W, 3); see `_moves` for their order.

    The sources write a swap of two views: the first assignment overwrites what the second would read, so
    that a pixel is copied and its partner stays. That is what made the published images, and it is kept.
    """
    height, width = x.shape[0], x.shape[1]
    for i in range(moves.shape[0]):
        for row, h in enumerate(range(height - delta, delta, -1)):
            for column, w in enumerate(range(width - delta, delta, -1)):
                dx, dy = moves[i, row, column]
                x[h, w], x[h + dy, w + dx] = x[h + dy, w + dx], x[h, w]


def glass_blur(image: np.ndarray, variant: Variant, *, moves: np.ndarray) -> np.ndarray:
    """`moves`: int64 (rounds, H - 2 delta, W - 2 delta, 2), each (dx, dy) in -delta..delta-1.

    In the order of the loops: rows from H - delta up to delta + 1, in each the columns from right to left.
    """
    sigma, delta, _ = variant.p
    x = np.uint8(gaussian(image / 255.0, sigma=sigma, channel_axis=-1) * 255)
    swap_pixels(x, delta, moves)
    return np.clip(gaussian(x / 255.0, sigma=sigma, channel_axis=-1), 0, 1) * 255


def motion_blur(image: np.ndarray, variant: Variant, *, angle: float) -> np.ndarray:
    """`angle` in degrees."""
    radius, sigma = variant.p
    if variant.package:
        return np.clip(package_motion_blur(image, radius, sigma, angle), 0, 255)
    return magick_motion_blur(image, radius, sigma, angle)


def clipped_zoom(x: np.ndarray, factor: float, *, package: bool) -> np.ndarray:
    """The middle of (H, W, C), enlarged linearly by `factor`.

    The published code trims the surplus at both sides, and takes every image for a square; the package
    returns the surplus, which its callers cut off at the right and at the bottom.
    """
    height, width = x.shape[:2]
    crop_h, crop_w = int(np.ceil(height / factor)), int(np.ceil(width / factor))
    top, left = (height - crop_h) // 2, (width - crop_w) // 2
    out = zoom(x[top : top + crop_h, left : left + crop_w], (factor, factor, 1), order=1)
    if package:
        return out
    trim = (out.shape[0] - height) // 2
    return out[trim : trim + height, trim : trim + height]


def zoom_blur(image: np.ndarray, variant: Variant) -> np.ndarray:
    x = image / 255.0
    total = x.copy()
    for factor in variant.p:
        layer = clipped_zoom(x, factor, package=variant.package)[: x.shape[0], : x.shape[1]]
        total[: layer.shape[0], : layer.shape[1]] += layer
    return np.clip(total / (len(variant.p) + 1), 0, 1) * 255


def gaussian_blur(image: np.ndarray, variant: Variant) -> np.ndarray:
    return np.clip(gaussian(image / 255.0, sigma=variant.p, channel_axis=-1), 0, 1) * 255


def _moves(rng, shape, variant, image):
    _, delta, rounds = variant.p
    size = (rounds, shape[0] - 2 * delta, shape[1] - 2 * delta, 2)
    return {"moves": rng.integers(-delta, delta, size=size)}


def _angle(rng, shape, variant, image):
    return {"angle": rng.uniform(-45, 45)}


ORACLES = {
    "defocus_blur": Oracle(defocus_blur),
    "glass_blur": Oracle(glass_blur, _moves),
    "motion_blur": Oracle(motion_blur, _angle),
    "zoom_blur": Oracle(zoom_blur),
    "gaussian_blur": Oracle(gaussian_blur),
}
