"""Windows like UCI HAR's, made up: gravity, motion, a gyroscope; and the frame of their channels."""

from __future__ import annotations

import numpy as np
import torch

from robustbench_ms.datasets.signals import HAR, scales_of
from robustbench_ms.faults.frame import Frame

__all__ = ["FRAME", "IDS", "LARGEST", "MEAN", "SD", "WINDOWS", "windows"]


def windows(n, length=128, seed=0):
    """float32 (n, 9, length), channels as `HAR`."""
    random = np.random.default_rng(seed)
    t = np.arange(length)
    waves = sum(
        random.normal(0, 0.15, (n, 6, 1)) * np.sin(
            t * random.uniform(0.05, 0.8, (n, 6, 1)) + random.uniform(0, 6, (n, 6, 1))
        )
        for _ in range(3)
    ) + random.normal(0, 0.02, (n, 6, length))  # fmt: skip
    gravity = np.broadcast_to(random.normal(0, 0.55, (n, 3, 1)), (n, 3, length))
    body = waves[:, :3].astype(np.float32)
    return np.concatenate([body, 3 * waves[:, 3:], gravity + body], axis=1).astype(np.float32)


WINDOWS = torch.from_numpy(windows(24))
_SCALES = scales_of(windows(200, seed=1), HAR)
FRAME = Frame(HAR, list(_SCALES.values()))
MEAN, SD, LARGEST = ([getattr(one, name) for one in _SCALES.values()] for name in ("mean", "sd", "largest"))
IDS = torch.arange(24) * 7 + 3
