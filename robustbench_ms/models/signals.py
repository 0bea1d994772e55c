"""Networks for windows of signals beside HybridHAR: a residual network along time, and a linear model on features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robustbench_ms.errors import UserError
from robustbench_ms.models.arguments import natural, odd, rank

__all__ = ["FEATURES", "FeatureLinear", "SignalResNet", "features"]

FEATURES = 13
"""Numbers a channel, see `features`."""


class _Block(nn.Module):
    """Two convolutions along time with norms, and a shortcut; (B, C, T) -> (B, out, ceil(T / stride))."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(channels, out, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm1d(out),
            nn.ReLU(),
            nn.Conv1d(out, out, kernel, 1, kernel // 2, bias=False),
            nn.BatchNorm1d(out),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or channels != out:
            self.shortcut = nn.Sequential(
                nn.Conv1d(channels, out, 1, stride, bias=False), nn.BatchNorm1d(out)
            )

    def forward(self, x: Tensor) -> Tensor:
        total: Tensor = self.body(x) + self.shortcut(x)
        return total.relu()


class SignalResNet(nn.Module):
    """The residual network of images (He et al., CVPR 2016) along time: logits (B, classes) of windows (B, C, T).

    A stem of one convolution, three stages of `blocks` blocks at `width`, 2 and 4 times as many channels, each stage
    but the first at half the rate, then the mean over time and a linear layer. Attention has no place in it.
    """

    def __init__(
        self, classes: int = 6, in_channels: int = 9, *, width: int = 32, blocks: int = 1, kernel: int = 5
    ) -> None:
        super().__init__()
        for name, value in (
            ("classes", classes), ("in_channels", in_channels), ("width", width), ("blocks", blocks),
        ):  # fmt: skip
            natural(name, value)
        odd("kernel", kernel)
        self.sample_size = (in_channels, 128)
        self.stem = nn.Sequential(
            nn.Conv1d(in_channels, width, kernel, padding=kernel // 2, bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(),
        )
        stages, channels = [], width
        for stage in range(3):
            for block in range(blocks):
                out = width * 2**stage
                stages.append(_Block(channels, out, kernel, 2 if stage and not block else 1))
                channels = out
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        rank("SignalResNet", x, "(B, C, T)")
        logits: Tensor = self.head(self.stages(self.stem(x)).mean(2))
        return logits


def features(x: Tensor) -> Tensor:
    """(B, C, T), T >= 3, to (B, 13 C): of each channel 13 simple numbers.

    Mean, standard deviation, least, largest, both quartiles and the median, root mean square, mean and largest absolute
    step, the standard deviation of steps, the share of sign changes about the mean, and the correlation with the sample
    before.
    """
    mean = x.mean(2, keepdim=True)
    apart = x - mean
    variance = apart.square().mean(2)
    steps = x[..., 1:] - x[..., :-1]
    ranked = x.sort(dim=2).values
    length = x.shape[2]
    quartiles = [ranked[..., (length - 1) * part // 4] for part in (1, 2, 3)]
    changes = (apart[..., 1:] * apart[..., :-1] < 0).to(x.dtype).mean(2)
    correlation = (apart[..., 1:] * apart[..., :-1]).mean(2) / (variance + 1e-8)
    rows = [
        mean[..., 0], variance.sqrt(), ranked[..., 0], ranked[..., -1], *quartiles, x.square().mean(2).sqrt(),
        steps.abs().mean(2), steps.abs().amax(2), steps.square().mean(2).sqrt(), changes, correlation,
    ]  # fmt: skip
    return torch.cat(rows, dim=1)


class FeatureLinear(nn.Module):
    """Logistic regression on simple features of windows (B, C, T), standardised by a norm of the batch.

    A linear model without attention and without convolutions: what a network must beat.
    """

    def __init__(self, classes: int = 6, in_channels: int = 9) -> None:
        super().__init__()
        for name, value in (("classes", classes), ("in_channels", in_channels)):
            natural(name, value)
        self.in_channels = in_channels
        self.sample_size = (in_channels, 128)
        self.norm = nn.BatchNorm1d(FEATURES * in_channels, affine=False)
        self.head = nn.Linear(FEATURES * in_channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        rank("FeatureLinear", x, "(B, C, T)")
        if x.shape[1] != self.in_channels:
            raise UserError(f"FeatureLinear takes {self.in_channels} channels, not {x.shape[1]}")
        logits: Tensor = self.head(self.norm(features(x)))
        return logits
