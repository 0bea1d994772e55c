"""Exact smoothing of whole-number noise, compiled for the CPU: what `elastic` defines by a product of matrices.

Noise of 17 bits, weights of 28, sums below 2^53: float64 holds every one exactly, so the two ways below and a
matrix product on any device agree to the last bit, in whatever order each adds.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiled import kernel
from .separable import _convolve

__all__ = ["SHIFT", "smoothed_by_matrices", "smoothed_by_sums"]

SHIFT = 2.0**-20
"""What the sums of the first pass are rounded by, so that those of the second stay exact."""


@kernel
def smoothed_by_sums(words: Any, height: Any, width: Any, down: Any, along: Any, scale: Any, out: Any) -> Any:
    """Words (H * W) -> one field of `elastic.displacements`, float32 (H * W), by short sums.

    `down` and `along` are one side of each kernel, from the centre, filled up as `_convolve` wants it; radii
    are at most the sides.
    """
    radius, reach = len(down) - 1, len(along) - 1
    tall = np.empty((height + 2 * radius) * width, np.float64)
    middle = tall[radius * width : (radius + height) * width]
    for i in range(middle.size):
        middle[i] = np.float64(2 * np.int32(words[i]) + np.int32(1 - 65536))
    for j in range(radius):
        tall[(radius - 1 - j) * width : (radius - j) * width] = middle[j * width : (j + 1) * width]
        low, last = (radius + height + j) * width, (height - 1 - j) * width
        tall[low : low + width] = middle[last : last + width]
    rows = max(1, min(height, 1024 // width))
    step = width + 2 * reach
    narrowed = np.empty(rows * width, np.float64)
    wide, total = np.empty(rows * step, np.float64), np.empty(rows * step, np.float64)
    for y in range(0, height, rows):
        count = min(rows, height - y)
        _convolve(narrowed, tall, (y + radius) * width, width, down, count * width)
        for k in range(count):
            row, line = narrowed[k * width : (k + 1) * width], wide[k * step : (k + 1) * step]
            for x in range(width):
                line[reach + x] = np.rint(row[x] * SHIFT)
            for j in range(reach):
                line[reach - 1 - j] = line[reach + j]
                line[reach + width + j] = line[reach + width - 1 - j]
        _convolve(total, wide, reach, 1, along, count * step - 2 * reach)
        for k in range(count):
            row, line = out[(y + k) * width : (y + k + 1) * width], total[k * step : k * step + width]
            for x in range(width):
                row[x] = np.float32(line[x] * scale)


@kernel(fastmath={"contract"})  # type: ignore[untyped-decorator]
def _product(matrix: Any, x: Any, out: Any) -> None:
    """Matrix (I, K) times x (K, J) -> out (I, J), four rows of x at a time."""
    rows, inner = matrix.shape
    for i in range(rows):
        total = out[i]
        total[:] = 0
        k = 0
        while k + 4 <= inner:
            a, b, c, d = matrix[i, k], matrix[i, k + 1], matrix[i, k + 2], matrix[i, k + 3]
            x1, x2, x3, x4 = x[k], x[k + 1], x[k + 2], x[k + 3]
            for j in range(total.size):
                total[j] += a * x1[j] + b * x2[j] + c * x3[j] + d * x4[j]
            k += 4
        while k < inner:
            a, x1 = matrix[i, k], x[k]
            for j in range(total.size):
                total[j] += a * x1[j]
            k += 1


@kernel
def _along_first(x: Any, even: Any, odd: Any, gain: Any, out: Any) -> None:
    """Smooth x (n, m) along its first axis, times `gain`, rounded -> out (m, n): transposed.

    A kernel that looks the same from both ends takes even input to even output and odd to odd, which halves
    the work: `even` (ceil(n / 2), ceil(n / 2)) and `odd` (n // 2, n // 2) are its halves, doubled.
    """
    n, m = x.shape
    half, other = even.shape[0], odd.shape[0]
    sums, differences = np.empty((half, m), np.float64), np.empty((other, m), np.float64)
    for k in range(other):
        for j in range(m):
            sums[k, j] = x[k, j] + x[n - 1 - k, j]
            differences[k, j] = x[k, j] - x[n - 1 - k, j]
    if half > other:
        for j in range(m):
            sums[other, j] = x[other, j]
    upper, lower = np.empty((half, m), np.float64), np.empty((half, m), np.float64)
    _product(even, sums, upper)
    _product(odd, differences, lower[:other])
    lower[other:] = 0
    for j in range(m):
        for i in range(half):
            out[j, i] = np.rint((upper[i, j] + lower[i, j]) * gain)
            out[j, n - 1 - i] = np.rint((upper[i, j] - lower[i, j]) * gain)


@kernel
def smoothed_by_matrices(
    words: Any,
    height: Any,
    width: Any,
    down: Any,
    down_odd: Any,
    along: Any,
    along_odd: Any,
    scale: Any,
    out: Any,
) -> None:
    """`smoothed_by_sums` for any radius, with the halves that `_along_first` takes."""
    noise, once = np.empty((height, width), np.float64), np.empty((width, height), np.float64)
    for y in range(height):
        for x in range(width):
            noise[y, x] = np.float64(2 * np.int32(words[y * width + x]) + np.int32(1 - 65536))
    _along_first(noise, down, down_odd, SHIFT / 2, once)
    _along_first(once, along, along_odd, 0.5, noise)
    flat = noise.ravel()
    for i in range(flat.size):
        out[i] = np.float32(flat[i] * scale)
