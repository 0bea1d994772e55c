"""A network that is made and not trained: it looks along which direction neighbours are alike."""

from __future__ import annotations

import torch
from torch import Tensor, nn

ALONG = ((1, 0), (1, -1), (0, 1), (1, 1))
"""The step (rows, columns) along the stripes of each class."""


class Differences(nn.Module):
    """Logits (N, 4) of float RGB (N, 3, H, W): minus the mean difference to the neighbour along each direction."""

    def __init__(self, sharpness: float = 20.0) -> None:
        super().__init__()
        self.differences = nn.Conv2d(3, 4, 3, bias=False)
        self.sharpness = sharpness
        with torch.no_grad():
            self.differences.weight.zero_()
            for kernel, (down, right) in zip(self.differences.weight, ALONG, strict=True):
                kernel[:, 1, 1], kernel[:, 1 + down, 1 + right] = 1 / 3, -1 / 3

    def forward(self, images: Tensor) -> Tensor:
        """One value a direction."""
        return -self.sharpness * self.differences(images).abs().mean(dim=(2, 3))


def differences(sharpness: float = 20.0) -> Differences:
    """The network; it builds the same each time, so that it needs no weights."""
    return Differences(sharpness)
