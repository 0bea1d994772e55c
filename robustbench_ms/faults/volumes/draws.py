"""Keyed randomness of artefacts: of seed, artefact and volume alone.

So levels are nested, and no batch changes a bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustbench_ms.corruptions.keyed import foreign_keys, normal_quantiles, stream, uniform, words
from robustbench_ms.faults.volumes.elementary import direction
from robustbench_ms.faults.volumes.table import CODES

__all__ = ["Draws", "draws_of"]

_APART = 0x564F_4C00_0000_0000
"""So that no artefact shares a key with a corruption or a sensor's fault."""


def draws_of(name: str, seed: int, ids: Tensor) -> list[Draws]:
    """What is drawn for each volume; the level is no part of it. `ids` int64 (n,) on the CPU."""
    keys = foreign_keys(_APART + CODES[name], 0, seed, ids)
    return [Draws(keys[i : i + 1]) for i in range(len(keys))]


@dataclass(frozen=True)
class Draws:
    """Of one volume: each number of a stream is drawn by its place in it."""

    key: Tensor
    """int64 (1,) on the CPU."""

    def uniform(self, count: int, number: int = 0) -> NDArray[np.float64]:
        """In [0, 1), (count,)."""
        found: NDArray[np.float64] = uniform(words(stream(self.key, number), count, 53), 53)[0].numpy()
        return found

    def signed(self, count: int, number: int = 0) -> NDArray[np.float64]:
        """In [-1, 1), (count,)."""
        return 2.0 * self.uniform(count, number) - 1.0

    def axis(self, number: int = 0) -> int:
        """0, 1 or 2."""
        return int(self.uniform(1, number)[0] * 3)

    def direction(self, number: int = 0) -> NDArray[np.float64]:
        """A uniform unit vector (3,)."""
        first, second = self.uniform(2, number).tolist()
        return direction(first, second)

    def normal(self, shape: tuple[int, ...], device: torch.device, number: int = 0) -> Tensor:
        """float32 of mean 0 and standard deviation 1: the quantiles of 16-bit words."""
        count = int(np.prod(shape))
        drawn = words(stream(self.key, number).to(device), count, 16)[0]
        return _quantiles(str(device)).index_select(0, drawn).view(shape)


@cache
def _quantiles(device: str) -> Tensor:
    return torch.from_numpy(normal_quantiles().astype(np.float32)).to(device)
