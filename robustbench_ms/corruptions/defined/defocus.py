"""Defocus blur: convolution with a disk whose edge is softened.

The filter is OpenCV's in the sources: a disk on a grid of 17 x 17 (of 2 r + 1 for a radius above 8), blurred by
a Gaussian of 3 x 3 (5 x 5) with the grid's edge reflected. The image's edges are reflected about the edge
pixels (BORDER_REFLECT_101).

It is summed in three parts. The hard disk comes first, in integers: its rows are centred runs S_j(x), the sum of
the 2 j + 1 values about x. Then comes the Gaussian. A disk of radius 7, 8, 10 or 12 touches the grid's edge, where
the source's filter is cut off and has a little more weight (1.3 % at radius 8, so that white stays white and
grey gets lighter): a few runs with small weights put that right.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustbench_ms.corruptions.corruption import Corruption, Setting
from robustbench_ms.corruptions.cpu.compile import compiled, spread

from .gaussian_blur import EDGE

__all__ = ["DEFOCUS", "Plan", "by_loops", "by_torch", "disk", "plan", "reflected"]

Array = np.ndarray[Any, np.dtype[Any]]

SHORT = ((4, 0.5), (6, 0.5))
"""Disks (radius, alias) whose float32 weights in the source sum to a little less than one: by its truncation a flat
patch of 255 becomes 254. Those of the others sum to one or more."""


@dataclass(frozen=True)
class Plan:
    """One filter as trunc(scale * gaussian(sum of the disk) + sum of corrections + edge)."""

    widths: tuple[int, ...]
    """The disk's half width in row |dy|."""
    gaussian: tuple[float, ...]
    """From the centre outwards; (1,) for a hard disk."""
    corrections: tuple[tuple[int, int, float], ...]
    """(|dy|, j, weight): of the sum of the runs j in rows -dy and dy."""
    scale: float
    edge: float
    precision: torch.dtype

    @property
    def reach(self) -> int:
        """How far the plan reads."""
        return len(self.widths) - 1 + len(self.gaussian) - 1


def disk(radius: float, alias: float) -> Array:
    """One quadrant of the source's filter with its axes, [|dy|, |dx|] from the centre: float64."""
    reach = 8 if radius <= 8 else int(radius)
    line = _line(radius, alias)
    half = len(line) - 1
    padded = np.pad(_hard(radius, reach), half, mode="reflect")
    return _softened(padded, line)[reach:, reach:]


def _line(radius: float, alias: float) -> Array:
    half = 1 if radius <= 8 else 2
    line: Array = np.exp(-(np.arange(half + 1) ** 2) / (2 * alias * alias))
    line /= 2 * line.sum() - 1
    return line


def _hard(radius: float, reach: int) -> Array:
    axis = np.arange(-reach, reach + 1)
    whole: Array = (axis[:, None] ** 2 + axis**2 <= radius**2).astype(np.float64)
    whole /= whole.sum()
    return whole


def _softened(padded: Array, line: Array) -> Array:
    """A separable blur that eats the padding: (n, n) -> (n - 2 half, n - 2 half)."""
    half = len(line) - 1
    kept = len(padded) - 2 * half
    both = [*line[:0:-1], *line]
    rows = np.stack([w * padded[k : k + kept] for k, w in enumerate(both)]).sum(0)
    result: Array = np.stack([w * rows[:, k : k + kept] for k, w in enumerate(both)]).sum(0)
    return result


