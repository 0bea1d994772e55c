"""Random words, and what happens to pixels where they are, on CUDA: what `keyed` and `snow` define."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import triton.language as tl
from torch import Tensor

from . import keyed
from .cuda import BLOCK, code, launch
from .kernel import Setting
from .separable import EDGE
from .snow import _BLUE, _GREEN, _RED, _axes, _axis, _streaks
from .triton_blur import move

__all__ = ["snow", "words"]


# Words of the counter generator.


def words(keys: Tensor, count: int, bits: int, start: int) -> Tensor:
    """`keyed.words` on CUDA, of 16 or 32 bits: int64 (N,) -> int32 or int64 (N, count)."""
    out = keys.new_empty((len(keys), count), dtype=torch.int32 if bits == 16 else torch.int64)
    tiles = -(-count // BLOCK)
    constants = {"GOLDEN": keyed.GOLDEN, "FIRST": keyed.FIRST, "SECOND": keyed.SECOND}
    launch(_words, len(keys) * tiles, keys, out, count, start, tiles, BITS=bits, BLOCK=BLOCK, **constants)
    return out


@code
def _words(
    keys: tl.tensor, out: tl.tensor, count: int, start: int, tiles: int,
    BITS: tl.constexpr, GOLDEN: tl.constexpr, FIRST: tl.constexpr, SECOND: tl.constexpr, BLOCK: tl.constexpr,
) -> None:  # fmt: skip
    program = tl.program_id(0)
    n = (program // tiles).to(tl.int64)
    at = program % tiles * BLOCK + tl.arange(0, BLOCK)
    lanes = 64 // BITS
    x = tl.load(keys + n).to(tl.uint64, bitcast=True)
    x = x + (at // lanes + (start + 1)).to(tl.uint64) * GOLDEN
    x = (x ^ (x >> 30)) * FIRST
    x = (x ^ (x >> 27)) * SECOND
    x = x ^ (x >> 31)
    word = (x >> (at % lanes * BITS).to(tl.uint64)) & ((1 << BITS) - 1)
    tl.store(out + n * count + at, word.to(out.dtype.element_ty), mask=at < count)


# Snow: the flakes from their words, the streaks by `move`, and both under the image.


@lru_cache(maxsize=8)
def _quantiles(device: torch.device) -> Tensor:
    return torch.from_numpy(keyed.normal_quantiles().copy()).to(device)


@lru_cache(maxsize=64)
def _numbers(mean: float, sigma: float, threshold: float, device: torch.device) -> Tensor:
    return torch.tensor([mean, sigma, threshold], dtype=torch.float64, device=device)


@lru_cache(maxsize=64)
def _tables(size: int, factor: float, package: bool, device: torch.device) -> tuple[int, int, list[Tensor]]:
    """(values that are drawn, values they become, the tables of snow's `_Axis`)."""
    axis = _axis(size, factor, package=package)
    tables = (axis.first.view(np.int32), axis.second.view(np.int32), axis.near, axis.far)
    return axis.drawn, len(axis.first), [torch.from_numpy(table).to(device) for table in tables]


def snow(images: Tensor, words: Tensor, setting: Setting) -> Tensor:
    """`snow.by_torch` on CUDA: uint8 (N, C, H, W) and its words, contiguous -> the same."""
    mean, sigma, factor, threshold, _, _, mix = map(float, setting.parameters)
    count, channels, height, width = images.shape
    package = setting.profile == "any-size"
    _, tall, down = _tables(height, factor, package, images.device)
    drawn, wide, across = _tables(width, factor, package, images.device)
    flakes = images.new_empty((count, 1, tall, wide), dtype=torch.float32 if package else torch.uint8)
    tiles = -(-tall * wide // BLOCK)
    launch(
        _flakes, count * tiles, words, _quantiles(images.device),
        _numbers(mean, sigma, threshold, images.device),
        *down, *across, flakes, words.shape[1], drawn, tall, wide, tiles, PACKAGE=package, BLOCK=BLOCK,
    )  # fmt: skip
    lines = _streaks(words, setting, *_axes(setting, height, width))
    fallen = move(flakes, lines, (height, width), "rounded" if package else "quantum")
    out = torch.empty_like(images)
    tiles = -(-height * width // BLOCK)
    shares = {"RED": float(_RED), "GREEN": float(_GREEN), "BLUE": float(_BLUE), "EDGE": EDGE}
    sizes = (height * width, channels, tiles, mix, 1 - mix)
    launch(_composed, count * tiles, images, fallen, out, *sizes, **shares, BLOCK=BLOCK)
    return out


@code
def _flakes(
    words: tl.tensor, quantiles: tl.tensor, numbers: tl.tensor,
    tops: tl.tensor, bottoms: tl.tensor, tops_weight: tl.tensor, bottoms_weight: tl.tensor,
    lefts: tl.tensor, rights: tl.tensor, lefts_weight: tl.tensor, rights_weight: tl.tensor, out: tl.tensor,
    length: int, drawn: int, height: int, width: int, tiles: int, PACKAGE: tl.constexpr, BLOCK: tl.constexpr,
) -> None:  # fmt: skip
    """The enlarged layer after its threshold, 0..255."""
    program = tl.program_id(0)
    n = (program // tiles).to(tl.int64)
    at = program % tiles * BLOCK + tl.arange(0, BLOCK)
    inside = at < height * width
    y = at // width
    x = at % width
    seen = words + n * length + 4
    top = tl.load(tops + y, mask=inside, other=0) * drawn
    bottom = tl.load(bottoms + y, mask=inside, other=0) * drawn
    near = tl.load(tops_weight + y, mask=inside, other=0)
    far = tl.load(bottoms_weight + y, mask=inside, other=0)
    left = seen + tl.load(lefts + x, mask=inside, other=0)
    right = seen + tl.load(rights + x, mask=inside, other=0)
    one = _drawn(left + top, quantiles, numbers, inside) * near
    one += _drawn(left + bottom, quantiles, numbers, inside) * far
    two = _drawn(right + top, quantiles, numbers, inside) * near
    two += _drawn(right + bottom, quantiles, numbers, inside) * far
    layer = one * tl.load(lefts_weight + x, mask=inside, other=0)
    layer += two * tl.load(rights_weight + x, mask=inside, other=0)
    layer = tl.minimum(tl.where(layer < tl.load(numbers + 2), 0.0, layer), 1.0) * 255
    if not PACKAGE:
        layer = layer.to(tl.int32)
    tl.store(out + n * height * width + at, layer.to(out.dtype.element_ty), mask=inside)


@code
def _drawn(word: tl.tensor, quantiles: tl.tensor, numbers: tl.tensor, inside: tl.tensor) -> tl.tensor:
    z = tl.load(quantiles + tl.load(word, mask=inside, other=0))
    return z * tl.load(numbers + 1) + tl.load(numbers)


@code
def _composed(
    images: tl.tensor, snow: tl.tensor, out: tl.tensor, size: int, channels: int, tiles: int,
    of_image: float, of_white: float, RED: tl.constexpr, GREEN: tl.constexpr, BLUE: tl.constexpr,
    EDGE: tl.constexpr, BLOCK: tl.constexpr,
) -> None:  # fmt: skip
    """One image under its snow, which read backwards is turned by 180 degrees."""
    program = tl.program_id(0)
    n = (program // tiles).to(tl.int64)
    at = program % tiles * BLOCK + tl.arange(0, BLOCK)
    inside = at < size
    there = tl.load(snow + n * size + at, mask=inside, other=0).to(tl.float32)
    back = tl.load(snow + n * size + (size - 1 - at), mask=inside, other=0).to(tl.float32)
    fallen = there + back + EDGE
    pixels = images + n * channels * size + at
    grey = tl.load(pixels, mask=inside, other=0).to(tl.float32)
    if channels == 3:
        green = tl.load(pixels + size, mask=inside, other=0).to(tl.float32)
        blue = tl.load(pixels + 2 * size, mask=inside, other=0).to(tl.float32)
        grey = grey * RED + green * GREEN + blue * BLUE
    grey = grey * 1.5 + 127.5
    for c in range(channels):
        value = tl.load(pixels + c * size, mask=inside, other=0).to(tl.float32)
        white = tl.maximum(value, grey)
        total = tl.minimum(value * of_image + white * of_white + fallen, 255.0)
        tl.store(out + (n * channels + c) * size + at, total.to(tl.uint8), mask=inside)
