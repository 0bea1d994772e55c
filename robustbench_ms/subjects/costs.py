"""What a card's network costs, at the size that the card says it is shown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from robustbench_ms.errors import UserError
from robustbench_ms.models.costs import costs
from robustbench_ms.specs.card import Card
from robustbench_ms.subjects.loading import build_module

__all__ = ["card_costs", "input_of"]


def card_costs(card: Card, classes: int = 1000) -> dict[str, Any]:
    """The `costs` of a card's network at the size that it is shown; `classes` only where its args do not say.

    Its weights are not read. UserError as in `costs`, and where the network cannot be built.
    """
    bare = replace(card, weights=(), untrained=True)  # a library would fetch pretrained weights otherwise
    try:
        with torch.device("meta"):
            module, known = build_module(bare, classes)
    except UserError:  # some compute numbers while they are built
        module, known = build_module(bare, classes)
    if not isinstance(module, nn.Module):
        raise UserError(
            f"card {card.name}: {card.build} makes no torch module, so its costs cannot be counted"
        )
    return costs(module, input_of(known, module))


def input_of(card: Card, module: nn.Module) -> tuple[int, ...]:
    """The shape of one sample that a card's network is shown.

    The card's input size, or its window of volumes; without one, 32 x 32 images as the digits and CIFAR have them, or
    for a network of another number of axes its own `sample_size`, if it has that attribute.
    """
    if card.input.window is not None:
        channels = next((m.in_channels for m in module.modules() if isinstance(m, nn.Conv3d)), 1)
        return (channels, *card.input.window)
    own = getattr(module, "sample_size", None)
    if own is not None:
        return tuple(own)
    channels = next((m.in_channels for m in module.modules() if isinstance(m, nn.Conv2d)), 3)
    side = card.input.size or 32
    return (channels, side, side)
