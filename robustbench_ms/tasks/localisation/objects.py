"""What is true of a picture for one class: where its objects are, and what of it nobody is asked about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.datasets.coco_masks import mask_of

__all__ = ["Objects", "left_out_of", "objects_of"]


@dataclass(frozen=True)
class Objects:
    """What a picture has of one class that is asked about."""

    label: int
    shape: NDArray[np.bool_]
    """(H, W): the pixels of all its objects."""
    left_out: NDArray[np.bool_] | None
    """(H, W): those of its crowds that are no object's; None where it has none."""
    boxes: NDArray[np.float64]
    """(k, 4) xyxy, of its objects."""


def objects_of(target: Mapping[str, Any], label: int, size: tuple[int, ...]) -> Objects:
    """What a sample's target has of a class."""
    mine = target["labels"] == label
    crowds = target["crowd"] | target["ignore"]

    def together(kind: NDArray[np.bool_]) -> NDArray[np.bool_]:
        masks = [
            np.asarray(target["shapes"][i], bool) if "shapes" in target else mask_of(target["rles"][i], *size)
            for i in np.flatnonzero(mine & kind)
        ]
        if len(masks) == 1:
            return masks[0]
        return np.asarray(np.logical_or.reduce([np.zeros(size, bool), *masks]))

    shape = together(~crowds)
    crowd = together(crowds) if crowds.any() else np.zeros((), bool)
    boxes = np.asarray(target["boxes"], np.float64)[mine & ~crowds]
    return Objects(label, shape, crowd & ~shape if crowd.any() else None, boxes)


def left_out_of(objects: Sequence[Objects], size: tuple[int, ...]) -> NDArray[np.bool_] | None:
    """(m, H, W) of m objects; None where nothing is left out of any."""
    if all(one.left_out is None for one in objects):
        return None
    return np.array([np.zeros(size, bool) if one.left_out is None else one.left_out for one in objects])
