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

once()
begin = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    once()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - begin)
"""


@pytest.mark.parametrize(("count", "size"), [(12, 1 << 21), (4, 1 << 24)], ids=["a network's", "of volumes"])
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_freed_memory_that_is_kept_costs_no_faults(count, size):
    """Of 96 MB of maps, and of 256 MB, each above what glibc keeps by itself."""

    def faults(how):
        command = [sys.executable, "-c", PASSES, how, str(count), str(size)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
        return int(done.stdout)

    plain, kept = faults("plain"), faults("kept")

    assert kept < plain / 10
