"""Spatter: drops of water or splashes of mud on the lens.

Smoothed noise above a threshold is where liquid lies. Everything before the thresholds is float64 in SciPy's order
of additions, for a pixel that falls on the other side of one changes by many grey levels. The water's relief
(edges, distance to them, equalised, embossed) is OpenCV's and is computed on the CPU for CUDA images too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustbench_ms.corruptions import keyed
from robustbench_ms.corruptions.corruption import Corruption, Setting, Shape, Words
from robustbench_ms.corruptions.cpu.compile import compiled, spread
from robustbench_ms.corruptions.cpu.fields import fill, narrow
from robustbench_ms.corruptions.cpu.smoothing import convolve, grouped
from robustbench_ms.corruptions.cpu.words import unsigned

from .gaussian_blur import EDGE, _pass, gaussian_weights

__all__ = ["MUD_FROM", "SPATTER", "by_loops", "by_loops_from_keys", "by_torch", "colour_of", "draw", "water"]

Array = np.ndarray[Any, np.dtype[Any]]

_WATER = (175.0, 238.0, 238.0)
_MUD = (63.0, 42.0, 20.0)
_EMBOSS = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]], dtype=np.float32)
MUD_FROM = 0.8
"""Below this amount the mud's edge is cut off."""


def draw(keys: Tensor, shape: Shape, setting: Setting, words: Words) -> Tensor:
    """One 16-bit word a pixel, for the standard normal's quantile (word + 1/2) / 65536: int32 (N, H * W)."""
    del setting
    return words(keys, shape[2] * shape[3])


def colour_of(mud: float, channels: int) -> Array:
    """Red, green, blue; for a grey image their luminance."""
    colour = np.array(_MUD if mud else _WATER)
    return (colour if channels == 3 else colour @ [[0.299], [0.587], [0.114]]).astype(np.float32)


def _smooth(field: Tensor, sigma: float) -> Tensor:
    """float64 (N, H, W) -> the same, as scipy.ndimage.gaussian_filter has it (nearest, truncate 4)."""
    weights = gaussian_weights(sigma)
    return _pass(_pass(field[:, None], weights, 2), weights, 3)[:, 0]


def _relief(liquid: Array) -> Array:
    """Where the liquid shows: uint8 (H, W) -> uint8 (H, W), by OpenCV."""
    import cv2

    distance = cv2.distanceTransform(255 - cv2.Canny(liquid, 50, 150), cv2.DIST_L2, 5)
    distance = cv2.blur(np.minimum(distance, np.float32(20)), (3, 3)).astype(np.uint8)
    relief = cv2.filter2D(cv2.equalizeHist(distance), cv2.CV_8U, _EMBOSS)
    return np.asarray(cv2.blur(relief, (3, 3)))


def by_torch(images: Tensor, words: Tensor | None, setting: Setting) -> Tensor:
    """Splash water (severities 1 to 3) or mud (4 and 5) onto the images.

    `images` uint8 (N, C, H, W); `words` as `draw` gives them; `setting.parameters` mean and sigma of the noise,
    sigma of its blur (pixels), threshold, strength (mud: sigma of the edge's blur), whether it is mud. A grey
    channel takes the liquid's luminance. Where no water lies on any pixel, the image stays as it is.
    """
    assert words is not None
    mean, sigma, smooth, threshold, strength, mud = setting.parameters
    count, channels, height, width = images.shape
    quantiles = torch.from_numpy(keyed.normal_quantiles().copy()).to(images.device)
    layer = _smooth((quantiles[words] * sigma + mean).view(count, height, width), smooth)
    if not mud:
        return water(images, layer, setting)
    colour = torch.from_numpy(colour_of(mud, channels)).to(images.device)[:, None, None]
    amount = _smooth((layer > threshold).to(torch.float64), strength)
    amount = torch.where(amount < MUD_FROM, 0.0, amount).to(torch.float32)[:, None]
    return (images.to(torch.float32) * (1 - amount) + amount * colour + EDGE).clamp_(max=255).to(torch.uint8)


