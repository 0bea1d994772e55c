"""Shuffle attention (SA): Zhang and Yang, "SA-Net", ICASSP 2021, arXiv 2102.00240."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robustbench_ms.errors import UserError
from robustbench_ms.models.arguments import natural, rank

__all__ = ["ShuffleAttention"]


class ShuffleAttention(nn.Module):
    """Half of each group is scaled by its means, half by its normalised map, then the halves are shuffled.

    (B, channels, H, W) -> the same shape. `groups` is 64 in the paper; 2 * groups must divide `channels`.
    All groups share 3 C / groups parameters, which start as a gate of sigmoid(1).
    """

    def __init__(
        self,
        channels: int,
        groups: int = 64,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        natural("channels", channels)
        if channels % (2 * natural("groups", groups)):
            fitting = ", ".join(str(g) for g in range(1, channels // 2 + 1) if channels % (2 * g) == 0)
            raise UserError(
                f"groups={groups}: twice that does not divide {channels} channels; "
                + (f"groups may be {fitting}" if fitting else "shuffle attention needs an even number")
            )
        self.groups = groups
        half = channels // (2 * groups)
        shape = (1, half, 1, 1)
        self.channel_weight = nn.Parameter(torch.zeros(shape, device=device, dtype=dtype))
        self.channel_bias = nn.Parameter(torch.ones(shape, device=device, dtype=dtype))
        self.spatial_weight = nn.Parameter(torch.zeros(shape, device=device, dtype=dtype))
        self.spatial_bias = nn.Parameter(torch.ones(shape, device=device, dtype=dtype))
        self.gn = nn.GroupNorm(half, half, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        rank("shuffle attention", x, "(B, C, H, W)")
        B, C, H, W = x.shape
        by_channel, by_map = x.reshape(B * self.groups, -1, H, W).chunk(2, 1)
        mean = by_channel.mean((2, 3), keepdim=True)
        by_channel = by_channel * (self.channel_weight * mean + self.channel_bias).sigmoid()
        by_map = by_map * (self.spatial_weight * self.gn(by_map) + self.spatial_bias).sigmoid()
        joined = torch.cat([by_channel, by_map], 1).view(B, 2, C // 2, H, W)
        return joined.transpose(1, 2).reshape(B, C, H, W)
