"""JPEG compression without the file: what libjpeg's quantisation leaves of an image, byte for byte.

Entropy coding loses nothing, so only the lossy steps are done: RGB to YCbCr, 2 x 2 chroma averaging (4:2:0),
the "slow integer" forward transform, quantisation, and the way back with triangle ("fancy") upsampling. All
of it is libjpeg's 32-bit integer arithmetic (ITU-T T.81; IJG jfdctint, jidctint, jcsample, jdsample), so the
bytes equal Pillow's on every device.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from robustbench_ms.corruptions.corruption import Corruption, Setting
from robustbench_ms.corruptions.cpu.compile import compiled, spread
from robustbench_ms.corruptions.cpu.dct import transform_blocks, transforms

__all__ = ["JPEG", "by_loops", "by_torch"]

# Annex K of ITU-T T.81: luminance and chrominance, by rows.
_LUMINANCE = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
_CHROMINANCE = (
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99,
    24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99,
    *([99] * 32),
)  # fmt: skip


@lru_cache(maxsize=128)
def _steps(quality: int) -> np.ndarray[Any, np.dtype[np.int32]]:
    """The quantisation steps of luminance and chrominance at a quality of 1..100: int32 (2, 8, 8)."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    base = np.array([_LUMINANCE, _CHROMINANCE], dtype=np.int64).reshape(2, 8, 8)
    return np.clip((base * scale + 50) // 100, 1, 255).astype(np.int32)


_forward, _inverse = transforms(lambda x: x)


def _coded(plane: Tensor, steps: Tensor) -> Tensor:
    """A plane (N, h, w) of whole blocks, int32 in 0..255, through transform and quantisation and back."""
    count, height, width = plane.shape
    blocks = plane.view(count, height // 8, 8, width // 8, 8) - 128
    rows = torch.stack(_forward(*blocks.unbind(4), 2, 0, 11), dim=4)
    coefficients = torch.stack(_forward(*rows.unbind(2), 0, 2, 15), dim=2)
    step = (steps * 8)[:, None, :]  # the transform is 8 times the orthonormal one
    rounded = torch.div(coefficients.abs() + step // 2, step, rounding_mode="floor")
    values = torch.where(coefficients < 0, -rounded, rounded) * steps[:, None, :]
    columns = torch.stack(_inverse(*values.unbind(2), 11), dim=2)
    pixels = torch.stack(_inverse(*columns.unbind(4), 18), dim=4)
    return (pixels + 128).clamp(0, 255).reshape(count, height, width)


def _padded(plane: Tensor, height: int, width: int) -> Tensor:
    """The last row and column repeated up to (height, width)."""
    rows = torch.arange(height, device=plane.device).clamp(max=plane.shape[1] - 1)
    columns = torch.arange(width, device=plane.device).clamp(max=plane.shape[2] - 1)
    return plane.index_select(1, rows).index_select(2, columns)


def _whole(size: int, step: int) -> int:
    """`size` rounded up to a multiple of `step`."""
    return -(-size // step) * step


def _halved(plane: Tensor) -> Tensor:
    """Means of 2 x 2, rounded down and up in turns; then padded to whole blocks.

    To the right libjpeg repeats the plane's pixels, downwards the rows of means.
    """
    height, width = plane.shape[1:]
    plane = _padded(plane, _whole(height, 2), _whole(width, 16))
    total = plane[:, ::2, ::2] + plane[:, ::2, 1::2] + plane[:, 1::2, ::2] + plane[:, 1::2, 1::2]
    bias = 1 + torch.arange(total.shape[2], device=plane.device, dtype=torch.int32) % 2
    half = (total + bias) >> 2
    return _padded(half, _whole(half.shape[1], 8), half.shape[2])


def _doubled(half: Tensor, height: int, width: int) -> Tensor:
    """(N, h, w) -> (N, height, width), each value between its neighbours at 3:1 on both axes."""
    rows, columns = -(-height // 2), -(-width // 2)
    half = half[:, :rows, :columns]
    if columns <= 2:  # libjpeg interpolates nothing that narrow
        return half.repeat_interleave(2, 1).repeat_interleave(2, 2)[:, :height, :width]
    tall = F.pad(half[:, None].to(torch.float32), (0, 0, 1, 1), mode="replicate")[:, 0].to(torch.int32)
    lines = torch.stack([3 * half + tall[:, :-2], 3 * half + tall[:, 2:]], dim=2).flatten(1, 2)
    wide = F.pad(lines.to(torch.float32), (1, 1), mode="replicate").to(torch.int32)
    both = [(3 * lines + wide[:, :, :-2] + 8) >> 4, (3 * lines + wide[:, :, 2:] + 7) >> 4]
    return torch.stack(both, dim=3).flatten(2)[:, :height, :width]


def by_torch(images: Tensor, _: Tensor | None, setting: Setting) -> Tensor:
    """Compress as JPEG and read back; `setting.parameters` is the quality, libjpeg's in 1..100.

    `images` uint8 (N, C, H, W). A grey channel is a greyscale file, which is also what the luminance of an
    RGB file of three equal channels comes to.
    """
    quality = setting.parameters
    height, width = images.shape[2:]
    steps = torch.from_numpy(_steps(quality)).to(images.device)
    planes = images.to(torch.int32)
    tall, wide = _whole(height, 8), _whole(width, 8)
    if images.shape[1] == 1:
        grey = _coded(_padded(planes[:, 0], tall, wide), steps[0])
        return grey[:, None, :height, :width].to(torch.uint8)
    red, green, blue = planes.unbind(1)
    luma = (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16
    blueness = (-11059 * red - 21709 * green + 32768 * blue + 8421375) >> 16
    redness = (32768 * red - 27439 * green - 5329 * blue + 8421375) >> 16
    y = _coded(_padded(luma, tall, wide), steps[0])[:, :height, :width]
    cb = _doubled(_coded(_halved(blueness), steps[1]), height, width) - 128
    cr = _doubled(_coded(_halved(redness), steps[1]), height, width) - 128
    red = y + ((91881 * cr + 32768) >> 16)
    green = y + ((-22554 * cb - 46802 * cr + 32768) >> 16)
    blue = y + ((116130 * cb + 32768) >> 16)
    return torch.stack([red, green, blue], dim=1).clamp(0, 255).to(torch.uint8)


@compiled
def _luma(image: Any, plane: Any, strip: Any) -> None:
    """The luminance (or the grey channel) of one image, less 128, into the strips of `plane` from `strip` on."""
    channels, height, width = image.shape
    wide = -(-width // 8) * 8
    for y in range(-(-height // 8) * 8):
        at = min(y, height - 1)
        begin = (strip + y // 8) * wide
        line = plane[y % 8, begin : begin + wide]
        if channels == 1:
            for x in range(width):
                line[x] = np.int16(image[0, at, x]) - np.int16(128)
        else:
            red, green, blue = image[0, at], image[1, at], image[2, at]
            for x in range(width):
                r, g, b = np.int32(red[x]), np.int32(green[x]), np.int32(blue[x])
                line[x] = np.int16(np.int32(np.int32(19595 * r + 38470 * g + 7471 * b + 32768) >> 16) - 128)
        line[width:] = line[width - 1]


@compiled
def _chroma(image: Any, plane: Any, strip: Any, of_red: Any, of_green: Any, of_blue: Any) -> None:
    """A chroma plane of one image, halved, less 128, into the strips of `plane` from `strip` on."""
    height, width = image.shape[1:]
    rows, wide = -(-height // 2), -(-width // 16) * 8
    total, bias = np.empty(2 * wide, np.int16), np.empty(wide, np.int16)
    for x in range(wide):
        bias[x] = 1 + x % 2 - 4 * 128
    half = np.int32(8421375)
    for y in range(-(-rows // 8) * 8):
        begin = (strip + y // 8) * wide
        line = plane[y % 8, begin : begin + wide]
        above = 2 * min(y, rows - 1)
        below = min(above + 1, height - 1)
        red, green, blue = image[0, above], image[1, above], image[2, above]
        red2, green2, blue2 = image[0, below], image[1, below], image[2, below]
        for x in range(width):
            r, g, b = np.int32(of_red * red[x]), np.int32(of_green * green[x]), np.int32(of_blue * blue[x])
            r2, g2, b2 = (
                np.int32(of_red * red2[x]),
                np.int32(of_green * green2[x]),
                np.int32(of_blue * blue2[x]),
            )
            value, value2 = np.int32(r + g + b + half) >> 16, np.int32(r2 + g2 + b2 + half) >> 16
            total[x] = np.int16(value + value2)
        for x in range(width, 2 * wide):
            total[x] = total[width - 1]
        for x in range(wide):
            line[x] = np.int16((total[2 * x] + total[2 * x + 1] + bias[x]) >> 2)


@compiled
def _widened(here: Any, near: Any, total: Any, out: Any) -> None:
    """A row of a chroma plane at full size: `here` and half a row towards `near`, and so between columns."""
    columns = here.size
    if columns <= 2:  # libjpeg interpolates nothing that narrow
        for x in range(columns):
            out[2 * x] = out[2 * x + 1] = here[x]
        return
    three, less, more = np.int16(3), np.int16(7), np.int16(8)
    for x in range(columns):
        total[x + 1] = np.int16(here[x] * three + near[x])
    total[0], total[columns + 1] = total[1], total[columns]
    for x in range(columns):
        middle = np.int16(total[x + 1] * three)
        out[2 * x] = np.int16(middle + total[x] + more) >> 4
        out[2 * x + 1] = np.int16(middle + total[x + 2] + less) >> 4


@compiled
def _coloured(luma: Any, blueness: Any, redness: Any, strip: Any, half_strip: Any, out: Any) -> None:
    """The planes' strips of one image back to RGB, uint8 (3, H, W).

    In float32, where these sums are whole numbers below 2^24, so exact: faster than 64-bit integers, which
    compiled products would be.
    """
    height, width = out.shape[1:]
    wide, half_wide = -(-width // 8) * 8, -(-width // 16) * 8
    rows, columns = -(-height // 2), -(-width // 2)
    total = np.empty(columns + 2, np.int16)
    cb, cr = np.empty(2 * columns, np.int16), np.empty(2 * columns, np.int16)
    share, half, middle = np.float32(2.0**-16), np.float32(32768), np.float32(128)
    zero, most = np.float32(0), np.float32(255)
    red_of_r, green_of_b = np.float32(91881), np.float32(-22554)
    green_of_r, blue_of_b = np.float32(-46802), np.float32(116130)
    for y in range(height):
        here = y // 2
        near = min(max(here + (1 if y % 2 else -1), 0), rows - 1)
        begin, other = (half_strip + here // 8) * half_wide, (half_strip + near // 8) * half_wide
        end, other_end = begin + columns, other + columns
        _widened(blueness[here % 8, begin:end], blueness[near % 8, other:other_end], total, cb)
        _widened(redness[here % 8, begin:end], redness[near % 8, other:other_end], total, cr)
        begin = (strip + y // 8) * wide
        line = luma[y % 8, begin : begin + width]
        red, green, blue = out[0, y], out[1, y], out[2, y]
        for x in range(width):
            grey, b, r = np.float32(line[x]) + middle, np.float32(cb[x]), np.float32(cr[x])
            value = grey + np.floor((red_of_r * r + half) * share)
            red[x] = np.uint8(np.int32(min(max(value, zero), most)))
            value = grey + np.floor((green_of_b * b + green_of_r * r + half) * share)
            green[x] = np.uint8(np.int32(min(max(value, zero), most)))
            value = grey + np.floor((blue_of_b * b + half) * share)
            blue[x] = np.uint8(np.int32(min(max(value, zero), most)))


@compiled
def _images(start: Any, stop: Any, images: Any, out: Any, steps: Any) -> None:
    """Small images are taken several at a time, so that there are blocks enough for long loops."""
    channels, height, width = images.shape[1:]
    strips, blocks = -(-height // 8), -(-height // 8) * -(-width // 8)
    half_strips, half_blocks = -(-height // 16), -(-height // 16) * -(-width // 16)
    many = max(1, min(stop - start, 256 // blocks))
    luma = np.empty((8, 8 * blocks * many), np.int16)
    blueness = np.empty((8, 8 * half_blocks * many if channels == 3 else 0), np.int16)
    redness = np.empty_like(blueness)
    buffers = np.empty((2, 64 * 128), np.int16)
    for first in range(start, stop, many):
        count = min(many, stop - first)
        for i in range(count):
            image = images[first + i]
            _luma(image, luma, i * strips)
            if channels == 3:
                half, less, least = np.int32(32768), np.int32(-11059), np.int32(-21709)
                _chroma(image, blueness, i * half_strips, less, least, half)
                less, least = np.int32(-27439), np.int32(-5329)
                _chroma(image, redness, i * half_strips, half, less, least)
        transform_blocks(luma, count * blocks, steps[0], buffers)
        if channels == 3:
            transform_blocks(blueness, count * half_blocks, steps[1], buffers)
            transform_blocks(redness, count * half_blocks, steps[1], buffers)
            for i in range(count):
                _coloured(luma, blueness, redness, i * strips, i * half_strips, out[first + i])
        else:
            wide = -(-width // 8) * 8
            for i in range(count):
                for y in range(height):
                    begin = (i * strips + y // 8) * wide
                    line = luma[y % 8, begin : begin + width]
                    for x in range(width):
                        out[first + i, 0, y, x] = np.uint8(line[x] + 128)


def by_loops(images: Tensor, _: Tensor | None, setting: Setting) -> Tensor:
    out = torch.empty_like(images)
    grain = 1 + 20_000 // (images.shape[2] * images.shape[3])
    spread(_images, len(images), images.numpy(), out.numpy(), _steps(setting.parameters), grain=grain)
    return out


JPEG = Corruption(by_torch, loops=by_loops)
