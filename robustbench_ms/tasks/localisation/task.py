"""Heat maps of a classifier, taken for each class of which a picture has an object, and held against the object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from robustbench_ms.datasets.orders import imagenet_ids
from robustbench_ms.datasets.protocol import Batch, DataFacts, Index
from robustbench_ms.datasets.shapes import Images, Layout, RaggedImages
from robustbench_ms.errors import UnknownName, UserError, choose
from robustbench_ms.saliency.layers import last_map, module_of, named_layer
from robustbench_ms.saliency.methods import METHODS
from robustbench_ms.saliency.taking import take
from robustbench_ms.specs.source import Source
from robustbench_ms.specs.suite import Suite
from robustbench_ms.tasks.answers import Answers
from robustbench_ms.tasks.detection.labels import class_map
from robustbench_ms.tasks.localisation.objects import left_out_of, objects_of
from robustbench_ms.tasks.localisation.pairs import read_pairs
from robustbench_ms.tasks.localisation.scoring import levels_of, scored, thresholds_of
from robustbench_ms.tasks.outcomes import Items, Outcomes
from robustbench_ms.tasks.protocol import Asked, Geometry, IndexOf

__all__ = ["Localisation"]

CALIBRATED = 500
"""Training pictures, at most, by which a card's thresholds are chosen."""
_STEP = 50


