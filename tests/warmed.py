"""What a process that is forked for a test should find done: torch, and numba's registries, 2 s at its first loop."""

from __future__ import annotations

import multiprocessing
from importlib.util import find_spec
from multiprocessing.context import ForkServerContext

from numba.core.registry import cpu_target

HOMES = ("evaluation.run", "tasks.classification.task", "tasks.corrupting", "corruptions.defined.hsv")
WARM = (*(f"robustbench_ms.{home}" for home in HOMES), "robustbench_ms.corruptions.defined.contrast")


def forking() -> ForkServerContext:
    """Of processes that measure the fakes or claim cells: a program has one such server, whoever asks first."""
    names = [*WARM, "tests.fakes", "tests.claiming", __name__]
    assert all(map(find_spec, names))  # what is not there is left out in silence
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(names)
    return context


cpu_target.typing_context.refresh()
cpu_target.target_context.refresh()
