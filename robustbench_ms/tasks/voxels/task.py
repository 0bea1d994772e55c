"""Segmentation of volumes: a class for every voxel, on the volume's own grid; class 0 is the background."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from robustbench_ms.datasets.protocol import MAP, Batch, DataFacts
from robustbench_ms.datasets.shapes import Layout, RaggedVolumes, Volumes
from robustbench_ms.tasks.answers import Answers
from robustbench_ms.tasks.outcomes import Outcomes
from robustbench_ms.tasks.protocol import Asked
from robustbench_ms.tasks.segmentation.raw import check_classes, checked, first_largest, renamed
from robustbench_ms.tasks.segmentation.task import Segmentation, class_map_of
from robustbench_ms.tasks.voxels.surfaces import dilated, hd95, surface
from robustbench_ms.tasks.voxels.windows import in_windows

__all__ = ["Voxels"]


class Voxels(Segmentation):
    """Of each volume a map of classes on its own grid.

    Models answer with logits (n, K, d, h, w) or class indices (n, d, h, w). Logits of another size are read trilinear
    (corners not aligned) at the volume's voxels, indices of another size at the nearest; of equal logits the lower
    class is taken. Where a card asks for windows the logits are the mean of theirs (`in_windows`). What moves a volume
    moves its map, so each cell has its own truth beside its answers.
    """

    number = 1
    layouts: tuple[type[Any], ...] = (Volumes, RaggedVolumes)

    def ask(self, model: Asked, batch: Batch) -> Answers:
        """The data's "classes" int16 (n, D, H, W), their number where it is none of them; and "broken" float32 (n,)."""
        shown, _ = model.prepare(batch.samples)
        with torch.no_grad():
            known = class_map_of(model.card.output.labels, model.names, model.classes)

            def answer(volumes: Tensor) -> tuple[Tensor, Tensor]:
                return checked(model.forward(volumes), len(batch), len(known), "d, h, w", "volumes")

            wanted = model.card.input
            raw, broken = answer(shown) if wanted.window is None else in_windows(answer, shown, wanted)
            size = batch.samples.shape[2:]
            maps = torch.stack([_native(one, size) for one in raw])  # one at a time: logits are large
            check_classes(maps, len(known))
            return Answers({"classes": renamed(maps, known, model.classes), "broken": broken})

    def outcomes(self, answers: Answers, batch: Batch) -> Outcomes:
        """Of each volume and class (n, K), uint32 unless said otherwise.

        Voxels "true", "predicted" and both, "intersection"; "surface", the voxels of both surfaces, and "near", those
        of them within one voxel of the other one; where millimetres are known "hd95", float64. And "broken" float32
        (n,), as answered.
        """
        asked, raw = batch.targets[0], answers.raw
        assert isinstance(raw, dict)
        true, said = batch.maps[MAP].long(), raw["classes"].long()
        found: dict[str, list[NDArray[Any]]] = {}

        def keep(name: str, values: NDArray[Any]) -> None:
            found.setdefault(name, []).append(values)

        for label in range(asked["classes"]):
            it, called = true == label, said == label
            for name, one in (("true", it), ("predicted", called), ("intersection", it & called)):
                keep(name, _counted(one))
            first, second = surface(it), surface(called)
            keep("surface", _counted(first) + _counted(second))
            keep("near", _counted(first & dilated(second)) + _counted(second & dilated(first)))
            if asked["spacing"] is not None:
                pairs = zip(first.cpu().numpy(), second.cpu().numpy(), strict=True)
                ground = label == 0  # which nobody looks at
                keep("hd95", np.array([0.0 if ground else hd95(a, b, asked["spacing"]) for a, b in pairs]))
        kept = {name: np.stack(columns, axis=1) for name, columns in found.items()}
        return Outcomes({**kept, "broken": raw["broken"].cpu().numpy()})

    def truth(self, batch: Batch) -> Outcomes | None:
        """Nothing that holds for all cells: it moves with what moves."""
        del batch
        return None

    def probe(self, layout: Layout) -> Batch:
        """Eight volumes of the first one's shape, coarse noise of PCG64's raw words, float32 within 0..255 or -1..1."""
        layout = layout.at(0) if isinstance(layout, RaggedVolumes) else layout
        assert isinstance(layout, Volumes)
        # random_raw is the one stream that numpy promises never to change.
        words = np.random.PCG64(20_150_607).random_raw(8 * layout.channels * 64)
        noise = ((words >> np.uint64(40)).astype(np.float32) / np.float32(1 << 23) - 1).astype(np.float32)
        places = [np.arange(side) * 4 // side for side in layout.shape]
        coarse = noise.reshape(8, layout.channels, 4, 4, 4)[
            :, :, places[0][:, None, None], places[1][:, None], places[2]
        ]
        shown = np.rint((coarse + 1) * np.float32(127.5)) if layout.of_bytes else coarse
        ids = np.arange(8)
        nothing = torch.zeros((8, *layout.shape), dtype=torch.uint8)
        asked = {"classes": 1, "spacing": layout.spacing}
        return Batch(torch.from_numpy(np.ascontiguousarray(shown)), [asked] * 8, ids, ids, {MAP: nothing})

    def health(self, answers: Answers, facts: DataFacts) -> list[str]:
        """Every voxel of every volume has one class."""
        del facts
        assert isinstance(answers.raw, dict)
        maps = answers.raw["classes"]
        return ["it gives every voxel of the probe one class"] if int(maps.min()) == int(maps.max()) else []

    def doubts(self, values: Mapping[str, Mapping[str, float]], facts: DataFacts) -> list[str]:
        """A clean mean of nothing."""
        del facts
        name, first = next(iter(values.items()), ("", {"mean": 1.0}))
        return [] if first["mean"] > 0 else [f"clean {name} is 0: do its labels and its input fit?"]


def _native(one: Tensor, size: torch.Size) -> Tensor:
    """One answer (K, d, h, w) or (d, h, w) as classes int16 or int64 (D, H, W)."""
    logits = one.ndim == 4
    values = one[None].float() if logits else one[None, None].double()
    if values.shape[2:] != size:
        ways = {"mode": "trilinear", "align_corners": False} if logits else {"mode": "nearest-exact"}
        values = F.interpolate(values, size=tuple(size), **ways)
    return first_largest(values[0]) if logits else values[0, 0].round().long()


def _counted(part: Tensor) -> NDArray[np.uint32]:
    """How many voxels of each volume, (n,), a part bool (n, D, H, W) has."""
    return part.flatten(1).sum(dim=1).cpu().numpy().astype(np.uint32)
