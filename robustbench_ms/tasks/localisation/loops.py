"""Compiled loops over heat maps: levels in and beside objects, and the boxes around what hangs together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.tasks.compiled import compiled

__all__ = ["LEVELS", "counted", "met"]

LEVELS = 256


def counted(
    maps: NDArray[np.float32],
    levels: NDArray[np.uint8],
    shapes: NDArray[np.bool_],
    left_out: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Pixels of each level in the shape and beside it, (m, LEVELS) both, and sums of the map (m, 2): in it, whole.

    All are (m, H, W). Beside it what is left out is not counted.
    """
    inside, outside = np.zeros((2, len(maps), LEVELS), np.int64)
    sums = np.zeros((len(maps), 2))
    nothing = np.zeros((0, 0, 0), np.bool_)
    _counted(maps, levels, shapes, nothing if left_out is None else left_out, inside, outside, sums)
    return inside, outside, sums


def met(
    levels: NDArray[np.uint8], thresholds: Sequence[int], boxes: Sequence[NDArray[np.float64]]
) -> NDArray[np.float64]:
    """The best IoU (m, t) of each map's object boxes with those of its parts above each threshold; 0 without any.

    `levels` are (m, H, W), `boxes` m times (k, 4) xyxy in pixels. A part is what hangs together by sides or corners.
    """
    best = np.zeros((len(levels), len(thresholds)))
    starts = np.cumsum([0, *(len(some) for some in boxes)])
    every = np.concatenate([np.zeros((0, 4)), *boxes])
    _met(np.ascontiguousarray(levels), np.array(thresholds), every, starts, best)
    return best


@compiled
def _counted(
    maps: Any, levels: Any, shapes: Any, left_out: Any, inside: Any, outside: Any, sums: Any
) -> None:
    count, height, width = maps.shape
    for i in range(count):
        within, total = 0.0, 0.0
        for y in range(height):
            for x in range(width):
                total += maps[i, y, x]
                if shapes[i, y, x]:
                    within += maps[i, y, x]
                    inside[i, levels[i, y, x]] += 1
                elif not left_out.size or not left_out[i, y, x]:
                    outside[i, levels[i, y, x]] += 1
        sums[i, 0], sums[i, 1] = within, total


@compiled
def _met(levels: Any, thresholds: Any, boxes: Any, starts: Any, best: Any) -> None:
    count, height, width = levels.shape
    most = width // 2 + 1
    # Runs of one row and of the one above it: from, to, and of which part.
    begins, ends, parts = np.empty((3, 2, most), np.int64)
    owner, left, top, right, bottom = np.empty((5, height * most), np.int64)
    for i in range(count):
        for t in range(thresholds.size):
            made, above, now = 0, 0, 0
            for y in range(height):
                row, before = levels[i, y], 1 - now
                runs, first, x = 0, 0, 0
                while x < width:
                    if row[x] <= thresholds[t]:
                        x += 1
                        continue
                    start = x
                    while x < width and row[x] > thresholds[t]:
                        x += 1
                    while first < above and ends[before, first] < start:
                        first += 1
                    part, other = -1, first
                    while other < above and begins[before, other] <= x:
                        found = parts[before, other]
                        while owner[found] != found:
                            owner[found] = owner[owner[found]]
                            found = owner[found]
                        if part < 0:
                            part = found
                        elif found != part:
                            owner[found] = part
                            left[part] = min(left[part], left[found])
                            top[part] = min(top[part], top[found])
                            right[part] = max(right[part], right[found])
                        other += 1
                    if part < 0:
                        part = made
                        owner[part], left[part], top[part], right[part] = part, start, y, x
                        made += 1
                    left[part], right[part] = min(left[part], start), max(right[part], x)
                    bottom[part] = y + 1
                    begins[now, runs], ends[now, runs], parts[now, runs] = start, x, part
                    runs += 1
                above, now = runs, before
            for part in range(made):
                if owner[part] != part:
                    continue
                area = (right[part] - left[part]) * (bottom[part] - top[part])
                for k in range(starts[i], starts[i + 1]):
                    x0, y0, x1, y1 = boxes[k, 0], boxes[k, 1], boxes[k, 2], boxes[k, 3]
                    wide = max(0.0, min(right[part], x1) - max(left[part], x0))
                    shared = wide * max(0.0, min(bottom[part], y1) - max(top[part], y0))
                    best[i, t] = max(best[i, t], shared / ((x1 - x0) * (y1 - y0) + area - shared))
