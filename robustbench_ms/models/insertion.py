"""Attention into networks that were written without it, or with another one.

Where a block goes is part of what was measured, so every position has a name:

    slot       the network's own places for attention, whether empty or taken: timm's `se` and `attn`
               arguments, `attention` in the blocks of our CIFAR ResNets
    residual   after the last norm of each residual branch, before the addition
    stage      after each stage
    between    after each stage but the last
    a name     after the module of that name; "layer4.*.bn3" stands for all that fit, segment by segment
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from robustbench_ms.errors import UserError, suggest
from robustbench_ms.models.attention import attention_layer
from robustbench_ms.models.tracing import input_size_of, last_norms, meta_copy, output_shapes, run

__all__ = [
    "POSITIONS",
    "Followed",
    "attention_blocks",
    "check_wish",
    "insert",
    "own_attention",
    "stages",
    "usual_position",
]

_SLOTS = ("se", "attn")  # unless a class names its own as `attention_slots`
POSITIONS = ("slot", "residual", "stage", "between")

# Layers that stand in a slot of timm's and torchvision's networks.
_TAKEN = frozenset(
    {
        "CbamModule",
        "CecaModule",
        "CoordAttn",
        "EcaModule",
        "EffectiveSEModule",
        "EfficientLocalAttn",
        "GatherExcite",
        "GlobalContext",
        "LightCbamModule",
        "SEModule",
        "SimpleCoordAttn",
        "SqueezeExcitation",
        "SqueezeExcite",
        "SqueezeExciteCl",
        "StripAttn",
    }
)


class Followed(nn.Module):
    """A module and the block that follows it, for containers whose forward pass visits all that they hold."""

    def __init__(self, body: nn.Module, attention: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.attention = attention

    def forward(self, *inputs: Any) -> Any:
        return self.attention(self.body(*inputs))


def insert(
    model: nn.Module,
    attention: str,
    position: str | Sequence[str] | None = None,
    *,
    input_size: Sequence[int] | None = None,
    **attention_args: Any,
) -> nn.Module:
    """Put a block of `attention` at every place that `position` means; the model is changed and returned.

    `position` is one of POSITIONS, a name, or a list of names; None means "slot", or "between" for BAM,
    whose paper puts it there. `input_size` (C, H, W) is what the network takes, where neither its
    pretrained_cfg nor its first convolution says; one pass on the meta device reads the channels of each
    place. `attention_args` go to the block (`create_attention`).

    The network's own parameters keep their names, except under a container whose pass visits all that it
    holds (RegNet's stages, DenseNet's blocks), whose names gain "body.". UserError where no place is found,
    where a place carries no maps, or where the block does not fit the channels of one.
    """
    layer = attention_layer(attention, **attention_args)
    assert layer is not None
    size = input_size_of(model, input_size)
    if position is None:
        position = usual_position(attention)
    if position == "slot":
        return _fill_slots(model, layer, size)
    names = _places(model, position, size)
    probe = meta_copy(model)
    shapes = output_shapes(probe, names, size)
    wrapped: dict[type, bool] = {}
    for name in names:
        shape = shapes.get(name, ())
        if len(shape) != 4:
            told = f"an output of shape {shape}" if shape else "no output of its own"
            raise UserError(f"position: {name!r} has {told}; a block follows maps of shape (B, C, H, W)")
        block, kind = _made(layer, shape[1], name, model), type(model.get_submodule(name))
        if kind not in wrapped:
            wrapped[kind] = _visits_its_children(probe, name, size)
        _follow(model, name, block, wrap=wrapped[kind])
    return model


def check_wish(
    attention: str | None, position: str | Sequence[str] | None, arguments: Mapping[str, Any]
) -> None:
    """Refuse what is wrong whatever the network, before one is built: a misspelt word, a place for nothing."""
    attention_layer(attention, **arguments)
    if attention is None and position is not None:
        raise UserError("position: given without an attention to put there")


def usual_position(attention: str) -> str:
    """Where a block goes when nobody says: BAM between the stages, as in its paper, all others into slots."""
    return "between" if attention == "bam" else "slot"


def attention_blocks(model: nn.Module) -> dict[str, nn.Module]:
    """The outermost attention blocks of a network by name, whoever put them there."""
    found: dict[str, nn.Module] = {}
    for name, part in model.named_modules():
        if (_is_librarys(part) or _is_ours(part)) and not any(name.startswith(f"{o}.") for o in found):
            found[name] = part
    return found


def own_attention(blocks: Mapping[str, nn.Module]) -> int:
    """How many of the `attention_blocks` the network came with, beside those put into it; 0 without both kinds."""
    own = sum(not _is_ours(block) for block in blocks.values())
    return own if own < len(blocks) else 0


def _is_ours(part: nn.Module) -> bool:
    return bool(getattr(part, "is_attention", False))


def _is_librarys(part: nn.Module) -> bool:
    return type(part).__name__ in _TAKEN and type(part).__module__.startswith(("timm.", "torchvision."))


def _made(layer: Callable[..., nn.Module], channels: int, name: str, model: nn.Module) -> nn.Module:
    like = next(model.parameters(), torch.empty(0))
    try:
        return layer(channels, device=like.device, dtype=like.dtype).train(model.training)
    except UserError as error:
        raise type(error)(f"position {name!r}: {error}") from error


def _attend(module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
    block: Any = module.attention
    attended: Tensor = block(output)
    return attended


def _visits_its_children(probe: nn.Module, name: str, size: Sequence[int]) -> bool:
    """Whether a module's forward pass calls, or trips over, whatever it holds."""
    module = probe.get_submodule(name)
    if hasattr(module, "attention"):
        return True
    called: list[bool] = []
    guest = nn.Identity()
    guest.register_forward_pre_hook(lambda *_: called.append(True))
    module.add_module("attention", guest)
    try:
        run(probe, size)
    except UserError:
        return True
    finally:
        del module.attention
    return bool(called)


