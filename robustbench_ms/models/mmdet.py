"""Our blocks of attention and the backbones that carry them, under names that a config of mmdet can say.

A config names this module in `custom_imports = dict(imports=["robustbench_ms.models.mmdet"])`, and then

    backbone = dict(type="RBMSBackbone", name="timm:resnet18", attention="ema", factor=8)

    plugins = [dict(cfg=dict(type="RBMSAttention", attention="ema", factor=8),
                    stages=(False, True, True, True), position="after_conv3")]

The second stands in the backbone of mmdet's own ResNets from 50 layers on: those of 18 and 34 take no plugins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor

from robustbench_ms.models.attention import create_attention
from robustbench_ms.models.detectors.pyramid import Stages, network

__all__ = ["RBMSAttention", "RBMSBackbone"]


@MODELS.register_module()
class RBMSAttention(BaseModule):  # type: ignore[misc] # mmengine is not typed
    """The block `attention` as a plugin of mmdet's ResNets: maps (B, in_channels, H, W) to maps alike."""

    _abbr_ = "attention"

    def __init__(self, in_channels: int, attention: str, **arguments: Any) -> None:
        super().__init__()
        self.block = create_attention(attention, in_channels, **arguments)

    def forward(self, maps: Tensor) -> Tensor:
        attended: Tensor = self.block(maps)
        return attended


@MODELS.register_module()
class RBMSBackbone(BaseModule):  # type: ignore[misc]
    """(B, 3, H, W) to the maps of the last `levels` stages of "timm:NAME" or "torchvision:NAME", fine to coarse.

    With `attention` at `position` as `models.insertion` has them, and random weights. A neck takes their channels
    (`channels`) as its `in_channels`: [64, 128, 256, 512] for ResNet-18.
    """

    def __init__(
        self,
        name: str,
        attention: str | None = None,
        position: str | Sequence[str] | None = None,
        levels: int = 4,
        model_args: Mapping[str, Any] | None = None,
        init_cfg: Any = None,
        **arguments: Any,
    ) -> None:
        super().__init__(init_cfg)
        self.body = Stages(network(name, attention, position, arguments, model_args or {}), levels)
        self.channels = self.body.channels

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.body(images).values())
