"""Programs at hand: what torch.export makes of a network, as a module that answers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from robustbench_ms.tasks.answers import Answers

__all__ = ["Program", "as_module"]


def as_module(made: Any) -> Any:
    """A program of torch.export as a module; whatever else as it is, TorchScript's and compiled modules too."""
    # By name: the package is imported where there is such a program, and costs a second where there is none.
    if type(made).__module__.startswith("torch.export") and hasattr(made, "graph_signature"):
        made = made.module()
    if isinstance(made, torch.fx.GraphModule) and _has_no_modes(made):
        return Program(made)
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


class Program(nn.Module):
    """An exported program, which has no train and no eval mode.

    Where it was exported for a number of samples it is shown so many at once, the last of them again where there are
    fewer, whose answers are dropped.
    """

    def __init__(self, program: torch.fx.GraphModule) -> None:
        super().__init__()
        for part in program.modules():
            part.training = False  # says nothing here, and would be taken for a part that is stuck
        self.program = program
        self.training = False
        self.batch = _batch(program)
        """Samples that it takes, None for any number."""

    def train(self, mode: bool = True) -> Program:
        """Nothing."""
        del mode
        return self

    def forward(self, shown: Tensor) -> Any:
        """Its answers to samples (N, ...), those of a fixed batch joined."""
        if self.batch is None or len(shown) == self.batch:
            return self.program(shown)
        answers = []
        for start in range(0, len(shown), self.batch):
            part = shown[start : start + self.batch]
            more = part[-1:].expand(self.batch - len(part), *part.shape[1:])
            answers.append(Answers(self.program(torch.cat([part, more]))).first(len(part)))
        return Answers.joined(answers).raw


def _batch(program: torch.fx.GraphModule) -> int | None:
    """The size that its one input was fixed to."""
    for node in program.graph.nodes:
        shape: Any = getattr(node.meta.get("val"), "shape", ()) if node.op == "placeholder" else ()
        if len(shape) > 1:
            return shape[0] if isinstance(shape[0], int) else None
    return None
