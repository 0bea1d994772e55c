"""Surfaces of labelled parts of volumes: the voxels of a part that has a neighbour outside it, along an axis."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["dilated", "hd95", "surface"]

Mask = NDArray[np.bool_]


def surface(part: Tensor) -> Tensor:
    """The voxels of a part bool (n, D, H, W) with one of six neighbours outside it; what lies beyond a border is."""
    return part & dilated(~part, beyond=True)


def dilated(part: Tensor, *, beyond: bool = False) -> Tensor:
    """What is in a part bool (n, D, H, W) or next to it along an axis, which is all within one voxel's distance."""
    padded = torch.nn.functional.pad(part, (1,) * 6, value=beyond)
    made = part.clone()
    for axis in (1, 2, 3):
        side = part.shape[axis]
        inner = padded
        for other in {1, 2, 3} - {axis}:
            inner = inner.narrow(other, 1, part.shape[other])
        made |= inner.narrow(axis, 0, side) | inner.narrow(axis, 2, side)
    return made


def hd95(true: Mask, said: Mask, spacing: tuple[float, float, float]) -> float:
    """The Hausdorff distance's 95th percentile, in mm, of the surfaces (D, H, W) of two parts: the larger of two.

    Each is numpy's linear percentile of the distances from one surface's voxels to the other's nearest; as MONAI has
    it. The diagonal of the volume where nothing is said; 0 where nothing is true, which has no value to anybody.
    """
    from scipy.ndimage import distance_transform_edt

    if not true.any():
        return 0.0
    if not said.any():
        return float(np.linalg.norm(np.array(true.shape) * np.array(spacing)))
    both = true | said
    places = [np.flatnonzero(both.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    box = tuple(slice(int(at[0]), int(at[-1]) + 1) for at in places)  # nothing beyond it is nearer
    true, said = true[box], said[box]
    ways = ((true, said), (said, true))
    return max(
        float(np.percentile(distance_transform_edt(~other, sampling=spacing)[one], 95)) for one, other in ways
    )
