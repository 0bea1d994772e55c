"""Attention blocks, the networks that carry them, and what they cost; each name is imported on first use.

A card names one as `build = "robustbench_ms.models:resnet_cifar"`. Blocks keep the shape of their input;
networks answer logits.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from robustbench_ms.errors import suggest

if TYPE_CHECKING:
    from robustbench_ms.models.attention import create_attention
    from robustbench_ms.models.cifar_resnet import BasicBlock, CifarResNet, resnet_cifar

__all__ = ["BasicBlock", "CifarResNet", "create_attention", "resnet_cifar"]

# A module never has the name of something listed here: importing it would put the module in its place.
_HOME = {
    "BasicBlock": "cifar_resnet",
    "CifarResNet": "cifar_resnet",
    "create_attention": "attention",
    "resnet_cifar": "cifar_resnet",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    if name.startswith("__"):
        raise AttributeError(name)
    raise AttributeError(f"{__name__} has no {name!r}{suggest(name, _HOME)}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
