"""torchvision's Faster R-CNN, RetinaNet and FCOS on a pyramid; in a card "robustbench_ms.models.detectors:fcos".

Each is torchvision's own class with its own transform, losses and suppression: in train mode it takes a list of images
float (3, H, W) in 0..1 and of targets with boxes xyxy and labels from 1, in eval mode images alone, and answers with
boxes, scores and labels of each. Class 0 is the background in all three, so that a card's [output] says
`labels = "background+data"`. Arguments not listed (min_size, max_size, topk_candidates, ...) are torchvision's.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn
from torchvision.models import detection
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool, LastLevelP6P7

from robustbench_ms.errors import UserError, choose
from robustbench_ms.models.arguments import natural
from robustbench_ms.models.detectors.pyramid import Pyramid, Stages, network

__all__ = ["faster_rcnn", "fcos", "retinanet"]


def _pyramid(
    body: tuple[
        str, str | None, str | Sequence[str] | None, Mapping[str, Any] | None, Mapping[str, Any] | None
    ],
    levels: int,
    channels: int,
    *,
    pooled: bool,
) -> Pyramid:
    name, attention, position, attention_args, model_args = body
    natural("levels", levels)
    natural("channels", channels)
    net = network(name, attention, position, attention_args or {}, model_args or {})
    if pooled:
        return Pyramid(Stages(net, levels), channels, LastLevelMaxPool(), 1)
    return Pyramid(Stages(net, levels), channels, LastLevelP6P7(channels, channels), 2)


def _made(kind: Any, pyramid: Pyramid, classes: int, arguments: Mapping[str, Any], **ours: Any) -> nn.Module:
    natural("classes", classes)
    # torchvision hands what it does not know to its transform, which takes anything.
    known = {*inspect.signature(kind).parameters, "size_divisible"} - {"backbone", "num_classes", "kwargs"}
    for name in arguments:
        choose(name, known, "argument", f"torchvision's {kind.__name__}")
    made: nn.Module = kind(pyramid, num_classes=classes + 1, **{**ours, **arguments})
    return made


def faster_rcnn(
    classes: int = 80,
    backbone: str = "timm:resnet50",
    *,
    attention: str | None = None,
    position: str | Sequence[str] | None = None,
    attention_args: Mapping[str, Any] | None = None,
    model_args: Mapping[str, Any] | None = None,
    levels: int = 4,
    channels: int = 256,
    **arguments: Any,
) -> nn.Module:
    """Ren et al., "Faster R-CNN" (NeurIPS 2015), on `levels` maps and a pooled one; anchors of 8 strides."""
    pyramid = _pyramid(
        (backbone, attention, position, attention_args, model_args), levels, channels, pooled=True
    )
    sizes = tuple((8 * stride,) for stride in pyramid.strides)
    pool = MultiScaleRoIAlign([str(i) for i in range(len(sizes) - 1)], output_size=7, sampling_ratio=2)
    anchors = AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * len(sizes))
    return _made(
        detection.FasterRCNN, pyramid, classes, arguments, rpn_anchor_generator=anchors, box_roi_pool=pool
    )


def retinanet(
    classes: int = 80,
    backbone: str = "timm:resnet50",
    *,
    attention: str | None = None,
    position: str | Sequence[str] | None = None,
    attention_args: Mapping[str, Any] | None = None,
    model_args: Mapping[str, Any] | None = None,
    levels: int = 3,
    channels: int = 256,
    **arguments: Any,
) -> nn.Module:
    """Lin et al., "Focal loss for dense object detection" (ICCV 2017): 3 x 3 anchors from 4 strides on."""
    pyramid = _pyramid(
        (backbone, attention, position, attention_args, model_args), levels, channels, pooled=False
    )
    sizes = tuple(tuple(int(4 * stride * 2 ** (i / 3)) for i in range(3)) for stride in pyramid.strides)
    anchors = AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * len(sizes))
    return _made(detection.RetinaNet, pyramid, classes, arguments, anchor_generator=anchors)


def fcos(
    classes: int = 80,
    backbone: str = "timm:resnet50",
    *,
    attention: str | None = None,
    position: str | Sequence[str] | None = None,
    attention_args: Mapping[str, Any] | None = None,
    model_args: Mapping[str, Any] | None = None,
    levels: int = 3,
    channels: int = 256,
    **arguments: Any,
) -> nn.Module:
    """Tian et al., "FCOS: fully convolutional one-stage object detection" (ICCV 2019): one location a cell."""
    if channels % 32:
        raise UserError(
            f"channels must be a multiple of 32, not {channels}: FCOS's head has norms of 32 groups"
        )
    pyramid = _pyramid(
        (backbone, attention, position, attention_args, model_args), levels, channels, pooled=False
    )
    anchors = AnchorGenerator(
        tuple((stride,) for stride in pyramid.strides), ((1.0,),) * len(pyramid.strides)
    )
    return _made(detection.FCOS, pyramid, classes, arguments, anchor_generator=anchors)
