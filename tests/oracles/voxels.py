"""Dice, surface Dice, HD95 and ROOD-MRI's weighted numbers, voxel by voxel in plain Python, nothing of the package."""

from __future__ import annotations

import itertools
import math


def _voxels(grid, label):
    depth, height, width = len(grid), len(grid[0]), len(grid[0][0])
    places = itertools.product(range(depth), range(height), range(width))
    return {(z, y, x) for z, y, x in places if grid[z][y][x] == label}


def _surface(part):
    """Those with a neighbour along an axis that is not in the part."""
    steps = ((1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1))
    return {
        p for p in part if any(tuple(a + b for a, b in zip(p, s, strict=True)) not in part for s in steps)
    }


def dice(true, said, label):
    """Of two grids, lists of lists of lists; None where the truth lacks the class."""
    a, b = _voxels(true, label), _voxels(said, label)
    return 2 * len(a & b) / (len(a) + len(b)) if a else None


def surface_dice(true, said, label, within=1.0):
    """The share of both surfaces' voxels whose distance from the other surface is at most `within` voxels."""
    parts = _voxels(true, label), _voxels(said, label)
    if not parts[0]:
        return None
    a, b = map(_surface, parts)
    near = sum(any(math.dist(p, q) <= within for q in other) for one, other in ((a, b), (b, a)) for p in one)
    return near / (len(a) + len(b))


def hd95(true, said, label, spacing):
    """The larger of both directed 95th percentiles (linear between order statistics), in millimetres."""
    a, b = (_surface(_voxels(grid, label)) for grid in (true, said))
    if not b:
        sides = (len(true), len(true[0]), len(true[0][0]))
        return math.dist([n * mm for n, mm in zip(sides, spacing, strict=True)], (0, 0, 0))
    return max(
        _percentile([min(_apart(p, q, spacing) for q in other) for p in one])
        for one, other in ((a, b), (b, a))
    )


def _apart(p, q, spacing):
    return math.sqrt(sum(((i - j) * mm) ** 2 for i, j, mm in zip(p, q, spacing, strict=True)))


def _percentile(values, share=0.95):
    values = sorted(values)
    place = share * (len(values) - 1)
    low = math.floor(place)
    high = min(low + 1, len(values) - 1)
    return values[low] + (place - low) * (values[high] - values[low])


def weighted(clean, levels, falling=2 / 3):
    """`levels`: the mean at each level, 1 to 5."""
    top = clean + sum(falling**s * value for s, value in enumerate(levels, 1))
    return top / (1 + sum(falling**s for s in range(1, len(levels) + 1)))


def degradation(clean, levels, falling=2 / 3):
    lost = sum(falling**s * (clean - value) for s, value in enumerate(levels, 1))
    return lost / sum(falling**s for s in range(1, len(levels) + 1))
