"""Artefacts of k-space and of resolution, without a Fourier transform: each is a real matrix along an axis, or a sum.

All take and give a scaled volume, float32 (C, D, H, W), what was drawn for it, and the level, 1 to 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustbench_ms.faults.volumes.draws import Draws
from robustbench_ms.faults.volumes.elementary import cosine, direction, exponential, turned
from robustbench_ms.faults.volumes.resampled import read_turned
from robustbench_ms.faults.volumes.sums import along, folded
from robustbench_ms.faults.volumes.table import STRENGTHS

__all__ = ["anisotropic", "blur", "ghosting", "motion", "ringing", "stitched"]

Matrix = NDArray[np.float64]

_GHOSTS = 4
_MOVES = 10
"""At the highest level; a lower one has the first ones drawn."""


def ghosting(x: Tensor, draws: Draws, level: int) -> Tensor:
    """Every fourth plane of k-space, counted from its centre along a keyed axis, loses c of itself; the centre stays.

    These planes together are the mean of four copies, each a quarter of the side further. Negative values become 0.
    """
    axis, strength = 1 + draws.axis(), STRENGTHS["ghosting"][level - 1]
    side = x.shape[axis]
    if side % _GHOSTS:
        planes = [k for k in _frequencies(side) if k and k % _GHOSTS == 0]
        return along(x, np.eye(side) - strength * _kept(side, planes), axis).clamp_(min=0.0)
    first = x.movedim(axis, 0)
    quarters = first.reshape(_GHOSTS, side // _GHOSTS, *first.shape[1:])
    copies = folded(quarters) * 0.25
    mean = folded(copies) / (side // _GHOSTS)
    made = (quarters - (copies - mean) * strength).clamp_(min=0.0)
    return made.view(first.shape).movedim(0, axis).contiguous()


def ringing(x: Tensor, draws: Draws, level: int) -> Tensor:
    """Along each axis frequencies above K cycles a side are cut off sharply (Gibbs)."""
    del draws
    highest = STRENGTHS["ringing"][level - 1]
    for axis in (1, 2, 3):
        x = along(x, _low(x.shape[axis], highest), axis)
    return x


def blur(x: Tensor, draws: Draws, level: int) -> Tensor:
    """A Gaussian of a fraction of each side, cut off at four sigma; beyond a border the volume is mirrored."""
    del draws
    for axis in (1, 2, 3):
        x = along(x, _gaussian(x.shape[axis], STRENGTHS["blur"][level - 1]), axis)
    return x


def anisotropic(x: Tensor, draws: Draws, level: int) -> Tensor:
    """Along a keyed axis M slices, each the mean of what it covers, read again linearly; labels stay."""
    axis = 1 + draws.axis()
    side = x.shape[axis]
    slices = min(side, int(STRENGTHS["anisotropic"][level - 1]))
    edges = np.arange(slices + 1) * (side / slices)
    voxels = np.arange(side)
    covered = np.minimum(edges[1:, None], voxels + 1.0) - np.maximum(edges[:-1, None], voxels)
    fewer = np.maximum(covered, 0.0) * (slices / side)  # (slices, side)
    place = np.clip((voxels + 0.5) * (slices / side) - 0.5, 0.0, slices - 1.0)
    low = np.floor(place).astype(np.int64)
    part = (place - low)[:, None]
    again = fewer[low] * (1.0 - part) + fewer[np.minimum(low + 1, slices - 1)] * part
    return along(x, again, axis)


def motion(x: Tensor, draws: Draws, level: int) -> Tensor:
    """The patient moves 2 to 10 times while k-space is filled, plane by plane along the last axis.

    Each move turns about a uniform direction by up to so many degrees, and shifts by up to a fraction of each side.
    Moves and their times are drawn without the level. See `stitched` for what is measured when.
    """
    degrees = STRENGTHS["motion"][level - 1]
    shape = np.array(x.shape[1:])
    times, which = draws.uniform(_MOVES, 0), draws.uniform(2 * _MOVES, 1).reshape(_MOVES, 2)
    angles, steps = draws.signed(_MOVES, 2), draws.signed(3 * _MOVES, 3).reshape(_MOVES, 3)
    copies = [x]
    first = range(round(degrees))  # as many moves as degrees
    for move in sorted(first, key=lambda move: times[move]):
        matrix = turned(direction(*which[move].tolist()), degrees * angles[move] / 360.0)
        by = degrees / 100.0 * steps[move] * shape
        copies.append(read_turned(x, matrix, by))
    return stitched(copies, sorted(times[move] for move in first))


def stitched(copies: Sequence[Tensor], times: Sequence[float]) -> Tensor:
    """The real part of a k-space whose planes along the last axis are of several copies, cut at `times` in 0..1.

    Copies are in the order of times, the unmoved one first: it takes the stretch that holds the central plane, and the
    copy that would have been there takes the first one, as in TorchIO (Shaw et al. 2019).
    """
    side = copies[0].shape[-1]
    cuts = [0, *(int(time * side) for time in times), side]
    centre = next(i for i in range(len(copies)) if cuts[i] <= side // 2 < cuts[i + 1])
    order = list(copies)
    order[0], order[centre] = order[centre], order[0]
    planes = list(_frequencies(side))
    parts = [
        (copy, _kept(side, planes[start:stop]))
        for copy, (start, stop) in zip(order, pairwise(cuts), strict=True)
        if stop > start
    ]
    whole = torch.cat([copy for copy, _ in parts], dim=-1)
    return along(whole, np.concatenate([matrix for _, matrix in parts], axis=1), 3)


def _frequencies(side: int) -> range:
    """Of k-space with its centre in the middle, cycles a side."""
    return range(-(side // 2), (side + 1) // 2)


def _kept(side: int, frequencies: Sequence[int]) -> Matrix:
    """The real part of what keeps these frequencies alone, (side, side): cosines of i - j, added in their order."""
    row, waves = np.zeros(side), _waves(side)
    for k in frequencies:
        row += waves[k + side // 2]
    i = np.arange(side)
    found: Matrix = row[(i[:, None] - i[None, :]) % side] / side
    return found


@lru_cache(maxsize=8)  # the same for every volume of a shape
def _low(side: int, highest: float) -> Matrix:
    """What keeps frequencies up to `highest` cycles a side."""
    return _kept(side, [k for k in _frequencies(side) if abs(k) <= highest])


@lru_cache(maxsize=8)
def _gaussian(side: int, part: float) -> Matrix:
    """A Gaussian's weights about each of the voxels of a side, sigma a part of it."""
    sigma = part * side
    reach = int(4.0 * sigma + 0.5)
    weights = exponential(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    matrix = np.zeros((side, side))
    for step, weight in zip(range(-reach, reach + 1), weights, strict=True):
        place = (np.arange(side) + step) % (2 * side)
        matrix[np.arange(side), np.where(place < side, place, 2 * side - 1 - place)] += weight
    made: Matrix = matrix / _added(weights)
    return made


@lru_cache(maxsize=8)
def _waves(side: int) -> Matrix:
    """The cosine of each of `_frequencies`, a row each, (side, side)."""
    found: Matrix = cosine(np.array(_frequencies(side))[:, None] * np.arange(side) / side)
    return found


def _added(values: NDArray[np.float64]) -> float:
    total = 0.0
    for value in values.tolist():
        total += value
    return total
