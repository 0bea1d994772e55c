"""COCO's segmentations as its compressed run lengths, by pycocotools."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.datasets.protocol import IGNORED
from robustbench_ms.errors import BadFile, UserError

__all__ = ["counts_of", "mask_of", "painted", "painting_order"]


def counts_of(segmentation: Any, height: int, width: int, place: str) -> bytes:
    """The compressed counts of a mask (height, width); `place` is where it stands, for messages.

    Taken are polygons (lists of x, y, joined), uncompressed counts and compressed ones. UserError where pycocotools is
    not installed, BadFile for what is no mask of that size.
    """
    mask = _pycocotools()
    if isinstance(segmentation, list):
        if not segmentation:
            raise BadFile(f"{place} has no segmentation, and masks are asked for")
        for polygon in segmentation:
            # Of four numbers pycocotools makes a box.
            if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2 or not _finite(polygon):
                raise BadFile(f"{place}: segmentation must be polygons of 3 points or more, x and y of each")
        return bytes(mask.merge(mask.frPyObjects(segmentation, height, width))["counts"])
    if not isinstance(segmentation, dict):
        raise BadFile(f"{place} has no segmentation, and masks are asked for")
    counts, size = segmentation.get("counts"), segmentation.get("size")
    if size != [height, width]:
        raise BadFile(f"{place}: segmentation is of size {size}, and the image is [{height}, {width}]")
    if isinstance(counts, list):
        if not all(type(n) is int and n >= 0 for n in counts) or sum(counts) != height * width:
            raise BadFile(f"{place}: the counts of segmentation do not add up to {height} x {width} pixels")
        return bytes(mask.frPyObjects(segmentation, height, width)["counts"])
    if isinstance(counts, str):
        runs = _runs(counts)
        if runs is None or min(runs, default=0) < 0 or sum(runs) != height * width:
            raise BadFile(
                f"{place}: the counts of segmentation are damaged, or not of {height} x {width} pixels"
            )
        return counts.encode()
    raise BadFile(f"{place}: the counts of segmentation must be a list or a string")


def painting_order(rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """In what order the annotations of a picture are painted, the topmost last.

    Crowds come first, then objects by falling annotated area, so that a small one lies on a large one; of equal areas
    the lower annotation id comes first, or where one has none the order of the file.
    """
    numbered = all(type(row["id"]) is int for row in rows)

    def key(place: int) -> tuple[bool, float, int]:
        row = rows[place]
        return not row["iscrowd"], -row["area"], row["id"] if numbered else place

    return sorted(range(len(rows)), key=key)


def painted(truths: Mapping[str, Any], order: Sequence[int], height: int, width: int) -> NDArray[np.uint8]:
    """The label map (height, width) of a picture's masks, painted in that order.

    0 is the background, a class is its label + 1, and crowds, of which nobody says where one object ends, are ignored.
    """
    found = np.zeros((height, width), np.uint8)
    for place in order:
        seen = mask_of(truths["rles"][place], height, width)
        found[seen] = IGNORED if truths["crowd"][place] else truths["labels"][place] + 1
    return found


def mask_of(counts: bytes, height: int, width: int) -> NDArray[np.bool_]:
    """The mask (height, width) of sound compressed counts."""
    runs = _runs(counts.decode()) or []  # of nothing and something in turns, column by column
    return np.asarray(np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T)


def _runs(counts: str) -> list[int] | None:
    """The run lengths in compressed counts, by rleFrString of COCO's maskApi.c; None where they are cut off.

    A character has five bits, the lowest first, and a sixth that says whether more follow; from the fourth number on it
    is a difference to the one before the last.
    """
    found: list[int] = []
    value = shift = 0
    for letter in counts:
        bits = ord(letter) - 48
        if not 0 <= bits < 64:
            return None
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        found.append(value + (found[-2] if len(found) > 2 else 0))
        value = shift = 0
    return None if shift else found


def _finite(values: list[Any]) -> bool:
    return all(isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v) for v in values)


def _pycocotools() -> Any:
    try:
        return import_module("pycocotools.mask")
    except ModuleNotFoundError as error:
        raise UserError(
            "masks need pycocotools, which is not installed: pip install 'robustbench-ms[detection]'"
        ) from error