@cache
def plan(radius: float, alias: float) -> Plan:
    """How the filter of one setting is summed."""
    axis = np.arange(int(radius) + 1)
    widths = tuple(np.floor(np.sqrt(radius**2 - axis**2)).astype(int).tolist())
    area = sum(2 * w + 1 for w in widths) * 2 - (2 * widths[0] + 1)
    line = _line(radius, alias)
    if line[1] < 1e-9:  # a hard disk
        # An integer times 1/n is a whole number at each n-th. The source's 1/n is a float32, whose error decides
        # those: so is ours, times the integer in float64.
        return Plan(widths, (1.0,), (), float(np.float32(1 / area)), 1e-9, torch.float64)
    reach = len(axis) - 1 + len(line) - 1
    free = _softened(_hard(radius, reach + len(line) - 1), line)[reach:, reach:]
    kept = np.zeros_like(free)
    source = disk(radius, alias)[: reach + 1, : reach + 1]
    kept[: len(source), : len(source)] = source
    missing = _gathered(kept - free)
    steps = missing - np.pad(missing[:, 1:], ((0, 0), (0, 1)))
    steps[np.abs(steps) < 1e-7] = 0  # runs of up to 25 bytes: nothing in 1e-3 grey levels
    steps[0] /= 2  # rows -0 and 0
    corrections = tuple((int(dy), int(j), float(steps[dy, j])) for dy, j in np.argwhere(steps))
    # A plus of five pixels at 0.2 (cifar, severity 4) puts a fifth of all values within 1e-3 of an integer, so
    # small filters are summed in float64.
    small = reach <= 2
    precision = torch.float64 if small else torch.float32
    edge = 1e-9 if small else -EDGE if (radius, alias) in SHORT else EDGE
    return Plan(widths, tuple(line.tolist()), corrections, 1 / area, edge, precision)


def _gathered(missing: Array) -> Array:
    """The quadrant with weights below 3e-6 moved to the nearest larger one: 1e-4 grey levels at an edge."""
    small = np.abs(missing) < 3e-6
    places = np.argwhere(~small)
    result: Array = np.where(small, 0.0, missing)
    copies = 2.0 - (np.indices(missing.shape) == 0)  # on an axis a pixel stands for two, elsewhere for four
    share = missing * copies.prod(0)
    for place in np.argwhere(small & (np.abs(missing) > 1e-9)):
        near = tuple(places[np.square(places - place).sum(1).argmin()])
        result[near] += share[tuple(place)] / copies.prod(0)[near]
    return result


@lru_cache(maxsize=256)
def reflected(size: int, reach: int) -> Array:
    """The positions -reach..size-1+reach reflected into range(size), as often as it takes: int64."""
    if size == 1:
        return np.zeros(1 + 2 * reach, np.int64)
    at = np.abs(np.arange(-reach, size + reach)) % (2 * size - 2)
    mirrored: Array = np.minimum(at, 2 * size - 2 - at)
    return mirrored


def blur_by_torch(images: Tensor, plan: Plan) -> Tensor:
    """What the definition makes of a plan."""
    return (sum_by_torch(images, plan) + plan.edge).clamp_(max=255).to(torch.uint8)


def sum_by_torch(images: Tensor, plan: Plan) -> Tensor:
    """The convolution of uint8 (N, C, H, W), in the plan's precision."""
    height, width = images.shape[2:]
    half, reach = len(plan.gaussian) - 1, plan.reach
    margin = reach + half
    rows, columns = (torch.from_numpy(reflected(s, margin)).to(images.device) for s in (height, width))
    x = images.to(torch.int32).index_select(2, rows).index_select(3, columns)
    runs = [x.narrow(3, reach, width + 2 * half)]
    for j in range(1, reach + 1):
        runs.append(
            runs[-1] + x.narrow(3, reach - j, width + 2 * half) + x.narrow(3, reach + j, width + 2 * half)
        )
    inner = height + 2 * half
    total = runs[plan.widths[0]].narrow(2, reach, inner)
    for dy, j in enumerate(plan.widths[1:], 1):
        total = total + runs[j].narrow(2, reach - dy, inner) + runs[j].narrow(2, reach + dy, inner)
    y = total.to(plan.precision)
    for dim, size in ((2, height), (3, width)):
        blurred = y.narrow(dim, half, size) * plan.gaussian[0]
        for k in range(1, half + 1):
            pair = y.narrow(dim, half - k, size) + y.narrow(dim, half + k, size)
            blurred += pair * plan.gaussian[k]
        y = blurred
    y = y * plan.scale
    for dy, j, weight in plan.corrections:
        run = runs[j].narrow(3, half, width)
        pair = run.narrow(2, margin - dy, height) + run.narrow(2, margin + dy, height)
        y += pair.to(plan.precision) * weight
    return y


