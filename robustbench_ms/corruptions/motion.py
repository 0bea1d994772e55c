"""Motion blur: a one-sided Gaussian along a line of whole pixels, at an angle drawn for each image.

Tap i of 2 r + 1 reads the pixel ceil(i sin - 1/2) rows down and ceil(i cos - 1/2) columns to the right, edges
repeated, with weight exp(-i^2 / 2 sigma^2), normalised. any-size follows the imagecorruptions package: in
floating point, truncated; the line ends at the first tap that would leave the image from every pixel, and
what is lost of the weight stays lost (dark small images). The others follow ImageMagick 6 at 16-bit quanta,
which the published code calls: the sum is rounded to a quantum, the quantum to a byte.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from . import keyed
from .kernel import Kernel, Setting
from .separable import EDGE

__all__ = ["MOTION", "angle", "taps"]


def _draw(keys: Tensor, shape: tuple[int, int, int, int], _: Setting) -> Tensor:  # noqa: ARG001 - the contract
    """One 53-bit word an image: int64 (N, 1)."""
    return keyed.words(keys, 1, bits=53)


def angle(words: Tensor) -> Tensor:
    """The angle in degrees, uniform in [-45, 45): float64 (N,)."""
    return keyed.uniform(words[:, 0], 53, -45.0, 45.0)


def taps(
    degrees: Tensor, radius: float, sigma: float, limits: tuple[int, int] | None
) -> tuple[Tensor, Tensor, Tensor]:
    """(rows, columns, weights) of each image's taps: int64 (N, K), int64 (N, K), float64 (N, K).

    With `limits` (height, width), the weights from the first tap on that reaches a limit are zero.
    """
    width = 2 * math.ceil(radius) + 1
    i = torch.arange(width, dtype=torch.float64, device=degrees.device)
    weights = torch.exp(-i.square() / (2.0 * sigma**2))
    weights = (weights / weights.sum()).expand(len(degrees), width)
    down, right = width * torch.sin(torch.deg2rad(degrees)), width * torch.cos(torch.deg2rad(degrees))
    length = torch.hypot(down, right)[:, None]
    rows = torch.ceil(i * down[:, None] / length - 0.5).to(torch.int64)
    columns = torch.ceil(i * right[:, None] / length - 0.5).to(torch.int64)
    if limits is not None:
        outside = (rows.abs() >= limits[0]) | (columns.abs() >= limits[1])
        weights = weights.masked_fill(outside.cumsum(1) > 0, 0.0)
    return rows, columns, weights


def _apply(images: Tensor, words: Tensor | None, setting: Setting) -> Tensor:
    assert words is not None
    count, channels, height, width = images.shape
    package = setting.profile == "any-size"
    radius, sigma = setting.parameters
    rows, columns, weights = taps(angle(words), radius, sigma, (height, width) if package else None)
    y = torch.arange(height, device=images.device)
    x = torch.arange(width, device=images.device)
    pixels = images.flatten(2)
    total = torch.zeros(pixels.shape, dtype=torch.float32, device=images.device)
    for i in range(rows.shape[1]):
        at_y = (y + rows[:, i, None]).clamp(0, height - 1)
        at_x = (x + columns[:, i, None]).clamp(0, width - 1)
        at = (at_y[:, :, None] * width + at_x[:, None, :]).view(count, 1, -1).expand(-1, channels, -1)
        total += pixels.gather(2, at) * weights[:, i].to(torch.float32)[:, None, None]
    total = total.view(images.shape)
    return _bytes(total, package=package)


def _bytes(total: Tensor, *, package: bool) -> Tensor:
    if package:
        return (total + EDGE).clamp_(0, 255).to(torch.uint8)
    quanta = (total * 257 + 0.5).clamp_(0, 65535).to(torch.int32) + 128
    return ((quanta - (quanta >> 8)) >> 8).to(torch.uint8)


MOTION = Kernel(_apply, _draw)
