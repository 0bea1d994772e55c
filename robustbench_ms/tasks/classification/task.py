"""Classification of images, of windows of signals and of volumes: one label of a sample, or a set of right ones."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from robustbench_ms.datasets.orders import subset_ids
from robustbench_ms.datasets.protocol import Batch, DataFacts
from robustbench_ms.datasets.shapes import Images, Layout, RaggedImages, RaggedVolumes, Signals, Volumes
from robustbench_ms.errors import UserError
from robustbench_ms.specs.source import Source
from robustbench_ms.specs.suite import Suite
from robustbench_ms.tasks.answers import WRAP, Answers
from robustbench_ms.tasks.outcomes import Outcomes
from robustbench_ms.tasks.protocol import Asked, IndexOf

__all__ = ["Classification"]


class Classification:
    """Of logits (n, classes): whether the label is first or among five, its probability, and how sure the answer is.

    Classes are ranked by logit and, where logits are equal, by class index, the lower first: on every device alike, and
    whatever is first is among the first five.

    `subset` restricts the answers: logits of other classes are dropped before anything is made of them. Where a sample
    has a set of right labels, an answer is right that is among them, and nothing else is measured.
    """

    number = 1
    layouts: tuple[type[Any], ...] = (Images, RaggedImages)
    wants = ("label",)

    def __init__(self, suite: Suite) -> None:
        name = suite.options.get("subset")
        if name is not None and not isinstance(name, str):
            raise UserError(f"suite {suite.name}: subset must be a name or a file, not {name!r}")
        self.subset = () if name is None else subset_ids(name, suite.folder)
        """The classes among which is chosen; () for all."""

    def ask(self, model: Asked, batch: Batch) -> Answers:
        """Logits (k, classes), float32; UserError for what is none of that."""
        shown, _ = model.prepare(batch.samples)
        with torch.no_grad():  # not inference_mode: a model may switch gradients on for itself
            answered = Answers(model.forward(shown))
            _refuse(answered, len(batch), model.classes, model.names)
            return Answers(answered.tensor.float(), answered.note)

    def outcomes(self, answers: Answers, batch: Batch) -> Outcomes:
        """prediction, confidence, correct, top5, nll and brier, each (k,); the first three of sets of labels."""
        targets, logits = batch.targets, answers.tensor
        chosen = torch.arange(logits.shape[1], device=logits.device)
        if self.subset:
            chosen = torch.tensor(self.subset, device=logits.device)
            logits, targets = logits[:, chosen], _among(targets, chosen)
        count = logits.shape[1]
        classes = torch.arange(count, device=logits.device)
        # max and topk promise no order of equal logits, and the CPU and CUDA have others. Of NaN it is the last one.
        best = logits.amax(dim=1)
        prediction = classes.where(logits == best[:, None], count - 1).amin(dim=1)
        logs = logits.double().log_softmax(dim=1)
        probabilities = logs.exp()
        columns: dict[str, Any] = {
            "prediction": chosen[prediction].to(torch.int32),
            # Of +inf as it is, and not the NaN that it makes of all probabilities.
            "confidence": probabilities.amax(dim=1).float().where(~best.isposinf(), torch.inf),
        }
        if targets.ndim == 2:
            return Outcomes({**columns, "correct": targets.gather(1, prediction[:, None]).squeeze(1)})
        own = logits.gather(1, targets[:, None])
        before = (logits > own) | ((logits == own) & (classes < targets[:, None]))
        rank = before.sum(dim=1)
        of_label = logs.gather(1, targets[:, None]).squeeze(1)
        right = of_label.exp()
        columns |= {
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

    def calibrate(self, model: Asked, source: Source, index_of: IndexOf) -> dict[str, Any]:
        """Nothing."""
        del model, source, index_of
        return {}

    def question(self, facts: DataFacts) -> dict[str, Any]:
        """The data's digest, how many samples they are; and of how few of the classes, and among which is chosen."""
        told: dict[str, Any] = {"data": facts.digest, "n": facts.n}
        if facts.present is not None and facts.present < facts.classes:
            told |= {"classes": facts.classes, "classes_present": facts.present}
        if self.subset:
            kept = hashlib.sha256(repr(self.subset).encode()).hexdigest()[:16]
            told["subset"] = f"{len(self.subset)} classes, {kept}"
        return told

    def probe(self, layout: Layout) -> Batch:
        """Four images of noise and four of coarse blocks, uint8 (8, C, H, W), from PCG64's raw words.

        Of ragged samples the probe has the first one's size; of signals it is eight windows of noise within -1..1, of
        which the second four change a quarter as often; of volumes such noise, within 0..255 where they are stored as
        bytes, along the last axis. Its labels are 0.
        """
        channels = layout.channels
        layout = layout.at(0) if isinstance(layout, RaggedVolumes) else layout
        if isinstance(layout, (Signals, Volumes)):
            return _probe_of_numbers(layout)
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
        _refuse(answers, 8, facts.classes, facts.names)
        sums = outputs.double().sum(dim=1)
        if bool((outputs >= 0).all()) and bool((sums - 1).abs().max() < 1e-3):
            return ["answers with probabilities, not logits: NLL, Brier and ECE are those of their softmax"]
        return []

    def doubts(self, values: Mapping[str, Mapping[str, float]], facts: DataFacts) -> list[str]:
        """A clean accuracy within three standard errors of chance."""
        accuracy = values["accuracy"]
        chance = 1 / (len(self.subset) or facts.classes)
        stderr = max(accuracy["stderr"], (chance * (1 - chance) / facts.n) ** 0.5)
        if abs(accuracy["mean"] - chance) > 3 * stderr:
            return []
        return [
            f"clean accuracy {accuracy['mean']:.1%} of {facts.n:,} is not told from chance ({chance:.1%})"
        ]


