"""What one corruption consists of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

__all__ = ["Corruption", "Setting"]


@dataclass(frozen=True)
class Setting:
    """Which variant at which strength."""

    profile: str
    severity: int
    parameters: Any
    """As severities.toml has them: a number or a tuple."""


@dataclass(frozen=True)
class Corruption:
    """One corruption, by its pure functions on batches.

    `apply(images, words, setting)` maps uint8 (N, C, H, W), C 3 or 1, contiguous, on any device, to the
    same shape, dtype and device, given the integer words that `draw` made (None for a deterministic one).

    `draw(keys, shape, setting)` maps int64 keys (N,) and the images' shape (N, C, H, W) to integer words,
    one row a sample; the same on every device. None for a deterministic corruption.

    `fused(images, keys, setting)`, where there is one, is a second path for the CPU: it equals
    `apply(images, draw(keys, ...), setting)` byte for byte without materialising the words.

    `smallest` is the shortest side, in pixels, that it takes.
    """

    apply: Callable[[Tensor, Tensor | None, Setting], Tensor]
    draw: Callable[[Tensor, tuple[int, int, int, int], Setting], Tensor] | None = None
    fused: Callable[[Tensor, Tensor, Setting], Tensor] | None = None
    smallest: int = 1
