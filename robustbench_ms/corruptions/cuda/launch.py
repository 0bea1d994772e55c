"""Common ground of the fused CUDA kernels: whether they can run, and how one is made and launched.

A fused kernel takes the additions and products of its definition in the same order and precision, and none is
contracted (Triton would make one rounding of a product and a sum), so its bytes are the definition's. Sizes,
weights and taps are arguments: a kernel is compiled at its first use, not for every severity or size.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache, lru_cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

__all__ = ["BLOCK", "code", "launch", "numbers", "usable"]

BLOCK = 1024
"""Values of a plane that a program works on: eight a thread."""


@cache
def usable(device: torch.device, probe: Callable[[torch.device], object]) -> bool:
    """Whether fused kernels run on a device: on CUDA, where `probe`, which runs one there, does not fail.

    Triton comes with torch on Linux, but needs a compiler of C and a device that it knows: it is tried once.
    """
    if device.type != "cuda" or torch.version.hip is not None or find_spec("triton") is None:
        return False
    try:
        probe(device)
    except Exception as reason:  # noqa: BLE001 - whatever it is, the definitions do without
        what = f"{type(reason).__name__}: {reason}"
        warnings.warn(f"corruptions run unfused on {device}: Triton fails ({what})", stacklevel=2)
        return False
    return True


def code(function: Callable[..., Any]) -> Any:
    """Triton code, whose parameters are pointers, `int` (32 bits) and constants.

    It is compiled for any numbers; only of `width` and of pointers it matters whether 16 divides them, as then
    several values are loaded at a time.
    """
    from triton import jit

    numbers = [name for name, kind in function.__annotations__.items() if kind == "int" and name != "width"]
    return jit(function, do_not_specialize=numbers)


def launch(kernel: Any, programs: int, *arguments: Any, **constants: Any) -> None:
    """Run `programs` programs of a kernel on the device of its first argument, a tensor."""
    with torch.cuda.device_of(arguments[0]):  # type: ignore[no-untyped-call]
        kernel[(programs,)](*arguments, **constants, enable_fp_fusion=False)


@lru_cache(maxsize=64)
def numbers(device: torch.device, *values: float) -> Tensor:
    """Arguments in float64, to be loaded: Triton takes numbers as float32."""
    return torch.tensor(values, dtype=torch.float64, device=device)
