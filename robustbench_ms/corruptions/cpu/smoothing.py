"""Weighted sums of an array and its own shifted selves: Gaussians on both sides of a value, and lines of taps."""

from __future__ import annotations

from typing import Any

import numpy as np

from .compile import compiled

__all__ = ["SHIFT", "add_taps", "convolve", "grouped", "smoothed_by_sums"]

Array = np.ndarray[Any, np.dtype[Any]]

SHIFT = 2.0**-20
"""What the sums of `smoothed_by_sums`'s first pass are rounded by, so that those of the second stay exact."""


def grouped(weights: Array) -> Array:
    """One side of a filter as `convolve` takes it, 2 pairs and then 4 at a time: zeros fill the outermost."""
    pairs = len(weights) - 1
    missing = pairs % 2 if pairs % 4 in (1, 2) else -pairs % 4
    return np.append(weights, np.zeros(missing))


@compiled
def convolve(total: Any, x: Any, centre: Any, stride: Any, weights: Any, count: Any) -> None:
    """total[i] = the weighted sum of x[centre + i +- j stride], from the centre, then outermost inwards."""
    w0, j = weights[0], len(weights) - 1
    c = x[centre:]
    if j == 0:
        for i in range(count):
            total[i] = c[i] * w0
    elif j % 4:
        w2, w1 = weights[j], weights[j - 1]
        a2, b2 = x[centre - j * stride :], x[centre + j * stride :]
        a1, b1 = x[centre - (j - 1) * stride :], x[centre + (j - 1) * stride :]
        for i in range(count):
            total[i] = c[i] * w0 + (a2[i] + b2[i]) * w2 + (a1[i] + b1[i]) * w1
        j -= 2
    first = j == len(weights) - 1
    while j > 0:
        w4, w3, w2, w1 = weights[j], weights[j - 1], weights[j - 2], weights[j - 3]
        a4, b4 = x[centre - j * stride :], x[centre + j * stride :]
        a3, b3 = x[centre - (j - 1) * stride :], x[centre + (j - 1) * stride :]
        a2, b2 = x[centre - (j - 2) * stride :], x[centre + (j - 2) * stride :]
        a1, b1 = x[centre - (j - 3) * stride :], x[centre + (j - 3) * stride :]
        if first:
            for i in range(count):
                total[i] = (
                    c[i] * w0
                    + (a4[i] + b4[i]) * w4
                    + (a3[i] + b3[i]) * w3
                    + (a2[i] + b2[i]) * w2
                    + (a1[i] + b1[i]) * w1
                )
        else:
            for i in range(count):
                total[i] = (
                    total[i]
                    + (a4[i] + b4[i]) * w4
                    + (a3[i] + b3[i]) * w3
                    + (a2[i] + b2[i]) * w2
                    + (a1[i] + b1[i]) * w1
                )
        first = False
        j -= 4


@compiled
def add_taps(total: Any, x: Any, here: Any, distances: Any, weights: Any, count: Any) -> None:
    """total[i] = the weighted sum of x[here + i + distance], in the taps' order, eight and then one at a time."""
    for i in range(count):
        total[i] = 0
    t = 0
    while t + 8 <= len(weights):
        w1, w2, w3, w4 = weights[t], weights[t + 1], weights[t + 2], weights[t + 3]
        w5, w6, w7, w8 = weights[t + 4], weights[t + 5], weights[t + 6], weights[t + 7]
        x1, x2 = x[here + distances[t] :], x[here + distances[t + 1] :]
        x3, x4 = x[here + distances[t + 2] :], x[here + distances[t + 3] :]
        x5, x6 = x[here + distances[t + 4] :], x[here + distances[t + 5] :]
        x7, x8 = x[here + distances[t + 6] :], x[here + distances[t + 7] :]
        for i in range(count):
            v = total[i] + x1[i] * w1 + x2[i] * w2 + x3[i] * w3 + x4[i] * w4
            total[i] = v + x5[i] * w5 + x6[i] * w6 + x7[i] * w7 + x8[i] * w8
        t += 8
    while t < len(weights):
        w1, x1 = weights[t], x[here + distances[t] :]
        for i in range(count):
            total[i] += x1[i] * w1
        t += 1


@compiled
def smoothed_by_sums(words: Any, height: Any, width: Any, down: Any, along: Any, scale: Any, out: Any) -> Any:
    """Words (H * W) -> one field of `elastic.displacements`, float32 (H * W), by short sums.

    `down` and `along` are one side of each filter, from the centre, filled up as `convolve` wants it; radii
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
        convolve(narrowed, tall, (y + radius) * width, width, down, count * width)
        for k in range(count):
            row, line = narrowed[k * width : (k + 1) * width], wide[k * step : (k + 1) * step]
            for x in range(width):
                line[reach + x] = np.rint(row[x] * SHIFT)
            for j in range(reach):
                line[reach - 1 - j] = line[reach + j]
                line[reach + width + j] = line[reach + width - 1 - j]
        convolve(total, wide, reach, 1, along, count * step - 2 * reach)
        for k in range(count):
            row, line = out[(y + k) * width : (y + k + 1) * width], total[k * step : k * step + width]
            for x in range(width):
                row[x] = np.float32(line[x] * scale)
