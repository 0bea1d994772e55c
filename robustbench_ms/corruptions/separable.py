"""Gaussian blurs of uint8 images, as scipy.ndimage.gaussian_filter does them (mode "nearest", truncate 4).

Two precisions. `soften` works in float32 and ends in bytes: what a blur needs whose result is truncated once.
`soften_exactly` works in float64 in SciPy's own order of additions and products, bit for bit: what glass blur's
first pass needs. There the truncated result is swapped about and blurred again, and on flat patches the
rounding of the source decides which byte goes in (at sigma 1.1 it keeps 160 of the 256 greys and lowers the
rest by one); an error of one there and another at the end would make two.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["EDGE", "gaussian_weights", "soften", "soften_exactly"]

Array = np.ndarray[Any, np.dtype[Any]]

EDGE = 1e-4
"""Added before a truncation in float32: exact integers, which flat patches give, must not fall to the next."""


@cache
def gaussian_weights(sigma: float, truncate: float = 4.0) -> Array:
    """One side of the normalised kernel, from the centre outwards: float64 (radius + 1,)."""
    radius = int(truncate * float(sigma) + 0.5)
    x = np.arange(-radius, radius + 1)
    phi = np.exp(-0.5 / (sigma * sigma) * x**2)
    weights: Array = np.ascontiguousarray((phi / phi.sum())[radius:])
    weights.setflags(write=False)
    return weights


def _pass(x: Tensor, weights: Array, dim: int) -> Tensor:
    """One axis of (N, C, H, W), edges repeated; terms from the outermost pair inwards, after the centre."""
    radius, size = len(weights) - 1, x.shape[dim]
    padding = (radius, radius, 0, 0) if dim == 3 else (0, 0, radius, radius)
    padded = F.pad(x, padding, mode="replicate") if radius else x
    total = x * float(weights[0])
    for j in range(radius, 0, -1):
        pair = padded.narrow(dim, radius - j, size) + padded.narrow(dim, radius + j, size)
        total += pair.mul_(float(weights[j]))
    return total


def soften(images: Tensor, sigma: float) -> Tensor:
    """uint8 (N, C, H, W) -> the same, blurred and truncated."""
    weights = gaussian_weights(sigma)
    x = _pass(_pass(images.to(torch.float32), weights, 2), weights, 3)
    return (x + EDGE).clamp_(0, 255).to(torch.uint8)


def soften_exactly(images: Tensor, sigma: float) -> Tensor:
    """uint8 (N, C, H, W) -> the same: trunc(gaussian_filter(x / 255) * 255), as in float64 with SciPy."""
    weights = gaussian_weights(sigma)
    x = _pass(_pass(images.to(torch.float64) / 255, weights, 2), weights, 3)
    return (x * 255).to(torch.uint8)
