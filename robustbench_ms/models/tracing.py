"""What happens inside a network's forward pass, learned without computing it.

A copy of the network on torch's meta device has shapes but no numbers, so one pass over it costs
milliseconds and no memory, whatever the size.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from robustbench_ms.errors import UserError

__all__ = ["input_size_of", "last_norms", "meta_copy", "output_shapes", "run"]


def meta_copy(model: nn.Module) -> nn.Module:
    """The same network in eval mode on the meta device; the weights are not copied."""
    memo: dict[int, Any] = {}
    for tensor in (*model.parameters(), *model.buffers()):
        blank = torch.empty_like(tensor, device="meta")
        memo[id(tensor)] = nn.Parameter(blank, tensor.requires_grad) if _is_parameter(tensor) else blank
    return copy.deepcopy(model, memo).eval()


def _is_parameter(tensor: Tensor) -> bool:
    return isinstance(tensor, nn.Parameter)


def input_size_of(model: nn.Module, input_size: Sequence[int] | None = None) -> tuple[int, ...]:
    """(C, H, W) of one input: as given, as timm's pretrained_cfg says, or 224 x 224 of the first convolution."""
    if input_size is not None:
        sizes = tuple(input_size)
        if len(sizes) < 2 or any(not isinstance(n, int) for n in sizes):
            raise UserError(f"input_size must be a list such as [3, 32, 32], not {input_size!r}")
        return sizes
    for part in model.modules():
        if isinstance(part, nn.Conv2d):
            known = getattr(model, "pretrained_cfg", {}).get("input_size", (0, 224, 224))
            return (part.in_channels, *known[1:])
    raise UserError("input_size must be given: the network has no 2-D convolution to read it from")


def run(model: nn.Module, input_size: Sequence[int]) -> None:
    """One pass of a batch of one, without gradients, on the model's own device; UserError where it fails."""
    device = next((t.device for t in (*model.parameters(), *model.buffers())), torch.device("meta"))
    dtype = next((p.dtype for p in model.parameters()), torch.float32)
    try:
        with torch.no_grad():
            model(torch.empty((1, *input_size), device=device, dtype=dtype))
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"{type(model).__name__} cannot take an input of size {tuple(input_size)}: "
            f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
        ) from error


def output_shapes(
    model: nn.Module, names: Iterable[str], input_size: Sequence[int]
) -> dict[str, tuple[int, ...]]:
    """The shape that each named sub-module of a meta copy answers with; those that are not called are left out."""
    shapes: dict[str, tuple[int, ...]] = {}
    hooks = []
    for name in names:

        def keep(_module: nn.Module, _inputs: Any, output: Any, name: str = name) -> None:
            if isinstance(output, Tensor):
                shapes[name] = tuple(output.shape)

        hooks.append(model.get_submodule(name).register_forward_hook(keep))
    run(model, input_size)
    for hook in hooks:
        hook.remove()
    return shapes


class _Additions(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes which norm's answer goes as it is into an addition, and how long the path to it was."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: dict[int, str] = {}
        self.found: dict[str, None] = {}  # a set that keeps its order
        self._depth: dict[int, int] = {}
        self._alive: list[Any] = []  # an id is only good while its tensor lives

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        tensors = [a for a in args if isinstance(a, Tensor)]
        added = func.overloadpacket in {torch.ops.aten.add, torch.ops.aten.add_} and len(tensors) == 2
        if added and tensors[0].shape == tensors[1].shape and tensors[0].ndim == 4:
            self._note(tensors)
        depth = 1 + max((self._depth.get(id(t), 0) for t in tensors), default=0)
        output = func(*args, **(kwargs or {}))
        for tensor in output if isinstance(output, tuple | list) else (output,):
            if isinstance(tensor, Tensor):
                self._alive.append(tensor)
                self._depth[id(tensor)] = depth
                self.names.pop(id(tensor), None)  # an operation in place made something else of it
        return output

    def _note(self, tensors: list[Tensor]) -> None:
        # Where the shortcut ends in a norm too, the branch is the longer of the two.
        candidates = [t for t in tensors if id(t) in self.names]
        if candidates:
            branch = max(tensors, key=lambda t: self._depth.get(id(t), 0))
            if any(branch is c for c in candidates):
                self.found.setdefault(self.names[id(branch)])


def last_norms(model: nn.Module, input_size: Sequence[int]) -> list[str]:
    """The norms of a meta copy whose answer is what a residual branch adds, in the order of the pass."""
    additions = _Additions()
    hooks = []
    for name, part in model.named_modules():
        if "norm" in type(part).__name__.lower():

            def tag(_module: nn.Module, _inputs: Any, output: Any, name: str = name) -> None:
                if isinstance(output, Tensor):
                    additions.names[id(output)] = name

            hooks.append(part.register_forward_hook(tag))
    with additions:
        run(model, input_size)
    for hook in hooks:
        hook.remove()
    return list(additions.found)
