"""Normalization-based attention (NAM): Liu et al., NeurIPS 2021 workshop, arXiv 2111.12419."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robustbench_ms.models.arguments import natural, rank

__all__ = ["NAM"]


class NAM(nn.Module):
    """x * sigmoid(norm(x) * |gamma| / sum |gamma|), the channel form; (B, channels, H, W) -> the same shape.

    gamma is the scale of the batch norm, so a channel that varies more weighs more; as in the authors'
    code no gradient flows through the ratio. 2 C parameters.
    """

    def __init__(
        self,
        channels: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(natural("channels", channels), device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        rank("NAM", x, "(B, C, H, W)")
        share = self.norm.weight.detach().abs()
        share = share / share.sum()
        gate: Tensor = (self.norm(x) * share[:, None, None]).sigmoid()
        return x * gate
