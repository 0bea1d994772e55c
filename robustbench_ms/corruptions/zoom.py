"""Zoom blur: the mean of an image and its enlargements about the middle.

An enlargement is scipy.ndimage.zoom (order 1: corners stay corners) of the middle of the image, cut off at the
right and the bottom. The published code trims both sides instead, which is the same at its sizes: the surplus
is one pixel at most.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .kernel import Kernel, Setting
from .separable import EDGE

__all__ = ["ZOOM", "line"]

Array = np.ndarray[Any, np.dtype[Any]]


def line(size: int, factor: float) -> tuple[Array, Array, Array]:
    """Where each of `size` output positions reads: (first: int64, weight of it, weight of the next), all (size,).

    `first` + 1 is always inside. SciPy takes a position that rounding carries beyond the last pixel for
    outside, where the image is 0 (both weights zero): a defect of the source that marks the last row or column
    at a few sizes, and is kept.
    """
    crop = math.ceil(size / factor)
    start = (size - crop) // 2
    enlarged = round(crop * factor)
    step = (crop - 1) / (enlarged - 1) if enlarged > 1 else 1.0
    at = np.arange(size) * step
    inside = at <= crop - 1
    first = np.minimum(np.floor(at), max(crop - 2, 0)).astype(np.int64)
    after = at - first
    before = np.where(inside, 1 - after, 0.0)
    return np.minimum(first + start, max(size - 2, 0)), before, np.where(inside, after, 0.0)


@lru_cache(maxsize=64)
def _lines(size: int, factors: tuple[float, ...]) -> tuple[Array, Array, Array]:
    """`line` of every factor: (F, size) each, weights float32."""
    first, before, after = (np.stack(part) for part in zip(*(line(size, f) for f in factors), strict=True))
    return first, before.astype(np.float32), after.astype(np.float32)


def _apply(images: Tensor, _: Tensor | None, setting: Setting) -> Tensor:
    factors = setting.parameters
    height, width = images.shape[2:]
    x = images.to(torch.float32)
    total = x * 2  # the image itself, and the enlargement by 1
    down, across = (
        [torch.from_numpy(a).to(images.device) for a in _lines(size, factors)] for size in (height, width)
    )
    for i in range(1, len(factors)):
        layer = _lerp(x, 2, down[0][i], down[1][i], down[2][i])
        total += _lerp(layer, 3, across[0][i], across[1][i], across[2][i])
    return (total / (len(factors) + 1) + EDGE).clamp_(0, 255).to(torch.uint8)


def _lerp(x: Tensor, dim: int, first: Tensor, before: Tensor, after: Tensor) -> Tensor:
    shape = (-1, 1) if dim == 2 else (-1,)
    nearest = (first + 1).clamp_(max=x.shape[dim] - 1)
    return x.index_select(dim, first) * before.view(shape) + x.index_select(dim, nearest) * after.view(shape)


ZOOM = Kernel(_apply)
