"""Checks of what a card may ask of a model; each answers with the argument, the value and what it may be."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from robustbench_ms.errors import UnknownName, UserError, suggest

__all__ = ["dividing", "few", "known_arguments", "natural", "odd", "positive", "rank", "reduced"]


def natural(name: str, value: object, least: int = 1) -> int:
    """`value` as an integer of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UserError(f"{name} must be an integer of at least {least}, not {value!r}")
    return value


def positive(name: str, value: object) -> float:
    """`value` as a float above zero."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise UserError(f"{name} must be a number above 0, not {value!r}")
    return float(value)


def odd(name: str, value: object) -> int:
    """`value` as an odd kernel size: an even one has no centre, so the map would shrink or shift."""
    size = natural(name, value)
    if size % 2 == 0:
        raise UserError(f"{name} must be odd, not {size}; {size - 1} and {size + 1} are near")
    return size


def dividing(name: str, value: object, channels: int) -> int:
    """`value` as a divisor of `channels`."""
    parts = natural(name, value)
    if channels % parts:
        divisors = ", ".join(str(d) for d in range(1, channels + 1) if channels % d == 0)
        raise UserError(f"{name}={parts} does not divide {channels} channels; {name} may be {divisors}")
    return parts


def reduced(name: str, value: object, channels: int, least: int = 1) -> int:
    """The hidden width channels // value, at least `least`; the reduction may not exceed the channels."""
    reduction = natural(name, value)
    if reduction > channels:
        raise UserError(f"{name}={reduction} is larger than the {channels} channels; at most {channels}")
    return max(channels // reduction, least)


def rank(what: str, x: Tensor, shape: str) -> None:
    """Refuse an input whose number of dimensions is not that of `shape`, such as "(B, C, H, W)"."""
    if x.ndim != shape.count(",") + 1:
        raise UserError(f"{what} takes an input of shape {shape}, not {tuple(x.shape)}")


def few(x: Tensor) -> bool:
    """Whether an input is so small that calls cost more than passes over it, and plain steps are the quickest.

    Compiled graphs have no such calls, and the meta device only counts.
    """
    return not torch.compiler.is_compiling() and x.device.type != "meta" and x.numel() <= 2**14


def known_arguments(
    build: Callable[..., Any], given: Mapping[str, Any], what: str, reserved: Collection[str] = ()
) -> None:
    """Refuse a keyword that `build` does not take; `reserved` are those that are not the caller's to give."""
    taken = [
        p.name
        for p in inspect.signature(build).parameters.values()
        if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD) and p.name not in reserved
    ]
    for name in given:
        if name not in taken:
            raise UnknownName(f"{what} takes no argument {name!r}{suggest(name, taken)}")
