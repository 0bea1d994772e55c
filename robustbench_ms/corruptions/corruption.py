"""What one corruption consists of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

__all__ = ["Corruption", "Form", "Setting", "Shape", "Words"]

Shape = tuple[int, int, int, int]


@dataclass(frozen=True)
class Setting:
    """Which variant at which strength."""

    profile: str
    severity: int
    parameters: Any
    """As severities.toml has them: a number or a tuple."""


Form = Callable[[Tensor, Tensor | None, Setting], Tensor]
"""(images, words, setting): maps uint8 (N, C, H, W), C 3 or 1, contiguous, to the same shape, dtype and device, given
the integer words that the corruption drew (None for a deterministic one)."""


class Words(Protocol):
    """A maker of random words: `keyed.words`, or what gives the same on one kind of device."""

    def __call__(self, keys: Tensor, count: int, bits: int = 16, start: int = 0) -> Tensor:
        """`count` words of each key."""


@dataclass(frozen=True)
class Corruption:
    """One corruption, by its pure functions on batches. None of them asks what device it is on: `dispatch` does."""

    definition: Form
    """In torch operations, for any device."""

    draw: Callable[[Tensor, Shape, Setting, Words], Tensor] | None = None
    """(keys, shape, setting, words): maps int64 keys (N,) and the images' shape (N, C, H, W) to integer words, made by
    `words`, one row a sample; the same on every device. None for a deterministic corruption."""

    loops: Form | None = None
    """The compiled form for the CPU: the definition's bytes."""

    loops_from_keys: Callable[[Tensor, Tensor, Setting], Tensor] | None = None
    """(images, keys, setting): the same without materialising the words."""

    smallest: int = 1
    """The shortest side, in pixels, that it takes."""
