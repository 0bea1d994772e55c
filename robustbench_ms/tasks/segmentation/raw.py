"""What a model that labels a grid may answer with: logits of its classes, or class indices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from robustbench_ms.errors import UserError
from robustbench_ms.tasks.answers import Answers

__all__ = ["check_classes", "checked", "first_largest", "renamed"]


def checked(
    raw: Any, count: int, classes: int, grid: str = "h, w", samples: str = "pictures"
) -> tuple[Tensor, Tensor]:
    """Logits (count, classes, *grid), or whole numbers (count, *grid), among what a model answers.

    Beside them of each sample 0, or what it has that is no number, float32 (count,): such are 0 among the logits.
    Torchvision's table is read, whose auxiliary logits are left. `grid` names its axes. UserError for anything else.
    """
    if isinstance(raw, Mapping) and isinstance(raw.get("out"), Tensor):
        raw = raw["out"]
    elif isinstance(raw, Mapping) and len(raw) == 1:
        raw = next(iter(raw.values()))
    found = Answers(raw).tensor
    indexed = 2 + grid.count(",")
    if found.ndim not in {indexed, indexed + 1} or len(found) != count:
        raise UserError(
            f"it answers {tuple(found.shape)}, and logits (n, classes, {grid}) or class indices (n, {grid}) of "
            f"{count} {samples} are wanted"
        )
    if found.ndim > indexed and found.shape[1] != classes:
        raise UserError(
            f"it answers with logits of {found.shape[1]} classes, and {classes} are asked for; its [output] "
            "labels may name its own in their order"
        )
    found, broken = _numbers(found)
    if found.ndim == indexed and found.is_floating_point() and not torch.equal(found, found.round()):
        raise UserError(
            f"it answers with fractions (n, {grid}), and class indices are whole numbers: of two classes it may "
            f"give logits (n, 2, {grid})"
        )
    return found, broken


def _numbers(raw: Tensor) -> tuple[Tensor, Tensor]:
    """An answer (n, ...) of numbers alone, and of each sample 0, or what it has that is none, float32 (n,)."""
    if not raw.is_floating_point() or not raw.numel():
        return raw, torch.zeros(len(raw), device=raw.device)
    lowest, highest = torch.aminmax(raw.flatten(1), dim=1)  # of NaN among others NaN
    broken = highest.where(~highest.isfinite(), 0.0).float()
    if not bool(torch.isfinite(lowest + highest).all()):
        raw = raw.nan_to_num(0.0)  # enlarged, 0 times infinity would be NaN, and NaN no whole number
    return raw, broken


def first_largest(logits: Tensor) -> Tensor:
    """Of logits (K, ...), all numbers, at each place the class of the largest, of equal ones the lowest; int16."""
    # Three passes that torch vectorises; on a CPU max(dim=0) takes two to three times as long for some ten classes,
    # and argmax several times that.
    count = len(logits)
    kind = torch.uint8 if count < 256 else torch.int16
    ranks = torch.arange(count, 0, -1, dtype=kind, device=logits.device).view(-1, *(1,) * (logits.ndim - 1))
    return count - ((logits == logits.amax(dim=0)) * ranks).amax(dim=0).to(torch.int16)


def renamed(maps: Tensor, known: Sequence[int], none: int) -> Tensor:
    """A model's classes as the data's, int16: `known` has the data's for each, below 0, which is told as `none`."""
    if all(label == own for own, label in enumerate(known)):  # a look at each pixel takes ten times as long
        return maps.to(torch.int16)
    table = torch.tensor([label if label >= 0 else none for label in known], dtype=torch.int16)
    return table.to(maps.device)[maps.long()]


def check_classes(maps: Tensor, classes: int) -> None:
    """UserError for class indices that are none of its classes."""
    lowest, highest = int(maps.min()), int(maps.max())
    if lowest < 0 or highest >= classes:
        wrong = lowest if lowest < 0 else highest
        raise UserError(f"it answers with class {wrong}, and its classes are 0 to {classes - 1}")
