"""Heat maps against objects, written again in plain Python from what was published: nothing of the package is used.

Pointing game: Zhang et al., ECCV 2016, as TorchRay has it (a disc that is open). Boxes and PxAP: Choe et al., CVPR
2020, as wsolevaluation has them, of maps whose values are whole numbers 0..255. Quantus' RelevanceMassAccuracy and
PointingGame, where these are right: positive maps, an object that is there, one largest value.
"""

from __future__ import annotations


def pointing(heat, mask, tolerance):
    """Whether a pixel of the mask is nearer than the tolerance to the largest value of rows of numbers."""
    best = max(value for row in heat for value in row)
    y0, x0 = next((y, x) for y, row in enumerate(heat) for x, value in enumerate(row) if value == best)
    return any(
        (y - y0) ** 2 + (x - x0) ** 2 < tolerance**2
        for y, row in enumerate(mask)
        for x, inside in enumerate(row)
        if inside
    )


def quantus_pointing(heat, mask):
    """Quantus' PointingGame: whether the largest value lies on the mask, without tolerance."""
    best = max(value for row in heat for value in row)
    return any(
        value == best and inside
        for row, line in zip(heat, mask, strict=True)
        for value, inside in zip(row, line, strict=True)
    )


def quantus_mass(heat, mask):
    """Quantus' RelevanceMassAccuracy: what of the map's sum lies on the mask."""
    pairs = [(v, m) for row, line in zip(heat, mask, strict=True) for v, m in zip(row, line, strict=True)]
    return sum(v for v, m in pairs if m) / sum(v for v, _ in pairs)


def components(levels, threshold):
    """Boxes (x0, y0, x1, y1), the far corner not within, of what hangs together above a threshold, by 8 neighbours."""
    left = {(y, x) for y, row in enumerate(levels) for x, value in enumerate(row) if value > threshold}
    found = []
    while left:
        part, edge = set(), [left.pop()]
        while edge:
            y, x = edge.pop()
            part.add((y, x))
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            edge += near
        ys, xs = [y for y, _ in part], [x for _, x in part]
        found.append((min(xs), min(ys), max(xs) + 1, max(ys) + 1))
    return found


def overlap(one, other):
    """IoU of two boxes."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0, wide) * max(0, high)
    area = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return shared / (area - shared)


def box_accuracy(maps, boxes, thresholds, ious=(0.3, 0.5, 0.7)):
    """The share of maps with a box that meets one of the objects', mean over the IoUs with a threshold each."""
    shares = []
    for threshold, iou in zip(thresholds, ious, strict=True):
        met = [
            any(overlap(a, b) >= iou for a in components(levels, threshold) for b in some)
            for levels, some in zip(maps, boxes, strict=True)
        ]
        shares.append(sum(met) / len(met))
    return sum(shares) / len(shares)


def pixel_ap(maps, masks):
    """The area under precision and recall of pixels of all maps, a threshold after the other from 255 down to 0."""
    pixels = [
        (value, bool(inside))
        for levels, mask in zip(maps, masks, strict=True)
        for row, line in zip(levels, mask, strict=True)
        for value, inside in zip(row, line, strict=True)
    ]
    objects = sum(inside for _, inside in pixels)
    area = before = 0.0
    for threshold in range(255, -1, -1):
        above = [inside for value, inside in pixels if value >= threshold]
        if above:
            recall = sum(above) / objects
            area += sum(above) / len(above) * (recall - before)
            before = recall
    return area
