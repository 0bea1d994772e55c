"""Random integer words from a counter: the same on every device, in any batch, order or process.

A key is two mixes of (seed, corruption, severity) and the sample's id; a corruption with several
independent draws (snow: the layer and its angle) gives each a stream number, which is mixed in once more.
"""

from __future__ import annotations

import hashlib
from functools import cache, lru_cache
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from .splitmix import GOLDEN, STREAM, mix, mix_array, shifted, signed

__all__ = ["CODES", "foreign_code", "foreign_keys", "keys", "normal_quantiles", "stream", "uniform", "words"]

Array = np.ndarray[Any, np.dtype[Any]]

CODES: Final[dict[str, int]] = {
    "gaussian_noise": 1, "shot_noise": 2, "impulse_noise": 3,
    "defocus_blur": 4, "glass_blur": 5, "motion_blur": 6, "zoom_blur": 7,
    "snow": 8, "frost": 9, "fog": 10, "brightness": 11,
    "contrast": 12, "elastic_transform": 13, "pixelate": 14, "jpeg_compression": 15,
    "speckle_noise": 16, "gaussian_blur": 17, "spatter": 18, "saturate": 19,
}  # fmt: skip
"""The number by which a corruption enters its keys. Never reused or changed: a new name takes the next."""


@lru_cache(maxsize=1024)
def _base(name: str, severity: int, seed: int) -> int:
    start = (seed + GOLDEN * (8 * CODES[name] + severity)) & (1 << 64) - 1
    return int(mix_array(np.array([start], np.uint64))[0])


def keys(name: str, severity: int, seed: int, ids: Tensor) -> Tensor:
    """One key a sample: int64 (N,) on the device of `ids`.

    `name` is one of table.NAMES, `severity` 1..5, `seed` any integer (taken modulo 2^64) and `ids` int64
    (N,). Equal ids give equal keys; the profile does not enter, nor does anything about the batch.
    """
    return _of_ids(_base(name, severity, seed), ids)


def _of_ids(base: int, ids: Tensor) -> Tensor:
    if ids.device.type == "cpu":
        numbers = ids.numpy().view(np.uint64)
        return torch.from_numpy(
            mix_array(mix_array(numbers + np.uint64(GOLDEN)) ^ np.uint64(base)).view(np.int64)
        )
    return mix(mix(ids + signed(GOLDEN)) ^ signed(base))


def foreign_code(distribution: str, name: str) -> int:
    """The number of a corruption of another package: the first 64 bits of SHA-256 of "distribution:name"."""
    return int.from_bytes(hashlib.sha256(f"{distribution}:{name}".encode()).digest()[:8])


def foreign_keys(code: int, severity: int, seed: int, ids: Tensor) -> Tensor:
    """`keys` of a corruption of another package, by its `foreign_code`; `severity` is any whole number of 0 or more."""
    return _of_ids(_foreign_base(code, severity, seed), ids)


@lru_cache(maxsize=1024)
def _foreign_base(code: int, severity: int, seed: int) -> int:
    start = (seed + GOLDEN * severity) & (1 << 64) - 1
    mixed = mix_array(np.array([start], np.uint64)) ^ np.uint64(code)  # of 64 bits each, none of them is lost
    return int(mix_array(mixed)[0])


def stream(keys: Tensor, number: int) -> Tensor:
    """The keys of another, independent draw of the same samples; number 0 is `keys` itself."""
    return mix(keys ^ signed(STREAM * number)) if number else keys


def words(keys: Tensor, count: int, bits: int = 16, start: int = 0) -> Tensor:
    """`count` words of 16, 32, 53 or 64 bits for each key: (N, count), on the device of `keys`.

    A 64-bit word of the generator is one of 53 (its high bits) or 64, two of 32 or four of 16, low bits
    first. 16 bits come as int32 in 0..65535; 32 as int64 in 0..2^32-1; 53 as int64 in 0..2^53-1; 64 as int64
    with every bit pattern. `start` skips that many words *of the generator*.
    """
    lanes = {16: 4, 32: 2, 53: 1, 64: 1}[bits]
    blocks = -(-count // lanes)
    counters = torch.arange(start + 1, start + blocks + 1, dtype=torch.int64, device=keys.device)
    whole = mix(keys[:, None] + counters * signed(GOLDEN))
    if bits == 64:
        return whole
    if bits == 53:
        return shifted(whole, 11)
    lanes16 = whole.view(torch.int16).to(torch.int32) & 0xFFFF
    if bits == 16:
        return lanes16[:, :count].contiguous()
    halves = lanes16.view(len(keys), 2 * blocks, 2).to(torch.int64)
    return (halves[..., 0] | halves[..., 1] << 16)[:, :count].contiguous()


def uniform(words: Tensor, bits: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Words of `bits` bits as float64 in [low, high), at the middle of their steps (53 bits: at the foot)."""
    unit = words.to(torch.float64)
    unit = (unit if bits == 53 else unit + 0.5) * 2.0**-bits
    return low + (high - low) * unit


@cache
def normal_quantiles() -> Array:
    """The standard normal's quantile (w + 1/2) / 65536 for each 16-bit word w: float64 (65536,), read-only.

    As a sampler: standard deviation 0.99999, fourth moment 2.9992, nothing beyond 4.33 sigma.
    """
    lower = torch.special.ndtri((torch.arange(32768, dtype=torch.float64) + 0.5) / 65536)
    table = torch.cat([lower, -lower.flip(0)]).numpy()
    table.setflags(write=False)
    return table
