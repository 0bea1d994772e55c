"""Scene labelling: a class for every pixel of a picture, in the picture's own pixels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from robustbench_ms.datasets.protocol import IGNORED, MAP, Batch, DataFacts
from robustbench_ms.datasets.shapes import Images, Layout
from robustbench_ms.datasets.shapes import RaggedImages as Ragged
from robustbench_ms.errors import UserError
from robustbench_ms.specs.source import Source
from robustbench_ms.specs.suite import Suite
from robustbench_ms.tasks.answers import Answers
from robustbench_ms.tasks.detection.labels import class_map
from robustbench_ms.tasks.outcomes import Outcomes
from robustbench_ms.tasks.protocol import Asked, Geometry, IndexOf
from robustbench_ms.tasks.segmentation.raw import check_classes, checked, first_largest, renamed
from robustbench_ms.tasks.segmentation.seen import written

__all__ = ["Segmentation"]

class_map_of = lru_cache(maxsize=16)(class_map)


class Segmentation:
    """Of each picture a map of classes on its own grid.

    Models answer with logits (n, K, h, w), alone, as `.logits` or as "out" of a table as torchvision's do, or with an
    index map (n, h, w) of whole numbers, at the size that they are shown or any other. Logits are enlarged to the
    picture's own grid (bilinear, corners not aligned) and their largest is taken there, the lower class of equal ones;
    an index map is enlarged by its nearest. What a letterbox added is cut off. No geometry of labels changes: a
    corruption is of the picture alone, as in the published benchmarks, elastic_transform's small displacements too.
    """

    number = 1
    layouts: tuple[type[Any], ...] = (Ragged, Images)
    wants = ("map",)

    def __init__(self, suite: Suite) -> None:
        del suite

    def ask(self, model: Asked, batch: Batch) -> Answers:
        """The data's "classes" int16 (n, H, W), their number where it is none of them; and "broken" float32 (n,).

        The latter is 0, or what among the logits is no number, NaN or infinity; -inf is one, of what has probability 0.
        """
        shown, geometry = model.prepare(batch.samples)
        if min(geometry.offset) < 0:
            raise UserError(
                "its [input] crops the picture, so that no answer reaches its border; fit = 'resize' or 'letterbox' "
                "shows all of it"
            )
        with torch.no_grad():  # not inference_mode: a model may switch gradients on for itself
            known = class_map_of(model.card.output.labels, model.names, model.classes)
            raw, broken = checked(model.forward(shown), len(batch), len(known))
            # One picture at a time: logits of many classes at the picture's size are large.
            maps = torch.stack([_native(one, shown.shape[-2:], geometry) for one in raw])
            check_classes(maps, len(known))
            return Answers({"classes": renamed(maps, known, model.classes), "broken": broken})

    def outcomes(self, answers: Answers, batch: Batch) -> Outcomes:
        """Pixels (n, K) uint32: "intersection", that are a class and are called it, and "predicted".

        And of each picture "broken" float32, as answered, and "seen", its map made small for people to look at.
        """
        found = answers.raw
        assert isinstance(found, dict)
        classes = _classes(batch)
        true, said = batch.maps[MAP], found["classes"]
        # Pixels by what is true of them, IGNORED the last, and by what they are called, none of the classes the last.
        table = _counted(true.int() * (classes + 1) + said, (IGNORED + 1, classes + 1))[:, :-1, :-1]
        return Outcomes(
            {
                "intersection": np.diagonal(table, axis1=1, axis2=2).astype(np.uint32),
                "predicted": table.sum(axis=1).astype(np.uint32),
                "broken": found["broken"].cpu().numpy(),
                "seen": written(found["classes"].cpu().numpy()),
            }
        )

    def truth(self, batch: Batch) -> Outcomes | None:
        """Pixels (n, K) uint32 of each class, "true"."""
        true = _counted(batch.maps[MAP], (IGNORED + 1,))[:, : _classes(batch)]
        return Outcomes({"true": true.astype(np.uint32)})

    def calibrate(self, model: Asked, source: Source, index_of: IndexOf) -> dict[str, Any]:
        """Nothing is found; but labels that do not fit the data are a UserError before anything is asked."""
        del source, index_of
        class_map_of(model.card.output.labels, model.names, model.classes)
        return {}

    def question(self, facts: DataFacts) -> dict[str, Any]:
        """The data's digest, how many samples they are, and of how many classes."""
        return {"data": facts.digest, "n": facts.n, "classes": facts.classes}

    def probe(self, layout: Layout) -> Batch:
        """Eight pictures of the first one's size, uint8 (8, C, H, W): coarse noise of PCG64's raw words; no truth."""
        assert isinstance(layout, (Ragged, Images))
        height, width = (
            (layout.height, layout.width) if isinstance(layout, Images) else map(int, layout.sizes[0])
        )
        # random_raw is the one stream that numpy promises never to change.
        words = np.random.PCG64(20_150_607).random_raw(64 * layout.channels).astype("<u8").view(np.uint8)
        ground = words.reshape(8, layout.channels, 8, 8)
        rows, columns = np.arange(height) * 8 // height, np.arange(width) * 8 // width
        images = torch.from_numpy(np.ascontiguousarray(ground[:, :, rows[:, None], columns[None, :]]))
        ids = np.arange(8)
        nothing = torch.full((8, height, width), IGNORED, dtype=torch.uint8)
        return Batch(images, [None] * 8, ids, ids, {MAP: nothing})

    def health(self, answers: Answers, facts: DataFacts) -> list[str]:
        """Every pixel of every picture has one class."""
        del facts
        assert isinstance(answers.raw, dict)
        maps = answers.raw["classes"]
        return ["it gives every pixel of the probe one class"] if int(maps.min()) == int(maps.max()) else []

    def doubts(self, values: Mapping[str, Mapping[str, float]], facts: DataFacts) -> list[str]:
        """Masks of which nothing, or one class alone, is asked; a clean mean of what gives every pixel one class."""
        name, first = next(iter(values.items()))
        count = values.get("classes_truth", {}).get("mean", facts.classes)
        if count == 0:
            return ["nobody is asked about any pixel: every mask is 255, which is ignored, from side to side"]
        if count == 1 < facts.classes:
            return [
                f"of {facts.classes} classes one alone is true anywhere: are the masks of 0 and 255? 255 is ignored"
            ]
        if first["mean"] * count > 1:
            return []
        told = f"clean {name} is {first['mean']:.1%}, what one class for every pixel may reach"
        return [f"{told}: do its labels and its input fit?"]


