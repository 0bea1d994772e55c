"""Single-label image classification."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from robustbench_ms.datasets.protocol import Batch, DataFacts, Images, Layout, RaggedImages
from robustbench_ms.errors import UserError
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.source import Source
from robustbench_ms.specs.suite import Suite
from robustbench_ms.tasks.answers import Answers
from robustbench_ms.tasks.outcomes import Outcomes
from robustbench_ms.tasks.protocol import Asked

__all__ = ["Classification"]


class Classification:
    """Of logits (n, classes): whether the label is first or among five, its probability, and how sure the answer is.

    Classes are ranked by logit and, where logits are equal, by class index, the lower first: on every device alike, and
    whatever is first is among the first five.
    """

    number = 1
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
        targets, logits = batch.targets, answers.tensor
        count = logits.shape[1]
        classes = torch.arange(count, device=logits.device)
        own = logits.gather(1, targets[:, None])
        before = (logits > own) | ((logits == own) & (classes < targets[:, None]))
        rank = before.sum(dim=1)
        # max and topk promise no order of equal logits, and the CPU and CUDA have others.
        prediction = classes.where(logits == logits.amax(dim=1, keepdim=True), count).amin(dim=1)
        logs = logits.double().log_softmax(dim=1)
        probabilities = logs.exp()
        of_label = logs.gather(1, targets[:, None]).squeeze(1)
        right = of_label.exp()
        columns: dict[str, Any] = {
            "prediction": prediction.to(torch.int32),
            "confidence": probabilities.amax(dim=1).float(),
            "correct": rank == 0,
            "top5": rank < 5,
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
