"""What a training shows of its images: moved and mirrored by chance; on the images' device."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["augment", "turns"]


def augment(
    images: Tensor,
    kinds: tuple[str, ...],
    random: torch.Generator,
    *,
    mirrored: Tensor | None = None,
) -> Tensor:
    """uint8 (N, C, H, W) to the same, each sample changed by draws of its own.

    `mirrored`, bool (N,), says for "alternating-flip" which are to be turned (`turns`). Draws come from `random`, a
    generator on the CPU, so that they are the same on every device.
    """
    if not kinds:
        return images
    n, _, height, width = images.shape
    if "crop" in kinds:
        pad = max(1, height // 8)
        # Reflection would mirror a digit's stroke; black borders are what the published CIFAR recipes use.
        padded = F.pad(images, (pad, pad, pad, pad))
        top, left = (
            torch.randint(0, 2 * pad + 1, (n,), generator=random).to(images.device) for _ in range(2)
        )
        rows = top[:, None] + torch.arange(height, device=images.device)
        columns = left[:, None] + torch.arange(width, device=images.device)
        sample = torch.arange(n, device=images.device)[:, None, None, None]
        channel = torch.arange(images.shape[1], device=images.device)[None, :, None, None]
        images = padded[sample, channel, rows[:, None, :, None], columns[:, None, None, :]]
    if "flip" in kinds:
        mirrored = (torch.rand(n, generator=random) < 0.5).to(images.device)
    if mirrored is not None:
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    return images


def turns(n: int, seed: int, epoch: int) -> Tensor:
    """Which of `n` images "alternating-flip" shows mirrored in an epoch, bool (n,).

    By chance in the first epoch, from then on in turns, so that over any two epochs each image is seen both ways
    (Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU", arXiv 2404.00498, section 3.6). It follows from seed
    and epoch alone.
    """
    coins = torch.Generator().manual_seed(seed * 1_000_003 + 1)
    return (torch.rand(n, generator=coins) < 0.5) ^ bool(epoch % 2)
