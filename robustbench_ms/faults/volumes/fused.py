"""Sums and artefacts of `pointwise` on the CPU as compiled loops: few passes, the same operations, so equal bytes.

Each loop works on planes, or rows, start..stop-1, see `corruptions.cpu.compile`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from robustbench_ms.corruptions.cpu.compile import compiled

__all__ = ["biased", "folded_rows", "waved"]

_LOG2E, _LN2_HIGH, _LN2_LOW = (
    np.float32(value) for value in (1.4426950408889634, 0.693359375, -2.12194440e-4)
)
_ONE = np.float32(1.0)
_OVER = tuple(np.float32(1.0 / term) for term in range(7, 0, -1))


@compiled
def biased(start: int, stop: int, x: Any, first: Any, planes: Any, made: Any) -> None:
    """A volume float32 (C, D, H, W) times the exponential of a polynomial in `first` (D,), into `made`.

    `planes` float32 (4, H, W) are its coefficients, from the constant one on. Its values are within -80..80, as 19
    terms of at most .6 are.
    """
    width = x.shape[3]
    series, powers = np.empty(width, np.float32), np.empty(width, np.int32)
    scale = powers.view(np.float32)
    for z in range(start, stop):
        f = first[z]
        for y in range(x.shape[2]):
            for i in range(width):
                value = ((planes[3, y, i] * f + planes[2, y, i]) * f + planes[1, y, i]) * f + planes[0, y, i]
                k = np.rint(value * _LOG2E)
                r = (value - k * _LN2_HIGH) - k * _LN2_LOW
                total = _ONE
                for over in _OVER:
                    total = (total * r) * over + _ONE
                series[i] = total
                powers[i] = (np.int32(k) + np.int32(127)) << np.int32(23)
            for c in range(x.shape[0]):
                for i in range(width):
                    made[c, z, y, i] = x[c, z, y, i] * (series[i] * scale[i])


@compiled
def waved(
    start: int, stop: int, x: Any, size: Any, cosines: Any, sines: Any, both: Any, other: Any, made: Any
) -> None:
    """A volume float32 (C, D, H, W) and `size` (C,) times a wave, into `made`.

    The wave is the cosine of an angle along the first axis, of `cosines` and `sines` (D,), and one of the plane, of
    `both` and `other` (H, W).
    """
    for c in range(x.shape[0]):
        for z in range(start, stop):
            for y in range(x.shape[2]):
                for i in range(x.shape[3]):
                    wave = cosines[z] * both[y, i] - sines[z] * other[y, i]
                    made[c, z, y, i] = x[c, z, y, i] + size[c] * wave


@compiled
def folded_rows(start: int, stop: int, x: Any, held: Any, made: Any) -> None:
    """`sums.folded` of each row of x float32 (C, n) as float64, into `made` (C,); `held` float64 (C, n // 2 + 1)."""
    for c in range(start, stop):
        n, row = x.shape[1], held[c]
        half = n // 2
        if half == 0:
            row[0] = x[c, 0]
        for i in range(half):
            row[i] = np.float64(x[c, i]) + np.float64(x[c, half + i])
        if half and n % 2:
            row[0] += x[c, n - 1]
        n = half
        while n > 1:
            half = n // 2
            last = row[n - 1]
            for i in range(half):
                row[i] = row[i] + row[half + i]
            if n % 2:
                row[0] += last
            n = half
        made[c] = row[0]
