"""Volumes made here: handwritten digits as solid bodies, 28^3 voxels of uint8; synthetic, no download.

A digit of scikit-learn's set (the 1,200 / 597 of `digits`) fills .68 of the side, bilinear between its 8 x 8 pixels, is
as thick as twice .10 to .16 of the side, and is turned about any direction by up to 20 degrees: by half a turn it
would be its mirror image. What has half ink or more is the body: its rim a shell of .8, its inside, with three
quarters of ink and a voxel below its faces, a filling of .35 to .65, on a ground of .15. A smooth field of up to .05
and noise of a standard deviation of .05 lie over all. Its map says 0 for the ground, 1 for the shell and 2 for the
filling, of which a thin digit has none.

What is drawn comes from raw words of numpy's PCG64, whose streams never change, keyed by the digit's id alone; all else
is IEEE arithmetic in a fixed order, so a volume has the same bytes on every machine.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.datasets.digits import digit_pictures, digit_rows
from robustbench_ms.datasets.protocol import Index
from robustbench_ms.datasets.volumes import index_of_stack, layout_of_volumes
from robustbench_ms.faults.volumes.elementary import direction, turned
from robustbench_ms.specs.conditions import Condition
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.source import Source

__all__ = ["DIGITS", "PARTS", "index_quick_volumes", "quick_volume"]

SIDE = 28
DIGITS = tuple(map(str, range(10)))
PARTS = ("ground", "shell", "filling")

_KEY = 23  # of the words of all volumes
_WIDE, _GROUND, _SHELL, _FIELD, _NOISE = 0.68, 0.15, 0.8, 0.05, 0.05
_POINTS = 4
"""Of the smooth field, along each axis."""


def index_quick_volumes(source: Source, places: Places, condition: Condition) -> Index:
    """A split; the ids are the digits' own. Of a source that wants maps the classes are the parts of bodies."""
    del places, condition
    volumes, masks = _split(source.split)
    ids = digit_rows(source.split)
    maps = "map" in source.wants
    names = PARTS if maps else DIGITS
    return index_of_stack(
        source, volumes, digit_pictures()[1][ids], len(names), layout_of_volumes(volumes), masks=masks, ids=ids,
        names=names,
    )  # fmt: skip


@lru_cache(maxsize=2)
def _split(name: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Volumes (N, 1, 28, 28, 28) and masks (N, 28, 28, 28)."""
    made = [quick_volume(int(i)) for i in digit_rows(name)]
    return np.stack([one for one, _ in made])[:, None], np.stack([mask for _, mask in made])


def quick_volume(i: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The volume of a digit's id and its map, (28, 28, 28) each."""
    bits = np.random.PCG64([_KEY, i])
    first, second, angle, thick, fill = _uniform(bits, 5).tolist()
    matrix = turned(direction(first, second), angle * (20.0 / 360.0))
    grid = (np.arange(SIDE) - (SIDE - 1) / 2) / SIDE
    z, y, x = grid[:, None, None], grid[None, :, None], grid[None, None, :]
    # The body is turned, so places are turned back: by the transposed matrix.
    deep, down, across = (matrix[0, k] * z + matrix[1, k] * y + matrix[2, k] * x for k in range(3))
    ink = _bilinear(digit_pictures()[0][i] / 16.0, down, across)
    half = 0.10 + 0.06 * thick
    body = (ink >= 0.5) & (np.abs(deep) <= half)
    filling = body & (ink >= 0.75) & (np.abs(deep) <= half - 1.0 / SIDE)
    mask = body.astype(np.uint8) + filling.astype(np.uint8)
    shade = np.array([_GROUND, _SHELL, 0.35 + 0.3 * fill])[mask]
    shade = shade + _FIELD * _smooth(2.0 * _uniform(bits, _POINTS**3).reshape((_POINTS,) * 3) - 1.0)
    # Four uniform numbers added up: as good as normal, and no quantile is needed.
    noise = _uniform(bits, 4 * SIDE**3).reshape(4, SIDE, SIDE, SIDE)
    four = (noise[0] + noise[1]) + (noise[2] + noise[3])
    shade = shade + _NOISE * ((four - 2.0) * 1.7320508075688772)
    return np.rint(np.clip(shade, 0.0, 1.0) * 255.0).astype(np.uint8), mask


def _uniform(bits: np.random.PCG64, count: int) -> NDArray[np.float64]:
    """In [0, 1)."""
    found: NDArray[np.float64] = (bits.random_raw(count) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return found


def _bilinear(
    picture: NDArray[np.float64], down: NDArray[np.float64], across: NDArray[np.float64]
) -> NDArray[np.float64]:
    """A picture that fills `_WIDE` of the side, read at places in sides from the middle; 0 outside."""
    side = len(picture)
    padded = np.pad(picture, 1)
    places = [np.clip((v / _WIDE + 0.5) * side + 0.5, 0.0, side + 0.9999) for v in (down, across)]
    (r, c), (rf, cf) = zip(*((p.astype(np.int64), p - np.floor(p)) for p in places), strict=True)
    upper = padded[r, c] * (1.0 - cf) + padded[r, c + 1] * cf
    lower = padded[r + 1, c] * (1.0 - cf) + padded[r + 1, c + 1] * cf
    found: NDArray[np.float64] = upper * (1.0 - rf) + lower * rf
    return found


def _smooth(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Trilinear between points that reach from the first voxel to the last."""
    place = np.arange(SIDE) * ((len(points) - 1) / (SIDE - 1))
    low = np.minimum(place.astype(np.int64), len(points) - 2)
    found: Any = points
    for axis in range(3):
        part = (place - low).reshape([-1 if k == axis else 1 for k in range(3)])
        found = found.take(low, axis) * (1.0 - part) + found.take(low + 1, axis) * part
    smooth: NDArray[np.float64] = found
    return smooth
