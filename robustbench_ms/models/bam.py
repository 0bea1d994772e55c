"""The bottleneck attention module (BAM): Park et al., BMVC 2018, arXiv 1807.06514, as in the authors' code."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robustbench_ms.models.arguments import natural, rank, reduced

__all__ = ["BAM"]


class BAM(nn.Module):
    """x * (1 + sigmoid(channels(x) * map(x))); (B, channels, H, W) -> the same shape.

    The channel branch is a two-layer perceptron of the mean with a batch norm between; the spatial one
    reduces to d = channels // reduction, convolves twice 3x3 with `dilation`, and ends in one map. The
    paper adds the branches inside the sigmoid, the authors' code multiplies them; this follows the code.
    It stands after stages 1 to 3 of a network, not in its blocks (`position="between"`).
    """

    def __init__(
        self,
        channels: int,
        reduction: int = 16,
        dilation: int = 4,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        natural("channels", channels)
        d = reduced("reduction", reduction, channels)
        pad = natural("dilation", dilation)
        with torch.device(device or torch.get_default_device()):
            self.channel = nn.Sequential(
                nn.Linear(channels, d), nn.BatchNorm1d(d), nn.ReLU(), nn.Linear(d, channels)
            )
            self.spatial = nn.Sequential(
                nn.Conv2d(channels, d, 1),
                nn.BatchNorm2d(d),
                nn.ReLU(),
                nn.Conv2d(d, d, 3, padding=pad, dilation=pad),
                nn.BatchNorm2d(d),
                nn.ReLU(),
                nn.Conv2d(d, d, 3, padding=pad, dilation=pad),
                nn.BatchNorm2d(d),
                nn.ReLU(),
                nn.Conv2d(d, 1, 1),
            )
        self.to(dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        rank("BAM", x, "(B, C, H, W)")
        channel = self.channel(x.mean((2, 3)))[:, :, None, None]
        gate: Tensor = (channel * self.spatial(x)).sigmoid()
        return x * (1 + gate)
