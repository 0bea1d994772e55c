"""What any heat map must beat: one that is the middle of the picture, whatever is shown."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robustbench_ms.models.arguments import natural

__all__ = ["Centre", "centre"]


class Hump(nn.Module):
    """A map (B, 1, side, side) that falls off from the middle, by a normal density of a quarter of the side."""

    def __init__(self, side: int) -> None:
        super().__init__()
        steps = (torch.arange(side) - (side - 1) / 2) / (side / 4)
        fall = torch.exp(-steps.square() / 2)
        self.register_buffer("hump", fall[:, None] * fall[None, :], persistent=False)
        self.hump: Tensor

    def forward(self, images: Tensor) -> Tensor:
        return self.hump.to(images.dtype).expand(len(images), 1, -1, -1)


class Centre(nn.Module):
    """Equal logits (B, classes) for all classes, the mean of a hump: so that the hump is their map by every method."""

    def __init__(self, classes: int, side: int) -> None:
        super().__init__()
        self.hump = Hump(side)
        self.classes = classes

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.hump(images).mean((2, 3)).expand(-1, self.classes)
        return logits


def centre(classes: int = 10, side: int = 16) -> Centre:
    """A network without a parameter: (B, C, H, W) -> logits (B, classes)."""
    natural("classes", classes, least=2)
    return Centre(classes, natural("side", side, least=2))
