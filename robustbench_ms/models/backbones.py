"""Backbones of timm and torchvision with a block of attention in them; see `insertion` for the positions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from torch import nn

from robustbench_ms.errors import UserError, choose, suggest
from robustbench_ms.models.arguments import natural
from robustbench_ms.models.insertion import check_wish, insert

__all__ = ["backbone", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]


def backbone(
    name: str,
    classes: int = 1000,
    in_channels: int = 3,
    *,
    attention: str | None = None,
    position: str | Sequence[str] | None = None,
    input_size: Sequence[int] | None = None,
    model_args: Mapping[str, Any] | None = None,
    **attention_args: Any,
) -> nn.Module:
    """A network of "timm:NAME" or "torchvision:NAME" with random weights and a block of attention.

    `model_args` go to the library, `attention_args` to the block; `position` and `input_size` are those of
    `insert`. (B, in_channels, H, W) -> logits (B, classes).
    """
    library, colon, model_name = name.partition(":")
    if not colon or library not in {"timm", "torchvision"}:
        raise UserError(f"name must be timm:NAME or torchvision:NAME, not {name!r}")
    natural("classes", classes)
    natural("in_channels", in_channels)
    check_wish(attention, position, attention_args)
    model = _made(library, model_name, classes, in_channels, dict(model_args or {}))
    if attention is None:
        return model
    return insert(model, attention, position, input_size=input_size, **attention_args)


def _made(library: str, name: str, classes: int, in_channels: int, arguments: dict[str, Any]) -> nn.Module:
    import timm
    from torchvision import models

    known = timm.list_models() if library == "timm" else models.list_models(module=models)
    if name.partition(".")[0] not in known:
        raise UserError(f"{library} has no model named {name!r}{_hint(name, known)}")
    model: nn.Module
    if library == "timm":
        model = timm.create_model(name, num_classes=classes, in_chans=in_channels, **arguments)
    elif in_channels != 3:
        raise UserError(f"in_channels must be 3 for torchvision's models, not {in_channels}")
    else:
        model = models.get_model(name, weights=None, num_classes=classes, **arguments)
    return model


def _hint(name: str, known: list[str]) -> str:
    told = suggest(name, known)
    return told if "did you mean" in told else f"; it has {len(known)} others"


def _resnet(
    depth: int,
    classes: int,
    in_channels: int,
    stem: str,
    attention: str | None,
    position: str | Sequence[str] | None,
    arguments: dict[str, Any],
) -> nn.Module:
    choose(stem, ("imagenet", "cifar"), "stem", "stem")
    check_wish(attention, position, arguments)
    model = backbone(f"timm:resnet{depth}", classes, in_channels)
    size = None
    if stem == "cifar":
        model.conv1 = nn.Conv2d(in_channels, 64, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
        model.maxpool = nn.Identity()
        size = (in_channels, 32, 32)
    return model if attention is None else insert(model, attention, position, input_size=size, **arguments)


def _documented(depth: int) -> Any:
    def build(
        classes: int = 1000,
        in_channels: int = 3,
        *,
        stem: Literal["imagenet", "cifar"] = "imagenet",
        attention: str | None = None,
        position: str | Sequence[str] | None = None,
        **attention_args: Any,
    ) -> nn.Module:
        return _resnet(depth, classes, in_channels, stem, attention, position, attention_args)

    build.__name__ = build.__qualname__ = f"resnet{depth}"
    build.__doc__ = f"""timm's ResNet-{depth} with random weights: (B, in_channels, H, W) -> logits (B, classes).

    `stem` "imagenet" is the 7x7 convolution and the pooling, "cifar" one 3x3 convolution that keeps the
    size. `attention` names a block for every residual branch, after its last norm and before the addition
    (`position` puts it elsewhere: `insert`), and `attention_args` are its arguments, such as factor=32.
    """
    return build


resnet18 = _documented(18)
resnet34 = _documented(34)
resnet50 = _documented(50)
resnet101 = _documented(101)
resnet152 = _documented(152)
