"""SplitMix64's constants and its mixing, which every maker of random words stands on.

The generator is Steele, Lea & Flood's (OOPSLA 2014), used as a function of a counter: word i of a key is
mix(key + (i + 1) GOLDEN). It is integer arithmetic only (int64 that wraps around, shifts whose sign bits are
masked off), so that torch on any device, compiled code and CUDA kernels give the same words.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from torch import Tensor

__all__ = ["FIRST", "GOLDEN", "SECOND", "STREAM", "mix", "mix_array", "shifted", "signed"]

Array = np.ndarray[Any, np.dtype[Any]]

GOLDEN: Final = 0x9E3779B97F4A7C15
FIRST: Final = 0xBF58476D1CE4E5B9
SECOND: Final = 0x94D049BB133111EB
STREAM: Final = 0xD1342543DE82EF95
"""An odd multiplier that keeps the streams of one key apart before they are mixed."""


def signed(value: int) -> int:
    """The int64 with the same 64 bits."""
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


def shifted(x: Tensor, bits: int) -> Tensor:
    """A logical shift to the right of int64."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def mix(x: Tensor) -> Tensor:
    """The finaliser of SplitMix64, of int64: a bijection of 64 bits."""
    x = (x ^ shifted(x, 30)) * signed(FIRST)
    x = (x ^ shifted(x, 27)) * signed(SECOND)
    return x ^ shifted(x, 31)


def mix_array(x: Array) -> Array:
    """`mix` of uint64: on the CPU a tenth of the time, which counts for small batches."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(FIRST)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(SECOND)
    x ^= x >> np.uint64(31)
    return x
