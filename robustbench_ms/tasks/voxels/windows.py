"""Sliding windows: a volume answered part by part, for networks of one input size and volumes of any.

Where windows lie and how they are blended is as in MONAI's `sliding_window_inference` (1.6), with zeros around a volume
that is smaller than a window.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from robustbench_ms.errors import UserError
from robustbench_ms.specs.card import Input

__all__ = ["in_windows", "starts"]

_SIGMA = 0.125
"""Of a Gaussian's weights, of the window's side."""
_LEAST = 1e-3
"""The least weight of a voxel: what only a window's corner reaches is divided by it."""


def in_windows(
    answer: Callable[[Tensor], tuple[Tensor, Tensor]], shown: Tensor, wanted: Input
) -> tuple[Tensor, Tensor]:
    """Logits float32 (n, K, D, H, W) of volumes (n, C, D, H, W), the weighted mean of those of a card's windows.

    `answer` gives of windows (n, C, *window), the same of each volume, logits (n, K, ...) and of each 0 or what is no
    number among them, (n,); so does this, the first such of a volume. Logits of another size than the window's are read
    trilinear at its voxels. UserError for class indices, which have no mean.
    """
    assert wanted.window is not None
    given, window = shown.shape[2:], wanted.window
    lacking = [max(side - own, 0) for own, side in zip(given, window, strict=True)]
    before = [more // 2 for more in lacking]
    around = [k for less, more in zip(before[::-1], lacking[::-1], strict=True) for k in (less, more - less)]
    shown = F.pad(shown, around) if any(lacking) else shown
    places = [starts(own, side, wanted.overlap) for own, side in zip(shown.shape[2:], window, strict=True)]
    weights = _weights(window, wanted.blend).to(shown.device)
    count = shown.new_zeros(shown.shape[2:], dtype=torch.float32)
    total = broken = None
    for corner in product(*places):
        cut = _part(corner, window)
        logits, wrong = answer(shown[cut].contiguous())
        if logits.ndim != shown.ndim:
            raise UserError(
                "it answers with class indices (n, d, h, w), and windows are put together of logits (n, classes, d, "
                "h, w)"
            )
        logits = logits.float()
        if logits.shape[2:] != window:
            logits = F.interpolate(logits, size=window, mode="trilinear", align_corners=False)
        if total is None or broken is None:
            total, broken = logits.new_zeros((*logits.shape[:2], *shown.shape[2:])), torch.zeros_like(wrong)
        total[cut] += logits * weights
        count[cut] += weights
        broken = torch.where(broken == 0, wrong, broken)
    assert total is not None
    assert broken is not None
    return total.div_(count)[_part(before, given)], broken


def _part(corner: Sequence[int], sides: Sequence[int]) -> Any:
    """What cuts the voxels from a corner on out of the last three axes."""
    return (..., *(slice(start, start + side) for start, side in zip(corner, sides, strict=True)))


def starts(side: int, window: int, overlap: float) -> list[int]:
    """Where windows begin along an axis of `side` voxels, at least `window`: the last one ends with the axis."""
    if window == side:
        return [0]
    step = max(1, int(window * (1 - overlap)))
    return [*range(0, side - window, step), side - window]


def _weights(window: tuple[int, int, int], blend: str) -> Tensor:
    """How much each voxel of a window counts, float32 (d, h, w): 1, or a Gaussian about the middle, 1 at its top."""
    if blend == "constant":
        return torch.ones(window)
    made = torch.ones(())
    for side in window:
        away = torch.arange(side, dtype=torch.float32) - (side - 1) / 2
        made = made[..., None] * torch.exp(away**2 / (-2 * (_SIGMA * side) ** 2))
    return made.clamp(min=_LEAST)
