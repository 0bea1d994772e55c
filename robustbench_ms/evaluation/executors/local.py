"""One worker: this process."""

from __future__ import annotations

from collections.abc import Generator

from robustbench_ms.evaluation.events import Event
from robustbench_ms.evaluation.executors.protocol import Run
from robustbench_ms.evaluation.store import CacheStore
from robustbench_ms.evaluation.work import work

__all__ = ["execute"]


def execute(run: Run) -> Generator[Event, None, CacheStore]:
    """Answer all jobs here; any callable can be a model."""
    store = CacheStore(run.cells, run.claims)
    yield from work(run.shown, run.cards, run.jobs, store, run.settings)
    return store
