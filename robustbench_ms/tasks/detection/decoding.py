"""From what detectors answer with to boxes, scores and labels of each image, in the pixels that they were shown.

A row is {"boxes": float32 (m, 4) xyxy, "scores": float32 (m,), "labels": int64 (m,)[, "masks": (m, H, W)]}.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torchvision.ops import batched_nms, box_convert

from robustbench_ms.errors import UserError

__all__ = ["Row", "best", "boxes", "detr", "suppressed", "yolox"]

Row = dict[str, Tensor]

STRIDES = (8, 16, 32)
"""Pixels between the locations of YOLOX's three maps."""


def boxes(raw: Any, count: int) -> list[Row]:
    """Rows of a table an image, or of (boxes, scores, labels[, masks]) that hold one thing an image each."""
    names = ("boxes", "scores", "labels", "masks")
    if isinstance(raw, (tuple, list)) and 3 <= len(raw) <= 4 and not isinstance(raw[0], Mapping):
        # A list of one tensor an image and a tensor of them alike.
        raw = [dict(zip(names, one, strict=False)) for one in zip(*raw, strict=True)]
    if not isinstance(raw, (tuple, list)) or not all(isinstance(row, Mapping) for row in raw):
        raise UserError(
            f'it answers with {_kind(raw)}, not with boxes, scores and labels of each image (decode = "boxes")'
        )
    if len(raw) != count:
        raise UserError(f"it answers for {len(raw)} images, and was shown {count}")
    return [_checked(row) for row in raw]


def _checked(row: Mapping[str, Any]) -> Row:
    missing = [name for name in ("boxes", "scores", "labels") if name not in row]
    if missing:
        raise UserError(
            f"its answer to an image has no {missing[0]!r}, only {', '.join(map(str, row)) or 'nothing'}"
        )
    made = {
        name: torch.as_tensor(row[name]) for name in ("boxes", "scores", "labels", "masks") if name in row
    }
    n = len(made["scores"])
    if not n:
        made["boxes"] = made["boxes"].reshape(0, 4)
    shapes = {name: tuple(tensor.shape) for name, tensor in made.items()}
    if made["scores"].ndim != 1 or shapes["boxes"] != (n, 4) or shapes["labels"] != (n,):
        raise UserError(
            f"its answer has boxes {shapes['boxes']}, scores {shapes['scores']}, labels {shapes['labels']}"
        )
    if "masks" in made and len(made["masks"]) != n:
        raise UserError(f"its answer has {n} boxes and masks {shapes['masks']}")
    return {
        **made,
        "boxes": made["boxes"].float(),
        "scores": made["scores"].float(),
        "labels": made["labels"].long(),
    }


def yolox(raw: Any, shown: tuple[int, int], classes: int, score: float) -> list[Row]:
    """Rows of YOLOX's (n, locations, 5 + classes): centre, size, objectness and a score a class, above `score`.

    `shown` is the height and width of the input. The centre counts in steps of the location's stride from it, the
    size is the exponential of steps; a detection's score is objectness times class. Ge et al., "YOLOX: exceeding YOLO
    series in 2021", section 2. Every class of a location counts, not only the best one.
    """
    height, width = shown
    grids = [(height // s, width // s) for s in STRIDES]
    count = sum(h * w for h, w in grids)
    if not isinstance(raw, Tensor) or raw.ndim != 3 or raw.shape[1:] != (count, 5 + classes):
        raise UserError(
            f'it answers with {_kind(raw)}, and decode = "yolox" of {classes} classes at {height} x {width} wants '
            f"(n, {count}, {5 + classes})"
        )
    raw = raw.float()
    # (locations, 2) each: column and row of the location, and its stride.
    where = torch.cat([torch.cartesian_prod(torch.arange(h), torch.arange(w)).flip(1) for h, w in grids])
    strides = torch.cat([torch.full((h * w, 1), float(s)) for (h, w), s in zip(grids, STRIDES, strict=True)])
    where, strides = where.to(raw.device), strides.to(raw.device)
    centre, size = (raw[..., :2] + where) * strides, raw[..., 2:4].exp() * strides
    corners = torch.cat([centre - size / 2, centre + size / 2], dim=-1)
    scores = raw[..., 4:5] * raw[..., 5:]
    rows = []
    for box, one in zip(corners, scores, strict=True):
        # What is NaN is kept, to be told of.
        at, label = (~(one <= score)).nonzero(as_tuple=True)
        rows.append({"boxes": box[at], "scores": one[at, label], "labels": label})
    return rows


def detr(raw: Any, shown: tuple[int, int]) -> list[Row]:
    """Rows of queries: logits (n, q, 1 + classes), the last one "nothing", and boxes (n, q, 4).

    Boxes are centre and size as shares of the input's `shown` height and width; the score is the largest probability
    but for nothing's, one class a query. Carion et al., "End-to-end object detection with transformers", section 3.
    """
    logits, centred = _of_queries(raw, "logits"), _of_queries(raw, "pred_boxes")
    height, width = shown
    scale = torch.tensor([width, height, width, height], device=centred.device)
    scores, labels = logits.float().softmax(dim=-1)[..., :-1].max(dim=-1)
    corners = box_convert(centred.float(), "cxcywh", "xyxy") * scale
    return [{"boxes": b, "scores": s, "labels": c} for b, s, c in zip(corners, scores, labels, strict=True)]


def _of_queries(raw: Any, name: str) -> Tensor:
    found = raw.get(name) if isinstance(raw, Mapping) else getattr(raw, name, None)
    if not isinstance(found, Tensor) or found.ndim != 3:
        raise UserError(f'it answers with {_kind(raw)} without {name} (n, queries, ...) (decode = "detr")')
    return found


def suppressed(row: Row, iou: float) -> Row:
    """Without those that a better one of their class overlaps by more than `iou`."""
    return _only(row, batched_nms(row["boxes"], row["scores"], row["labels"], iou))


def best(row: Row, score: float, maximum: int) -> Row:
    """The `maximum` best of those above `score`, best first, of equals the earlier first."""
    kept = (row["scores"] > score).nonzero(as_tuple=True)[0]
    order = row["scores"][kept].argsort(descending=True, stable=True)[:maximum]
    return _only(row, kept[order])


def _only(row: Row, which: Tensor) -> Row:
    return {name: column[which] for name, column in row.items()}


def _kind(raw: Any) -> str:
    if isinstance(raw, Tensor):
        return f"a tensor {tuple(raw.shape)}"
    if isinstance(raw, Sequence):
        return f"a {type(raw).__name__} of {len(raw)}"
    return f"a {type(raw).__name__}"