def _follow(model: nn.Module, name: str, block: nn.Module, *, wrap: bool) -> None:
    """Let `block` follow the module `name`, renaming as little as possible."""
    module = model.get_submodule(name)
    if type(module) is nn.Sequential:
        module.add_module("attention", block)
    elif wrap:
        _replace(model, name, Followed(module, block))
    else:
        module.add_module("attention", block)
        module.register_forward_hook(_attend)


def _slots(model: nn.Module) -> list[str]:
    found = []
    for name, part in model.named_modules():
        prefix = f"{name}." if name else ""
        slots = getattr(part, "attention_slots", _SLOTS)
        # timm keeps an empty slot as None or as an identity.
        found += [f"{prefix}{slot}" for slot in slots if getattr(part, slot, part) is None]
        for child_name, child in part.named_children():
            ours = _is_ours(child)
            if child_name in slots:
                free = ours or isinstance(child, nn.Identity) or _is_librarys(child)
            else:  # what was put elsewhere on purpose stays there
                free = _is_librarys(child) and not ours
            if free:
                found.append(f"{prefix}{child_name}")
    return found


def _fill_slots(model: nn.Module, layer: Callable[..., nn.Module], size: Sequence[int]) -> nn.Module:
    slots = _slots(model)
    if not slots:
        raise UserError(
            f"{type(model).__name__} has no slots for attention; "
            f"position must be {', '.join(map(repr, POSITIONS[1:]))} or the name of a module"
        )
    probe = meta_copy(model)
    for name in slots:
        _replace(probe, name, nn.Identity())
    shapes = output_shapes(probe, slots, size)
    for name in slots:
        if len(shapes.get(name, ())) == 4:
            _replace(model, name, _made(layer, shapes[name][1], name, model))
    return model


def _replace(model: nn.Module, name: str, block: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, block)


def _places(model: nn.Module, position: str | Sequence[str], size: Sequence[int]) -> list[str]:
    if position == "residual":
        found = last_norms(meta_copy(model), size)
        if not found:
            slot = "'slot', " if _slots(model) else ""
            raise UserError(
                f"position 'residual': no norm of {type(model).__name__} is followed by a residual addition; "
                f"position may be {slot}'stage' or the name of a module"
            )
        return found
    if isinstance(position, str) and position in {"stage", "between"}:
        found = stages(model)
        return found[:-1] if position == "between" else found
    if (
        not isinstance(position, str | list | tuple)
        or not position
        or not all(isinstance(p, str) for p in position)
    ):
        raise UserError(f"position must be a name or a list of names, not {position!r}")
    patterns = (position,) if isinstance(position, str) else tuple(position)
    return list(dict.fromkeys(name for p in patterns for name in _matching(model, p)))


def stages(model: nn.Module) -> list[str]:
    """The stages by timm's own list, without the stem, or the top-level sequences of several convolutions."""
    known = getattr(model, "feature_info", None)
    if known is not None and not isinstance(known, list | tuple):
        known = known.info
    names: Iterable[str]
    if known:
        names = (info["module"] for info in known)
    else:
        sequences = ((n, p) for n, p in model.named_children() if isinstance(p, nn.Sequential))
        names = (name for name, part in sequences if _convolutions(part) > 1)
    modules = dict(model.named_modules())
    found = [name for name in names if name in modules]
    while found and ("stem" in found[0] or _convolutions(modules[found[0]]) < 2):
        del found[0]
    if len(found) < 2:
        raise UserError(
            f"position: the stages of {type(model).__name__} are not known; name the modules instead, "
            "such as position = ['features.4', 'features.9']"
        )
    return found


def _convolutions(module: nn.Module) -> int:
    return sum(isinstance(part, nn.Conv2d) for part in module.modules())


def _matching(model: nn.Module, pattern: str) -> list[str]:
    wanted = pattern.split(".")
    names = [name for name, _ in model.named_modules() if name]
    found = [
        name
        for name in names
        if name.count(".") == len(wanted) - 1
        and all(fnmatchcase(n, w) for n, w in zip(name.split("."), wanted, strict=True))
    ]
    if not found:
        raise UserError(
            f"position: no module of {type(model).__name__} is named {pattern!r}"
            f"{suggest(pattern, [*names, *POSITIONS]) if len(names) < 50 else _nearest(pattern, names)}"
        )
    return found


def _nearest(pattern: str, names: list[str]) -> str:
    told = suggest(pattern, [*names, *POSITIONS])
    return told if "did you mean" in told else f"; {names[0]!r} to {names[-1]!r} are there"
