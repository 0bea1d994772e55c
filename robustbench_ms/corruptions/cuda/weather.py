"""Weather on CUDA: what `snow`, `frost`, `fog` and `spatter` define."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import triton.language as tl
from torch import Tensor

from robustbench_ms.corruptions import keyed
from robustbench_ms.corruptions.corruption import Setting
from robustbench_ms.corruptions.defined import fog as clouds
from robustbench_ms.corruptions.defined import frost as ices
from robustbench_ms.corruptions.defined import spatter as drops
from robustbench_ms.corruptions.defined.gaussian_blur import EDGE
from robustbench_ms.corruptions.defined.snow import _BLUE, _GREEN, _RED, _axes, _axis, _streaks

from .blur import move
from .gaussian import smooth
from .launch import BLOCK, code, launch, numbers
from .tiles import programs, tile

__all__ = ["fog", "frost", "snow", "spatter"]


# Snow: the flakes from their words, the streaks by `move`, and both under the image.


@lru_cache(maxsize=8)
def _quantiles(device: torch.device) -> Tensor:
    return torch.from_numpy(keyed.normal_quantiles().copy()).to(device)


@lru_cache(maxsize=64)
def _tables(size: int, factor: float, package: bool, device: torch.device) -> tuple[int, int, list[Tensor]]:
    """(values that are drawn, values they become, the tables of snow's `_Axis`)."""
    axis = _axis(size, factor, package=package)
    tables = (axis.first.view(np.int32), axis.second.view(np.int32), axis.near, axis.far)
    return axis.drawn, len(axis.first), [torch.from_numpy(table).to(device) for table in tables]


def snow(images: Tensor, words: Tensor | None, setting: Setting) -> Tensor:
    """`snow.by_torch` on CUDA."""
    assert words is not None
    mean, sigma, factor, threshold, _, _, mix = map(float, setting.parameters)
    count, channels, height, width = images.shape
    package = setting.profile == "any-size"
    _, tall, down = _tables(height, factor, package, images.device)
    drawn, wide, across = _tables(width, factor, package, images.device)
    flakes = images.new_empty((count, 1, tall, wide), dtype=torch.float32 if package else torch.uint8)
    launch(
        _flakes, programs(count, tall * wide), words, _quantiles(images.device),
        numbers(images.device, mean, sigma, threshold),
        *down, *across, flakes, words.shape[1], drawn, tall, wide, PACKAGE=package, BLOCK=BLOCK,
    )  # fmt: skip
    lines = _streaks(words, setting, *_axes(setting, height, width))
    fallen = move(flakes, lines, (height, width), "rounded" if package else "quantum")
    out = torch.empty_like(images)
    shares = {"RED": float(_RED), "GREEN": float(_GREEN), "BLUE": float(_BLUE), "EDGE": EDGE}
    sizes = (height * width, channels, mix, 1 - mix)
    launch(_composed, programs(count, height * width), images, fallen, out, *sizes, **shares, BLOCK=BLOCK)
    return out


@code
def _flakes(
    words: tl.tensor, quantiles: tl.tensor, numbers: tl.tensor,
    tops: tl.tensor, bottoms: tl.tensor, tops_weight: tl.tensor, bottoms_weight: tl.tensor,
    lefts: tl.tensor, rights: tl.tensor, lefts_weight: tl.tensor, rights_weight: tl.tensor, out: tl.tensor,
    length: int, drawn: int, height: int, width: int, PACKAGE: tl.constexpr, BLOCK: tl.constexpr,
) -> None:  # fmt: skip
    """The enlarged layer after its threshold, 0..255."""
    n, at, inside = tile(height * width, BLOCK)
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
    images: tl.tensor, snow: tl.tensor, out: tl.tensor, size: int, channels: int,
    of_image: float, of_white: float, RED: tl.constexpr, GREEN: tl.constexpr, BLUE: tl.constexpr,
    EDGE: tl.constexpr, BLOCK: tl.constexpr,
) -> None:  # fmt: skip
    """One image under its snow, which read backwards is turned by 180 degrees."""
    n, at, inside = tile(size, BLOCK)
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


# Spatter: noise blurred; of mud, what lies above a threshold blurred again, and the colour over the image.


@lru_cache(maxsize=8)
def _noise(mean: float, sigma: float, device: torch.device) -> Tensor:
    return _quantiles(device) * sigma + mean


@lru_cache(maxsize=8)
def _mud_on(channels: int, device: torch.device) -> Tensor:
    return torch.from_numpy(drops.colour_of(True, channels)).to(device)


def spatter(images: Tensor, words: Tensor | None, setting: Setting) -> Tensor:
    """`spatter.by_torch` on CUDA."""
    assert words is not None
    mean, sigma, blur, threshold, edge, mud = setting.parameters
    count, channels, height, width = images.shape
    layer = smooth(words.view(count, 1, height, width), blur, _noise(mean, sigma, images.device))
    if not mud:
        return drops.water(images, layer[:, 0], setting)
    amounts = smooth((layer > threshold).view(torch.uint8), edge)
    out = torch.empty_like(images)
    launch(
        _muddied, programs(count, height * width), images, amounts, numbers(images.device, drops.MUD_FROM),
        _mud_on(channels, images.device), out, height * width, channels, EDGE=EDGE, BLOCK=BLOCK,
    )  # fmt: skip
    return out


