"""Images of many shapes for two paths of one corruption."""

from __future__ import annotations

import torch

SHAPES = [
    (2, 3, 32, 32),
    (1, 1, 1, 1),
    (1, 3, 1, 9),
    (9, 1, 5, 1),
    (2, 3, 33, 47),
    (1, 3, 160, 36),
    (1, 1, 70, 700),
]


def textured(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    """Noise, with one flat half: uint8."""
    random = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 256, shape, dtype=torch.uint8, generator=random)
    x[..., : shape[-2] // 2, :] = int(x.flatten()[0])
    return x
