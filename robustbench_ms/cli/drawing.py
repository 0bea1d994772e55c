"""Draw a run's events on the terminal: a bar with time left, and what there is to know above it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)

from robustbench_ms.cli.aside import stdout_aside
from robustbench_ms.evaluation.events import (
    BatchDone,
    CellsFound,
    CellStarted,
    Event,
    Note,
    Opening,
    Planned,
    Trouble,
)
from robustbench_ms.reports.markdown import printable

__all__ = ["draw"]

TOLD_FROM = 100
"""Batches after which the time left is told: the first ones also compile, and fill caches."""
_SEED = re.compile(r"^(model [^:@]+)@\d+:")
_LONG = 60.0
"""Seconds after which it is told of fewer, slow ones."""


def draw(events: Iterable[Event], *, title: str) -> Iterator[Event]:
    """Pass the events on and draw them on standard error; without a terminal, one line every tenth of the way.

    Meanwhile standard output is kept aside, see `stdout_aside`.
    """
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    bar = Progress(
        TextColumn(title, markup=False),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total} cells  {task.fields[key]}", markup=False),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}", markup=False),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    answers = tenths = batches = 0
    begun, before, opening, said = time.monotonic(), 0, "", False
    notes = set[str]()
    plan = Planned(0, 0, 0)
    with stdout_aside(), bar:
        shown = bar.add_task("cells", total=None, key="loading models", left="")
        seen = begun
        for event in events:
            match event:
                case Planned():
                    plan = event
                    if plan.reused:
                        console.print(
                            f"{plan.reused} of {plan.cells} cells are finished already", markup=False
                        )
                    bar.update(shown, total=plan.cells, completed=plan.reused)
                case CellsFound():
                    plan = replace(
                        plan,
                        reused=plan.reused + len(event.cards),
                        answers=max(plan.answers - event.answers, 0),
                    )
                case Opening():
                    if event.what != opening:
                        opening = event.what
                        console.print(opening, markup=False)
                    bar.update(shown, key=f"{event.done:,} of {event.total:,}")
                    begun += time.monotonic() - seen  # no part of what batches take
                case CellStarted():
                    bar.update(shown, key=event.key)
                case BatchDone():
                    answers += event.answers
                    batches += 1
                    if batches == 1:  # the first one compiles and fills caches
                        begun, before = time.monotonic(), answers
                    taken = time.monotonic() - begun
                    if (batches >= TOLD_FROM or taken >= _LONG) and answers > before:
                        pace = taken / (answers - before)
                        left = _span(pace * max(plan.answers - answers, 0))
                        bar.update(shown, left=f"{left} left")
                        if not said and not console.is_terminal:
                            said = True
                            console.print(f"{title}: {left} left", markup=False)
                    # Cells with the finished part of the present one, so that the time left is steady.
                    done = plan.reused + (plan.cells - plan.reused) * answers / max(plan.answers, 1)
                    bar.update(shown, completed=done)
                    if not console.is_terminal and answers * 10 // max(plan.answers, 1) > tenths:
                        tenths = answers * 10 // max(plan.answers, 1)
                        console.print(f"{title}: {tenths * 10} % ({event.key})", markup=False)
                case Note():
                    # What is so of one seed of a card is mostly so of all, and told of the first.
                    told = _SEED.sub(r"\1:", event.message)
                    if told not in notes:
                        console.print(printable(event.message), markup=False, style="yellow")
                    notes.add(told)
                case Trouble():
                    how = " was stopped" if event.stopped else ""
                    told = printable(f"{event.card}{how}: {event.message}")
                    console.print(told, markup=False, style="red")
            yield event
            seen = time.monotonic()


def _span(seconds: float) -> str:
    """A length of time for people."""
    minutes = round(seconds / 60)
    return (
        f"about {minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"about {max(minutes, 1)} min"
    )
