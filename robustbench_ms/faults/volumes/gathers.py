"""Trilinear reading on the CPU as compiled loops: the same additions and products as `resampled.read`, so equal bytes.

Each loop works on planes start..stop-1 of what it makes, see `corruptions.cpu.compile`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from robustbench_ms.corruptions.cpu.compile import compiled

__all__ = ["at_places", "turned_about"]


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
def _read(x: Any, deep: float, down: float, across: float) -> Any:
    """A volume float32 (D, H, W) at a place, float64, in voxels."""
    deep = min(max(deep, -1.0), np.float64(x.shape[0]))
    down = min(max(down, -1.0), np.float64(x.shape[1]))
    across = min(max(across, -1.0), np.float64(x.shape[2]))
    low_z, low_y, low_x = np.floor(deep), np.floor(down), np.floor(across)
    part_z, part_y, part_x = np.float32(deep - low_z), np.float32(down - low_y), np.float32(across - low_x)
    z, y, i = int(low_z), int(low_y), int(low_x)
    if 0 <= z < x.shape[0] - 1 and 0 <= y < x.shape[1] - 1 and 0 <= i < x.shape[2] - 1:
        rows = x[z, y], x[z, y + 1], x[z + 1, y], x[z + 1, y + 1]
        a, b = _between(rows[0][i], rows[0][i + 1], part_x), _between(rows[1][i], rows[1][i + 1], part_x)
        c, d = _between(rows[2][i], rows[2][i + 1], part_x), _between(rows[3][i], rows[3][i + 1], part_x)
        return _between(_between(a, b, part_y), _between(c, d, part_y), part_z)
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
def at_places(start: int, stop: int, x: Any, deep: Any, down: Any, across: Any, made: Any) -> None:
    """A volume float32 (C, D, H, W) at places float64 (D, H, W) each, into `made`."""
    for z in range(start, stop):
        for c in range(x.shape[0]):
            volume, plane = x[c], made[c, z]
            for y in range(x.shape[2]):
                for i in range(x.shape[3]):
                    plane[y, i] = _read(volume, deep[z, y, i], down[z, y, i], across[z, y, i])


@compiled
def turned_about(
    start: int, stop: int, x: Any, deep: Any, down: Any, across: Any, matrix: Any, middle: Any, made: Any
) -> None:
    """The same at places that are a matrix's (3, 3) and `middle` (3,): as `resampled.rigid` has them at spacing 1.

    `deep` (D,), `down` (H,), `across` (W,) are the voxels' distances from the middle, less what it is moved by.
    """
    for z in range(start, stop):
        for c in range(x.shape[0]):
            volume, plane = x[c], made[c, z]
            for y in range(x.shape[2]):
                first = deep[z] * matrix[0, 0] + down[y] * matrix[1, 0]
                second = deep[z] * matrix[0, 1] + down[y] * matrix[1, 1]
                third = deep[z] * matrix[0, 2] + down[y] * matrix[1, 2]
                for i in range(x.shape[3]):
                    plane[y, i] = _read(
                        volume,
                        (first + across[i] * matrix[2, 0]) + middle[0],
                        (second + across[i] * matrix[2, 1]) + middle[1],
                        (third + across[i] * matrix[2, 2]) + middle[2],
                    )
