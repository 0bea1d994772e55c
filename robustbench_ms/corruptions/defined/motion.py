"""Motion blur: a one-sided Gaussian along a line of whole pixels, at an angle drawn for each image.

Tap i of 2 r + 1 reads the pixel ceil(i sin - 1/2) rows down and ceil(i cos - 1/2) columns to the right, edges
repeated, with weight exp(-i^2 / 2 sigma^2), normalised. any-size follows the imagecorruptions package: in
floating point, truncated; the line ends at the first tap that would leave the image from every pixel, and
what is lost of the weight stays lost (dark small images). On a flat patch the package's float64 sum may end
a last bit below its grey, and the byte a level lower (at severity 1 for 148 of the 256 greys); here the grey
stays. The others follow ImageMagick 6 at 16-bit quanta, which the published code calls: the sum is rounded to
a quantum, the quantum to a byte.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustbench_ms.corruptions import keyed
from robustbench_ms.corruptions.corruption import Corruption, Setting, Shape, Words
from robustbench_ms.corruptions.cpu.compile import compiled, spread
from robustbench_ms.corruptions.cpu.smoothing import add_taps

from .gaussian_blur import EDGE

__all__ = ["MOTION", "angle", "by_loops", "by_torch", "draw", "lines", "taps"]


def draw(keys: Tensor, shape: Shape, _: Setting, words: Words) -> Tensor:  # noqa: ARG001 - the contract
    """One 53-bit word an image: int64 (N, 1)."""
    return words(keys, 1, bits=53)


def angle(words: Tensor) -> Tensor:
    """The angle in degrees, uniform in [-45, 45): float64 (N,)."""
    return keyed.uniform(words[:, 0], 53, -45.0, 45.0)


def taps(
    degrees: Tensor, radius: float, sigma: float, limits: tuple[int, int] | None
) -> tuple[Tensor, Tensor, Tensor]:
    """(rows, columns, weights) of each image's taps: int64 (N, K), int64 (N, K), float32 (N, K).

    Of two taps that read the same pixel the first has the weight of both and the second none. With `limits`
    (height, width), so do those from the first on that reaches a limit.
    """
    width = 2 * math.ceil(radius) + 1
    i = torch.arange(width, dtype=torch.float64, device=degrees.device)
    weights = torch.exp(-i.square() / (2.0 * sigma**2))
    weights = (weights / weights.sum()).expand(len(degrees), width).clone()
    down, right = width * torch.sin(torch.deg2rad(degrees)), width * torch.cos(torch.deg2rad(degrees))
    length = torch.hypot(down, right)[:, None]
    rows = torch.ceil(i * down[:, None] / length - 0.5).to(torch.int64)
    columns = torch.ceil(i * right[:, None] / length - 0.5).to(torch.int64)
    if limits is not None:
        outside = (rows.abs() >= limits[0]) | (columns.abs() >= limits[1])
        weights.masked_fill_(outside.cumsum(1) > 0, 0.0)
    again = (rows.diff(dim=1) == 0) & (columns.diff(dim=1) == 0)  # never three in a row: steps have length 1
    weights[:, :-1] += weights[:, 1:] * again
    weights[:, 1:].masked_fill_(again, 0.0)
    return rows, columns, weights.to(torch.float32)


def lines(words: Tensor, setting: Setting, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """`taps` of the words that `draw` made."""
    limits = (height, width) if setting.profile == "any-size" else None
    radius, sigma = setting.parameters
    return taps(angle(words), radius, sigma, limits)


def by_torch(images: Tensor, words: Tensor | None, setting: Setting) -> Tensor:
    """The definition, for any device."""
    assert words is not None
    return move_by_torch(
        images, lines(words, setting, *images.shape[2:]), package=setting.profile == "any-size"
    )


def by_loops(images: Tensor, words: Tensor | None, setting: Setting) -> Tensor:
    assert words is not None
    return move_compiled(
        images, lines(words, setting, *images.shape[2:]), package=setting.profile == "any-size"
    )


def move_by_torch(images: Tensor, lines: tuple[Tensor, Tensor, Tensor], *, package: bool) -> Tensor:
    """What the definition makes of taps."""
    rows, columns, weights = lines
    count, channels, height, width = images.shape
    y = torch.arange(height, device=images.device)
    x = torch.arange(width, device=images.device)
    pixels = images.flatten(2)
    total = torch.zeros(pixels.shape, dtype=torch.float32, device=images.device)
    for i in range(rows.shape[1]):
        at_y = (y + rows[:, i, None]).clamp(0, height - 1)
        at_x = (x + columns[:, i, None]).clamp(0, width - 1)
        at = (at_y[:, :, None] * width + at_x[:, None, :]).view(count, 1, -1).expand(-1, channels, -1)
        total += pixels.gather(2, at) * weights[:, i, None, None]
    total = total.view(images.shape)
    if package:
        return (total + EDGE).to(torch.uint8)
    quanta = (total * 257 + 0.5).to(torch.int32) + 128
    return ((quanta - (quanta >> 8)) >> 8).to(torch.uint8)


_BLOCK = 2048
"""Values of the rows that the compiled path takes at a time: they stay in the first cache."""


def move_compiled(images: Tensor, lines: tuple[Tensor, Tensor, Tensor], *, package: bool) -> Tensor:
    out = torch.empty_like(images)
    planes, results = (x.view(-1, *x.shape[2:]).numpy() for x in (images, out))
    rows, columns, weights = (line.numpy() for line in lines)
    grain = max(1, 20_000 // (planes.shape[1] * planes.shape[2]))
    spread(
        _planes, len(planes), planes, images.shape[1], rows, columns, weights, package, results, grain=grain
    )
    return out


@compiled
def _planes(
    start: Any,
    stop: Any,
    planes: Any,
    channels: Any,
    rows: Any,
    columns: Any,
    weights: Any,
    package: Any,
    out: Any,
) -> None:
    """Planes with their edges repeated as far as the taps reach, their rows end to end: a tap is one distance."""
    height, width = planes.shape[1:]
    block = max(1, min(height, _BLOCK // width))
    for p in range(start, stop):
        n = p // channels
        used = np.flatnonzero(weights[n])
        down, right, w = rows[n][used], columns[n][used], weights[n][used]
        top, left = max(0, -down.min()), max(0, -right.min())
        step = width + left + max(0, right.max())
        tall = height + top + max(0, down.max())
        padded = np.empty(tall * step, np.float32)
        for r in range(tall):
            row = planes[p, min(max(r - top, 0), height - 1)]
            line = padded[r * step : (r + 1) * step]
            line[:left] = row[0]
            line[left : left + width] = row
            line[left + width :] = row[width - 1]
        total, greyed = np.empty(block * step, np.float32), np.empty(block * step, np.uint8)
        for y in range(0, height, block):
            many = min(block, height - y)
            count = (many - 1) * step + width
            add_taps(total, padded, (y + top) * step + left, down * step + right, w, count)
            if package:
                for i in range(count):
                    greyed[i] = np.uint8(np.int32(total[i] + np.float32(EDGE)))
            else:
                for i in range(count):
                    quantum = np.int32(total[i] * np.float32(257) + np.float32(0.5)) + 128
                    greyed[i] = np.uint8((quantum - (quantum >> 8)) >> 8)
            for k in range(many):
                out[p, y + k] = greyed[k * step : k * step + width]


MOTION = Corruption(by_torch, draw, by_loops)
