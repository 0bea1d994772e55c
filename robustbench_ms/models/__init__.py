"""Attention blocks, the networks that carry them, and what they cost; each name is imported on first use.

A card names one as `build = "robustbench_ms.models:resnet_cifar"`. Blocks keep the shape of their input;
networks answer logits.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from robustbench_ms.errors import suggest

if TYPE_CHECKING:
    from robustbench_ms.models.amsra_net import HMRAB, LGSA, MSFD, AMSRANet
    from robustbench_ms.models.attention import create_attention
    from robustbench_ms.models.backbones import backbone, resnet18, resnet34, resnet50, resnet101, resnet152
    from robustbench_ms.models.bam import BAM
    from robustbench_ms.models.cct import cct_2, cct_4, cct_6, cct_7, cct_14
    from robustbench_ms.models.cifar_resnet import BasicBlock, CifarResNet, resnet_cifar
    from robustbench_ms.models.dmsca import DMSCA
    from robustbench_ms.models.ela import ELA
    from robustbench_ms.models.ema import EMA
    from robustbench_ms.models.hybrid_har import HybridHAR, ResidualChannelAttention
    from robustbench_ms.models.insertion import attention_blocks, insert
    from robustbench_ms.models.nam import NAM
    from robustbench_ms.models.shuffle_attention import ShuffleAttention
    from robustbench_ms.models.simam import SimAM
    from robustbench_ms.models.squeezenet import squeezenet1_0
    from robustbench_ms.models.triplet import TripletAttention

__all__ = [
    "BAM",
    "DMSCA",
    "ELA",
    "EMA",
    "HMRAB",
    "LGSA",
    "MSFD",
    "NAM",
    "AMSRANet",
    "BasicBlock",
    "CifarResNet",
    "HybridHAR",
    "ResidualChannelAttention",
    "ShuffleAttention",
    "SimAM",
    "TripletAttention",
    "attention_blocks",
    "backbone",
    "cct_2",
    "cct_4",
    "cct_6",
    "cct_7",
    "cct_14",
    "create_attention",
    "insert",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnet_cifar",
    "squeezenet1_0",
]

# A module never has the name of something listed here: importing it would put the module in its place.
_HOME = {
    "AMSRANet": "amsra_net",
    "BAM": "bam",
    "BasicBlock": "cifar_resnet",
    "CifarResNet": "cifar_resnet",
    "DMSCA": "dmsca",
    "ELA": "ela",
    "EMA": "ema",
    "HMRAB": "amsra_net",
    "HybridHAR": "hybrid_har",
    "LGSA": "amsra_net",
    "MSFD": "amsra_net",
    "NAM": "nam",
    "ResidualChannelAttention": "hybrid_har",
    "ShuffleAttention": "shuffle_attention",
    "SimAM": "simam",
    "TripletAttention": "triplet",
    "attention_blocks": "insertion",
    "backbone": "backbones",
    "cct_14": "cct",
    "cct_2": "cct",
    "cct_4": "cct",
    "cct_6": "cct",
    "cct_7": "cct",
    "create_attention": "attention",
    "insert": "insertion",
    "resnet101": "backbones",
    "resnet152": "backbones",
    "resnet18": "backbones",
    "resnet34": "backbones",
    "resnet50": "backbones",
    "resnet_cifar": "cifar_resnet",
    "squeezenet1_0": "squeezenet",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    if name.startswith("__"):
        raise AttributeError(name)
    raise AttributeError(f"{__name__} has no {name!r}{suggest(name, _HOME)}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
