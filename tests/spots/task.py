"""Spots: asked by the gradient at a layer, and what makes them worse."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch.nn import functional as F

from robustbench_ms.datasets.protocol import Batch
from robustbench_ms.datasets.shapes import RaggedImages
from robustbench_ms.errors import UserError
from robustbench_ms.tasks.answers import Answers
from robustbench_ms.tasks.outcomes import Items, Outcomes


class Shifts:
    """Roll moves an image and its maps to the right, dim makes it darker."""

    def __init__(self, suite, facts):
        del suite, facts

    def moves(self, condition):
        return dict(condition)["shift"] == "roll"

    def number(self, condition):
        del condition
        return 1

    def check(self, condition):
        if dict(condition)["level"] not in {1, 2}:
            raise UserError("level must be 1 or 2")

    def question(self, condition):
        return {"shift_protocol": self.number(condition)}

    def __call__(self, batch, condition):
        wanted = dict(condition)
        if wanted["shift"] == "dim":
            kept = batch.samples // 32 if wanted["level"] == 2 else batch.samples - batch.samples // 8
            return replace(batch, samples=kept)
        by = 8 * wanted["level"]
        maps = {name: values.roll(by, dims=-1) for name, values in batch.maps.items()}
        targets = [spots.clone() for spots in batch.targets]
        for spots in targets:
            spots[:, 1] = (spots[:, 1] + by) % batch.samples.shape[-1]
        return replace(batch, samples=batch.samples.roll(by, dims=-1), maps=maps, targets=targets)


class Spots:
    number = 1
    layouts = (RaggedImages,)
    wants = ("spots", "map")

    def __init__(self, suite):
        self.layer = suite.options.get("layer", "features")

    def _maps(self, model, samples):
        """Where the answer's gradient at the layer is, (k, H, W), 0 or more."""
        kept = []
        layer = dict(model.module.named_modules()).get(self.layer)
        if layer is None:
            raise UserError(f"it has no layer {self.layer!r}")
        hook = layer.register_forward_hook(lambda _m, _i, out: kept.append(out))
        try:
            with torch.enable_grad():
                shown, _ = model.prepare(samples)
                answer = model.forward(shown.requires_grad_())
                (gradient,) = torch.autograd.grad(answer.sum(), kept[0])
        finally:
            hook.remove()
        return F.relu((gradient.mean(dim=(2, 3), keepdim=True) * kept[0].detach()).sum(dim=1))

    def ask(self, model, batch):
        maps = self._maps(model, batch.samples)
        threshold = model.calibration.get("threshold", 0.0)
        rows = []
        for one in maps:
            peak = F.max_pool2d(one[None], 5, 1, 2)[0]
            at = ((one == peak) & (one > threshold)).nonzero()
            score = one[at[:, 0], at[:, 1]]
            best = score.argsort(descending=True, stable=True)[:3]
            rows.append({"at": at[best], "score": score[best], "map": one})
        return Answers(rows)

    def outcomes(self, answers, batch):
        owner, spot, energy = [], [], []
        for i, (row, spots) in enumerate(zip(answers.raw, batch.targets, strict=True)):
            for y, x in row["at"].tolist():
                near = [(abs(y - s[0]) <= 3) & (abs(x - s[1]) <= 3) for s in spots.tolist()]
                owner.append(i)
                # Which of its sample's spots; the sample is found by its owner.
                spot.append(near.index(True) if any(near) else -1)
            total = float(row["map"].sum())
            energy.append(float((row["map"] * batch.maps["mask"][i]).sum()) / total if total else 0.0)
        items = Items(np.array(owner, dtype=np.int64), {"spot": np.array(spot, dtype=np.int64)})
        return Outcomes({"energy": np.array(energy, dtype=np.float32)}, {"found": items})

    def truth(self, batch):
        owner = np.repeat(np.arange(len(batch)), [len(spots) for spots in batch.targets])
        small = np.concatenate([spots[:, 2].numpy() == 1 for spots in batch.targets])
        number = np.concatenate([np.arange(len(spots)) for spots in batch.targets])
        return Outcomes({}, {"spots": Items(owner, {"small": small, "number": number})})

    def calibrate(self, model, source, index_of):
        """A tenth of the largest value that its maps have on the training split."""
        index = index_of(replace(source, split="train", limit=None))
        data, most = index.open("stored"), 0.0
        for rows in data.batches(4096):
            samples = data.load(rows, torch.device("cpu")).samples.to(model.device)
            most = max(most, float(self._maps(model, samples).max()))
        return {"threshold": round(0.3 * most, 6)}

    def question(self, facts):
        return {"data": facts.digest, "n": facts.n, "layer": self.layer}

    def probe(self, layout):
        height, width = map(int, layout.sizes[0])
        images = np.random.PCG64(3).random_raw(height * width).astype("<u8").view(np.uint8)
        samples = torch.from_numpy(images[: 8 * height * width].reshape(8, 1, height, width).copy())
        ids = np.arange(8)
        masks = torch.zeros((8, height, width), dtype=torch.int64)
        return Batch(samples, [torch.zeros((1, 3), dtype=torch.int64)] * 8, ids, ids, {"mask": masks})

    def health(self, answers, facts):
        del facts
        return [] if any(len(row["at"]) for row in answers.raw) else ["it finds nothing on the probe"]

    def doubts(self, values, facts):
        del facts
        return [] if values["recall"]["mean"] > 0.05 else ["it finds next to none of the clean spots"]
