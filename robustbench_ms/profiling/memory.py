"""What a call holds at its worst beside what was there before."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from pathlib import Path

import torch

__all__ = ["peak_bytes"]

_STATUS, _MARKS = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_bytes(run: Callable[[], object], device: torch.device) -> int | None:
    """Bytes; None where the system does not tell.

    On CUDA what torch's allocator had given out at most. On a CPU the high-water mark of the process's resident memory
    (VmHWM), set back before the call, less what was resident then: pages that an earlier call left to the process are
    given back first, or they would be counted as nothing.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    try:
        ctypes.CDLL(None).malloc_trim(0)
        _MARKS.write_text("5")  # sets the high-water mark back
        before = _kilobytes("VmRSS")
        run()
        return 1024 * max(0, _kilobytes("VmHWM") - before)
    except (
        OSError,
        AttributeError,
        StopIteration,
    ):  # no Linux, no glibc, or a kernel that keeps no such mark
        return None


def _kilobytes(key: str) -> int:
    return next(int(line.split()[1]) for line in _STATUS.read_text().splitlines() if line.startswith(key))