def blur_compiled(images: Tensor, plan: Plan) -> Tensor:
    out = torch.empty_like(images)
    planes, results = (x.view(-1, *x.shape[2:]).numpy() for x in (images, out))
    area = sum(2 * w + 1 for w in plan.widths) * 2 - (2 * plan.widths[0] + 1)
    margin = plan.reach + len(plan.gaussian) - 1
    real = np.float64 if plan.precision == torch.float64 else np.float32
    corrections = plan.corrections + ((1, 0, 0.0),) * (-len(plan.corrections) % 3)
    together = max(1, 1024 // (planes.shape[2] + 2 * margin))
    spread(
        _groups,
        -(-len(planes) // together),
        together,
        planes,
        reflected(planes.shape[1], plan.reach),
        reflected(planes.shape[2], margin),
        np.zeros(0, np.uint16 if area < 257 else np.uint32),
        np.array(plan.widths),
        np.array(plan.gaussian, real),
        np.array([c[:2] for c in corrections] or np.zeros((0, 2)), np.int64),
        np.array([c[2] for c in corrections], real),
        real(plan.scale),
        real(plan.edge),
        results,
    )
    return out


@compiled
def _groups(
    start: Any,
    stop: Any,
    together: Any,
    planes: Any,
    rows: Any,
    columns: Any,
    integer: Any,
    widths: Any,
    gaussian: Any,
    places: Any,
    weights: Any,
    scale: Any,
    edge: Any,
    out: Any,
) -> None:
    """Row by row through groups of planes that lie side by side, so that a row is long whatever the width.

    `runs` keeps those of the last 2 reach + 1 rows, and `disks` the disk's sums of as many rows as the Gaussian
    has, in turns. Where two planes meet, a row holds sums that mean nothing and are not used.
    """
    count, height, width = planes.shape
    radius, half = len(widths) - 1, len(gaussian) - 1
    reach = radius + half
    margin, wide = reach + half, len(columns)
    turns, bands = 2 * reach + 1, 2 * half + 1
    line = np.empty(together * wide, np.uint16)
    length = len(line) - 2 * reach  # of runs: they begin `half` before the image
    inner = length - 2 * half
    runs = np.empty((reach + 1, turns, length), np.uint16)
    gathered = np.empty(length, integer.dtype)
    disks = np.empty((bands, length), gaussian.dtype)
    column, total = np.empty(length, gaussian.dtype), np.empty(inner, gaussian.dtype)
    greyed = np.empty(length + 2 * reach, np.uint8)
    for item in range(start, stop):
        first = item * together
        for q in range(height + 2 * reach):  # row q is image row q - reach
            for k in range(together):
                row = planes[min(first + k, count - 1), rows[q]]
                part = line[k * wide : (k + 1) * wide]
                for x in range(margin):
                    part[x] = row[columns[x]]
                    part[margin + width + x] = row[columns[margin + width + x]]
                middle = part[margin : margin + width]
                for x in range(width):
                    middle[x] = row[x]
            turn = q % turns
            runs[0, turn, :] = line[reach : reach + length]
            for j in range(1, reach + 1):
                run, last = runs[j, turn], runs[j - 1, turn]
                before, after = line[reach - j :], line[reach + j :]
                for i in range(length):
                    run[i] = last[i] + before[i] + after[i]
            if q < 2 * radius:
                continue
            _gather(gathered, runs, widths, q - radius)
            disk = disks[(q - radius) % bands]
            for i in range(length):
                disk[i] = gathered[i]
            y = q - 2 * reach
            if y < 0:
                continue
            _column(column, disks, gaussian, q - radius - half)
            if half == 0:
                for i in range(inner):
                    total[i] = column[i] * gaussian[0]
            elif half == 1:
                side = gaussian[1]
                for i in range(inner):
                    total[i] = column[i + 1] * gaussian[0] + (column[i] + column[i + 2]) * side
            else:
                near, far = gaussian[1], gaussian[2]
                for i in range(inner):
                    v = column[i + 2] * gaussian[0] + (column[i + 1] + column[i + 3]) * near
                    total[i] = v + (column[i] + column[i + 4]) * far
            for i in range(inner):
                total[i] = total[i] * scale
            _correct(total, runs, places, weights, q - reach, half)
            for i in range(inner):
                greyed[i] = np.uint8(np.int32(min(total[i] + edge, gaussian.dtype.type(255))))
            for k in range(min(together, count - first)):
                out[first + k, y] = greyed[k * wide : k * wide + width]


@compiled
def _gather(total: Any, runs: Any, widths: Any, centre: Any) -> None:
    """The disk's sum about row `centre`: integers, so in any order."""
    turns = runs.shape[1]
    picked = np.empty((2 * len(widths) - 1, 2), np.int64)
    for k in range(len(picked)):
        dy = k - (len(widths) - 1)
        picked[k, 0], picked[k, 1] = widths[abs(dy)], (centre + dy) % turns
    for i in range(len(total)):
        total[i] = 0
    k = 0
    while k + 4 <= len(picked):
        a, b = runs[picked[k, 0], picked[k, 1]], runs[picked[k + 1, 0], picked[k + 1, 1]]
        c, d = runs[picked[k + 2, 0], picked[k + 2, 1]], runs[picked[k + 3, 0], picked[k + 3, 1]]
        for i in range(len(total)):
            total[i] = total[i] + a[i] + b[i] + c[i] + d[i]
        k += 4
    while k < len(picked):
        a = runs[picked[k, 0], picked[k, 1]]
        for i in range(len(total)):
            total[i] = total[i] + a[i]
        k += 1


@compiled
def _column(total: Any, disks: Any, gaussian: Any, centre: Any) -> None:
    """The Gaussian down the columns, about row `centre`."""
    bands = len(disks)
    middle = disks[centre % bands]
    for i in range(len(total)):
        total[i] = middle[i] * gaussian[0]
    for k in range(1, len(gaussian)):
        above, below, w = disks[(centre - k) % bands], disks[(centre + k) % bands], gaussian[k]
        for i in range(len(total)):
            total[i] += (above[i] + below[i]) * w


@compiled
def _correct(total: Any, runs: Any, places: Any, weights: Any, centre: Any, first: Any) -> None:
    """Add weight * (run j of row centre - dy, and of row centre + dy), three corrections at a time."""
    turns = runs.shape[1]
    count, real = len(total), weights.dtype.type
    for c in range(0, len(weights), 3):
        w1, w2, w3 = weights[c], weights[c + 1], weights[c + 2]
        a1 = runs[places[c, 1], (centre - places[c, 0]) % turns, first:]
        b1 = runs[places[c, 1], (centre + places[c, 0]) % turns, first:]
        a2 = runs[places[c + 1, 1], (centre - places[c + 1, 0]) % turns, first:]
        b2 = runs[places[c + 1, 1], (centre + places[c + 1, 0]) % turns, first:]
        a3 = runs[places[c + 2, 1], (centre - places[c + 2, 0]) % turns, first:]
        b3 = runs[places[c + 2, 1], (centre + places[c + 2, 0]) % turns, first:]
        for i in range(count):
            v = total[i] + real(np.int32(a1[i] + b1[i])) * w1 + real(np.int32(a2[i] + b2[i])) * w2
            total[i] = v + real(np.int32(a3[i] + b3[i])) * w3


def by_torch(images: Tensor, _: Tensor | None, setting: Setting) -> Tensor:
    """The definition, for any device."""
    return blur_by_torch(images, plan(*setting.parameters))


def by_loops(images: Tensor, _: Tensor | None, setting: Setting) -> Tensor:
    return blur_compiled(images, plan(*setting.parameters))


DEFOCUS = Corruption(by_torch, loops=by_loops)
