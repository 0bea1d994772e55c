"""Single pixels on CUDA: what `noise`, `hsv` and `elastic` define."""

from __future__ import annotations

from functools import lru_cache

import torch
import triton.language as tl
from torch import Tensor

from robustbench_ms.corruptions.corruption import Setting
from robustbench_ms.corruptions.defined.elastic import affine, smoothed
from robustbench_ms.corruptions.defined.noise import shot_table

from .gaussian import greys
from .launch import BLOCK, code, launch, numbers
from .tiles import programs, tile

__all__ = ["elastic_transform", "saturate", "shot_noise"]


# Shot noise: one look into the alias tables a value.


@lru_cache(maxsize=32)
def _alias(photons: float, device: torch.device) -> tuple[int, Tensor]:
    bins, table = shot_table(photons)
    return bins, torch.from_numpy(table.copy()).to(device)


def shot_noise(images: Tensor, words: Tensor | None, setting: Setting) -> Tensor:
    """`noise.shot_by_torch` on CUDA."""
    assert words is not None
    bins, entries = _alias(setting.parameters, images.device)
    out = torch.empty_like(images)
    size = images[0].numel()
    launch(_shot, programs(len(images), size), images, words, entries, out, size, bins, BLOCK=BLOCK)
    return out


@code
def _shot(
    images: tl.tensor, words: tl.tensor, entries: tl.tensor, out: tl.tensor,
    size: int, bins: int, BLOCK: tl.constexpr,
) -> None:  # fmt: skip
    n, at, inside = tile(size, BLOCK)
    here = n * size + at
    word = tl.load(words + here, mask=inside, other=0)
    level = tl.load(images + here, mask=inside, other=0).to(tl.int32)
    place = level * bins + (word.to(tl.int32) & (bins - 1))
    entry = tl.load(entries + place).to(tl.uint32, bitcast=True).to(tl.int64)
    grey = tl.where(word >> 16 < entry >> 16, entry, entry >> 8)
    tl.store(out + here, grey.to(tl.uint8), mask=inside)


# Saturate: the steps of `hsv`, in float64, on one pixel.


def saturate(images: Tensor, _: Tensor | None, setting: Setting) -> Tensor:
    """`hsv.saturate_by_torch` on CUDA."""
    if images.shape[1] == 1:
        return images.clone()
    factor, offset = map(float, setting.parameters)
    size = images.shape[2] * images.shape[3]
    out = torch.empty_like(images)
    tables = (greys(images.device), numbers(images.device, factor, offset))
    launch(_saturated, programs(len(images), size), images, *tables, out, size, BLOCK=BLOCK)
    return out


@code
def _saturated(
    images: tl.tensor, greys: tl.tensor, scale: tl.tensor, out: tl.tensor,
    size: int, BLOCK: tl.constexpr,
) -> None:  # fmt: skip
    n, at, inside = tile(size, BLOCK)
    here = n * 3 * size + at
    red = tl.load(greys + tl.load(images + here, mask=inside, other=0).to(tl.int32))
    green = tl.load(greys + tl.load(images + here + size, mask=inside, other=0).to(tl.int32))
    blue = tl.load(greys + tl.load(images + here + 2 * size, mask=inside, other=0).to(tl.int32))
    value = tl.maximum(tl.maximum(red, green), blue)
    spread = value - tl.minimum(tl.minimum(red, green), blue)
    grey = spread == 0
    divisor = tl.where(grey, 1.0, spread)
    sector = tl.where(value == green, 2 + (blue - red) / divisor, (green - blue) / divisor)
    sector = tl.where(value == blue, 4 + (red - green) / divisor, sector)
    hue = tl.where(grey, 0.0, sector) / 6
    hue = tl.where(hue < 0, hue + 1, hue)
    saturation = tl.where(grey, 0.0, spread / tl.where(value == 0, 1.0, value))
    saturation = tl.minimum(tl.maximum(saturation * tl.load(scale) + tl.load(scale + 1), 0.0), 1.0)
    sixth = hue * 6
    whole = tl.floor(sixth)
    rest = sixth - whole
    p = value * (1 - saturation)
    q = value * (1 - rest * saturation)
    t = value * (1 - (1 - rest) * saturation)
    part = whole.to(tl.int32) % 6
    # The sectors 0..5 of (R, G, B): vtp, qvp, pvt, pqv, tpv, vpq.
    red = tl.where((part == 0) | (part == 5), value, tl.where(part == 1, q, tl.where(part == 4, t, p)))
    green = tl.where((part == 1) | (part == 2), value, tl.where(part == 3, q, tl.where(part == 0, t, p)))
    blue = tl.where((part == 3) | (part == 4), value, tl.where(part == 5, q, tl.where(part == 2, t, p)))
    tl.store(out + here, (red * 255).to(tl.uint8), mask=inside)
    tl.store(out + here + size, (green * 255).to(tl.uint8), mask=inside)
    tl.store(out + here + 2 * size, (blue * 255).to(tl.uint8), mask=inside)


