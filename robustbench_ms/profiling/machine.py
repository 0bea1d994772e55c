"""The machine that times belong to, and whether others were at work on it."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import torch

from robustbench_ms.records.record import Environment

__all__ = ["Others", "device_name", "synchronize"]


def device_name(environment: Environment) -> str:
    """As its maker calls it; of a CPU with the number of cores that this process may use."""
    return environment.cpu if environment.device == "cpu" else environment.device


def synchronize(device: torch.device) -> None:
    """Wait for what the device was given to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Others:
    """How many cores other processes used, of those that this one may use, while the block ran."""

    cores: float | None = None
    """After the block; None where the system does not tell."""

    def __enter__(self) -> Self:
        self._before = _busy(), _own(), time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        busy, own, begin = self._before
        now, wall = _busy(), time.monotonic() - begin
        if busy is not None and now is not None and wall > 0:
            # The kernel counts whole ticks, so that alone it may come to a little less than was used here.
            self.cores = max(0.0, (now - busy - (_own() - own)) / wall)


def _busy(stat: Path = Path("/proc/stat")) -> float | None:
    """Seconds that this process's cores were busy since the start; the guests' are in the user's already."""
    try:
        cores = {f"cpu{i}" for i in os.sched_getaffinity(0)}
        rows = [line.split() for line in stat.read_text(encoding="utf-8").splitlines()]
        told = [[int(ticks) for ticks in row[1:9]] for row in rows if row and row[0] in cores]
    except (OSError, ValueError):
        return None
    # user, nice, system, idle, iowait, irq, softirq, steal: waiting is no work.
    return sum(sum(row) - row[3] - row[4] for row in told) / os.sysconf("SC_CLK_TCK") if told else None


def _own() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
