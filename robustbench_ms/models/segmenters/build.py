"""torchvision's FCN and DeepLabV3 heads on a backbone; in a card "robustbench_ms.models.segmenters:fcn".

They answer logits (B, classes, h, w) on the grid of the backbone's last map, which the task enlarges to the picture's.
torchvision's own networks dilate the backbone to a stride of 8; for timm's say `model_args = { output_stride = 8 }`,
where the network knows that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torchvision.models.segmentation.deeplabv3 import DeepLabHead
from torchvision.models.segmentation.fcn import FCNHead

from robustbench_ms.models.arguments import natural
from robustbench_ms.models.detectors.pyramid import Stages, network

__all__ = ["Segmenter", "deeplabv3", "fcn"]


class Segmenter(nn.Module):
    """A backbone's last map under a head: (B, 3, H, W) -> logits (B, classes, h, w)."""

    def __init__(self, body: Stages, head: nn.Module) -> None:
        super().__init__()
        self.body, self.head = body, head

    def forward(self, images: Tensor) -> Tensor:
        *_, last = self.body(images).values()
        logits: Tensor = self.head(last)
        return logits


def _body(
    backbone: str,
    attention: str | None,
    position: str | Sequence[str] | None,
    attention_args: Mapping[str, Any] | None,
    model_args: Mapping[str, Any] | None,
) -> Stages:
    return Stages(network(backbone, attention, position, attention_args or {}, model_args or {}), 1)


def fcn(
    classes: int = 21,
    backbone: str = "timm:resnet50",
    *,
    attention: str | None = None,
    position: str | Sequence[str] | None = None,
    attention_args: Mapping[str, Any] | None = None,
    model_args: Mapping[str, Any] | None = None,
) -> Segmenter:
    """Long et al., "Fully convolutional networks" (CVPR 2015), with torchvision's head of two convolutions."""
    natural("classes", classes)
    body = _body(backbone, attention, position, attention_args, model_args)
    return Segmenter(body, FCNHead(body.channels[-1], classes))


def deeplabv3(
    classes: int = 21,
    backbone: str = "timm:resnet50",
    *,
    attention: str | None = None,
    position: str | Sequence[str] | None = None,
    attention_args: Mapping[str, Any] | None = None,
    model_args: Mapping[str, Any] | None = None,
    rates: Sequence[int] = (12, 24, 36),
) -> Segmenter:
    """Chen et al., "Rethinking atrous convolution" (arXiv 1706.05587): pooling at several dilations, `rates`."""
    natural("classes", classes)
    body = _body(backbone, attention, position, attention_args, model_args)
    return Segmenter(body, DeepLabHead(body.channels[-1], classes, tuple(rates)))
