"""What a network costs before it is ever run: parameters, multiply-adds, activations, and its attention's share.

Counted on torch's meta device, so a ResNet-101 takes a second and no memory. Times and memory are
`profiling`'s business: they belong to a device.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry
from torch.utils.module_tracker import ModuleTracker

from robustbench_ms.models.insertion import attention_blocks, own_attention
from robustbench_ms.models.tracing import input_size_of, meta_copy, run

__all__ = ["costs", "parameters"]

_CONV_LINEAR = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
    nn.Linear,
)


def parameters(model: nn.Module) -> dict[str, int]:
    """All parameters, and those of convolutions and linear layers alone: published tables mix the two."""
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "conv_linear_parameters": _distinct(m for m in model.modules() if isinstance(m, _CONV_LINEAR)),
    }


def costs(model: nn.Module, input_size: Sequence[int] | None = None) -> dict[str, Any]:
    """The costs of one sample of size `input_size`, (C, H, W) or (C, T), in eval mode; the model is left as it is.

    - parameters, conv_linear_parameters: numbers of weights, trained or not;
    - macs: multiply-adds of every convolution and matrix product as the equations of each block read;
    - macs_run: the same as our code runs them, less where EMA merges its 3x3 convolution and DMSCA its maps;
    - activations: values that convolutions, linear layers and matrix products put out, as the equations read;
    - attention: the same of its attention blocks, with `blocks`, their number, and, where it kept blocks of
      its own beside those put into it, `own`, how many of them.

    Torch's FLOP counter is the counter; two FLOPs are one multiply-add. UserError where the network cannot
    take such an input.
    """
    size = input_size_of(model, input_size)
    probe = meta_copy(model)
    blocks = attention_blocks(probe)
    names = [f"{type(probe).__name__}.{name}" if name else type(probe).__name__ for name in blocks]
    macs_run, _ = _count(probe, size)
    for part in probe.modules():
        if getattr(part, "folded", False):
            part.folded = False  # type: ignore[assignment]
    macs, activations = _count(probe, size)
    own = own_attention(blocks)
    share: dict[str, int] = defaultdict(int)
    for block in blocks.values():
        for key, value in parameters(block).items():
            share[key] += value
    return {
        "input": list(size),
        **parameters(model),
        "macs": macs["Global"],
        "macs_run": macs_run["Global"],
        "activations": activations["Global"],
        "attention": {
            "blocks": len(blocks),
            **({"own": own} if own else {}),
            "parameters": share["parameters"],
            "conv_linear_parameters": share["conv_linear_parameters"],
            "macs": sum(macs[name] for name in names),
            "macs_run": sum(macs_run[name] for name in names),
            "activations": sum(activations[name] for name in names),
        },
    }


def _distinct(modules: Iterable[nn.Module]) -> int:
    found = {id(p): p.numel() for m in modules for p in m.parameters(recurse=False)}
    return sum(found.values())


class _Activations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sizes of what the counted operations put out, for each module that is running."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts: dict[str, int] = defaultdict(int)
        self.tracker = ModuleTracker()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        if func.overloadpacket in flop_registry:
            first = output[0] if isinstance(output, tuple) else output
            if isinstance(first, Tensor):
                for name in self.tracker.parents:
                    self.counts[name] += first.numel()
        return output


def _count(probe: nn.Module, size: Sequence[int]) -> tuple[dict[str, int], dict[str, int]]:
    counter, activations = FlopCounterMode(display=False), _Activations()
    with counter, activations, activations.tracker, torch.no_grad():
        run(probe, size)
    macs: dict[str, int] = defaultdict(int)
    for name, operations in counter.get_flop_counts().items():
        macs[name] = sum(operations.values()) // 2
    return macs, activations.counts
