"""Snow: a layer of flakes, drawn out to streaks, over a whitened image; and the same layer turned by 180 degrees.

Flakes are what a threshold leaves of enlarged noise. Up to that threshold everything is float64: a pixel on
its other side makes another flake. The streaks are motion blur (`motion`): ImageMagick's for the published
profiles, on a layer of bytes cut to the image, and the package's for any-size, whose layer is cut afterwards.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from robustbench_ms.corruptions import keyed
from robustbench_ms.corruptions.corruption import Corruption, Setting, Shape, Words
from robustbench_ms.corruptions.cpu.compile import compiled, spread
from robustbench_ms.corruptions.cpu.fields import fill, narrow
from robustbench_ms.corruptions.cpu.smoothing import add_taps
from robustbench_ms.corruptions.cpu.words import unsigned

from .gaussian_blur import EDGE
from .motion import taps

__all__ = ["SNOW", "angle", "by_loops", "by_loops_from_keys", "by_torch", "draw"]

Array = np.ndarray[Any, np.dtype[Any]]

_BLOCK = 2048
"""Values of the rows that a step takes at a time: they stay in the first cache."""

_RED, _GREEN, _BLUE = np.float32(0.299), np.float32(0.587), np.float32(0.114)


class _Axis(NamedTuple):
    """How one axis of the layer is enlarged: value i is from[first] * near + from[second] * far."""

    drawn: int
    """Values that are drawn."""
    first: Array
    second: Array
    near: Array
    far: Array


@lru_cache(maxsize=64)
def _axis(size: int, factor: float, *, package: bool) -> _Axis:
    """scipy.ndimage.zoom of the middle ceil(size / factor) values, order 1; cut to `size` unless `package`."""
    drawn = math.ceil(size / factor)
    enlarged = round(drawn * factor)
    step = (drawn - 1) / (enlarged - 1) if enlarged > 1 else 1.0
    cut = slice(None) if package else slice((enlarged - size) // 2, (enlarged - size) // 2 + size)
    at = (np.arange(enlarged) * step)[cut]
    first = np.floor(at).astype(np.int64)
    far = at - first
    inside = at <= drawn - 1  # SciPy takes what rounding puts beyond the last value as 0
    first = np.minimum(first, drawn - 1)
    second = np.minimum(first + 1, drawn - 1)
    # Indices without a sign: compiled code need not test for one.
    return _Axis(drawn, first.astype(np.uint32), second.astype(np.uint32), (1 - far) * inside, far * inside)


def _axes(setting: Setting, height: int, width: int) -> tuple[_Axis, _Axis]:
    factor, package = setting.parameters[2], setting.profile == "any-size"
    return _axis(height, factor, package=package), _axis(width, factor, package=package)


def draw(keys: Tensor, shape: Shape, setting: Setting, words: Words) -> Tensor:
    """16-bit words: int32 (N, 4 + h * w).

    Words 0 and 1 are the low and high half of the angle's 32 bits, 2 and 3 are not used. The rest are standard
    normals' quantiles (word + 1/2) / 65536 of the part of the layer that is enlarged, row by row: its middle
    h = ceil(H / zoom) rows and w = ceil(W / zoom) columns.
    """
    rows, columns = _axes(setting, *shape[2:])
    return words(keys, 4 + rows.drawn * columns.drawn)


def angle(words: Tensor) -> Tensor:
    """The streaks' angle in degrees, uniform in -135..-45: float64 (N,)."""
    return keyed.uniform(words[:, 0] | words[:, 1].to(torch.int64) << 16, 32, -135.0, -45.0)


def _streaks(words: Tensor, setting: Setting, rows: _Axis, columns: _Axis) -> tuple[Tensor, Tensor, Tensor]:
    radius, sigma = setting.parameters[4:6]
    limits = (len(rows.first), len(columns.first)) if setting.profile == "any-size" else None
    # On the CPU in pieces too small for torch to wake its threads, which would then spin beside those of `spread`.
    size = 64 if words.device.type == "cpu" else len(words)
    lines = [taps(piece, radius, sigma, limits) for piece in torch.split(angle(words), size)]
    downs, rights, weights = (torch.cat(tables) for tables in zip(*lines, strict=True))
    return downs, rights, weights


