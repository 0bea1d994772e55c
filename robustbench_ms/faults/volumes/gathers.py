"""Trilinear reading on the CPU as compiled loops: the same additions and products as `resampled`'s, so equal bytes.

Each loop works on planes start..stop-1 of what it makes, see `corruptions.cpu.compile`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from robustbench_ms.corruptions.cpu.compile import compiled

__all__ = ["along_last", "at_places", "turned_about"]


@compiled
def _between(a: Any, b: Any, part: Any) -> Any:
    return (b - a) * part + a


@compiled
def _plane(padded: Any, deep: Any, down: Any, across: Any, at: Any, parts: Any, made: Any) -> None:
    """A plane float32 (H, W) of what a volume has at places float64 (H, W) each.

    `padded` (D + 3, H + 3, W + 3) is the volume with a voxel of zeros before it and two behind along each axis: what is
    read beyond them is between zeros. `at` uint64 (W,) and `parts` float32 (3, W) are for what is known before a voxel
    is read: a loop of its own, as the compiler does several places of it at once.
    """
    flat = padded.reshape(-1)
    rows, columns = padded.shape[1], padded.shape[2]
    depth, height, width = np.float64(padded.shape[0] - 3), np.float64(rows - 3), np.float64(columns - 3)
    # Unsigned places, as nothing is then asked about their sign.
    one, row, plane = np.uint64(1), np.uint64(columns), np.uint64(rows * columns)
    for y in range(made.shape[0]):
        for i in range(made.shape[1]):
            a, b = min(max(deep[y, i], -1.0), depth), min(max(down[y, i], -1.0), height)
            c = min(max(across[y, i], -1.0), width)
            low_z, low_y, low_x = np.floor(a), np.floor(b), np.floor(c)
            parts[0, i], parts[1, i] = np.float32(a - low_z), np.float32(b - low_y)
            parts[2, i] = np.float32(c - low_x)
            at[i] = ((np.int32(low_z) + 1) * rows + (np.int32(low_y) + 1)) * columns + (np.int32(low_x) + 1)
        for i in range(made.shape[1]):
            part_z, part_y, part_x = parts[0, i], parts[1, i], parts[2, i]
            first = at[i]
            second = first + plane
            e = _between(flat[first], flat[first + one], part_x)
            f = _between(flat[first + row], flat[first + row + one], part_x)
            g = _between(flat[second], flat[second + one], part_x)
            h = _between(flat[second + row], flat[second + row + one], part_x)
            made[y, i] = _between(_between(e, f, part_y), _between(g, h, part_y), part_z)


@compiled
def at_places(start: int, stop: int, padded: Any, deep: Any, down: Any, across: Any, made: Any) -> None:
    """What a volume, padded as for `_plane`, has at places float64 (D, H, W) each, into `made` float32 (C, D, H, W)."""
    at, parts = np.empty(made.shape[3], np.uint64), np.empty((3, made.shape[3]), np.float32)
    for c in range(made.shape[0]):
        for z in range(start, stop):
            _plane(padded[c], deep[z], down[z], across[z], at, parts, made[c, z])


@compiled
def turned_about(
    start: int, stop: int, padded: Any, deep: Any, down: Any, across: Any, matrix: Any, middle: Any, made: Any
) -> None:
    """The same at places that are a matrix's (3, 3) and `middle` (3,): as `resampled.rigid` has them at spacing 1.

    `deep` (D,), `down` (H,), `across` (W,) are the voxels' distances from the middle, less what it is moved by.
    """
    height, width = made.shape[2:]
    at, parts = np.empty(width, np.uint64), np.empty((3, width), np.float32)
    places = np.empty((3, height, width))
    for z in range(start, stop):
        for axis in range(3):
            along, over, after = matrix[0, axis] * deep[z], matrix[1, axis], matrix[2, axis]
            for y in range(height):
                first = along + down[y] * over
                for i in range(width):
                    places[axis, y, i] = (first + across[i] * after) + middle[axis]
        for c in range(made.shape[0]):
            _plane(padded[c], places[0], places[1], places[2], at, parts, made[c, z])


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
