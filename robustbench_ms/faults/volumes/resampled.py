"""Artefacts that move what is where: a turn, a shift, and a displacement that differs from place to place.

Each gives the places that voxels are read at, float64, in voxels, one tensor an axis that broadcasts to (D, H, W).
`read` reads a volume there, trilinear, and `read_labels` a map, at the nearest voxel; outside is 0.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustbench_ms.corruptions.cpu.compile import spread
from robustbench_ms.faults.volumes.draws import Draws
from robustbench_ms.faults.volumes.elementary import turned
from robustbench_ms.faults.volumes.gathers import along_last, at_places, turned_about
from robustbench_ms.faults.volumes.table import STRENGTHS

__all__ = [
    "Places",
    "displaced",
    "elastic",
    "read",
    "read_by_torch",
    "read_labels",
    "read_turned",
    "rigid",
    "rotation",
    "shift",
]

Places = tuple[Tensor, Tensor, Tensor]
Shape = tuple[int, int, int]
Spacing = tuple[float, float, float]

_POINTS = 5
"""Of an elastic displacement, along each axis."""


def rotation(shape: Shape, spacing: Spacing, draws: Draws, level: int, device: torch.device) -> Places:
    """Turned about the centre, about a uniform direction, in millimetres."""
    matrix = turned(draws.direction(), STRENGTHS["rotation"][level - 1] / 360.0)
    return rigid(shape, spacing, matrix, np.zeros(3), device)


def shift(shape: Shape, spacing: Spacing, draws: Draws, level: int, device: torch.device) -> Places:
    """Moved in a uniform direction, by a fraction of each axis's side."""
    del spacing
    by = STRENGTHS["shift"][level - 1] * draws.direction() * np.array(shape)
    deep, down, across = (
        _shaped(torch.arange(side, dtype=torch.float64, device=device) - float(step), axis)
        for axis, (side, step) in enumerate(zip(shape, by, strict=True))
    )
    return deep, down, across


def elastic(shape: Shape, spacing: Spacing, draws: Draws, level: int, device: torch.device) -> Places:
    """Each voxel is read up to a fraction of the side away along each axis: 5^3 points U(-1, 1), trilinear between."""
    del spacing
    drawn = STRENGTHS["elastic"][level - 1] * draws.signed(3 * _POINTS**3).reshape(3, *(_POINTS,) * 3)
    points = torch.from_numpy(drawn * np.array(shape)[:, None, None, None])
    if device.type == "cpu":
        points = _between(_between(points, 1, shape[0]), 2, shape[1]).contiguous()
        low, part = _on_the_way(_POINTS, shape[2], device)
        made = torch.empty((3, *shape), dtype=torch.float64)
        spread(along_last, shape[0], points.numpy(), low.numpy(), part.numpy(), made.numpy())
        return made[0], made[1], made[2]
    return displaced(points.to(device), shape)


def displaced(points: Tensor, shape: Shape) -> Places:
    """What is read where displacements in voxels, float64 (3, points, points, points), move it; on any device."""
    for axis, length in enumerate(shape):
        points = _between(points, 1 + axis, length)
    deep, down, across = (
        away + _shaped(torch.arange(side, dtype=torch.float64, device=points.device), axis)
        for axis, (away, side) in enumerate(zip(points, shape, strict=True))
    )
    return deep, down, across


def rigid(
    shape: Shape, spacing: Spacing, matrix: NDArray[np.float64], by: NDArray[np.float64], device: torch.device
) -> Places:
    """Turned about the centre by a matrix, in millimetres, and then moved by `by` voxels of each axis."""
    middle = [(side - 1) / 2 for side in shape]
    from_it = [
        _shaped((torch.arange(side, dtype=torch.float64, device=device) - half - float(step)) * mm, axis)
        for axis, (side, half, step, mm) in enumerate(zip(shape, middle, by, spacing, strict=True))
    ]
    # What was turned is read by turning back: by the transposed matrix.
    deep, down, across = (
        (
            (from_it[0] * float(matrix[0, a]) + from_it[1] * float(matrix[1, a]))
            + from_it[2] * float(matrix[2, a])
        )
        / spacing[a]
        + middle[a]
        for a in range(3)
    )
    return deep, down, across


