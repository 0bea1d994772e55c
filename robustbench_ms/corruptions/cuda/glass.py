"""Glass blur on CUDA: between the two blurs pixel by pixel along the chain of partners, one round a launch."""

from __future__ import annotations

import torch
import triton.language as tl
from torch import Tensor

from robustbench_ms.corruptions.corruption import Setting

from .gaussian import soften, soften_exactly
from .launch import BLOCK, code, launch
from .tiles import programs, tile

__all__ = ["glass_blur", "move_rounds"]


def glass_blur(images: Tensor, words: Tensor | None, setting: Setting) -> Tensor:
    """`glass.by_torch` on CUDA."""
    assert words is not None
    sigma, reach, _ = setting.parameters
    return soften(move_rounds(soften_exactly(images, sigma), words, reach), sigma)


def move_rounds(images: Tensor, words: Tensor, reach: int) -> Tensor:
    """`glass.move_by_torch` on CUDA: uint8 (N, C, H, W) and int32 (N, rounds, H, W), contiguous -> the images."""
    count, channels, height, width = images.shape
    rounds = words.shape[1]
    for i in range(rounds):
        out = torch.empty_like(images)
        sizes = (channels, height, width, reach, i, rounds)
        launch(_round, programs(count, height * width), images, words, out, *sizes, BLOCK=BLOCK)
        images = out
    return images


@code
def _moved(at: tl.tensor, height: int, width: int, reach: int) -> tl.tensor:
    y = at // width
    x = at % width
    return (y > reach) & (y <= height - reach) & (x > reach) & (x <= width - reach)


@code
def _partner(at: tl.tensor, moved: tl.tensor, drawn: tl.tensor, width: int, reach: int) -> tl.tensor:
    pair = (tl.load(drawn + at, mask=moved, other=0) * (4 * reach * reach)) >> 16
    there = at + (pair // (2 * reach) - reach) * width + pair % (2 * reach) - reach
    return tl.where(moved, there, at)


@code
def _round(
    images: tl.tensor, words: tl.tensor, out: tl.tensor,
    channels: int, height: int, width: int, reach: int, turn: int, rounds: int, BLOCK: tl.constexpr,
) -> None:  # fmt: skip
    size = height * width
    n, at, inside = tile(size, BLOCK)
    drawn = words + (n * rounds + turn) * size
    here = at
    there = _partner(here, inside & _moved(here, height, width, reach), drawn, width, reach)
    onward = (there > here) & _moved(there, height, width, reach)
    while tl.max(onward.to(tl.int32), axis=0) > 0:
        here = tl.where(onward, there, here)
        there = tl.where(onward, _partner(here, onward, drawn, width, reach), there)
        onward = onward & (there > here) & _moved(there, height, width, reach)
    for c in range(channels):
        plane = (n * channels + c) * size
        tl.store(out + plane + at, tl.load(images + plane + there, mask=inside, other=0), mask=inside)
