"""How compiled loops are made and run on the CPU.

A loop is a numba function `f(start, stop, *arrays)` that works on items start..stop-1 (images, planes or
rows) and touches no output of another item. `spread` shares the items among threads of our own. numba's
own parallel loops are not used: its OpenMP layer kills a process that forked after the first loop
(DataLoader workers do), its workqueue layer kills one that calls from two threads, and either spins beside
torch's pool. Loops release the GIL, so plain Python threads serve.

The number of threads is torch's (`torch.set_num_threads`; 1 in a DataLoader worker).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import torch
from numba import njit

__all__ = ["compiled", "spread"]


def compiled(function: Callable[..., Any] | None = None, *, fastmath: Any = False) -> Any:
    """Compile a function at its first call, without the GIL, and keep the machine code on disk.

    numba keeps it in `__pycache__` or, where that cannot be written, in its folder of the user. Where there
    is neither, it is compiled anew in each process.
    """
    if function is None:
        return lambda f: compiled(f, fastmath=fastmath)
    options = {"nogil": True, "fastmath": fastmath, "error_model": "numpy"}
    try:
        kept = njit(cache=True, **options)(function)
        # numba says in each function's index what its file was, and takes an index that says something else for
        # an empty one. It has no public way to have it say more.
        index = kept._cache._cache_file  # noqa: SLF001
        index._source_stamp = (index._source_stamp, _sources())  # noqa: SLF001
    except (
        RuntimeError,
        AttributeError,
    ):  # nowhere to write, or a numba that keeps its indices in another way
        return njit(**options)(function)
    return kept


@cache
def _sources() -> str:
    """A digest of every source file of the corruptions, whatever folder it lies in.

    Machine code is kept with it: numba itself asks only of the file that a function stands in, and would go on with
    one that calls a function of another file, or uses its constants, when that one changes. Each index answers for
    itself, so no process clears away what another has just compiled.
    """
    digest, room = hashlib.sha256(), Path(__file__).parents[1]
    for path in sorted(room.rglob("*.py")):
        digest.update(f"{path.relative_to(room)} ".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


_pools: dict[int, ThreadPoolExecutor] = {}
os.register_at_fork(after_in_child=_pools.clear)  # threads do not survive a fork


def _pool(threads: int) -> ThreadPoolExecutor:
    if threads not in _pools:
        _pools[threads] = ThreadPoolExecutor(threads, thread_name_prefix="rbms-corrupt")
    return _pools[threads]


def spread(run: Callable[..., Any], items: int, *arguments: Any, grain: int = 1) -> None:
    """Call `run(start, stop, *arguments)` over all of range(items), on torch's number of threads.

    `grain` is the fewest items worth a piece: about 50 microseconds of work. Items are dealt in up to four
    pieces a thread, as threads come free. What an item becomes must not depend on its piece.
    """
    threads = min(torch.get_num_threads(), -(-items // grain))
    if threads <= 1:
        if items:
            run(0, items, *arguments)
        return
    size = max(grain, -(-items // (4 * threads)))
    turns = count(0, size)  # next() on it is atomic under the GIL

    def work() -> None:
        for start in turns:
            if start >= items:
                return
            run(start, min(start + size, items), *arguments)

    others = [_pool(threads - 1).submit(work) for _ in range(threads - 1)]
    try:
        work()
    finally:
        for other in others:
            other.result()
