"""SimAM, attention without parameters: Yang et al., ICML 2021."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robustbench_ms.models.arguments import natural, positive, rank

__all__ = ["SimAM"]


class SimAM(nn.Module):
    """x * sigmoid(d / (4 (v + lambda)) + 1/2), d = (x - mean)^2, v = sum d / (HW - 1), for each channel.

    (B, channels, H, W) -> the same shape. `regularizer` is the paper's lambda, 1e-4; its ImageNet commands
    use 0.1. A map of one pixel has no variance: v is 0 there.
    """

    def __init__(
        self,
        channels: int,
        regularizer: float = 1e-4,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        del device, dtype  # there is nothing to place
        natural("channels", channels)
        self.regularizer = positive("regularizer", regularizer)

    def forward(self, x: Tensor) -> Tensor:
        rank("SimAM", x, "(B, C, H, W)")
        distance = (x - x.mean((2, 3), keepdim=True)).square()
        variance = distance.sum((2, 3), keepdim=True) / max(x.shape[2] * x.shape[3] - 1, 1)
        return x * (distance / (4 * (variance + self.regularizer)) + 0.5).sigmoid()
