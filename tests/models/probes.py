"""What the tests of blocks and networks show them, and count of them."""

from __future__ import annotations

import torch

from robustbench_ms.models import HybridHAR, create_attention

C = 64
_FITTING = {"ema": {"factor": 8}, "sa": {"groups": 8}}  # to 64 channels
INPUTS = {1: (9, 128), 2: (3, 32, 30), 3: (2, 8, 9, 7)}


def maps(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def block_of(name, *, channels=C, seed=0, **arguments):
    torch.manual_seed(seed)
    return create_attention(name, channels, **{**_FITTING.get(name, {}), **arguments})


def count(model):
    return sum(p.numel() for p in model.parameters())


def har(dims=1, **arguments):
    torch.manual_seed(0)
    return HybridHAR(in_channels=INPUTS[dims][0], dims=dims, **{"filters": 8, **arguments})