def by_torch(images: Tensor, words: Tensor | None, setting: Setting) -> Tensor:
    """Let it snow.

    `images` uint8 (N, C, H, W); `words` as `draw` gives them; `setting.parameters` mean and sigma of the noise, its
    enlargement, the threshold, radius and sigma of the streaks (pixels) and the weight of the image against
    its whitened self.
    """
    assert words is not None
    mean, sigma, _, threshold, _, _, mix = map(float, setting.parameters)
    count, channels, height, width = images.shape
    package = setting.profile == "any-size"
    rows, columns = _axes(setting, height, width)
    device = images.device
    quantiles = torch.from_numpy(keyed.normal_quantiles().copy()).to(device)
    layer = (quantiles[words[:, 4:]] * sigma + mean).view(count, rows.drawn, columns.drawn)
    for dim, axis in ((1, rows), (2, columns)):
        first, second = (torch.from_numpy(table.astype(np.int64)).to(device) for table in axis[1:3])
        near, far = (torch.from_numpy(table).to(device) for table in axis[3:])
        if dim == 1:
            near, far = near[:, None], far[:, None]
        layer = layer.index_select(dim, first) * near + layer.index_select(dim, second) * far
    layer = torch.where(layer < threshold, 0.0, layer).clamp_(max=1) * 255
    flakes = layer.to(torch.float32) if package else layer.floor().to(torch.float32)

    downs, rights, weights = _streaks(words, setting, rows, columns)
    tall, wide = flakes.shape[1:]
    y, x = torch.arange(height, device=device), torch.arange(width, device=device)
    total = torch.zeros((count, height * width), dtype=torch.float32, device=device)
    for i in range(downs.shape[1]):
        at_y = (y + downs[:, i, None]).clamp(0, tall - 1)
        at_x = (x + rights[:, i, None]).clamp(0, wide - 1)
        at = (at_y[:, :, None] * wide + at_x[:, None, :]).flatten(1)
        total += flakes.flatten(1).gather(1, at) * weights[:, i, None]
    if package:
        snow = total.round()
    else:
        quanta = (total * 257 + 0.5).to(torch.int32) + 128
        snow = ((quanta - (quanta >> 8)) >> 8).to(torch.float32)
    snow = snow + snow.flip(1)
    snow = snow.view(count, 1, height, width)

    pixels = images.to(torch.float32)
    grey = pixels
    if channels == 3:
        grey = pixels[:, :1] * float(_RED) + pixels[:, 1:2] * float(_GREEN) + pixels[:, 2:] * float(_BLUE)
    white = torch.maximum(pixels, grey * 1.5 + 127.5)
    total = pixels * mix + white * (1 - mix) + (snow + EDGE)
    return total.clamp_(max=255).to(torch.uint8)