class Localisation:
    """Of each picture and each class of which it has an object a heat map of that class's logit.

    The map is taken at the layer that the card's [output] names, by default the last feature map, by the suite's `cam`;
    it is brought to the picture's own grid (bilinear, corners not aligned), and where an [input] crops, nothing is seen
    outside. `pairs` names a list of ImageNet's classes and the data's, for networks of the former's 1,000; without it
    a network's classes are the data's, in their order or as its [output] labels say.

    Crowds are no objects, and their pixels are left out of the map of their class. A picture without an object that is
    asked about has no map.
    """

    number = 1
    layouts = (RaggedImages, Images)
    wants = ("shapes",)

    def __init__(self, suite: Suite) -> None:
        place = f"suite {suite.name}"
        self.cam = choose(suite.options.get("cam", "grad-cam"), METHODS, "map", f"{place}: cam")
        name = suite.options.get("pairs")
        if name is not None and not isinstance(name, str):
            raise UserError(f"{place}: pairs must be a file, not {name!r}")
        self._pairs = None if name is None else read_pairs(name, suite.folder)

    def known(self, model: Asked) -> dict[int, int]:
        """Which of the network's classes each class of the data is; UserError where it does not know one."""
        if self._pairs is not None:
            return self._pairs.known(model.names)
        labels = class_map(model.card.output.labels, model.names, model.classes)
        return {label: own for own, label in enumerate(labels) if label >= 0}

    def ask(self, model: Asked, batch: Batch) -> Answers:
        """A row a picture: "map" float32 (k, H, W), and "label" int64 and "right" bool (k,) of its k classes.

        And "sure" float32 (1,), the probability of the answer, and "thresholds" (3,) where there are some. A sample
        without a target, as the probe's, is asked about one class.
        """
        known = self.known(model)
        labels = [
            self._labels(target, known, int(i)) for target, i in zip(batch.targets, batch.ids, strict=True)
        ]
        shown, geometry = model.prepare(batch.samples)
        classes = [[known[label] for label in some] for some in labels]
        taken = take(
            lambda x: self._logits(model, x),
            module_of(model.module),
            str(model.calibration["layer"]),
            shown,
            classes,
        )
        maps = _native(METHODS[self.cam](taken.activations, taken.gradients), shown.shape[-2:], geometry)
        logits = taken.logits.float()
        every = torch.arange(logits.shape[1], device=logits.device)
        # Of equal logits the lower class is the answer, on every device, as in classification.
        said = every.where(logits == logits.amax(dim=1, keepdim=True), len(every)).amin(dim=1)
        sure = logits.softmax(dim=1).amax(dim=1)
        # All pairs at once: a few operations for each picture take as long as a small network's layer.
        counts = [len(some) for some in labels]
        own = torch.tensor([k for some in classes for k in some], dtype=torch.int64, device=said.device)
        columns = {
            "map": torch.split(maps, counts),
            "label": torch.split(
                torch.tensor([k for some in labels for k in some], dtype=torch.int64), counts
            ),
            "right": torch.split(own == said[taken.owner], counts),
            "sure": torch.split(sure, 1),
        }
        if "thresholds" in model.calibration:
            columns["thresholds"] = (torch.tensor(model.calibration["thresholds"]),) * len(labels)
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        return Answers(rows)

    def _logits(self, model: Asked, shown: Tensor) -> Tensor:
        """Logits (n, classes) with the gradients that they have; UserError for what is none of that."""
        logits = Answers(model.forward(shown)).tensor
        if self._pairs is not None:
            wanted = len(imagenet_ids())
        else:
            wanted = len(class_map(model.card.output.labels, model.names, model.classes))
        if logits.ndim != 2 or len(logits) != len(shown):
            raise UserError(
                f"it answers {tuple(logits.shape)} to {len(shown)} pictures, and logits ({len(shown)}, {wanted}) are "
                "wanted"
            )
        if logits.shape[1] != wanted:
            why = (
                "its [output] labels may name its own in their order"
                if self._pairs is None
                else "the suite's pairs are of ImageNet's 1,000"
            )
            raise UserError(f"it answers for {logits.shape[1]} classes, and {wanted} are asked for; {why}")
        return logits

    def _labels(self, target: Any, known: Mapping[int, int], i: int) -> list[int]:
        """The classes that are asked about: of objects that the network knows."""
        if target is None:
            return [sorted(known)[i % len(known)]]
        objects = ~(target["crowd"] | target["ignore"])
        return [label for label in sorted({*target["labels"][objects].tolist()}) if label in known]

    def outcomes(self, answers: Answers, batch: Batch) -> Outcomes:
        """Of samples `sure` (n,); of pairs label uint16, right bool, and what `scored` keeps of each map."""
        rows = answers.raw
        assert isinstance(rows, list)
        size = tuple(map(int, batch.samples.shape[-2:]))
        owner = np.repeat(np.arange(len(rows)), [len(row["label"]) for row in rows])
        columns: dict[str, NDArray[Any]] = {
            name: torch.cat([row[name] for row in rows]).cpu().numpy() for name in ("label", "right", "map")
        }
        objects = [
            objects_of(batch.targets[i], int(k), size) for i, k in zip(owner, columns["label"], strict=True)
        ]
        thresholds = rows[0]["thresholds"].tolist() if "thresholds" in rows[0] else None
        found = scored(
            columns["map"],
            np.array([one.shape for one in objects], dtype=bool).reshape(-1, *size),
            [one.boxes for one in objects],
            left_out_of(objects, size),
            thresholds,
        )
        kept = {"label": columns["label"].astype(np.uint16), "right": columns["right"]}
        sure = torch.cat([row["sure"] for row in rows]).cpu().numpy()
        return Outcomes({"sure": sure}, {"pairs": Items(owner, {**kept, **found})})

    def truth(self, batch: Batch) -> Outcomes | None:
        """Nothing: what a map is worth stands among the outcomes."""
        del batch
        return None

    def calibrate(self, model: Asked, source: Source, index_of: IndexOf) -> dict[str, Any]:
        """The layer, and where the data set has training pictures the levels above which a map's boxes lie.

        These are chosen on the first of them, uncorrupted, whether the network answers right or not. UserError for a
        layer that is not there and for a class that the network does not know.
        """
        self.known(model)
        module = module_of(model.module)
        layer = model.card.output.layer
        if layer is None:
            layout = index_of(source).layout
            assert isinstance(layout, (RaggedImages, Images))
            one = self.probe(layout).samples[:1].to(model.device)
            layer = last_map(module, lambda x: self._logits(model, x), model.prepare(one)[0])
        named_layer(module, layer)
        found: dict[str, Any] = {"layer": layer}
        try:
            index = index_of(replace(source, split="train", limit=CALIBRATED, sha256={}))
        except UnknownName:
            return found
        return {**found, "thresholds": self._thresholds(_At(model, found), index)}

    def _thresholds(self, model: Asked, index: Index) -> list[int]:
        data = index.open("stored")
        levels, boxes = [], []
        for rows in data.batches(_STEP * data.facts.layout.values):
            batch = data.load(rows, model.device)
            for row, target in zip(self.ask(model, batch).raw, batch.targets, strict=True):
                size = tuple(map(int, row["map"].shape[-2:]))
                objects = [objects_of(target, label, size) for label in row["label"].tolist()]
                levels += [*levels_of(row["map"].cpu().numpy(), left_out_of(objects, size))[1]]
                boxes += [one.boxes for one in objects]
        return thresholds_of(levels, boxes)

    def question(self, facts: DataFacts) -> dict[str, Any]:
        """The data's digest, how many images they are, by what maps are made, and which classes are asked about."""
        told = {"data": facts.digest, "n": facts.n, "cam": self.cam}
        return told if self._pairs is None else {**told, "pairs": self._pairs.told}

    def probe(self, layout: Layout) -> Batch:
        """Eight images of the first one's size, uint8 (8, C, H, W): coarse noise of PCG64's raw words; no object."""
        assert isinstance(layout, (RaggedImages, Images))
        height, width = (
            (layout.height, layout.width) if isinstance(layout, Images) else map(int, layout.sizes[0])
        )
        # random_raw is the one stream that numpy promises never to change.
        words = np.random.PCG64(20_171_022).random_raw(64 * layout.channels).astype("<u8").view(np.uint8)
        ground = words.reshape(8, layout.channels, 8, 8)
        rows, columns = np.arange(height) * 8 // height, np.arange(width) * 8 // width
        images = torch.from_numpy(np.ascontiguousarray(ground[:, :, rows[:, None], columns[None, :]]))
        ids = np.arange(8)
        return Batch(images, [None] * 8, ids, ids)

    def health(self, answers: Answers, facts: DataFacts) -> list[str]:
        """Maps that are the same everywhere, all of them."""
        del facts
        rows = answers.raw
        assert isinstance(rows, list)
        flat = all(float(row["map"].min()) == float(row["map"].max()) for row in rows)
        return ["all its heat maps of the probe are empty, or the same everywhere"] if flat else []

    def doubts(self, values: Mapping[str, Mapping[str, float]], facts: DataFacts) -> list[str]:
        """A clean energy that an even map has too."""
        del facts
        if "energy" not in values or values["energy"]["mean"] > values["area_share"]["mean"]:
            return []
        energy, share = (values[name]["mean"] for name in ("energy", "area_share"))
        return [f"clean energy is {energy:.1%}, and a map that is even everywhere has {share:.1%}"]