@code
def _muddied(
    images: tl.tensor, amounts: tl.tensor, least: tl.tensor, colour: tl.tensor, out: tl.tensor,
    size: int, channels: int, EDGE: tl.constexpr, BLOCK: tl.constexpr,
) -> None:  # fmt: skip
    n, at, inside = tile(size, BLOCK)
    amount = tl.load(amounts + n * size + at, mask=inside, other=0)
    amount = tl.where(amount < tl.load(least), 0.0, amount).to(tl.float32)
    for c in range(channels):
        here = (n * channels + c) * size + at
        value = tl.load(images + here, mask=inside, other=0).to(tl.float32)
        value = value * (1 - amount) + amount * tl.load(colour + c) + EDGE
        tl.store(out + here, tl.minimum(value, 255.0).to(tl.uint8), mask=inside)


# Frost: the crop is read where it lies in its photograph.


def frost(images: Tensor, words: Tensor | None, setting: Setting) -> Tensor:
    """`frost.by_torch` on CUDA."""
    assert words is not None
    count, channels, height, width = images.shape
    planes, first, stride = ices.crops(words, channels, setting, height, width)
    weights = numbers(images.device, *map(float, setting.parameters))
    out = torch.empty_like(images)
    sizes = (planes.shape[1], channels, height, width)
    where = (planes, first, stride.contiguous())
    launch(_frosted, programs(count, height * width), images, *where, weights, out, *sizes, BLOCK=BLOCK)
    return out


@code
def _frosted(
    images: tl.tensor, planes: tl.tensor, first: tl.tensor, stride: tl.tensor, weights: tl.tensor, out: tl.tensor,
    length: int, channels: int, height: int, width: int, BLOCK: tl.constexpr,
) -> None:  # fmt: skip
    n, at, inside = tile(height * width, BLOCK)
    ice = planes + tl.load(first + n) + at // width * tl.load(stride + n) + at % width
    for c in range(channels):
        here = (n * channels + c) * height * width + at
        value = tl.load(images + here, mask=inside, other=0).to(tl.float64) * tl.load(weights)
        value += tl.load(ice + c * length, mask=inside, other=0).to(tl.float64) * tl.load(weights + 1)
        tl.store(out + here, tl.minimum(value, 255.0).to(tl.uint8), mask=inside)


# Fog: one launch a level, from n x n corners to twice as many each way; middles that two gaps share are made twice.


def fog(images: Tensor, words: Tensor | None, setting: Setting) -> Tensor:
    """`fog.by_torch` on CUDA."""
    assert words is not None
    strength, decay = map(float, setting.parameters)
    count, channels, height, width = images.shape
    side = clouds.map_side(setting.profile, height, width)
    heights = images.new_zeros((count, 1, 1), dtype=torch.float32)
    for n, scale in clouds.levels(side, decay):
        finer = heights.new_empty((count, 2 * n, 2 * n))
        launch(_refined, programs(count, n * n), heights, words, finer, n, side * side, scale, BLOCK=BLOCK)
        heights = finer
    out = torch.empty_like(images)
    light = clouds.light(images, heights, strength)
    sizes = (side, channels, height, width)
    launch(_fogged, programs(count, height * width), images, heights, *light, out, *sizes, BLOCK=BLOCK)
    return out


@code
def _wobble(word: tl.tensor, scale: float, inside: tl.tensor) -> tl.tensor:
    return (2 * tl.load(word, mask=inside, other=0) - 65535).to(tl.float32) * scale


@code
def _middle(
    c: tl.tensor, noise: tl.tensor, y: tl.tensor, x: tl.tensor, n: int, scale: float, inside: tl.tensor
) -> tl.tensor:
    low = (y + 1) % n * n
    right = (x + 1) % n
    left = tl.load(c + y * n + x, mask=inside, other=0) + tl.load(c + low + x, mask=inside, other=0)
    other = tl.load(c + y * n + right, mask=inside, other=0) + tl.load(c + low + right, mask=inside, other=0)
    return (left + other) * 0.25 + _wobble(noise + y * n + x, scale, inside)


@code
def _refined(
    corners: tl.tensor, words: tl.tensor, out: tl.tensor,
    n: int, length: int, scale: float, BLOCK: tl.constexpr,
) -> None:  # fmt: skip
    size = n * n
    image, at, inside = tile(size, BLOCK)
    y = at // n
    x = at % n
    c = corners + image * size
    noise = words + image * length + size
    d = _middle(c, noise, y, x, n, scale, inside)
    here = tl.load(c + at, mask=inside, other=0)
    right = tl.load(c + y * n + (x + 1) % n, mask=inside, other=0)
    below = tl.load(c + (y + 1) % n * n + x, mask=inside, other=0)
    r = (d + _middle(c, noise, (y + n - 1) % n, x, n, scale, inside) + (here + right)) * 0.25
    r += _wobble(noise + size + at, scale, inside)
    t = (d + _middle(c, noise, y, (x + n - 1) % n, n, scale, inside) + (here + below)) * 0.25
    t += _wobble(noise + 2 * size + at, scale, inside)
    to = out + image * 4 * size + 4 * n * y + 2 * x
    tl.store(to, here, mask=inside)
    tl.store(to + 1, r, mask=inside)
    tl.store(to + 2 * n, t, mask=inside)
    tl.store(to + 2 * n + 1, d, mask=inside)


@code
def _fogged(
    images: tl.tensor, heights: tl.tensor, low: tl.tensor, scale: tl.tensor, dim: tl.tensor, out: tl.tensor,
    side: int, channels: int, height: int, width: int, BLOCK: tl.constexpr,
) -> None:  # fmt: skip
    n, at, inside = tile(height * width, BLOCK)
    cloud = tl.load(heights + n * side * side + at // width * side + at % width, mask=inside, other=0)
    cloud = (cloud - tl.load(low + n)) * tl.load(scale + n)
    for c in range(channels):
        here = (n * channels + c) * height * width + at
        value = tl.load(images + here, mask=inside, other=0).to(tl.float32)
        tl.store(out + here, ((value + cloud) * tl.load(dim + n)).to(tl.uint8), mask=inside)
