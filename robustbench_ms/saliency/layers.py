"""At which layer of a network a heat map is taken: one of that name, or its last feature map."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from robustbench_ms.errors import UnknownName, UserError, suggest

__all__ = ["last_map", "module_of", "named_layer"]

Forward = Callable[[Tensor], Any]


def module_of(model: Any) -> nn.Module:
    """What has layers; UserError for a callable that is no torch module, and for programs whose layers are closed."""
    if not isinstance(model, nn.Module) or isinstance(model, torch.jit.ScriptModule):
        kind = (
            "a program of TorchScript" if isinstance(model, torch.jit.ScriptModule) else type(model).__name__
        )
        raise UserError(f"it is {kind}, whose layers cannot be reached; a heat map needs a torch module")
    return model


def named_layer(module: nn.Module, name: str) -> nn.Module:
    """The layer of a name as `named_modules` has it; UnknownName with the nearest, or with the outermost ones."""
    with suppress(AttributeError):
        if name:  # not by named_modules, which walks all of it at each batch
            return module.get_submodule(name)
    every = [one for one, _ in module.named_modules() if one]
    near = suggest(name, every) or suggest(name, [one for one in every if "." not in one])
    raise UnknownName(f"its [output] layer: no layer named {name!r}{near}")


def last_map(module: nn.Module, forward: Forward, shown: Tensor) -> str:
    """The name of the layer that gives the last map (n, C, h, w) of more than one place, asked with `shown`.

    A map of the logits themselves, a channel a class, is not meant (SqueezeNet's last convolution); of a container and
    its last part, which give the same map, the container is. UserError where there is none.
    """
    found: list[tuple[str, Tensor]] = []

    def watching(name: str) -> Callable[..., None]:
        def look(part: nn.Module, given: Any, out: Any) -> None:
            del part, given
            if (
                isinstance(out, Tensor)
                and out.ndim == 4
                and out.is_floating_point()
                and out[0, 0].numel() > 1
            ):
                found.append((name, out))

        return look

    for part in module.modules():
        if getattr(part, "output_fmt", None) == "NHWC":  # timm's word
            raise UserError(
                "its maps have their channels last (timm's NHWC); a heat map needs (n, channels, h, w)"
            )
    with _hooked([(part, watching(name)) for name, part in module.named_modules() if name]), torch.no_grad():
        logits = forward(shown)
    classes = logits.shape[-1] if isinstance(logits, Tensor) else None
    inner = [(name, out) for name, out in found if out.shape[1] != classes] or found
    if not inner:
        raise UserError(
            "none of its layers gives a map (n, channels, h, w) of more than one place; name one: [output] layer"
        )
    last = inner[-1][1]
    same = [name for name, out in inner if out is last]
    return min(same, key=lambda name: (name.count("."), same.index(name)))


@contextmanager
def _hooked(hooks: list[tuple[nn.Module, Callable[..., None]]]) -> Iterator[None]:
    held = [part.register_forward_hook(hook) for part, hook in hooks]
    try:
        yield
    finally:
        for one in held:
            one.remove()
