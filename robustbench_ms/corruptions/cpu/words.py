"""The generator's words inside compiled code: those that `keyed.words` gives, made where they are used."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from robustbench_ms.corruptions.splitmix import FIRST, GOLDEN, SECOND

from .compile import compiled

__all__ = ["mix", "unsigned", "word"]


def unsigned(keys: torch.Tensor) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """int64 keys (N,) on the CPU as the uint64 array that compiled loops take."""
    return keys.contiguous().numpy().view(np.uint64)


_GOLDEN, _FIRST, _SECOND = np.uint64(GOLDEN), np.uint64(FIRST), np.uint64(SECOND)
_ONE, _27, _30, _31 = np.uint64(1), np.uint64(27), np.uint64(30), np.uint64(31)


@compiled
def mix(x: Any) -> Any:
    """The finaliser of `splitmix`, for one uint64."""
    x = (x ^ (x >> _30)) * _FIRST
    x = (x ^ (x >> _27)) * _SECOND
    return x ^ (x >> _31)


@compiled
def word(key: Any, index: Any) -> Any:
    """The generator's 64-bit word `index` (from 0) of a key, both uint64.

    Its four 16-bit lanes, low bits first, are words 4 * index ... of `keyed.words`.
    """
    return mix(key + (index + _ONE) * _GOLDEN)
