"""Devices: found by name, out of memory, lost; and the memory that a process on a CPU keeps."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch

from robustbench_ms.errors import DeviceLost, UserError

__all__ = ["device_lost", "find_device", "is_lost", "keep_freed_memory", "lost_devices", "out_of_memory"]

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of glibc's malloc.h


def find_device(wanted: str | None) -> torch.device:
    """The device of that name; None takes CUDA where there is one. UserError where it is not there."""
    if wanted is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise UserError(f"no device named {wanted!r}; give cpu, cuda or cuda:1") from None
    if device.type not in {"cpu", "cuda"}:
        raise UserError(f"no device named {wanted!r}; give cpu, cuda or cuda:1")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"device {wanted!r} is not there: torch sees {torch.cuda.device_count()} CUDA devices"
        )
    return device


def out_of_memory(error: BaseException | None) -> bool:
    """Whether fewer samples at once may help."""
    told = str(error).lower()
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and ("out of memory" in told or "can't allocate memory" in told)
    )


@contextmanager
def lost_devices() -> Iterator[None]:
    """Raise DeviceLost for a CUDA error that leaves the process without its device; memory alone does not.

    Kernels run behind the program's back, so such an error surfaces wherever their results are next asked for.
    """
    try:
        yield
    except DeviceLost:
        raise
    except Exception as error:
        if is_lost(error):
            raise device_lost(error) from error
        raise


def is_lost(error: Exception) -> bool:
    """Whether a CUDA error leaves the process without its device."""
    return not out_of_memory(error) and (
        isinstance(error, torch.AcceleratorError) or "CUDA error" in str(error)
    )


def device_lost(error: Exception) -> DeviceLost:
    """What is said of it."""
    return DeviceLost(
        f"the device failed ({str(error).splitlines()[0]}); what was finished is kept: start the same run again, and "
        "it goes on"
    )


def keep_freed_memory() -> None:
    """Have the process keep up to 1 GB that it freed, where its C library is glibc.

    By itself glibc gives the end of the heap back from 64 MB on or less, and pieces above 32 MB at once; each page of
    it that is asked for again is a fault of some 3 microseconds. Of a network's pass on a CPU that is nothing or a
    third, as pieces happen to lie, of one on volumes, whose maps are larger, two fifths. The same bytes come out.
    """
    with suppress(AttributeError):  # another library
        set_option = ctypes.CDLL(None).mallopt
        set_option(_TRIM_THRESHOLD, 1 << 30)
        set_option(_MMAP_MAX, 0)  # no piece is mapped by itself, however large
