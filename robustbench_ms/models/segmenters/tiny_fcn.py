"""A small FCN for pictures of some 128 pixels: scores of three strides, added up, on a ResNet of four blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from robustbench_ms.models.arguments import natural
from robustbench_ms.models.detectors.tiny_fcos import TinyBackbone
from robustbench_ms.models.insertion import check_wish, insert

__all__ = ["TinyFCN", "tiny_fcn"]


class TinyFCN(nn.Module):
    """See `tiny_fcn`."""

    sample_size = (3, 128, 128)
    """What the costs are counted at."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.body = TinyBackbone(width)
        self.scores = nn.ModuleList(nn.Conv2d(k * width, classes, 1) for k in (2, 4, 4))

    def forward(self, images: Tensor) -> Tensor:
        maps = [score(found) for score, found in zip(self.scores, self.body(images).values(), strict=True)]
        summed: Tensor = maps[-1]
        for finer in maps[-2::-1]:
            larger = F.interpolate(summed, size=finer.shape[-2:], mode="bilinear", align_corners=False)
            summed = finer + larger
        return summed


def tiny_fcn(
    classes: int = 11,
    width: int = 16,
    *,
    attention: str | None = None,
    position: str | Sequence[str] | None = None,
    **attention_args: Any,
) -> TinyFCN:
    """Fully convolutional with skips (Long et al., "Fully convolutional networks", CVPR 2015, section 4.2), small.

    (B, 3, H, W) -> logits (B, classes, H/4, W/4): linear scores of the maps of strides 16, 8 and 4 of the small FCOS's
    backbone, each enlarged and added to the next. `attention` names a block (`create_attention`) with `attention_args`
    for the end of each of the four residual branches, or for `position` (`insert`).
    """
    natural("classes", classes)
    natural("width", width, least=2)
    check_wish(attention, position, attention_args)
    made = TinyFCN(classes, width)
    if attention is not None:
        insert(made.body, attention, position, input_size=made.sample_size, **attention_args)
    return made
