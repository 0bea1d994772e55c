"""What the tests of networks show them, and count of them."""

from __future__ import annotations

import torch

from robustbench_ms.models import HybridHAR

INPUTS = {1: (9, 128), 2: (3, 32, 30), 3: (2, 8, 9, 7)}


def maps(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def count(model):
    return sum(p.numel() for p in model.parameters())


def har(dims=1, **arguments):
    torch.manual_seed(0)
    return HybridHAR(in_channels=INPUTS[dims][0], dims=dims, **{"filters": 8, **arguments})