def _classes(batch: Batch) -> int:
    """How many classes the data have, as the targets of its samples say."""
    return int(batch.targets[0]["classes"])


def _native(one: Tensor, shown: tuple[int, ...], geometry: Geometry) -> Tensor:
    """One answer (K, h, w) or (h, w), of what was shown, as classes int16 or int64 (H, W) on the picture's own grid."""
    logits = one.ndim == 3
    values = one[None].float() if logits else one[None, None].double()
    (height, width), (tall, wide), (top, left) = geometry.canvas, geometry.resized, geometry.offset
    if (tall, wide) != tuple(shown):  # a letterbox: first what was shown, then the part that is the picture
        values = _enlarged(values, tuple(shown), logits=logits)[..., top : top + tall, left : left + wide]
    values = _enlarged(values, (height, width), logits=logits)[0]
    return first_largest(values) if logits else values[0].round().long()


def _enlarged(values: Tensor, size: tuple[int, ...], *, logits: bool) -> Tensor:
    if values.shape[-2:] == size:
        return values
    if logits:
        return F.interpolate(values, size=size, mode="bilinear", align_corners=False)
    return F.interpolate(values, size=size, mode="nearest-exact")


def _counted(maps: Tensor, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """How many pixels of each value maps (n, H, W) have, (n, *shape): of the places in arrays of that shape."""
    n, size = len(maps), math.prod(shape)
    rows = torch.arange(n, dtype=torch.int32, device=maps.device)[:, None, None] * size
    return torch.bincount((rows + maps).flatten(), minlength=n * size).reshape(n, *shape).cpu().numpy()
