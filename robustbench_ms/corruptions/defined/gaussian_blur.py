"""Gaussian blurs of uint8 images, as scipy.ndimage.gaussian_filter does them (mode "nearest", truncate 4).

Two precisions. `soften` works in float32 and ends in bytes: what a blur needs whose result is truncated once.
`soften_exactly` works in float64 in SciPy's own order of additions and products, bit for bit: what glass
blur's first pass needs. There the truncated result is moved about and blurred again, and on flat patches the
rounding of the source decides which byte goes in (at sigma 1.1 it keeps 160 of the 256 greys and lowers the
rest by one); an error of one there and another at the end would make two.

Each is defined in torch operations, for any device, and compiled for the CPU and for CUDA (`cuda.gaussian`). All
take the same additions and products in the same order, and none is contracted (numba does that only where
fastmath asks for it, Triton only where it is not told not to): bytes are equal.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from robustbench_ms.corruptions.corruption import Corruption, Setting
from robustbench_ms.corruptions.cpu.compile import compiled, spread
from robustbench_ms.corruptions.cpu.smoothing import convolve, grouped

__all__ = [
    "EDGE",
    "GAUSSIAN_BLUR",
    "by_loops",
    "by_torch",
    "gaussian_weights",
    "soften_by_loops",
    "soften_by_torch",
    "soften_exactly_by_loops",
    "soften_exactly_by_torch",
]

Array = np.ndarray[Any, np.dtype[Any]]

EDGE = 1e-4
"""Added before a truncation in float32: exact integers, which flat patches give, must not fall to the next."""


@cache
def gaussian_weights(sigma: float, truncate: float = 4.0) -> Array:
    """One side of the normalised filter, from the centre outwards: float64 (radius + 1,)."""
    radius = int(truncate * float(sigma) + 0.5)
    x = np.arange(-radius, radius + 1)
    phi = np.exp(-0.5 / (sigma * sigma) * x**2)
    weights: Array = np.ascontiguousarray((phi / phi.sum())[radius:])
    weights.setflags(write=False)
    return weights


def _pass(x: Tensor, weights: Array, dim: int) -> Tensor:
    """One axis of (N, C, H, W), edges repeated; terms from the outermost pair inwards, after the centre."""
    radius, size = len(weights) - 1, x.shape[dim]
    if radius == 0:
        return x
    edges = (radius, radius, 0, 0) if dim == 3 else (0, 0, radius, radius)
    padded = F.pad(x, edges, mode="replicate")
    total = x * float(weights[0])
    for j in range(radius, 0, -1):
        pair = padded.narrow(dim, radius - j, size) + padded.narrow(dim, radius + j, size)
        total += pair.mul_(float(weights[j]))
    return total


def soften_by_torch(images: Tensor, sigma: float) -> Tensor:
    """uint8 (N, C, H, W), contiguous -> the same, blurred and truncated: the definition, for any device."""
    weights = gaussian_weights(sigma)
    x = _pass(_pass(images.to(torch.float32), weights, 2), weights, 3)
    return (x + EDGE).to(torch.uint8)


def soften_by_loops(images: Tensor, sigma: float) -> Tensor:
    return _compiled(images, grouped(gaussian_weights(sigma)).astype(np.float32), None, 1.0, EDGE)


def soften_exactly_by_torch(images: Tensor, sigma: float) -> Tensor:
    """uint8 (N, C, H, W), contiguous -> the same: trunc(gaussian_filter(x / 255) * 255), as SciPy rounds."""
    weights = gaussian_weights(sigma)
    if len(weights) == 1:
        return images  # trunc(x / 255 * 255) is x for every byte
    # By a tensor: on CUDA torch divides by a number through its reciprocal, which is another float64.
    white = torch.full((), 255.0, dtype=torch.float64, device=images.device)
    x = _pass(_pass(images.to(torch.float64) / white, weights, 2), weights, 3)
    return (x * 255).to(torch.uint8)


def soften_exactly_by_loops(images: Tensor, sigma: float) -> Tensor:
    weights = gaussian_weights(sigma)
    return images if len(weights) == 1 else _compiled(images, grouped(weights), _GREYS, 255.0, 0.0)


_GREYS = np.arange(256.0) / 255

_BLOCK = 2048
"""Values of the rows that a compiled pass takes at a time: they stay in the first cache."""


def _compiled(images: Tensor, weights: Array, greys: Array | None, gain: float, edge: float) -> Tensor:
    out = torch.empty_like(images)
    planes, results = (x.view(-1, *x.shape[2:]).numpy() for x in (images, out))
    t = weights.dtype.type
    grain = max(1, 30_000 // (planes.shape[1] * planes.shape[2]))
    spread(_planes, len(planes), planes, weights, greys, t(gain), t(edge), results, grain=grain)
    return out


@compiled
def _planes(
    start: Any, stop: Any, planes: Any, weights: Any, greys: Any, gain: Any, edge: Any, out: Any
) -> None:
    """Both passes over planes (P, H, W), a block of rows at a time.

    Rows lie end to end, so that the inner loops are long whatever the width: the horizontal pass runs over
    the rows with their repeated edges, and what it computes across two rows is not used.
    """
    height, width = planes.shape[1:]
    radius = len(weights) - 1
    step = width + 2 * radius
    rows = max(1, min(height, _BLOCK // width))
    tall = np.empty((height + 2 * radius) * width, weights.dtype)
    blurred = np.empty(rows * width, weights.dtype)
    wide = np.empty(rows * step, weights.dtype)
    total = np.empty(rows * step, weights.dtype)
    greyed = np.empty(rows * step, np.uint8)
    for p in range(start, stop):
        plane = planes[p].ravel()
        middle = tall[radius * width : (radius + height) * width]
        if greys is None:
            for i in range(len(plane)):
                middle[i] = plane[i]
        else:
            for i in range(len(plane)):
                middle[i] = greys[plane[i]]
        for j in range(radius):
            tall[j * width : (j + 1) * width] = middle[:width]
            low = (radius + height + j) * width
            tall[low : low + width] = middle[(height - 1) * width :]
        for y in range(0, height, rows):
            count = min(rows, height - y)
            convolve(blurred, tall, (y + radius) * width, width, weights, count * width)
            for k in range(count):
                row, line = blurred[k * width : (k + 1) * width], wide[k * step : (k + 1) * step]
                line[:radius] = row[0]
                line[radius : radius + width] = row
                line[radius + width :] = row[width - 1]
            whole = count * step - 2 * radius
            convolve(total, wide, radius, 1, weights, whole)
            for i in range(whole):
                greyed[i] = np.uint8(np.int32(total[i] * gain + edge))
            for k in range(count):
                out[p, y + k] = greyed[k * step : k * step + width]


def by_torch(images: Tensor, _: Tensor | None, setting: Setting) -> Tensor:
    """skimage.filters.gaussian of each channel."""
    return soften_by_torch(images, setting.parameters)


def by_loops(images: Tensor, _: Tensor | None, setting: Setting) -> Tensor:
    return soften_by_loops(images, setting.parameters)


GAUSSIAN_BLUR = Corruption(by_torch, loops=by_loops)
