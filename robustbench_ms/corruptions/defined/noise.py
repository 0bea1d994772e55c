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

from robustbench_ms.corruptions import keyed
from robustbench_ms.corruptions.corruption import Corruption, Setting, Shape, Words
from robustbench_ms.corruptions.cpu.compile import compiled, spread
from robustbench_ms.corruptions.cpu.words import unsigned, word

__all__ = ["GAUSSIAN_NOISE", "IMPULSE_NOISE", "SHOT_NOISE", "SPECKLE_NOISE", "shot_by_torch", "shot_table"]

Array = np.ndarray[Any, np.dtype[Any]]

_CHUNK = 4096
"""Values that a compiled loop works on at a time, in buffers that stay in the first cache."""

_16, _32, _48 = np.uint64(16), np.uint64(32), np.uint64(48)
_LOW = np.uint64(0xFFFF)


def _draw16(keys: Tensor, shape: Shape, _: Setting, words: Words) -> Tensor:
    """One 16-bit word a value: int32 (N, C, H, W)."""
    return words(keys, math.prod(shape[1:])).view(shape)


def _draw32(keys: Tensor, shape: Shape, _: Setting, words: Words) -> Tensor:
    """One 32-bit word a value: int64 (N, C, H, W)."""
    return words(keys, math.prod(shape[1:]), 32).view(shape)