def _probe_of_numbers(layout: Signals | Volumes) -> Batch:
    words = np.random.PCG64(20_190_101).random_raw(8 * layout.values)
    noise = ((words >> np.uint64(40)).astype(np.float32) / np.float32(1 << 23) - 1).astype(np.float32)
    shape = layout.shape if isinstance(layout, Volumes) else (layout.length,)
    noise = noise.reshape(8, layout.channels, *shape)
    noise[4:] = noise[4:, ..., np.arange(shape[-1]) // 4 * 4]
    if isinstance(layout, Volumes) and layout.of_bytes:
        noise = np.rint((noise + 1) * np.float32(127.5))
    ids = np.arange(8)
    return Batch(torch.from_numpy(noise), torch.zeros(8, dtype=torch.int64), ids, ids)


def _among(targets: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Targets by places in a subset, of class indices (k,) or of sets (k, classes)."""
    if targets.ndim == 2:
        return targets[:, chosen]
    place = torch.searchsorted(chosen, targets).clamp(max=len(chosen) - 1)
    strange = targets[chosen[place] != targets]
    if len(strange):
        raise UserError(
            f"the label {int(strange[0])} is none of the {len(chosen)} classes of the suite's subset"
        )
    return place


def _refuse(answers: Answers, count: int, classes: int, names: Sequence[str]) -> None:
    """UserError for answers that are no logits (count, classes); of 0 `classes` their number is not known."""
    outputs = answers.tensor
    told = f", the first of the {answers.members} that it answers with{WRAP}" if answers.members > 1 else ""
    if outputs.is_complex() or outputs.dtype == torch.bool:
        raise UserError(
            f"it answers with {'complex numbers' if outputs.is_complex() else 'yes and no'}, not logits"
        )
    if outputs.layout != torch.strided or outputs.device.type == "meta":
        kind = "meta tensor" if outputs.device.type == "meta" else "sparse tensor"
        raise UserError(f"it answers with a {kind}, not a tensor of logits")
    if outputs.ndim != 2 or len(outputs) != count:
        raise UserError(
            f"its answer to {count} images has shape {tuple(outputs.shape)}, not ({count}, {classes}){told}"
        )
    if classes and outputs.shape[1] != classes:
        raise UserError(
            f"it answers for {outputs.shape[1]} classes, and the data set has {classes}"
            f"{_why(outputs.shape[1], classes, names)}{told}"
        )


def _why(count: int, classes: int, names: Sequence[str]) -> str:
    """What a number of answers that does not fit looks like."""
    if classes == 1000 and count == 1001:
        return ": a background class stands before ImageNet's, which its build must drop"
    if count > 10_000 > classes:
        return ": the head of a larger set, such as ImageNet-21k; one that was trained on these classes is needed"
    if names:
        return (
            "; a file that names all of the model's classes, with --labels, says which ones its folders are"
        )
    return ""
