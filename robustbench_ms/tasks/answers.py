"""A model's raw answers to some samples: one shape for all that models return."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from robustbench_ms.errors import UserError

__all__ = ["WRAP", "Answers"]

BEST = 10
"""Of each image's detections, those that two answers are held together by."""
SAME = 0.5
"""The IoU from which two boxes are one detection."""
WRAP = "; put a module around it whose forward returns the logits alone"
"""The end of a sentence on answers that are something else."""


class Answers:
    """One answer a sample: a tensor (n, ...), tensors by name (n, ...) each, or a table of tensors a sample.

    What has logits, as an attribute or under that key, answers with them; of a tuple the first counts, as auxiliary
    heads come after it.
    """

    def __init__(self, raw: Any, note: str | None = None) -> None:
        self.note = note
        """What there is to say of how they were read."""
        self.members = len(raw) if isinstance(raw, (tuple, list)) else 1
        """Of the tuple that was answered."""
        logits = raw.get("logits") if isinstance(raw, Mapping) else getattr(raw, "logits", None)
        if isinstance(logits, Tensor):
            raw = logits
        elif isinstance(raw, (tuple, list)) and raw and isinstance(raw[0], Tensor):
            if any(_apart_of(raw[0], other) for other in raw[1:]):
                self.note = f"it answers with {len(raw)} tensors, of which the first is taken"
            raw = raw[0]
        self.raw: Tensor | dict[str, Tensor] | list[dict[str, Tensor]]
        if isinstance(raw, Tensor):
            self.raw = raw
        elif isinstance(raw, Mapping) and raw and all(isinstance(v, Tensor) for v in raw.values()):
            self.raw = dict(raw)
        elif isinstance(raw, (tuple, list)) and all(
            isinstance(row, Mapping) and all(isinstance(v, Tensor) for v in row.values()) for row in raw
        ):
            self.raw = [dict(row) for row in raw]
        else:
            raise UserError(
                f"it answers with {type(raw).__name__}, not a tensor, tensors by name, or a table a sample{WRAP}"
            )

    def __len__(self) -> int:
        """Samples."""
        return len(next(iter(self.raw.values()))) if isinstance(self.raw, dict) else len(self.raw)

    @property
    def tensor(self) -> Tensor:
        """The one tensor that was answered; UserError where it is something else."""
        if not isinstance(self.raw, Tensor):
            raise UserError(f"it answers with {type(self.raw).__name__}, not a tensor of logits{WRAP}")
        return self.raw

    @property
    def sound(self) -> bool:
        """Whether no number is NaN or +inf; -inf is a logit, of what has probability 0."""
        return not any(
            bool((t.isnan() | t.isposinf()).any()) for _, t in self._tensors() if t.is_floating_point()
        )

    def copied(self) -> Answers:
        """The same in memory of their own, and without the way by which gradients would come back."""
        if isinstance(self.raw, Tensor):
            return Answers(self.raw.detach().clone(), self.note)
        if isinstance(self.raw, dict):
            return Answers({name: t.detach().clone() for name, t in self.raw.items()}, self.note)
        return Answers([{name: t.detach().clone() for name, t in row.items()} for row in self.raw], self.note)

    def _tensors(self) -> list[tuple[str, Tensor]]:
        if isinstance(self.raw, Tensor):
            return [("", self.raw)]
        if isinstance(self.raw, dict):
            return sorted(self.raw.items())
        return [(f"{i}.{name}", t) for i, row in enumerate(self.raw) for name, t in sorted(row.items())]

    def equals(self, other: Answers) -> bool:
        """Whether they are the same to the bit."""
        mine, theirs = self._tensors(), other._tensors()
        return [name for name, _ in mine] == [name for name, _ in theirs] and all(
            torch.equal(a, b) or (a.dtype == b.dtype and a.shape == b.shape and _bytes(a) == _bytes(b))  # NaN
            for (_, a), (_, b) in zip(mine, theirs, strict=True)
        )

    @property
    def digest(self) -> str:
        """SHA-256 of their bytes: of a tensor of these alone, else of names and shapes too."""
        if isinstance(self.raw, Tensor):
            return hashlib.sha256(_bytes(self.raw)).hexdigest()
        found = hashlib.sha256()
        for name, tensor in self._tensors():
            found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
            found.update(_bytes(tensor))
        return found.hexdigest()

    @classmethod
    def joined(cls, parts: Sequence[Answers]) -> Answers:
        """The answers to several helpings, one after the other."""
        if len(parts) == 1:
            return parts[0]
        first = parts[0].raw
        if isinstance(first, Tensor):
            return cls(torch.cat([part.tensor for part in parts]))
        if isinstance(first, dict):
            tables = [part.raw for part in parts if isinstance(part.raw, dict)]
            return cls({name: torch.cat([table[name] for table in tables]) for name in first})
        return cls([row for part in parts for row in part.raw])

    def differ(self, other: Answers) -> bool:
        """Whether two answers to the same samples are apart by more than rounding explains.

        Of numbers by more than a hundredth of their spread; of maps of whole numbers where more than one in a hundred
        is another; of detections ("boxes" (m, 4), "scores", "labels") where the score of one of an image's ten best is
        apart from its match's (same label, IoU of a half) by more than .1.
        """
        if isinstance(self.raw, list) and isinstance(other.raw, list):
            pairs = zip(self.raw, other.raw, strict=True)
            if all({"boxes", "scores"} <= row.keys() for row in (*self.raw, *other.raw)):
                return any(_apart(a, b) > 0.1 or _apart(b, a) > 0.1 for a, b in pairs)
        mine, theirs = self._tensors(), other._tensors()
        if [name for name, _ in mine] != [name for name, _ in theirs]:
            return True
        return any(
            a.shape != b.shape or (a.numel() > 0 and _distance(a, b))
            for (_, a), (_, b) in zip(mine, theirs, strict=True)
        )