@compiled
def _flakes(
    words: Any, quantiles: Any, mean: Any, sigma: Any, threshold: Any, drawn: Any,
    tops: Any, bottoms: Any, tops_weight: Any, bottoms_weight: Any,
    lefts: Any, rights: Any, lefts_weight: Any, rights_weight: Any, package: Any, out: Any,
) -> Any:  # fmt: skip
    """The enlarged layer after its threshold, float32 (h, w) in 0..255."""
    field = np.empty((words.size // drawn, drawn), np.float64)
    flat = field.ravel()
    for i in range(words.size):
        w = np.int32(words[i]) - np.int32(32768)
        z = quantiles[w] if w >= 0 else -quantiles[~w]
        flat[i] = z * sigma + mean
    line = np.empty(drawn, np.float64)
    for y in range(tops.size):
        top, bottom, near, far = tops[y], bottoms[y], tops_weight[y], bottoms_weight[y]
        for x in range(drawn):
            line[x] = field[top, x] * near + field[bottom, x] * far
        if package:
            for x in range(lefts.size):
                value = line[lefts[x]] * lefts_weight[x] + line[rights[x]] * rights_weight[x]
                out[y, x] = np.float32(0.0 if value < threshold else min(value, 1.0) * 255)
        else:
            for x in range(lefts.size):
                value = line[lefts[x]] * lefts_weight[x] + line[rights[x]] * rights_weight[x]
                out[y, x] = np.float32(0.0 if value < threshold else np.floor(min(value, 1.0) * 255))


@compiled
def _streaked(flakes: Any, downs: Any, rights: Any, weights: Any, package: Any, out: Any) -> Any:
    """Motion blur of the flakes (h, w), cut to `out`, uint8 (H, W)."""
    tall, wide = flakes.shape
    height, width = out.shape
    used = np.flatnonzero(weights)
    down, right, weight = downs[used], rights[used], weights[used]
    top, left = max(0, -down.min()), max(0, -right.min())
    step = width + left + max(0, right.max())
    padded = np.empty((height + top + max(0, down.max()), step), np.float32)
    for y in range(padded.shape[0]):
        line, to = flakes[min(max(y - top, 0), tall - 1)], padded[y]
        stop = min(wide, step - left)
        to[:left] = line[0]
        to[left : left + stop] = line[:stop]
        to[left + stop :] = line[wide - 1]
    rows = max(1, min(height, _BLOCK // width))
    total, snow = np.empty(rows * step, np.float32), np.empty(rows * step, np.uint8)
    for y in range(0, height, rows):
        many = min(rows, height - y)
        count = (many - 1) * step + width
        add_taps(total, padded.ravel(), (y + top) * step + left, down * step + right, weight, count)
        if package:
            for i in range(count):
                snow[i] = np.uint8(np.int32(np.rint(total[i])))
        else:
            for i in range(count):
                quanta = np.int32(total[i] * np.float32(257) + np.float32(0.5)) + 128
                snow[i] = np.uint8((quanta - (quanta >> 8)) >> 8)
        for k in range(many):
            out[y + k] = snow[k * step : k * step + width]


@compiled
def _composed(image: Any, snow: Any, mix: Any, out: Any) -> None:
    """One image (C, H * W) under its snow (H * W), which read backwards is turned by 180 degrees."""
    channels, size = image.shape
    of_image, of_white = np.float32(mix), np.float32(1 - mix)
    edge, most = np.float32(EDGE), np.float32(255)
    gain, lift = np.float32(1.5), np.float32(127.5)
    fallen, white = np.empty(_BLOCK, np.float32), np.empty(_BLOCK, np.float32)
    for begin in range(0, size, _BLOCK):
        count = min(_BLOCK, size - begin)
        end = begin + count
        there, back = snow[begin:end], snow[size - end : size - begin]
        last = np.uint64(
            count - 1
        )  # an index without a sign is not tested for one, which keeps the loop vector code
        for i in range(count):
            fallen[i] = np.float32(np.int32(there[i]) + np.int32(back[last - np.uint64(i)])) + edge
        red, green, blue = (
            image[0, begin:end],
            image[channels // 2, begin:end],
            image[channels - 1, begin:end],
        )
        if channels == 1:
            for i in range(count):
                white[i] = np.float32(red[i]) * gain + lift
        else:
            for i in range(count):
                grey = np.float32(red[i]) * _RED + np.float32(green[i]) * _GREEN + np.float32(blue[i]) * _BLUE
                white[i] = grey * gain + lift
        for c in range(channels):
            line, to = image[c, begin:end], out[c, begin:end]
            for i in range(count):
                x = np.float32(line[i])
                value = x * of_image + max(x, white[i]) * of_white + fallen[i]
                to[i] = np.uint8(np.int32(min(value, most)))


@compiled
def _snowed(
    start: Any, stop: Any, images: Any, out: Any, words: Any, keys: Any,
    downs: Any, rights: Any, weights: Any, quantiles: Any, mean: Any, sigma: Any, threshold: Any, mix: Any,
    package: Any, drawn_rows: Any, tops: Any, bottoms: Any, tops_weight: Any, bottoms_weight: Any,
    drawn: Any, lefts: Any, rights_: Any, lefts_weight: Any, rights_weight: Any,
) -> Any:  # fmt: skip
    channels, height, width = images.shape[1:]
    count = drawn_rows * drawn
    flakes = np.empty((tops.size, lefts.size), np.float32)
    snow = np.empty((height, width), np.uint8)
    buffer = np.empty((4 + count + 3) // 4, np.uint64)
    seen = buffer.view(np.uint16)
    for n in range(start, stop):
        if keys.size:
            fill(keys[n], buffer)
        else:
            seen[: words.shape[1]] = words[n]
        _flakes(
            seen[4 : 4 + count], quantiles, mean, sigma, threshold, drawn,
            tops, bottoms, tops_weight, bottoms_weight,
            lefts, rights_, lefts_weight, rights_weight, package, flakes,
        )  # fmt: skip
        _streaked(flakes, downs[n], rights[n], weights[n], package, snow)
        _composed(images[n].reshape(channels, -1), snow.ravel(), mix, out[n].reshape(channels, -1))


def _run(images: Tensor, words: Tensor | None, keys: Tensor, setting: Setting) -> Tensor:
    mean, sigma, _, threshold, _, _, mix = setting.parameters
    count, _, height, width = images.shape
    package = setting.profile == "any-size"
    rows, columns = _axes(setting, height, width)
    first = keyed.words(keys, 4) if words is None else words
    downs, rights, weights = (table.numpy() for table in _streaks(first, setting, rows, columns))
    out = torch.empty_like(images)
    fields = np.empty((0, 0), np.uint16) if words is None else narrow(words)
    spread(
        _snowed, count, images.numpy(), out.numpy(), fields, unsigned(keys),
        downs, rights, weights, keyed.normal_quantiles()[32768:],
        float(mean), float(sigma), float(threshold), float(mix), package, *rows, *columns,
        grain=1 + 20_000 // (height * width),
    )  # fmt: skip
    return out


def by_loops(images: Tensor, words: Tensor | None, setting: Setting) -> Tensor:
    assert words is not None
    return _run(images, words, torch.empty(0, dtype=torch.int64), setting)


def by_loops_from_keys(images: Tensor, keys: Tensor, setting: Setting) -> Tensor:
    return _run(images, None, keys, setting)


SNOW = Corruption(by_torch, draw, by_loops, by_loops_from_keys)
