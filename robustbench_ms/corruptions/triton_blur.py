"""The blurs on CUDA: what `separable`, `glass`, `defocus`, `motion` and `zoom` define, in few passes over the images.

Each program works on `BLOCK` values of one plane, its rows end to end. Positions inside a plane are 32-bit
numbers, where a plane begins is a 64-bit one.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import triton.language as tl
from torch import Tensor

from .cuda import BLOCK, code, launch
from .defocus import Plan
from .separable import EDGE, gaussian_weights

__all__ = ["defocus", "move_rounds", "soften", "soften_exactly"]


def _tiles(images: Tensor) -> tuple[int, int]:
    """(planes, programs for one) of images (N, C, H, W) or (N, H, W)."""
    size = images.shape[-2] * images.shape[-1]
    return images.numel() // size, -(-size // BLOCK)


# Gaussian: down the columns into a plane of floats, along the rows back to bytes.


@lru_cache(maxsize=256)
def _line(sigma: float, precision: torch.dtype, gain: float, edge: float, device: torch.device) -> Tensor:
    """What the passes take: gain, edge and one side of the kernel."""
    return torch.tensor([gain, edge, *gaussian_weights(sigma)], dtype=precision, device=device)


@lru_cache(maxsize=16)
def _greys(device: torch.device) -> Tensor:
    """Each byte over 255, divided on the CPU: torch on CUDA would multiply by 1 / 255."""
    return (torch.arange(256, dtype=torch.float64) / 255).to(device)


def soften(images: Tensor, sigma: float) -> Tensor:
    """`separable.soften` on CUDA: uint8 (N, C, H, W), contiguous -> the same."""
    line = _line(sigma, torch.float32, 1.0, EDGE, images.device)
    return _softened(images, line, line, tabled=False)


def soften_exactly(images: Tensor, sigma: float) -> Tensor:
    """`separable.soften_exactly` on CUDA: uint8 (N, C, H, W), contiguous -> the same."""
    line = _line(sigma, torch.float64, 255.0, 0.0, images.device)
    return _softened(images, line, _greys(images.device), tabled=True)


def _softened(images: Tensor, line: Tensor, greys: Tensor, *, tabled: bool) -> Tensor:
    planes, tiles = _tiles(images)
    height, width = images.shape[2:]
    sizes = (height, width, len(line) - 3, tiles)
    between, out = torch.empty_like(images, dtype=line.dtype), torch.empty_like(images)
    launch(_down, planes * tiles, images, greys, line, between, *sizes, TABLED=tabled, BLOCK=BLOCK)
    launch(_along, planes * tiles, between, line, out, *sizes, BLOCK=BLOCK)
    return out


@code
def _grey(x: tl.tensor, inside: tl.tensor, greys: tl.tensor, TABLED: tl.constexpr) -> tl.tensor:
    value = tl.load(x, mask=inside, other=0)
    return tl.load(greys + value.to(tl.int32)) if TABLED else value.to(greys.dtype.element_ty)


@code
def _down(
    images: tl.tensor, greys: tl.tensor, line: tl.tensor, out: tl.tensor,
    height: int, width: int, radius: int, tiles: int, TABLED: tl.constexpr, BLOCK: tl.constexpr,
) -> None:  # fmt: skip
    program = tl.program_id(0)
    plane = (program // tiles).to(tl.int64) * height * width
    at = program % tiles * BLOCK + tl.arange(0, BLOCK)
    inside = at < height * width
    y = at // width
    x = images + plane + at % width
    total = _grey(x + y * width, inside, greys, TABLED) * tl.load(line + 2)
    for k in range(radius):
        j = radius - k
        above = _grey(x + tl.maximum(y - j, 0) * width, inside, greys, TABLED)
        below = _grey(x + tl.minimum(y + j, height - 1) * width, inside, greys, TABLED)
        total += (above + below) * tl.load(line + 2 + j)
    tl.store(out + plane + at, total, mask=inside)


@code
def _along(
    between: tl.tensor, line: tl.tensor, out: tl.tensor,
    height: int, width: int, radius: int, tiles: int, BLOCK: tl.constexpr,
) -> None:  # fmt: skip
    program = tl.program_id(0)
    plane = (program // tiles).to(tl.int64) * height * width
    at = program % tiles * BLOCK + tl.arange(0, BLOCK)
    inside = at < height * width
    x = at % width
    row = between + plane + (at - x)
    total = tl.load(row + x, mask=inside, other=0) * tl.load(line + 2)
    for k in range(radius):
        j = radius - k
        left = tl.load(row + tl.maximum(x - j, 0), mask=inside, other=0)
        right = tl.load(row + tl.minimum(x + j, width - 1), mask=inside, other=0)
        total += (left + right) * tl.load(line + 2 + j)
    total = total * tl.load(line) + tl.load(line + 1)
    tl.store(out + plane + at, total.to(tl.uint8), mask=inside)


# Glass: pixel by pixel along the chain of partners, as `glass` says, one round a launch.


def move_rounds(images: Tensor, words: Tensor, reach: int) -> Tensor:
    """`glass.move_by_torch` on CUDA: uint8 (N, C, H, W) and int32 (N, rounds, H, W), contiguous -> the images."""
    count, channels, height, width = images.shape
    rounds = words.shape[1]
    tiles = _tiles(images)[1]
    for i in range(rounds):
        out = torch.empty_like(images)
        sizes = (channels, height, width, reach, i, rounds, tiles)
        launch(_round, count * tiles, images, words, out, *sizes, BLOCK=BLOCK)
        images = out
    return images


@code
def _moved(at: tl.tensor, height: int, width: int, reach: int) -> tl.tensor:
    y = at // width
    x = at % width
    return (y > reach) & (y <= height - reach) & (x > reach) & (x <= width - reach)


@code
def _partner(at: tl.tensor, moved: tl.tensor, drawn: tl.tensor, width: int, reach: int) -> tl.tensor:
    pair = (tl.load(drawn + at, mask=moved, other=0) * (4 * reach * reach)) >> 16
    there = at + (pair // (2 * reach) - reach) * width + pair % (2 * reach) - reach
    return tl.where(moved, there, at)


@code
def _round(
    images: tl.tensor, words: tl.tensor, out: tl.tensor,
    channels: int, height: int, width: int, reach: int, turn: int, rounds: int, tiles: int, BLOCK: tl.constexpr,
) -> None:  # fmt: skip
    program = tl.program_id(0)
    n = (program // tiles).to(tl.int64)
    size = height * width
    at = program % tiles * BLOCK + tl.arange(0, BLOCK)
    inside = at < size
    drawn = words + (n * rounds + turn) * size
    here = at
    there = _partner(here, inside & _moved(here, height, width, reach), drawn, width, reach)
    onward = (there > here) & _moved(there, height, width, reach)
    while tl.max(onward.to(tl.int32), axis=0) > 0:
        here = tl.where(onward, there, here)
        there = tl.where(onward, _partner(here, onward, drawn, width, reach), there)
        onward = onward & (there > here) & _moved(there, height, width, reach)
    for c in range(channels):
        plane = (n * channels + c) * size
        tl.store(out + plane + at, tl.load(images + plane + there, mask=inside, other=0), mask=inside)


# Defocus: sums along the rows of the reflected image, then of the disk, then the Gaussian and the corrections.


@lru_cache(maxsize=64)
def _disk(plan: Plan, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """(half widths of the rows, (|dy|, j) of the corrections, scale, edge, Gaussian and corrections' weights)."""
    weights = [plan.scale, plan.edge, *plan.gaussian, *(c[2] for c in plan.corrections)]
    places = [value for c in plan.corrections for value in c[:2]] or [0]
    widths, numbers = (torch.tensor(x, dtype=torch.int32, device=device) for x in (plan.widths, places))
    return widths, numbers, torch.tensor(weights, dtype=plan.precision, device=device)


def defocus(images: Tensor, plan: Plan) -> Tensor:
    """`defocus.blur_by_torch` on CUDA: uint8 (N, C, H, W), contiguous -> the same."""
    height, width = images.shape[2:]
    half, radius = len(plan.gaussian) - 1, len(plan.widths) - 1
    margin = plan.reach + half
    planes = len(images) * images.shape[1]
    widths, places, weights = _disk(plan, images.device)
    tall, wide = height + 2 * margin, width + 2 * margin + 1
    sums = images.new_empty((planes, tall, wide), dtype=torch.int32)
    disks = images.new_empty((planes, height + 2 * half, width + 2 * half), dtype=torch.int32)
    out = torch.empty_like(images)
    launch(_summed, planes * tall, images, sums, height, width, margin, BLOCK=BLOCK // 4)
    programs = _tiles(disks)[1]
    inner = (*disks.shape[1:], tall, wide, radius, margin - half, programs)
    launch(_gathered, planes * programs, sums, widths, disks, *inner, BLOCK=BLOCK)
    programs = _tiles(images)[1]
    sizes = (height, width, tall, wide, half, margin, len(plan.corrections), programs)
    launch(_finished, planes * programs, sums, disks, places, weights, out, *sizes, BLOCK=BLOCK)
    return out


@code
def _reflected(at: tl.tensor, size: int) -> tl.tensor:
    period = tl.maximum(2 * size - 2, 1)
    within = tl.where(at < 0, -at, at) % period
    return tl.minimum(within, period - within)


@code
def _summed(
    images: tl.tensor, sums: tl.tensor, height: int, width: int, margin: int, BLOCK: tl.constexpr
) -> None:
    """Program by program a row with its margins: value x is the sum of those before x."""
    program = tl.program_id(0)
    tall = height + 2 * margin
    wide = width + 2 * margin + 1
    plane = (program // tall).to(tl.int64)
    row = images + plane * height * width + _reflected(program % tall - margin, height) * width
    out = sums + program.to(tl.int64) * wide
    tl.store(out, 0)
    carried = 0
    for begin in range(0, wide - 1, BLOCK):
        at = begin + tl.arange(0, BLOCK)
        inside = at < wide - 1
        x = tl.load(row + _reflected(at - margin, width), mask=inside, other=0).to(tl.int32)
        tl.store(out + 1 + at, tl.cumsum(x, 0) + carried, mask=inside)
        carried += tl.sum(x, 0)


@code
def _gathered(
    sums: tl.tensor, widths: tl.tensor, disks: tl.tensor,
    rows: int, columns: int, tall: int, wide: int, radius: int, margin: int, tiles: int, BLOCK: tl.constexpr,
) -> None:  # fmt: skip
    """The disk's sums of (rows, columns) values, `margin` rows and columns inside the sums."""
    program = tl.program_id(0)
    plane = (program // tiles).to(tl.int64)
    at = program % tiles * BLOCK + tl.arange(0, BLOCK)
    inside = at < rows * columns
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
    height: int, width: int, tall: int, wide: int, half: int, margin: int, corrections: int, tiles: int,
    BLOCK: tl.constexpr,
) -> None:  # fmt: skip
    program = tl.program_id(0)
    plane = (program // tiles).to(tl.int64)
    at = program % tiles * BLOCK + tl.arange(0, BLOCK)
    inside = at < height * width
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
