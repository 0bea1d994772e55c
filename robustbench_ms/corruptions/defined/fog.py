"""Fog: a cloud of plasma, brighter than the image, mixed in.

The plasma is the diamond-square height map of both sources: a torus of side M = 2^k, refined level by level.
At a level of n x n corners c, the wobble being w (100, divided by the decay after every level) and u uniform
in -1..1,

    middles   d[i, j] = (c[i, j] + c[i + 1, j] + (c[i, j + 1] + c[i + 1, j + 1])) / 4 + w^2 u
    row gaps  r[i, j] = (d[i, j] + d[i - 1, j] + (c[i, j] + c[i, j + 1])) / 4 + w^2 u
    column gaps  t[i, j] = (d[i, j] + d[i, j - 1] + (c[i, j] + c[i + 1, j])) / 4 + w^2 u

and the map is then brought to 0..1 (Hendrycks & Dietterich's plasma_fractal, after F. Herne's mapgen). The sources
compute in float64 (published) and float32 (the package); here it is float32 throughout, which moves fewer than
one value in a thousand by one grey level.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustbench_ms.corruptions.corruption import Corruption, Setting, Shape, Words
from robustbench_ms.corruptions.cpu.compile import compiled, spread
from robustbench_ms.corruptions.cpu.fields import fill, narrow
from robustbench_ms.corruptions.cpu.words import unsigned

__all__ = ["FOG", "by_loops", "by_loops_from_keys", "by_torch", "draw", "levels", "light", "map_side"]

_SIDES = {"imagenet": 256, "cifar": 32, "imagenet-64": 64, "imagenet-299": 512}
_WOBBLE = 100.0


def map_side(profile: str, height: int, width: int) -> int:
    """The side M of the plasma: the published one, or the power of two that holds the image (4 at least)."""
    return _SIDES.get(profile) or 1 << (max(height, width, 3) - 1).bit_length()


def draw(keys: Tensor, shape: Shape, setting: Setting, words: Words) -> Tensor:
    """One 16-bit word a point of the plasma: int32 (N, M * M).

    A level of n x n corners takes its d from words n^2 ..., its r from 2 n^2 ... and its t from 3 n^2 ..., row
    by row; word 0 is not used. u = 2 (word + 1/2) / 65536 - 1.
    """
    side = map_side(setting.profile, *shape[2:])
    return words(keys, side * side)


def levels(side: int, decay: float) -> Iterator[tuple[int, float]]:
    """Each level's n, and what a word's distance from the middle, 2 word - 65535, is multiplied by."""
    n, wobble = 1, _WOBBLE
    while n < side:
        yield n, wobble * wobble / 65536
        n, wobble = 2 * n, wobble / decay


def _plasma(words: Tensor, side: int, decay: float) -> Tensor:
    """Words (N, M * M) -> heights of no particular range, float32 (N, M, M)."""
    count = len(words)
    noise = (2 * words + (1 - 65536)).to(torch.float32)
    corners = torch.zeros((count, 1, 1), dtype=torch.float32, device=words.device)
    for n, scale in levels(side, decay):
        d, r, t = (noise[:, n * n : 4 * n * n] * scale).view(count, 3, n, n).unbind(1)
        down = corners + corners.roll(-1, 1)
        d = (down + down.roll(-1, 2)) * 0.25 + d
        r = (d + d.roll(1, 1) + (corners + corners.roll(-1, 2))) * 0.25 + r
        t = (d + d.roll(1, 2) + down) * 0.25 + t
        upper = torch.stack([corners, r], dim=3).flatten(2)
        lower = torch.stack([t, d], dim=3).flatten(2)
        corners = torch.stack([upper, lower], dim=2).flatten(1, 2)
    return corners


def light(images: Tensor, heights: Tensor, strength: float) -> tuple[Tensor, Tensor, Tensor]:
    """(the least height, what makes 0..255 strength of heights above it, what dims the sum), each float32 (N, ...)."""
    low = heights.amin(dim=(1, 2), keepdim=True)
    scale = torch.full_like(low, 255 * strength) / (heights.amax(dim=(1, 2), keepdim=True) - low)
    brightest = images.amax(dim=(1, 2, 3), keepdim=True).to(torch.float32)
    return low, scale, brightest / (brightest + 255 * strength)


def by_torch(images: Tensor, words: Tensor | None, setting: Setting) -> Tensor:
    """Mix the plasma of `words` into the images, as strongly as keeps their brightest value.

    `images` uint8 (N, C, H, W); `words` as `draw` gives them; `setting.parameters` the strength and the decay.
    The same cloud lies over every channel.
    """
    assert words is not None
    strength, decay = map(float, setting.parameters)
    height, width = images.shape[2:]
    heights = _plasma(words, map_side(setting.profile, height, width), decay)
    low, scale, dim = light(images, heights, strength)
    cloud = ((heights - low) * scale)[:, None, :height, :width]
    return ((images.to(torch.float32) + cloud) * dim).to(torch.uint8)


@compiled
def _extremes(values: Any) -> Any:
    """The least and the greatest of float32 values: by their bits, as integers of the same order.

    The compiler makes vector code of it; of floating-point comparisons it does not.
    """
    bits = values.view(np.int32)
    flip = np.int32(0x7FFFFFFF)
    low = high = np.int32(bits[0] ^ ((bits[0] >> 31) & flip))
    for i in range(bits.size):
        key = np.int32(bits[i] ^ ((bits[i] >> 31) & flip))
        low, high = min(low, key), max(high, key)
    ends = np.empty(2, np.int32)
    ends[0], ends[1] = low ^ ((low >> 31) & flip), high ^ ((high >> 31) & flip)
    found = ends.view(np.float32)
    return found[0], found[1]


@compiled
def _heights(words: Any, side: Any, decay: Any, now: Any, later: Any) -> Any:
    """`_plasma` of one image; `now` and `later` are float32 (M * M). Returns which holds it, and its extremes.

    Rows are indexed in place: to make an array of a row costs as much as a few dozen of its values.
    """
    now[0] = 0
    n, wobble = 1, _WOBBLE
    quarter, two, middle = np.float32(0.25), np.int32(2), np.int32(1 - 65536)
    parts = np.empty((3, side * side // 4), np.float32)
    while n < side:
        scale = np.float32(wobble * wobble / 65536)
        c, next_ = now[: n * n].reshape(n, n), later[: 4 * n * n].reshape(2 * n, 2 * n)
        d, r, t = (
            parts[0, : n * n].reshape(n, n),
            parts[1, : n * n].reshape(n, n),
            parts[2, : n * n].reshape(n, n),
        )
        noise = words[n * n : 4 * n * n].reshape(3, n, n)
        for i in range(n):
            k = (i + 1) % n
            for j in range(n - 1):
                z = np.float32(two * np.int32(noise[0, i, j]) + middle) * scale
                d[i, j] = ((c[i, j] + c[k, j]) + (c[i, j + 1] + c[k, j + 1])) * quarter + z
            z = np.float32(two * np.int32(noise[0, i, n - 1]) + middle) * scale
            d[i, n - 1] = ((c[i, n - 1] + c[k, n - 1]) + (c[i, 0] + c[k, 0])) * quarter + z
        for i in range(n):
            k, above = (i + 1) % n, (i + n - 1) % n
            for j in range(n - 1):
                z = np.float32(two * np.int32(noise[1, i, j]) + middle) * scale
                r[i, j] = ((d[i, j] + d[above, j]) + (c[i, j] + c[i, j + 1])) * quarter + z
            z = np.float32(two * np.int32(noise[1, i, n - 1]) + middle) * scale
            r[i, n - 1] = ((d[i, n - 1] + d[above, n - 1]) + (c[i, n - 1] + c[i, 0])) * quarter + z
            z = np.float32(two * np.int32(noise[2, i, 0]) + middle) * scale
            t[i, 0] = ((d[i, 0] + d[i, n - 1]) + (c[i, 0] + c[k, 0])) * quarter + z
            for j in range(1, n):
                z = np.float32(two * np.int32(noise[2, i, j]) + middle) * scale
                t[i, j] = ((d[i, j] + d[i, j - 1]) + (c[i, j] + c[k, j])) * quarter + z
        for i in range(n):
            for j in range(n):
                next_[2 * i, 2 * j], next_[2 * i, 2 * j + 1] = c[i, j], r[i, j]
            for j in range(n):
                next_[2 * i + 1, 2 * j], next_[2 * i + 1, 2 * j + 1] = t[i, j], d[i, j]
        now, later = later, now
        n, wobble = 2 * n, wobble / decay
    low, high = _extremes(now[: side * side])
    return now, low, high


@compiled
def _mix(image: Any, out: Any, heights: Any, low: Any, high: Any, strength: Any) -> Any:
    """`heights` (M, M) over one image (C, H, W)."""
    brightest = np.float32(image.max())
    scale = np.float32(255 * strength) / (high - low)
    dim = brightest / (brightest + np.float32(255 * strength))
    channels, height, width = image.shape
    for channel in range(channels):
        for y in range(height):
            x, row, to = image[channel, y], heights[y], out[channel, y]
            for i in range(width):
                to[i] = np.uint8(np.int32((np.float32(x[i]) + (row[i] - low) * scale) * dim))


@compiled
def _from_words(
    start: Any, stop: Any, images: Any, words: Any, out: Any, side: Any, strength: Any, decay: Any
) -> Any:
    now, later = np.empty(side * side, np.float32), np.empty(side * side, np.float32)
    for i in range(start, stop):
        heights, low, high = _heights(words[i], side, decay, now, later)
        _mix(images[i], out[i], heights.reshape(side, side), low, high, strength)


@compiled
def _from_keys(
    start: Any, stop: Any, images: Any, keys: Any, out: Any, side: Any, strength: Any, decay: Any
) -> Any:
    now, later = np.empty(side * side, np.float32), np.empty(side * side, np.float32)
    buffer = np.empty(side * side // 4, np.uint64)
    for i in range(start, stop):
        fill(keys[i], buffer)
        heights, low, high = _heights(buffer.view(np.uint16), side, decay, now, later)
        _mix(images[i], out[i], heights.reshape(side, side), low, high, strength)


def _run(run: Any, images: Tensor, draws: Any, setting: Setting) -> Tensor:
    strength, decay = setting.parameters
    side = map_side(setting.profile, *images.shape[2:])
    out = torch.empty_like(images)
    grain = 1 + 20_000 // (side * side)
    spread(
        run, len(images), images.numpy(), draws, out.numpy(), side, float(strength), float(decay), grain=grain
    )
    return out


def by_loops(images: Tensor, words: Tensor | None, setting: Setting) -> Tensor:
    assert words is not None
    return _run(_from_words, images, narrow(words), setting)


def by_loops_from_keys(images: Tensor, keys: Tensor, setting: Setting) -> Tensor:
    return _run(_from_keys, images, unsigned(keys), setting)


FOG = Corruption(by_torch, draw, by_loops, by_loops_from_keys)
