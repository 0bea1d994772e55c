"""What a process keeps of the memory that it freed."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PASSES = """
import resource, sys
import torch
from robustbench_ms.subjects.devices import keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()
torch.ones(1 << 22)  # 16 MB once, from which on glibc by itself takes pieces of that size from the heap
count, size = int(sys.argv[2]), int(sys.argv[3])

def once():
    maps = [torch.ones(size) for _ in range(count)]

for _ in range(3):
    once()
begin = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    once()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - begin)
"""


def faults(how, count, size):
    """Of three passes after three: which small piece splits a large one in the first hangs on chance."""
    command = [sys.executable, "-c", PASSES, how, str(count), str(size)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout)


@pytest.mark.parametrize(("count", "size"), [(12, 1 << 21), (4, 1 << 24)], ids=["a network's", "of volumes"])
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_freed_memory_that_is_kept_costs_no_faults(count, size):
    """Of 96 MB of maps, and of 256 MB, each above what glibc keeps by itself: without it, of the latter's always."""
    pages = count * size * 4 // 4096
    kept = faults("kept", count, size)

    assert kept < pages / 100
    if size * 4 > 32 << 20:  # of smaller ones glibc keeps what lies under a piece that happens to be in use
        assert kept < faults("plain", count, size) / 10
