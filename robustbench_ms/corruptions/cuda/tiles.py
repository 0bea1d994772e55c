"""Where a program of a fused CUDA kernel works: on `BLOCK` values of one plane or image, its rows end to end.

Positions inside a plane are 32-bit numbers, where a plane begins is a 64-bit one.
"""

from __future__ import annotations

import triton.language as tl

from .launch import BLOCK, code

__all__ = ["programs", "tile"]


def programs(planes: int, size: int) -> int:
    """How many programs work on so many planes of `size` values."""
    return planes * -(-size // BLOCK)


@code
def tile(size: int, BLOCK: tl.constexpr) -> tuple[tl.tensor, tl.tensor, tl.tensor]:
    """Which plane or image this program works on, in 64 bits; which of its values; and whether those exist."""
    program = tl.program_id(0)
    tiles = tl.cdiv(size, BLOCK)
    at = program % tiles * BLOCK + tl.arange(0, BLOCK)
    return (program // tiles).to(tl.int64), at, at < size
