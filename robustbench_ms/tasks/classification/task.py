"""Single-label image classification."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from robustbench_ms.datasets.protocol import Batch, DataFacts, Images, Layout, RaggedImages
from robustbench_ms.errors import UserError
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.source import Source
from robustbench_ms.specs.suite import Suite
from robustbench_ms.tasks.answers import Answers
from robustbench_ms.tasks.outcomes import Outcomes
from robustbench_ms.tasks.protocol import Asked
from robustbench_ms.tasks.scores import ece_with_stderr, mean_with_stderr

__all__ = ["Classification"]


class Classification:
    """Top-1, top-5, NLL, Brier score and calibration of logits (N, classes)."""

    number = 1
    metrics = ("accuracy", "top5_accuracy", "nll", "brier", "ece")
    layouts = (Images, RaggedImages)
    wants = ("label",)

    def __init__(self, suite: Suite) -> None:
        del suite  # it has no options

    def ask(self, model: Asked, batch: Batch) -> Answers:
        """Logits (k, classes), float32."""
        shown, _ = model.prepare(batch.samples)
        with torch.inference_mode():
            return Answers(Answers(model.forward(shown)).tensor.float())

    def outcomes(self, answers: Answers, batch: Batch) -> Outcomes:
        """prediction, confidence, correct, top5, nll and brier, each (k,)."""
        targets = batch.targets
        logs = answers.tensor.double().log_softmax(dim=1)
        probabilities = logs.exp()
        confidence, prediction = probabilities.max(dim=1)
        of_label = logs.gather(1, targets[:, None]).squeeze(1)
        # Ties count for the label's rivals, so that a constant answer has no top-5 luck.
        rivals = (logs >= of_label[:, None]).sum(dim=1)
        right = of_label.exp()
        columns: dict[str, Any] = {
            "prediction": prediction.to(torch.int32),
            "confidence": confidence.float(),
            "correct": prediction == targets,
            "top5": rivals <= 5,
            "nll": (-of_label).float(),
            "brier": (probabilities.square().sum(dim=1) - 2 * right + 1).float(),
        }
        return Outcomes(columns)

    def truth(self, batch: Batch) -> Outcomes | None:
        """Nothing: whether an answer is right stands among the outcomes."""
        del batch
        return None

    def calibrate(self, model: Asked, source: Source, places: Places) -> dict[str, Any]:
        """Nothing."""
        del model, source, places
        return {}

    def question(self, facts: DataFacts) -> dict[str, Any]:
        """The data's digest, and how many samples they are."""
        return {"data": facts.digest, "n": facts.n}

    def probe(self, layout: Layout) -> Batch:
        """Four images of noise and four of coarse blocks, uint8 (8, C, H, W), from PCG64's raw words.

        Of ragged images the probe has the first one's size. Its labels are 0.
        """
        channels = layout.channels
        height, width = (
            (layout.height, layout.width) if isinstance(layout, Images) else map(int, layout.sizes[0])
        )
        count = 8 * channels * height * width
        # random_raw is the one stream that numpy promises never to change.
        words = np.random.PCG64(20_190_101).random_raw(count // 8 + 8)
        noise = words.astype("<u8").view(np.uint8)[:count].reshape(8, channels, height, width).copy()
        side = 4
        rows, columns = np.arange(height) * side // height, np.arange(width) * side // width
        noise[4:] = noise[4:, :, rows[:, None], columns[None, :]]
        ids = np.arange(8)
        return Batch(torch.from_numpy(noise), torch.zeros(8, dtype=torch.int64), ids, ids)

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

    def health(self, answers: Answers, facts: DataFacts) -> list[str]:
        """Probabilities instead of logits are a warning; another number of classes cannot be scored."""
        outputs = answers.tensor
        if outputs.ndim != 2 or len(outputs) != 8:
            raise UserError(
                f"its answer to 8 images has shape {tuple(outputs.shape)}, not (8, {facts.classes})"
            )
        if outputs.shape[1] != facts.classes:
            raise UserError(
                f"it answers for {outputs.shape[1]} classes, and the data set has {facts.classes}"
            )
        sums = outputs.double().sum(dim=1)
        if bool((outputs >= 0).all()) and bool((sums - 1).abs().max() < 1e-3):
            return ["answers with probabilities, not logits: NLL, Brier and ECE are those of their softmax"]
        return []

    def doubts(self, values: Mapping[str, Mapping[str, float]], facts: DataFacts) -> list[str]:
        """A clean accuracy within three standard errors of chance."""
        accuracy = values["accuracy"]
        chance = 1 / facts.classes
        stderr = max(accuracy["stderr"], (chance * (1 - chance) / facts.n) ** 0.5)
        if abs(accuracy["mean"] - chance) > 3 * stderr:
            return []
        return [f"clean accuracy {accuracy['mean']:.1%} is no better than chance ({chance:.1%})"]