def _apart_of(first: Tensor, other: Any) -> bool:
    """Whether another member of a tuple could be meant as well: of the same shape (N, classes), with other numbers."""
    alike = isinstance(other, Tensor) and first.ndim == 2 and other.shape == first.shape
    return alike and not torch.equal(first, other)


def _distance(a: Tensor, b: Tensor) -> bool:
    if not a.is_floating_point() and a.ndim > 2:  # classes, of which one may turn where two are nearly alike
        return float((a != b).double().mean()) > 1e-2
    finite = a.isfinite()
    if not bool(finite.all()):
        if not bool(((a == b) | (a.isnan() & b.isnan()))[~finite].all()):
            return True
        a, b = a[finite], b[finite]
    a, b = a.double(), b.double()
    spread = float(a.std()) if a.numel() > 1 else 0.0
    return a.numel() > 0 and not float((a - b).abs().max()) <= 1e-2 * (spread or 1.0)


def _apart(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    """The largest difference of score between one's best detections and their matches in the other."""
    from torchvision.ops import box_iou

    best = one["scores"].argsort(descending=True)[:BEST]
    if not len(best):
        return 0.0
    alike = box_iou(one["boxes"][best].float(), other["boxes"].float()) >= SAME
    if "labels" in one and "labels" in other:
        alike &= one["labels"][best, None] == other["labels"][None]
    # What has no match is apart by all of its score.
    apart = (one["scores"][best, None] - other["scores"][None]).abs().where(alike, torch.inf)
    nearest = apart.amin(dim=1) if apart.shape[1] else torch.full((len(best),), torch.inf)
    return float(torch.minimum(nearest.to(best.device), one["scores"][best]).max())


def _bytes(tensor: Tensor) -> bytes:
    plain: bytes = tensor.detach().cpu().contiguous().numpy().tobytes()
    return plain
