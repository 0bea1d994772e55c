"""Programs that were made for a fixed number of samples."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from robustbench_ms.errors import UserError

__all__ = ["in_batches", "refuse_shape"]


def in_batches(answer: Callable[[Tensor], list[Tensor]], images: Tensor, size: int | None) -> list[Tensor]:
    """What a program answers to images (n, ...), a tensor (n, ...) an output; `size` None takes any number at once.

    One that was made for `size` is asked for as many: the last ones are filled up with the last image, and the answers
    to those are cut off.
    """
    parts = []
    step = size or max(1, len(images))
    for start in range(0, len(images), step):
        some = images[start : start + step]
        lacking = 0 if size is None else size - len(some)
        filled = torch.cat([some, some[-1:].expand(lacking, *some.shape[1:])]) if lacking else some
        parts.append([one[: len(some)] for one in answer(filled)])
    return [torch.cat(one) for one in zip(*parts, strict=True)]


def refuse_shape(shown: Tensor, wanted: tuple[int | None, ...]) -> None:
    """UserError where a program is shown other (channels, height, width) than it takes; None takes any."""
    given = tuple(shown.shape[1:])
    if any(side not in {None, one} for side, one in zip(wanted, given, strict=True)):
        raise UserError(f"it takes (channels, height, width) = {wanted}, and its [input] shows {given}")