def water(images: Tensor, layer: Tensor, setting: Setting) -> Tensor:
    """What `by_torch` does with water's layer, float64 (N, H, W): its relief is the CPU's, an image a thread."""
    *_, threshold, strength, mud = setting.parameters
    liquid = (torch.where(layer < threshold, 0.0, layer) * 255).to(torch.int32).to(torch.uint8)
    flat = liquid.cpu().numpy()
    reliefs = np.empty_like(flat)

    def some(start: int, stop: int) -> None:
        for n in range(start, stop):
            reliefs[n] = _relief(flat[n])

    spread(some, len(flat), grain=1 + 10_000 // flat[0].size)
    product = liquid.to(torch.int32) * torch.from_numpy(reliefs).to(images.device)
    # The sources divide by the maximum unseen: where nothing splashes, 0 / 0 blackens their image.
    most = product.amax(dim=(1, 2), keepdim=True).clamp(min=1).to(torch.float32)
    amount = (product.to(torch.float32) * (torch.full_like(most, strength) / most))[:, None]
    colour = torch.from_numpy(colour_of(mud, images.shape[1])).to(images.device)[:, None, None]
    return (images.to(torch.float32) + amount * colour + EDGE).clamp_(max=255).to(torch.uint8)


@compiled
def _blurred(tall: Any, height: Any, width: Any, weights: Any, out: Any) -> Any:
    """Both passes; the field stands in the middle rows of `tall`, whose repeated edges are filled in here."""
    radius = len(weights) - 1
    for j in range(radius):
        tall[j * width : (j + 1) * width] = tall[radius * width : (radius + 1) * width]
        low = (radius + height + j) * width
        tall[low : low + width] = tall[(radius + height - 1) * width : (radius + height) * width]
    rows = max(1, min(height, 1024 // width))
    step = width + 2 * radius
    narrowed = np.empty(rows * width, np.float64)
    wide, total = np.empty(rows * step, np.float64), np.empty(rows * step, np.float64)
    for y in range(0, height, rows):
        count = min(rows, height - y)
        convolve(narrowed, tall, (y + radius) * width, width, weights, count * width)
        for k in range(count):
            row, line = narrowed[k * width : (k + 1) * width], wide[k * step : (k + 1) * step]
            line[:radius] = row[0]
            line[radius : radius + width] = row
            line[radius + width :] = row[width - 1]
        convolve(total, wide, radius, 1, weights, count * step - 2 * radius)
        for k in range(count):
            out[y + k] = total[k * step : k * step + width]


@compiled
def _layer(words: Any, quantiles: Any, mean: Any, sigma: Any, weights: Any, out: Any) -> Any:
    """The smoothed noise of one image into `out`, float64 (H, W); `quantiles` are those above the median."""
    height, width = out.shape
    radius = len(weights) - 1
    tall = np.empty((height + 2 * radius) * width, np.float64)
    middle = tall[radius * width : (radius + height) * width]
    for i in range(middle.size):
        w = np.int32(words[i]) - np.int32(32768)
        z = quantiles[w] if w >= 0 else -quantiles[~w]
        middle[i] = z * sigma + mean
    _blurred(tall, height, width, weights, out)


@compiled
def _mud(
    image: Any, out: Any, words: Any, quantiles: Any, mean: Any, sigma: Any, weights: Any, threshold: Any,
    edge_weights: Any, colour: Any,
) -> Any:  # fmt: skip
    channels, height, width = image.shape
    layer = np.empty((height, width), np.float64)
    _layer(words, quantiles, mean, sigma, weights, layer)
    radius = len(edge_weights) - 1
    tall = np.empty((height + 2 * radius, width), np.float64)
    for y in range(height):
        for x in range(width):
            tall[radius + y, x] = 1.0 if layer[y, x] > threshold else 0.0
    _blurred(tall.ravel(), height, width, edge_weights, layer)
    one, edge = np.float32(1), np.float32(EDGE)
    for channel in range(channels):
        shade = colour[channel]
        for y in range(height):
            for x in range(width):
                amount = layer[y, x]
                amount32 = np.float32(0) if amount < MUD_FROM else np.float32(amount)
                value = np.float32(image[channel, y, x]) * (one - amount32) + amount32 * shade + edge
                out[channel, y, x] = np.uint8(np.int32(min(value, np.float32(255))))


@compiled
def _liquid(words: Any, quantiles: Any, mean: Any, sigma: Any, weights: Any, threshold: Any, out: Any) -> Any:
    """The water's layer in bytes, uint8 (H, W)."""
    layer = np.empty(out.shape, np.float64)
    _layer(words, quantiles, mean, sigma, weights, layer)
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            value = layer[y, x]
            out[y, x] = np.uint8(np.int32(0.0 if value < threshold else value * 255))


@compiled
def _water(image: Any, out: Any, liquid: Any, relief: Any, strength: Any, colour: Any) -> Any:
    channels, height, width = image.shape
    most = np.int32(1)
    for y in range(height):
        for x in range(width):
            most = max(most, np.int32(liquid[y, x]) * np.int32(relief[y, x]))
    scale, edge = np.float32(strength) / np.float32(most), np.float32(EDGE)
    for channel in range(channels):
        shade = colour[channel]
        for y in range(height):
            for x in range(width):
                amount = np.float32(np.int32(liquid[y, x]) * np.int32(relief[y, x])) * scale
                value = np.float32(image[channel, y, x]) + amount * shade + edge
                out[channel, y, x] = np.uint8(np.int32(min(value, np.float32(255))))


def _run(images: Tensor, words: Array | None, keys: Array | None, setting: Setting) -> Tensor:
    mean, sigma, smooth, threshold, strength, mud = setting.parameters
    count, channels, height, width = images.shape
    out = torch.empty_like(images)
    weights, colour = grouped(gaussian_weights(smooth)), colour_of(mud, channels)
    quantiles = keyed.normal_quantiles()[32768:]
    x, y = images.numpy(), out.numpy()

    def some(start: int, stop: int) -> None:
        buffer = np.empty(-(-height * width // 4), np.uint64)
        liquid = np.empty((height, width), np.uint8)
        for n in range(start, stop):
            if words is None:
                assert keys is not None
                fill(keys[n], buffer)
                field = buffer.view(np.uint16)
            else:
                field = words[n]
            if mud:
                edges = grouped(gaussian_weights(strength))
                _mud(x[n], y[n], field, quantiles, mean, sigma, weights, threshold, edges, colour)
            else:
                _liquid(field, quantiles, mean, sigma, weights, threshold, liquid)
                _water(x[n], y[n], liquid, _relief(liquid), strength, colour)

    spread(some, count, grain=1 + 10_000 // (height * width))
    return out


def by_loops(images: Tensor, words: Tensor | None, setting: Setting) -> Tensor:
    assert words is not None
    return _run(images, narrow(words), None, setting)


def by_loops_from_keys(images: Tensor, keys: Tensor, setting: Setting) -> Tensor:
    return _run(images, None, unsigned(keys), setting)


SPATTER = Corruption(by_torch, draw, by_loops, by_loops_from_keys)