@dataclass(frozen=True)
class _At:
    """A model with what was found for it so far."""

    of: Asked
    calibration: Mapping[str, Any]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.of, name)


def _native(maps: Tensor, shown: Sequence[int], geometry: Geometry) -> Tensor:
    """Maps (m, h, w) of what was shown, on the picture's own grid (m, H, W); 0 where nothing was shown of it."""
    canvas, (tall, wide), (top, left) = geometry.canvas, geometry.resized, geometry.offset
    if (tall, wide) != tuple(shown):
        # A crop or a letterbox: first what was shown, then its place in the picture.
        maps = _enlarged(maps, shown)
        whole = maps.new_zeros((len(maps), tall, wide))
        y, x = max(0, -top), max(0, -left)
        part = maps[:, max(0, top) :, max(0, left) :][:, : tall - y, : wide - x]
        whole[:, y : y + part.shape[1], x : x + part.shape[2]] = part
        maps = whole
    return _enlarged(maps, canvas)


def _enlarged(maps: Tensor, size: Sequence[int]) -> Tensor:
    if maps.shape[-2:] == tuple(size) or not len(maps):
        return maps if len(maps) else maps.new_zeros((0, *size))
    return F.interpolate(maps[:, None], size=tuple(size), mode="bilinear", align_corners=False)[:, 0]
