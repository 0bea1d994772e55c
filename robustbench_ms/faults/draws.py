"""Keyed randomness of faults: of seed, fault and sample alone, so that levels are nested and no batch changes a bit."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from robustbench_ms.corruptions.keyed import foreign_keys, normal_quantiles, stream, uniform, words
from robustbench_ms.faults.table import CODES

__all__ = ["exponential", "keys_of", "normals", "order", "places_of", "signs", "uniforms"]

_APART = 0x5E45_0000_0000_0000
"""So that no fault shares a key with a corruption."""
AXES, SIGNS, TIMES, VALUES, SENSOR = range(5)
"""The streams of a key."""


def keys_of(name: str, seed: int, ids: Tensor) -> Tensor:
    """One key a sample, int64 (n,); the level is no part of it."""
    return foreign_keys(_APART + CODES[name], 0, seed, ids)


def order(keys: Tensor, count: int, number: int = AXES) -> Tensor:
    """The rank (n, count) that each of `count` things has in a keyed order, 0 first."""
    return words(stream(keys, number), count, 64).argsort(dim=1, stable=True).argsort(dim=1, stable=True)


def places_of(keys: Tensor, count: int, first: int) -> Tensor:
    """The `first` first of `count` places in a keyed order, int64 (n, first)."""
    return words(stream(keys, TIMES), count, 64).topk(first, dim=1, largest=False, sorted=True).indices


def signs(keys: Tensor, count: int) -> Tensor:
    """1.0 or -1.0, float64 (n, count)."""
    return 1.0 - 2.0 * (words(stream(keys, SIGNS), count, 16) & 1).double()


def uniforms(keys: Tensor, count: int, number: int = TIMES) -> Tensor:
    """In [0, 1), float64 (n, count)."""
    return uniform(words(stream(keys, number), count, 53), 53)


def normals(keys: Tensor, count: int, number: int = VALUES) -> Tensor:
    """Of mean 0 and standard deviation 1, float64 (n, count): the quantiles of 16-bit words."""
    table = _quantiles(str(keys.device))
    return table[words(stream(keys, number), count, 16).long()]


@cache
def _quantiles(device: str) -> Tensor:
    return torch.tensor(normal_quantiles()).to(device)


_LOG2E, _LN2_HIGH, _LN2_LOW = 1.4426950408889634, 0.693147180369123816490, 1.90821492927058770002e-10
_TERMS = 13


def exponential(x: Tensor) -> Tensor:
    """e^x of float64 within -700..700: by a polynomial of fixed order, so that all devices give the same bits.

    x = k ln 2 + r, in two parts (Cody and Waite), and the series of e^r in Horner's form; within 1e-15 of e^x.
    """
    k = (x * _LOG2E).round()
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW
    total = torch.ones_like(r)
    for term in range(_TERMS, 0, -1):
        total = total * r / term + 1.0
    return torch.ldexp(total, k)
