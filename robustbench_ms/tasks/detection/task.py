"""Object detection, by boxes or by masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustbench_ms.datasets.protocol import Batch, DataFacts
from robustbench_ms.datasets.shapes import Layout, RaggedImages
from robustbench_ms.errors import UserError, choose
from robustbench_ms.specs.source import Source
from robustbench_ms.specs.suite import Suite
from robustbench_ms.tasks.answers import Answers
from robustbench_ms.tasks.detection import decoding
from robustbench_ms.tasks.detection.labels import class_map
from robustbench_ms.tasks.outcomes import Items, Outcomes
from robustbench_ms.tasks.protocol import Asked, Geometry, IndexOf

__all__ = ["Detection"]

KINDS = ("bbox", "segm")
MASK = 0.5
"""From which on a mask's value is the object (torchvision's own; a bool mask passes as it is)."""

class_map_of = lru_cache(maxsize=16)(class_map)


class Detection:
    """Of each image at most a card's maximum of boxes with score and class, best first, in the image's own pixels.

    `iou = "segm"` matches by masks, and keeps them as COCO's run lengths; "bbox" by boxes.
    """

    number = 1
    layouts = (RaggedImages,)

    def __init__(self, suite: Suite) -> None:
        self.iou = choose(
            suite.options.get("iou", "bbox"), KINDS, "kind of overlap", f"suite {suite.name}: iou"
        )
        self.wants = ("boxes", "masks") if self.iou == "segm" else ("boxes",)

    def ask(self, model: Asked, batch: Batch) -> Answers:
        """A row an image: boxes float32 (m, 4) xyxy, scores (m,), labels int64 (m,) and bool masks (m, H, W)."""
        wanted = model.card.output
        if wanted.score is None:
            raise UserError(
                "its card says no score threshold: [output] score, 0.001 where nothing else is meant"
            )
        stored = getattr(model.module, "stored", None)
        if (
            stored is not None
        ):  # detections that were made elsewhere, in the image's own pixels and the data's classes
            rows = stored(batch.condition, batch.ids, tuple(batch.samples.shape[-2:]))
        else:
            rows = self._answered(model, batch)
        kept = [self._kept(row, model, mapped=stored is not None) for row in rows]
        for row in kept:
            if "masks" in row and row["masks"].shape[-2:] != batch.samples.shape[-2:]:
                height, width = row["masks"].shape[-2:]
                raise UserError(f"its masks are of {height} x {width} pixels, and not of the picture's own")
        return Answers(kept)

    def _answered(self, model: Asked, batch: Batch) -> list[decoding.Row]:
        shown, geometry = model.prepare(batch.samples)
        wanted, size = model.card.output, (int(shown.shape[-2]), int(shown.shape[-1]))
        with torch.no_grad():  # not inference_mode: a model may switch gradients on for itself
            raw = model.forward(shown)
            if wanted.decode == "yolox":
                known = class_map_of(wanted.labels, model.names, model.classes)
                rows = decoding.yolox(raw, size, len(known), wanted.score or 0.0)
            elif wanted.decode == "detr":
                rows = decoding.detr(raw, size)
            else:
                rows = decoding.boxes(raw, len(batch))
        if len(rows) != len(batch):
            raise UserError(f"it answers for {len(rows)} images, and was shown {len(batch)}")
        return [{**row, "boxes": _native(row["boxes"], geometry)} for row in rows]

    def _kept(self, row: decoding.Row, model: Asked, *, mapped: bool) -> decoding.Row:
        """Those that count, in the data's classes; of those with NaN or infinity one alone, which ends the cell."""
        sound = torch.isfinite(row["scores"]) & torch.isfinite(row["boxes"]).all(dim=1)
        if bool(sound.all()):
            row = self._best(row, model, mapped=mapped)
        else:
            row = {name: column[~sound][:1] for name, column in row.items()}
            row["labels"] = torch.zeros_like(row["labels"])
        if self.iou != "segm":
            row.pop("masks", None)
        elif "masks" not in row:
            raise UserError('it answers without masks, and the suite matches by them (iou = "segm")')
        else:
            row["masks"] = _binary(row["masks"])
        return row

    def _best(self, row: decoding.Row, model: Asked, *, mapped: bool) -> decoding.Row:
        """By the card's threshold, suppression and maximum."""
        wanted = model.card.output
        if bool((row["scores"] < 0).any()):
            raise UserError(f"it answers with a negative score, {float(row['scores'].min()):.3g}")
        if not mapped:
            known = torch.tensor(class_map_of(wanted.labels, model.names, model.classes))
            labels = row["labels"].cpu()
            beyond = (labels < 0) | (labels >= len(known))
            if bool(beyond.any()):
                raise UserError(
                    f"it answers with class {int(labels[beyond][0])}, and its [output] labels are 0 to {len(known) - 1}"
                )
            row = {**row, "labels": known[labels].to(row["labels"].device)}
            asked = row["labels"] >= 0
            row = {name: column[asked] for name, column in row.items()}
        if wanted.nms is not None:
            row = decoding.suppressed(row, wanted.nms)
        return decoding.best(row, wanted.score or 0.0, wanted.maximum)

    def outcomes(self, answers: Answers, batch: Batch) -> Outcomes:
        """Height and width (n,); detections: box float32 (m, 4), score float32, label uint16, and rle of masks."""
        rows = answers.raw
        assert isinstance(rows, list)
        columns: dict[str, NDArray[Any]] = {
            "box": _joined([row["boxes"] for row in rows], (0, 4)).astype(np.float32),
            "score": _joined([row["scores"] for row in rows], (0,)).astype(np.float32),
            "label": _joined([row["labels"] for row in rows], (0,)).astype(np.uint16),
        }
        if self.iou == "segm":
            columns["rle"] = _counts([rle for row in rows for rle in _encoded(row["masks"])])
        owner = np.repeat(np.arange(len(rows)), [len(row["scores"]) for row in rows])
        return Outcomes(_sizes(batch), {"detections": Items(owner, columns)})

    def truth(self, batch: Batch) -> Outcomes:
        """Height and width (n,); truths: box, label, crowd, ignore and area as annotated, and rle of masks."""
        kinds = {"box": ("boxes", np.float32), "label": ("labels", np.uint16), "crowd": ("crowd", np.bool_),
                 "ignore": ("ignore", np.bool_), "area": ("area", np.float64)}  # fmt: skip
        columns: dict[str, NDArray[Any]] = {
            name: np.concatenate([np.asarray(one[key]) for one in batch.targets]).astype(kind)
            for name, (key, kind) in kinds.items()
        }
        if self.iou == "segm":
            columns["rle"] = _counts([rle for one in batch.targets for rle in one["rles"]])
        owner = np.repeat(np.arange(len(batch)), [len(one["labels"]) for one in batch.targets])
        return Outcomes(_sizes(batch), {"truths": Items(owner, columns)})

    def calibrate(self, model: Asked, source: Source, index_of: IndexOf) -> dict[str, Any]:
        """Nothing is found; but labels that do not fit the data are a UserError before anything is asked."""
        del source, index_of
        class_map_of(model.card.output.labels, model.names, model.classes)
        return {}

    def question(self, facts: DataFacts) -> dict[str, Any]:
        """The data's digest, how many images they are, and by what detections are matched."""
        return {"data": facts.digest, "n": facts.n, "iou": self.iou}

    def probe(self, layout: Layout) -> Batch:
        """Eight images of the first one's size, uint8 (8, 3, H, W): rectangles of one colour on coarse noise.

        From PCG64's raw words; without objects to be found.
        """
        assert isinstance(layout, RaggedImages)
        channels, (height, width) = layout.channels, map(int, layout.sizes[0])
        # random_raw is the one stream that numpy promises never to change.
        words = np.random.PCG64(20_171_018).random_raw(1024).astype("<u8").view(np.uint8).reshape(8, -1)
        images = np.empty((8, channels, height, width), np.uint8)
        rows, columns = np.arange(height) * 8 // height, np.arange(width) * 8 // width
        for image, drawn in zip(images, words, strict=True):
            ground = drawn[: channels * 64].reshape(channels, 8, 8)
            image[:] = ground[:, rows[:, None], columns[None, :]]
            for y, x, h, w, *colour in drawn[256 : 256 + 4 * (4 + channels)].reshape(4, -1) / 256:
                top, left = int(y * height * 0.7), int(x * width * 0.7)
                box = np.s_[top : top + 1 + int(h * height / 2), left : left + 1 + int(w * width / 2)]
                image[:, *box] = (np.array(colour) * 256).astype(np.uint8)[:, None, None]
        ids = np.arange(8)
        none = {"boxes": np.zeros((0, 4), np.float32), "labels": np.zeros(0, np.int64), "crowd": np.zeros(0, bool),
                "ignore": np.zeros(0, bool), "area": np.zeros(0), "ids": np.zeros(0, np.int64), "rles": []}  # fmt: skip
        return Batch(torch.from_numpy(images), [none] * 8, ids, ids)

    def health(self, answers: Answers, facts: DataFacts) -> list[str]:
        """Boxes that lie wholly outside of the image, or have no extent: a sign of another unit or order."""
        rows = answers.raw
        assert isinstance(rows, list)
        height, width = map(int, facts.layout.sizes[0]) if isinstance(facts.layout, RaggedImages) else (0, 0)
        found = torch.cat([row["boxes"].cpu() for row in rows])
        if not len(found):
            return []
        away = (found[:, 2] <= 0) | (found[:, 3] <= 0) | (found[:, 0] >= width) | (found[:, 1] >= height)
        flat = (found[:, 2] < found[:, 0]) | (found[:, 3] < found[:, 1])
        told = []
        if float(flat.float().mean()) > 0.1:
            told.append(
                "boxes end before they begin: are they x, y, width, height, where x, y, x, y are wanted?"
            )
        if float(away.float().mean()) > 0.1:
            told.append("boxes lie outside of the image: in other pixels than its own?")
        elif float(found.max()) <= 1.5 < min(height, width):
            told.append("all boxes lie within the first pixel: shares of the image, where pixels are wanted?")
        return told

    def doubts(self, values: Mapping[str, Mapping[str, float]], facts: DataFacts) -> list[str]:
        """A clean AP of next to nothing."""
        del facts
        first = next(iter(values.items()), None)
        if first is None or first[1]["mean"] >= 0.01:
            return []
        return [f"clean {first[0]} is {first[1]['mean']:.1%}: do its labels, its boxes and its input fit?"]


