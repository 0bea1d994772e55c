"""VisDrone's official numbers, written again from its MATLAB toolkit in plain Python: nothing of the package is used.

Rows are lists as in its files, x, y, w, h, flag or score, category: of truths the flag is 1 where it counts and 0 where
it is ignored, and category 0 is an ignored region.
"""

from __future__ import annotations

import math


def scores(truths, detections, sizes, classes=10):
    """[AP, AP50, AP75, AR1, AR10, AR100, AR500], fractions, of one list of rows an image and (height, width)."""
    truths = [[[*row[:4], 1 - row[4], row[5]] for row in rows] for rows in truths]
    detections = [sorted(rows, key=lambda row: -row[4]) for rows in detections]
    kept = [drop(*one) for one in zip(truths, detections, sizes, strict=True)]
    thresholds = [(50 + 5 * i) / 100 for i in range(10)]
    precision, recall, held = {}, {}, []
    for k in range(1, classes + 1):
        held += [k for rows, _ in kept if any(row[5] == k for row in rows)]
        for x, threshold in enumerate(thresholds):
            for most in (1, 10, 100, 500):
                count, told = 0, []
                for rows, found in kept:
                    own = [row for row in rows if row[5] == k]
                    count += len(own)
                    told += match(own, [row for row in found[:most] if row[5] == k], threshold)
                told.sort(key=lambda one: -one[0])
                right = wrong = 0
                curve = []
                for _, flag in told:
                    right += flag == 1
                    wrong += flag == 0
                    curve.append((right / max(1, count), right / max(1, right + wrong)))
                recall[k, x, most] = max((r for r, _ in curve), default=0.0)
            precision[k, x] = area(curve)

    def mean(values):
        values = list(values)
        return sum(values) / len(values)

    return [
        mean(precision[k, x] for k in held for x in range(10)),
        mean(precision[k, 0] for k in held),
        mean(precision[k, 5] for k in held),
        *(mean(recall[k, x, most] for k in held for x in range(10)) for most in (1, 10, 100, 500)),
    ]


def drop(truths, detections, size):
    """Both without what lies by half in the union of the regions, pixel by pixel."""
    height, width = size
    covered = set()
    for *region, _, category in truths:
        if category == 0:
            x, y, w, h = (max(1, side) for side in region)
            covered |= {
                (i, j) for j in range(y, min(height, y + h) + 1) for i in range(x, min(width, x + w) + 1)
            }

    def outside(row):
        x, y, w, h = (max(1, math.floor(side + 0.5)) for side in row[:4])
        left, top = min(width, x), min(height, y)
        inside = sum(
            (i, j) in covered
            for j in range(top + 1, min(height, top + h) + 1)
            for i in range(left + 1, min(width, left + w) + 1)
        )
        return inside / (w * h) < 0.5

    rest = [row for row in truths if row[5] != 0]
    if not covered:
        return rest, detections
    return [row for row in rest if outside(row)], [row for row in detections if outside(row)]


def match(truths, detections, threshold):
    """[(score, 1 right, 0 wrong or -1 ignored)] of one image and class."""
    truths = sorted(truths, key=lambda row: row[4])
    state = [-1 if row[4] else 0 for row in truths]
    told = []
    for found in detections:
        best, at, kind = threshold, None, 0
        for g, true in enumerate(truths):
            if state[g] == 1:
                continue
            if kind and state[g] == -1:
                break
            overlap = shared(found, true, over_found=state[g] == -1)
            if overlap < best:
                continue
            best, at, kind = overlap, g, 1 if state[g] == 0 else -1
        if kind == 1:
            state[at] = 1
        told.append((found[4], kind))
    return told


def shared(found, true, *, over_found):
    """Intersection over union, or over the detection's area."""
    w = min(found[0] + found[2], true[0] + true[2]) - max(found[0], true[0])
    h = min(found[1] + found[3], true[1] + true[3]) - max(found[1], true[1])
    if w <= 0 or h <= 0:
        return 0.0
    whole = found[2] * found[3]
    return w * h / (whole if over_found else whole + true[2] * true[3] - w * h)


def area(curve):
    """Under the largest precision from each recall on."""
    recalls = [0.0, *(r for r, _ in curve), 1.0]
    precisions = [0.0, *(p for _, p in curve), 0.0]
    for i in range(len(precisions) - 2, -1, -1):
        precisions[i] = max(precisions[i], precisions[i + 1])
    return sum(
        (recalls[i] - recalls[i - 1]) * precisions[i]
        for i in range(1, len(recalls))
        if recalls[i] != recalls[i - 1]
    )
