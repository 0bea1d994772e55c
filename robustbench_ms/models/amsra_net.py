"""AMSRA-Net, multi-scale residual attention: Jiang and Yu, IJPRAI 2026, doi 10.1142/S0218001426540042.

The abstract is all that can be read: four cascaded hierarchical multimodal residual attention blocks
(HMRAB), each a multi-scale feature decoupler (MSFD: the channels are split and looked at in parallel at
several granularities) and a lightweight gated self-attention engine (LGSA: long-range spatial
dependencies, with background suppressed). Everything beyond that order is a reading; see AMSRANet.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustbench_ms.errors import UserError
from robustbench_ms.models.arguments import dividing, natural, odd, rank, reduced

__all__ = ["HMRAB", "LGSA", "MSFD", "AMSRANet"]


class MSFD(nn.Module):
    """Multi-scale feature decoupler: (B, channels, H, W) -> the same shape.

    The channels fall into equal slices, one for each of `kernel_sizes`, each convolved at its size within
    itself; joined, normalised and rectified, a 1x1 convolution and a norm mix them.
    """

    def __init__(self, channels: int, kernel_sizes: Sequence[int] = (1, 3, 5, 7)) -> None:
        super().__init__()
        if not isinstance(kernel_sizes, Sequence) or not kernel_sizes:
            raise UserError(f"kernel_sizes must be a list of odd sizes, not {kernel_sizes!r}")
        sizes = [odd("kernel_sizes", k) for k in kernel_sizes]
        part = channels // dividing("the number of kernel_sizes", len(sizes), channels)
        self.convs = nn.ModuleList(nn.Conv2d(part, part, k, padding=k // 2, bias=False) for k in sizes)
        self.norm1 = nn.BatchNorm2d(channels)
        self.mix = nn.Conv2d(channels, channels, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        slices = x.chunk(len(self.convs), 1)
        x = torch.cat([conv(s) for conv, s in zip(self.convs, slices, strict=True)], 1)
        mixed: Tensor = self.norm2(self.mix(F.relu(self.norm1(x))))
        return mixed


class LGSA(nn.Module):
    """Lightweight gated self-attention: x + gamma * (softmax(q k^T / sqrt d) v) * sigmoid(conv1x1(x)).

    (B, channels, H, W) -> the same shape. Queries and keys have d = channels // reduction channels; keys
    and values are averaged down to `pool` x `pool` where the map is larger. gamma starts at 0, where the
    block is the identity.
    """

    def __init__(self, channels: int, reduction: int = 8, pool: int = 8) -> None:
        super().__init__()
        self.is_attention = True
        d = reduced("reduction", reduction, channels)
        self.pool = natural("pool", pool)
        self.query = nn.Conv2d(channels, d, 1)
        self.key = nn.Conv2d(channels, d, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.gate = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(()))

    def weights(self, x: Tensor) -> Tensor:
        """What each pixel attends to: (B, H W, keys), each row a distribution."""
        query = self.query(x).flatten(2).transpose(1, 2)
        key = self.key(self._pooled(x)).flatten(2)
        product: Tensor = torch.bmm(query * query.shape[2] ** -0.5, key)
        return product.softmax(2)

    def forward(self, x: Tensor) -> Tensor:
        value = self.value(self._pooled(x)).flatten(2).transpose(1, 2)
        seen = torch.bmm(self.weights(x), value).transpose(1, 2).reshape(x.shape)
        gate: Tensor = self.gate(x).sigmoid()
        return x + self.gamma * seen * gate

    def _pooled(self, x: Tensor) -> Tensor:
        size = (min(self.pool, x.shape[2]), min(self.pool, x.shape[3]))
        # The 1x1 convolutions come after the mean: the same numbers, for fewer products.
        return F.adaptive_avg_pool2d(x, size)


class HMRAB(nn.Module):
    """A strided 3x3 convolution, MSFD and LGSA, added to a shortcut.

    (B, in_channels, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        *,
        kernel_sizes: Sequence[int],
        multi_scale: bool,
        lgsa: bool,
        reduction: int,
        pool: int,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)
        self.msfd = MSFD(out_channels, kernel_sizes if multi_scale else (3,))
        self.lgsa = LGSA(out_channels, reduction, pool) if lgsa else nn.Identity()
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            projection = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        y = self.lgsa(self.msfd(F.relu(self.norm(self.conv(x)))))
        return F.relu(y + self.shortcut(x))


class AMSRANet(nn.Module):
    """Four HMRABs between a 3x3 stem and a linear head: (B, in_channels, H, W) -> logits (B, classes).

    From the abstract: four blocks, MSFD before LGSA, residual, and the two ablations (`lgsa` false leaves
    the engine out; `multi_scale` false makes the decoupler one 3x3 convolution over all channels). Read
    into it, each an argument where it is a number:

    - `width` 64: channels of the 3x3 stem (convolution, norm, ReLU) and of the first block; they double
      from block to block, with strides 1, 2, 2, 2;
    - each block starts with a 3x3 convolution, a norm and a ReLU, and ends with a shortcut (1x1
      convolution and norm where the shape changes) and a ReLU;
    - `kernel_sizes` 1, 3, 5, 7 on four equal slices, then norm, ReLU, 1x1 convolution, norm;
    - self-attention with channels / `reduction` 8 in queries and keys, keys and values averaged to
      `pool` 8 x 8, a sigmoid gate for each value, and a factor gamma that is learned from 0;
    - the global mean and one linear layer.

    At the defaults it has 4,733,246 parameters and 0.245 G multiply-adds at 32 x 32.
    """

    def __init__(
        self,
        classes: int = 10,
        width: int = 64,
        in_channels: int = 3,
        *,
        kernel_sizes: Sequence[int] = (1, 3, 5, 7),
        multi_scale: bool = True,
        lgsa: bool = True,
        reduction: int = 8,
        pool: int = 8,
    ) -> None:
        super().__init__()
        for name, value in (("classes", classes), ("width", width), ("in_channels", in_channels)):
            natural(name, value)
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        widths = (width, width, 2 * width, 4 * width, 8 * width)
        self.blocks = nn.Sequential(
            *(
                HMRAB(
                    before,
                    after,
                    stride,
                    kernel_sizes=kernel_sizes,
                    multi_scale=multi_scale,
                    lgsa=lgsa,
                    reduction=reduction,
                    pool=pool,
                )
                for before, after, stride in zip(widths, widths[1:], (1, 2, 2, 2), strict=False)
            )
        )
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        rank("AMSRA-Net", x, "(B, C, H, W)")
        logits: Tensor = self.head(self.blocks(self.stem(x)).mean((2, 3)))
        return logits
