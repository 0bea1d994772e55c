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
from .separable import EDGE, gaussian_weights

__all__ = ["move_rounds", "soften", "soften_exactly"]


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
