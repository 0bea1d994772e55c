"""SqueezeNet 1.0 as its authors released it (Iandola et al. 2016)."""

from __future__ import annotations

from typing import Any

from torch import nn
from torchvision.models.squeezenet import SqueezeNet

__all__ = ["squeezenet1_0"]


def squeezenet1_0(classes: int = 1000) -> nn.Module:
    """Images float (N, 3, H, W) to logits (N, classes).

    torchvision's network and names, but for the last convolution: the authors' file pads its 1 x 1 kernel by one, so
    that a frame of biases goes into the mean over places.
    """
    made: nn.Module = SqueezeNet("1_0", num_classes=classes)
    last: Any = made.get_submodule("classifier.1")
    last.padding = (1, 1)
    return made
