"""Peak memory does not grow with the data set."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import re, sys
from pathlib import Path
import numpy as np, torch
import robustbench_ms as rbms

folder, n = Path(sys.argv[1]), int(sys.argv[2])
images = np.lib.format.open_memmap(folder / "images.npy", "w+", np.uint8, (n, 32, 32, 3))
images[:] = np.arange(n, dtype=np.uint32).astype(np.uint8)[:, None, None, None]
np.save(folder / "labels.npy", np.arange(n) % 10)
del images
(folder / "big.toml").write_text(
    'dataset = "arrays"\\nclasses = 10\\n[files]\\nimages = "images.npy"\\nlabels = "labels.npy"\\n'
)
peak = 0

def watch(event):
    # Private memory alone: the mapped file's pages are the system's to drop.
    global peak
    peak = max(peak, int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024)

model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3072, 10))
rbms.run(str(folder / "big.toml"), [model], results=folder / "r", cache=folder / "c", on_event=watch)
print(peak)
"""


def peak(folder, n):
    folder.mkdir()
    told = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder), str(n)], capture_output=True, text=True, check=True
    )
    return int(told.stdout)


def test_peak_memory_does_not_grow_with_the_data_set(tmp_path):
    small, large = peak(tmp_path / "small", 2_000), peak(tmp_path / "large", 102_000)

    grown = 100_000 * 3_072
    # What remains is some tens of bytes of results a sample, and what allocators keep.
    assert large - small < grown / 4
