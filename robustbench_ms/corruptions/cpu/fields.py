"""Random fields inside compiled loops: the words that `keyed.words` would give, made where they are used."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from .compile import compiled
from .words import word

__all__ = ["fill", "narrow"]


@compiled
def fill(key: Any, buffer: Any) -> Any:
    """The generator's first `buffer.size` words of a key (uint64), as uint64; seen as uint16, its 16-bit words."""
    for i in range(buffer.size):
        buffer[i] = word(key, np.uint64(i))


def narrow(words: Tensor) -> np.ndarray[Any, np.dtype[np.uint16]]:
    """16-bit words as `keyed.words` gives them (int32, on the CPU) as uint16 for a compiled loop."""
    return words.to(torch.int16).numpy().view(np.uint16)
