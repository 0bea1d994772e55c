"""Faults on 10,000 windows of 9 x 128 against a plain NumPy loop over windows, and beside a bare copy of the batch.

    python -m tests.benchmarks.faults

The loop is the tests' transcription of the protocol, its draws made beforehand.
"""

from __future__ import annotations

import time

import numpy as np
import torch

from robustbench_ms.faults.api import fault
from robustbench_ms.faults.table import NAMES
from tests.faults import oracle
from tests.faults.windows import FRAME, LARGEST, MEAN, SD, windows

N, LEVEL = 10_000, 3
LOOPED = 200
"""Windows that the loop is timed on: each takes as long as any other."""


def least(call, times=3):
    """Seconds of the quickest of some calls."""
    found = []
    for _ in range(times):
        begin = time.perf_counter()
        call()
        found.append(time.perf_counter() - begin)
    return min(found)


def main():
    shown, ids = torch.from_numpy(windows(N)), torch.arange(N)
    random = np.random.default_rng(0)
    drawn = {
        "order": random.permutation(6), "sign": random.choice([-1.0, 1.0], 6), "u": random.random(),
        "us": random.random((2, 128)), "ut": random.random(128), "n": random.normal(size=(6, 128)),
        "times": random.permutation(127)[:5] + 1, "four": random.normal(size=4), "three": random.normal(size=3),
    }  # fmt: skip
    copy = least(shown.clone)
    some = shown[:LOOPED].numpy()
    ratios = []
    print(f"a bare copy: {1e3 * copy:.1f} ms")
    for name in NAMES:
        ours = least(lambda name=name: fault(shown, name, LEVEL, FRAME, ids=ids))

        def loop(name=name):
            for x in some:
                oracle.faulty(oracle.Window(x, MEAN, SD, LARGEST), name, LEVEL, drawn).astype(np.float32)

        theirs = least(loop, 1) * N / LOOPED
        ratios.append(theirs / ours)
        print(
            f"{name:14} {1e3 * ours:8.1f} ms  {ours / copy:5.1f} copies  {theirs / ours:6.1f} times the loop"
        )
    print(f"geometric mean: {np.exp(np.mean(np.log(ratios))):.1f} times the loop")


if __name__ == "__main__":
    main()