def read(x: Tensor, places: Places) -> Tensor:
    """A volume float32 (C, D, H, W) at places: trilinear in float32, of places in float64; 0 outside."""
    if x.device.type != "cpu":
        return read_by_torch(x, places)
    made = torch.empty_like(x, memory_format=torch.contiguous_format)
    wide = (place.expand(x.shape[1:]).contiguous().numpy() for place in places)
    spread(at_places, x.shape[1], _padded(x).numpy(), *wide, made.numpy())
    return made


def read_turned(x: Tensor, matrix: NDArray[np.float64], by: NDArray[np.float64]) -> Tensor:
    """The same at the places of `rigid`, at spacing 1."""
    shape = (x.shape[1], x.shape[2], x.shape[3])
    if x.device.type != "cpu":
        return read_by_torch(x, rigid(shape, (1.0, 1.0, 1.0), matrix, by, x.device))
    middle = (np.array(shape) - 1) / 2
    away = [np.arange(side) - half - step for side, half, step in zip(shape, middle, by, strict=True)]
    made = torch.empty_like(x, memory_format=torch.contiguous_format)
    spread(
        turned_about,
        shape[0],
        _padded(x).numpy(),
        *away,
        np.ascontiguousarray(matrix),
        middle,
        made.numpy(),
    )
    return made


def read_by_torch(x: Tensor, places: Places) -> Tensor:
    """`read` in torch's operations, on any device."""
    shape = x.shape[1:]
    padded = _padded(x).flatten(1)
    clamped = [place.clamp(-1.0, float(side)) for place, side in zip(places, shape, strict=True)]
    lows = [place.floor() for place in clamped]
    deep, down, across = (
        (place - low).float().expand(shape) for place, low in zip(clamped, lows, strict=True)
    )
    rows, columns = shape[1] + 3, shape[2] + 3
    start = ((lows[0] + 1) * (rows * columns) + ((lows[1] + 1) * columns + (lows[2] + 1))).long()
    start = start.expand(shape).reshape(-1)

    def at(step: int) -> Tensor:
        return padded.index_select(1, start + step).view(x.shape)

    def between(a: Tensor, b: Tensor, part: Tensor) -> Tensor:
        return (b - a).mul_(part).add_(a)

    def plane(step: int) -> Tensor:
        upper = between(at(step), at(step + 1), across)
        return between(upper, between(at(step + columns), at(step + columns + 1), across), down)

    return between(plane(0), plane(rows * columns), deep)


def read_labels(labels: Tensor, places: Places) -> Tensor:
    """A map (D, H, W) at the nearest voxels, floor(c + .5); 0 outside."""
    shape = labels.shape
    nearest = [(place + 0.5).floor() for place in places]
    inside = torch.ones((), dtype=torch.bool, device=labels.device)
    where = torch.zeros((), dtype=torch.int64, device=labels.device)
    for at, side in zip(nearest, shape, strict=True):
        inside = inside & (at >= 0) & (at < side)
        where = where * side + at.clamp(0, side - 1).long()
    found = labels.reshape(-1)[where.expand(shape)]
    return torch.where(inside, found, torch.zeros_like(found))


def _padded(x: Tensor) -> Tensor:
    """One voxel of zeros before and two behind along each axis: what is read beyond them is between zeros."""
    return torch.nn.functional.pad(x, (1, 2) * 3)


def _shaped(values: Tensor, axis: int) -> Tensor:
    return values.view([-1 if k == axis else 1 for k in range(3)])


def _between(points: Tensor, axis: int, length: int) -> Tensor:
    """Linear along an axis between points that reach from the first voxel to the last."""
    index, part = _on_the_way(points.shape[axis], length, points.device)
    part = part.view([-1 if k == axis else 1 for k in range(points.ndim)])
    return points.index_select(axis, index) * (1.0 - part) + points.index_select(axis, index + 1) * part


def _on_the_way(count: int, length: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Of voxels (length,) the point before each, int64, and how far it is on to the next one, float64."""
    place = torch.arange(length, dtype=torch.float64, device=device) * ((count - 1) / max(1, length - 1))
    low = place.floor().clamp(max=count - 2)
    return low.long(), place - low
