"""HybridHAR: Huo et al., Sci Rep 2026, doi 10.1038/s41598-026-40904-w.

The abstract names three ideas: parallel convolutions of several kernel sizes, residual attention over
the channels, and deep supervision through an auxiliary classifier. It was measured on UCI HAR alone; the
rest of the design is a reading, and so is its use on images and volumes. See HybridHAR.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustbench_ms.errors import UserError
from robustbench_ms.models.arguments import natural, odd, rank, reduced

__all__ = ["HybridHAR", "MultiScaleBlock", "ResidualChannelAttention"]

_CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_NORM = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
_POOL = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
_SHAPE = {1: "(B, C, T)", 2: "(B, C, H, W)", 3: "(B, C, D, H, W)"}


class ResidualChannelAttention(nn.Module):
    """x * (1 + sigmoid(MLP(mean x))): each channel keeps its value and gains up to as much again.

    (B, channels, ...) -> the same shape, for any number of axes.
    """

    def __init__(self, channels: int, reduction: int = 8) -> None:
        super().__init__()
        self.is_attention = True
        hidden = reduced("reduction", reduction, channels)
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, channels)

    def factor(self, x: Tensor) -> Tensor:
        """What each channel is multiplied by, (B, channels), within (1, 2)."""
        gate: Tensor = self.fc2(F.relu(self.fc1(x.flatten(2).mean(2)))).sigmoid()
        return 1 + gate

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor(x).view(x.shape[:2] + (1,) * (x.ndim - 2))


class MultiScaleBlock(nn.Module):
    """Parallel convolutions, each with norm and ReLU, fused by a 1x1 one; attention; a shortcut."""

    def __init__(
        self,
        in_channels: int,
        filters: int,
        kernel_sizes: Sequence[int],
        reduction: int,
        dims: int,
        *,
        attention: bool = True,
    ) -> None:
        super().__init__()
        conv, norm = _CONV[dims], _NORM[dims]
        channels = filters * len(kernel_sizes)
        self.branches = nn.ModuleList(
            nn.Sequential(conv(in_channels, filters, k, padding=k // 2, bias=False), norm(filters), nn.ReLU())
            for k in kernel_sizes
        )
        self.fuse = nn.Sequential(conv(channels, channels, 1, bias=False), norm(channels))
        self.attention = ResidualChannelAttention(channels, reduction) if attention else nn.Identity()
        self.shortcut = nn.Identity() if in_channels == channels else conv(in_channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.fuse(torch.cat([branch(x) for branch in self.branches], 1))
        total: Tensor = self.attention(y) + self.shortcut(x)
        return total


class HybridHAR(nn.Module):
    """Multi-scale blocks with residual channel attention and a second head that helps to train.

    `dims` 1 takes signals (B, in_channels, T), 2 images (B, C, H, W), 3 volumes (B, C, D, H, W), of any
    size. In eval mode the answer is logits (B, classes); in train mode it is the pair of main and
    auxiliary logits, which `training_loss` turns into the loss.

    From the abstract: parallel kernel sizes, residual channel attention, an auxiliary classifier. Read
    into it, each an argument:

    - `kernel_sizes` 3, 5 and 7 with `filters` 32 each, same padding, without bias, with norm and ReLU,
      fused by a 1x1 convolution and a norm;
    - attention x (1 + sigmoid(MLP(mean))) with `reduction` 8 and a ReLU between;
    - `blocks` 3, each with a shortcut (1x1 where the channels change), and a maximum over pairs after
      each block but the last (a last odd one stays);
    - both heads are the global mean and one linear layer; the auxiliary one stands on block `aux_block` 2
      and enters the loss with `aux_weight` 0.3.

    Its ablations: `attention` False, `aux_weight` 0 (no deep supervision), one kernel size, three times the filters.

    At the defaults it has 134,640 parameters, 582 of them in the auxiliary head.
    """

    def __init__(
        self,
        classes: int = 6,
        in_channels: int = 9,
        dims: int = 1,
        *,
        kernel_sizes: Sequence[int] = (3, 5, 7),
        filters: int = 32,
        blocks: int = 3,
        reduction: int = 8,
        aux_block: int = 2,
        aux_weight: float = 0.3,
        attention: bool = True,
    ) -> None:
        super().__init__()
        for name, value in (("classes", classes), ("in_channels", in_channels), ("filters", filters)):
            natural(name, value)
        if dims not in _CONV:
            raise UserError(f"dims must be 1 (signals), 2 (images) or 3 (volumes), not {dims!r}")
        if not isinstance(kernel_sizes, Sequence) or not kernel_sizes:
            raise UserError(f"kernel_sizes must be a list of odd sizes, not {kernel_sizes!r}")
        for k in kernel_sizes:
            odd("kernel_sizes", k)
        natural("blocks", blocks)
        if natural("aux_block", aux_block) > blocks:
            raise UserError(f"aux_block must be 1 to {blocks}, the number of blocks, not {aux_block}")
        if not isinstance(aux_weight, int | float) or aux_weight < 0:
            raise UserError(f"aux_weight must be a number of at least 0, not {aux_weight!r}")
        # What its costs are counted at: UCI HAR's windows; images and volumes come in any size.
        self.sample_size = {1: (in_channels, 128), 3: (in_channels, 28, 28, 28)}.get(dims)
        self.dims, self.aux_block, self.aux_weight = dims, aux_block, float(aux_weight)
        channels = filters * len(kernel_sizes)
        self.blocks = nn.ModuleList(
            MultiScaleBlock(
                channels if i else in_channels, filters, kernel_sizes, reduction, dims, attention=attention
            )
            for i in range(blocks)
        )
        self.pool = _POOL[dims](2, ceil_mode=True)
        self.head = nn.Linear(channels, classes)
        self.aux_head = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        rank("HybridHAR", x, _SHAPE[self.dims])
        middle = x
        for number, block in enumerate(self.blocks, 1):
            x = block(x)
            if number == self.aux_block:
                middle = x
            if number < len(self.blocks):
                x = self.pool(x)
        logits: Tensor = self.head(x.flatten(2).mean(2))
        if not self.training:
            return logits
        return logits, self.aux_head(middle.flatten(2).mean(2))

    def training_loss(
        self, outputs: tuple[Tensor, Tensor], target: Tensor, label_smoothing: float = 0.0
    ) -> Tensor:
        """Cross-entropy of the main logits plus `aux_weight` times that of the auxiliary ones.

        `target` holds classes (B) or probabilities (B, classes).
        """
        main, auxiliary = (F.cross_entropy(o, target, label_smoothing=label_smoothing) for o in outputs)
        return main + self.aux_weight * auxiliary
