"""Defocus blur: convolution with a disk whose edge is softened.

The kernel is OpenCV's in the sources: a disk on a grid of 17 x 17 (of 2 r + 1 for a radius above 8), blurred by
a Gaussian of 3 x 3 (5 x 5) with the grid's edge reflected; radius 8 and 10 touch that edge. The image's edges
are reflected about the edge pixels (BORDER_REFLECT_101).

It is symmetric about both axes, so a row of it is a weighted sum of centred runs S_j(x) = sum of the 2 j + 1
values about x, with weights a_j = w_j - w_(j+1), most of which are zero inside the disk; and the sum of a row
serves at +dy and -dy.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .kernel import Kernel, Setting
from .separable import EDGE

__all__ = ["DEFOCUS", "disk", "reflected"]

Array = np.ndarray[Any, np.dtype[Any]]


@cache
def disk(radius: float, alias: float) -> Array:
    """One quadrant of the kernel with its axes, [|dy|, |dx|] from the centre: float64 (r + 1, r + 1)."""
    reach, half = (8, 1) if radius <= 8 else (int(radius), 2)
    axis = np.arange(-reach, reach + 1)
    whole = (axis[:, None] ** 2 + axis**2 <= radius**2).astype(np.float64)
    whole /= whole.sum()
    line = np.exp(-(np.arange(-half, half + 1) ** 2) / (2 * alias * alias))
    line /= line.sum()
    padded = np.pad(whole, half, mode="reflect")
    rows = np.stack([line[k] * padded[k : k + len(axis)] for k in range(2 * half + 1)]).sum(0)
    soft = np.stack([line[k] * rows[:, k : k + len(axis)] for k in range(2 * half + 1)]).sum(0)
    quadrant = soft[reach:, reach:]
    quadrant[quadrant < 1e-9] = 0  # what OpenCV keeps of exp(-50)
    used = 1 + int(np.flatnonzero(quadrant.any(1))[-1])
    quadrant = np.ascontiguousarray(quadrant[:used, :used])
    quadrant.setflags(write=False)
    return quadrant


@lru_cache(maxsize=256)
def reflected(size: int, reach: int) -> Array:
    """The positions -reach..size-1+reach reflected into range(size), as often as it takes: int64."""
    if size == 1:
        return np.zeros(1 + 2 * reach, np.int64)
    at = np.abs(np.arange(-reach, size + reach)) % (2 * size - 2)
    mirrored: Array = np.minimum(at, 2 * size - 2 - at)
    return mirrored


@dataclass(frozen=True)
class _Plan:
    """How one kernel is summed: trunc(scale * (sum of steps * runs) + edge)."""

    reach: int
    steps: Array
    """a_j of each row |dy|: float64 (reach + 1, reach + 1)."""
    scale: float
    edge: float
    exact: bool
    """Whether the sum of steps * runs is one of integers."""


@cache
def _plan(radius: float, alias: float) -> _Plan:
    weights = disk(radius, alias)
    scale, edge = 1.0, EDGE
    exact = bool((weights[weights > 0] == weights[0, 0]).all())
    if exact:
        # A hard disk: an integer times 1/n, a whole number for each n-th. The source's 1/n is a float32, whose
        # error decides those: so is ours, times the integer in float64.
        scale, edge = float(np.float32(weights[0, 0])), 1e-9
        weights = (weights > 0).astype(np.float64)
    elif len(weights) <= 3:
        edge = 1e-9  # small kernels are summed in float64: see _apply
    steps = weights - np.pad(weights[:, 1:], ((0, 0), (0, 1)))
    return _Plan(len(weights) - 1, steps, scale, edge, exact)


def _apply(images: Tensor, _: Tensor | None, setting: Setting) -> Tensor:
    plan = _plan(*setting.parameters)
    reach = plan.reach
    height, width = images.shape[2:]
    rows, columns = (torch.from_numpy(reflected(s, reach)).to(images.device) for s in (height, width))
    # A plus of five pixels at 0.2 (cifar, severity 4) puts a fifth of all values within 1e-3 of an integer.
    precision = torch.float64 if reach <= 2 else torch.float32
    x = images.to(precision).index_select(2, rows).index_select(3, columns)
    runs = [x.narrow(3, reach, width)]
    for j in range(1, reach + 1):
        runs.append(runs[-1] + x.narrow(3, reach - j, width) + x.narrow(3, reach + j, width))
    total = torch.zeros(images.shape, dtype=precision, device=images.device)
    for dy in range(reach + 1):
        row = torch.zeros_like(runs[0])
        for step, run in zip(plan.steps[dy].tolist(), runs, strict=True):
            if step:
                row += run * step
        total += row.narrow(2, reach - dy, height)
        if dy:
            total += row.narrow(2, reach + dy, height)
    if plan.exact:
        total = total.to(torch.float64) * plan.scale
    return (total + plan.edge).clamp_(0, 255).to(torch.uint8)


DEFOCUS = Kernel(_apply)
