"""A layer's activations, and the gradients of logits by them: one forward, and no more backward than is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from robustbench_ms.errors import UserError
from robustbench_ms.saliency.layers import named_layer

__all__ = ["Taken", "take"]


@dataclass(frozen=True)
class Taken:
    """Of n samples what was answered, and of m pairs of sample and class what it hangs on."""

    logits: Tensor
    """(n, classes)."""
    owner: Tensor
    """(m,): the sample of each pair, ascending."""
    activations: Tensor
    """(m, C, h, w), float32, of the layer."""
    gradients: Tensor
    """(m, C, h, w), float32, of the pair's logit by them."""


def take(
    forward: Callable[[Tensor], Tensor],
    module: nn.Module,
    layer: str,
    shown: Tensor,
    classes: Sequence[Sequence[int]],
) -> Taken:
    """Ask `forward` of a module for logits (n, classes), and take gradients at a layer of it for each sample's classes.

    Backward goes as far as the layer, once for each class of the sample with the most, from the sum of all samples'
    logits: they must not hang on each other (in eval mode none does). A layer that is called several times counts as it
    was last. UserError where the layer is not there, is no map, or no gradient reaches it.
    """
    held: list[Tensor] = []

    def cut(part: nn.Module, given: Any, out: Any) -> Tensor:
        """Put a leaf in the place of the layer's output, so that no graph is built below it."""
        del part, given
        # What the model does around it, inference_mode too, is its own; the leaf is an ordinary tensor.
        with torch.inference_mode(mode=False), torch.enable_grad():
            leaf = _map_of(out, layer).detach().clone().requires_grad_()
            held[:] = [leaf]
            return leaf.clone()  # which a ReLU in place may write on

    hook = named_layer(module, layer).register_forward_hook(cut)
    try:
        with _frozen(module), torch.inference_mode(mode=False), torch.enable_grad():
            logits = forward(shown)
    finally:
        hook.remove()
    if not held:
        raise UserError(f"its layer {layer!r} is not called when it is asked")
    if not logits.requires_grad:
        raise UserError(
            f"its logits have no gradient by its layer {layer!r}, which a heat map needs: its forward detaches them "
            "(no_grad, inference_mode, detach()), or they do not hang on that layer"
        )
    (leaf,) = held
    if len(leaf) != len(shown):
        raise UserError(f"its layer {layer!r} gives {len(leaf)} maps of {len(shown)} samples")
    if all(len(some) == 1 for some in classes):  # without the copies of the general case
        owner = torch.arange(len(leaf), device=leaf.device)
        (gradient,) = torch.autograd.grad(logits[owner, [one for (one,) in classes]].sum(), leaf)
        return Taken(logits.detach(), owner, leaf.detach().float(), gradient.float())
    rounds = max(map(len, classes), default=0)
    owners, gradients = [], []
    for turn in range(rounds):
        rows = [i for i, some in enumerate(classes) if len(some) > turn]
        wanted = logits[rows, [classes[i][turn] for i in rows]].sum()
        (gradient,) = torch.autograd.grad(wanted, leaf, retain_graph=turn + 1 < rounds)
        owners.append(torch.tensor(rows, device=leaf.device))
        gradients.append(gradient[rows])
    if not rounds:
        nothing = leaf.detach()[:0].float()
        return Taken(logits.detach(), torch.zeros(0, dtype=torch.int64, device=leaf.device), nothing, nothing)
    owner = torch.cat(owners)
    order = owner.argsort(stable=True)
    owner = owner[order]
    return Taken(logits.detach(), owner, leaf.detach()[owner].float(), torch.cat(gradients)[order].float())


def _map_of(out: Any, layer: str) -> Tensor:
    if not isinstance(out, Tensor):
        raise UserError(f"its layer {layer!r} answers with {type(out).__name__}, which is no map")
    if out.ndim != 4 or not out.is_floating_point() or out[0, 0].numel() < 2:
        raise UserError(
            f"its layer {layer!r} gives {tuple(out.shape)}, which is no map (n, channels, h, w) of more than one place"
        )
    return out


_PARAMETERS: WeakKeyDictionary[nn.Module, list[nn.Parameter]] = WeakKeyDictionary()
"""Those that ask for gradients, of each module that was asked: to look for them anew takes longer than backward."""


@contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    """Its parameters ask for no gradients in the block."""
    asking = _PARAMETERS.get(module)
    if asking is None:
        asking = _PARAMETERS[module] = [p for p in module.parameters() if p.requires_grad]
    for parameter in asking:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in asking:
            parameter.requires_grad_(True)
