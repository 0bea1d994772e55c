"""Brightness and saturate: the corruptions that the sources compute in HSV.

Brightness adds to V. In exact arithmetic that scales the pixel, R' = R V'/V, so one factor a pixel does it:
no hue is needed. Its table is made so that the largest channel is cut off where the sources' float64 cuts it
off; where another channel's exact value is an integer, the sources may have one less.

Saturate scales S and takes the sources' float64 steps (scikit-image's rgb2hsv and hsv2rgb) one by one: at
whole factors half of all exact values are integers, and only the same roundings fall on the same side.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustbench_ms.corruptions.corruption import Corruption, Setting
from robustbench_ms.corruptions.cpu.compile import compiled, spread

__all__ = [
    "BRIGHTNESS",
    "SATURATE",
    "brightness_by_loops",
    "brightness_by_torch",
    "saturate_by_loops",
    "saturate_by_torch",
]

# Half of the smallest step above an integer that x V'/V can take is 1/2040 (V' has quarters at most);
# float32 is wrong by less than 5e-5.
_NUDGE = 2e-4


@cache
def _scales(added: float) -> tuple[Tensor, int]:
    """By V: the factor of the pixel, float32 (256,); and what black becomes."""
    black = int(min(added, 1.0) * 255)
    factors = [0.0]
    for v in range(1, 256):
        raised = min(v + 255 * added, 255.0)
        cut = int(min(v / 255 + added, 1.0) * 255)  # as the sources round it
        factors.append((raised + (_NUDGE if cut >= math.floor(raised + 1e-9) else -_NUDGE)) / v)
    return torch.tensor(factors, dtype=torch.float32), black


def brightness_by_torch(images: Tensor, _: Tensor | None, setting: Setting) -> Tensor:
    """Add to the V of HSV, cut off at white.

    `images` uint8 (N, C, H, W); `setting.parameters` the addition, in 0..1. A grey channel becomes what a grey pixel
    becomes.
    """
    factors, black = _scales(setting.parameters)
    value = images.amax(dim=1, keepdim=True)
    factor = factors.to(images.device)[value.to(torch.int64)]
    return (images.to(torch.float32) * factor + torch.where(value == 0, float(black), 0.0)).to(torch.uint8)


_BLOCK = 2048
"""Pixels that a step takes at a time: they stay in the first cache."""


@compiled
def _brightness_rgb(start: Any, stop: Any, images: Any, out: Any, factors: Any, black: Any) -> None:
    """Step by step, for a loop that looks up a table is not vector code."""
    value, factor = np.empty(_BLOCK, np.uint8), np.empty(_BLOCK, np.float32)
    none = np.float32(0)
    for n in range(start, stop):
        for begin in range(0, images.shape[2], _BLOCK):
            count = min(_BLOCK, images.shape[2] - begin)
            end = begin + count
            red, green, blue = images[n, 0, begin:end], images[n, 1, begin:end], images[n, 2, begin:end]
            for i in range(count):
                value[i] = max(red[i], green[i], blue[i])
            for i in range(count):
                factor[i] = factors[value[i]]
            for c in range(3):
                x, to = images[n, c, begin:end], out[n, c, begin:end]
                for i in range(count):
                    scaled = np.float32(x[i]) * factor[i] + (black if value[i] == 0 else none)
                    to[i] = np.uint8(np.int32(scaled))


def brightness_by_loops(images: Tensor, _: Tensor | None, setting: Setting) -> Tensor:
    if images.shape[1] == 1:
        return brightness_by_torch(images, None, setting)
    factors, black = _scales(setting.parameters)
    out = torch.empty_like(images)
    flat = images.flatten(2).numpy()
    grain = 1 + 100_000 // flat.shape[2]
    spread(
        _brightness_rgb,
        len(flat),
        flat,
        out.flatten(2).numpy(),
        factors.numpy(),
        np.float32(black),
        grain=grain,
    )
    return out


def saturate_by_torch(images: Tensor, _: Tensor | None, setting: Setting) -> Tensor:
    """Scale and shift the S of HSV, kept in 0..1.

    `images` uint8 (N, C, H, W); `setting.parameters` the factor and the addition. A grey pixel has hue 0, so an
    addition turns it reddish, as in the sources; a grey channel (C = 1) stays as it is.
    """
    if images.shape[1] == 1:
        return images.clone()
    factor, offset = setting.parameters
    # By tensors: on CUDA torch divides by a number through its reciprocal, which is another float64.
    white, six = torch.tensor([255.0, 6.0], dtype=torch.float64, device=images.device)
    red, green, blue = (images.to(torch.float64) / white).unbind(dim=1)
    value = torch.maximum(torch.maximum(red, green), blue)
    spread_ = value - torch.minimum(torch.minimum(red, green), blue)
    grey = spread_ == 0
    divisor = torch.where(grey, 1.0, spread_)
    sector = torch.where(
        value == blue,
        4 + (red - green) / divisor,
        torch.where(value == green, 2 + (blue - red) / divisor, (green - blue) / divisor),
    )
    hue = torch.where(grey, 0.0, sector) / six
    hue = torch.where(hue < 0, hue + 1, hue)
    saturation = torch.where(grey, 0.0, spread_ / torch.where(value == 0, 1.0, value))
    saturation = (saturation * factor + offset).clamp(0, 1)
    sixth = hue * 6
    whole = sixth.floor()
    rest = sixth - whole
    p = value * (1 - saturation)
    q = value * (1 - rest * saturation)
    t = value * (1 - (1 - rest) * saturation)
    part = whole.to(torch.int64) % 6
    table = torch.stack([value, t, p, q], dim=-1)
    picks = torch.tensor([[0, 3, 2, 2, 1, 0], [1, 0, 0, 3, 2, 2], [2, 2, 1, 0, 0, 3]], device=images.device)
    channels = [table.gather(-1, pick[part][..., None])[..., 0] for pick in picks]
    return (torch.stack(channels, dim=1).clamp(0, 1) * 255).to(torch.uint8)


@compiled
def _saturate_rgb(start: Any, stop: Any, images: Any, out: Any, factor: Any, offset: Any) -> Any:
    for n in range(start, stop):
        reds, greens, blues = images[n]
        for i in range(reds.size):
            red, green, blue = reds[i] / 255.0, greens[i] / 255.0, blues[i] / 255.0
            value = max(red, green, blue)
            delta = value - min(red, green, blue)
            grey = delta == 0.0
            divisor = 1.0 if grey else delta
            sector = (green - blue) / divisor
            sector = 2.0 + (blue - red) / divisor if value == green else sector
            sector = 4.0 + (red - green) / divisor if value == blue else sector
            hue = 0.0 if grey else sector / 6.0
            hue = hue + 1.0 if hue < 0.0 else hue
            saturation = delta / (1.0 if grey else value)
            saturation = min(max(saturation * factor + offset, 0.0), 1.0)
            sixth = hue * 6.0
            whole = np.floor(sixth)
            rest = sixth - whole
            p = value * (1.0 - saturation)
            q = value * (1.0 - rest * saturation)
            t = value * (1.0 - (1.0 - rest) * saturation)
            part = whole - 6.0 if whole >= 6.0 else whole
            # The sectors 0..5 of (R, G, B): vtp, qvp, pvt, pqv, tpv, vpq.
            first = t if part == 4.0 else (q if part == 1.0 else p)
            first = value if part == 0.0 or part == 5.0 else first  # noqa: PLR1714 - numba has no fast sets
            second = t if part == 0.0 else (q if part == 3.0 else p)
            second = value if part == 1.0 or part == 2.0 else second  # noqa: PLR1714
            third = t if part == 2.0 else (q if part == 5.0 else p)
            third = value if part == 3.0 or part == 4.0 else third  # noqa: PLR1714
            out[n, 0, i] = np.uint8(first * 255.0)
            out[n, 1, i] = np.uint8(second * 255.0)
            out[n, 2, i] = np.uint8(third * 255.0)


def saturate_by_loops(images: Tensor, _: Tensor | None, setting: Setting) -> Tensor:
    if images.shape[1] == 1:
        return images.clone()
    factor, offset = map(float, setting.parameters)
    out = torch.empty_like(images)
    flat = images.flatten(2).numpy()
    grain = 1 + 10_000 // flat.shape[2]
    spread(_saturate_rgb, len(flat), flat, out.flatten(2).numpy(), factor, offset, grain=grain)
    return out


BRIGHTNESS = Corruption(brightness_by_torch, loops=brightness_by_loops)
SATURATE = Corruption(saturate_by_torch, loops=saturate_by_loops)
