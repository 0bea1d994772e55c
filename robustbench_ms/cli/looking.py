"""Say how far it is with pictures that are looked at before a run, and with records that are read."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

__all__ = ["Told", "looking"]

_PATIENCE = 2.0
"""Seconds from one word to the next."""


@contextmanager
def looking() -> Iterator[Callable[[str, int, int], None]]:
    """A function of what is looked at, how many are done and how many there are; without a terminal, a line each."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    tasks: dict[str, TaskID] = {}

    def tell(what: str, done: int, total: int) -> None:
        if what not in tasks:
            tasks[what] = bar.add_task(what, total=total)
            if not console.is_terminal:
                console.print(what, markup=False)
        bar.update(tasks[what], completed=done)

    with bar:
        yield tell


class Told:
    """Says on stderr how far it is, where it takes long."""

    def __init__(self) -> None:
        self._said = time.monotonic()

    def __call__(self, what: str, done: int, of: int) -> None:
        if time.monotonic() - self._said >= _PATIENCE:
            self._said = time.monotonic()
            print(f"{what}: {done:,} of {of:,}", file=sys.stderr, flush=True)
