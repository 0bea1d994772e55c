"""Which detections of one cell match which true objects: greedy, by score, as pycocotools does, in compiled loops.

Bit for bit COCOeval's matching (cocoeval.py of cocoapi): per image and class, the best detections first, each takes of
the truths that are left the one that it overlaps most and at least by the threshold, the later of equals; truths that
are not counted (crowds, or of another size) come last, and a crowd, whose overlap is over the detection's area alone,
may be taken by many.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.tasks.compiled import compiled
from robustbench_ms.tasks.outcomes import Items

__all__ = ["AREAS", "FALSE", "IGNORED", "RIGHT", "THRESHOLDS", "Matched", "matched"]

THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""IoU."""
AREAS = np.array([[0, 1e10], [0, 32**2], [32**2, 96**2], [96**2, 1e10]])
"""All, small, medium, large: from..to in square pixels, both ends in."""
FALSE, RIGHT, IGNORED = 0, 1, 2
"""What a detection is; what is ignored counts neither way."""


@dataclass(frozen=True)
class Matched:
    """Detections (D,) by class and, in it, by score, of equal scores in the order of images; truths (G,) by class.

    Classes are those of the truth, 0..K-1 in the order of their labels; images are places 0..n-1.
    """

    classes: NDArray[np.int64]
    """(K,): their labels."""
    starts: NDArray[np.int64]
    """(K + 1,): where each class's detections begin."""
    image: NDArray[np.int64]
    rank: NDArray[np.int64]
    """0 is the best of its class and image, or of its image."""
    code: NDArray[np.uint8]
    """(A, T, D): FALSE, RIGHT or IGNORED by area and threshold."""
    truth_starts: NDArray[np.int64]
    truth_image: NDArray[np.int64]
    counted: NDArray[np.bool_]
    """(A, G): which truths are to be found."""


def matched(
    detections: Items,
    truths: Items,
    place: NDArray[np.int64],
    *,
    areas: NDArray[np.float64] = AREAS,
    most: int = 100,
    of_image: bool = False,
) -> Matched:
    """Match the detections of a cell: boxes or, where both tables have `rle`, masks.

    `place` (n,) is where each sample's image stands in the order that equal scores take. `most` detections count of
    each class and image, or with `of_image` of each image. A truth that is `ignore` is a crowd.
    """
    classes = np.unique(truths.columns["label"].astype(np.int64))
    label = detections.columns["label"].astype(np.int64)
    image, score = place[detections.owner], detections.columns["score"]
    if of_image:
        order = np.lexsort((-score, image))
        rank = np.empty(order.size, dtype=np.int64)
        rank[order] = _ranks(image[order])
        order = order[(rank[order] < most) & np.isin(label[order], classes)]
        order = order[np.lexsort((-score[order], image[order], label[order]))]
        rank = rank[order]
    else:
        order = np.lexsort((-score, image, label))
        rank = _ranks(label[order] * place.size + image[order])
        chosen = (rank < most) & np.isin(label[order], classes)
        order, rank = order[chosen], rank[chosen]
    which = np.searchsorted(classes, label[order])
    group = which * place.size + image[order]

    of_truth = np.searchsorted(classes, truths.columns["label"].astype(np.int64))
    truth_group = of_truth * place.size + place[truths.owner]
    by_group = np.argsort(truth_group, kind="stable")
    truth_group = truth_group[by_group]
    crowd = (truths.columns["crowd"] | truths.columns["ignore"])[by_group]
    true_area = truths.columns["area"][by_group]
    counted = ~crowd & (areas[:, :1] <= true_area) & (true_area <= areas[:, 1:])

    firsts = np.flatnonzero(np.diff(group, prepend=-1))
    starts = np.append(firsts, group.size)
    low = np.searchsorted(truth_group, group[firsts])
    high = np.searchsorted(truth_group, group[firsts], side="right")
    offsets = np.append(0, np.cumsum(np.diff(starts) * (high - low)))
    ious = np.zeros(offsets[-1])
    if "rle" in detections.columns and "rle" in truths.columns:
        mine, own = (
            _runs(table.columns["rle"][rows]) for table, rows in ((detections, order), (truths, by_group))
        )
        area = _mask_areas(*mine)
        _mask_ious(starts, low, high, offsets, *mine, *own, crowd, ious)
    else:
        boxes, true_boxes = (
            _xywh(table.columns["box"][rows]) for table, rows in ((detections, order), (truths, by_group))
        )
        area = boxes[:, 2] * boxes[:, 3]
        _box_ious(starts, low, high, offsets, boxes, true_boxes, crowd, ious)
    outside = (area < areas[:, :1]) | (area > areas[:, 1:])
    code = np.zeros((len(areas), THRESHOLDS.size, order.size), dtype=np.uint8)
    _match(starts, low, high, offsets, ious, crowd, counted, outside, THRESHOLDS, code)

    by_score = np.lexsort((-score[order], which))
    steps = np.arange(classes.size + 1)
    return Matched(
        classes,
        np.searchsorted(which, steps),
        image[order][by_score],
        rank[by_score],
        np.ascontiguousarray(code[:, :, by_score]),
        np.searchsorted(truth_group, steps * place.size),
        truth_group % max(1, place.size),
        counted,
    )


