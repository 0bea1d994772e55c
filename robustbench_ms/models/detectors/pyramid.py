"""The maps of a backbone's stages, and a feature pyramid over them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import ExtraFPNBlock

from robustbench_ms.errors import UserError
from robustbench_ms.models.backbones import backbone
from robustbench_ms.models.insertion import stages
from robustbench_ms.models.tracing import meta_copy, output_shapes

__all__ = ["Pyramid", "Stages", "network"]

SIDE = 256
"""Of the square whose pass over the meta device tells channels and strides."""
HEADS = ("fc", "linear", "classifier", "head", "heads")


def network(
    name: str,
    attention: str | None,
    position: str | Sequence[str] | None,
    attention_args: Mapping[str, Any],
    model_args: Mapping[str, Any],
) -> nn.Module:
    """A classifier without its head: "timm:NAME", "torchvision:NAME", or our own "resnet_cifar"."""
    if name == "resnet_cifar":
        from robustbench_ms.models.cifar_resnet import resnet_cifar

        made: nn.Module = resnet_cifar(attention=attention, position=position, **model_args, **attention_args)
    elif ":" not in name:
        raise UserError(f"backbone must be timm:NAME, torchvision:NAME or resnet_cifar, not {name!r}")
    else:
        made = backbone(name, attention=attention, position=position, model_args=model_args, **attention_args)
    reset: Any = getattr(made, "reset_classifier", None)
    if reset is not None:
        reset(0)
    else:
        for head in HEADS:  # what answers with logits would never be trained
            if hasattr(made, head):
                setattr(made, head, nn.Identity())
    return made


class Stages(nn.Module):
    """A backbone that answers with the maps of its last stages, each of another stride: "0", "1", ..."""

    def __init__(self, net: nn.Module, levels: int) -> None:
        super().__init__()
        self.net = net
        known = getattr(net, "feature_info", None)
        infos = getattr(known, "info", known) or ()
        parts = dict(net.named_modules())
        names = [info["module"] for info in infos if info["module"] in parts] or stages(net)
        shapes = output_shapes(meta_copy(net), names, (3, SIDE, SIDE))
        by_stride: dict[int, tuple[str, int]] = {}  # of stages of one stride the last
        self.last = False
        """Channels are the last axis of its maps, as in Swin."""
        for name in names:
            shape = shapes.get(name, ())
            if len(shape) != 4:
                raise UserError(
                    f"backbone: stage {name!r} has no maps (B, C, H, W) but {shape or 'no output'}"
                )
            self.last = shape[1] == shape[2] != shape[3]
            channels, side = (shape[3], shape[1]) if self.last else (shape[1], shape[2])
            by_stride[SIDE // side] = name, channels
        chosen = sorted(by_stride.items())[-levels:]
        self.strides = [stride for stride, _ in chosen]
        self.names = [name for _, (name, _) in chosen]
        self.channels = [channels for _, (_, channels) in chosen]

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        kept: dict[str, Tensor] = {}

        def keep(name: str) -> Any:
            def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
                kept[name] = output.permute(0, 3, 1, 2) if self.last else output

            return hook

        # For this pass alone: a hook that stays would be copied with the module, and write into the original.
        hooks = [self.net.get_submodule(name).register_forward_hook(keep(name)) for name in self.names]
        try:
            getattr(self.net, "forward_features", self.net)(images)
        finally:
            for hook in hooks:
                hook.remove()
        return OrderedDict((str(i), kept[name]) for i, name in enumerate(self.names))


class Pyramid(nn.Module):
    """Lin et al., "Feature pyramid networks for object detection" (CVPR 2017), over a backbone's stages.

    (B, 3, H, W) -> maps of `out_channels` by name, from fine to coarse; `strides` (of those that `extra` adds too).
    """

    def __init__(self, body: Stages, channels: int, extra: ExtraFPNBlock, added: int) -> None:
        super().__init__()
        self.body = body
        self.fpn = FeaturePyramidNetwork(body.channels, channels, extra)
        self.out_channels = channels
        self.strides = [*body.strides, *(body.strides[-1] * 2 ** (i + 1) for i in range(added))]

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        maps: OrderedDict[str, Tensor] = self.fpn(self.body(images))
        return maps
