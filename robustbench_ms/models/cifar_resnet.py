"""The residual networks for CIFAR of He et al., "Deep residual learning" (CVPR 2016), section 4.2.

6n + 2 layers: a 3x3 convolution, three stages of n two-convolution blocks at w, 2w and 4w channels on
maps of 32, 16 and 8 pixels a side, the global mean, and one linear layer. The names of the parameters are
those of the widely used public checkpoints for CIFAR-10, which load as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn import functional as F

from robustbench_ms.errors import UserError, choose
from robustbench_ms.models.arguments import natural, rank
from robustbench_ms.models.attention import attention_layer
from robustbench_ms.models.insertion import check_wish, insert, usual_position

__all__ = ["BasicBlock", "CifarResNet", "resnet_cifar"]


class PaddedSubsample(nn.Module):
    """The paper's option A: every second pixel, and zero channels on both sides; no parameters."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.before = (out_channels - in_channels) // 2
        self.after = out_channels - in_channels - self.before
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.before, self.after))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut; `attention` stands after the last norm, before the addition.

    (B, in_channels, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride)). `attention` is a
    callable that takes the number of channels, or None.
    """

    attention_slots = ("attention",)  # for `insert`

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        *,
        shortcut: Literal["A", "B"] = "A",
        attention: partial[nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.attention = nn.Identity() if attention is None else attention(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            if shortcut == "A":
                self.shortcut = PaddedSubsample(in_channels, out_channels, stride)
            else:
                projection = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
                self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.attention(self.bn2(self.conv2(y)))
        return F.relu(y + self.shortcut(x))


class CifarResNet(nn.Module):
    """See `resnet_cifar`, which checks the arguments."""

    def __init__(
        self,
        blocks: int,
        width: int,
        classes: int,
        in_channels: int,
        shortcut: Literal["A", "B"],
        attention: partial[nn.Module] | None,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.conv1 = nn.Conv2d(in_channels, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)

        def stage(before: int, after: int, stride: int) -> nn.Sequential:
            first = BasicBlock(before, after, stride, shortcut=shortcut, attention=attention)
            rest = (
                BasicBlock(after, after, shortcut=shortcut, attention=attention) for _ in range(blocks - 1)
            )
            return nn.Sequential(first, *rest)

        self.layer1 = stage(width, width, 1)
        self.layer2 = stage(width, 2 * width, 2)
        self.layer3 = stage(2 * width, 4 * width, 2)
        self.linear = nn.Linear(4 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        rank("the CIFAR ResNet", x, "(B, C, H, W)")
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.linear(x.mean((2, 3)))
        return logits


def resnet_cifar(
    depth: int = 20,
    width: int = 16,
    classes: int = 10,
    in_channels: int = 3,
    shortcut: Literal["A", "B"] = "A",
    attention: str | None = None,
    position: str | Sequence[str] | None = None,
    **attention_args: Any,
) -> CifarResNet:
    """The CIFAR ResNet of `depth` layers: (B, in_channels, H, W) in any float range -> logits (B, classes).

    `depth` is 6n + 2 (8, 14, 20, 32, 44, 56, 110, ...); `width` the channels of the first stage (16 in the
    paper); `shortcut` "A" subsamples and pads with zeros (no parameters: ResNet-20 has 269,722), "B"
    projects (272,474). `attention` names a block (`create_attention`) and `attention_args` are its
    arguments: with 16 channels at first, EMA takes factor=8 and SE reduction=16 leaves one hidden unit.
    `position` None or "slot" is the end of every residual branch, after its last norm and before the
    addition; for the others see `insert`: "layer*.*.conv2" is SimAM's own place, and None means "between"
    for BAM. Weights start as in He et al., "Delving deep into rectifiers" (ICCV 2015).
    """
    natural("depth", depth, least=8)
    if (depth - 2) % 6:
        lower = (depth - 2) // 6 * 6 + 2
        raise UserError(f"depth must be 6n + 2, not {depth}; {lower} and {lower + 6} are near")
    for name, value in (("width", width), ("classes", classes), ("in_channels", in_channels)):
        natural(name, value)
    choose(shortcut, ("A", "B"), "shortcut", "shortcut")
    check_wish(attention, position, attention_args)
    if attention is not None and position is None:
        position = usual_position(attention)
    layer = attention_layer(attention, **attention_args) if position == "slot" else None
    model = CifarResNet((depth - 2) // 6, width, classes, in_channels, shortcut, layer)
    _initialize(model)
    if attention is not None and layer is None:
        insert(model, attention, position, input_size=(in_channels, 32, 32), **attention_args)
    return model


def _initialize(part: nn.Module) -> None:
    # A block of attention keeps the start that its paper gives it.
    for name, child in part.named_children():
        if isinstance(child, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(child.weight)
        elif name != "attention":
            _initialize(child)
