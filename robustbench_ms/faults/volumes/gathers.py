"""Trilinear reading on the CPU as compiled loops: the same additions and products as `resampled`'s, so equal bytes.

Each loop works on planes start..stop-1 of what it makes, see `corruptions.cpu.compile`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from robustbench_ms.corruptions.cpu.compile import compiled

__all__ = ["along_last", "at_places", "turned_about"]


@compiled
def _voxel(x: Any, z: int, y: int, across: int) -> Any:
    """The voxel there; 0 outside."""
    if 0 <= z < x.shape[0] and 0 <= y < x.shape[1] and 0 <= across < x.shape[2]:
        return x[z, y, across]
    return np.float32(0.0)


@compiled
def _between(a: Any, b: Any, part: Any) -> Any:
    return (b - a) * part + a


@compiled
def _at_border(x: Any, deep: float, down: float, across: float) -> Any:
    """A volume float32 (D, H, W) at any place, float64, in voxels."""
    deep = min(max(deep, -1.0), np.float64(x.shape[0]))
    down = min(max(down, -1.0), np.float64(x.shape[1]))
    across = min(max(across, -1.0), np.float64(x.shape[2]))
    low_z, low_y, low_x = np.floor(deep), np.floor(down), np.floor(across)
    part_z, part_y, part_x = np.float32(deep - low_z), np.float32(down - low_y), np.float32(across - low_x)
    z, y, i = int(low_z), int(low_y), int(low_x)
    first = _between(
        _between(_voxel(x, z, y, i), _voxel(x, z, y, i + 1), part_x),
        _between(_voxel(x, z, y + 1, i), _voxel(x, z, y + 1, i + 1), part_x),
        part_y,
    )
    second = _between(
        _between(_voxel(x, z + 1, y, i), _voxel(x, z + 1, y, i + 1), part_x),
        _between(_voxel(x, z + 1, y + 1, i), _voxel(x, z + 1, y + 1, i + 1), part_x),
        part_y,
    )
    return _between(first, second, part_z)


@compiled
def _within(flat: Any, at: Any, row: Any, plane: Any, part_z: Any, part_y: Any, part_x: Any) -> Any:
    """Between eight voxels, of which the first is at `at`: unsigned, as nothing is then asked about its sign."""
    one = np.uint64(1)
    a = _between(flat[at], flat[at + one], part_x)
    b = _between(flat[at + row], flat[at + row + one], part_x)
    at += plane
    c = _between(flat[at], flat[at + one], part_x)
    d = _between(flat[at + row], flat[at + row + one], part_x)
    return _between(_between(a, b, part_y), _between(c, d, part_y), part_z)


@compiled
def _row(x: Any, flat: Any, deep: Any, down: Any, across: Any, made: Any) -> None:
    """A row (W,) of what a volume (D, H, W), and flat, has at places float64 (W,) each."""
    height, width = x.shape[1], x.shape[2]
    last_z, last_y, last_x = np.float64(x.shape[0] - 1), np.float64(height - 1), np.float64(width - 1)
    row, plane = np.uint64(width), np.uint64(height * width)
    for i in range(len(made)):
        a, b, c = deep[i], down[i], across[i]
        if 0.0 <= a < last_z and 0.0 <= b < last_y and 0.0 <= c < last_x:
            z, y, left = np.int64(a), np.int64(b), np.int64(c)  # cut off, which of these is rounded down
            at = np.uint64((z * height + y) * width + left)
            made[i] = _within(
                flat, at, row, plane, np.float32(a - z), np.float32(b - y), np.float32(c - left)
            )
        else:
            made[i] = _at_border(x, a, b, c)


@compiled
def at_places(start: int, stop: int, x: Any, deep: Any, down: Any, across: Any, made: Any) -> None:
    """A volume float32 (C, D, H, W) at places float64 (D, H, W) each, into `made`."""
    for c in range(x.shape[0]):
        flat = x[c].reshape(-1)
        for z in range(start, stop):
            for y in range(x.shape[2]):
                _row(x[c], flat, deep[z, y], down[z, y], across[z, y], made[c, z, y])


@compiled
def turned_about(
    start: int, stop: int, x: Any, deep: Any, down: Any, across: Any, matrix: Any, middle: Any, made: Any
) -> None:
    """The same at places that are a matrix's (3, 3) and `middle` (3,): as `resampled.rigid` has them at spacing 1.

    `deep` (D,), `down` (H,), `across` (W,) are the voxels' distances from the middle, less what it is moved by.
    """
    places = np.empty((3, x.shape[3]))
    for z in range(start, stop):
        for y in range(x.shape[2]):
            for axis in range(3):
                first = deep[z] * matrix[0, axis] + down[y] * matrix[1, axis]
                for i in range(x.shape[3]):
                    places[axis, i] = (first + across[i] * matrix[2, axis]) + middle[axis]
            for c in range(x.shape[0]):
                _row(x[c], x[c].reshape(-1), places[0], places[1], places[2], made[c, z, y])


@compiled
def along_last(start: int, stop: int, points: Any, low: Any, part: Any, made: Any) -> None:
    """Places float64 (3, D, H, W) of displacements (3, D, H, points): linear between them along the last axis.

    `low` (W,) is the point before each voxel, `part` (W,) how far it is on to the next one.
    """
    for z in range(start, stop):
        for y in range(made.shape[2]):
            for i in range(made.shape[3]):
                at, after = low[i], part[i]
                before = 1.0 - after
                made[0, z, y, i] = points[0, z, y, at] * before + points[0, z, y, at + 1] * after + z
                made[1, z, y, i] = points[1, z, y, at] * before + points[1, z, y, at + 1] * after + y
                made[2, z, y, i] = points[2, z, y, at] * before + points[2, z, y, at + 1] * after + i
