"""Pixelate: Pillow's box reduction and its enlargement, byte for byte.

Pillow reduces first along rows, then along columns, in fixed point of 22 bits, and rounds to bytes in
between. Its box has equal weights, so a reduced pixel is (2^21 + weight * sum) >> 22 (Pillow, Resample.c).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from robustbench_ms.corruptions.corruption import Corruption, Setting
from robustbench_ms.corruptions.cpu.compile import compiled, spread

__all__ = ["PIXELATE", "by_loops", "by_torch"]

_BITS = 22


class _Axis(NamedTuple):
    """How one axis is reduced and enlarged again."""

    first: np.ndarray[Any, np.dtype[np.int64]]
    """By small index: the first pixel of its box."""
    number: np.ndarray[Any, np.dtype[np.int64]]
    """By small index: the pixels in its box."""
    weight: np.ndarray[Any, np.dtype[np.int32]]
    """By small index: what each of them weighs, of 2^22."""
    nearest: np.ndarray[Any, np.dtype[np.uint32]]
    """By index of the result: the small index it shows."""


@lru_cache(maxsize=64)
def _axis(size: int, scale: float, profile: str) -> _Axis:
    small = int(size * scale)
    step = size / small
    first, count = [], []
    for i in range(small):
        centre = (i + 0.5) * step
        low = max(int(centre - 0.5 * step + 0.5), 0)
        high = min(int(centre + 0.5 * step + 0.5), size)
        # The filter is 1 in (-1/2, 1/2], asked at the pixels' middles.
        inside = [j for j in range(low, high) if -0.5 < (j - centre + 0.5) / step <= 0.5]
        first.append(inside[0])
        count.append(len(inside))
    back = small / size
    if profile == "any-size":  # NEAREST, which steps along by additions
        nearest, position = [], back * 0.5
        for _ in range(size):
            nearest.append(int(position))
            position += back
    else:  # BOX
        nearest = [int((i + 0.5) * back) for i in range(size)]
    weight = [int(0.5 + (1 / n) * (1 << _BITS)) for n in count]
    return _Axis(
        np.array(first), np.array(count), np.array(weight, dtype=np.int32), np.array(nearest, dtype=np.uint32)
    )


def _reduce(images: Tensor, axis: _Axis, dim: int) -> Tensor:
    """int32 -> int32, the axis `dim` reduced."""
    device = images.device
    first, count = torch.from_numpy(axis.first).to(device), torch.from_numpy(axis.number).to(device)
    total = images.index_select(dim, first)
    for k in range(1, int(axis.number.max())):
        more = images.index_select(dim, (first + k).clamp(max=images.shape[dim] - 1))
        inside = (count > k).view(-1, *[1] * (images.ndim - 1 - dim))
        total = total + torch.where(inside, more, 0)
    weight = torch.from_numpy(axis.weight).to(device).view(-1, *[1] * (images.ndim - 1 - dim))
    return (total * weight + (1 << (_BITS - 1))) >> _BITS


def _axes(images: Tensor, setting: Setting) -> tuple[_Axis, _Axis]:
    height, width = images.shape[2:]
    return (
        _axis(height, setting.parameters, setting.profile),
        _axis(width, setting.parameters, setting.profile),
    )


def by_torch(images: Tensor, _: Tensor | None, setting: Setting) -> Tensor:
    """Reduce with a box and enlarge again, as Pillow does.

    `images` uint8 (N, C, H, W), sides of 4 pixels or more; `setting.parameters` the scale. The enlargement is Pillow's
    NEAREST for any-size and its BOX for the published profiles.
    """
    rows, columns = _axes(images, setting)
    small = _reduce(_reduce(images.to(torch.int32), columns, 3), rows, 2).to(torch.uint8)
    nearest = [torch.from_numpy(axis.nearest.astype(np.int64)).to(images.device) for axis in (rows, columns)]
    return small.index_select(2, nearest[0]).index_select(3, nearest[1])


@lru_cache(maxsize=64)
def _taps(size: int, scale: float, profile: str) -> tuple[Any, Any]:
    """Tap k of every box: its index uint32 (K, small) and -1, or 0 where the box is shorter, int32 (K, small)."""
    axis = _axis(size, scale, profile)
    k = np.arange(int(axis.number.max()))[:, None]
    at = np.minimum(axis.first + k, size - 1).astype(np.uint32)
    return at, np.where(k < axis.number, -1, 0).astype(np.int32)


@compiled
def _narrowed(plane: Any, at: Any, inside: Any, weight: Any, total: Any, out: Any) -> None:
    """Every row reduced; written out for the usual box sizes, for a loop of variable length is not vector code."""
    taps, small = at.shape
    half = np.int32(1 << (_BITS - 1))
    a, b = at[0], at[min(1, taps - 1)]
    c, d = at[min(2, taps - 1)], at[min(3, taps - 1)]
    in_b, in_c, in_d = inside[min(1, taps - 1)], inside[min(2, taps - 1)], inside[min(3, taps - 1)]
    for y in range(plane.shape[0]):
        row, to = plane[y], out[y]
        if taps == 2:
            for x in range(small):
                total[x] = row[a[x]] + (row[b[x]] & in_b[x])
        elif taps == 3:
            for x in range(small):
                total[x] = row[a[x]] + (row[b[x]] & in_b[x]) + (row[c[x]] & in_c[x])
        elif taps == 4:
            for x in range(small):
                total[x] = row[a[x]] + (row[b[x]] & in_b[x]) + (row[c[x]] & in_c[x]) + (row[d[x]] & in_d[x])
        else:
            for x in range(small):
                total[x] = row[a[x]]
            for k in range(1, taps):
                for x in range(small):
                    total[x] += row[at[k, x]] & inside[k, x]
        for x in range(small):
            to[x] = np.uint8(np.int32(np.int32(total[x] * weight[x]) + half) >> _BITS)


@compiled
def _planes(
    start: Any, stop: Any, planes: Any, out: Any, at: Any, inside: Any, column_weight: Any, column_nearest: Any,
    first: Any, number: Any, row_weight: Any, row_nearest: Any,
) -> None:  # fmt: skip
    height, width = planes.shape[1:]
    small_height, small_width = first.size, at.shape[1]
    half = np.int32(1 << (_BITS - 1))
    narrow = np.empty((height, small_width), np.uint8)
    total = np.empty(small_width, np.int32)
    wide = np.empty((small_height, width), np.uint8)
    for p in range(start, stop):
        _narrowed(planes[p], at, inside, column_weight, total, narrow)
        for y in range(small_height):
            line = narrow[first[y]]
            for x in range(small_width):
                total[x] = line[x]
            for k in range(1, number[y]):
                line = narrow[first[y] + k]
                for x in range(small_width):
                    total[x] += line[x]
            weight, line = row_weight[y], wide[y]
            for x in range(small_width):
                total[x] = np.int32(np.int32(total[x] * weight) + half) >> _BITS
            for x in range(width):
                line[x] = np.uint8(total[column_nearest[x]])
        for y in range(height):
            line, to = wide[row_nearest[y]], out[p, y]
            for x in range(width):
                to[x] = line[x]


def by_loops(images: Tensor, _: Tensor | None, setting: Setting) -> Tensor:
    height, width = images.shape[2:]
    rows, columns = _axes(images, setting)
    out = torch.empty_like(images)
    planes = images.flatten(0, 1).numpy()
    grain = 1 + 100_000 // (height * width)
    spread(
        _planes, len(planes), planes, out.flatten(0, 1).numpy(),
        *_taps(width, setting.parameters, setting.profile), columns.weight, columns.nearest, *rows, grain=grain,
    )  # fmt: skip
    return out


PIXELATE = Corruption(by_torch, loops=by_loops, smallest=4)
