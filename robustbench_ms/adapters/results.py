"""Detections that were made elsewhere: a folder of COCO results, a file a cell."""

from __future__ import annotations

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustbench_ms.adapters import Adapted
from robustbench_ms.errors import BadFile, suggest
from robustbench_ms.specs.card import Card
from robustbench_ms.specs.conditions import file_name

if TYPE_CHECKING:
    from robustbench_ms.datasets.protocol import Index
    from robustbench_ms.specs.conditions import Condition

__all__ = ["Results", "load"]


def load(folder: Path, card: Card, index: Index) -> Adapted:
    """The detections in a folder, for the images of an index; who answers is the digest of its files."""
    files = sorted(folder.glob("*.json"))
    if not files:
        raise BadFile(f"{folder} holds no detections: clean.json and <corruption>-<severity>.json are wanted")
    digest = hashlib.sha256()
    for path in files:
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode())
        digest.update(content)
    return Adapted(Results(folder, index), card, digest.hexdigest(), asked=False)


class Results:
    """COCO results: a list of {"image_id", "category_id", "bbox": [x, y, w, h], "score"[, "segmentation": RLE]}."""

    def __init__(self, folder: Path, index: Index) -> None:
        self._folder = folder
        ids = index.category_ids or range(index.classes)
        self._classes = {number: place for place, number in enumerate(ids)}
        self._images = frozenset(index.ids.tolist())
        self._read: tuple[Condition, Mapping[int, list[Any]]] | None = None

    def stored(
        self, condition: Condition, ids: NDArray[np.int64], size: tuple[int, int]
    ) -> list[dict[str, Tensor]]:
        """A row an image of a cell: boxes xyxy, scores, the data's classes, and masks where all of it have some.

        `ids` (n,) are the images', `size` the height and width of all of them. BadFile where the cell's file is not
        there, or says something that cannot be.
        """
        if self._read is None or self._read[0] != condition:  # a cell's batches follow each other
            self._read = condition, self._cell(self._folder / f"{file_name(condition)}.json")
        found = self._read[1]
        return [self._row(found.get(number, []), size) for number in ids.tolist()]

    def _cell(self, path: Path) -> Mapping[int, list[Any]]:
        """{image: its detections, in the file's order}."""
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            near = suggest(path.name, [other.name for other in path.parent.glob("*.json")])
            raise BadFile(
                f"{path.parent} has no {path.name}, and the suite asks for this cell{near}"
            ) from None
        except (OSError, ValueError) as error:
            raise BadFile(f"{path} cannot be read as JSON ({error})") from error
        if not isinstance(told, list):
            raise BadFile(
                f"{path} is a {type(told).__name__}, not a list of detections as COCO's results are"
            )
        rows: dict[int, list[Any]] = defaultdict(list)
        for i, one in enumerate(told):
            where = f"{path}: detection {i}"
            if not isinstance(one, dict) or not {"image_id", "category_id", "bbox", "score"} <= one.keys():
                raise BadFile(f"{where} lacks one of image_id, category_id, bbox and score")
            if one["image_id"] not in self._images:
                raise BadFile(f"{where} is of image {one['image_id']}, which the data set does not have")
            if one["category_id"] not in self._classes:
                raise BadFile(
                    f"{where} is of category {one['category_id']}, which the data set does not have"
                )
            box = one["bbox"]
            if (
                not isinstance(box, list)
                or len(box) != 4
                or not all(_number(v) for v in (*box, one["score"]))
            ):
                raise BadFile(
                    f"{where} has a bbox or a score that is no number (wanted: [x, y, width, height])"
                )
            if one["score"] < 0:
                raise BadFile(f"{where} has a negative score, {one['score']}")
            rows[one["image_id"]].append(one)
        return rows

    def _row(self, found: Sequence[Mapping[str, Any]], size: tuple[int, int]) -> dict[str, Tensor]:
        boxes = torch.tensor([one["bbox"] for one in found], dtype=torch.float64).reshape(-1, 4)
        row = {
            "boxes": torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], dim=1).float(),
            "scores": torch.tensor([one["score"] for one in found], dtype=torch.float32),
            "labels": torch.tensor([self._classes[one["category_id"]] for one in found], dtype=torch.int64),
        }
        if all("segmentation" in one for one in found):
            row["masks"] = _masks([one["segmentation"] for one in found], size)
        return row


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _masks(rles: Sequence[Mapping[str, Any]], size: tuple[int, int]) -> Tensor:
    """Bool (m, H, W) of COCO's compressed run lengths."""
    from hotcoco import mask

    for rle in rles:
        if not isinstance(rle, Mapping) or list(rle.get("size", [])) != list(size) or "counts" not in rle:
            raise BadFile(f"a segmentation is no run lengths of {size[0]} x {size[1]}, its image's size")
    planes = [np.asarray(mask.decode({"size": list(size), "counts": rle["counts"]})) for rle in rles]
    return torch.from_numpy(np.stack(planes)).bool() if planes else torch.zeros((0, *size), dtype=torch.bool)
