"""Words of the counter generator on CUDA, as `keyed` defines them."""

from __future__ import annotations

import torch
import triton.language as tl
from torch import Tensor

from robustbench_ms.corruptions import keyed
from robustbench_ms.corruptions.splitmix import FIRST, GOLDEN, SECOND

from .launch import BLOCK, code, launch
from .tiles import programs, tile

__all__ = ["words"]


def words(keys: Tensor, count: int, bits: int = 16, start: int = 0) -> Tensor:
    """`keyed.words` on CUDA; words of 53 and 64 bits, of which there are few, are made as it defines them."""
    if bits not in {16, 32}:
        return keyed.words(keys, count, bits, start)
    out = keys.new_empty((len(keys), count), dtype=torch.int32 if bits == 16 else torch.int64)
    constants = {"GOLDEN": GOLDEN, "FIRST": FIRST, "SECOND": SECOND}
    many = programs(len(keys), count)
    launch(_words, many, keys.contiguous(), out, count, start, BITS=bits, BLOCK=BLOCK, **constants)
    return out


@code
def _words(
    keys: tl.tensor, out: tl.tensor, count: int, start: int,
    BITS: tl.constexpr, GOLDEN: tl.constexpr, FIRST: tl.constexpr, SECOND: tl.constexpr, BLOCK: tl.constexpr,
) -> None:  # fmt: skip
    n, at, inside = tile(count, BLOCK)
    lanes = 64 // BITS
    x = tl.load(keys + n).to(tl.uint64, bitcast=True)
    x = x + (at // lanes + (start + 1)).to(tl.uint64) * GOLDEN
    x = (x ^ (x >> 30)) * FIRST
    x = (x ^ (x >> 27)) * SECOND
    x = x ^ (x >> 31)
    word = (x >> (at % lanes * BITS).to(tl.uint64)) & ((1 << BITS) - 1)
    tl.store(out + n * count + at, word.to(out.dtype.element_ty), mask=inside)
