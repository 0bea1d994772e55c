"""Square patches that hide a part of a picture, keyed by the sample: integers alone, so equal bytes on every device.

A key has no size and neither have the bytes of noise: the larger patch of a picture covers the smaller one, and what
both cover is the same.
"""

from __future__ import annotations

import torch
from torch import Tensor

from robustbench_ms.corruptions.keyed import foreign_keys, stream, words
from robustbench_ms.faults.pictures.table import CODES, SHARES

__all__ = ["occlude", "side_of"]

_APART = 0x0CC1_0000_0000_0000
"""So that no patch shares a key with a corruption or a fault."""
PLACE, VALUES = range(2)
"""The streams of a key."""


def side_of(height: int, width: int, size: int) -> int:
    """The side in pixels of a patch of `size` 1..5 on a picture of that many pixels, halves rounded up."""
    return (2 * SHARES[size - 1] * min(height, width) + 10) // 20


def occlude(images: Tensor, patch: str, size: int, *, ids: Tensor, seed: int = 0) -> Tensor:
    """Hide a square of each picture: uint8 (N, C, H, W) -> the same, on the images' device; `images` stay as they are.

    `patch` is one of PATCHES, `size` 1..5 (`side_of`), `ids` int64 (N,) on any device. Of all places within the
    picture each is as likely. "mean" is each channel's mean over the whole picture, halves rounded up; "noise" bytes
    of 0..255, each as likely.
    """
    count, _, height, width = images.shape
    keys = foreign_keys(_APART + CODES[patch], 0, seed, ids.to(images.device))
    side = side_of(height, width, size)
    drawn = words(stream(keys, PLACE), 2, 32)
    top, left = ((drawn[:, i] * (length - side + 1)) >> 32 for i, length in enumerate((height, width)))
    rows, columns = (
        (at >= start[:, None]) & (at < start[:, None] + side)
        for start, length in ((top, height), (left, width))
        for at in (torch.arange(length, device=images.device),)
    )
    hidden = (rows[:, :, None] & columns[:, None, :])[:, None]
    if patch == "mean":
        pixels = height * width
        shown = ((2 * images.sum(dim=(2, 3), keepdim=True, dtype=torch.int64) + pixels) // (2 * pixels)).to(
            torch.uint8
        )
    else:
        shown = (words(stream(keys, VALUES), images[0].numel() if count else 0, 16) >> 8).to(torch.uint8)
        shown = shown.view(images.shape)
    return torch.where(hidden, shown, images)
