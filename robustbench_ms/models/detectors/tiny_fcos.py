"""A small FCOS for pictures of some 128 pixels: torchvision's detector on a ResNet of four blocks."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.fcos import FCOS, FCOSHead
from torchvision.ops import FeaturePyramidNetwork

from robustbench_ms.models.arguments import natural
from robustbench_ms.models.cifar_resnet import BasicBlock
from robustbench_ms.models.insertion import check_wish, insert

__all__ = ["tiny_fcos"]

_CHANNELS = 64  # of the pyramid; a multiple of the 32 groups of torchvision's head
_CONVOLUTIONS = 2  # of each branch of the head; torchvision's own has four
_ANCHORS = ((3,), (6,), (12,))
"""Of strides 4, 8 and 16: a level learns boxes whose far side is up to 24, up to 48 and more pixels away (4 and 8 times
these sizes); the usual 4, 8 and 16 would leave the last level no box of quick-scenes, which has 56 pixels at most."""


class TinyBackbone(nn.Module):
    """A stem of stride 2 and four residual blocks: (B, 3, H, W) -> maps of strides 4, 8 and 16.

    The stem has `width` channels, the maps twice, four times and four times as many.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = BasicBlock(width, width)
        self.layer2 = BasicBlock(width, 2 * width, 2, shortcut="B")
        self.layer3 = BasicBlock(2 * width, 4 * width, 2, shortcut="B")
        self.layer4 = BasicBlock(4 * width, 4 * width, 2, shortcut="B")
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight)

    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
        first = self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x)))))
        second = self.layer3(first)
        return OrderedDict([("0", first), ("1", second), ("2", self.layer4(second))])


class _Pyramid(nn.Module):
    """The backbone and the pyramid on it, as torchvision's detectors take them."""

    def __init__(self, body: TinyBackbone, width: int) -> None:
        super().__init__()
        self.body = body
        self.fpn = FeaturePyramidNetwork([2 * width, 4 * width, 4 * width], _CHANNELS)
        self.out_channels = _CHANNELS

    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
        maps: OrderedDict[str, Tensor] = self.fpn(self.body(x))
        return maps


class TinyFCOS(FCOS):  # type: ignore[misc]  # torchvision is not typed
    """See `tiny_fcos`."""

    sample_size: tuple[int, int, int]
    """What the costs are counted at."""

    def postprocess_detections(self, head_outputs: Any, anchors: Any, image_shapes: Any) -> Any:
        # On the meta device there are no values to choose boxes by; costs are counted up to here.
        if head_outputs["cls_logits"][0].is_meta:
            return []
        return super().postprocess_detections(head_outputs, anchors, image_shapes)


def tiny_fcos(
    classes: int = 10,
    width: int = 16,
    *,
    min_size: int = 128,
    max_size: int = 128,
    score_thresh: float = 0.001,
    nms_thresh: float = 0.6,
    detections_per_img: int = 100,
    attention: str | None = None,
    position: str | Sequence[str] | None = None,
    **attention_args: Any,
) -> TinyFCOS:
    """FCOS (Tian et al., "FCOS: A simple and strong anchor-free object detector", arXiv 2006.09214) as a small network.

    Takes RGB (3, H, W) float in 0..1, several as a batch or a list, and resizes and normalises them itself
    (`min_size`, `max_size`; ImageNet's mean and deviation). In eval mode it answers a dict a picture: boxes float32
    (m, 4) xyxy in its own pixels, scores float32 (m,) and labels int64 (m,) in 0..classes-1, best first; in train mode,
    given a dict of boxes and labels a picture, a dict of losses. `attention` names a block (`create_attention`) with
    `attention_args` for the end of each of the four residual branches, or for `position` (`insert`). 433,695
    parameters by default.
    """
    natural("classes", classes)
    natural("width", width, least=2)
    check_wish(attention, position, attention_args)
    body = TinyBackbone(width)
    if attention is not None:
        insert(body, attention, position, input_size=(3, max_size, max_size), **attention_args)
    made = TinyFCOS(
        _Pyramid(body, width),
        classes,
        min_size,
        max_size,
        anchor_generator=AnchorGenerator(_ANCHORS, ((1.0,),) * len(_ANCHORS)),
        head=FCOSHead(_CHANNELS, 1, classes, _CONVOLUTIONS),
        score_thresh=score_thresh,
        nms_thresh=nms_thresh,
        detections_per_img=detections_per_img,
    )
    made.sample_size = (3, max_size, max_size)
    return made
