"""Gaussian blurs on CUDA, as `gaussian_blur` defines them: down the columns into floats, then along the rows."""

from __future__ import annotations

from functools import lru_cache

import torch
import triton.language as tl
from torch import Tensor

from robustbench_ms.corruptions.corruption import Setting
from robustbench_ms.corruptions.defined.gaussian_blur import EDGE, gaussian_weights

from .launch import BLOCK, code, launch
from .tiles import programs, tile

__all__ = ["gaussian_blur", "greys", "smooth", "soften", "soften_exactly"]


@lru_cache(maxsize=256)
def _line(sigma: float, precision: torch.dtype, gain: float, edge: float, device: torch.device) -> Tensor:
    """What the passes take: gain, edge and one side of the filter."""
    return torch.tensor([gain, edge, *gaussian_weights(sigma)], dtype=precision, device=device)


@lru_cache(maxsize=16)
def greys(device: torch.device) -> Tensor:
    """Each byte over 255, divided on the CPU: torch on CUDA would multiply by 1 / 255."""
    return (torch.arange(256, dtype=torch.float64) / 255).to(device)


def gaussian_blur(images: Tensor, _: Tensor | None, setting: Setting) -> Tensor:
    """`gaussian_blur.by_torch` on CUDA."""
    return soften(images, setting.parameters)


def soften(images: Tensor, sigma: float) -> Tensor:
    """`gaussian_blur.soften_by_torch` on CUDA: uint8 (N, C, H, W), contiguous -> the same."""
    line = _line(sigma, torch.float32, 1.0, EDGE, images.device)
    return _softened(images, line, line, tabled=False)


def soften_exactly(images: Tensor, sigma: float) -> Tensor:
    """`gaussian_blur.soften_exactly_by_torch` on CUDA: uint8 (N, C, H, W), contiguous -> the same."""
    if len(gaussian_weights(sigma)) == 1:
        return images
    line = _line(sigma, torch.float64, 255.0, 0.0, images.device)
    return _softened(images, line, greys(images.device), tabled=True)


def smooth(field: Tensor, sigma: float, table: Tensor | None = None) -> Tensor:
    """The blur of `spatter` on CUDA: (N, C, H, W), contiguous, integers that `table` (float64) is looked up for.

    Without a table the values are taken as they are. float64 (N, C, H, W).
    """
    line = _line(sigma, torch.float64, 1.0, 0.0, field.device)
    return _softened(field, line, line if table is None else table, torch.float64, tabled=table is not None)


def _softened(
    images: Tensor, line: Tensor, greys: Tensor, into: torch.dtype = torch.uint8, *, tabled: bool
) -> Tensor:
    count, channels, height, width = images.shape
    many, sizes = programs(count * channels, height * width), (height, width, len(line) - 3)
    between, out = (torch.empty_like(images, dtype=dtype) for dtype in (line.dtype, into))
    launch(_down, many, images, greys, line, between, *sizes, TABLED=tabled, BLOCK=BLOCK)
    launch(_along, many, between, line, out, *sizes, BLOCK=BLOCK)
    return out


@code
def _grey(x: tl.tensor, inside: tl.tensor, greys: tl.tensor, TABLED: tl.constexpr) -> tl.tensor:
    value = tl.load(x, mask=inside, other=0)
    return tl.load(greys + value.to(tl.int32)) if TABLED else value.to(greys.dtype.element_ty)


@code
def _down(
    images: tl.tensor, greys: tl.tensor, line: tl.tensor, out: tl.tensor,
    height: int, width: int, radius: int, TABLED: tl.constexpr, BLOCK: tl.constexpr,
) -> None:  # fmt: skip
    plane, at, inside = tile(height * width, BLOCK)
    plane *= height * width
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
    height: int, width: int, radius: int, BLOCK: tl.constexpr,
) -> None:  # fmt: skip
    plane, at, inside = tile(height * width, BLOCK)
    plane *= height * width
    x = at % width
    row = between + plane + (at - x)
    total = tl.load(row + x, mask=inside, other=0) * tl.load(line + 2)
    for k in range(radius):
        j = radius - k
        left = tl.load(row + tl.maximum(x - j, 0), mask=inside, other=0)
        right = tl.load(row + tl.minimum(x + j, width - 1), mask=inside, other=0)
        total += (left + right) * tl.load(line + 2 + j)
    total = total * tl.load(line) + tl.load(line + 1)
    tl.store(out + plane + at, total.to(out.dtype.element_ty), mask=inside)
