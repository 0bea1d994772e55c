"""Attention blocks by name: one table and one factory for every network that carries them.

A block maps (B, C, H, W) to the same shape. timm's layers are used as they are, under the defaults of
each block's own paper; what timm lacks stands in a module of its own.
"""

from __future__ import annotations

import importlib
from functools import partial
from typing import Any

import torch
from torch import nn

from robustbench_ms.errors import UserError, choose
from robustbench_ms.models.arguments import known_arguments, natural

__all__ = ["ATTENTIONS", "attention_layer", "create_attention"]

# name -> (module, attribute); a builder takes (channels, *, ..., device, dtype)
ATTENTIONS: dict[str, tuple[str, str]] = {
    "bam": ("bam", "BAM"),
    "cbam": ("timm_blocks", "cbam"),
    "coord": ("timm_blocks", "coord"),
    "dmsca": ("dmsca", "DMSCA"),
    "eca": ("timm_blocks", "eca"),
    "ela": ("ela", "ELA"),
    "ema": ("ema", "EMA"),
    "gc": ("timm_blocks", "gc"),
    "ge": ("timm_blocks", "ge"),
    "nam": ("nam", "NAM"),
    "sa": ("shuffle_attention", "ShuffleAttention"),
    "se": ("timm_blocks", "se"),
    "simam": ("simam", "SimAM"),
    "sk": ("timm_blocks", "sk"),
    "triplet": ("triplet", "TripletAttention"),
}


def create_attention(
    name: str,
    channels: int,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    **arguments: Any,
) -> nn.Module:
    """The block `name` for `channels` channels, such as "ema" for 64 with factor=8.

    `arguments` are the block's own; each block's docstring lists them. Raises UnknownName for a name or
    an argument that does not exist, and UserError for a value that the block cannot take.
    """
    choose(name, ATTENTIONS, "attention")
    natural("channels", channels)
    module, attribute = ATTENTIONS[name]
    build = getattr(importlib.import_module(f"robustbench_ms.models.{module}"), attribute)
    known_arguments(build, arguments, f"attention {name!r}", reserved=("self", "channels", "device", "dtype"))
    block: nn.Module = build(channels, device=device, dtype=dtype, **arguments)
    block.is_attention = True  # type: ignore[assignment] # the costs count its share
    return block


def attention_layer(name: str | None, **arguments: Any) -> partial[nn.Module] | None:
    """What timm calls an `attn_layer`: a callable that takes (channels, device=, dtype=); None for None."""
    if name is None:
        if arguments:
            raise UserError(f"{', '.join(sorted(arguments))}: given without an attention to use it")
        return None
    choose(name, ATTENTIONS, "attention")
    return partial(create_attention, name, **arguments)
