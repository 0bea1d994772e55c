"""The energy that a device used, where NVML tells (extra `gpu`: nvidia-ml-py)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

__all__ = ["joules_per_call"]

_SECONDS = 2.0
"""The counter moves a few ten times a second."""


def joules_per_call(run: Callable[[], object], device: torch.device) -> float | None:
    """Of the whole card, idle power included, over calls of two seconds; None on a CPU and where NVML does not tell."""
    counter = None if device.type != "cuda" else _counter(device)
    if counter is None:
        return None
    torch.cuda.synchronize(device)
    before, begin, calls = counter(), time.monotonic(), 0
    while time.monotonic() - begin < _SECONDS:
        run()
        torch.cuda.synchronize(device)
        calls += 1
    return (counter() - before) / 1000 / calls


def _counter(device: torch.device) -> Callable[[], int] | None:
    """Millijoules since the driver was loaded (Volta and newer)."""
    try:
        import pynvml as nvml
    except ImportError:
        return None
    try:
        nvml.nvmlInit()
        # By its UUID: CUDA_VISIBLE_DEVICES renumbers torch's devices and not NVML's.
        uuid = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
        handle: Any = nvml.nvmlDeviceGetHandleByUUID(uuid)
        nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except nvml.NVMLError:
        return None
    return lambda: int(nvml.nvmlDeviceGetTotalEnergyConsumption(handle))
