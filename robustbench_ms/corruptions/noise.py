"""Gaussian, shot, impulse and speckle noise: one draw a value, through tables.

Everything is integers and tables (speckle: one float32 product), so the bytes are the same on every device.
Values are drawn in the images' own order (C, H, W). The published code and the package agree on all four.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import keyed
from .compiled import kernel, spread, unsigned, word
from .kernel import Kernel, Setting

__all__ = ["KERNELS", "shot_table"]

Array = np.ndarray[Any, np.dtype[Any]]

_GRAIN = 60_000
"""Values worth a thread's piece: about 50 microseconds."""


def _draw16(keys: Tensor, shape: tuple[int, int, int, int], _: Setting) -> Tensor:
    """One 16-bit word a value: int32 (N, C, H, W)."""
    return keyed.words(keys, math.prod(shape[1:])).view(shape)


def _draw32(keys: Tensor, shape: tuple[int, int, int, int], _: Setting) -> Tensor:
    """One 32-bit word a value: int64 (N, C, H, W)."""
    return keyed.words(keys, math.prod(shape[1:]), 32).view(shape)


def _fused(run: Any, images: Tensor, keys: Tensor, *tables: Any) -> Tensor:
    """Run a compiled noise over the images' rows of values, drawing as it goes."""
    out = torch.empty_like(images)
    flat = images.view(len(images), -1)
    grain = max(1, _GRAIN // flat.shape[1])
    spread(run, len(flat), flat.numpy(), unsigned(keys), *tables, out.view(flat.shape).numpy(), grain=grain)
    return out


# Gaussian: clip(x / 255 + c z) 255, truncated. x is an integer, so the truncation moves onto the noise:
# x + floor(255 c z). The table of floor(255 c |z|) is cut at 255, where every sum has saturated, and the
# sign of z is the word's top bit: floor(-m) = -(floor(m) + 1) = ~floor(m) since m is never an integer.


@cache
def _gaussian_table(sigma: float) -> Array:
    """floor(255 sigma z), cut at +-255, for z of each 15-bit magnitude: uint8 (32768,)."""
    return np.minimum(np.floor(255 * sigma * keyed.normal_quantiles()[32768:]), 255).astype(np.uint8)


def _gaussian(images: Tensor, words: Tensor | None, setting: Setting) -> Tensor:
    assert words is not None
    table = torch.from_numpy(_gaussian_table(setting.parameters)).to(images.device).to(torch.int16)
    magnitude = table[_magnitude(words)]
    noise = torch.where(words >= 32768, magnitude, ~magnitude)
    return (images + noise).clamp_(0, 255).to(torch.uint8)


def _magnitude(words: Tensor) -> Tensor:
    """The distance of a 16-bit word from the middle: 0..32767 on both sides."""
    return torch.where(words >= 32768, words - 32768, 32767 - words)


@kernel
def _gaussian_rows(start: Any, stop: Any, images: Any, keys: Any, table: Any, out: Any) -> Any:
    count = images.shape[1]
    for n in range(start, stop):
        key, x, y = keys[n], images[n], out[n]
        for block in range((count + 3) // 4):
            w = word(key, np.uint64(block))
            for i in range(4 * block, min(4 * block + 4, count)):
                u = np.int32(w & np.uint64(0xFFFF))
                w >>= np.uint64(16)
                sign = (u >> 15) - 1  # 0 above the middle, -1 below
                m = np.int32(table[(u ^ sign) & 0x7FFF]) ^ sign
                y[i] = min(max(np.int32(x[i]) + m, 0), 255)


def _gaussian_fused(images: Tensor, keys: Tensor, setting: Setting) -> Tensor:
    return _fused(_gaussian_rows, images, keys, _gaussian_table(setting.parameters))


# Speckle: clip(x (1 + c z)), truncated.


@cache
def _speckle_table(sigma: float) -> Array:
    """1 + sigma z: float32 (65536,)."""
    return (1 + sigma * keyed.normal_quantiles()).astype(np.float32)


def _speckle(images: Tensor, words: Tensor | None, setting: Setting) -> Tensor:
    assert words is not None
    table = torch.from_numpy(_speckle_table(setting.parameters)).to(images.device)
    return (images * table[words]).clamp_(0, 255).to(torch.uint8)


@kernel
def _speckle_rows(start: Any, stop: Any, images: Any, keys: Any, table: Any, out: Any) -> Any:
    count = images.shape[1]
    for n in range(start, stop):
        key, x, y = keys[n], images[n], out[n]
        for block in range((count + 3) // 4):
            w = word(key, np.uint64(block))
            for i in range(4 * block, min(4 * block + 4, count)):
                v = np.float32(x[i]) * table[np.int32(w & np.uint64(0xFFFF))]
                w >>= np.uint64(16)
                y[i] = np.uint8(np.int32(min(max(v, np.float32(0)), np.float32(255))))


def _speckle_fused(images: Tensor, keys: Tensor, setting: Setting) -> Tensor:
    return _fused(_speckle_rows, images, keys, _speckle_table(setting.parameters))


# Impulse: a share of the values becomes 0 or 255, half each.


def _impulse_bounds(amount: float) -> tuple[int, int]:
    """Below the first, a 16-bit word means 0; below the second, 255."""
    changed = round(amount * 65536)
    return changed // 2, changed


def _impulse(images: Tensor, words: Tensor | None, setting: Setting) -> Tensor:
    assert words is not None
    pepper, salt = _impulse_bounds(setting.parameters)
    out = images.masked_fill(words < salt, 255)
    return out.masked_fill_(words < pepper, 0)


@kernel
def _impulse_rows(start: Any, stop: Any, images: Any, keys: Any, pepper: Any, salt: Any, out: Any) -> Any:
    count = images.shape[1]
    for n in range(start, stop):
        key, x, y = keys[n], images[n], out[n]
        for block in range((count + 3) // 4):
            w = word(key, np.uint64(block))
            for i in range(4 * block, min(4 * block + 4, count)):
                u = np.int32(w & np.uint64(0xFFFF))
                w >>= np.uint64(16)
                y[i] = 0 if u < pepper else (255 if u < salt else x[i])


def _impulse_fused(images: Tensor, keys: Tensor, setting: Setting) -> Tensor:
    pepper, salt = _impulse_bounds(setting.parameters)
    return _fused(_impulse_rows, images, keys, pepper, salt)


# Shot: Poisson(x / 255 c) / c, clipped and truncated to a grey level. Per level of x, all counts that give the
# same grey are one outcome, and the outcomes are an alias table (Walker 1977; Vose 1991): the low bits of a
# 32-bit word choose a bin, its top 16 bits one of the bin's two greys.


@cache
def shot_table(photons: float) -> tuple[int, Array]:
    """The sampler of one strength: (bins, a power of two; int32 (256, bins)).

    An entry holds its threshold in bits 16..31 and two greys: bits 0..7 where the word's top 16 bits are
    below the threshold, bits 8..15 where they are not.
    """
    mean = photons * np.arange(256) / 255
    top = math.ceil(photons)  # at `top` photons the grey is 255, and above it too
    greys = (np.minimum(np.arange(top + 1) / photons, 1) * 255).astype(np.uint8)
    values, outcome = np.unique(greys, return_inverse=True)
    bins = 1 << (len(values) - 1).bit_length()
    table = np.zeros((256, bins), np.int64)
    for level in range(256):
        weights = np.zeros(bins)
        np.add.at(weights, outcome, _poisson(mean[level], top))
        table[level] = _alias(weights, np.append(values, np.zeros(bins - len(values), np.uint8)))
    return bins, table.astype(np.uint32).view(np.int32)


def _poisson(mean: float, top: int) -> Array:
    """P(0), ..., P(top - 1) and P(top or more) of a Poisson variable."""
    counts = np.arange(top)
    if mean == 0:
        pmf = (counts == 0).astype(np.float64)
    else:
        pmf = np.exp(counts * math.log(mean) - mean - np.array([math.lgamma(k + 1) for k in counts]))
    return np.append(pmf, max(0.0, 1 - math.fsum(pmf)))


def _alias(weights: Array, values: Array) -> Array:
    """Vose's construction: the packed entries of one level."""
    bins = len(weights)
    share = weights * (bins / math.fsum(weights))
    own, other = np.ones(bins), np.arange(bins)
    small = [i for i in range(bins) if share[i] < 1]
    large = [i for i in range(bins) if share[i] >= 1]
    while small and large:
        less, more = small.pop(), large[-1]
        own[less], other[less] = share[less], more
        share[more] -= 1 - share[less]
        if share[more] < 1:
            small.append(large.pop())
    threshold = np.round(own * 65536).astype(np.int64)
    full = threshold >= 65536  # cannot be packed: both greys are the same there
    other[full] = np.arange(bins)[full]
    return np.minimum(threshold, 65535) << 16 | values[other].astype(np.int64) << 8 | values.astype(np.int64)


def _shot(images: Tensor, words: Tensor | None, setting: Setting) -> Tensor:
    assert words is not None
    bins, table = shot_table(setting.parameters)
    entries = torch.from_numpy(table).to(images.device).view(-1)
    entry = entries[images.to(torch.int64) * bins + (words & (bins - 1))].to(torch.int64) & 0xFFFFFFFF
    grey = torch.where(words >> 16 < entry >> 16, entry, entry >> 8)
    return (grey & 0xFF).to(torch.uint8)


@kernel
def _shot_rows(start: Any, stop: Any, images: Any, keys: Any, bins: Any, table: Any, out: Any) -> Any:
    count = images.shape[1]
    mask = np.uint32(bins - 1)
    for n in range(start, stop):
        key, x, y = keys[n], images[n], out[n]
        for block in range((count + 1) // 2):
            w = word(key, np.uint64(block))
            for i in range(2 * block, min(2 * block + 2, count)):
                u = np.uint32(w & np.uint64(0xFFFFFFFF))
                w >>= np.uint64(32)
                entry = table[np.uint32(x[i]) * np.uint32(bins) + (u & mask)]
                y[i] = np.uint8(
                    entry if (u >> np.uint32(16)) < (entry >> np.uint32(16)) else entry >> np.uint32(8)
                )


def _shot_fused(images: Tensor, keys: Tensor, setting: Setting) -> Tensor:
    bins, table = shot_table(setting.parameters)
    return _fused(_shot_rows, images, keys, bins, table.view(np.uint32).reshape(-1))


KERNELS = {
    "gaussian_noise": Kernel(_gaussian, _draw16, _gaussian_fused),
    "shot_noise": Kernel(_shot, _draw32, _shot_fused),
    "impulse_noise": Kernel(_impulse, _draw16, _impulse_fused),
    "speckle_noise": Kernel(_speckle, _draw16, _speckle_fused),
}
