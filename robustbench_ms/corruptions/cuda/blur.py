"""Blurs on CUDA: what `defocus`, `motion` and `zoom` define, in few passes over the images."""

from __future__ import annotations

from functools import lru_cache

import torch
import triton.language as tl
from torch import Tensor

from robustbench_ms.corruptions.corruption import Setting
from robustbench_ms.corruptions.defined.defocus import Plan, plan
from robustbench_ms.corruptions.defined.gaussian_blur import EDGE
from robustbench_ms.corruptions.defined.motion import lines
from robustbench_ms.corruptions.defined.zoom import _lines, _share, factors_of

from .launch import BLOCK, code, launch
from .tiles import programs, tile

__all__ = ["defocus_blur", "motion_blur", "move", "zoom_blur"]


# Defocus: sums along the rows of the reflected image, then of the disk, then the Gaussian and the corrections.


@lru_cache(maxsize=64)
def _disk(plan: Plan, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """(half widths of the rows, (|dy|, j) of the corrections, scale, edge, Gaussian and corrections' weights)."""
    weights = [plan.scale, plan.edge, *plan.gaussian, *(c[2] for c in plan.corrections)]
    places = [value for c in plan.corrections for value in c[:2]] or [0]
    widths, numbers = (torch.tensor(x, dtype=torch.int32, device=device) for x in (plan.widths, places))
    return widths, numbers, torch.tensor(weights, dtype=plan.precision, device=device)


def defocus_blur(images: Tensor, _: Tensor | None, setting: Setting) -> Tensor:
    """`defocus.by_torch` on CUDA."""
    chosen = plan(*setting.parameters)
    height, width = images.shape[2:]
    half, radius = len(chosen.gaussian) - 1, len(chosen.widths) - 1
    margin = chosen.reach + half
    planes = len(images) * images.shape[1]
    widths, places, weights = _disk(chosen, images.device)
    tall, wide = height + 2 * margin, width + 2 * margin + 1
    sums = images.new_empty((planes, tall, wide), dtype=torch.int32)
    disks = images.new_empty((planes, height + 2 * half, width + 2 * half), dtype=torch.int32)
    out = torch.empty_like(images)
    rows = planes * tall
    launch(_summed, -(-rows // 8), images, sums, height, width, margin, rows, ROWS=8, BLOCK=BLOCK // 4)
    inner = (*disks.shape[1:], tall, wide, radius, margin - half)
    launch(_gathered, programs(planes, disks[0].numel()), sums, widths, disks, *inner, BLOCK=BLOCK)
    sizes = (height, width, tall, wide, half, margin, len(chosen.corrections))
    launch(
        _finished, programs(planes, height * width), sums, disks, places, weights, out, *sizes, BLOCK=BLOCK
    )
    return out


@code
def _reflected(at: tl.tensor, size: int) -> tl.tensor:
    period = tl.maximum(2 * size - 2, 1)
    within = tl.where(at < 0, -at, at) % period
    return tl.minimum(within, period - within)


@code
def _summed(
    images: tl.tensor, sums: tl.tensor, height: int, width: int, margin: int, count: int,
    ROWS: tl.constexpr, BLOCK: tl.constexpr,
) -> None:  # fmt: skip
    """Program by program `ROWS` of all `count` rows with their margins: value x is the sum of those before x."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    tall = height + 2 * margin
    wide = width + 2 * margin + 1
    plane = (row // tall).to(tl.int64)
    source = images + plane * height * width + _reflected(row % tall - margin, height) * width
    out = sums + row.to(tl.int64) * wide
    used = row < count
    carried = tl.zeros([ROWS], tl.int32)
    tl.store(out, carried, mask=used)
    for begin in range(0, wide - 1, BLOCK):
        at = begin + tl.arange(0, BLOCK)
        inside = used[:, None] & (at < wide - 1)[None, :]
        here = source[:, None] + _reflected(at - margin, width)[None, :]
        x = tl.load(here, mask=inside, other=0).to(tl.int32)
        tl.store(out[:, None] + at[None, :] + 1, tl.cumsum(x, 1) + carried[:, None], mask=inside)
        carried += tl.sum(x, 1)


@code
def _gathered(
    sums: tl.tensor, widths: tl.tensor, disks: tl.tensor,
    rows: int, columns: int, tall: int, wide: int, radius: int, margin: int, BLOCK: tl.constexpr,
) -> None:  # fmt: skip
    """The disk's sums of (rows, columns) values, `margin` rows and columns inside the sums."""
    plane, at, inside = tile(rows * columns, BLOCK)
    centre = sums + plane * tall * wide + (at // columns + margin) * wide + at % columns + margin
    half = tl.load(widths)
    total = _run(centre, half, inside)
    for dy in range(1, radius + 1):
        half = tl.load(widths + dy)
        total += _run(centre - dy * wide, half, inside) + _run(centre + dy * wide, half, inside)
    tl.store(disks + plane * rows * columns + at, total, mask=inside)


@code
def _run(centre: tl.tensor, half: tl.tensor, inside: tl.tensor) -> tl.tensor:
    """The sum of 2 half + 1 values."""
    return tl.load(centre + half + 1, mask=inside, other=0) - tl.load(centre - half, mask=inside, other=0)


@code
def _finished(
    sums: tl.tensor, disks: tl.tensor, places: tl.tensor, weights: tl.tensor, out: tl.tensor,
    height: int, width: int, tall: int, wide: int, half: int, margin: int, corrections: int,
    BLOCK: tl.constexpr,
) -> None:  # fmt: skip
    plane, at, inside = tile(height * width, BLOCK)
    y = at // width
    x = at % width
    step = width + 2 * half
    centre = disks + plane * (height + 2 * half) * step + (y + half) * step + x + half
    gaussian = weights + 2
    total = _column(centre, step, gaussian, half, inside) * tl.load(gaussian)
    for k in range(1, half + 1):
        left = _column(centre - k, step, gaussian, half, inside)
        right = _column(centre + k, step, gaussian, half, inside)
        total += (left + right) * tl.load(gaussian + k)
    total = total * tl.load(weights)
    centre = sums + plane * tall * wide + (y + margin) * wide + x + margin
    for k in range(corrections):
        dy = tl.load(places + 2 * k) * wide
        j = tl.load(places + 2 * k + 1)
        pair = _run(centre - dy, j, inside) + _run(centre + dy, j, inside)
        total += pair.to(weights.dtype.element_ty) * tl.load(gaussian + half + 1 + k)
    total = tl.minimum(total + tl.load(weights + 1), 255.0)
    tl.store(out + plane * height * width + at, total.to(tl.uint8), mask=inside)


@code
def _column(centre: tl.tensor, step: int, gaussian: tl.tensor, half: int, inside: tl.tensor) -> tl.tensor:
    """The Gaussian down a column of disks."""
    real = gaussian.dtype.element_ty
    total = tl.load(centre, mask=inside, other=0).to(real) * tl.load(gaussian)
    for k in range(1, half + 1):
        above = tl.load(centre - k * step, mask=inside, other=0).to(real)
        below = tl.load(centre + k * step, mask=inside, other=0).to(real)
        total += (above + below) * tl.load(gaussian + k)
    return total


# Motion, and snow's streaks: a line of taps, made for each image.


def motion_blur(images: Tensor, words: Tensor | None, setting: Setting) -> Tensor:
    """`motion.by_torch` on CUDA."""
    assert words is not None
    height, width = images.shape[2:]
    ending = "truncated" if setting.profile == "any-size" else "quantum"
    return move(images, lines(words, setting, height, width), (height, width), ending)


def move(planes: Tensor, lines: tuple[Tensor, Tensor, Tensor], size: tuple[int, int], ending: str) -> Tensor:
    """Each plane's sum along its image's line, as `motion.move_by_torch` and `snow.by_torch` take it.

    `planes` is uint8 or float32 (N, C, h, w) in 0..255, contiguous; `lines` as `motion.taps` makes them. The
    result is uint8 (N, C, *size). `ending` says how a sum becomes a byte: "truncated", "rounded", or by
    way of a 16-bit "quantum".
    """
    count, channels, tall, wide = planes.shape
    rows, columns, weights = (line.contiguous() for line in lines)
    out = planes.new_empty((count, channels, *size), dtype=torch.uint8)
    launch(
        _moved_along, programs(count * channels, size[0] * size[1]), planes, rows, columns, weights, out,
        tall, wide, *size, channels, rows.shape[1], ENDING=ending, EDGE=EDGE, BLOCK=BLOCK,
    )  # fmt: skip
    return out


@code
def _moved_along(
    planes: tl.tensor, rows: tl.tensor, columns: tl.tensor, weights: tl.tensor, out: tl.tensor,
    tall: int, wide: int, height: int, width: int, channels: int, taps: int,
    ENDING: tl.constexpr, EDGE: tl.constexpr, BLOCK: tl.constexpr,
) -> None:  # fmt: skip
    plane, at, inside = tile(height * width, BLOCK)
    first = plane // channels * taps
    y = at // width
    x = at % width
    source = planes + plane * tall * wide
    total = tl.zeros([BLOCK], tl.float32)
    for i in range(taps):
        weight = tl.load(weights + first + i)
        if weight != 0:  # of two taps on one pixel the second has none
            at_y = tl.minimum(tl.maximum(y + tl.load(rows + first + i).to(tl.int32), 0), tall - 1)
            at_x = tl.minimum(tl.maximum(x + tl.load(columns + first + i).to(tl.int32), 0), wide - 1)
            value = tl.load(source + at_y * wide + at_x, mask=inside, other=0)
            total += value.to(tl.float32) * weight
    if ENDING == "truncated":
        grey = (total + EDGE).to(tl.int32)
    elif ENDING == "rounded":
        # 2^23: what follows the point is rounded off, to even.
        grey = (total + 8388608.0 - 8388608.0).to(tl.int32)
    else:
        quanta = (total * 257 + 0.5).to(tl.int32) + 128
        grey = (quanta - (quanta >> 8)) >> 8
    tl.store(out + plane * height * width + at, grey.to(tl.uint8), mask=inside)


# Zoom: four pixels for each enlargement, at positions from small tables.


@lru_cache(maxsize=64)
def _positions(size: int, factors: tuple[float, ...], device: torch.device) -> list[Tensor]:
    """Where all enlargements but the first, which is none, read: int32, float32 and float32 (F, size)."""
    first, before, after = (torch.from_numpy(part[1:]).to(device) for part in _lines(size, factors))
    return [first.to(torch.int32), before, after]


def zoom_blur(images: Tensor, _: Tensor | None, setting: Setting) -> Tensor:
    """`zoom.by_torch` on CUDA."""
    factors = factors_of(*setting.parameters)
    count, channels, height, width = images.shape
    down, across = (_positions(size, factors, images.device) for size in (height, width))
    out = torch.empty_like(images)
    sizes = (height, width, len(factors) - 1, _share(factors))
    many = programs(count * channels, height * width)
    launch(_zoomed, many, images, *down, *across, out, *sizes, EDGE=EDGE, BLOCK=BLOCK)
    return out


@code
def _zoomed(
    images: tl.tensor, rows: tl.tensor, above: tl.tensor, below: tl.tensor,
    columns: tl.tensor, before: tl.tensor, after: tl.tensor, out: tl.tensor,
    height: int, width: int, layers: int, share: float, EDGE: tl.constexpr, BLOCK: tl.constexpr,
) -> None:  # fmt: skip
    plane, at, inside = tile(height * width, BLOCK)
    plane *= height * width
    y = at // width
    x = at % width
    source = images + plane
    total = tl.load(source + at, mask=inside, other=0).to(tl.float32) * 2
    for i in range(layers):
        row = tl.load(rows + i * height + y, mask=inside, other=0)
        column = tl.load(columns + i * width + x, mask=inside, other=0)
        top = tl.load(above + i * height + y, mask=inside, other=0)
        bottom = tl.load(below + i * height + y, mask=inside, other=0)
        upper = source + row * width
        lower = source + tl.minimum(row + 1, height - 1) * width
        left = _mixed(upper + column, lower + column, top, bottom, inside)
        column_after = tl.minimum(column + 1, width - 1)
        right = _mixed(upper + column_after, lower + column_after, top, bottom, inside)
        total += left * tl.load(before + i * width + x, mask=inside, other=0) + (
            right * tl.load(after + i * width + x, mask=inside, other=0)
        )
    tl.store(out + plane + at, (total * share + EDGE).to(tl.uint8), mask=inside)


@code
def _mixed(
    upper: tl.tensor, lower: tl.tensor, top: tl.tensor, bottom: tl.tensor, inside: tl.tensor
) -> tl.tensor:
    one = tl.load(upper, mask=inside, other=0).to(tl.float32)
    return one * top + tl.load(lower, mask=inside, other=0).to(tl.float32) * bottom