# Elastic: two linear interpolations, each reading four pixels, between fields that torch makes by products of matrices.


def elastic_transform(images: Tensor, words: Tensor | None, setting: Setting) -> Tensor:
    """`elastic.by_torch` on CUDA."""
    assert words is not None
    count, channels, height, width = images.shape
    many, sizes = programs(count, height * width), (channels, height, width)
    pixels = images
    if setting.profile != "any-size":
        parts = affine(words, setting, height, width)
        pixels = torch.empty_like(images, dtype=torch.float32)
        launch(_mapped, many, images, parts, pixels, *sizes, BLOCK=BLOCK)
    fields, unit = smoothed(words, setting, height, width)
    units = numbers(images.device, unit)
    out = torch.empty_like(images)
    launch(_displaced, many, pixels, fields.contiguous(), units, out, *sizes, BLOCK=BLOCK)
    return out


@code
def _mapped(
    images: tl.tensor, parts: tl.tensor, out: tl.tensor,
    channels: int, height: int, width: int, BLOCK: tl.constexpr,
) -> None:  # fmt: skip
    """Read along each image's affine map, edges reflected about the middles of the outer pixels."""
    n, at, inside = tile(height * width, BLOCK)
    y = at // width
    x = at % width
    part = parts + n * 6
    at_x = tl.load(part) * x + tl.load(part + 1) * y + tl.load(part + 2)
    at_y = tl.load(part + 3) * x + tl.load(part + 4) * y + tl.load(part + 5)
    column = tl.floor(at_x)
    row = tl.floor(at_y)
    along = (at_x - column).to(tl.float32)
    down = (at_y - row).to(tl.float32)
    left = column.to(tl.int64)
    top = row.to(tl.int64)
    right = _mirrored(left + 1, width)
    bottom = _mirrored(top + 1, height)
    left = _mirrored(left, width)
    top = _mirrored(top, height)
    for c in range(channels):
        plane = (n * channels + c) * height * width
        value = _read(images + plane, top * width, bottom * width, left, right, down, along, inside)
        tl.store(out + plane + at, value, mask=inside)


@code
def _displaced(
    pixels: tl.tensor, fields: tl.tensor, unit: tl.tensor, out: tl.tensor,
    channels: int, height: int, width: int, BLOCK: tl.constexpr,
) -> None:  # fmt: skip
    """Read along the fields, edges reflected about the outer edges of the outer pixels."""
    size = height * width
    n, at, inside = tile(size, BLOCK)
    dx = (tl.load(fields + n * 2 * size + at, mask=inside, other=0) * tl.load(unit)).to(tl.float32)
    dy = (tl.load(fields + (n * 2 + 1) * size + at, mask=inside, other=0) * tl.load(unit)).to(tl.float32)
    column = tl.floor(dx)
    row = tl.floor(dy)
    left = at % width + column.to(tl.int32)
    top = at // width + row.to(tl.int32)
    right = _turned(left + 1, width)
    bottom = _turned(top + 1, height) * width
    left = _turned(left, width)
    top = _turned(top, height) * width
    for c in range(channels):
        plane = (n * channels + c) * size
        value = _read(pixels + plane, top, bottom, left, right, dy - row, dx - column, inside)
        tl.store(out + plane + at, value.to(tl.uint8), mask=inside)


@code
def _mirrored(at: tl.tensor, size: int) -> tl.tensor:
    at = tl.where(at < 0, -at, at) % tl.maximum(2 * size - 2, 1)
    return tl.where(at >= size, 2 * size - 2 - at, at)


@code
def _turned(at: tl.tensor, size: int) -> tl.tensor:
    at = at % (2 * size)  # has the sign of `at`, unlike Python's
    at = tl.where(at < 0, at + 2 * size, at)
    return tl.where(at >= size, 2 * size - 1 - at, at)


@code
def _read(
    plane: tl.tensor, top: tl.tensor, bottom: tl.tensor, left: tl.tensor, right: tl.tensor,
    down: tl.tensor, along: tl.tensor, inside: tl.tensor,
) -> tl.tensor:  # fmt: skip
    near = tl.load(plane + top + left, mask=inside, other=0).to(tl.float32)
    far = tl.load(plane + bottom + left, mask=inside, other=0).to(tl.float32)
    near += (tl.load(plane + top + right, mask=inside, other=0).to(tl.float32) - near) * along
    far += (tl.load(plane + bottom + right, mask=inside, other=0).to(tl.float32) - far) * along
    return near + (far - near) * down
