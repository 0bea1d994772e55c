"""Heat maps held against objects, in the picture's own pixels: what is kept of each pair of image and class.

Maps are (m, H, W), 0 or more; `shapes` bool (m, H, W) are the pixels of the class, `left_out` those that nobody is
asked about (crowds), where maps are taken for 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from robustbench_ms.tasks.localisation.loops import LEVELS, counted, met

__all__ = ["IOUS", "LEVELS", "SEEN", "TOLERANCE", "levels_of", "scored", "thresholds_of"]

Maps = NDArray[np.float32]
Masks = NDArray[np.bool_]
Levels = NDArray[np.uint8]
Boxes = NDArray[np.float64]

TOLERANCE = 0.03
"""Of the picture's longer side: how near the largest value must come (15 px at 500, as Zhang et al., ECCV 2016)."""
IOUS = (0.3, 0.5, 0.7)
"""Of box_acc_v2 (Choe et al., CVPR 2020, section 3.2)."""
CANDIDATES = tuple(range(2, LEVELS - 1, 4))
"""The levels among which a threshold is chosen."""
SEEN = 32
"""Side of the small map that is kept for people to look at."""


def levels_of(maps: Maps, left_out: Masks | None = None) -> tuple[Maps, Levels]:
    """Maps without what counts as nothing (NaN, infinity, what is left out), and their levels 0..255 from min to max.

    A map that is the same everywhere has level 0 everywhere.
    """
    maps = np.asarray(maps, dtype=np.float32)
    low, high = maps.min(axis=(1, 2)), maps.max(axis=(1, 2))  # of NaN among others NaN
    broken = ~(np.isfinite(low) & np.isfinite(high))
    if broken.any() or left_out is not None:
        maps = maps.copy()
        maps[broken] = 0.0
        if left_out is not None:
            maps[left_out] = 0.0
        low, high = maps.min(axis=(1, 2)), maps.max(axis=(1, 2))
    spread = np.where(high > low, high - low, np.float32(1.0))
    scale = np.where(high > low, np.float32(LEVELS - 1) / spread, np.float32(0.0))
    levels = maps - low[:, None, None]
    levels *= scale[:, None, None]  # in place: new memory for so many pixels takes longer than the sums
    return maps, np.minimum(levels, LEVELS - 1, out=levels).astype(np.uint8)


def scored(
    maps: Maps,
    shapes: Masks,
    boxes: Sequence[Boxes],
    left_out: Masks | None = None,
    thresholds: Sequence[int] | None = None,
) -> dict[str, NDArray[Any]]:
    """What is kept of each map: hit, energy, share, inside, outside, seen, and box where thresholds are given.

    `boxes` (k, 4) xyxy are those of each pair's objects. A map that is NaN somewhere, the same everywhere or empty is a
    miss.
    """
    count, height, width = maps.shape
    maps, levels = levels_of(maps, left_out)
    flat = levels.max(axis=(1, 2), initial=0) == 0
    inside, outside, sums = counted(maps, levels, shapes, left_out)
    covered = inside.sum(axis=1)
    within, total = sums.T
    hit = np.zeros(count, dtype=bool)
    seen = np.zeros((count, SEEN, SEEN), dtype=np.uint8)
    for i in range(count):
        hit[i] = not flat[i] and _hits(maps[i], shapes[i])
        seen[i] = cv2.resize(levels[i], (SEEN, SEEN), interpolation=cv2.INTER_AREA)
    kind = np.uint16 if height * width < 2**16 else np.uint32
    found: dict[str, NDArray[Any]] = {
        "hit": hit,
        "energy": np.where(total > 0, within / np.where(total > 0, total, 1.0), 0.0).astype(np.float32),
        "share": (covered / np.maximum(covered + outside.sum(axis=1), 1)).astype(np.float32),
        "inside": inside.astype(kind),
        "outside": outside.astype(kind),
        "seen": seen,
    }
    if thresholds is not None:
        right = met(levels, thresholds, boxes) >= np.array(IOUS)
        found["box"] = right.mean(axis=1, dtype=np.float64).astype(np.float32)
    return found


def _hits(heat: Maps, shape: Masks) -> bool:
    """Whether the object has a pixel in the open disc around the map's first largest value."""
    height, width = heat.shape
    y, x = divmod(int(heat.argmax()), width)
    disc = _disc(TOLERANCE * max(height, width))
    reach = len(disc) // 2
    top, left = max(0, y - reach), max(0, x - reach)
    near = shape[top : y + reach + 1, left : x + reach + 1]
    part = disc[top - y + reach :, left - x + reach :][: near.shape[0], : near.shape[1]]
    return bool((near & part).any())


@lru_cache(maxsize=256)
def _disc(radius: float) -> Masks:
    """The pixels nearer than a radius to the middle one, which is among them."""
    reach = int(np.ceil(radius)) - 1
    steps = np.arange(-reach, reach + 1) ** 2
    return np.asarray(steps[:, None] + steps[None, :] < radius**2)


def thresholds_of(levels: Sequence[Levels], boxes: Sequence[Boxes]) -> list[int]:
    """For each IoU the level above which most maps (H, W) have a box that meets an object's; the lowest of equals."""
    found = np.array([met(one[None], CANDIDATES, [some])[0] for one, some in zip(levels, boxes, strict=True)])
    return [CANDIDATES[int((found >= iou).sum(axis=0).argmax())] for iou in IOUS]
