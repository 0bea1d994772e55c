"""Triplet attention: Misra et al., "Rotate to attend", WACV 2021, arXiv 2010.03045."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robustbench_ms.models.arguments import natural, odd, rank

__all__ = ["TripletAttention"]


class _Gate(nn.Module):
    """(B, 2, h, w) -> (B, 1, h, w): a k x k convolution, a batch norm and a sigmoid."""

    def __init__(
        self, kernel_size: int, device: torch.device | str | None, dtype: torch.dtype | None
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            2, 1, kernel_size, padding=kernel_size // 2, bias=False, device=device, dtype=dtype
        )
        self.norm = nn.BatchNorm2d(1, momentum=0.01, device=device, dtype=dtype)

    def forward(self, maps: Tensor) -> Tensor:
        gate: Tensor = self.norm(self.conv(maps)).sigmoid()
        return gate


class TripletAttention(nn.Module):
    """The mean of three gated copies, one gate for each pair of (C, H), (C, W) and (H, W).

    (B, channels, H, W) -> the same shape. Each gate sees the maximum and the mean over the axis that its
    pair leaves out. 3 (2 k^2 + 2) parameters, 300 at the paper's `kernel_size` 7, whatever the channels.
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int = 7,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        natural("channels", channels)
        odd("kernel_size", kernel_size)
        self.height = _Gate(kernel_size, device, dtype)  # pools the height: sees (C, W)
        self.width = _Gate(kernel_size, device, dtype)  # pools the width: sees (H, C), as the paper rotates
        self.channel = _Gate(kernel_size, device, dtype)  # pools the channels: sees (H, W)

    def forward(self, x: Tensor) -> Tensor:
        rank("triplet attention", x, "(B, C, H, W)")
        over_height = self.height(torch.stack([x.amax(2), x.mean(2)], 1)).transpose(1, 2)  # (B, C, 1, W)
        turned = x.transpose(1, 2)  # (B, H, C, W)
        over_width = self.width(torch.stack([turned.amax(3), turned.mean(3)], 1))  # (B, 1, H, C)
        over_channel = self.channel(torch.stack([x.amax(1), x.mean(1)], 1))  # (B, 1, H, W)
        gates = over_height + over_width.permute(0, 3, 2, 1) + over_channel
        attended: Tensor = x * (gates / 3)
        return attended
