"""The devices that benchmarks run on: the CPU, and CUDA where there is one."""

from __future__ import annotations

import pytest
import torch

__all__ = ["DEVICES"]

DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")],
    ),
]
