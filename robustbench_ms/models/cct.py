"""Compact convolutional transformers: Hassani et al., arXiv 2104.05704, through vit-pytorch.

CCT-L/KxN is L layers behind N convolutions of K x K, each followed by a pooling.
"""

from __future__ import annotations

import importlib
from functools import partial
from typing import Any, Literal

from torch import Tensor, nn

from robustbench_ms.errors import UserError, choose
from robustbench_ms.models.arguments import natural, odd, rank

__all__ = ["cct_2", "cct_4", "cct_6", "cct_7", "cct_14"]


def _expect_size(size: int, _module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    rank("CCT", inputs[0], "(B, C, H, W)")
    if tuple(inputs[0].shape[2:]) != (size, size):
        raise UserError(f"size: this CCT was built for {size} x {size}, not for {tuple(inputs[0].shape[2:])}")


def _cct(
    layers: int,
    classes: int,
    size: int,
    in_channels: int,
    kernel_size: int,
    convolutions: int,
    embedding: str,
) -> nn.Module:
    numbers = (
        ("classes", classes),
        ("size", size),
        ("in_channels", in_channels),
        ("convolutions", convolutions),
    )
    for name, value in numbers:
        natural(name, value)
    if odd("kernel_size", kernel_size) < 3:
        raise UserError(f"kernel_size must be at least 3, not {kernel_size}")
    choose(embedding, ("learnable", "sine", "none"), "embedding", "embedding")
    try:
        library = importlib.import_module("vit_pytorch.cct")
    except ModuleNotFoundError as error:
        raise UserError(
            "CCT needs the package vit-pytorch, which the extra `cct` brings: pip install 'robustbench-ms[cct]'"
        ) from error
    model: Any = getattr(library, f"cct_{layers}")(
        img_size=size,
        n_input_channels=in_channels,
        n_conv_layers=convolutions,
        kernel_size=kernel_size,
        num_classes=classes,
        positional_embedding=embedding,
    )
    for layer in model.classifier.blocks:
        layer.self_attn.is_attention = True
    model.register_forward_pre_hook(partial(_expect_size, size))
    made: nn.Module = model
    return made


def _documented(layers: int) -> Any:
    def build(
        classes: int = 10,
        size: int = 32,
        in_channels: int = 3,
        *,
        kernel_size: int = 3,
        convolutions: int = 1,
        embedding: Literal["learnable", "sine", "none"] = "learnable",
    ) -> nn.Module:
        return _cct(layers, classes, size, in_channels, kernel_size, convolutions, embedding)

    build.__name__ = build.__qualname__ = f"cct_{layers}"
    build.__doc__ = f"""CCT-{layers}/(kernel_size)x(convolutions): (B, in_channels, size, size) -> logits (B, classes).

    Dropout and stochastic depth are the paper's (0.1 each in attention and depth). UserError without the
    extra `cct`.
    """
    return build


cct_2 = _documented(2)
cct_4 = _documented(4)
cct_6 = _documented(6)
cct_7 = _documented(7)
cct_14 = _documented(14)
