"""Programs at hand: what torch.export makes of a network, as a module that answers."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from robustbench_ms.adapters.programs import Program

__all__ = ["as_module"]


def as_module(made: Any) -> Any:
    """A program of torch.export as a module; whatever else as it is, TorchScript's and compiled modules too."""
    exported = None
    # By name: the package is imported where there is such a program, and costs a second where there is none.
    if type(made).__module__.startswith("torch.export") and hasattr(made, "graph_signature"):
        exported, made = made, made.module()
    if isinstance(made, torch.fx.GraphModule) and _has_no_modes(made):
        return Program(made, exported)
    return made


def _has_no_modes(module: nn.Module) -> bool:
    training = [(part, part.training) for part in module.modules()]
    try:
        module.eval()
    except NotImplementedError:  # by design: what it does was fixed when it was exported
        return True
    for part, before in training:
        part.training = before
    return False
