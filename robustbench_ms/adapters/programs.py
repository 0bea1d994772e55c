"""Programs that were made for a fixed number or size of samples: files of several kinds, and those at hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from robustbench_ms.errors import UserError

__all__ = ["Program", "in_batches", "refuse_shape"]


def in_batches(answer: Callable[[Tensor], list[Tensor]], images: Tensor, size: int | None) -> list[Tensor]:
    """What a program answers to images (n, ...), a tensor (n, ...) an output; `size` None takes any number at once.

    One that was made for `size` is asked for as many: the last ones are filled up with the last image, and the answers
    to those are cut off.
    """
    parts = []
    step = size or max(1, len(images))
    for start in range(0, len(images), step):
        some = images[start : start + step]
        lacking = 0 if size is None else size - len(some)
        filled = torch.cat([some, some[-1:].expand(lacking, *some.shape[1:])]) if lacking else some
        parts.append([one[: len(some)] for one in answer(filled)])
    return [torch.cat(one) for one in zip(*parts, strict=True)]


_KINDS = {
    2: "signals (channels, samples)",
    3: "images (channels, height, width)",
    4: "volumes (channels, depth, height, width)",
}


def refuse_shape(shown: Tensor, wanted: tuple[int | None, ...]) -> None:
    """UserError where a program is shown a sample of another shape, or kind of `_KINDS`, than it takes.

    None takes any.
    """
    given = tuple(shown.shape[1:])
    if len(given) != len(wanted):
        raise UserError(f"it takes {_KINDS[len(wanted)]}, and is shown {_KINDS[len(given)]} = {given}")
    if any(side not in {None, one} for side, one in zip(wanted, given, strict=True)):
        sides = _KINDS[len(wanted)].partition(" ")[2]
        grey = ' (a card with channels = "L" in its [input] shows it grey)' if wanted[0] == 1 else ""
        raise UserError(f"it takes {sides} = {wanted}, and its [input] shows {given}{grey}")


class Program(nn.Module):
    """The module of a program of torch.export, which has no train and no eval mode.

    Where it was exported for a number of samples it is asked in such batches, see `in_batches`. `exported` is the whole
    of it, by which what it makes on its own device is moved to another.
    """

    def __init__(self, program: torch.fx.GraphModule, exported: Any = None) -> None:
        super().__init__()
        for part in program.modules():
            part.training = False  # says nothing here, and would be taken for a part that is stuck
        self.program = program
        self.training = False
        self._exported, self._device = exported, torch.device("cpu")
        found = [node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"]
        # A dimension that may be anything is a symbol.
        self.inputs = [
            tuple(side if isinstance(side, int) else None for side in getattr(value, "shape", ()))
            for value in found
        ]
        """The shape of each of its inputs, None for sides of any length."""

    def train(self, mode: bool = True) -> Program:
        """Nothing."""
        del mode
        return self

    def forward(self, shown: Tensor) -> Any:
        """Its answers to samples (n, ...), those of a fixed batch joined."""
        self._move(shown.device)
        wanted = self.inputs[0] if self.inputs else ()
        if len(wanted) in {3, 4, 5} and shown.ndim in {3, 4, 5}:
            refuse_shape(shown, wanted[1:])
        if not wanted or wanted[0] in {None, len(shown)}:
            return self.program(shown)
        form: list[Any] = []

        def answered(images: Tensor) -> list[Tensor]:
            leaves, spec = pytree.tree_flatten(self.program(images))
            form[:] = [spec]
            return leaves

        return pytree.tree_unflatten(in_batches(answered, shown, wanted[0]), form[0])

    def _move(self, device: torch.device) -> None:
        if self._exported is None or device == self._device:
            return
        from torch.export.passes import move_to_device_pass

        self._exported = move_to_device_pass(self._exported, device)
        self.program, self._device = self._exported.module(), device
