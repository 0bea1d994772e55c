"""The measuring loop: warm up, then blocks in turns, a host time and on CUDA a device time for each call.

torch.utils.benchmark gives means of blocks; percentiles need the calls themselves.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import numpy as np
import torch

from robustbench_ms.errors import UserError
from robustbench_ms.profiling.machine import synchronize

__all__ = ["Stopwatch", "Times", "WarmUp", "calls_of", "in_turns", "order", "warm_up"]

Run = Callable[[], object]

_WINDOW, _AGREE, _LEAST, _LONGEST = 5, 0.02, 3, 10.0
_TURN, _CALLS = 0.1, (5, 40)
"""Seconds that a turn takes at least, within so many calls."""


class Stopwatch:
    """Times one call: the host's seconds with a synchronise at the end, and beside them the device's by events."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def __call__(self, run: Run) -> tuple[float, float | None]:
        """Seconds on the host and on the device; the latter None on a CPU."""
        if self.device.type != "cuda":
            begin = time.perf_counter()
            run()
            return time.perf_counter() - begin, None
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        torch.cuda.synchronize(self.device)
        begin = time.perf_counter()
        first.record()
        run()
        last.record()
        torch.cuda.synchronize(self.device)
        return time.perf_counter() - begin, first.elapsed_time(last) / 1000


@dataclass(frozen=True)
class WarmUp:
    """How a call became steady."""

    calls: int
    seconds: float
    """Of one call, the mean of the last ones."""
    steady: bool
    """Whether two successive windows of 5 calls agreed within 2 % before the time was over."""


def warm_up(run: Run, watch: Callable[[Run], tuple[float, float | None]]) -> WarmUp:
    """Call until two successive windows of 5 calls agree within 2 %; 3 calls at least, 10 seconds at most."""
    took: list[float] = []
    while True:
        took.append(watch(run)[0])
        last, before = took[-_WINDOW:], took[-2 * _WINDOW : -_WINDOW]
        if len(before) == _WINDOW and abs(sum(last) / sum(before) - 1) <= _AGREE:
            return WarmUp(len(took), float(np.mean(last)), steady=True)
        if sum(took) >= _LONGEST and len(took) >= _LEAST:
            return WarmUp(len(took), float(np.mean(last)), steady=False)


def calls_of(seconds: float) -> int:
    """How many calls a turn has, by how long one takes: 5 to 40, some tenth of a second."""
    return min(max(math.ceil(_TURN / seconds), _CALLS[0]), _CALLS[1])


def order(names: list[str], block: int, seed: int = 0) -> list[str]:
    """The order of a block's turns, keyed by its number: whoever runs after a slow one is another each time."""
    return [names[i] for i in np.random.default_rng((seed, block)).permutation(len(names))]


@dataclass
class Times:
    """The times of one name's calls by block."""

    host: list[list[float]] = field(default_factory=list)
    device: list[list[float]] = field(default_factory=list)
    """Empty on a CPU."""
    error: UserError | None = None
    """What ended its turns before the last block."""


def in_turns(
    runs: Mapping[str, Run],
    calls: Mapping[str, int],
    blocks: int,
    device: torch.device,
    within: Callable[[str], AbstractContextManager[None]],
) -> dict[str, Times]:
    """Time every name's calls in so many blocks, one turn a block, in keyed order.

    A turn's first call is not timed: it finds the caches full of another's weights. `within` is what a name's turn
    stands in; a UserError that comes out of it ends the turns of that name alone.
    """
    watch = Stopwatch(device)
    found = {name: Times() for name in runs}
    for block in range(blocks):
        for name in order(list(runs), block):
            if found[name].error is not None:
                continue
            try:
                with within(name):
                    runs[name]()
                    synchronize(device)
                    took = [watch(runs[name]) for _ in range(calls[name])]
            except UserError as error:
                found[name].error = error
                continue
            found[name].host.append([round(host, 7) for host, _ in took])
            told = [round(seconds, 7) for _, seconds in took if seconds is not None]
            if told:
                found[name].device.append(told)
    return found
