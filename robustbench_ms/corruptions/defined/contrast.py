"""Contrast: every channel pulled towards its own mean.

c x + (1 - c) mean, the mean from an integer sum, in float32: the order of the additions cannot matter.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustbench_ms.corruptions.corruption import Corruption, Setting
from robustbench_ms.corruptions.cpu.compile import compiled, spread

from .gaussian_blur import EDGE

__all__ = ["CONTRAST", "by_loops", "by_torch"]


def by_torch(images: Tensor, _: Tensor | None, setting: Setting) -> Tensor:
    """Scale each channel's distance from its mean over the image.

    `images` uint8 (N, C, H, W); `setting.parameters` the factor, below 1. On flat images the sources' own rounding
    turns 255 into 254 and 100 into 99 at some severities; here flat images stay.
    """
    pixels = images.shape[2] * images.shape[3]
    factor = float(setting.parameters)
    mean = images.sum(dim=(2, 3), keepdim=True, dtype=torch.int64).to(torch.float64) / pixels
    shift = (mean * (1 - factor) + EDGE).to(torch.float32)
    return (images.to(torch.float32) * factor + shift).to(torch.uint8)


@compiled
def _contrast_planes(start: Any, stop: Any, planes: Any, out: Any, factor: Any, edge: Any) -> Any:
    factor32 = np.float32(factor)
    for p in range(start, stop):
        plane = planes[p]
        total = np.int64(0)
        for i in range(plane.size):
            total += plane[i]
        shift = np.float32(total / plane.size * (1 - factor) + edge)
        for i in range(plane.size):
            out[p, i] = np.uint8(np.float32(plane[i]) * factor32 + shift)


def by_loops(images: Tensor, _: Tensor | None, setting: Setting) -> Tensor:
    out = torch.empty_like(images)
    planes = images.view(-1, images.shape[2] * images.shape[3])
    grain = 1 + 300_000 // planes.shape[1]
    spread(
        _contrast_planes, len(planes), planes.numpy(), out.view(planes.shape).numpy(),
        float(setting.parameters), EDGE, grain=grain,
    )  # fmt: skip
    return out


CONTRAST = Corruption(by_torch, loops=by_loops)