def _native(boxes: Tensor, geometry: Geometry) -> Tensor:
    """Boxes (m, 4) of what was shown in the pixels of the sample."""
    if geometry.canvas == geometry.resized and geometry.offset == (0, 0):
        return boxes
    (height, width), (tall, wide), (top, left) = geometry.canvas, geometry.resized, geometry.offset
    offset = torch.tensor([left, top, left, top], dtype=boxes.dtype, device=boxes.device)
    down, across = (geometry.scale,) * 2 if geometry.scale else (tall / height, wide / width)
    return (boxes - offset) / torch.tensor([across, down] * 2, dtype=boxes.dtype, device=boxes.device)


def _binary(masks: Tensor) -> Tensor:
    """Bool (m, H, W) of masks that are that, or probabilities (m, 1, H, W) as torchvision has them."""
    if masks.ndim == 4:
        masks = masks[:, 0]
    return masks if masks.dtype == torch.bool else masks >= MASK


def _joined(columns: Sequence[Tensor], none: tuple[int, ...]) -> NDArray[Any]:
    return torch.cat([*columns]).cpu().numpy() if len(columns) else np.zeros(none)


def _encoded(masks: Tensor) -> list[bytes]:
    """COCO's compressed run lengths of bool masks (m, H, W)."""
    from hotcoco import mask

    if not len(masks):
        return []
    made: Any = mask.encode(np.asfortranarray(masks.cpu().numpy().transpose(1, 2, 0).astype(np.uint8)))
    return [rle["counts"] for rle in made]


def _counts(rles: Sequence[bytes]) -> NDArray[np.bytes_]:
    """An array of them; numpy cuts zero bytes off the end, and these have none."""
    return np.array(rles, dtype=bytes) if len(rles) else np.zeros(0, "S1")


def _sizes(batch: Batch) -> dict[str, NDArray[Any]]:
    height, width = batch.samples.shape[-2:]
    return {"height": np.full(len(batch), height, np.int64), "width": np.full(len(batch), width, np.int64)}
