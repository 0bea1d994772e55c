"""Single-label image classification."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from robustbench_ms.corruptions import corrupt
from robustbench_ms.corruptions.table import PROTOCOL
from robustbench_ms.datasets import DATASETS
from robustbench_ms.datasets.images import Images, subset
from robustbench_ms.errors import UserError
from robustbench_ms.specs.conditions import Condition
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.suite import Suite
from robustbench_ms.tasks.protocol import Batch, Data
from robustbench_ms.tasks.scores import ece_with_stderr, mean_with_stderr

__all__ = ["Classification"]


class Classification:
    """Top-1, top-5, NLL, Brier score and calibration of logits (N, classes)."""

    number = 1
    metrics = ("accuracy", "top5_accuracy", "nll", "brier", "ece")

    def open(self, suite: Suite, places: Places, condition: Condition) -> Images:
        """The images of one condition, or a keyed subset of them."""
        module, _, function = DATASETS[suite.dataset].target.partition(":")
        data: Images = getattr(import_module(module), function)(suite, places, condition)
        if condition and not data.corrupted:
            # None of the images: what the profile does not take is refused before any cell is measured.
            none = Batch(torch.empty((0, *data.shape), dtype=torch.uint8), torch.empty(0), data.ids[:0])
            try:
                self.corrupt(none, suite, condition)
            except UserError as error:
                raise UserError(f"suite {suite.name}: {error}") from error
        return data if suite.limit is None else subset(data, suite.limit)

    def question(self, suite: Suite, data: Data, condition: Condition) -> dict[str, Any]:
        """The data's digest, and of a corrupted cell the corruption, its profile, seed and protocol number."""
        fields: dict[str, Any] = {"data": data.sha256, "n": len(data), **dict(condition)}
        if condition and not cast(Images, data).corrupted:
            fields |= {
                "profile": suite.profile,
                "corruption_protocol": PROTOCOL[fields["corruption"]],
                "seed": suite.seed,
                "encode": suite.encode,
            }
        return fields

    def load(self, data: Data, start: int, stop: int, device: torch.device) -> Batch:
        """Samples start..stop, uint8 (N, C, H, W), on the device."""
        images = cast(Images, data)
        samples, targets = (
            torch.from_numpy(images.batch(start, stop)),
            torch.from_numpy(images.labels[start:stop]),
        )
        if device.type != "cpu":
            samples, targets = (t.pin_memory().to(device, non_blocking=True) for t in (samples, targets))
        return Batch(samples, targets, images.ids[start:stop])

    def corrupt(self, batch: Batch, suite: Suite, condition: Condition) -> Batch:
        """The batch under the condition; as it is where the data set brings its corrupted images."""
        if not condition or suite.profile is None:
            return batch
        wanted = dict(condition)
        shown = corrupt(
            batch.samples,
            wanted["corruption"],
            wanted["severity"],
            profile=suite.profile,
            seed=suite.seed,
            ids=torch.from_numpy(batch.ids),
        )
        if suite.encode is not None:
            from robustbench_ms.corruptions.defined.jpeg import jpeg_round_trip

            shown = jpeg_round_trip(shown, int(suite.encode.removeprefix("jpeg-")))
        return replace(batch, samples=shown)

    def probe(self, data: Data) -> torch.Tensor:
        """Four images of noise and four of coarse blocks, uint8 (8, C, H, W), from PCG64's raw words."""
        channels, height, width = data.shape
        count = 8 * channels * height * width
        # random_raw is the one stream that numpy promises never to change.
        words = np.random.PCG64(20_190_101).random_raw(count // 8 + 8)
        noise = words.astype("<u8").view(np.uint8)[:count].reshape(8, channels, height, width).copy()
        side = 4
        rows, columns = np.arange(height) * side // height, np.arange(width) * side // width
        noise[4:] = noise[4:, :, rows[:, None], columns[None, :]]
        return torch.from_numpy(noise)

    def outcomes(self, outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
        """prediction, confidence, correct, top5, nll and brier of logits (n, classes), each (n,)."""
        logs = outputs.double().log_softmax(dim=1)
        probabilities = logs.exp()
        confidence, prediction = probabilities.max(dim=1)
        of_label = logs.gather(1, targets[:, None]).squeeze(1)
        # Ties count for the label's rivals, so that a constant answer has no top-5 luck.
        rivals = (logs >= of_label[:, None]).sum(dim=1)
        right = of_label.exp()
        return {
            "prediction": prediction.to(torch.int32),
            "confidence": confidence.float(),
            "correct": prediction == targets,
            "top5": rivals <= 5,
            "nll": (-of_label).float(),
            "brier": (probabilities.square().sum(dim=1) - 2 * right + 1).float(),
        }

    def score(self, outcomes: Mapping[str, NDArray[Any]]) -> dict[str, dict[str, float]]:
        """{metric: {mean, stderr}}; ECE's error is a bootstrap over samples, the others' that of a mean."""
        found = {
            "accuracy": mean_with_stderr(outcomes["correct"]),
            "top5_accuracy": mean_with_stderr(outcomes["top5"]),
            "nll": mean_with_stderr(outcomes["nll"]),
            "brier": mean_with_stderr(outcomes["brier"]),
            "ece": ece_with_stderr(outcomes["confidence"], outcomes["correct"]),
        }
        return {name: {"mean": mean, "stderr": stderr} for name, (mean, stderr) in found.items()}

    def health(self, outputs: torch.Tensor, data: Data) -> list[str]:
        """Probabilities instead of logits are a warning; another number of classes cannot be scored."""
        if outputs.ndim != 2 or len(outputs) != 8:
            raise UserError(
                f"its answer to 8 images has shape {tuple(outputs.shape)}, not (8, {data.classes})"
            )
        if outputs.shape[1] != data.classes:
            raise UserError(f"it answers for {outputs.shape[1]} classes, and the data set has {data.classes}")
        sums = outputs.double().sum(dim=1)
        if bool((outputs >= 0).all()) and bool((sums - 1).abs().max() < 1e-3):
            return ["answers with probabilities, not logits: NLL, Brier and ECE are those of their softmax"]
        return []

    def doubts(self, values: Mapping[str, Mapping[str, float]], data: Data) -> list[str]:
        """A clean accuracy within three standard errors of chance."""
        accuracy = values["accuracy"]
        chance = 1 / data.classes
        stderr = max(accuracy["stderr"], (chance * (1 - chance) / len(data)) ** 0.5)
        if abs(accuracy["mean"] - chance) > 3 * stderr:
            return []
        return [f"clean accuracy {accuracy['mean']:.1%} is no better than chance ({chance:.1%})"]
