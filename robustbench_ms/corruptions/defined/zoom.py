"""Zoom blur: the mean of an image and its enlargements about the middle.

An enlargement is scipy.ndimage.zoom (order 1: corners stay corners) of the middle of the image, cut off at the
right and the bottom. The published code trims both sides instead, which is the same at its sizes: the surplus
is one pixel at most. A layer is round(ceil(side / factor) * factor) wide: where that ends in one half, the last bit
of the factor decides, so the factors are `numpy.arange`'s floats and not their decimals.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustbench_ms.corruptions.corruption import Corruption, Setting
from robustbench_ms.corruptions.cpu.compile import compiled, spread
from robustbench_ms.corruptions.cpu.lanes import LANES, add_mixed

from .gaussian_blur import EDGE

__all__ = ["ZOOM", "by_loops", "by_torch", "factors_of", "line"]

Array = np.ndarray[Any, np.dtype[Any]]


def factors_of(end: float, step: float) -> tuple[float, ...]:
    """The floats of numpy.arange(1, end, step), by its formula: 1.2500000000000002 where a decimal would be 1.25.

    Written out, because numpy's own loop may be compiled to round once where it should twice.
    """
    count = math.ceil((end - 1) / step)
    delta = (1 + step) - 1
    return tuple(1 + i * delta for i in range(count))


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


def zoom_by_torch(images: Tensor, factors: tuple[float, ...]) -> Tensor:
    """What the definition makes of factors, of which the first is 1."""
    height, width = images.shape[2:]
    x = images.to(torch.float32)
    total = x * 2  # the image itself, and the enlargement by 1
    down, across = (
        [torch.from_numpy(a).to(images.device) for a in _lines(size, factors)] for size in (height, width)
    )
    for i in range(1, len(factors)):
        layer = _lerp(x, 2, down[0][i], down[1][i], down[2][i])
        total += _lerp(layer, 3, across[0][i], across[1][i], across[2][i])
    return (total * _share(factors) + EDGE).to(torch.uint8)


def _share(factors: tuple[float, ...]) -> float:
    """What each layer counts; a product, as it is rounded alike everywhere."""
    return float(np.float32(1 / (len(factors) + 1)))


def _lerp(x: Tensor, dim: int, first: Tensor, before: Tensor, after: Tensor) -> Tensor:
    shape = (-1, 1) if dim == 2 else (-1,)
    nearest = (first + 1).clamp_(max=x.shape[dim] - 1)
    return x.index_select(dim, first) * before.view(shape) + x.index_select(dim, nearest) * after.view(shape)


# The compiled path takes eight planes at a time and lays their values side by side, pixel by pixel. A position's
# two neighbours are then two whole vectors, and the horizontal pass needs no gathering of single values.


def zoom_compiled(images: Tensor, factors: tuple[float, ...]) -> Tensor:
    out = torch.empty_like(images)
    planes, results = (x.view(-1, *x.shape[2:]).numpy() for x in (images, out))
    groups = -(-len(planes) // LANES)
    bands = min(planes.shape[1], max(1, 16 // groups))
    spread(
        _bands,
        groups * bands,
        bands,
        planes,
        *_lines(planes.shape[1], factors),
        *_lines(planes.shape[2], factors),
        np.float32(_share(factors)),
        results,
    )
    return out


@compiled
def _bands(
    start: Any,
    stop: Any,
    bands: Any,
    planes: Any,
    rows: Any,
    above: Any,
    below: Any,
    columns: Any,
    left: Any,
    right: Any,
    share: Any,
    out: Any,
) -> None:
    """Item i is band i % bands of the rows of the eight planes from 8 (i // bands) on."""
    count, height, width = planes.shape
    size = (height + bands - 1) // bands
    packed = np.empty((height, width * LANES), np.uint8)
    layer = np.zeros((width + 1) * LANES, np.float32)  # one pixel more, read with weight 0 where width is 1
    total = np.empty(width * LANES, np.float32)
    greyed = np.empty(width * LANES, np.uint8)
    for item in range(start, stop):
        first = item // bands * LANES
        low = item % bands * size
        high = min(low + size, height)
        if low >= high:
            continue
        top, bottom = rows[0, low], rows[0, high - 1] + 2
        for i in range(1, len(rows)):
            top, bottom = min(top, rows[i, low]), max(bottom, rows[i, high - 1] + 2)
        bottom = min(bottom, height)
        for lane in range(LANES):
            plane = planes[min(first + lane, count - 1)]
            for y in range(top, bottom):
                for x in range(width):
                    packed[y, x * LANES + lane] = plane[y, x]
        for y in range(low, high):
            here = packed[y]
            for i in range(len(total)):
                total[i] = np.float32(here[i]) * np.float32(2)
            for z in range(1, len(rows)):
                r, u, v = rows[z, y], above[z, y], below[z, y]
                one, two = packed[r], packed[min(r + 1, height - 1)]
                for i in range(len(one)):
                    layer[i] = np.float32(one[i]) * u + np.float32(two[i]) * v
                for x in range(width):
                    add_mixed(total, x * LANES, layer, columns[z, x] * LANES, left[z, x], right[z, x])
            for i in range(len(total)):
                greyed[i] = np.uint8(np.int32(total[i] * share + np.float32(EDGE)))
            for lane in range(min(LANES, count - first)):
                line = out[first + lane, y]
                for x in range(width):
                    line[x] = greyed[x * LANES + lane]


def by_torch(images: Tensor, _: Tensor | None, setting: Setting) -> Tensor:
    """The definition, for any device."""
    return zoom_by_torch(images, factors_of(*setting.parameters))


def by_loops(images: Tensor, _: Tensor | None, setting: Setting) -> Tensor:
    return zoom_compiled(images, factors_of(*setting.parameters))


ZOOM = Corruption(by_torch, loops=by_loops)
