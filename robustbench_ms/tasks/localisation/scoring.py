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

__all__ = ["IOUS", "LEVELS", "SEEN", "TOLERANCE", "levels_of", "met", "scored", "thresholds_of"]

Maps = NDArray[np.float32]
Masks = NDArray[np.bool_]
Levels = NDArray[np.uint8]
Boxes = NDArray[np.float64]

TOLERANCE = 0.03
"""Of the picture's longer side: how near the largest value must come (15 px at 500, as Zhang et al., ECCV 2016)."""
IOUS = (0.3, 0.5, 0.7)
"""Of box_acc_v2 (Choe et al., CVPR 2020, section 3.2)."""
LEVELS = 256
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
    asked, covered = np.full(count, float(height * width)), np.count_nonzero(shapes, axis=(1, 2))
    if left_out is not None:
        asked -= np.count_nonzero(left_out, axis=(1, 2))
    total = maps.sum(axis=(1, 2), dtype=np.float64)
    within = (maps * shapes).sum(axis=(1, 2), dtype=np.float64)
    kind = np.uint16 if height * width < 2**16 else np.uint32
    inside, outside = np.zeros((2, count, LEVELS), dtype=kind)
    seen = np.zeros((count, SEEN, SEEN), dtype=np.uint8)
    hit = np.zeros(count, dtype=bool)
    for i in range(count):
        hit[i] = not flat[i] and _hits(maps[i], shapes[i])
        inside[i] = np.bincount(levels[i][shapes[i]], minlength=LEVELS)
        # Of all pixels OpenCV's count is the fastest; of few of them numpy's.
        outside[i] = cv2.calcHist([levels[i]], [0], None, [LEVELS], [0, LEVELS]).ravel() - inside[i]
        if left_out is not None:
            outside[i] -= np.bincount(levels[i][left_out[i] & ~shapes[i]], minlength=LEVELS).astype(kind)
        seen[i] = cv2.resize(levels[i], (SEEN, SEEN), interpolation=cv2.INTER_AREA)
    found: dict[str, NDArray[Any]] = {
        "hit": hit,
        "energy": np.where(total > 0, within / np.where(total > 0, total, 1.0), 0.0).astype(np.float32),
        "share": (covered / np.maximum(asked, 1.0)).astype(np.float32),
        "inside": inside,
        "outside": outside,
        "seen": seen,
    }
    if thresholds is not None:
        best = [
            [met(levels[i], t, boxes[i], iou) for t, iou in zip(thresholds, IOUS, strict=True)]
            for i in range(count)
        ]
        right = np.array(best).reshape(count, len(IOUS)) >= np.array(IOUS)
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


def met(levels: Levels, threshold: int, boxes: Boxes, least: float = 0.0) -> float:
    """The best IoU of the boxes (k, 4) with one around what hangs together (by sides or corners) above a threshold.

    What is surely below `least` may be told as 0.
    """
    # Of each part its outer edge, at the top of two levels; several times as fast as OpenCV's labelling of parts.
    above = (levels > threshold).view(np.uint8)
    edges, level = cv2.findContours(above, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if not edges or not len(boxes):
        return 0.0
    # By numbers of Python's: of a handful of parts and boxes arrays take several times as long.
    objects = [(x0, y0, x1, y1, (x1 - x0) * (y1 - y0)) for x0, y0, x1, y1 in boxes.tolist()]
    best = 0.0
    for edge, parent in zip(edges, level[0, :, 3].tolist(), strict=True):
        if parent >= 0:
            continue
        x, y, w, h = cv2.boundingRect(edge)
        area = w * h
        for x0, y0, x1, y1, whole in objects:
            most = area / whole if area < whole else whole / area  # of two boxes of these areas
            if most < least or most <= best:
                continue
            shared = max(0.0, min(x + w, x1) - max(x, x0)) * max(0.0, min(y + h, y1) - max(y, y0))
            best = max(best, shared / (whole + area - shared))
    return best


def thresholds_of(levels: Sequence[Levels], boxes: Sequence[Boxes]) -> list[int]:
    """For each IoU the level above which most maps (H, W) have a box that meets an object's; the lowest of equals."""
    found = np.array(
        [[met(one, t, some, IOUS[0]) for t in CANDIDATES] for one, some in zip(levels, boxes, strict=True)]
    )
    return [CANDIDATES[int((found >= iou).sum(axis=0).argmax())] for iou in IOUS]
