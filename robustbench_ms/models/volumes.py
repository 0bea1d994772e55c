"""Networks for volumes: a residual one that classifies them, beside HybridHAR, and a U-Net for every voxel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustbench_ms.errors import UserError
from robustbench_ms.models.arguments import natural

__all__ = ["Thresholds", "VolumeResNet", "VolumeUNet"]


class _Block(nn.Module):
    """Two convolutions with norms, and a shortcut; (B, C, D, H, W) -> (B, out, ...), each side over the stride."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv3d(channels, out, 3, stride, 1, bias=False),
            nn.BatchNorm3d(out),
            nn.ReLU(),
            nn.Conv3d(out, out, 3, 1, 1, bias=False),
            nn.BatchNorm3d(out),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or channels != out:
            self.shortcut = nn.Sequential(
                nn.Conv3d(channels, out, 1, stride, bias=False), nn.BatchNorm3d(out)
            )

    def forward(self, x: Tensor) -> Tensor:
        total: Tensor = self.body(x) + self.shortcut(x)
        return total.relu()


class VolumeResNet(nn.Module):
    """The residual network of images (He et al., CVPR 2016) in three axes: logits (B, classes) of (B, C, D, H, W).

    A stem of one convolution at half the resolution, three stages of one block at `width`, 2 and 4 times as many
    channels, each stage but the first at half the resolution, then the mean and a linear layer. No attention.
    """

    def __init__(self, classes: int = 10, in_channels: int = 1, *, width: int = 16) -> None:
        super().__init__()
        for name, value in (("classes", classes), ("in_channels", in_channels), ("width", width)):
            natural(name, value)
        self.sample_size = (in_channels, 28, 28, 28)
        self.stem = nn.Sequential(
            nn.Conv3d(in_channels, width, 3, 2, 1, bias=False), nn.BatchNorm3d(width), nn.ReLU()
        )
        self.stages = nn.Sequential(
            _Block(width, width, 1), _Block(width, 2 * width, 2), _Block(2 * width, 4 * width, 2)
        )
        self.head = nn.Linear(4 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.stages(self.stem(x)).flatten(2).mean(2))
        return logits


def _convolved(channels: int, out: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(channels, out, 3, stride, 1, bias=False), nn.BatchNorm3d(out), nn.LeakyReLU(0.1)
    )


class VolumeUNet(nn.Module):
    """A small 3-D U-Net (Cicek et al., MICCAI 2016): logits (B, classes, D, H, W) of (B, C, D, H, W).

    Three resolutions of `width`, 2 and 4 times as many channels. Down by a convolution of stride 2 and one more, up by
    the nearest voxel, beside what was there on the way down, and one convolution; one of a single voxel at the end.
    """

    def __init__(self, classes: int = 3, in_channels: int = 1, *, width: int = 8) -> None:
        super().__init__()
        for name, value in (("classes", classes), ("in_channels", in_channels), ("width", width)):
            natural(name, value)
        self.sample_size = (in_channels, 28, 28, 28)
        self.stem = _convolved(in_channels, width)
        self.down = nn.ModuleList(
            nn.Sequential(_convolved(k * width, 2 * k * width, 2), _convolved(2 * k * width, 2 * k * width))
            for k in (1, 2)
        )
        self.up = nn.ModuleList(_convolved(3 * k * width, k * width) for k in (2, 1))
        self.head = nn.Conv3d(width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        passed = [self.stem(x)]
        for down in self.down:
            passed.append(down(passed[-1]))
        found = passed.pop()
        for up in self.up:
            beside = passed.pop()
            found = up(torch.cat([F.interpolate(found, size=beside.shape[2:]), beside], dim=1))
        logits: Tensor = self.head(found)
        return logits

    def training_loss(self, outputs: Tensor, target: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """Cross-entropy and 1 - soft Dice (Isensee et al., Nature Methods 2021), of class maps (B, D, H, W).

        Dice is the mean over the classes but the first, each over the whole batch: parts are small, and cross-entropy
        alone forgets the smaller one for a long time.
        """
        said = outputs.float().softmax(dim=1).movedim(1, -1).flatten(0, -2)
        true = F.one_hot(target.long(), said.shape[1]).flatten(0, -2).float()
        both, whole = (said * true).sum(dim=0), (said + true).sum(dim=0)
        dice = ((2 * both + 1) / (whole + 1))[1:].mean()
        entropy = F.cross_entropy(outputs.float(), target.long(), label_smoothing=label_smoothing)
        return entropy + 1 - dice


class Thresholds(nn.Module):
    """What any network must beat: class indices int64 (B, D, H, W) of the grey values of (B, 1, D, H, W) alone.

    `labels` are the classes between ascending `levels`, one more than these; a value on a level is above it.
    """

    levels: Tensor
    labels: Tensor

    def __init__(self, levels: Sequence[float], labels: Sequence[int]) -> None:
        super().__init__()
        if list(levels) != sorted(set(levels)) or len(labels) != len(levels) + 1:
            raise UserError(f"levels must rise, and labels be one more than they: not {levels} and {labels}")
        self.sample_size = (1, 28, 28, 28)
        self.register_buffer("levels", torch.tensor(levels, dtype=torch.float32), persistent=False)
        self.register_buffer("labels", torch.tensor(labels), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.labels[torch.bucketize(x[:, 0].contiguous(), self.levels, right=True)]
