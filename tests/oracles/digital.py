"""Oracles of contrast, elastic_transform, pixelate, jpeg_compression and saturate."""

from __future__ import annotations

from io import BytesIO

import cv2
import numpy as np
from PIL import Image
from scipy.ndimage import map_coordinates
from skimage.color import hsv2rgb, rgb2hsv
from skimage.filters import gaussian

from tests.oracles.reference import Oracle, Variant

__all__ = ["ORACLES", "affine_points", "warp_affine"]


def contrast(image: np.ndarray, variant: Variant) -> np.ndarray:
    x = image / 255.0
    mean = np.mean(x, axis=(0, 1), keepdims=True)
    return np.clip((x - mean) * variant.p + mean, 0, 1) * 255


def saturate(image: np.ndarray, variant: Variant) -> np.ndarray:
    factor, offset = variant.p
    hsv = rgb2hsv(image / 255.0)
    hsv[..., 1] = np.clip(hsv[..., 1] * factor + offset, 0, 1)
    return np.clip(hsv2rgb(hsv), 0, 1) * 255


def jpeg_compression(image: np.ndarray, variant: Variant) -> np.ndarray:
    file = BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=variant.p)
    return np.array(Image.open(file))


def pixelate(image: np.ndarray, variant: Variant) -> np.ndarray:
    height, width = image.shape[:2]
    small = Image.fromarray(image).resize(
        (int(width * variant.p), int(height * variant.p)), Image.Resampling.BOX
    )
    back = Image.Resampling.NEAREST if variant.package else Image.Resampling.BOX
    return np.array(small.resize((width, height), back))


def _mirrored(index: np.ndarray, size: int) -> np.ndarray:
    """Indices reflected about the outermost pixels' centres: ... 2 1 | 0 1 2 ... (BORDER_REFLECT_101)."""
    index = np.mod(index, 2 * size - 2)
    return np.where(index < size, index, 2 * size - 2 - index)


def warp_affine(x: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """cv2.warpAffine of (H, W, C), linear, BORDER_REFLECT_101, in float64.

    Written out, because OpenCV before version 5 rounded the coordinates to 1/32 of a pixel (up to 1.7 grey
    levels here); the formula has no such step, and version 5 none either.
    """
    height, width = x.shape[:2]
    inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
    rows, columns = np.indices((height, width))
    at_x = inverse[0, 0] * columns + inverse[0, 1] * rows + inverse[0, 2]
    at_y = inverse[1, 0] * columns + inverse[1, 1] * rows + inverse[1, 2]
    left, top = np.floor(at_x).astype(int), np.floor(at_y).astype(int)
    fx, fy = (at_x - left)[..., None], (at_y - top)[..., None]
    x0, x1 = _mirrored(left, width), _mirrored(left + 1, width)
    y0, y1 = _mirrored(top, height), _mirrored(top + 1, height)
    return (1 - fy) * ((1 - fx) * x[y0, x0] + fx * x[y0, x1]) + fy * ((1 - fx) * x[y1, x0] + fx * x[y1, x1])


def _displaced(x: np.ndarray, dx: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """(H, W, 3) read at (row + dy, column + dx), linearly, reflected about the pixels' edges."""
    rows, columns = np.indices(x.shape[:2])
    where = [rows + dy, columns + dx]
    return np.stack([map_coordinates(x[..., d], where, order=1, mode="reflect") for d in range(3)], axis=-1)


def _smooth(field: np.ndarray, sigma: float | np.ndarray, alpha: float) -> np.ndarray:
    return (gaussian(field, sigma, mode="reflect", truncate=3) * alpha).astype(np.float32)


def affine_points(height: int, width: int) -> np.ndarray:
    """The three points, float32 (3, 2), whose shifts make the published code's affine map."""
    centre = np.array([height, width], dtype=np.float32) // 2
    reach = min(height, width) // 3
    return np.array(
        [centre + reach, [centre[0] + reach, centre[1] - reach], centre - reach], dtype=np.float32
    )


def elastic_transform(
    image: np.ndarray, variant: Variant, *, u: np.ndarray, v: np.ndarray, shifts: np.ndarray | None = None
) -> np.ndarray:
    """`u`, `v`: uniform in -1..1, (H, W), along columns and rows; `shifts`: uniform in -1..1, (3, 2)."""
    x = image / 255.0
    height, width = x.shape[:2]
    if variant.package:
        reach = 0.005 * height
        sigma = np.array([height, width]) * 0.01
        dx, dy = _smooth(reach * u, sigma, variant.p), _smooth(reach * v, sigma, variant.p)
        return np.clip(_displaced(x, dx, dy), 0, 1) * 255
    alpha, sigma, reach = variant.p
    source = affine_points(height, width)
    target = source + (reach * shifts).astype(np.float32)
    matrix = cv2.getAffineTransform(source, target)
    dx, dy = _smooth(u, sigma, alpha), _smooth(v, sigma, alpha)
    return np.clip(_displaced(warp_affine(x, matrix), dx, dy), 0, 1) * 255


def _fields(rng, shape, variant, image):
    fields = {"u": rng.uniform(-1, 1, shape[:2]), "v": rng.uniform(-1, 1, shape[:2])}
    return fields if variant.package else {"shifts": rng.uniform(-1, 1, (3, 2)), **fields}


ORACLES = {
    "contrast": Oracle(contrast),
    "elastic_transform": Oracle(elastic_transform, _fields),
    "pixelate": Oracle(pixelate),
    "jpeg_compression": Oracle(jpeg_compression),
    "saturate": Oracle(saturate),
}