def _run(run: Any, images: Tensor, keys: Tensor, *arguments: Any) -> Tensor:
    """Run a compiled noise over the images in chunks of their values, drawing as it goes."""
    out = torch.empty_like(images)
    values, results = (x.view(len(images), -1).numpy() for x in (images, out))
    chunks = -(-values.shape[1] // _CHUNK)
    spread(run, len(images) * chunks, values, unsigned(keys), *arguments, results, grain=16)
    return out


@compiled
def _fill(key: Any, first: Any, block: Any) -> None:
    """The key's words from `first` (of the generator) on: uint64."""
    for j in range(len(block)):
        block[j] = word(key, np.uint64(first + j))


@compiled
def _look(indices: Any, table: Any, found: Any) -> None:
    """found[i] = table[i-th 16-bit lane]. Scalar loads from words in registers; gathers take twice as long."""
    for j in range(len(indices)):
        w = indices[j]
        found[4 * j] = table[w & _LOW]
        found[4 * j + 1] = table[(w >> _16) & _LOW]
        found[4 * j + 2] = table[(w >> _32) & _LOW]
        found[4 * j + 3] = table[w >> _48]


# Gaussian: clip(x / 255 + c z) 255, truncated. x is an integer, so the truncation moves onto the noise:
# x + floor(255 c z), cut at +-255, where every sum has saturated.


@cache
def _gaussian_table(sigma: float) -> Array:
    """floor(255 sigma z) of each word: int16 (65536,)."""
    return np.clip(np.floor(255 * sigma * keyed.normal_quantiles()), -255, 255).astype(np.int16)


def gaussian_by_torch(images: Tensor, words: Tensor | None, setting: Setting) -> Tensor:
    assert words is not None
    table = torch.from_numpy(_gaussian_table(setting.parameters)).to(images.device)
    return (images + table[words]).clamp_(0, 255).to(torch.uint8)


@compiled
def _gaussian_chunks(start: Any, stop: Any, images: Any, keys: Any, table: Any, out: Any) -> None:
    count = images.shape[1]
    per = (count + _CHUNK - 1) // _CHUNK
    block, noise = np.empty(_CHUNK // 4, np.uint64), np.empty(_CHUNK, np.int16)
    for item in range(start, stop):
        n, low = item // per, item % per * _CHUNK
        x, y = images[n, low : low + _CHUNK], out[n, low : low + _CHUNK]
        _fill(keys[n], low // 4, block)
        _look(block, table, noise)
        for i in range(len(x)):
            y[i] = np.uint8(min(max(np.int16(x[i] + noise[i]), np.int16(0)), np.int16(255)))


def _gaussian_from_keys(images: Tensor, keys: Tensor, setting: Setting) -> Tensor:
    return _run(_gaussian_chunks, images, keys, _gaussian_table(setting.parameters))


# Speckle: clip(x (1 + c z)), truncated.


@cache
def _speckle_table(sigma: float) -> Array:
    """1 + sigma z: float32 (65536,)."""
    return (1 + sigma * keyed.normal_quantiles()).astype(np.float32)


def speckle_by_torch(images: Tensor, words: Tensor | None, setting: Setting) -> Tensor:
    assert words is not None
    table = torch.from_numpy(_speckle_table(setting.parameters)).to(images.device)
    return (images * table[words]).clamp_(0, 255).to(torch.uint8)


@compiled
def _speckle_chunks(start: Any, stop: Any, images: Any, keys: Any, table: Any, out: Any) -> None:
    count = images.shape[1]
    per = (count + _CHUNK - 1) // _CHUNK
    block, factor = np.empty(_CHUNK // 4, np.uint64), np.empty(_CHUNK, np.float32)
    for item in range(start, stop):
        n, low = item // per, item % per * _CHUNK
        x, y = images[n, low : low + _CHUNK], out[n, low : low + _CHUNK]
        _fill(keys[n], low // 4, block)
        _look(block, table, factor)
        for i in range(len(x)):
            v = np.float32(x[i]) * factor[i]
            y[i] = np.uint8(np.int32(min(max(v, np.float32(0)), np.float32(255))))


def _speckle_from_keys(images: Tensor, keys: Tensor, setting: Setting) -> Tensor:
    return _run(_speckle_chunks, images, keys, _speckle_table(setting.parameters))


# Impulse: a share of the values becomes 0 or 255, half each.


def _impulse_bounds(amount: float) -> tuple[int, int]:
    """Below the first, a 16-bit word means 0; below the second, 255."""
    changed = round(amount * 65536)
    return changed // 2, changed


def impulse_by_torch(images: Tensor, words: Tensor | None, setting: Setting) -> Tensor:
    assert words is not None
    pepper, salt = _impulse_bounds(setting.parameters)
    out = images.masked_fill(words < salt, 255)
    return out.masked_fill_(words < pepper, 0)


@compiled
def _impulse_chunks(start: Any, stop: Any, images: Any, keys: Any, bounds: Any, out: Any) -> None:
    count = images.shape[1]
    per = (count + _CHUNK - 1) // _CHUNK
    pepper, salt = bounds
    block = np.empty(_CHUNK // 4, np.uint64)
    words = block.view(np.uint16)
    for item in range(start, stop):
        n, low = item // per, item % per * _CHUNK
        x, y = images[n, low : low + _CHUNK], out[n, low : low + _CHUNK]
        _fill(keys[n], low // 4, block)
        for i in range(len(x)):
            u = words[i]
            y[i] = np.uint8(0) if u < pepper else (np.uint8(255) if u < salt else x[i])


def _impulse_from_keys(images: Tensor, keys: Tensor, setting: Setting) -> Tensor:
    pepper, salt = _impulse_bounds(setting.parameters)
    return _run(_impulse_chunks, images, keys, (np.uint16(pepper), np.uint16(salt)))


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


def shot_by_torch(images: Tensor, words: Tensor | None, setting: Setting) -> Tensor:
    """The definition of shot noise, for any device."""
    assert words is not None
    bins, table = shot_table(setting.parameters)
    entries = torch.from_numpy(table).to(images.device).view(-1)
    entry = entries[images.to(torch.int64) * bins + (words & (bins - 1))].to(torch.int64) & 0xFFFFFFFF
    grey = torch.where(words >> 16 < entry >> 16, entry, entry >> 8)
    return (grey & 0xFF).to(torch.uint8)


@compiled
def _shot_chunks(start: Any, stop: Any, images: Any, keys: Any, bins: Any, table: Any, out: Any) -> None:
    count = images.shape[1]
    per = (count + _CHUNK - 1) // _CHUNK
    mask = np.uint32(bins - 1)
    block, entries = np.empty(_CHUNK // 2, np.uint64), np.empty(_CHUNK, np.uint32)
    places = np.zeros(_CHUNK // 4, np.uint64)  # zeros: lanes beyond the end are looked up too
    words, place = block.view(np.uint32), places.view(np.uint16)
    for item in range(start, stop):
        n, low = item // per, item % per * _CHUNK
        x, y = images[n, low : low + _CHUNK], out[n, low : low + _CHUNK]
        _fill(keys[n], low // 2, block)
        for i in range(len(x)):
            place[i] = np.uint16(np.uint32(x[i]) * np.uint32(bins) + (words[i] & mask))
        _look(places[: (len(x) + 3) // 4], table, entries)
        for i in range(len(x)):
            entry = entries[i]
            first = (words[i] >> np.uint32(16)) < (entry >> np.uint32(16))
            y[i] = np.uint8(entry) if first else np.uint8(entry >> np.uint32(8))


def _shot_from_keys(images: Tensor, keys: Tensor, setting: Setting) -> Tensor:
    bins, table = shot_table(setting.parameters)
    return _run(_shot_chunks, images, keys, bins, table.view(np.uint32).reshape(-1))


GAUSSIAN_NOISE = Corruption(gaussian_by_torch, _draw16, loops_from_keys=_gaussian_from_keys)
SHOT_NOISE = Corruption(shot_by_torch, _draw32, loops_from_keys=_shot_from_keys)
IMPULSE_NOISE = Corruption(impulse_by_torch, _draw16, loops_from_keys=_impulse_from_keys)
SPECKLE_NOISE = Corruption(speckle_by_torch, _draw16, loops_from_keys=_speckle_from_keys)
