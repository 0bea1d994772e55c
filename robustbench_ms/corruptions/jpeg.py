"""JPEG compression without the file: what libjpeg's quantisation leaves of an image, byte for byte.

Entropy coding loses nothing, so only the lossy steps are done: RGB to YCbCr, 2 x 2 chroma averaging (4:2:0),
the "slow integer" forward transform, quantisation, and the way back with triangle ("fancy") upsampling. All
of it is libjpeg's 32-bit integer arithmetic (ITU-T T.81; IJG jfdctint, jidctint, jcsample, jdsample), so the
bytes equal Pillow's on every device.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from robustbench_ms.errors import UserError

from .kernel import Kernel, Setting

__all__ = ["JPEG", "jpeg_compression", "jpeg_round_trip"]

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


def transforms(i: Callable[[Any], Any]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The forward and the inverse transform of eight values, on integers or on tensors of them.

    `i` narrows an expression to 32 bits: compiled code needs to be told, tensors stay as they are. Constants
    are 2^13 times the rotations' factors (Loeffler, Ligtenberg & Moschytz, 1989); `up` and `down` are how far
    the even sums are shifted to the left and the products to the right: passes keep 2 more bits between them.
    """

    def forward(a0, a1, a2, a3, a4, a5, a6, a7, up, down, even):  # type: ignore[no-untyped-def]  # noqa: ANN202, ANN001, PLR0917
        half = i(1) << (down - 1)
        t0, t7, t1, t6 = i(a0 + a7), i(a0 - a7), i(a1 + a6), i(a1 - a6)
        t2, t5, t3, t4 = i(a2 + a5), i(a2 - a5), i(a3 + a4), i(a3 - a4)
        u0, u3, u1, u2 = i(t0 + t3), i(t0 - t3), i(t1 + t2), i(t1 - t2)
        # Rows leave the sums with two bits more; columns take them away again.
        b0 = i((((u0 + u1) << up) + even) >> (2 - up))
        b4 = i((((u0 - u1) << up) + even) >> (2 - up))
        z1 = i((u2 + u3) * 4433)
        b2 = i(i(z1 + u3 * 6270 + half) >> down)
        b6 = i(i(z1 - u2 * 15137 + half) >> down)
        z1, z2, z3, z4 = i(t4 + t7), i(t5 + t6), i(t4 + t6), i(t5 + t7)
        z5 = i((z3 + z4) * 9633)
        z1, z2 = i(z1 * -7373), i(z2 * -20995)
        z3, z4 = i(z3 * -16069 + z5), i(z4 * -3196 + z5)
        b7 = i(i(t4 * 2446 + z1 + z3 + half) >> down)
        b5 = i(i(t5 * 16819 + z2 + z4 + half) >> down)
        b3 = i(i(t6 * 25172 + z2 + z3 + half) >> down)
        b1 = i(i(t7 * 12299 + z1 + z4 + half) >> down)
        return b0, b1, b2, b3, b4, b5, b6, b7

    def inverse(b0, b1, b2, b3, b4, b5, b6, b7, down):  # type: ignore[no-untyped-def]  # noqa: ANN202, ANN001, PLR0917
        half = i(1) << (down - 1)
        z1 = i((b2 + b6) * 4433)
        t2, t3 = i(z1 - b6 * 15137), i(z1 + b2 * 6270)
        t0, t1 = i(((b0 + b4) << 13) + half), i(((b0 - b4) << 13) + half)
        u0, u3, u1, u2 = i(t0 + t3), i(t0 - t3), i(t1 + t2), i(t1 - t2)
        z1, z2, z3, z4 = i(b7 + b1), i(b5 + b3), i(b7 + b3), i(b5 + b1)
        z5 = i((z3 + z4) * 9633)
        z1, z2 = i(z1 * -7373), i(z2 * -20995)
        z3, z4 = i(z3 * -16069 + z5), i(z4 * -3196 + z5)
        t0, t1 = i(b7 * 2446 + z1 + z3), i(b5 * 16819 + z2 + z4)
        t2, t3 = i(b3 * 25172 + z2 + z3), i(b1 * 12299 + z1 + z4)
        return (
            i(i(u0 + t3) >> down), i(i(u1 + t2) >> down), i(i(u2 + t1) >> down), i(i(u3 + t0) >> down),
            i(i(u3 - t0) >> down), i(i(u2 - t1) >> down), i(i(u1 - t2) >> down), i(i(u0 - t3) >> down),
        )  # fmt: skip

    return forward, inverse


_forward, _inverse = transforms(lambda x: x)


def _coded(plane: Tensor, steps: Tensor) -> Tensor:
    """A plane (N, h, w) of whole blocks, int32 in 0..255, through transform and quantisation and back."""
    count, height, width = plane.shape
    blocks = plane.view(count, height // 8, 8, width // 8, 8) - 128
    rows = torch.stack(_forward(*blocks.unbind(4), 2, 11, 0), dim=4)
    coefficients = torch.stack(_forward(*rows.unbind(2), 0, 15, 2), dim=2)
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


def _round_trip(images: Tensor, quality: int) -> Tensor:
    """The definition: uint8 (N, 3 or 1, H, W), any device."""
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


def jpeg_round_trip(images: Tensor, quality: int) -> Tensor:
    """What a JPEG file of each image would hold: uint8 (N, C, H, W), C 3 (4:2:0) or 1 -> the same.

    `quality` is libjpeg's, 1..100. The bytes are those that Pillow reads from a file that it wrote with this
    quality and its other defaults (optimised and progressive files hold the same image). Any size.
    """
    if not 1 <= quality <= 100:
        raise UserError(f"JPEG quality must be in 1..100, not {quality}")
    return _round_trip(images, quality)


def jpeg_compression(images: Tensor, words: Tensor | None, setting: Setting) -> Tensor:
    """Compress as JPEG and read back; `setting.parameters` is the quality, `words` None.

    `images` uint8 (N, C, H, W). A grey channel is a greyscale file, which is also what the luminance of an
    RGB file of three equal channels comes to.
    """
    del words
    return jpeg_round_trip(images, setting.parameters)


JPEG = Kernel(jpeg_compression)