def _ranks(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """The place of each in its run of equal values (m,)."""
    at = np.arange(groups.size)
    first = np.diff(groups, prepend=groups[:1] - 1) != 0
    return at - np.maximum.accumulate(np.where(first, at, 0))


def _xywh(boxes: NDArray[np.float32]) -> NDArray[np.float64]:
    """As files hold them, float64 (m, 4), from xyxy."""
    found = boxes.astype(np.float64).reshape(-1, 4)
    found[:, 2:] -= found[:, :2]
    return found


@compiled
def _box_ious(
    starts: Any, low: Any, high: Any, offsets: Any, boxes: Any, truths: Any, crowd: Any, ious: Any
) -> Any:
    for i in range(starts.size - 1):
        at, wide = offsets[i], high[i] - low[i]
        for d in range(starts[i], starts[i + 1]):
            x, y, w, h = boxes[d]
            for g in range(low[i], high[i]):
                across = min(w + x, truths[g, 2] + truths[g, 0]) - max(x, truths[g, 0])
                down = min(h + y, truths[g, 3] + truths[g, 1]) - max(y, truths[g, 1])
                if across > 0 and down > 0:
                    both = across * down
                    whole = w * h if crowd[g] else w * h + truths[g, 2] * truths[g, 3] - both
                    ious[at + (d - starts[i]) * wide + g - low[i]] = both / whole


@compiled
def _match(
    starts: Any,
    low: Any,
    high: Any,
    offsets: Any,
    ious: Any,
    crowd: Any,
    counted: Any,
    outside: Any,
    thresholds: Any,
    code: Any,
) -> Any:
    most = 1
    for i in range(starts.size - 1):
        most = max(most, high[i] - low[i])
    order, taken = np.empty(most, np.int64), np.empty(most, np.bool_)
    for i in range(starts.size - 1):
        count = high[i] - low[i]
        for a in range(counted.shape[0]):
            known = 0
            for g in range(count):
                if counted[a, low[i] + g]:
                    order[known] = g
                    known += 1
            last = known
            for g in range(count):
                if not counted[a, low[i] + g]:
                    order[last] = g
                    last += 1
            for t in range(thresholds.size):
                taken[:count] = False
                for d in range(starts[i], starts[i + 1]):
                    row = offsets[i] + (d - starts[i]) * count
                    best, found = min(thresholds[t], 1 - 1e-10), -1
                    for j in range(count):
                        if taken[j] and not crowd[low[i] + order[j]]:
                            continue
                        if -1 < found < known <= j:
                            break
                        if ious[row + order[j]] >= best:
                            best, found = ious[row + order[j]], j
                    if found < 0:
                        code[a, t, d] = 2 if outside[a, d] else 0
                    else:
                        taken[found] = True
                        code[a, t, d] = 1 if found < known else 2


def _runs(rles: NDArray[np.bytes_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where in its picture's columns each run of masks (m,) ends, of all masks, and where each mask's runs begin."""
    raw = np.ascontiguousarray(rles.astype(np.bytes_))
    letters = raw.view(np.uint8).reshape(raw.size, -1) if raw.size else np.zeros((0, 1), np.uint8)
    ends, starts = np.empty(letters.size, np.int64), np.zeros(raw.size + 1, np.int64)
    used = _read_runs(letters, ends, starts)
    return ends[:used], starts


@compiled
def _read_runs(letters: Any, ends: Any, starts: Any) -> Any:
    """COCO's compressed runs (rleFrString of maskApi.c): 5 bits a letter, from the fourth on less the one two before.

    Returns how many there are.
    """
    used = 0
    for i in range(letters.shape[0]):
        first, at = used, 0
        total, before, last = np.int64(0), np.int64(0), np.int64(0)
        while at < letters.shape[1] and letters[i, at] != 0:
            value, shift, more = np.int64(0), 0, True
            while more and at < letters.shape[1]:
                letter = np.int64(letters[i, at]) - 48
                value |= (letter & 31) << shift
                more = (letter & 32) != 0
                at += 1
                shift += 5
                if not more and letter & 16:
                    value |= -1 << shift
            if used - first > 2:
                value += before
            before, last = last, value
            total += value
            ends[used] = total
            used += 1
        starts[i + 1] = used
    return used


@compiled
def _mask_areas(ends: Any, starts: Any) -> Any:
    areas = np.zeros(starts.size - 1)
    for i in range(starts.size - 1):
        for j in range(starts[i] + 1, starts[i + 1], 2):
            areas[i] += ends[j] - ends[j - 1]
    return areas


@compiled
def _shared(ends: Any, first: Any, last: Any, others: Any, other_first: Any, other_last: Any) -> Any:
    """Pixels that two masks have in common: runs of odd number are inside."""
    both, i, j = 0, first + 1, other_first + 1
    while i < last and j < other_last:
        begin, end = max(ends[i - 1], others[j - 1]), min(ends[i], others[j])
        if end > begin:
            both += end - begin
        if ends[i] < others[j]:
            i += 2
        else:
            j += 2
    return both


@compiled
def _mask_ious(
    starts: Any,
    low: Any,
    high: Any,
    offsets: Any,
    ends: Any,
    firsts: Any,
    true_ends: Any,
    true_firsts: Any,
    crowd: Any,
    ious: Any,
) -> Any:
    areas, true_areas = _mask_areas(ends, firsts), _mask_areas(true_ends, true_firsts)
    for i in range(starts.size - 1):
        at, wide = offsets[i], high[i] - low[i]
        for d in range(starts[i], starts[i + 1]):
            for g in range(low[i], high[i]):
                both = _shared(ends, firsts[d], firsts[d + 1], true_ends, true_firsts[g], true_firsts[g + 1])
                if both > 0:
                    whole = areas[d] if crowd[g] else areas[d] + true_areas[g] - both
                    ious[at + (d - starts[i]) * wide + g - low[i]] = both / whole
