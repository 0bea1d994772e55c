"""A residual network for volumes, beside HybridHAR on them."""

from __future__ import annotations

from torch import Tensor, nn

from robustbench_ms.models.arguments import natural

__all__ = ["VolumeResNet"]


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
