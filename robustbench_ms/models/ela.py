"""Efficient local attention (ELA): Xu and Wan, arXiv 2403.01123."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robustbench_ms.errors import UserError
from robustbench_ms.models.arguments import dividing, natural, odd, rank

__all__ = ["ELA"]


class ELA(nn.Module):
    """x * gate(mean_W x) * gate(mean_H x), gate(s) = sigmoid(norm(conv(s))); (B, channels, H, W) -> the same shape.

    Both strips share one convolution along them, of `kernel_size` 7, each channel by itself and without
    bias, and one GroupNorm of `groups` 16, which must divide `channels`. C (k + 2) parameters, 576 at 64
    channels. timm's layer of the name has other norms and a SiLU, and shares nothing.
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int = 7,
        groups: int = 16,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.channels = natural("channels", channels)
        k = odd("kernel_size", kernel_size)
        dividing("groups", groups, channels)
        self.conv = nn.Conv1d(
            channels, channels, k, padding=k // 2, groups=channels, bias=False, device=device, dtype=dtype
        )
        self.norm = nn.GroupNorm(groups, channels, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        rank("ELA", x, "(B, C, H, W)")
        if x.shape[1] != self.channels:
            raise UserError(f"ELA was built for {self.channels} channels, not for {x.shape[1]}")
        return x * self._gate(x.mean(3)).unsqueeze(3) * self._gate(x.mean(2)).unsqueeze(2)

    def _gate(self, strip: Tensor) -> Tensor:
        norm = self.norm
        # Not norm(...), which refuses a single value, as a group of one channel has on a map of one pixel.
        normed = torch.group_norm(self.conv(strip), norm.num_groups, norm.weight, norm.bias, norm.eps)
        return normed.sigmoid()
